//! The newest Java client and librdkafka over TLS, with certificates on both sides.

use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use super::broker::{compiled, python_command, talk};
use super::foreign::Report;
use crate::certificates::Authority;
use crate::process::{Broker, Options, Target, free_port};

pub(super) fn run(target: Target) -> Result<Report> {
    let java = compiled("kafka-client-3.9", &["BrokerTlsSuite"])?;
    let python = python_command("confluent_tls_suite.py")?;
    let folder = TempDir::with_prefix("rookery-tls-")?;
    write_files(folder.path())?;
    let mut service = target.start(Options::for_tests())?;
    let connect = format!("{}/kafka", service.connect_string());
    let secure = format!("127.0.0.1:{}", free_port());
    let mut broker =
        Broker::start_with(target.broker, &connect, |port| settings(folder.path(), port, &secure))?;
    let mut report = Report::default();
    for mut command in [java, python] {
        command.arg(folder.path()).arg(&secure);
        talk(&mut service, &mut broker, command, &mut report)?;
    }
    Ok(report)
}

/// A second listener, for TLS. The clear one stays for the harness.
fn settings(folder: &Path, clear_port: u16, secure: &str) -> Vec<(&'static str, String)> {
    let file = |name: &str| folder.join(name).display().to_string();
    vec![
        ("listeners", format!("PLAINTEXT://127.0.0.1:{clear_port},SSL://{secure}")),
        ("ssl.keystore.type", "PEM".to_owned()),
        ("ssl.keystore.location", file("server.pem")),
        ("ssl.truststore.type", "PEM".to_owned()),
        ("ssl.truststore.location", file("authority.pem")),
        ("ssl.client.auth", "required".to_owned()),
    ]
}

fn write_files(folder: &Path) -> Result<()> {
    let (authority, foreign) = (Authority::new("authority")?, Authority::new("foreign authority")?);
    for (name, text) in [
        ("authority.pem", authority.pem.clone()),
        ("foreign-authority.pem", foreign.pem.clone()),
        ("server.pem", authority.issue("server")?),
        ("client.pem", authority.issue("client")?),
        ("foreign.pem", foreign.issue("client")?),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
