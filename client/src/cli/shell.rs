//! Commands one after the other, over one session.

mod completion;
mod keys;
mod line;
mod reader;
mod words;

use std::io::IsTerminal;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use tokio::sync::mpsc;

pub(super) use self::completion::complete;
pub(super) use self::reader::{Input, Reader};
pub(super) use self::words::split;

use super::args::Args;
use super::flags::{Command, Line};
use super::output::{BOLD, complain, styled};
use super::{FAILURE, places, with_session, without_session};
use crate::zk::{Coordinator, SessionState};

/// Notices that wait for the terminal.
const NOTICES: usize = 64;

/// Asks for commands until there are no more. The exit code is that of the last one.
pub(super) async fn run(args: &Args) -> Result<u8> {
    let (sender, notices) = mpsc::channel(NOTICES);
    let history = places::state().ok().map(|state| state.join("history"));
    let mut reader = Reader::new(history, notices)?;
    let mut zk = connect(args, &sender).await?;
    let vocabulary = Vocabulary::new();
    if reader.is_terminal() {
        println!("Connected to {}. `help` lists the commands, Ctrl-D leaves.", args.server);
    }
    let mut code = 0;
    loop {
        let prompt = prompt(args, &zk);
        let complete = async |before: &str| {
            complete(&zk, before, &vocabulary.commands, |words| vocabulary.flags(words)).await
        };
        match reader.line(&prompt, complete).await? {
            Input::Interrupted => {}
            Input::End => break,
            Input::Line(line) if matches!(line.trim(), "exit" | "quit") => break,
            Input::Line(line) if line.trim().is_empty() => {}
            Input::Line(line) => {
                if zk.state().is_final() {
                    eprintln!("The session is over; this is a new one.");
                    zk = connect(args, &sender).await?;
                }
                code = obey(&zk, &line, args).await.unwrap_or_else(|error| {
                    complain(&format!("{error:#}"));
                    FAILURE
                });
            }
        }
    }
    zk.close().await.ok();
    Ok(code)
}

/// A session whose troubles are told.
async fn connect(args: &Args, notices: &mpsc::Sender<String>) -> Result<Coordinator> {
    let zk = args.connect(&args.server).await?;
    let (mut states, notices) = (zk.states(), notices.clone());
    tokio::spawn(async move {
        while let Some(state) = states.next().await {
            let notice = match state {
                SessionState::Connected { .. } => "connected again",
                SessionState::Suspended => "the connection is lost",
                SessionState::Expired => "the session has expired",
                _ => continue,
            };
            if notices.send(notice.to_owned()).await.is_err() {
                return;
            }
        }
    });
    Ok(zk)
}

fn prompt(args: &Args, zk: &Coordinator) -> String {
    let mark = if zk.state().is_connected() { "" } else { " (not connected)" };
    format!("{}{mark}> ", args.server)
}

async fn obey(zk: &Coordinator, line: &str, args: &Args) -> Result<u8> {
    let words = split(line).map_err(anyhow::Error::msg)?;
    let Line { output, command } = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => {
            error.print()?;
            return Ok(error.exit_code() as u8);
        }
    };
    if let Some(code) = without_session(&command, args).await? {
        return Ok(code);
    }
    // What runs a command of its own sees to interrupts itself.
    let sees_to_interrupts = matches!(
        command,
        Command::Lock(_)
            | Command::Elect(_)
            | Command::Semaphore(_)
            | Command::Barrier(_)
            | Command::Register(_)
            | Command::Edit { .. }
    );
    let work = with_session(zk, command, args, output.unwrap_or(args.format));
    if sees_to_interrupts {
        return work.await;
    }
    tokio::select! {
        outcome = work => outcome,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            println!("{}", styled(std::io::stdout().is_terminal(), BOLD, "interrupted"));
            Ok(FAILURE)
        }
    }
}

/// What can be typed, for completions.
struct Vocabulary {
    commands: Vec<String>,
    root: clap::Command,
}

impl Vocabulary {
    fn new() -> Vocabulary {
        let mut root = Line::command();
        root.build();
        let mut commands: Vec<String> =
            root.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        commands.extend(["exit", "quit"].map(str::to_owned));
        Vocabulary { commands, root }
    }

    /// The flags and subcommands of the command that these words begin.
    fn flags(&self, words: &[String]) -> Vec<String> {
        let mut command = &self.root;
        for word in words {
            match command.find_subcommand(word) {
                Some(below) => command = below,
                None => break,
            }
        }
        let flags =
            command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?)));
        flags.chain(command.get_subcommands().map(|below| below.get_name().to_owned())).collect()
    }
}
