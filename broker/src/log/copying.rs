//! Making one log the copy of another, while that one goes on.

use bytes::Bytes;

use super::error::{AppendError, LogError};
use super::index::file_name;
use super::partition_log::PartitionLog;
use super::segment::Segment;

impl PartitionLog {
    /// Gives everything up, to begin where the first segment of `source` does, and with what was known of producers
    /// there.
    pub(super) fn begin_like(&mut self, source: &mut PartitionLog, now_ms: i64) -> Result<(), LogError> {
        let base = source.first_base();
        self.truncate_fully_and_start_at(base, now_ms)?;
        if let Some(id) = source.topic_id() {
            self.set_topic_id(id)?;
        }
        if base > 0 {
            source.keep_producers_at(base)?;
            let name = file_name(base, "snapshot");
            if let Some(snapshot) = source.folder.read(&name)? {
                self.folder.replace(&name, &snapshot)?;
                self.producers.load_snapshot(base, base)?;
            }
        }
        self.producers.set_end_offset(base);
        Ok(())
    }

    /// Takes back what `source` has not, or has otherwise.
    ///
    /// Records of the same leader's epoch are the same, so the logs part where the last epoch that both know ends in one
    /// of them.
    pub(super) fn part_from(&mut self, source: &mut PartitionLog, now_ms: i64) -> Result<(), LogError> {
        if self.end_offset < source.first_base() || self.first_base() > source.end_offset {
            return self.begin_like(source, now_ms);
        }
        while let Some(&(epoch, start)) = self.epochs.entries().last() {
            let known = source.end_offset_for_epoch(epoch);
            if let Some(end) = known.filter(|end| end.epoch == epoch) {
                self.truncate_to(end.end_offset, now_ms)?;
                break;
            }
            let end = known.map_or(start, |end| end.end_offset.min(start));
            if end <= self.first_base() {
                return self.begin_like(source, now_ms);
            }
            self.truncate_to(end, now_ms)?;
        }
        self.truncate_to(source.end_offset, now_ms)?;
        Ok(())
    }

    /// Appends what was read from the log that this is a copy of; `Ok` once it is there.
    pub(super) fn append_copy(&mut self, records: Bytes, now_ms: i64) -> Result<(), LogError> {
        match self.append_as_follower(records, now_ms) {
            Ok(_) => Ok(()),
            Err(AppendError::Storage(error)) => Err(error),
            Err(error) => Err(self.folder.malformed("", format!("what is copied does not fit: {error}"))),
        }
    }

    /// Ends where `source` does, if all records were copied: compaction may have left nothing before a log's end.
    pub(super) fn end_like(&mut self, source: &PartitionLog, now_ms: i64) -> Result<(), LogError> {
        if self.end_offset < source.end_offset {
            self.end_offset = source.end_offset;
            self.producers.set_end_offset(self.end_offset);
            self.roll_at(self.end_offset, now_ms)?;
        }
        Ok(())
    }

    /// Becomes, with the same records, the log that `source` was; nothing that is under way for that one is taken for
    /// this one's.
    pub(super) fn succeed(&mut self, source: &PartitionLog) -> Result<(), LogError> {
        if self.end_offset != source.end_offset {
            let why = format!("the copy ends at {}, the log at {}", self.end_offset, source.end_offset);
            return Err(self.folder.malformed("", why));
        }
        self.config = source.config.clone();
        self.truncations = self.truncations.max(source.truncations) + 1;
        for &(epoch, start) in source.epochs.entries() {
            // Leaders that wrote nothing.
            if self.latest_epoch().is_none_or(|latest| latest < epoch) {
                self.epochs.assign(epoch, start)?;
            }
        }
        self.raise_log_start(source.log_start_offset)?;
        self.set_high_watermark(source.high_watermark);
        Ok(())
    }

    fn first_base(&self) -> i64 {
        self.segments.values().next().map_or(0, Segment::base_offset)
    }
}
