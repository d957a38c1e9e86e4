//! Foreign clients of Kafka's protocol against our broker, which keeps its metadata on the service under test.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::foreign::{Report, Session};
use super::{go, kazoo};
use crate::process::{Broker, JavaProject, Options, Service, Target, java_command, scratch, workspace};

/// A service, and our broker on it.
pub(super) fn start(target: Target) -> Result<(Service, Broker)> {
    let service = target.start(Options::for_tests())?;
    let broker = Broker::start(&format!("{}/kafka", service.connect_string()))?;
    Ok((service, broker))
}

/// Lets a program, which is told where the broker is, work on it until it is done.
fn run(target: Target, mut command: Command) -> Result<Report> {
    let (mut service, mut broker) = start(target)?;
    command.arg(broker.bootstrap());
    let mut report = Report::default();
    let done = Session::with_our_broker(&mut service, &mut broker).run(
        command,
        Duration::from_secs(240),
        &mut report,
    );
    done.with_context(|| format!("the broker's last words:\n{}", broker.last_words()))?;
    Ok(report)
}

fn python(target: Target, suite: &str) -> Result<Report> {
    let mut command = Command::new(kazoo::python()?);
    command.args(["-u", "-W", "ignore"]).arg(workspace().join("testkit/interop/python").join(suite));
    run(target, command)
}

pub(super) fn kafka_python(target: Target) -> Result<Report> {
    python(target, "kafka_python_suite.py")
}

pub(super) fn librdkafka(target: Target) -> Result<Report> {
    python(target, "confluent_suite.py")
}

/// sarama and franz-go.
pub(super) fn go(target: Target) -> Result<Report> {
    run(target, Command::new(go::build("go-kafka")?))
}

const COMMON: &str = "suites/Checks.java";
const CLASSIC: &str = "suites/BrokerSuite.java";
const SINCE_2_8: &str = "suites/BrokerSince28Suite.java";

fn java(target: Target, project: &'static str, sources: &[&str], main: &str) -> Result<Report> {
    let class_path = JavaProject::new(project).compile(sources)?;
    let mut command = java_command(&class_path, &scratch("java")?);
    command.arg(main);
    run(target, command)
}

pub(super) fn java_1_1(target: Target) -> Result<Report> {
    java(target, "kafka-client-1.1", &[COMMON, CLASSIC], "BrokerSuite")
}

pub(super) fn java_2_8(target: Target) -> Result<Report> {
    java(target, "kafka-client-2.8", &[COMMON, CLASSIC, SINCE_2_8], "BrokerSince28Suite")
}

pub(super) fn java_3_9(target: Target) -> Result<Report> {
    java(target, "kafka-client-3.9", &[COMMON, CLASSIC, SINCE_2_8], "BrokerSince28Suite")
}

pub(super) fn java_4_1(target: Target) -> Result<Report> {
    java(target, "kafka-client-4.1", &[COMMON, CLASSIC, SINCE_2_8], "BrokerSince28Suite")
}
