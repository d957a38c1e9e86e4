//! The tool under the name `zkCli.sh` or `zkCli`: zkCli's flags, its commands, and what it prints.

mod commands;
mod flags;
mod limits;
mod print;
mod syntax;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use self::flags::Flags;
use self::syntax::{COMMANDS, Parsed, parse};
use super::shell::{Input, Reader, complete, split};
use super::{end, in_runtime, places};
use crate::zk::{Coordinator, Error, Notice, SessionState, Watch};

/// Notices that wait for the terminal.
const NOTICES: usize = 64;
/// As many commands as `history` may be asked to repeat.
const HISTORY_MAX: usize = 10_000;

/// Why a command failed, and with which exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1 }
    }

    /// An operation on this path failed.
    fn of(path: &str) -> impl Fn(Error) -> Failure + '_ {
        move |error| Failure::new(print::failure(&error, path))
    }
}

/// Whether this is the name under which we are zkCli.
pub(super) fn is_meant(program: &std::ffi::OsStr) -> bool {
    matches!(Path::new(program).file_name().and_then(|name| name.to_str()), Some("zkCli.sh" | "zkCli"))
}

/// Runs it on these arguments, without the program's name.
pub(super) fn main(arguments: Vec<String>) -> std::process::ExitCode {
    end(in_runtime(async {
        match Flags::parse(arguments) {
            Ok(flags) => run(flags).await,
            Err(message) => {
                eprintln!("{message}");
                Ok(1)
            }
        }
    }))
}

async fn run(flags: Flags) -> Result<u8> {
    println!("Connecting to {}", flags.server);
    let (sender, notices) = mpsc::channel(NOTICES);
    let history = places::state().ok().map(|state| state.join("zkcli-history"));
    let mut reader = Reader::new(history, notices)?;
    let mut shell = Shell {
        zk: None,
        host: flags.server.clone(),
        flags,
        watches_are_printed: Arc::new(AtomicBool::new(true)),
        notices: sender,
        history: Vec::new(),
        code: 0,
        is_over: false,
    };
    shell.connect().await?;
    if !shell.flags.command.is_empty() {
        let words = std::mem::take(&mut shell.flags.command);
        // Nobody reads lines: what watches have to say is said at once.
        shell.say(&print::session("SyncConnected"));
        shell.obey(words).await;
        shell.close().await;
        return Ok(shell.code);
    }
    println!("Welcome to ZooKeeper!");
    println!("JLine support is {}", if reader.is_terminal() { "enabled" } else { "disabled" });
    shell.say(&print::session("SyncConnected"));
    let names: Vec<String> = COMMANDS.iter().map(|syntax| syntax.name.to_owned()).collect();
    while !shell.is_over {
        let prompt = shell.prompt();
        let line = match &shell.zk {
            Some(zk) => {
                let known =
                    |words: &[String], _: &str| if words.is_empty() { names.clone() } else { Vec::new() };
                let complete = async |before: &str| complete(zk, before, known).await;
                reader.line(&prompt, complete).await?
            }
            None => reader.line(&prompt, async |_| Default::default()).await?,
        };
        match line {
            Input::Line(line) if line.is_empty() => {}
            Input::Line(line) => shell.line(&line).await,
            Input::Interrupted | Input::End => break,
        }
    }
    shell.close().await;
    Ok(shell.code)
}

/// zkCli between two commands.
struct Shell {
    /// `None` after `close`.
    zk: Option<Coordinator>,
    host: String,
    flags: Flags,
    watches_are_printed: Arc<AtomicBool>,
    notices: mpsc::Sender<String>,
    history: Vec<String>,
    /// That of the last command.
    code: u8,
    /// It was told to quit.
    is_over: bool,
}

impl Shell {
    async fn connect(&mut self) -> Result<()> {
        self.close().await;
        let Flags { timeout, read_only, tls, .. } = &self.flags;
        let mut builder = Coordinator::builder(&*self.host).session_timeout(*timeout).read_only(*read_only);
        if let Some(tls) = tls {
            builder = builder.tls(tls.clone());
        }
        let zk = builder.connect().await.context("KeeperErrorCode = ConnectionLoss")?;
        let mut states = zk.states();
        let (notices, printed) = (self.notices.clone(), Arc::clone(&self.watches_are_printed));
        tokio::spawn(async move {
            while let Some(state) = states.next().await {
                let name = match state {
                    SessionState::Connected { read_only: false, .. } => "SyncConnected",
                    SessionState::Connected { .. } => "ConnectedReadOnly",
                    SessionState::Suspended => "Disconnected",
                    SessionState::Expired => "Expired",
                    SessionState::AuthFailed => "AuthFailed",
                    SessionState::Closed => "Closed",
                    _ => continue,
                };
                let wanted = printed.load(Ordering::Relaxed);
                if wanted && notices.send(print::session(name)).await.is_err() {
                    return;
                }
            }
        });
        self.zk = Some(zk);
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(zk) = self.zk.take() {
            // It ends either way.
            let _ = zk.close().await;
        }
    }

    fn prompt(&self) -> String {
        let state = match self.zk.as_ref().map(Coordinator::state) {
            Some(SessionState::Connected { read_only: true, .. }) => "CONNECTEDREADONLY",
            Some(SessionState::Connected { .. }) => "CONNECTED",
            Some(SessionState::AuthFailed) => "AUTH_FAILED",
            None | Some(SessionState::Expired | SessionState::Closed) => "CLOSED",
            Some(_) => "CONNECTING",
        };
        format!("[zk: {}({state}) {}] ", self.host, self.history.len())
    }

    fn say(&self, notice: &str) {
        if self.watches_are_printed.load(Ordering::Relaxed) {
            println!("{notice}");
        }
    }

    async fn line(&mut self, line: &str) {
        let words = match split(line) {
            Ok(words) if words.is_empty() => return,
            Ok(words) => words,
            Err(message) => return eprintln!("{message}"),
        };
        if matches!(words[0].as_str(), "quit" | "exit") {
            return self.is_over = true;
        }
        let (line, words) = match self.redone(&words) {
            Ok(Some(redone)) => redone,
            Ok(None) => (line.to_owned(), words),
            Err(failure) => return self.fail(&failure),
        };
        self.obey(words).await;
        if self.history.len() < HISTORY_MAX {
            self.history.push(line);
        }
    }

    /// What `redo` repeats; `None` if it is another command.
    fn redone(&self, words: &[String]) -> Result<Option<(String, Vec<String>)>, Failure> {
        let [name, number, ..] = words else { return Ok(None) };
        if name != "redo" {
            return Ok(None);
        }
        let line = number.parse().ok().and_then(|number: usize| self.history.get(number));
        let line = line.ok_or_else(|| Failure::new("Command index out of range"))?;
        let words = split(line).map_err(Failure::new)?;
        if words.first().is_some_and(|name| name == "redo") {
            return Err(Failure::new("No redoing redos"));
        }
        Ok(Some((line.clone(), words)))
    }

    fn fail(&mut self, failure: &Failure) {
        self.code = failure.code;
        eprintln!("{}", failure.message);
    }

    async fn obey(&mut self, words: Vec<String>) {
        let outcome = match parse(&words) {
            Ok(parsed) => tokio::select! {
                outcome = self.execute(parsed) => outcome,
                _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
            },
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => self.code = 0,
            Err(failure) => self.fail(&failure),
        }
    }

    async fn execute(&mut self, parsed: Parsed) -> Result<(), Failure> {
        match parsed.name {
            "history" => {
                let first = self.history.len().saturating_sub(10);
                for (number, line) in self.history.iter().enumerate().skip(first) {
                    println!("{number} - {line}");
                }
                println!("{} - history", self.history.len());
                return Ok(());
            }
            "printwatches" => {
                match parsed.word(0) {
                    Some(word) => self.watches_are_printed.store(word == "on", Ordering::Relaxed),
                    None => {
                        let printed = self.watches_are_printed.load(Ordering::Relaxed);
                        println!("printwatches is {}", if printed { "on" } else { "off" });
                    }
                }
                return Ok(());
            }
            "connect" => {
                if let Some(host) = parsed.word(0) {
                    self.host = host.to_owned();
                }
                self.connect().await.map_err(|error| Failure::new(format!("{error:#}")))?;
                self.say(&print::session("SyncConnected"));
                return Ok(());
            }
            "close" => {
                self.close().await;
                return Ok(());
            }
            "quit" | "exit" | "redo" => return Ok(()),
            "version" => {
                println!("ZooKeeper CLI version: {} (coordctl)", env!("CARGO_PKG_VERSION"));
                return Ok(());
            }
            _ => {}
        }
        let Some(zk) = self.zk.clone() else {
            println!("Not connected");
            return Ok(());
        };
        commands::execute(self, &zk, &parsed).await
    }

    /// Prints what a watch on this path sees, as long as it sees something.
    fn follow(&self, mut watch: Watch, path: &str, kind: &'static str) {
        let (notices, printed) = (self.notices.clone(), Arc::clone(&self.watches_are_printed));
        let path = path.to_owned();
        tokio::spawn(async move {
            while let Some(notice) = watch.next().await {
                let text = match notice {
                    Notice::Changed(event) => print::watched(&event),
                    Notice::Removed => print::unwatched(kind, &path),
                    _ => continue,
                };
                let wanted = printed.load(Ordering::Relaxed);
                if wanted && notices.send(text).await.is_err() {
                    return;
                }
            }
        });
    }
}
