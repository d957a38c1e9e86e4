//! Kafka's tools move a partition from one data directory to another while it is read and written.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::broker_tools::{CONSUMER, TOPICS, Tools};
use super::foreign::Report;
use crate::process::{Broker, Options, Target};

const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
/// How long a move may take once nothing slows it.
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// The lines before the move; one more comes meanwhile.
const LINES: usize = 5000;

pub(super) fn run(target: Target) -> Result<Report> {
    let service = target.start(Options::for_tests())?;
    let folder = tempfile::TempDir::with_prefix("rookery-dirs-")?;
    let dirs = [folder.path().join("a"), folder.path().join("b")];
    let both = format!("{},{}", dirs[0].display(), dirs[1].display());
    let connect = format!("{}/kafka", service.connect_string());
    let broker = Broker::start_with(target.broker, &connect, |_| vec![("log.dirs", both)])?;
    let tools = Tools::new(&broker)?;
    let mut report = Report::default();
    tools.expect(TOPICS, &["--create", "--topic", "moved"], &["Created topic"])?;
    let line = "x".repeat(200) + "\n";
    tools.produce(&["--topic", "moved"], &line.repeat(LINES))?;
    let [from, to] =
        if dirs[0].join("moved-0").exists() { [&dirs[0], &dirs[1]] } else { [&dirs[1], &dirs[0]] };

    let plan = |dir: &Path| -> Result<String> {
        let file = folder.path().join("plan.json");
        let text = format!(
            r#"{{"version":1,"partitions":[{{"topic":"moved","partition":0,"replicas":[1],"log_dirs":["{}"]}}]}}"#,
            dir.display()
        );
        std::fs::write(&file, text)?;
        Ok(file.to_string_lossy().into_owned())
    };
    let reassign = |file: &str, more: &[&str], wanted: &[&str]| {
        let arguments = [&["--reassignment-json-file", file][..], more].concat();
        tools.expect(REASSIGN, &arguments, wanted)
    };

    let file = plan(&folder.path().join("nowhere"))?;
    let refused = reassign(&file, &["--execute"], &[]);
    report.check("a directory that is none", refused_because(refused, "LogDirNotFoundException"));

    let file = plan(to)?;
    let slowly = ["--execute", "--replica-alter-log-dirs-throttle", "1000"];
    let begun = reassign(&file, &slowly, &["Successfully started moving log directory to"]);
    report.check("kafka-reassign-partitions --execute, slowly", begun.map(drop));
    let described = ["--describe", "--topic-list", "moved"];
    let grows = tools.expect(LOG_DIRS, &described, &["\"isFuture\":true", "\"isFuture\":false"]);
    report.check("kafka-log-dirs shows the copy", grows.map(drop));
    let unfinished = reassign(&file, &["--verify", "--preserve-throttles"], &["is still in progress"]);
    report.check("kafka-reassign-partitions --verify, too early", unfinished.map(drop));
    report.check("a line meanwhile", tools.produce(&["--topic", "moved"], "one more\n"));
    let faster = ["--execute", "--additional", "--replica-alter-log-dirs-throttle", "100000000"];
    report.check("a higher limit", reassign(&file, &faster, &[]).map(drop));

    let deadline = Instant::now() + MOVED_WITHIN;
    while !to.join("moved-0").exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    let done = reassign(&file, &["--verify"], &["Reassignment of replica moved-0-1 completed successfully"]);
    report.check("kafka-reassign-partitions --verify", done.map(drop));
    let told = tools.expect(LOG_DIRS, &described, &["moved-0"]).and_then(|text| {
        ensure!(!text.contains("\"isFuture\":true"), "the copy is still there:\n{text}");
        Ok(())
    });
    report.check("kafka-log-dirs shows the partition once", told);
    report.check("it is in the other directory", is_only_in(to, from));
    let count = (LINES + 1).to_string();
    let arguments =
        ["--topic", "moved", "--from-beginning", "--max-messages", &count, "--timeout-ms", "30000"];
    report.check("everything is there", tools.expect(CONSUMER, &arguments, &["one more"]).map(drop));
    Ok(report)
}

fn refused_because(result: Result<String>, why: &str) -> Result<()> {
    let text = result.unwrap_or_else(|error| format!("{error:#}"));
    ensure!(text.contains(why), "{why} is not in:\n{text}");
    Ok(())
}

/// Apache Kafka keeps what was replaced for a minute, under another name.
fn is_only_in(dir: &Path, other: &Path) -> Result<()> {
    ensure!(dir.join("moved-0").exists(), "it is not in {}", dir.display());
    for entry in other.read_dir().context("listing a data directory")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_left = name.starts_with("moved-0") && !name.ends_with("-delete");
        ensure!(!is_left, "{name} is left in {}", other.display());
    }
    Ok(())
}
