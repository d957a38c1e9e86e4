//! Sessions that only one member of an ensemble knows, as the Java client sees them.

use std::time::Duration;

use anyhow::Result;

use super::foreign::{Report, Session};
use crate::process::{JavaProject, Kind, Options, Target, java_command, scratch};

/// On three members, with and without the right to become everybody's.
pub(super) fn run(target: Target) -> Result<Report> {
    let sources = ["suites/Checks.java", "suites/LocalSessionsSuite.java"];
    let class_path = JavaProject::new("client-3.9").compile(&sources)?;
    let target = Target { members: target.members.max(3), ..target };
    let mut report = Report::default();
    for upgrading in [false, true] {
        println!("localSessionsUpgradingEnabled={upgrading}");
        let options = Options::for_tests()
            .key("localSessionsEnabled", true)
            .key("localSessionsUpgradingEnabled", upgrading);
        let mut service = target.start(options)?;
        let mut command = java_command(&class_path, &scratch("java")?);
        let flags = [upgrading, target.kind == Kind::Coordinator].map(|flag| flag.to_string());
        command.arg("LocalSessionsSuite").arg(service.connect_string()).args(flags);
        Session::new(&mut service).run(command, Duration::from_secs(240), &mut report)?;
    }
    Ok(report)
}
