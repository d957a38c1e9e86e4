//! Kafka's messages, stored records and error codes against Apache Kafka 3.9.1's own classes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::Stdio;

use client::wire::kafka::sample::{Dice, Sample};
use client::wire::kafka::stored::offsets::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue,
};
use client::wire::kafka::stored::transactions::{TransactionLogKey, TransactionLogValue};
use client::wire::kafka::writer::join;
use client::wire::kafka::{ErrorCode, Message, Writer, consumer_protocol, messages};
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
fn kafka_agrees() {
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
    let answers = String::from_utf8(output.stdout).expect("plain text");
    let (mut theirs, echoes): (Vec<_>, Vec<_>) = answers.lines().partition(|line| line.starts_with("error "));

    let mut ours: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| format!("error {} {code:?} {}", code.0, code.is_retriable()))
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);

    assert_eq!(echoes.len(), lines.lines().count(), "one answer per question");
    for (question, echo) in lines.lines().zip(echoes) {
        let bytes = question.rsplit(' ').next().expect("bytes come last");
        assert_eq!(echo, bytes, "{question}");
    }
}
