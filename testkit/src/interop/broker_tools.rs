//! Kafka's own command-line tools against our broker.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use super::foreign::Report;
use crate::process::{Broker, JavaProject, Target, command_output, java_command, scratch};

pub(super) const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
pub(super) const CONFIGS: &str = "kafka.admin.ConfigCommand";
pub(super) const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

/// The tools, and the broker that they work on.
pub(super) struct Tools {
    class_path: String,
    bootstrap: String,
}

impl Tools {
    /// The tools of Kafka 3.9.
    pub(super) fn new(broker: &Broker) -> Result<Tools> {
        Ok(Tools { class_path: JavaProject::new("kafka").class_path()?, bootstrap: broker.bootstrap() })
    }

    /// Runs a tool to its end and checks that its output has all of these in it.
    pub(super) fn expect(&self, main: &str, arguments: &[&str], wanted: &[&str]) -> Result<String> {
        let mut command = java_command(&self.class_path, &scratch("java")?);
        command.args([main, "--bootstrap-server", &self.bootstrap]).args(arguments);
        holds(command_output(&mut command)?, wanted)
    }

    /// The same for a tool that fails.
    fn expect_failure(&self, main: &str, arguments: &[&str], wanted: &str) -> Result<()> {
        match self.expect(main, arguments, &[]) {
            Ok(output) => bail!("it should have failed, and said:\n{output}"),
            Err(error) => holds(format!("{error:#}"), &[wanted]).map(drop),
        }
    }

    /// Types lines into the console producer.
    pub(super) fn produce(&self, arguments: &[&str], lines: &str) -> Result<()> {
        let mut command = java_command(&self.class_path, &scratch("java")?);
        command.args(["kafka.tools.ConsoleProducer", "--bootstrap-server", &self.bootstrap]);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the console producer")?;
        child.stdin.take().context("its input is piped")?.write_all(lines.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && !said.contains("ERROR"), "the console producer said:\n{said}");
        Ok(())
    }
}

pub(super) fn holds(output: String, wanted: &[&str]) -> Result<String> {
    for &text in wanted {
        ensure!(output.contains(text), "{text:?} is not in:\n{output}");
    }
    Ok(output)
}

pub(super) fn run(target: Target) -> Result<Report> {
    let (_service, broker) = super::broker::start(target)?;
    let tools = Tools::new(&broker)?;
    let mut report = Report::default();
    topics(&tools, &mut report);
    records(&tools, &mut report);
    groups(&tools, &mut report);
    settings(&tools, &mut report);
    let folder = tempfile::TempDir::with_prefix("rookery-tools-")?;
    offsets(&tools, folder.path(), &mut report)?;
    performance(&tools, &mut report);
    Ok(report)
}

fn topics(tools: &Tools, report: &mut Report) {
    let mut check = |name: &str, arguments: &[&str], wanted: &[&str]| {
        report.check(name, tools.expect(TOPICS, arguments, wanted).map(drop));
    };
    check(
        "kafka-topics --create",
        &["--create", "--topic", "lines", "--partitions", "2", "--config", "retention.ms=7200000"],
        &["Created topic lines."],
    );
    check("kafka-topics --list", &["--list"], &["lines"]);
    check(
        "kafka-topics --describe",
        &["--describe", "--topic", "lines"],
        &["PartitionCount: 2", "ReplicationFactor: 1", "retention.ms=7200000", "Leader: 1"],
    );
    check("kafka-topics --alter", &["--alter", "--topic", "lines", "--partitions", "3"], &[]);
    check("the new partition", &["--describe", "--topic", "lines"], &["PartitionCount: 3"]);
    check(
        "kafka-topics --create, to be deleted",
        &["--create", "--topic", "short-lived"],
        &["Created topic"],
    );
    check("kafka-topics --delete", &["--delete", "--topic", "short-lived"], &[]);
    let again = ["--create", "--topic", "lines"];
    let refused = tools.expect_failure(TOPICS, &again, "'lines' already exists");
    report.check("kafka-topics --create of one that is there", refused);
    let gone = ["--describe", "--topic", "short-lived"];
    let refused = tools.expect_failure(TOPICS, &gone, "does not exist");
    report.check("kafka-topics --describe of one that is gone", refused);
}

fn records(tools: &Tools, report: &mut Report) {
    let keyed = ["--topic", "lines", "--property", "parse.key=true", "--property", "key.separator=:"];
    report.check("kafka-console-producer", tools.produce(&keyed, "a:one\nb:two\nc:three\n"));
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let packed = ["--topic", "lines", "--compression-codec", codec];
        let produced = tools.produce(&packed, &format!("packed with {codec}\n"));
        report.check(&format!("kafka-console-producer --compression-codec {codec}"), produced);
    }
    let arguments = [
        "--topic",
        "lines",
        "--from-beginning",
        "--max-messages",
        "7",
        "--timeout-ms",
        "30000",
        "--group",
        "readers",
        "--property",
        "print.key=true",
    ];
    let wanted = ["a\tone", "b\ttwo", "c\tthree", "packed with gzip", "packed with lz4", "packed with zstd"];
    let read = tools.expect(CONSUMER, &arguments, &wanted);
    report.check("kafka-console-consumer", read.map(drop));
}

fn groups(tools: &Tools, report: &mut Report) {
    let mut check = |name: &str, arguments: &[&str], wanted: &[&str]| {
        report.check(name, tools.expect(GROUPS, arguments, wanted).map(drop));
    };
    check("kafka-consumer-groups --list", &["--list"], &["readers"]);
    check("kafka-consumer-groups --describe", &["--describe", "--group", "readers"], &["lines", "LAG"]);
    check(
        "kafka-consumer-groups --state",
        &["--describe", "--group", "readers", "--state"],
        &["Empty", "127.0.0.1"],
    );
    let reset = ["--reset-offsets", "--group", "readers", "--topic", "lines", "--to-earliest", "--execute"];
    check("kafka-consumer-groups --reset-offsets", &reset, &["NEW-OFFSET", "lines"]);
    check(
        "kafka-consumer-groups --delete-offsets",
        &["--delete-offsets", "--group", "readers", "--topic", "lines:0"],
        &["Request succeed"],
    );
    check("kafka-consumer-groups --delete", &["--delete", "--group", "readers"], &["successful"]);
}

fn settings(tools: &Tools, report: &mut Report) {
    let mut check = |name: &str, arguments: &[&str], wanted: &[&str]| {
        report.check(name, tools.expect(CONFIGS, arguments, wanted).map(drop));
    };
    let topic = ["--entity-type", "topics", "--entity-name", "lines"];
    let broker = ["--entity-type", "brokers", "--entity-name", "1"];
    let brokers = ["--entity-type", "brokers", "--entity-default"];
    let with = |entity: &[&'static str], more: &[&'static str]| [entity, more].concat();
    check(
        "kafka-configs --alter, a topic",
        &with(
            &topic,
            &["--alter", "--add-config", "segment.bytes=1000000", "--delete-config", "retention.ms"],
        ),
        &["Completed updating config"],
    );
    check(
        "kafka-configs --describe, a topic",
        &with(&topic, &["--describe"]),
        &["segment.bytes=1000000", "DYNAMIC_TOPIC_CONFIG:segment.bytes=1000000"],
    );
    check(
        "kafka-configs --alter, all brokers",
        &with(&brokers, &["--alter", "--add-config", "log.retention.ms=3600000"]),
        &["Completed updating default config"],
    );
    check(
        "kafka-configs --describe, all brokers",
        &with(&brokers, &["--describe"]),
        &["log.retention.ms=3600000", "DYNAMIC_DEFAULT_BROKER_CONFIG"],
    );
    check(
        "kafka-configs --alter, a broker",
        &with(&broker, &["--alter", "--add-config", "log.retention.ms=1800000"]),
        &["Completed updating config"],
    );
    check(
        "kafka-configs --describe --all, a broker",
        &with(&broker, &["--describe", "--all"]),
        &[
            "DYNAMIC_BROKER_CONFIG:log.retention.ms=1800000, DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=3600000",
            "STATIC_BROKER_CONFIG:broker.id=1",
        ],
    );
    check(
        "a broker's setting is its topics' default",
        &with(&topic, &["--describe", "--all"]),
        &["retention.ms=1800000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.retention.ms=1800000"],
    );
    let fixed = with(&broker, &["--alter", "--add-config", "log.dirs=/elsewhere"]);
    let refused = tools.expect_failure(CONFIGS, &fixed, "cannot be changed while the broker runs: log.dirs");
    report.check("kafka-configs --alter of what is fixed", refused);
    let wrong = with(&topic, &["--alter", "--add-config", "retention.ms=soon"]);
    let refused = tools.expect_failure(CONFIGS, &wrong, "retention.ms=soon");
    report.check("kafka-configs --alter with a wrong value", refused);
}

fn offsets(tools: &Tools, folder: &Path, report: &mut Report) -> Result<()> {
    let produced = tools.expect(TOPICS, &["--create", "--topic", "numbers"], &[]);
    report.check("kafka-topics --create, for offsets", produced.map(drop));
    report.check("ten lines", tools.produce(&["--topic", "numbers"], &"line\n".repeat(10)));
    let json = folder.join("offsets.json");
    std::fs::write(&json, r#"{"version":1,"partitions":[{"topic":"numbers","partition":0,"offset":4}]}"#)?;
    let file = json.to_string_lossy();
    let mut check = |name: &str, main: &str, arguments: &[&str], wanted: &[&str]| {
        report.check(name, tools.expect(main, arguments, wanted).map(drop));
    };
    check(
        "kafka-delete-records",
        "org.apache.kafka.tools.DeleteRecordsCommand",
        &["--offset-json-file", &file],
        &["low_watermark: 4"],
    );
    let get = "org.apache.kafka.tools.GetOffsetShell";
    check("kafka-get-offsets, earliest", get, &["--topic", "numbers", "--time", "-2"], &["numbers:0:4"]);
    check("kafka-get-offsets, latest", get, &["--topic", "numbers"], &["numbers:0:10"]);
    check("kafka-get-offsets, largest time", get, &["--topic", "numbers", "--time", "-3"], &["numbers:0:"]);
    check(
        "kafka-log-dirs",
        "org.apache.kafka.tools.LogDirsCommand",
        &["--describe", "--topic-list", "numbers"],
        &["\"partition\":\"numbers-0\"", "\"offsetLag\":0", "\"isFuture\":false"],
    );
    check(
        "kafka-leader-election",
        "org.apache.kafka.tools.LeaderElectionCommand",
        &["--election-type", "preferred", "--topic", "numbers", "--partition", "0"],
        &["Valid replica already elected for partitions numbers-0"],
    );
    check(
        "kafka-broker-api-versions",
        "kafka.admin.BrokerApiVersionsCommand",
        &[],
        &["DescribeConfigs(32)", "UNSUPPORTED"],
    );
    Ok(())
}

fn performance(tools: &Tools, report: &mut Report) {
    let produced = (|| -> Result<()> {
        let mut command = java_command(&tools.class_path, &scratch("java")?);
        command.args(["org.apache.kafka.tools.ProducerPerformance", "--topic", "numbers"]);
        command.args(["--num-records", "20000", "--record-size", "200", "--throughput", "-1"]);
        command.args(["--producer-props", &format!("bootstrap.servers={}", tools.bootstrap), "acks=all"]);
        holds(command_output(&mut command)?, &["20000 records sent"]).map(drop)
    })();
    report.check("kafka-producer-perf-test", produced);
    let arguments = ["--topic", "numbers", "--messages", "20000", "--timeout", "30000"];
    let read = tools.expect("org.apache.kafka.tools.ConsumerPerformance", &arguments, &["MB.sec"]);
    let all = read.and_then(|text| {
        let line = text.lines().last().unwrap_or_default().to_owned();
        // start, end, MB, MB/s, records, ...
        let count = line.split(", ").nth(4).and_then(|count| count.trim().parse::<u32>().ok());
        ensure!(count.is_some_and(|count| count >= 20_000), "it read too little:\n{text}");
        Ok(())
    });
    report.check("kafka-consumer-perf-test", all);
}
