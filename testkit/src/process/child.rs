//! One child process: started with its output in a file, signalled by its own id, ended on drop.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::clock;

/// What a process has used so far, from `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident: u64,
    /// The most resident memory it ever had, in bytes.
    pub resident_peak: u64,
}

/// A running child whose standard output and error go to one log file.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command; its output is appended to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Process> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Process { child, log: log.to_path_buf() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The exit status if the process has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid(), signal).with_context(|| format!("cannot signal process {}", self.id()))
    }

    /// Asks the process to end and waits; kills it if it has not ended in time, which is reported as an error.
    pub(crate) fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill()?;
        bail!("process {} did not end within {patience:?} of SIGTERM", self.id())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops the process where it is until the returned guard is dropped.
    pub(crate) fn freeze(&self) -> Result<Freeze> {
        self.signal(Signal::STOP)?;
        Ok(Freeze { pid: self.pid() })
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        usage_of(self.id())
    }

    /// The last `bytes` bytes of the log.
    pub(crate) fn log_tail(&self, bytes: u64) -> String {
        log_tail(&self.log, bytes)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process cannot act on anything but SIGKILL, and that is what it gets.
        let _ = self.kill();
        for file in clock::leftovers(self.id()) {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A process held by SIGSTOP; dropping the guard lets it run again.
#[must_use = "the process runs again as soon as this is dropped"]
#[derive(Debug)]
pub struct Freeze {
    pid: Pid,
}

impl Drop for Freeze {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::CONT);
    }
}

pub(crate) fn log_tail(path: &Path, bytes: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}

/// Reads the CPU time and memory of a process.
pub(crate) fn usage_of(id: u32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is the program's name in parentheses and may hold spaces; count from its end.
    let after_name = stat.rsplit_once(')').context("unexpected /proc stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks =
        |index: usize| -> Result<u64> { Ok(fields.get(index).context("short /proc stat")?.parse::<u64>()?) };
    let ticks = ticks(11)? + ticks(12)?;
    // Linux reports these in USER_HZ, which is 100 on every architecture Rust's std supports.
    let cpu = Duration::from_millis(ticks * 10);
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    Ok(Usage { cpu, resident: kib("VmRSS:") * 1024, resident_peak: kib("VmHWM:") * 1024 })
}
