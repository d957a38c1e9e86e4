//! Making what was appended durable, beside the appends and for many at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::checkpoint;
use super::disk::Folder;
use super::error::LogError;
use super::index::file_name;
use super::segment::{INDEX_SUFFIXES, SegmentFile};

/// Files to be synced, and what that will have proven.
#[derive(Debug)]
pub struct FlushJob {
    folder: Folder,
    foundation: Foundation,
    /// By base offset, growing.
    files: Vec<(i64, Arc<SegmentFile>)>,
    proves: Flushed,
}

/// What a sync has proven: everything before an offset is durable, unless it was taken back meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    pub up_to: i64,
    pub(super) truncations: u64,
}

impl FlushJob {
    pub(super) fn new(
        folder: Folder,
        foundation: Foundation,
        files: Vec<(i64, Arc<SegmentFile>)>,
        proves: Flushed,
    ) -> FlushJob {
        FlushJob { folder, foundation, files, proves }
    }

    /// Syncs; what that has proven the log wants to be [told](super::PartitionLog::flushed). Nothing is held while this
    /// waits for the disk.
    ///
    /// An error is final: what was to be synced may be lost although it can still be read, and syncing again proves
    /// nothing. The data directory must not be used any more.
    pub fn run(self) -> Result<Flushed, LogError> {
        self.foundation.sync(&self.folder)?;
        for (_, file) in &self.files {
            file.sync()?;
        }
        // A start makes the last segment's indexes anew, and relies on those of all others.
        let finished = self.files.split_last().map_or(&[][..], |(_, finished)| finished);
        for (base_offset, _) in finished {
            self.sync_indexes(*base_offset)?;
        }
        Ok(self.proves)
    }

    fn sync_indexes(&self, base_offset: i64) -> Result<(), LogError> {
        for suffix in INDEX_SUFFIXES {
            // There may be none: no transaction was aborted, or retention was faster.
            self.folder.sync_file(&file_name(base_offset, suffix))?;
        }
        Ok(())
    }
}

/// Whether what a log was made with is durable: its directory's name, and the note of its topic's id.
///
/// A partition is made without a sync, because as long as it holds nothing, nothing is lost with it: the controller
/// orders it again, and tells its topic's id again. Its first records must not be without them.
#[derive(Debug, Clone, Default)]
pub(super) struct Foundation(Arc<AtomicBool>);

impl Foundation {
    /// Makes it durable, unless that was done.
    pub(super) fn sync(&self, folder: &Folder) -> Result<(), LogError> {
        if !self.0.load(Ordering::Acquire) {
            checkpoint::sync_topic_id(folder)?;
            folder.sync_name()?;
            self.0.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// One sync for all who wait: whoever comes while one runs waits for the next, which somebody among them runs for all.
#[derive(Debug, Default)]
pub struct GroupCommit {
    running: Mutex<bool>,
    changed: Condvar,
}

impl GroupCommit {
    /// Waits until `is_durable` says so. `sync` makes everything durable that was appended before it is called.
    pub fn wait(
        &self,
        is_durable: impl Fn() -> Result<bool, LogError>,
        sync: impl FnOnce() -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut running = self.lock();
        loop {
            if is_durable()? {
                return Ok(());
            }
            if !*running {
                break;
            }
            running = self.changed.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running = true;
        drop(running);
        let result = sync();
        *self.lock() = false;
        self.changed.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_share_a_sync_and_nobody_returns_before_it() {
        let (commit, syncs) = (GroupCommit::default(), AtomicUsize::new(0));
        let (end, durable) = (AtomicI64::new(0), AtomicI64::new(0));
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    let mine = end.fetch_add(1, Ordering::SeqCst) + 1;
                    let is_durable = || Ok(durable.load(Ordering::SeqCst) >= mine);
                    let sync = || {
                        let up_to = end.load(Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(20));
                        syncs.fetch_add(1, Ordering::SeqCst);
                        durable.fetch_max(up_to, Ordering::SeqCst);
                        Ok(())
                    };
                    commit.wait(is_durable, sync).expect("synced");
                    assert!(durable.load(Ordering::SeqCst) >= mine);
                });
            }
        });
        assert!((1..32).contains(&syncs.load(Ordering::SeqCst)), "{syncs:?}");
    }
}
