//! Disks of their own for members, which can be full, stand still, or lose their power: file systems in files, mounted for one run.
//!
//! Needs root and loop devices, so nothing uses it unless asked to.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate};
use tempfile::TempDir;

use super::tools::command_output;

/// Holds a server's first log segment many times over, and is filled quickly.
const DISK_BYTES: u64 = 512 << 20;

/// Of `linux/ext4.h`: stop at once, and do not even write the journal.
const EXT4_IOC_SHUTDOWN: u32 = 0x8004_587d;
const NO_LOG_FLUSH: u32 = 2;

/// One mounted disk for each member of an ensemble whose directory is [`Disks::home`].
#[derive(Debug)]
pub(crate) struct Disks {
    mounts: Vec<PathBuf>,
    // Declared last: the images go when nothing is mounted any more.
    home: TempDir,
}

impl Disks {
    pub(crate) fn mount(count: usize) -> Result<Disks> {
        ensure!(rustix::process::geteuid().is_root(), "mounting disks needs root");
        let mut disks = Disks { mounts: Vec::new(), home: TempDir::with_prefix("rookery-disks-")? };
        for number in 1..=count {
            let image = disks.home.path().join(format!("disk-{number}"));
            File::create(&image)?.set_len(DISK_BYTES)?;
            command_output(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
            // Only what a server must not lose: its messages go where they cannot hold it up.
            let at = disks.home.path().join(format!("member-{number}/data"));
            std::fs::create_dir_all(&at)?;
            command_output(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))
                .context("mounting a file system in a file")?;
            disks.mounts.push(at);
        }
        Ok(disks)
    }

    /// The directory for the ensemble.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes and syncs of this member wait until the guard is dropped.
    pub(crate) fn stall(&self, member: usize) -> Result<Stall> {
        let mount = self.mounts[member].clone();
        command_output(Command::new("fsfreeze").arg("--freeze").arg(&mount))?;
        Ok(Stall { mount })
    }

    /// Takes all space that is left, until the guard is dropped.
    pub(crate) fn fill(&self, member: usize) -> Result<Filler> {
        let filler = Filler { path: self.mounts[member].join("filler") };
        let file = File::create(&filler.path)?;
        let mut end = 0;
        for step in [64 << 20, 4 << 20, 64 << 10, 4 << 10] {
            while fallocate(&file, FallocateFlags::empty(), end, step).is_ok() {
                end += step;
            }
        }
        ensure!(end > 0, "the disk was full already");
        Ok(filler)
    }

    /// The disk loses its power: what was synced stays, the rest is gone, and everything fails with EIO from now on.
    pub(crate) fn cut_power(&self, member: usize) -> Result<()> {
        // There is no command for it, and no safe function either.
        let shutdown = format!(
            "import fcntl, os, struct, sys\n\
             fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), {EXT4_IOC_SHUTDOWN}, struct.pack('I', {NO_LOG_FLUSH}))"
        );
        command_output(Command::new("python3").args(["-c", &shutdown]).arg(&self.mounts[member]))
            .context("shutting a file system down")?;
        Ok(())
    }

    /// The power is back. Nobody may have a file open on the disk.
    pub(crate) fn restore_power(&self, member: usize) -> Result<()> {
        let mount = &self.mounts[member];
        command_output(Command::new("umount").arg(mount))?;
        let image = self.home.path().join(format!("disk-{}", member + 1));
        command_output(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(mount))
            .context("mounting a file system again")?;
        Ok(())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for mount in &self.mounts {
            let _ = Command::new("umount").arg(mount).status();
        }
    }
}

/// A disk that stands still.
#[must_use = "the disk goes on as soon as this is dropped"]
#[derive(Debug)]
pub(crate) struct Stall {
    mount: PathBuf,
}

impl Drop for Stall {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.mount).status();
    }
}

/// A disk that is full.
#[must_use = "there is space again as soon as this is dropped"]
#[derive(Debug)]
pub(crate) struct Filler {
    path: PathBuf,
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
