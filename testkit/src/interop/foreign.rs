//! A foreign client program and the conversation with it.
//!
//! The program prints one line per check: `ok NAME`, or `FAIL NAME: REASON`. A line that starts with `@` asks the
//! harness to do something to the server; the program waits for the answer, one line on its standard input:
//!
//! | line | effect |
//! |---|---|
//! | `@restart` | SIGTERM, then a start on the same directory and port |
//! | `@kill` | SIGKILL, then the same |
//! | `@kill-leader` | the same to the leader of an ensemble alone |
//! | `@freeze`, `@thaw` | SIGSTOP, SIGCONT |
//! | `@broker-freeze`, `@broker-thaw` | the same to the Kafka broker of the suite |
//! | `@broker-restart`, `@broker-kill` | SIGTERM or SIGKILL to the broker under test, then a start on the same directory and port |
//!
//! Of an ensemble, `@restart` and `@kill` reach one member after the other, the leader first when it is killed, and
//! `@freeze` reaches all at once.
//!
//! `@done` is the last line; a program that ends without it broke off.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Broker, Freeze, Kafka, Service};

/// The checks of one suite.
#[derive(Debug, Default)]
pub struct Report {
    /// How many held.
    pub passed: usize,
    /// Those that did not, with reasons.
    pub failed: Vec<String>,
}

impl Report {
    /// Records and prints one check.
    pub fn check(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.ok(name),
            Err(error) => self.fail(format!("{name}: {error:#}")),
        }
    }

    fn ok(&mut self, name: &str) {
        println!("ok   {name}");
        self.passed += 1;
    }

    fn fail(&mut self, line: String) {
        println!("FAIL {line}");
        self.failed.push(line);
    }
}

/// Ends the program when the conversation ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A conversation between a program and the service it works on.
#[derive(Debug)]
pub struct Session<'a> {
    service: &'a mut Service,
    broker: Option<&'a Kafka>,
    under_test: Option<&'a mut Broker>,
    frozen: Vec<Freeze>,
}

impl<'a> Session<'a> {
    /// Begins a conversation about this service.
    pub fn new(service: &'a mut Service) -> Session<'a> {
        Session { service, broker: None, under_test: None, frozen: Vec::new() }
    }

    /// Begins a conversation about this service and a broker that depends on it.
    pub fn with_broker(service: &'a mut Service, broker: &'a Kafka) -> Session<'a> {
        Session { service, broker: Some(broker), under_test: None, frozen: Vec::new() }
    }

    /// The same about a broker under test.
    pub fn with_broker_under_test(service: &'a mut Service, broker: &'a mut Broker) -> Session<'a> {
        Session { service, broker: None, under_test: Some(broker), frozen: Vec::new() }
    }

    /// Runs the program until it is done, for at most `patience`.
    pub fn run(&mut self, mut command: Command, patience: Duration, report: &mut Report) -> Result<()> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Running)
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut answers = child.0.stdin.take().context("standard input is piped")?;
        let lines = read_lines(child.0.stdout.take().context("standard output is piped")?);
        let noise = read_lines(child.0.stderr.take().context("standard error is piped")?);
        let deadline = Instant::now() + patience;
        let mut last_line = String::from("(nothing)");
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if line == "@done" {
                        return Ok(());
                    } else if let Some(wish) = line.strip_prefix('@') {
                        self.fulfil(wish).with_context(|| format!("the client asked for @{wish}"))?;
                        answers.write_all(b"done\n")?;
                        answers.flush()?;
                    } else if let Some(name) = line.strip_prefix("ok ") {
                        report.ok(name.trim());
                    } else if let Some(reason) = line.strip_prefix("FAIL ") {
                        report.fail(reason.trim().to_owned());
                    }
                    last_line = line;
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no end after {patience:?}; last line: {last_line}\n{}", tail(&noise))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child.0.wait()?;
                    // Give the error output a moment to arrive whole.
                    std::thread::sleep(Duration::from_millis(100));
                    bail!("ended with {status} after line {last_line:?}\n{}", tail(&noise));
                }
            }
        }
    }

    fn fulfil(&mut self, wish: &str) -> Result<()> {
        match wish {
            "restart" => self.service.restart(),
            "kill" => self.service.kill(),
            "kill-leader" => self.service.kill_leader(),
            "freeze" => {
                self.frozen = self.service.freeze()?;
                Ok(())
            }
            "broker-freeze" => {
                self.frozen = vec![self.broker.context("the suite has no broker")?.freeze()?];
                Ok(())
            }
            "broker-restart" => {
                self.under_test.as_mut().context("the suite has no broker under test")?.restart()
            }
            "broker-kill" => {
                self.under_test.as_mut().context("the suite has no broker under test")?.kill_and_restart()
            }
            "thaw" | "broker-thaw" => {
                self.frozen.clear();
                Ok(())
            }
            _ => bail!("unknown wish"),
        }
    }
}

/// Reads lines on a thread of their own, so that waiting for one can end.
fn read_lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn tail(lines: &Receiver<String>) -> String {
    let lines: Vec<String> = lines.try_iter().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
