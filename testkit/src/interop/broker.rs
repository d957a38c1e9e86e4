//! Foreign clients of Kafka's protocol against a broker, which keeps its metadata on the service under test.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::foreign::{Report, Session};
use super::{go, kazoo, node};
use crate::process::{Broker, JavaProject, Options, Service, Target, java_command, scratch, workspace};

/// How long the checks of one program may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// A service, and a broker on it.
pub(super) fn start(target: Target) -> Result<(Service, Broker)> {
    let service = target.start(Options::for_tests())?;
    let broker = Broker::start(target.broker, &format!("{}/kafka", service.connect_string()))?;
    Ok((service, broker))
}

/// Lets a program, which is told where the broker is, work on it until it is done.
fn run(target: Target, mut command: Command) -> Result<Report> {
    let (mut service, mut broker) = start(target)?;
    command.arg(broker.bootstrap());
    let mut report = Report::default();
    talk(&mut service, &mut broker, command, &mut report)?;
    Ok(report)
}

/// Lets a program work until it is done.
pub(super) fn talk(
    service: &mut Service,
    broker: &mut Broker,
    command: Command,
    report: &mut Report,
) -> Result<()> {
    let done = Session::with_broker_under_test(service, broker).run(command, PATIENCE, report);
    done.with_context(|| format!("the broker's last words:\n{}", broker.last_words()))
}

/// What starts one of the programs in Python.
pub(super) fn python_command(suite: &str) -> Result<Command> {
    let mut command = Command::new(kazoo::python()?);
    command.args(["-u", "-W", "ignore"]).arg(workspace().join("testkit/interop/python").join(suite));
    Ok(command)
}

pub(super) fn kafka_python(target: Target) -> Result<Report> {
    run(target, python_command("kafka_python_suite.py")?)
}

pub(super) fn librdkafka(target: Target) -> Result<Report> {
    run(target, python_command("confluent_suite.py")?)
}

pub(super) fn kafkajs(target: Target) -> Result<Report> {
    run(target, node::program("kafkajs_suite.js")?)
}

/// sarama, franz-go and kafka-go.
pub(super) fn go(target: Target) -> Result<Report> {
    run(target, Command::new(go::build("go-kafka")?))
}

/// The classes in the `suites` folder that every suite of Java clients is built on.
const COMMON: [&str; 2] = ["Checks", "BrokerChecks"];
const CLASSIC: &str = "BrokerSuite";
const SINCE_1_1: &str = "BrokerSince11Suite";
const SINCE_2_8: &str = "BrokerSince28Suite";

/// Compiles these classes; the command starts the last of them.
pub(super) fn compiled(project: &'static str, classes: &[&str]) -> Result<Command> {
    let main = classes.last().context("a suite has a class")?;
    let sources: Vec<String> =
        COMMON.iter().chain(classes).map(|class| format!("suites/{class}.java")).collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let class_path = JavaProject::new(project).compile(&sources)?;
    let mut command = java_command(&class_path, &scratch("java")?);
    command.arg(main);
    Ok(command)
}

fn java(target: Target, project: &'static str, classes: &[&str]) -> Result<Report> {
    run(target, compiled(project, classes)?)
}

pub(super) fn java_0_11(target: Target) -> Result<Report> {
    java(target, "kafka-client-0.11", &[CLASSIC, "Broker011Suite"])
}

pub(super) fn java_1_1(target: Target) -> Result<Report> {
    java(target, "kafka-client-1.1", &[CLASSIC, SINCE_1_1])
}

pub(super) fn java_2_8(target: Target) -> Result<Report> {
    java(target, "kafka-client-2.8", &[CLASSIC, SINCE_1_1, SINCE_2_8])
}

pub(super) fn java_3_9(target: Target) -> Result<Report> {
    java(target, "kafka-client-3.9", &[CLASSIC, SINCE_1_1, SINCE_2_8])
}

pub(super) fn java_4_1(target: Target) -> Result<Report> {
    java(target, "kafka-client-4.1", &[CLASSIC, SINCE_1_1, SINCE_2_8])
}

pub(super) fn streams(target: Target) -> Result<Report> {
    java(target, "kafka-streams", &["StreamsSuite"])
}
