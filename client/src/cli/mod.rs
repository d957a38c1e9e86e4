//! `coordctl`: from what was typed to what is printed.

mod access;
mod changes;
mod ensemble;
mod flags;
mod output;
mod quota;
mod run;
mod transfer;
mod walk;
mod znodes;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use self::flags::{Command, Flags, Global};
use crate::zk::{Coordinator, Tls};

/// It did not work.
const FAILURE: u8 = 1;

/// Runs the tool on this process's arguments.
pub fn coordctl() -> ExitCode {
    coordctl_with(std::env::args_os())
}

fn coordctl_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::try_parse_from(arguments) {
        Ok(flags) => flags,
        // Help and version are no failures, and clap knows which stream and code each has.
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("cannot start").and_then(|runtime| runtime.block_on(perform(flags)));
    match outcome {
        Ok(code) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coordctl: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(is_pipe)
            || cause.downcast_ref::<serde_json::Error>().is_some_and(serde_json::Error::is_io)
    })
}

/// Carries out one command and says how to exit.
async fn perform(flags: Flags) -> Result<u8> {
    let Flags { global, command } = flags;
    let format = global.output;
    match command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Flags::command(), "coordctl", &mut std::io::stdout());
            return Ok(0);
        }
        Command::Status => return ensemble::status(&global).await,
        Command::Fourlw { word } => return ensemble::four_letter(&global, &word).await,
        _ => {}
    }
    let zk = connect(&global, &global.server).await?;
    match command {
        Command::Ls { path, recursive, stat } => znodes::ls(&zk, &path, recursive, stat, format).await?,
        Command::Tree { path, depth } => znodes::tree(&zk, &path, depth).await?,
        Command::Get { path } => znodes::get(&zk, &path, format).await?,
        Command::Stat { path } => znodes::stat(&zk, &path, format).await?,
        Command::Set { path, data, if_version } => znodes::set(&zk, &path, &data, if_version).await?,
        Command::Create { path, data, parents, sequential, container, ttl, acl } => {
            let mode = znodes::mode(sequential, container, ttl);
            znodes::create(&zk, &path, &data, mode, parents, acl.as_deref()).await?;
        }
        Command::Delete { path, recursive, if_version } => {
            znodes::delete(&zk, &path, recursive, if_version).await?;
        }
        Command::Find { path, name, data, ephemeral } => {
            let wanted = znodes::Wanted { name, data, ephemeral };
            znodes::find(&zk, &path, &wanted, format).await?;
        }
        Command::Du { path } => znodes::du(&zk, &path, format).await?,
        Command::Cp { from, to, to_server, overwrite } => {
            let other = match &to_server {
                Some(server) => connect(&global, server).await?,
                None => zk.clone(),
            };
            transfer::copy(&zk, &from, &other, &to, overwrite).await?;
        }
        Command::Watch { path, recursive } => changes::watch(&zk, &path, recursive, format).await?,
        Command::Export { path } => transfer::export(&zk, &path).await?,
        Command::Import { at, overwrite } => transfer::import(&zk, &at, overwrite).await?,
        Command::Acl { path, acl, recursive } => {
            access::acl(&zk, &path, acl.as_deref(), recursive, format).await?;
        }
        Command::Quota { path, count, bytes, hard_count, hard_bytes, remove } => {
            let wanted = quota::Limits { count, bytes, hard_count, hard_bytes };
            quota::quota(&zk, &path, wanted, remove, format).await?;
        }
        Command::Config => ensemble::config(&zk, format).await?,
        Command::Reconfig { add, remove, members, if_version } => {
            ensemble::reconfig(&zk, add, remove, members.as_deref(), if_version.as_deref()).await?;
        }
        Command::Whoami => access::whoami(&zk, format).await?,
        Command::Lock(run) | Command::Elect(run) => {
            let code = run::run(&zk, &run).await?;
            zk.close().await.ok();
            return Ok(code);
        }
        Command::Completions { .. } | Command::Status | Command::Fourlw { .. } => unreachable!("done above"),
    }
    // What was asked for is done, even if the servers do not hear that we go.
    zk.close().await.ok();
    Ok(0)
}

async fn connect(global: &Global, server: &str) -> Result<Coordinator> {
    let mut builder = Coordinator::builder(server)
        .session_timeout(global.timeout)
        .connect_timeout(global.timeout)
        .read_only(global.read_only);
    for identity in &global.auth {
        let (scheme, token) = identity.split_once(':').context("--auth needs scheme:token")?;
        builder = builder.auth(scheme, token.as_bytes());
    }
    if let Some(sasl) = &global.sasl {
        let (name, password) = sasl.split_once(':').context("--sasl needs name:password")?;
        builder = builder.sasl_digest_md5(name, password);
    }
    if let Some(authorities) = &global.tls_ca {
        let tls = Tls::new(authorities);
        builder = builder.tls(match &global.tls_identity {
            Some(identity) => tls.identity(identity, identity),
            None => tls,
        });
    }
    builder.connect().await.with_context(|| format!("no session with {server}"))
}
