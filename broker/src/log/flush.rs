//! Making what was appended durable, beside the appends and for many at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::disk::Folder;
use super::error::LogError;
use super::segment::SegmentFile;

/// Files to be synced, and what that will have proven.
#[derive(Debug)]
pub struct FlushJob {
    folder: Folder,
    files: Vec<Arc<SegmentFile>>,
    up_to: i64,
}

impl FlushJob {
    pub(super) fn new(folder: Folder, files: Vec<Arc<SegmentFile>>, up_to: i64) -> FlushJob {
        FlushJob { folder, files, up_to }
    }

    /// Syncs; afterwards everything before the returned offset is durable, which the log wants to be
    /// [told](super::PartitionLog::flushed). Nothing is held while this waits for the disk.
    ///
    /// An error is final: what was to be synced may be lost although it can still be read, and syncing again proves
    /// nothing. The data directory must not be used any more.
    pub fn run(self) -> Result<i64, LogError> {
        for file in &self.files {
            file.sync()?;
        }
        if self.files.len() > 1 {
            self.folder.sync()?;
        }
        Ok(self.up_to)
    }
}

/// One sync for all who wait: whoever comes while one runs waits for the next, which somebody among them runs for all.
#[derive(Debug, Default)]
pub struct GroupCommit {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    durable_to: i64,
    running: bool,
}

impl GroupCommit {
    /// Waits until everything before `offset` is durable. `sync` makes everything durable that was appended before it
    /// is called, and returns how far that is.
    pub fn wait(&self, offset: i64, sync: impl FnOnce() -> Result<i64, LogError>) -> Result<(), LogError> {
        let mut state = self.lock();
        loop {
            if state.durable_to >= offset {
                return Ok(());
            }
            if !state.running {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        drop(state);
        let result = sync();
        let mut state = self.lock();
        state.running = false;
        if let Ok(durable_to) = &result {
            state.durable_to = state.durable_to.max(*durable_to);
        }
        self.changed.notify_all();
        result.map(drop)
    }

    /// Offsets from here on were taken back and will be given out again.
    pub fn truncated(&self, end_offset: i64) {
        let mut state = self.lock();
        state.durable_to = state.durable_to.min(end_offset);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (commit, end, syncs) = (GroupCommit::default(), AtomicI64::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    let mine = end.fetch_add(1, Ordering::SeqCst) + 1;
                    commit
                        .wait(mine, || {
                            let up_to = end.load(Ordering::SeqCst);
                            thread::sleep(Duration::from_millis(20));
                            syncs.fetch_add(1, Ordering::SeqCst);
                            Ok(up_to)
                        })
                        .expect("synced");
                    assert!(commit.lock().durable_to >= mine);
                });
            }
        });
        assert!((1..32).contains(&syncs.load(Ordering::SeqCst)), "{syncs:?}");
        commit.truncated(3);
        let mut ran = false;
        commit
            .wait(4, || {
                Ok({
                    ran = true;
                    4
                })
            })
            .expect("synced");
        assert!(ran, "what was taken back must be synced anew");
    }
}
