//! What the tool says and does where there is no server at all. What it does with one is in `testkit/tests/coordctl.rs`.
//!
//! With a test of its own, cargo builds the tool whenever it builds the tests of the workspace; those of the testkit find it
//! there.

use std::process::{Command, Stdio};

/// Standard output, standard error and exit code.
fn said(line: &[&str]) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coordctl"));
    for name in ["SERVER", "ADMIN", "PROFILE", "SASL"] {
        command.env_remove(format!("COORDCTL_{name}"));
    }
    let output = command.args(line).stdin(Stdio::null()).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.code().expect("an exit code"))
}

#[test]
fn a_line_that_makes_no_sense_is_refused_before_anybody_is_asked() {
    for (line, complaint) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["ls", "--ouput", "json"], "a similar argument exists: '--output'"),
        (&["get"], "<PATH>"),
        (&["lock", "/l"], "<COMMAND>..."),
        (&["lock", "/l", "true"], "unexpected argument 'true'"),
        (&["semaphore", "--leases", "0", "/s", "--", "true"], "a number above zero"),
        (&["queue", "put", "--priority", "1000", "/q", "x"], "1000 is not in 0..1000"),
        (&["register", "x", "--port", "1", "--payload", "{x", "--", "true"], "invalid value '{x'"),
        (&["create", "--ephemeral", "--container", "/x"], "cannot be used with"),
        (&["--timeout", "soon", "ls"], "a number of seconds"),
    ] {
        let (out, complaints, code) = said(line);
        assert_eq!((out.as_str(), code), ("", 2), "{line:?}");
        assert!(complaints.contains(complaint), "{line:?}: {complaints}");
    }
}

#[test]
fn what_needs_no_server_asks_for_none() {
    assert_eq!(said(&["--version"]).0, format!("coordctl {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let (script, complaints, code) = said(&["completions", shell]);
        assert!(code == 0 && complaints.is_empty() && script.contains("reconfig"), "{shell}: {complaints}");
    }
    assert!(said(&["man"]).0.starts_with(".ie"));
}

#[test]
fn who_cannot_be_reached_is_named() {
    for (line, who) in [
        (&["--server", "127.0.0.1:1", "--timeout", "0.2", "ls"][..], "127.0.0.1:1: Connection refused"),
        (&["--server", "127.0.0.1:1", "fourlw", "ruok"], "127.0.0.1:1: Connection refused"),
        (&["session", "list", "--server", "127.0.0.1:1", "--admin", "127.0.0.1:1"], "endpoint 127.0.0.1:1: "),
        (&["--tls-identity", "x", "ls"], "--tls-identity needs --tls-ca"),
        (&["--auth", "x", "ls"], "--auth needs scheme:token"),
        (&["--profile", "../x", "ls"], "is no name of a profile"),
        (&["fourlw", "hello"], "is no four-letter word"),
    ] {
        let (out, complaint, code) = said(line);
        assert_eq!((out.as_str(), code), ("", 1), "{line:?}");
        assert!(complaint.starts_with("coordctl: ") && complaint.contains(who), "{line:?}: {complaint}");
    }
}
