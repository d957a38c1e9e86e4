//! coordctl beside a server of its own.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use testkit::process::{Options, Server};

pub fn binary() -> PathBuf {
    testkit::process::coordctl().expect("coordctl")
}

pub struct Shell {
    pub server: Server,
}

impl Shell {
    pub fn new() -> Shell {
        Shell::with(Options::for_tests())
    }

    pub fn with(options: Options) -> Shell {
        Shell { server: Server::coordinator(options.without_sync()).expect("start the server") }
    }

    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env("COORDCTL_SERVER", self.server.connect_string()).args(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run_with(&self, line: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(line).spawn().expect("coordctl starts");
        child.stdin.take().expect("standard input is piped").write_all(input).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    /// What a command prints when it works.
    pub fn ok(&self, line: &[&str]) -> String {
        let output = self.run_with(line, b"");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line:?} ended with {}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Exit code and complaint of a command that does not.
    pub fn fails(&self, line: &[&str]) -> (i32, String) {
        let output = self.run_with(line, b"");
        (
            output.status.code().expect("an exit code"),
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )
    }
}
