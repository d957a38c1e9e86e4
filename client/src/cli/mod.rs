//! `coordctl`: from what was typed to what is printed.

mod access;
mod args;
mod changes;
mod dates;
mod edit;
mod ensemble;
mod flags;
mod interrupts;
mod jobs;
mod manual;
mod output;
mod places;
mod progress;
mod putting;
mod quota;
mod run;
mod search;
mod sessions;
mod shell;
mod stdin;
mod subtrees;
mod transfer;
mod walk;
mod zkcli;
mod znodes;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use self::args::Args;
use self::flags::{Command, Flags, Format, SessionCommand};
use self::interrupts::interrupted;
use self::output::complain;
use self::subtrees::Subtree;
use crate::zk::{Coordinator, Error};

/// It did not work.
const FAILURE: u8 = 1;
/// How long to wait for a server to hear that the session is over, which it would find out by itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs the tool on this process's arguments.
pub fn coordctl() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|program| zkcli::is_meant(&program)) {
        return zkcli::main(arguments.map(|argument| argument.to_string_lossy().into_owned()).collect());
    }
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        // Help and version are no failures, and clap knows which stream and code each has.
        Err(error) => error.exit(),
    };
    end(in_runtime(perform(flags)))
}

fn in_runtime(work: impl Future<Output = Result<u8>>) -> Result<u8> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let outcome = runtime.block_on(work);
    // A read of the terminal may be under way, which nobody waits for any more.
    runtime.shutdown_background();
    outcome
}

fn end(outcome: Result<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&said(&error));
            ExitCode::from(FAILURE)
        }
    }
}

/// What there is to say of a failure.
fn said(error: &anyhow::Error) -> String {
    match error.downcast_ref() {
        // It names the path itself.
        Some(error @ Error::BadPath { .. }) => error.to_string(),
        _ => format!("{error:#}"),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(is_pipe)
            || cause.downcast_ref::<serde_json::Error>().is_some_and(serde_json::Error::is_io)
    })
}

/// Carries out what was typed and says how to exit.
async fn perform(Flags { global, command }: Flags) -> Result<u8> {
    let mut args = Args::of(global)?;
    let Some(command) = command.filter(|command| !matches!(command, Command::Shell)) else {
        args.in_shell = true;
        return shell::run(&args).await;
    };
    if let Some(code) = without_session(&command, &args).await? {
        return Ok(code);
    }
    let zk = args.connect(&args.server).await?;
    let outcome = with_session(&zk, command, &args, args.format).await;
    // What was asked for is done or not, even if the servers do not hear that we go.
    let _ = tokio::time::timeout(GOODBYE, zk.close()).await;
    outcome
}

/// Carries out what needs no session; `None` if the command does.
async fn without_session(command: &Command, args: &Args) -> Result<Option<u8>> {
    match command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Flags::command(), "coordctl", &mut std::io::stdout());
        }
        Command::Man { directory } => manual::pages(directory.as_deref())?,
        Command::Status => return ensemble::status(args).await.map(Some),
        Command::Fourlw { word } => return ensemble::four_letter(args, word).await.map(Some),
        Command::Session(SessionCommand::List) => sessions::list(args).await?,
        _ => return Ok(None),
    }
    Ok(Some(0))
}

/// Carries out a command to its end, or until somebody interrupts it.
async fn with_session(zk: &Coordinator, command: Command, args: &Args, format: Format) -> Result<u8> {
    let sees_to_interrupts = command.sees_to_interrupts();
    let work = carry_out(zk, command, args, format);
    let outcome = if sees_to_interrupts {
        work.await
    } else {
        tokio::select! {
            outcome = work => outcome,
            code = interrupted() => Ok(code?),
        }
    };
    let code = match outcome {
        Err(error) if error.downcast_ref() == Some(&Error::NoNode) => {
            return Err(explained(zk, error, args).await);
        }
        outcome => outcome?,
    };
    // What ends no line would wait for the end of the process, and a disk that is full would be nobody's failure.
    std::io::stdout().flush()?;
    Ok(code)
}

/// Where nothing is found because the servers' address ends in a path that does not exist, that is what there is to say.
async fn explained(zk: &Coordinator, error: anyhow::Error, args: &Args) -> anyhow::Error {
    match args.server.split_once('/') {
        Some((_, chroot)) if zk.exists("/").await == Ok(None) => {
            anyhow::anyhow!("/{chroot}, which {} puts before every path, does not exist", args.server)
        }
        _ => error,
    }
}

async fn carry_out(zk: &Coordinator, command: Command, args: &Args, format: Format) -> Result<u8> {
    let other = async |server: &Option<String>| match server {
        Some(server) => args.connect(server).await,
        None => Ok(zk.clone()),
    };
    match command {
        Command::Ls { path, recursive, stat } => znodes::ls(zk, &path, recursive, stat, format).await?,
        Command::Tree { path, depth } => znodes::tree(zk, &path, depth, format).await?,
        Command::Get { path } => znodes::get(zk, &path, format, args.in_shell).await?,
        Command::Stat { path } => znodes::stat(zk, &path, format).await?,
        Command::Set { path, data, if_version } => znodes::set(zk, &path, &data, if_version).await?,
        Command::Edit { path } => edit::edit(zk, &path).await?,
        Command::Create { path, data, parents, sequential, ephemeral, container, ttl, acl } => {
            let mode = znodes::mode(sequential, ephemeral, container, ttl);
            znodes::create(zk, &path, &data, mode, parents, acl.as_deref()).await?;
        }
        Command::Delete { path, recursive, if_version } => {
            znodes::delete(zk, &path, recursive, if_version).await?;
        }
        Command::Find { path, name, data, ephemeral } => {
            let wanted = search::Wanted { name, data, ephemeral };
            search::find(zk, &path, &wanted, format).await?;
        }
        Command::Grep { text, path, ignore_case, paths } => {
            let any = search::grep(zk, &path, &text, ignore_case, paths, format).await?;
            return Ok(u8::from(!any));
        }
        Command::Du { path } => znodes::du(zk, &path, format).await?,
        Command::Cp { from, to, to_server, overwrite } => {
            transfer::copy(zk, &from, &other(&to_server).await?, &to, overwrite).await?;
        }
        Command::Mv { from, to } => subtrees::mv(zk, &from, &to).await?,
        Command::Diff { from, to, to_server } => {
            let other = other(&to_server).await?;
            let any = subtrees::diff(Subtree { zk, root: &from }, Subtree { zk: &other, root: &to }, format)
                .await?;
            return Ok(u8::from(any));
        }
        Command::Mirror { from, to, to_server, delete, dry_run, follow } => {
            let how = subtrees::Mirror { delete, dry_run, follow };
            let other = other(&to_server).await?;
            let (from, to) = (Subtree { zk, root: &from }, Subtree { zk: &other, root: &to });
            subtrees::mirror(from, to, &how, format).await?;
        }
        Command::Watch { path, recursive } => changes::watch(zk, &path, recursive, format).await?,
        Command::Export { path } => transfer::export(zk, &path).await?,
        Command::Import { at, overwrite } => transfer::import(zk, &at, overwrite).await?,
        Command::Acl { path, acl, recursive } => {
            access::acl(zk, &path, acl.as_deref(), recursive, format).await?;
        }
        Command::Quota { path, count, bytes, hard_count, hard_bytes, remove } => {
            let wanted = quota::Limits { count, bytes, hard_count, hard_bytes };
            quota::quota(zk, &path, wanted, remove, format).await?;
        }
        Command::Config => ensemble::config(zk, format).await?,
        Command::Reconfig { add, remove, members, if_version } => {
            ensemble::reconfig(zk, add, remove, members.as_deref(), if_version.as_deref()).await?;
        }
        Command::Whoami => access::whoami(zk, format).await?,
        Command::Lock(run) | Command::Elect(run) => return run::lock(zk, &run).await,
        Command::Semaphore(semaphore) => return run::semaphore(zk, &semaphore).await,
        Command::Barrier(barrier) => return run::barrier(zk, &barrier).await,
        Command::Register(register) => return run::register(zk, &register).await,
        Command::Queue(queue) => return jobs::queue(zk, &queue).await,
        Command::Completions { .. }
        | Command::Man { .. }
        | Command::Status
        | Command::Fourlw { .. }
        | Command::Session(_) => unreachable!("these need no session"),
        Command::Shell => anyhow::bail!("this is the shell"),
    }
    Ok(0)
}
