//! Apache Kafka on our coordinator.

use testkit::interop;
use testkit::process::{Kind, Target, skip_or_fail};

fn check(name: &str) {
    let suite = interop::suite(name).expect("a suite of that name");
    if !skip_or_fail(name, suite.needs) {
        return;
    }
    let summary = interop::run(suite, Target::one(Kind::Coordinator));
    assert!(summary.passed > 0, "{name} checked nothing");
    assert_eq!(summary.failed, 0, "{name}: see the lines that start with FAIL");
}

#[test]
fn a_kafka_3_9_broker_lives_on_it() {
    check("kafka");
}

#[test]
fn kafka_1_1_tools_write_its_znodes() {
    check("kafka-1.1");
}

#[test]
fn kafka_and_our_broker_read_each_others_data_directories() {
    check("kafka-logs");
}
