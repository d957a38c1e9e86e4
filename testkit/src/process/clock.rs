//! A wall clock of its own for a process: libfaketime, loaded before everything else, reads from a file how wrong it is.
//!
//! Nothing else on the machine is touched, and the process keeps the machine's monotonic clock.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// Where the library lies, as `LD_PRELOAD` has it; `None` where it is not installed.
pub(super) fn library() -> Option<&'static str> {
    static LIBRARY: OnceLock<Option<String>> = OnceLock::new();
    let find = || {
        let mut command = Command::new("faketime");
        command.args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]);
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !name.is_empty()).then_some(name)
    };
    LIBRARY.get_or_init(find).as_deref()
}

/// Gives the process that the command will be a clock that reads this file, and is right at first.
pub(super) fn install(command: &mut Command, file: &Path) -> Result<()> {
    let library = library().context("a wall clock for one process needs libfaketime (faketime)")?;
    shift(file, 0)?;
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        // The second is what older versions understand.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        // Java waits by the monotonic clock, and this remedy for older systems would let it not wait at all.
        .env("FAKETIME_FORCE_MONOTONIC_FIX", "0")
        // Files keep the times that the disk's own clock gave them.
        .env("NO_FAKE_STAT", "1");
    Ok(())
}

/// Lets the clock that reads this file go wrong by so many seconds, or right by 0.
pub(super) fn shift(file: &Path, seconds: i64) -> Result<()> {
    // In one step: the file is read at any time.
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{seconds:+}\n"))?;
    std::fs::rename(&new, file).with_context(|| format!("cannot set the clock {}", file.display()))
}

/// What the library leaves behind of a process that was killed.
pub(super) fn leftovers(process: u32) -> [PathBuf; 2] {
    ["sem.faketime_sem", "faketime_shm"]
        .map(|kind| PathBuf::from("/dev/shm").join(format!("{kind}_{process}")))
}
