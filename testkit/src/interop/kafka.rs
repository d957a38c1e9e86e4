//! An unmodified Apache Kafka broker that keeps its metadata with us.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::broker::compiled;
use super::foreign::{Report, Session};
use crate::process::{Kafka, Options, Service, Target};

/// Short, so that a frozen broker expires soon.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

fn start(target: Target) -> Result<(Service, Kafka)> {
    let service = target.start(Options::for_tests())?;
    let mut broker = Kafka::start(&format!("{}/kafka", service.connect_string()), SESSION_TIMEOUT)?;
    broker.await_log("[KafkaServer id=1] started", 1, Duration::from_secs(90))?;
    Ok((service, broker))
}

/// The broker's own clients: topics, records, groups, transactions, a restarted coordinator, an expired session.
pub(super) fn run(target: Target) -> Result<Report> {
    let mut command = compiled("kafka", &["KafkaSuite"])?;
    let (mut service, broker) = start(target)?;
    command.args([service.connect_string(), broker.bootstrap()]);
    let mut report = Report::default();
    Session::with_broker(&mut service, &broker)
        .run(command, Duration::from_secs(240), &mut report)
        .with_context(|| format!("the broker's last lines:\n{}", last_lines(&broker.log())))?;
    let topics = broker
        .tool("org.apache.kafka.tools.TopicCommand", &["--bootstrap-server", &broker.bootstrap(), "--list"]);
    report.check("kafka-topics lists the topics", topics.and_then(|text| holds(&text, "records")));
    Ok(report)
}

/// Two brokers on an ensemble, which go on producing and consuming while its members are killed and restarted.
pub(super) fn run_ensemble(target: Target) -> Result<Report> {
    let mut command = compiled("kafka", &["KafkaEnsembleSuite"])?;
    let target = Target { members: target.members.max(3), ..target };
    let mut service = target.start(Options::for_tests())?;
    let connect = format!("{}/kafka", service.connect_string());
    let mut brokers = Vec::new();
    for id in [1, 2] {
        // Long enough for the control to find a new leader.
        let mut broker = Kafka::start_one_of(id, 2, &connect, Duration::from_secs(18))?;
        broker.await_log(&format!("[KafkaServer id={id}] started"), 1, Duration::from_secs(90))?;
        brokers.push(broker);
    }
    let bootstrap: Vec<String> = brokers.iter().map(Kafka::bootstrap).collect();
    command.args([service.connect_string(), bootstrap.join(",")]);
    let mut report = Report::default();
    Session::new(&mut service)
        .run(command, Duration::from_secs(300), &mut report)
        .with_context(|| format!("the first broker's last lines:\n{}", last_lines(&brokers[0].log())))?;
    Ok(report)
}

/// Tries until it holds.
pub(super) fn eventually(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn holds(text: &str, wanted: &str) -> Result<()> {
    if text.contains(wanted) { Ok(()) } else { bail!("{wanted:?} is not in {text:?}") }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
