//! Kafka's wire, and the records it keeps, against Apache Kafka 3.9.1's own classes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::Stdio;

use client::wire::kafka::sample::{Dice, Sample};
use client::wire::kafka::stored::offsets::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
};
use client::wire::kafka::stored::transactions::{TransactionLogKey, TransactionLogValue};
use client::wire::kafka::writer::join;
use client::wire::kafka::{Message, Writer, consumer_protocol, messages};
use client::with_every_kafka_api;
use testkit::process::{JavaProject, Need, java_command, scratch, skip_or_fail};

const SAMPLES: u64 = 20;

/// Lines for the program: class, version, bytes.
fn samples<M: Message + Sample>(package: &str, suffix: &str, lines: &mut String) {
    for version in M::VERSIONS {
        for seed in 0..SAMPLES {
            let mut writer = Writer::new();
            M::sample(&mut Dice::new(seed), version).encode(&mut writer, version);
            write!(lines, "org.apache.kafka.{package}.{}{suffix} {version} ", M::NAME).unwrap();
            for byte in join(&writer.finish().unwrap()) {
                write!(lines, "{byte:02x}").unwrap();
            }
            lines.push('\n');
        }
    }
}

macro_rules! every_api {
    ($($module:ident::$name:ident($request:ident, $response:ident);)+) => {
        fn apis(lines: &mut String) {
            $(
                samples::<messages::$request>("common.message", "Data", lines);
                samples::<messages::$response>("common.message", "Data", lines);
            )+
        }
    };
}

with_every_kafka_api!(every_api);

#[test]
fn kafka_reads_what_we_write_and_writes_the_same() {
    if !skip_or_fail("kafka-wire-java", &[Need::Java, Need::Maven]) {
        return;
    }
    let mut lines = String::new();
    apis(&mut lines);
    samples::<consumer_protocol::ConsumerProtocolSubscription>("common.message", "", &mut lines);
    samples::<consumer_protocol::ConsumerProtocolAssignment>("common.message", "", &mut lines);
    samples::<OffsetCommitKey>("coordinator.group.generated", "", &mut lines);
    samples::<OffsetCommitValue>("coordinator.group.generated", "", &mut lines);
    samples::<GroupMetadataKey>("coordinator.group.generated", "", &mut lines);
    samples::<GroupMetadataValue>("coordinator.group.generated", "", &mut lines);
    samples::<TransactionLogKey>("coordinator.transaction.generated", "", &mut lines);
    samples::<TransactionLogValue>("coordinator.transaction.generated", "", &mut lines);

    let class_path =
        JavaProject::new("kafka-wire").compile(&["suites/WireEcho.java"]).expect("jars and a compiler");
    let directory = scratch("wire").expect("a directory");
    let questions = directory.join("questions");
    fs::write(&questions, &lines).expect("a file");
    let output = java_command(&class_path, &directory)
        .arg("WireEcho")
        .stdin(File::open(&questions).expect("the file"))
        .stderr(Stdio::inherit())
        .output()
        .expect("java runs");
    let echoes = String::from_utf8(output.stdout).expect("hexadecimal text");
    assert_eq!(echoes.lines().count(), lines.lines().count(), "one answer per question");
    for (question, echo) in lines.lines().zip(echoes.lines()) {
        let bytes = question.rsplit(' ').next().expect("bytes come last");
        assert_eq!(echo, bytes, "{question}");
    }
}
