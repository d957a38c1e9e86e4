//! kazoo, the Python client, with its recipes.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::foreign::{Report, Session};
use crate::process::{Options, Target, command_output, scratch, workspace};

/// Runs the suite.
pub(super) fn run(target: Target) -> Result<Report> {
    let python = python()?;
    let options = Options::for_tests().sasl_user("jane", "secret").super_user();
    let mut service = target.start(options)?;
    let mut command = Command::new(python);
    command
        .args(["-u", "-W", "ignore"])
        .arg(workspace().join("testkit/interop/python/kazoo_suite.py"))
        .arg(service.connect_string());
    let mut report = Report::default();
    Session::new(&mut service).run(command, Duration::from_secs(180), &mut report)?;
    Ok(report)
}

/// The interpreter of a virtual environment that holds what `requirements.txt` names.
pub(crate) fn python() -> Result<PathBuf> {
    let wanted = workspace().join("testkit/interop/python/requirements.txt");
    let home = scratch("python")?;
    let environment = home.join("venv");
    let python = environment.join("bin/python");
    let stamp = home.join("requirements.txt");
    let text = std::fs::read_to_string(&wanted)?;
    if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&text) {
        command_output(Command::new("python3").args(["-m", "venv"]).arg(&environment))
            .context("making a Python virtual environment")?;
        command_output(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&wanted))
            .context("installing the Python clients")?;
        std::fs::write(&stamp, text)?;
    }
    Ok(python)
}
