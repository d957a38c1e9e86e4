//! Makes the recordings in `testkit/golden` anew.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::foreign::{Report, Session};
use super::{go, kazoo};
use crate::golden::{self, Recorder};
use crate::process::{JavaProject, Kind, Server, Service, java_command, scratch, workspace};

/// Runs every client's script through a recording proxy to Apache ZooKeeper.
pub fn record() -> Result<()> {
    let checks = "suites/Checks.java";
    let java = |project: &'static str, sources: &[&str], main: &str| -> Result<Command> {
        let class_path = JavaProject::new(project).compile(sources)?;
        let mut command = java_command(&class_path, &scratch("java")?);
        command.args(["-Dzookeeper.sasl.client=false", main]);
        Ok(command)
    };
    let classic = [checks, "suites/GoldenScript.java"];
    let newest = [checks, "suites/GoldenScript.java", "suites/Golden39Script.java"];
    one("java-3.4.12", java("client-3.4", &classic, "GoldenScript")?)?;
    one("java-3.5.10", java("client-3.5", &classic, "GoldenScript")?)?;
    one("java-3.9.5", java("client-3.9", &newest, "Golden39Script")?)?;
    let curator = [checks, "suites/GoldenCuratorScript.java"];
    one("curator-5.9.0", java("curator", &curator, "GoldenCuratorScript")?)?;
    let mut python = Command::new(kazoo::python()?);
    python.args(["-u", "-W", "ignore"]).arg(workspace().join("testkit/interop/python/kazoo_golden.py"));
    one("kazoo-2.11.0", python)?;
    let mut golang = Command::new(go::build("go")?);
    golang.arg("golden");
    one("go-zookeeper-1.0.4", golang)
}

/// Runs one client's script; the program gets the address as its last argument.
fn one(client: &str, mut command: Command) -> Result<()> {
    let server = Server::start_new(Kind::Zookeeper, golden::options())?;
    let recorder = Recorder::start(server.address())?;
    command.arg(recorder.address().to_string());
    let mut report = Report::default();
    Session::new(&mut Service::Server(server))
        .run(command, Duration::from_secs(60), &mut report)
        .with_context(|| format!("recording {client}"))?;
    ensure!(report.failed.is_empty(), "{client}: {:?}", report.failed);
    let folder = workspace().join("testkit/golden/zk").join(client);
    std::fs::create_dir_all(&folder)?;
    let text = recorder.text(&format!("{client} with Apache ZooKeeper 3.9.5"));
    std::fs::write(folder.join("script.hex"), text)?;
    println!("recorded {client}");
    Ok(())
}
