//! The newest Java client over TLS and with SASL: certificates and passwords, right and wrong.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::foreign::{Report, Session};
use crate::certificates::Authority;
use crate::process::{JavaProject, Kind, Options, Target, free_port, java_command};

const LOGINS: &[(&str, &str, &str)] =
    &[("Right", "jane", "secret"), ("WrongPassword", "jane", "secreT"), ("Nobody", "joe", "secret")];

fn write_files(folder: &Path) -> Result<()> {
    let (authority, foreign) = (Authority::new("authority")?, Authority::new("foreign authority")?);
    let logins = LOGINS.iter().map(|(section, user, password)| {
        format!(
            "{section} {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  \
             username=\"{user}\"\n  password=\"{password}\";\n}};\n"
        )
    });
    for (name, text) in [
        ("authority.pem", authority.pem.clone()),
        ("foreign-authority.pem", foreign.pem.clone()),
        ("server.pem", authority.issue("server")?),
        ("client.pem", authority.issue("client")?),
        ("other.pem", authority.issue("other")?),
        ("foreign.pem", foreign.issue("client")?),
        ("logins.conf", logins.collect()),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

pub(super) fn run(target: Target) -> Result<Report> {
    let class_path =
        JavaProject::new("client-3.9").compile(&["suites/Checks.java", "suites/SecureSuite.java"])?;
    let folder = tempfile::tempdir()?;
    write_files(folder.path())?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let secure_port = free_port();
    let mut options = Options::for_tests()
        .sasl_user("jane", "secret")
        .key("secureClientPort", secure_port)
        .key("secureClientPortAddress", "127.0.0.1")
        .key("client.portUnification", true)
        .key("ssl.keyStore.location", file("server.pem"))
        .key("ssl.keyStore.type", "PEM")
        .key("ssl.trustStore.location", file("authority.pem"))
        .key("ssl.trustStore.type", "PEM")
        .key("ssl.clientAuth", "need");
    if target.kind == Kind::Zookeeper {
        options = options
            .key("serverCnxnFactory", "org.apache.zookeeper.server.NettyServerCnxnFactory")
            .key("authProvider.2", "org.apache.zookeeper.server.auth.X509AuthenticationProvider");
        options.jvm_flags.push("-Dzookeeper.fips-mode=false".to_owned());
    }
    let mut service = Target::one(target.kind).start(options)?;
    let mut command = java_command(&class_path, folder.path());
    command.arg("-Dzookeeper.fips-mode=false");
    command.arg(format!("-Djava.security.auth.login.config={}", file("logins.conf")));
    command.args(["SecureSuite", &service.connect_string(), &format!("127.0.0.1:{secure_port}")]);
    command.arg(folder.path());
    let mut report = Report::default();
    Session::new(&mut service).run(command, Duration::from_secs(180), &mut report)?;
    Ok(report)
}
