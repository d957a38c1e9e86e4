//! Commands that run while we hold something of a recipe.

use std::future::Future;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::flags::{Barrier, Register, Run, Semaphore};
use crate::zk::recipes::{LockGuard, ServiceInstance};
use crate::zk::{Coordinator, Error};

/// It was not our turn in time.
pub(super) const NOT_HELD: u8 = 124;
/// What the command ran under was lost meanwhile.
const LOST: u8 = 125;
/// The command cannot be started.
const NOT_STARTED: u8 = 126;
/// What a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How long it takes to get a lease that is free.
const NO_WAIT: Duration = Duration::from_secs(5);

/// Leading is holding a lock: Curator's leader selector uses the same znodes.
pub(super) async fn lock(zk: &Coordinator, run: &Run) -> Result<u8> {
    let lock = zk.lock(&run.path).data(run.name.as_bytes());
    let guard = match run.wait {
        Some(Duration::ZERO) => lock.try_acquire().await,
        wait => within(wait, lock.acquire()).await,
    };
    under_guard(run, guard, "the lock is lost").await
}

pub(super) async fn semaphore(zk: &Coordinator, Semaphore { leases, run }: &Semaphore) -> Result<u8> {
    let semaphore = zk.semaphore(&run.path, *leases).data(run.name.as_bytes());
    let guard = match run.wait {
        Some(Duration::ZERO) => match semaphore.holders().await {
            Ok(holders) if holders.len() >= *leases => Ok(None),
            Ok(_) => semaphore.acquire_within(NO_WAIT).await,
            Err(error) => Err(error),
        },
        wait => within(wait, semaphore.acquire()).await,
    };
    under_guard(run, guard, "the lease is lost").await
}

async fn under_guard(run: &Run, guard: Result<Option<LockGuard>, Error>, lost: &str) -> Result<u8> {
    let named = || run.path.clone();
    let Some(guard) = guard.with_context(named)? else {
        eprintln!("coordctl: somebody else has {}", run.path);
        return Ok(NOT_HELD);
    };
    let mut child = Wrapped::new(&run.command);
    child.command.env("COORDCTL_FENCE", guard.fence().0.to_string()).env("COORDCTL_ZNODE", guard.path());
    let code = child.run(guard.lost(), lost).await?;
    guard.release().await.with_context(named)?;
    Ok(code)
}

pub(super) async fn barrier(zk: &Coordinator, barrier: &Barrier) -> Result<u8> {
    let Barrier { path, members, wait, command } = barrier;
    let named = || path.clone();
    let Some(members) = *members else {
        return match within(*wait, zk.barrier(path).wait()).await.with_context(named)? {
            // An open gate is not lost; only the command's end counts.
            Some(()) => Wrapped::new(command).run(std::future::pending(), "").await,
            None => {
                eprintln!("coordctl: {path} is still closed");
                Ok(NOT_HELD)
            }
        };
    };
    let meeting = zk.double_barrier(path, members);
    if within(*wait, meeting.enter()).await.with_context(named)?.is_none() {
        eprintln!("coordctl: not all {members} have come to {path}");
        return Ok(NOT_HELD);
    }
    let code = Wrapped::new(command).run(session_is_over(zk), "the session is over").await?;
    if code != LOST {
        meeting.leave().await.with_context(named)?;
    }
    Ok(code)
}

pub(super) async fn register(zk: &Coordinator, register: &Register) -> Result<u8> {
    let mut instance = ServiceInstance::new(&register.service, &register.address, register.port);
    instance.payload = register.payload.clone().unwrap_or_default();
    let registration = zk.service_discovery(&register.path).register(&instance).await;
    let registration = registration.with_context(|| format!("{}/{}", register.path, register.service))?;
    let mut child = Wrapped::new(&register.command);
    let path = format!("{}/{}/{}", register.path.trim_end_matches('/'), register.service, instance.id);
    child.command.env("COORDCTL_ZNODE", path);
    let code = child.run(session_is_over(zk), "the session is over, and the registration with it").await?;
    registration.unregister().await?;
    Ok(code)
}

/// Waits for something, for at most so long if that is said.
pub(super) async fn within<T>(
    wait: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    match wait {
        None => work.await.map(Some),
        Some(wait) => tokio::time::timeout(wait, work).await.ok().transpose(),
    }
}

/// Waits until no server takes us for who we were.
pub(super) async fn session_is_over(zk: &Coordinator) {
    let mut states = zk.states();
    while !zk.state().is_final() && states.next().await.is_some() {}
}

/// A command that is looked after.
pub(super) struct Wrapped<'a> {
    name: &'a str,
    pub(super) command: Command,
    /// What it reads, instead of our own standard input.
    pub(super) input: Option<bytes::Bytes>,
}

impl<'a> Wrapped<'a> {
    /// The program and its arguments, which clap demands.
    pub(super) fn new(words: &'a [String]) -> Wrapped<'a> {
        let [name, arguments @ ..] = words else { unreachable!("clap demands a command") };
        let mut command = Command::new(name);
        command.args(arguments).kill_on_drop(true);
        Wrapped { name, command, input: None }
    }

    /// Runs it to its end, or ends it when what it runs under is lost, or somebody ends us.
    pub(super) async fn run(mut self, lost: impl Future<Output = ()>, reason: &str) -> Result<u8> {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("coordctl: cannot start {}: {error}", self.name);
                return Ok(NOT_STARTED);
            }
        };
        let feed = feed(child.stdin.take(), self.input);
        let (code, ()) = tokio::join!(attend(&mut child, lost, reason), feed);
        code
    }
}

/// A command that does not read all of it has its reasons.
async fn feed(stdin: Option<tokio::process::ChildStdin>, input: Option<bytes::Bytes>) {
    if let (Some(mut stdin), Some(input)) = (stdin, input) {
        let _ = stdin.write_all(&input).await;
    }
}

async fn attend(child: &mut Child, lost: impl Future<Output = ()>, reason: &str) -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut lost = std::pin::pin!(lost);
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status?)),
            // The terminal has sent it to the command too.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => ask_to_end(child),
            () = &mut lost => {
                eprintln!("coordctl: {reason}; ending the command");
                ask_to_end(child);
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
