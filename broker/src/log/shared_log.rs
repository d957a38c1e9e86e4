//! A log as many use it at once, and what an error of it means to its data directory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::error::LogError;
use super::flush::GroupCommit;
use super::log_dir::LogDir;
use super::partition_log::PartitionLog;

/// A log as many use it at once.
#[derive(Debug)]
pub struct SharedLog {
    /// Locked after the log, if both are.
    dir: RwLock<Arc<LogDir>>,
    log: Mutex<PartitionLog>,
    commit: GroupCommit,
    pub(super) is_deleted: AtomicBool,
}

impl SharedLog {
    pub(super) fn new(dir: Arc<LogDir>, log: PartitionLog) -> SharedLog {
        SharedLog {
            dir: RwLock::new(dir),
            log: Mutex::new(log),
            commit: GroupCommit::default(),
            is_deleted: AtomicBool::new(false),
        }
    }

    /// Where it lies.
    pub fn dir(&self) -> Arc<LogDir> {
        Arc::clone(&self.dir.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// It lies here now. The log is locked meanwhile.
    pub(super) fn place(&self, dir: &Arc<LogDir>) {
        *self.dir.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(dir);
    }

    /// The log, for as long as the guard lives; keep that short.
    pub fn lock(&self) -> Result<MutexGuard<'_, PartitionLog>, LogError> {
        self.dir.read().unwrap_or_else(PoisonError::into_inner).check()?;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_deleted.load(Ordering::Acquire) { Err(LogError::Deleted) } else { Ok(log) }
    }

    /// Looks at an error that came from this log: unless it is one that passes, or about a damaged partition, it takes
    /// the directory offline.
    pub fn note(&self, error: &LogError) {
        if !error.is_full() {
            self.note_final(error);
        }
    }

    /// The same for one that does not pass, even if it is for lack of space.
    fn note_final(&self, error: &LogError) {
        // The files of a deleted partition have other names, and that they are not found means nothing. Those of one
        // that moved meanwhile are in another directory.
        let dir = self.dir();
        if error.is_in(dir.path()) && !self.is_deleted.load(Ordering::Acquire) {
            dir.fail(error);
        }
    }

    /// Takes back everything from this offset on.
    pub fn truncate_to(&self, offset: i64, now_ms: i64) -> Result<bool, LogError> {
        let mut log = self.lock()?;
        let truncated = log.truncate_to(offset, now_ms).inspect_err(|error| self.note(error))?;
        let (partition, end_offset) = (log.partition().clone(), log.end_offset());
        drop(log);
        let dir = self.dir();
        let cleaned_to = dir.cleaned_to().get(&partition).copied();
        if cleaned_to.is_some_and(|cleaned_to| cleaned_to > end_offset) {
            dir.set_cleaned_to(&partition, Some(end_offset))?;
        }
        Ok(truncated)
    }

    /// Waits until everything before `offset` is durable; one sync serves all who wait.
    pub fn commit(&self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        self.commit.wait(|| Ok(self.lock()?.recovery_point() >= offset), || self.flush(now_ms))
    }

    /// Makes everything durable that was appended so far.
    pub fn flush(&self, now_ms: i64) -> Result<(), LogError> {
        let job = self.lock()?.flush_job();
        let (dir, since) = (self.dir(), Instant::now());
        // After a failed sync nobody knows what the disk has, so even one for lack of space is final.
        let flushed = job.run().inspect_err(|error| self.note_final(error))?;
        dir.note_flush(since);
        self.lock()?.flushed(flushed, now_ms);
        Ok(())
    }
}
