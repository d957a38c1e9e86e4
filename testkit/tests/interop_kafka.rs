//! Apache Kafka on our coordinator.

mod suites;

use suites::check;

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
