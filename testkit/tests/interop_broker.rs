//! Foreign Kafka clients against our broker on our coordinator, one test per client.

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
fn kafka_python() {
    check("broker-kafka-python");
}

#[test]
fn librdkafka() {
    check("broker-librdkafka");
}

#[test]
fn sarama_and_franz_go() {
    check("broker-go");
}

#[test]
fn tools_of_kafka_3_9() {
    check("broker-tools");
}

#[test]
fn java_1_1() {
    check("broker-java-1.1");
}

#[test]
fn java_2_8() {
    check("broker-java-2.8");
}

#[test]
fn java_3_9() {
    check("broker-java-3.9");
}

#[test]
fn java_4_1() {
    check("broker-java-4.1");
}
