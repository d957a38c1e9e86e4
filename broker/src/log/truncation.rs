//! Taking records back at the end, and giving them up at the start.

use super::error::{LogError, ReadError};
use super::partition_log::PartitionLog;
use super::segment::Segment;

/// What a file's name gets at its end while it waits to be removed.
pub(super) const DELETED_SUFFIX: &str = ".deleted";

impl PartitionLog {
    /// Takes back everything from this offset on; says whether that was anything.
    pub fn truncate_to(&mut self, offset: i64, now_ms: i64) -> Result<bool, LogError> {
        if offset >= self.end_offset {
            // Epochs that nobody wrote in may still reach beyond.
            self.epochs.truncate_end(offset)?;
            return Ok(false);
        }
        if offset < self.segments.first_key_value().map_or(0, |(base, _)| *base) {
            self.truncate_fully_and_start_at(offset, now_ms)?;
            return Ok(true);
        }
        // Whatever happens in between, nothing behind this point is taken for synced.
        self.truncations += 1;
        self.recovery_point = self.recovery_point.min(offset);
        let later: Vec<i64> = self.segments.range(offset + 1..).map(|(base, _)| *base).collect();
        self.remove_last_segments(&later)?;
        if self.segments.is_empty() {
            self.segments.insert(offset, Segment::create(&self.folder, offset, now_ms)?);
        }
        let active = self.active();
        active.truncate(offset)?;
        // The end may be before the offset, if that lay inside a batch.
        let end_offset = active.last_offset()?.map_or(active.base_offset(), |last| last + 1);
        if end_offset < self.log_start_offset {
            // The batch that the log began inside of is gone, and so is everything.
            return self
                .truncate_fully_and_start_at(self.log_start_offset.min(offset), now_ms)
                .map(|()| true);
        }
        self.end_offset = offset.min(end_offset);
        self.high_watermark = self.high_watermark.min(self.end_offset);
        self.recovery_point = self.recovery_point.min(self.end_offset);
        self.epochs.truncate_end(self.end_offset)?;
        let end_offset = self.end_offset;
        self.producers.remove_snapshots(|at| at > end_offset)?;
        self.folder.sync()?;
        self.replay_producers()?;
        Ok(true)
    }

    /// Gives everything up; the log goes on, empty, at this offset.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        self.truncations += 1;
        self.recovery_point = self.recovery_point.min(offset);
        let all: Vec<i64> = self.segments.keys().copied().collect();
        self.remove_last_segments(&all)?;
        self.segments.insert(offset, Segment::create(&self.folder, offset, now_ms)?);
        self.log_start_offset = offset;
        self.end_offset = offset;
        self.high_watermark = offset;
        self.recovery_point = offset;
        self.epochs.clear()?;
        self.producers.remove_snapshots(|_| true)?;
        self.producers.clear(offset);
        Ok(())
    }

    /// Gives up everything before this offset, which must not be behind the high watermark. Files go later, by
    /// retention.
    pub fn delete_records_before(&mut self, offset: i64) -> Result<i64, ReadError> {
        if offset > self.high_watermark {
            let (start, end) = (self.log_start_offset, self.high_watermark);
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        self.raise_log_start(offset)?;
        Ok(self.log_start_offset)
    }

    /// The log starts at this offset or later: the leader's does, or what was before is gone.
    pub fn raise_log_start(&mut self, offset: i64) -> Result<(), LogError> {
        if offset > self.log_start_offset {
            self.log_start_offset = offset.min(self.end_offset);
            self.high_watermark = self.high_watermark.max(self.log_start_offset);
            self.producers.on_high_watermark(self.high_watermark);
            self.epochs.truncate_start(self.log_start_offset)?;
        }
        Ok(())
    }
}
