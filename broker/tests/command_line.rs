//! The program as people and containers use it: exit codes and output.

use std::process::{Command, Output};

fn broker(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    // What the developer's shell sets must not change the outcome.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("KAFKA_") || name.starts_with("ROOKERY_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn config_check_names_the_setting_and_what_is_allowed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("server.properties");
    let check = |content: &str| {
        std::fs::write(&file, content).expect("written");
        broker(&["config", "check", "--config", file.to_str().expect("plain")])
    };
    let good = check("broker.id=1\nzookeeper.connect=localhost:2181\nlog.dirs=/tmp/nowhere\n");
    assert!(good.status.success(), "{}", text(&good.stderr));
    let bad = check("broker.id=1\nzookeeper.connect=localhost:2181\nnum.partitions=none\n");
    assert!(!bad.status.success());
    let said = text(&bad.stderr) + &text(&bad.stdout);
    assert!(said.contains("num.partitions") && said.contains("none"), "{said}");
}

#[test]
fn a_healthcheck_of_nobody_fails() {
    // Nobody listens on the port of a socket that is bound and does not listen.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let sick = broker(&["healthcheck", "--server", &format!("127.0.0.1:{port}")]);
    assert_eq!(sick.status.code(), Some(1), "{}", text(&sick.stderr));
    assert!(!text(&sick.stderr).is_empty());
}

#[test]
fn help_names_every_command() {
    let help = broker(&["--help"]);
    assert!(help.status.success());
    for command in ["dev", "config", "healthcheck"] {
        assert!(text(&help.stdout).contains(command), "{command}: {}", text(&help.stdout));
    }
}
