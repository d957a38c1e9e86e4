//! A partition's way to another data directory of the same broker.
//!
//! Beside the log that is in use grows a copy of it, in a directory `<topic>-<partition>.<id>-future` as with Kafka. When
//! the copy has caught up, it gets the partition's name and takes the other's place, while nobody can append to it; then
//! the other goes. A machine that stops in between leaves two directories of one name. Which of them counts is told by a
//! note in the copy, durable before it gets its name: the directory that it came from.

use std::sync::Arc;

use super::disk::Folder;
use super::error::LogError;
use super::log_dir::LogDir;
use super::partition_log::{LoadOptions, PartitionLog};
use super::shared_log::SharedLog;
use crate::planted::{self, Mistake};

/// What the name of a copy's directory ends in.
pub const FUTURE_SUFFIX: &str = "-future";
/// The note of the directory that a copy replaces.
pub(super) const MOVED_FROM: &str = "moved-from";
/// What is copied at once, unless one batch has more.
const COPIED_BYTES_MAX: u64 = 1 << 20;

/// A copy, and where it grows.
#[derive(Debug)]
pub struct FutureLog {
    dir: Arc<LogDir>,
    folder: Folder,
    /// After it took the other's place: the other.
    log: PartitionLog,
    is_over: bool,
}

/// What came of working on a copy for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Copied {
        bytes: u64,
    },
    /// The same, and there was little left.
    Close {
        bytes: u64,
    },
    /// It has taken the log's place, or was given up.
    Over,
}

impl FutureLog {
    /// Makes an empty copy.
    pub(super) fn create(
        dir: &Arc<LogDir>,
        name: &str,
        source: &SharedLog,
        now_ms: i64,
    ) -> Result<FutureLog, LogError> {
        let folder = dir.inside(name);
        let mut source = source.lock()?;
        // That of the move before last would say that this directory replaces another one.
        if source.folder.read(MOVED_FROM)?.is_some() {
            source.folder.remove(MOVED_FROM)?;
            source.folder.sync()?;
        }
        dir.folder.disk().create_dir(name).map_err(dir.folder.failed("create directory", name))?;
        let (partition, config) = (source.partition().clone(), Arc::clone(source.config()));
        let mut log = PartitionLog::create(folder.clone(), partition, config, now_ms)?;
        log.begin_like(&mut source, now_ms)?;
        Ok(FutureLog { dir: Arc::clone(dir), folder, log, is_over: false })
    }

    /// Opens a copy that was closed well, as its `source` was; nothing must have been appended to that since.
    pub(super) fn open(
        dir: &Arc<LogDir>,
        name: &str,
        source: &SharedLog,
        now_ms: i64,
    ) -> Result<FutureLog, LogError> {
        let folder = dir.inside(name);
        let options = LoadOptions { was_clean: true, ..LoadOptions::default() };
        let mut source = source.lock()?;
        let (partition, config) = (source.partition().clone(), Arc::clone(source.config()));
        let (mut log, _) = PartitionLog::open(folder.clone(), partition, config, &options, now_ms)?;
        log.part_from(&mut source, now_ms)?;
        Ok(FutureLog { dir: Arc::clone(dir), folder, log, is_over: false })
    }

    /// Where it grows.
    pub fn dir(&self) -> &Arc<LogDir> {
        &self.dir
    }

    /// The copy, unless it has become the partition's log, or was given up.
    pub fn log(&self) -> Option<&PartitionLog> {
        (!self.is_over).then_some(&self.log)
    }

    /// The directory, in [`FutureLog::dir`], that it has, or that it made superfluous.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether it has taken the log's place, or was given up.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Nothing more is to happen to it.
    pub(super) fn give_up(&mut self) {
        self.is_over = true;
    }

    /// Ends the work on it for now, as with any log.
    pub(super) fn close(&mut self, now_ms: i64) -> Result<(), LogError> {
        if self.is_over { Ok(()) } else { self.log.close(now_ms) }
    }

    /// Copies about so many bytes.
    pub(super) fn advance(
        &mut self,
        source: &SharedLog,
        bytes_max: u64,
        now_ms: i64,
    ) -> Result<Progress, LogError> {
        if self.is_over {
            return Ok(Progress::Over);
        }
        let bytes_max = bytes_max.min(COPIED_BYTES_MAX);
        let mut log = source.lock()?;
        self.log.part_from(&mut log, now_ms)?;
        self.log.raise_log_start(log.log_start_offset())?;
        let range = log.range_from(self.log.end_offset(), bytes_max, i64::MAX, true)?;
        drop(log);
        let Some(range) = range else { return Ok(Progress::Close { bytes: 0 }) };
        self.log.append_copy(range.read()?, now_ms)?;
        let bytes = range.length;
        Ok(if bytes < bytes_max { Progress::Close { bytes } } else { Progress::Copied { bytes } })
    }

    /// Takes the log's place; false if too much is left to copy. Then, this is what has to be removed: the other.
    pub(super) fn replace(&mut self, source: &SharedLog, now_ms: i64) -> Result<bool, LogError> {
        if self.is_over {
            return Ok(false);
        }
        // While the log is locked nobody can append, so as little as possible is left for then.
        self.flush(now_ms)?;
        let from = source.dir();
        if !planted::is(Mistake::MoveUnnoted) {
            self.folder.replace(MOVED_FROM, from.path().as_os_str().as_encoded_bytes())?;
        }
        let mut log = source.lock()?;
        self.log.part_from(&mut log, now_ms)?;
        if let Some(rest) = log.range_from(self.log.end_offset(), COPIED_BYTES_MAX, i64::MAX, true)? {
            self.log.append_copy(rest.read()?, now_ms)?;
            if log.range_from(self.log.end_offset(), 1, i64::MAX, true)?.is_some() {
                return Ok(false);
            }
        }
        self.log.end_like(&log, now_ms)?;
        self.log.succeed(&log)?;
        if self.log.recovery_point() < self.log.end_offset() {
            // Somebody may have been told that this is durable, and before the last start: then the log does not know.
            self.flush(now_ms)?;
        }
        self.folder.rename_self(&log.partition().to_string())?;
        // From here on the next start may find the copy in the log's place: whatever goes wrong, the log is not appended
        // to any more.
        std::mem::swap(&mut *log, &mut self.log);
        let dir = std::mem::replace(&mut self.dir, from);
        source.place(&dir);
        self.folder = self.log.folder.clone();
        self.is_over = true;
        dir.folder.sync().inspect_err(|error| dir.fail(error)).map(|()| true)
    }

    fn flush(&mut self, now_ms: i64) -> Result<(), LogError> {
        let flushed = self.log.flush_job().run()?;
        self.log.flushed(flushed, now_ms);
        Ok(())
    }
}
