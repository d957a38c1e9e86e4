//! `coordctl lock` and `elect`: a command that runs while we hold a lock.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::flags::Run;
use crate::zk::Coordinator;
use crate::zk::recipes::LockGuard;

/// Nobody let us have the lock in time.
const NOT_HELD: u8 = 124;
/// The lock was lost while the command ran.
const LOST: u8 = 125;
/// The command cannot be started.
const NOT_STARTED: u8 = 126;
/// What a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Leading is holding a lock: Curator's leader selector uses the same znodes.
pub(super) async fn run(zk: &Coordinator, run: &Run) -> Result<u8> {
    let lock = zk.lock(&run.path).data(run.name.as_bytes());
    let guard = match run.wait {
        None => Some(lock.acquire().await.with_context(|| run.path.clone())?),
        Some(Duration::ZERO) => lock.try_acquire().await.with_context(|| run.path.clone())?,
        Some(wait) => lock.acquire_within(wait).await.with_context(|| run.path.clone())?,
    };
    let Some(guard) = guard else {
        eprintln!("coordctl: somebody else has {}", run.path);
        return Ok(NOT_HELD);
    };
    let [program, arguments @ ..] = &run.command[..] else { unreachable!("clap demands a command") };
    let started = Command::new(program)
        .args(arguments)
        .env("COORDCTL_FENCE", guard.fence().0.to_string())
        .env("COORDCTL_ZNODE", guard.path())
        .kill_on_drop(true)
        .spawn();
    let code = match started {
        Ok(child) => attend(child, &guard).await?,
        Err(error) => {
            eprintln!("coordctl: cannot start {program}: {error}");
            NOT_STARTED
        }
    };
    guard.release().await.with_context(|| run.path.clone())?;
    Ok(code)
}

/// Waits for the command, or ends it when the lock is lost or somebody ends us.
async fn attend(mut child: Child, guard: &LockGuard) -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status?)),
            // The terminal has sent it to the command too.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => ask_to_end(&child),
            () = guard.lost() => {
                eprintln!("coordctl: the lock is lost; ending the command");
                ask_to_end(&child);
                if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                    child.kill().await?;
                }
                return Ok(LOST);
            }
        }
    }
}

fn ask_to_end(child: &Child) {
    if let Some(id) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended by itself.
        let _ = kill_process(id, Signal::TERM);
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    code.try_into().unwrap_or(1)
}
