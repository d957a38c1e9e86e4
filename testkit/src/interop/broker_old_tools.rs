//! Kafka 1.1's command-line tools, which write znodes, and a broker whose controller acts on them.

use std::path::Path;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::broker_tools::{CONFIGS, TOPICS, Tools, holds};
use super::foreign::Report;
use super::kafka::eventually;
use crate::process::{JavaProject, Make, Target, command_output, java_command, scratch};

const REASSIGN: &str = "kafka.admin.ReassignPartitionsCommand";
const PREFER: &str = "kafka.admin.PreferredReplicaLeaderElectionCommand";
const TOPIC: &str = "kafka.admin.TopicCommand";

/// The old tools, and the service whose znodes they write.
struct OldTools {
    class_path: String,
    zookeeper: String,
}

impl OldTools {
    /// Runs a tool to its end and checks that its output has this in it.
    fn expect(&self, main: &str, arguments: &[&str], wanted: &str) -> Result<()> {
        let mut command = java_command(&self.class_path, &scratch("java")?);
        command.arg("-Dzookeeper.sasl.client=false");
        command.args([main, "--zookeeper", &self.zookeeper]).args(arguments);
        holds(command_output(&mut command)?, &[wanted]).map(drop)
    }
}

/// Against an Apache Kafka broker, whatever the target says.
pub(super) fn run_on_kafka(target: Target) -> Result<Report> {
    run(Target { broker: Make::Kafka, ..target })
}

pub(super) fn run(target: Target) -> Result<Report> {
    let class_path = JavaProject::new("kafka-1.1").class_path()?;
    let (service, broker) = super::broker::start(target)?;
    let old = OldTools { class_path, zookeeper: format!("{}/kafka", service.connect_string()) };
    let tools = Tools::new(&broker)?;
    let folder = TempDir::with_prefix("rookery-old-tools-")?;
    let mut report = Report::default();
    topics_come(&old, &tools, &mut report);
    settings_change(&old, &tools, &mut report);
    replicas_are_looked_after(&old, folder.path(), &mut report)?;
    topics_go(&old, &tools, &mut report);
    Ok(report)
}

/// Waits until the broker itself knows the topic with that many led partitions.
fn led(tools: &Tools, partitions: usize) -> Result<()> {
    eventually(|| {
        let text = tools.expect(TOPICS, &["--describe", "--topic", "old"], &[])?;
        let led = text.matches("Leader: 1").count();
        ensure!(led == partitions, "{led} of {partitions} partitions are led:\n{text}");
        Ok(())
    })
}

fn topics_come(old: &OldTools, tools: &Tools, report: &mut Report) {
    let create = ["--create", "--topic", "old", "--partitions", "2", "--replication-factor", "1"];
    report.check("kafka-topics --create", old.expect(TOPIC, &create, "Created topic"));
    report.check("the controller made its partitions", led(tools, 2));
    report.check("it takes records", tools.produce(&["--topic", "old"], "one\ntwo\n"));
    report.check("kafka-topics --list", old.expect(TOPIC, &["--list"], "old"));
    let alter = ["--alter", "--topic", "old", "--partitions", "4"];
    report.check("kafka-topics --alter", old.expect(TOPIC, &alter, "Adding partitions succeeded"));
    report.check("the controller added partitions", led(tools, 4));
    let describe = ["--describe", "--topic", "old"];
    report.check("kafka-topics --describe", old.expect(TOPIC, &describe, "PartitionCount:4"));
}

fn settings_change(old: &OldTools, tools: &Tools, report: &mut Report) {
    let topic = ["--entity-type", "topics", "--entity-name", "old"];
    let alter = [&topic[..], &["--alter", "--add-config", "retention.ms=7200000"]].concat();
    let altered = old.expect("kafka.admin.ConfigCommand", &alter, "Completed Updating config");
    report.check("kafka-configs --alter", altered);
    let describe = [&topic[..], &["--describe"]].concat();
    let known = eventually(|| tools.expect(CONFIGS, &describe, &["retention.ms=7200000"]).map(drop));
    report.check("the broker knows the setting", known);
}

/// Both tools refuse to begin while the wish of an earlier run is still there.
fn replicas_are_looked_after(old: &OldTools, folder: &Path, report: &mut Report) -> Result<()> {
    let file = |name: &str, partition: &str| -> Result<String> {
        let path = folder.join(name);
        std::fs::write(&path, format!(r#"{{"version":1,"partitions":[{partition}]}}"#))?;
        Ok(path.display().to_string())
    };
    let preferred = file("preferred.json", r#"{"topic":"old","partition":0}"#)?;
    let moved = file("moved.json", r#"{"topic":"old","partition":0,"replicas":[1]}"#)?;
    let prefer = || {
        let arguments = ["--path-to-json-file", &preferred];
        old.expect(PREFER, &arguments, "Successfully started preferred replica election")
    };
    report.check("kafka-preferred-replica-election", prefer());
    report.check("the election is over", eventually(prefer));
    let reassign = |action: &str, wanted: &str| {
        old.expect(REASSIGN, &["--reassignment-json-file", &moved, action], wanted)
    };
    let begun = reassign("--execute", "Successfully started reassignment");
    report.check("kafka-reassign-partitions --execute", begun);
    let done = eventually(|| reassign("--verify", "completed successfully"));
    report.check("kafka-reassign-partitions --verify", done);
    Ok(())
}

fn topics_go(old: &OldTools, tools: &Tools, report: &mut Report) {
    let delete = ["--delete", "--topic", "old"];
    report.check("kafka-topics --delete", old.expect(TOPIC, &delete, "marked for deletion"));
    let gone = eventually(|| {
        let listed = tools.expect(TOPICS, &["--list"], &[])?;
        ensure!(!listed.lines().any(|name| name == "old"), "it is still listed:\n{listed}");
        Ok(())
    });
    report.check("the controller deleted the topic", gone);
    let create = ["--create", "--topic", "old", "--partitions", "1", "--replication-factor", "1"];
    report.check("the name is free", eventually(|| old.expect(TOPIC, &create, "Created topic")));
}
