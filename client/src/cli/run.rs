//! Commands that run while we hold something of a recipe.

use std::future::Future;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::signal::unix::SignalKind;

use super::flags::{Barrier, Register, Run, Semaphore};
use super::interrupts::{Endings, interrupted};
use crate::wire::zk::path;
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
/// How long it may take to give something back.
const GIVING_BACK: Duration = Duration::from_secs(5);
/// How long it takes to get a lease that is free.
const NO_WAIT: Duration = Duration::from_secs(5);

/// A path as it was typed, before a recipe makes others of it.
pub(super) fn checked(path: &str) -> Result<&str, Error> {
    match path::check(path) {
        Ok(()) => Ok(path),
        Err(reason) => Err(Error::BadPath { path: path.to_owned(), reason }),
    }
}

/// What came of waiting.
pub(super) enum Turn<T> {
    Ours(T),
    TooLate,
    /// Somebody ended us, which makes this exit code.
    Ended(u8),
}

/// Leading is holding a lock: Curator's leader selector uses the same znodes.
pub(super) async fn lock(zk: &Coordinator, run: &Run) -> Result<u8> {
    let lock = zk.lock(&run.path).data(run.name.as_bytes());
    let turn = match run.wait {
        Some(Duration::ZERO) => our_turn(None, lock.try_acquire()).await,
        wait => our_turn(wait, some(lock.acquire())).await,
    };
    under_guard(run, turn, "the lock is lost").await
}

pub(super) async fn semaphore(zk: &Coordinator, Semaphore { leases, run }: &Semaphore) -> Result<u8> {
    let semaphore = zk.semaphore(checked(&run.path)?, *leases).data(run.name.as_bytes());
    let turn = match run.wait {
        Some(Duration::ZERO) => {
            let if_free = async {
                match semaphore.holders().await? {
                    holders if holders.len() >= *leases => Ok(None),
                    _ => semaphore.acquire_within(NO_WAIT).await,
                }
            };
            our_turn(None, if_free).await
        }
        wait => our_turn(wait, some(semaphore.acquire())).await,
    };
    under_guard(run, turn, "the lease is lost").await
}

async fn under_guard(run: &Run, turn: Result<Turn<LockGuard>>, lost: &str) -> Result<u8> {
    let named = || run.path.clone();
    let guard = match turn.with_context(named)? {
        Turn::Ours(guard) => guard,
        Turn::TooLate => {
            eprintln!("coordctl: somebody else has {}", run.path);
            return Ok(NOT_HELD);
        }
        Turn::Ended(code) => return Ok(code),
    };
    let mut child = Wrapped::new(&run.command);
    child.command.env("COORDCTL_FENCE", guard.fence().0.to_string()).env("COORDCTL_ZNODE", guard.path());
    let code = child.run(guard.lost(), lost).await?;
    give_back(code, guard.release()).await.with_context(named)?;
    Ok(code)
}

pub(super) async fn barrier(zk: &Coordinator, barrier: &Barrier) -> Result<u8> {
    let Barrier { path, members, wait, command } = barrier;
    checked(path)?;
    let named = || path.clone();
    let Some(members) = *members else {
        return match our_turn(*wait, some(zk.barrier(path).wait())).await.with_context(named)? {
            // An open gate is not lost; only the command's end counts.
            Turn::Ours(()) => Wrapped::new(command).run(std::future::pending(), "").await,
            Turn::TooLate => {
                eprintln!("coordctl: {path} is still closed");
                Ok(NOT_HELD)
            }
            Turn::Ended(code) => Ok(code),
        };
    };
    let meeting = zk.double_barrier(path, members);
    let gone = match our_turn(*wait, some(meeting.enter())).await.with_context(named)? {
        Turn::Ours(()) => {
            let code = Wrapped::new(command).run(session_is_over(zk), "the session is over").await?;
            if code != LOST {
                meeting.leave().await.with_context(named)?;
            }
            return Ok(code);
        }
        Turn::TooLate => {
            eprintln!("coordctl: not all {members} have come to {path}");
            NOT_HELD
        }
        Turn::Ended(code) => code,
    };
    // The session may be the shell's, and go on.
    give_back(gone, meeting.withdraw()).await.with_context(named)?;
    Ok(gone)
}

pub(super) async fn register(zk: &Coordinator, register: &Register) -> Result<u8> {
    checked(&register.path)?;
    let mut instance = ServiceInstance::new(&register.service, &register.address, register.port);
    instance.payload = register.payload.clone().unwrap_or_default();
    let registration = zk.service_discovery(&register.path).register(&instance).await;
    let registration = registration.with_context(|| format!("{}/{}", register.path, register.service))?;
    let mut child = Wrapped::new(&register.command);
    let znode = format!("{}/{}/{}", register.path.trim_end_matches('/'), register.service, instance.id);
    child.command.env("COORDCTL_ZNODE", znode);
    let code = child.run(session_is_over(zk), "the session is over, and the registration with it").await?;
    give_back(code, registration.unregister()).await?;
    Ok(code)
}

/// Waits for something, which may be told not to come, for at most so long if that is said.
pub(super) async fn our_turn<T>(
    wait: Option<Duration>,
    work: impl Future<Output = Result<Option<T>, Error>>,
) -> Result<Turn<T>> {
    let in_time = async {
        match wait {
            None => work.await,
            Some(wait) => tokio::time::timeout(wait, work).await.unwrap_or(Ok(None)),
        }
    };
    tokio::select! {
        outcome = in_time => Ok(outcome?.map_or(Turn::TooLate, Turn::Ours)),
        code = interrupted() => Ok(Turn::Ended(code?)),
    }
}

/// The same of what comes in any case.
pub(super) async fn some<T>(work: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    work.await.map(Some)
}

/// Gives back what a command ran under that ended with this code. What is lost needs no giving back, and while no server
/// can be reached there is nobody to give it to.
async fn give_back(code: u8, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    if code == LOST {
        return Ok(());
    }
    match tokio::time::timeout(GIVING_BACK, work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            eprintln!("coordctl: no server can be reached; it is free once they take the session for over");
            Ok(())
        }
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
    let mut endings = Endings::listen()?;
    let mut lost = std::pin::pin!(lost);
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status?)),
            // An interrupt has come from the terminal, which has sent it to the command too.
            kind = endings.next() => if kind != SignalKind::interrupt() { ask_to_end(child) },
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
