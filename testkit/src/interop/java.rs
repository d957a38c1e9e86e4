//! The Java client of three ages.

use std::time::Duration;

use anyhow::Result;

use super::foreign::{Report, Session};
use super::service::Target;
use crate::process::{JavaProject, Options, java_command, scratch};

/// What every version can do.
const COMMON: &str = "suites/Checks.java";
const CLASSIC: &str = "suites/ClassicSuite.java";

pub(super) fn run_3_4(target: Target) -> Result<Report> {
    run(target, "client-3.4", &[COMMON, CLASSIC], "ClassicSuite")
}

pub(super) fn run_3_5(target: Target) -> Result<Report> {
    run(target, "client-3.5", &[COMMON, CLASSIC, "suites/Since35Suite.java"], "Since35Suite")
}

pub(super) fn run_3_9(target: Target) -> Result<Report> {
    let sources = [COMMON, CLASSIC, "suites/Since35Suite.java", "suites/Since39Suite.java"];
    run(target, "client-3.9", &sources, "Since39Suite")
}

/// Compiles a suite against a project's jars and lets it work on a fresh server.
pub(super) fn run(target: Target, project: &'static str, sources: &[&str], main: &str) -> Result<Report> {
    let class_path = JavaProject::new(project).compile(sources)?;
    let options = Options::for_tests().sasl_user("jane", "secret");
    let mut service = target.start(options)?;
    let mut command = java_command(&class_path, &scratch("java")?);
    // Old clients work out a server's Kerberos name even when nobody asked for Kerberos, and fail at it on
    // today's Java.
    command.arg("-Dzookeeper.sasl.client=false");
    command.args([main, &service.connect_string()]);
    let mut report = Report::default();
    Session::new(&mut service).run(command, Duration::from_secs(240), &mut report)?;
    Ok(report)
}
