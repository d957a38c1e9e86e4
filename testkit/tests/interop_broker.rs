//! Foreign Kafka clients against our broker on our coordinator, one test per client.

mod suites;

use suites::check;

#[test]
fn kafka_python() {
    check("broker-kafka-python");
}

#[test]
fn librdkafka() {
    check("broker-librdkafka");
}

#[test]
fn kafkajs() {
    check("broker-kafkajs");
}

#[test]
fn sarama_franz_go_and_kafka_go() {
    check("broker-go");
}

#[test]
fn tools_of_kafka_3_9() {
    check("broker-tools");
}

#[test]
fn tools_of_kafka_1_1() {
    check("broker-tools-1.1");
}

#[test]
fn java_0_11() {
    check("broker-java-0.11");
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

#[test]
fn moves_between_directories() {
    check("broker-dirs");
}

#[test]
fn java_and_librdkafka_over_tls() {
    check("broker-tls");
}

#[test]
fn kafka_streams() {
    check("broker-streams");
}

#[test]
fn kafka_connect() {
    check("broker-connect");
}

#[test]
fn flume() {
    check("broker-flume");
}
