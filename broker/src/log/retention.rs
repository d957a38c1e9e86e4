//! Dropping what is old: whole segments, from the front, never anything that is not replicated.

use super::error::LogError;
use super::index::file_name;
use super::partition_log::PartitionLog;
use super::segment::SUFFIXES;
use super::truncation::DELETED_SUFFIX;

/// A segment that left the log, and whose files wait for the last readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retired {
    base_offset: i64,
    due_ms: i64,
}

impl PartitionLog {
    /// Drops the segments that the topic's limits, or the log's start, leave behind; returns how many.
    pub fn apply_retention(&mut self, now_ms: i64) -> Result<usize, LogError> {
        let mut count = self.drop_before_start(now_ms)?;
        if self.config.cleanup_policy.delete {
            if let Some(bytes) = self.config.retention_bytes {
                count += self.drop_to_size(bytes, now_ms)?;
            }
            if let Some(age_ms) = self.config.retention_ms {
                count += self.drop_older_than(now_ms.saturating_sub(age_ms), now_ms)?;
            }
        }
        Ok(count)
    }

    fn drop_before_start(&mut self, now_ms: i64) -> Result<usize, LogError> {
        let mut count = 0;
        while let Some((first, next)) = self.first_droppable()
            && next <= self.log_start_offset
            && self.segments.len() > 1
        {
            self.drop_first(first, next, now_ms)?;
            count += 1;
        }
        Ok(count)
    }

    fn drop_to_size(&mut self, bytes: u64, now_ms: i64) -> Result<usize, LogError> {
        let mut surplus = self.size().saturating_sub(bytes);
        let mut count = 0;
        while let Some((first, next)) = self.first_droppable() {
            let size = self.segments[&first].size();
            if size > surplus {
                break;
            }
            self.drop_first(first, next, now_ms)?;
            surplus -= size;
            count += 1;
        }
        Ok(count)
    }

    fn drop_older_than(&mut self, limit_ms: i64, now_ms: i64) -> Result<usize, LogError> {
        let mut count = 0;
        while let Some((first, next)) = self.first_droppable()
            && self.segments[&first].largest_time() < limit_ms
        {
            self.drop_first(first, next, now_ms)?;
            count += 1;
        }
        Ok(count)
    }

    /// The first segment and the offset behind it, if it holds anything and all of that is replicated.
    fn first_droppable(&self) -> Option<(i64, i64)> {
        let mut segments = self.segments.iter();
        let (first, segment) = segments.next()?;
        let next = segments.next().map_or(self.end_offset, |(base, _)| *base);
        let is_worth_it = segment.size() > 0 || self.segments.len() > 1;
        (is_worth_it && next <= self.high_watermark).then_some((*first, next))
    }

    fn drop_first(&mut self, base_offset: i64, next: i64, now_ms: i64) -> Result<(), LogError> {
        if self.segments.len() == 1 {
            self.roll(now_ms)?;
        }
        // The records that go are all that the producers' past could be made from.
        self.keep_producers_at(next)?;
        // First the start, so that a crash leaves files too many, and never a log that begins before its files.
        self.raise_log_start(next)?;
        self.segments.remove(&base_offset);
        self.retire_files(base_offset, false, now_ms)
    }

    /// Gives a segment's files other names, under which they wait until readers have finished.
    pub(super) fn retire_files(
        &mut self,
        base_offset: i64,
        keeps_snapshot: bool,
        now_ms: i64,
    ) -> Result<(), LogError> {
        for suffix in SUFFIXES.iter().filter(|suffix| !(keeps_snapshot && **suffix == "snapshot")) {
            let name = file_name(base_offset, suffix);
            match self.folder.rename(&name, &format!("{name}{DELETED_SUFFIX}")) {
                Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.retired.push(Retired { base_offset, due_ms });
        Ok(())
    }

    /// Removes the files of segments that left the log long enough ago.
    pub fn remove_retired(&mut self, now_ms: i64) -> Result<(), LogError> {
        let due = self.retired.iter().filter(|retired| retired.due_ms <= now_ms);
        for Retired { base_offset, .. } in due {
            for suffix in SUFFIXES {
                self.folder.remove(&format!("{}{DELETED_SUFFIX}", file_name(*base_offset, suffix)))?;
            }
        }
        self.retired.retain(|retired| retired.due_ms > now_ms);
        Ok(())
    }
}
