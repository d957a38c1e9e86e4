//! go-zookeeper, which still connects with the handshake of ZooKeeper 3.3.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::foreign::{Report, Session};
use crate::process::{Options, Target, command_output, scratch, workspace};

pub(super) fn run(target: Target) -> Result<Report> {
    let binary = build("go")?;
    let mut service = target.start(Options::for_tests())?;
    let mut command = Command::new(&binary);
    command.arg("checks").arg(service.connect_string());
    let mut report = Report::default();
    Session::new(&mut service).run(command, Duration::from_secs(180), &mut report)?;
    Ok(report)
}

/// Builds the program in that folder of `testkit/interop`; Go's own cache makes that quick when nothing changed.
pub(super) fn build(folder: &str) -> Result<PathBuf> {
    let binary = scratch(folder)?.join("suite");
    command_output(
        Command::new("go")
            .current_dir(workspace().join("testkit/interop").join(folder))
            .args(["build", "-o"])
            .arg(&binary)
            .arg("."),
    )
    .context("building the Go suite")?;
    Ok(binary)
}
