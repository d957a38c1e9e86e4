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
use super::flags::Line;
use super::output::{BOLD, complain, styled};
use super::{FAILURE, GOODBYE, places, said, with_session, without_session};
use crate::zk::{Coordinator, SessionState};

/// The exit code of what an interrupt has ended.
const INTERRUPTED: u8 = 130;
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
        let complete =
            async |before: &str| complete(&zk, before, |words, word| vocabulary.names(words, word)).await;
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
                    complain(&said(&error));
                    FAILURE
                });
            }
        }
    }
    let _ = tokio::time::timeout(GOODBYE, zk.close()).await;
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
    let sees_to_interrupts = command.sees_to_interrupts();
    let code = with_session(zk, command, args, output.unwrap_or(args.format)).await?;
    if code == INTERRUPTED && !sees_to_interrupts {
        println!("{}", styled(std::io::stdout().is_terminal(), BOLD, "interrupted"));
    }
    Ok(code)
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

    /// What may follow these words, if it is no znode, and begins as `word` does.
    fn names(&self, words: &[String], word: &str) -> Vec<String> {
        let Some(before) = words.last() else { return self.commands.clone() };
        let mut command = &self.root;
        for word in words {
            match command.find_subcommand(word) {
                Some(below) => command = below,
                None => break,
            }
        }
        let values = |argument: &clap::Arg| -> Vec<String> {
            argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
        };
        let is_meant = |argument: &&clap::Arg| {
            let short = argument.get_short().is_some_and(|short| *before == format!("-{short}"));
            short || argument.get_long().is_some_and(|long| *before == format!("--{long}"))
        };
        let flag = command.get_arguments().find(is_meant);
        if let Some(flag) = flag.filter(|flag| flag.get_action().takes_values()) {
            return values(flag);
        }
        if word.starts_with('-') {
            let long = |argument: &clap::Arg| Some(format!("--{}", argument.get_long()?));
            return command.get_arguments().filter_map(long).collect();
        }
        let below = command.get_subcommands().map(|below| below.get_name().to_owned());
        below.chain(command.get_positionals().flat_map(values)).collect()
    }
}
