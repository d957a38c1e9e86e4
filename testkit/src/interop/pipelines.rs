//! Programs that carry records to the broker and away from it: Kafka Connect and Flume.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::broker_tools::{CONSUMER, Tools};
use super::foreign::Report;
use super::kafka::eventually;
use crate::process::{JavaProject, Process, Target, free_port, java_command};

/// How long a program may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Lines go from a file into a topic and from there into another file, each once, over a restart as well.
pub(super) fn connect(target: Target) -> Result<Report> {
    let class_path = JavaProject::new("kafka-connect").class_path()?;
    let (_service, broker) = super::broker::start(target)?;
    let folder = TempDir::with_prefix("rookery-connect-")?;
    let home = folder.path();
    let worker = [
        &format!("bootstrap.servers={}", broker.bootstrap()),
        "key.converter=org.apache.kafka.connect.storage.StringConverter",
        "value.converter=org.apache.kafka.connect.storage.StringConverter",
        "offset.storage.file.filename=offsets",
        "offset.flush.interval.ms=500",
        &format!("listeners=http://127.0.0.1:{}", free_port()),
        "plugin.discovery=service_load",
    ];
    write_lines(&home.join("worker.properties"), &worker)?;
    let source = ["name=source", "connector.class=FileStreamSource", "file=source.txt", "topic=copied"];
    write_lines(&home.join("source.properties"), &source)?;
    let sink = ["name=sink", "connector.class=FileStreamSink", "topics=copied", "file=sink.txt"];
    write_lines(&home.join("sink.properties"), &sink)?;

    let mut report = Report::default();
    let mut lines = Vec::new();
    for (name, more) in [
        ("a file goes through a topic into another file", ["one", "two", "three"]),
        ("after a restart each line still comes once", ["four", "five", "six"]),
    ] {
        lines.extend(more);
        write_lines(&home.join("source.txt"), &lines)?;
        let mut command = java_command(&class_path, home);
        command.args(["org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties"]);
        command.args(["source.properties", "sink.properties"]);
        let mut process = Process::start(&mut command, &home.join("connect.log"))?;
        let copied = || -> Result<Vec<String>> {
            Ok(std::fs::read_to_string(home.join("sink.txt"))?.lines().map(str::to_owned).collect())
        };
        let arrived = eventually(|| {
            let copied = copied()?;
            ensure!(copied.len() >= lines.len(), "only {copied:?} arrived");
            Ok(())
        });
        process.terminate(STOP_PATIENCE)?;
        let exactly = arrived.and_then(|()| {
            let copied = copied()?;
            ensure!(copied == lines, "{copied:?} arrived");
            Ok(())
        });
        report.check(name, exactly.with_context(|| process.log_tail(4000)));
    }
    Ok(report)
}

/// Lines go from a socket into a topic.
pub(super) fn flume(target: Target) -> Result<Report> {
    let class_path = JavaProject::new("flume").class_path()?;
    let (_service, broker) = super::broker::start(target)?;
    let folder = TempDir::with_prefix("rookery-flume-")?;
    let port = free_port();
    let agent = [
        "agent.sources = lines",
        "agent.channels = memory",
        "agent.sinks = kafka",
        "agent.sources.lines.type = netcat",
        "agent.sources.lines.bind = 127.0.0.1",
        &format!("agent.sources.lines.port = {port}"),
        "agent.sources.lines.channels = memory",
        "agent.channels.memory.type = memory",
        "agent.sinks.kafka.type = org.apache.flume.sink.kafka.KafkaSink",
        "agent.sinks.kafka.channel = memory",
        &format!("agent.sinks.kafka.kafka.bootstrap.servers = {}", broker.bootstrap()),
        "agent.sinks.kafka.kafka.topic = said",
        "agent.sinks.kafka.kafka.producer.acks = all",
    ];
    write_lines(&folder.path().join("agent.conf"), &agent)?;
    let mut command = java_command(&class_path, folder.path());
    command.args(["org.apache.flume.node.Application", "--name", "agent"]);
    command.args(["--conf-file", "agent.conf", "--no-reload-conf"]);
    let mut process = Process::start(&mut command, &folder.path().join("flume.log"))?;

    let mut report = Report::default();
    let taken = say(port, &["one", "two", "three"]).with_context(|| process.log_tail(4000));
    report.check("the agent takes lines", taken);
    let arguments = ["--topic", "said", "--from-beginning", "--max-messages", "3", "--timeout-ms", "30000"];
    let read = Tools::new(&broker)?.expect(CONSUMER, &arguments, &["one\n", "two\n", "three\n"]);
    report.check("they are in the topic", read.map(drop));
    process.terminate(STOP_PATIENCE)?;
    Ok(report)
}

/// Says lines to the agent, which acknowledges each.
fn say(port: u16, lines: &[&str]) -> Result<()> {
    let mut connected = None;
    eventually(|| {
        connected = Some(TcpStream::connect(("127.0.0.1", port))?);
        Ok(())
    })?;
    let mut stream = connected.context("a connection")?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    for line in lines {
        writeln!(stream, "{line}")?;
        let answer = answers.next().context("the agent hung up")??;
        ensure!(answer == "OK", "the agent said {answer:?}");
    }
    Ok(())
}

fn write_lines(path: &Path, lines: &[&str]) -> Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(std::fs::write(path, text)?)
}
