//! One data directory: whether it can be used, and how far the logs in it were cleaned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::checkpoint;
use super::disk::{Disk, Folder, RealDisk};
use super::error::LogError;
use super::partition_log::TopicPartition;

/// One data directory.
#[derive(Debug)]
pub struct LogDir {
    pub(super) folder: Folder,
    /// Why nothing in it is used any more.
    failure: OnceLock<String>,
    /// Whether a partition in it was refused, so that the next start must look again.
    pub(super) has_refused: OnceLock<()>,
    /// How far each compacted log was cleaned.
    cleaned_to: Mutex<BTreeMap<TopicPartition, i64>>,
    /// Partitions whose log is not here any more, and whose numbers the checkpoints may still have.
    outdated: Mutex<BTreeSet<TopicPartition>>,
    flushes: Flushes,
}

/// How often records in a directory were synced, and how long that took together.
#[derive(Debug, Default)]
pub struct Flushes {
    pub count: AtomicU64,
    pub micros: AtomicU64,
}

impl LogDir {
    pub fn new(disk: Arc<dyn Disk>) -> LogDir {
        LogDir {
            folder: Folder::new(disk, ""),
            failure: OnceLock::new(),
            has_refused: OnceLock::new(),
            cleaned_to: Mutex::default(),
            outdated: Mutex::default(),
            flushes: Flushes::default(),
        }
    }

    pub fn flushes(&self) -> &Flushes {
        &self.flushes
    }

    /// Records were synced since then.
    pub(super) fn note_flush(&self, since: Instant) {
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.flushes.count.fetch_add(1, Ordering::Relaxed);
        self.flushes.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub fn path(&self) -> &Path {
        self.folder.disk().path()
    }

    /// One that could not even be opened: it is known, and not used.
    pub fn unusable(path: &Path, error: &LogError) -> LogDir {
        let dir = LogDir::new(Arc::new(RealDisk::closed(path)));
        dir.fail(error);
        dir
    }

    /// A directory inside it.
    pub(super) fn inside(&self, name: &str) -> Folder {
        Folder::new(Arc::clone(self.folder.disk()), name)
    }

    /// Why nothing in it is used any more, if so.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Stops using the directory, for good.
    pub fn fail(&self, error: &LogError) {
        if self.failure.set(error.to_string()).is_ok() {
            tracing::error!(dir = %self.path().display(), %error, "the data directory is offline");
        }
    }

    pub(super) fn cleaned_to(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, i64>> {
        self.cleaned_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outdated(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far a log was cleaned; `None`: it is no more.
    pub(super) fn set_cleaned_to(
        &self,
        partition: &TopicPartition,
        offset: Option<i64>,
    ) -> Result<(), LogError> {
        let mut cleaned_to = self.cleaned_to();
        let before = match offset {
            Some(offset) => cleaned_to.insert(partition.clone(), offset),
            None => cleaned_to.remove(partition),
        };
        if before == offset {
            return Ok(());
        }
        checkpoint::write_offsets(&self.folder, checkpoint::CLEANED, &cleaned_to)
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.failure() {
            None => Ok(()),
            Some(_) => Err(LogError::Offline { dir: self.path().to_path_buf() }),
        }
    }
}
