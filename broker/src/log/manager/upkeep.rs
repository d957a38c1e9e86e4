//! What is done from time to time, on a thread that may wait for disks?

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::LogManager;
use super::moving::locked;
use crate::log::checkpoint;
use crate::log::disk::Folder;
use crate::log::error::LogError;
use crate::log::log_dir::LogDir;
use crate::log::partition_log::{PartitionLog, TopicPartition};

/// When each piece of work was last done.
#[derive(Debug, Default)]
pub(super) struct LastTimes {
    retention: AtomicI64,
    recovery_points: AtomicI64,
    log_starts: AtomicI64,
    high_watermarks: AtomicI64,
    producers: AtomicI64,
}

/// Whether it is time, and if so, notes that it was done.
fn is_time(last: &AtomicI64, now_ms: i64, interval_ms: i64) -> bool {
    let is_due = now_ms.saturating_sub(last.load(Ordering::Relaxed)) >= interval_ms;
    if is_due {
        last.store(now_ms, Ordering::Relaxed);
    }
    is_due
}

impl LogManager {
    /// Does what is due. What goes wrong with one log or directory is noted there, and stops nothing else.
    pub fn tick(&self, now_ms: i64) {
        self.drop_offline();
        self.remove_doomed(now_ms);
        let (last, intervals) = (&self.last, self.intervals);
        let retention = is_time(&last.retention, now_ms, intervals.retention_ms);
        let producers = is_time(&last.producers, now_ms, intervals.producer_expiration_check_ms);
        for (partition, shared) in self.logs() {
            let work = || -> Result<(), LogError> {
                let mut log = shared.lock()?;
                if retention {
                    let count = log.apply_retention(now_ms)?;
                    if count > 0 {
                        tracing::info!(%partition, segments = count, "dropped old segments");
                    }
                }
                log.remove_retired(now_ms)?;
                if producers {
                    log.expire_producers(now_ms, intervals.producer_id_expiration_ms);
                }
                let is_overdue = log.is_flush_overdue(now_ms);
                drop(log);
                if is_overdue { shared.flush(now_ms) } else { Ok(()) }
            };
            if let Err(error) = work() {
                shared.note(&error);
            }
        }
        if is_time(&last.recovery_points, now_ms, intervals.recovery_point_ms) {
            self.checkpoint(checkpoint::RECOVERY_POINTS, PartitionLog::recovery_point);
            for dir in self.online() {
                if let Err(error) = self.forget_outdated(dir) {
                    tracing::warn!(%error, "the checkpoints cannot be written; they are tried again");
                }
            }
        }
        if is_time(&last.log_starts, now_ms, intervals.log_start_ms) {
            self.checkpoint(checkpoint::LOG_STARTS, PartitionLog::log_start_offset);
        }
        if is_time(&last.high_watermarks, now_ms, intervals.high_watermark_ms) {
            self.checkpoint(checkpoint::HIGH_WATERMARKS, PartitionLog::high_watermark);
        }
    }

    /// Forgets the logs of directories that failed.
    pub(super) fn drop_offline(&self) {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|_, log| log.dir().failure().is_none());
        drop(logs);
        for (partition, future) in self.futures() {
            let is_lost = locked(&future).dir().failure().is_some();
            if is_lost {
                self.moves().remove(&partition);
            }
        }
    }

    /// Removes directories that waited long enough.
    fn remove_doomed(&self, now_ms: i64) {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        doomed.retain(|doomed| {
            if doomed.due_ms > now_ms {
                return true;
            }
            if let Err(error) = remove_all(&doomed.dir.folder, &doomed.name) {
                tracing::warn!(%error, "a deleted partition's directory stays; the next start tries again");
            }
            false
        });
    }

    /// Writes one number of each log into a file of its directory.
    pub(super) fn checkpoint(&self, file: &'static str, number: impl Fn(&PartitionLog) -> i64) {
        let _one_by_one = self.checkpoints();
        let (logs, futures) = (self.logs(), self.futures());
        for dir in self.online() {
            let mut offsets = BTreeMap::new();
            for (partition, shared) in logs.iter().filter(|(_, log)| Arc::ptr_eq(&log.dir(), dir)) {
                if let Ok(log) = shared.lock() {
                    offsets.insert(partition.clone(), number(&log));
                }
            }
            for (partition, future) in &futures {
                let future = locked(future);
                if let Some(log) = future.log().filter(|_| Arc::ptr_eq(future.dir(), dir)) {
                    offsets.entry(partition.clone()).or_insert_with(|| number(log));
                }
            }
            if let Err(error) = checkpoint::write_offsets(&dir.folder, file, &offsets)
                && !error.is_full()
            {
                dir.fail(&error);
            }
        }
    }

    /// Before a partition's log comes to a directory: what the checkpoints there say of one that it had there earlier must
    /// not be taken for what is true of this one.
    pub(super) fn forget_former(&self, dir: &LogDir, partition: &TopicPartition) -> Result<(), LogError> {
        if dir.outdated().contains(partition) { self.forget_outdated(dir) } else { Ok(()) }
    }

    fn forget_outdated(&self, dir: &LogDir) -> Result<(), LogError> {
        let _one_by_one = self.checkpoints();
        // Those that come while this writes wait for the next time.
        let outdated = dir.outdated().clone();
        if outdated.is_empty() {
            return Ok(());
        }
        for file in [checkpoint::RECOVERY_POINTS, checkpoint::LOG_STARTS, checkpoint::HIGH_WATERMARKS] {
            let mut offsets = checkpoint::read_offsets_if_sound(&dir.folder, file)?;
            offsets.retain(|partition, _| !outdated.contains(partition));
            checkpoint::write_offsets(&dir.folder, file, &offsets)?;
        }
        dir.outdated().retain(|partition| !outdated.contains(partition));
        Ok(())
    }

    fn checkpoints(&self) -> MutexGuard<'_, ()> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes everything well, so that the next start needs no second look.
    pub fn close(&self, broker_epoch: i64, now_ms: i64) {
        for (_, shared) in self.logs() {
            let result = shared.lock().and_then(|mut log| log.close(now_ms));
            if let Err(error) = result {
                // Without the marker the next start looks at everything that may be amiss.
                shared.dir().fail(&error);
            }
        }
        for (_, future) in self.futures() {
            let mut future = locked(&future);
            if let Err(error) = future.close(now_ms) {
                future.dir().fail(&error);
            }
        }
        self.checkpoint(checkpoint::RECOVERY_POINTS, PartitionLog::recovery_point);
        self.checkpoint(checkpoint::LOG_STARTS, PartitionLog::log_start_offset);
        self.checkpoint(checkpoint::HIGH_WATERMARKS, PartitionLog::high_watermark);
        for dir in self.online().filter(|dir| dir.has_refused.get().is_none()) {
            if let Err(error) = checkpoint::mark_clean(&dir.folder, broker_epoch) {
                dir.fail(&error);
            }
        }
    }
}

fn remove_all(root: &Folder, name: &str) -> Result<(), LogError> {
    let folder = Folder::new(Arc::clone(root.disk()), name);
    for entry in folder.list()? {
        folder.remove(&entry.name)?;
    }
    root.disk().remove_dir(name).map_err(root.failed("remove directory", name))
}
