//! A partition's segments as one log: appending, rolling, flushing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use client::wire::kafka::batch::TimestampType;

use super::batch::{AppendOrigin, CheckedBatch, check_produced, check_replicated};
use super::checkpoint::{self, TopicId};
use super::config::TopicConfig;
use super::disk::Folder;
use super::epochs::{EpochEnd, Epochs};
use super::error::{AppendError, LogError};
use super::flush::{FlushJob, Flushed, Foundation};
use super::producers::{Marker, Producers, Verdict};
use super::retention::Retired;
use super::segment::{NewBatch, SUFFIXES, Segment};
use super::txn_index::AbortedTxn;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl TopicPartition {
    /// The partition whose directory has this name.
    pub fn from_dir_name(name: &str) -> Option<TopicPartition> {
        let (topic, partition) = name.rsplit_once('-')?;
        let number: i32 = partition.parse().ok()?;
        let is_plain = !topic.is_empty() && number >= 0 && number.to_string() == partition;
        is_plain.then(|| TopicPartition { topic: topic.to_owned(), partition: number })
    }
}

/// What is known from outside when a log is opened.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Whether the process that used the directory before closed it well.
    pub was_clean: bool,
    /// Before this offset everything was synced.
    pub recovery_point: i64,
    pub log_start_offset: i64,
    pub high_watermark: i64,
    /// Before this offset everything was compacted.
    pub cleaned_to: i64,
}

/// What became of appended records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    /// The time that all records got, if the topic wants the leader's.
    pub log_append_time: Option<i64>,
    pub log_start_offset: i64,
    /// The records were in the log before; nothing was written.
    pub is_duplicate: bool,
    /// A [flush](PartitionLog::flush_job) is due: the topic's number of records is reached.
    pub is_flush_due: bool,
}

/// A partition's log.
///
/// Invariants: there is always a last segment, which is appended to; segments' base offsets grow, and each begins at or
/// behind the end of the one before; `log_start_offset` ≤ `high_watermark` ≤ `end_offset`; `recovery_point` ≤
/// `end_offset`; producers are told everything before `end_offset`.
#[derive(Debug)]
pub struct PartitionLog {
    pub(super) folder: Folder,
    pub(super) partition: TopicPartition,
    pub(super) config: Arc<TopicConfig>,
    pub(super) segments: BTreeMap<i64, Segment>,
    pub(super) log_start_offset: i64,
    pub(super) end_offset: i64,
    pub(super) high_watermark: i64,
    pub(super) recovery_point: i64,
    pub(super) last_flush_ms: i64,
    /// How often records were taken back; what was proven before says nothing about what is there now.
    pub(super) truncations: u64,
    pub(super) epochs: Epochs,
    pub(super) producers: Producers,
    pub(super) retired: Vec<Retired>,
    topic_id: Option<TopicId>,
    foundation: Foundation,
}

impl PartitionLog {
    /// Makes a log in an empty directory. Nothing is synced: that is for the first [flush](PartitionLog::flush_job).
    pub fn create(
        folder: Folder,
        partition: TopicPartition,
        config: Arc<TopicConfig>,
        now_ms: i64,
    ) -> Result<PartitionLog, LogError> {
        let segments = BTreeMap::from([(0, Segment::create(&folder, 0, now_ms)?)]);
        let epochs = Epochs::new(folder.clone());
        Ok(PartitionLog::with(folder, partition, config, segments, epochs, now_ms))
    }

    pub(super) fn with(
        folder: Folder,
        partition: TopicPartition,
        config: Arc<TopicConfig>,
        segments: BTreeMap<i64, Segment>,
        epochs: Epochs,
        now_ms: i64,
    ) -> PartitionLog {
        let producers = Producers::new(folder.clone());
        PartitionLog {
            folder,
            partition,
            config,
            segments,
            log_start_offset: 0,
            end_offset: 0,
            high_watermark: 0,
            recovery_point: 0,
            last_flush_ms: now_ms,
            truncations: 0,
            epochs,
            producers,
            retired: Vec::new(),
            topic_id: None,
            foundation: Foundation::default(),
        }
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    pub fn config(&self) -> &Arc<TopicConfig> {
        &self.config
    }

    /// From now on the topic's settings are these.
    pub fn set_config(&mut self, config: Arc<TopicConfig>) {
        self.config = config;
    }

    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    pub(super) fn load_topic_id(&mut self, options: &LoadOptions) -> Result<(), LogError> {
        self.topic_id = match checkpoint::read_topic_id(&self.folder) {
            // It was never synced; whoever orders this partition knows.
            Err(error @ LogError::Malformed { .. }) if options.recovery_point == 0 => {
                tracing::warn!(%error, "the topic's id is learned anew");
                None
            }
            read => read?,
        };
        Ok(())
    }

    /// Writes down which topic this is, once and for all.
    pub fn set_topic_id(&mut self, id: TopicId) -> Result<(), LogError> {
        if self.topic_id == Some(id) {
            return Ok(());
        }
        if self.topic_id.is_none() && self.end_offset == 0 {
            checkpoint::write_first_topic_id(&self.folder, id)?;
            self.foundation = Foundation::default();
        } else {
            checkpoint::write_topic_id(&self.folder, id)?;
        }
        self.topic_id = Some(id);
        Ok(())
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Everything before it was synced.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// What all in-sync replicas have.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Tells how far replication came, at most the log's end; it never leaves the log.
    pub fn set_high_watermark(&mut self, high_watermark: i64) {
        self.high_watermark = high_watermark.clamp(self.log_start_offset, self.end_offset);
        self.producers.on_high_watermark(self.high_watermark);
    }

    /// Where consumers of committed records stop: before the first open transaction, or at the high watermark.
    pub fn last_stable_offset(&self) -> i64 {
        self.producers
            .first_unstable_offset()
            .map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// What is known of the producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Forgets producers that sent nothing for this long.
    pub fn expire_producers(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.expire(now_ms, expiration_ms);
    }

    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.latest()
    }

    /// The epoch of the leader that appended the record at this offset.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.at(offset)
    }

    /// A leader of this epoch begins at the log's end.
    pub fn assign_epoch(&mut self, epoch: i32) -> Result<(), LogError> {
        self.epochs.assign(epoch, self.end_offset)
    }

    /// How far the records of an epoch reach; `None` if it is newer than all that are known.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<EpochEnd> {
        self.epochs.end_offset(epoch, self.end_offset)
    }

    /// The bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments.values().map(Segment::size).sum()
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn active(&mut self) -> &mut Segment {
        self.segments.last_entry().expect("there is always a last segment").into_mut()
    }

    /// Appends the one batch of a produce request, or of this broker's own making.
    pub fn append_as_leader(
        &mut self,
        records: Bytes,
        leader_epoch: i32,
        now_ms: i64,
        origin: AppendOrigin,
    ) -> Result<AppendInfo, AppendError> {
        let checked = check_produced(records, &self.config, now_ms, origin)?;
        self.append_checked(&checked, leader_epoch, now_ms, origin)
    }

    /// The same for records that were checked before.
    pub fn append_checked(
        &mut self,
        checked: &CheckedBatch,
        leader_epoch: i32,
        now_ms: i64,
        origin: AppendOrigin,
    ) -> Result<AppendInfo, AppendError> {
        let config = Arc::clone(&self.config);
        let header = checked.batch.header();
        let marker = if header.attributes.is_control() { Marker::of(&checked.batch)? } else { None };
        if let Verdict::Duplicate(sent) = self.producers.check(header, marker, origin)? {
            return Ok(AppendInfo {
                base_offset: sent.first_offset(),
                last_offset: sent.last_offset,
                max_timestamp: sent.timestamp,
                log_append_time: self.log_append_time(sent.timestamp),
                log_start_offset: self.log_start_offset,
                is_duplicate: true,
                is_flush_due: false,
            });
        }
        let batch = checked.place(self.end_offset, leader_epoch, &config, now_ms)?;
        self.append(&[(batch, marker)], now_ms)
    }

    fn log_append_time(&self, timestamp: i64) -> Option<i64> {
        (self.config.message_timestamp_type == TimestampType::LogAppend).then_some(timestamp)
    }

    /// Appends what the leader of this partition sent, as it is. `None` if there is no whole batch in it.
    pub fn append_as_follower(
        &mut self,
        records: Bytes,
        now_ms: i64,
    ) -> Result<Option<AppendInfo>, AppendError> {
        let mut appended: Option<AppendInfo> = None;
        let mut group: Vec<(NewBatch, Option<Marker>)> = Vec::new();
        let mut group_bytes = 0;
        for batch in check_replicated(records, self.end_offset)? {
            let marker = if batch.header().attributes.is_control() { Marker::of(&batch)? } else { None };
            let size = batch.bytes().len() as u64;
            if !group.is_empty() && group_bytes + size > self.config.segment_bytes {
                let info = self.append(&std::mem::take(&mut group), now_ms)?;
                appended = Some(joined(appended, info));
                group_bytes = 0;
            }
            group_bytes += size;
            group.push((NewBatch::new(*batch.header(), batch.payload()), marker));
        }
        if !group.is_empty() {
            let info = self.append(&group, now_ms)?;
            appended = Some(joined(appended, info));
        }
        Ok(appended)
    }

    /// Writes batches that were checked, into one segment.
    fn append(
        &mut self,
        batches: &[(NewBatch, Option<Marker>)],
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        let (first, last) = match batches {
            [first, .., last] => (&first.0.header, &last.0.header),
            [only] => (&only.0.header, &only.0.header),
            [] => unreachable!("something is appended"),
        };
        let size: u64 = batches.iter().map(|(batch, _)| batch.size()).sum();
        if size > self.config.segment_bytes {
            return Err(AppendError::LargerThanSegment {
                size: size as usize,
                max: self.config.segment_bytes,
            });
        }
        let max_timestamp =
            batches.iter().map(|(batch, _)| batch.header.max_timestamp).max().unwrap_or_default();
        self.roll_for(size, max_timestamp, first.base_offset, last.last_offset(), now_ms)?;
        // Whatever can fail comes before the write, and the write is all or nothing.
        for (batch, _) in batches {
            self.epochs.assign(batch.header.leader_epoch, batch.header.base_offset)?;
        }
        let interval = self.config.index_interval_bytes;
        self.active().append(batches.iter().map(|(batch, _)| batch), interval)?;
        for (batch, marker) in batches {
            if let Some(aborted) = self.producers.appended(&batch.header, *marker) {
                self.active().txn_index_mut().push(aborted);
            }
        }
        self.end_offset = last.next_offset();
        let unflushed = self.end_offset - self.recovery_point;
        Ok(AppendInfo {
            base_offset: first.base_offset,
            last_offset: last.last_offset(),
            max_timestamp,
            log_append_time: self.log_append_time(max_timestamp),
            log_start_offset: self.log_start_offset,
            is_duplicate: false,
            is_flush_due: unflushed >= self.config.flush_messages,
        })
    }

    /// Begins a new segment if the next batches are not to be in this one.
    fn roll_for(
        &mut self,
        size: u64,
        max_timestamp: i64,
        base_offset: i64,
        last_offset: i64,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let config = Arc::clone(&self.config);
        let active = self.active();
        // Places in a segment are 32-bit numbers.
        let segment_bytes = config.segment_bytes.min(i32::MAX as u64);
        let is_due = active.size() + size > segment_bytes
            || (active.size() > 0
                && active.age(max_timestamp, now_ms)?
                    > config.segment_ms.saturating_sub(config.segment_jitter_ms))
            || active.index_is_full(config.segment_index_bytes)
            || !active.reaches(last_offset);
        if !is_due {
            return Ok(());
        }
        // Right behind the last one if its first batch can be told from there: a start takes a hole for a loss.
        let is_near = i32::try_from(last_offset - self.end_offset).is_ok();
        self.roll_at(if is_near { self.end_offset } else { base_offset.max(self.end_offset) }, now_ms)
    }

    /// Begins a new segment at the log's end, unless the last one is empty.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), LogError> {
        if self.active().size() == 0 { Ok(()) } else { self.roll_at(self.end_offset, now_ms) }
    }

    pub(super) fn roll_at(&mut self, base_offset: i64, now_ms: i64) -> Result<(), LogError> {
        let active = self.active();
        let empty = (active.size() == 0).then_some(active.base_offset());
        if empty.is_none() {
            active.finish()?;
            self.producers.save_snapshot()?;
        }
        let segment = Segment::create(&self.folder, base_offset, now_ms)?;
        self.segments.insert(base_offset, segment);
        if let Some(empty) = empty.filter(|empty| *empty != base_offset) {
            // An empty segment of another base would only be in the way.
            self.segments.remove(&empty);
            self.remove_files(empty)?;
        }
        Ok(())
    }

    /// Removes the last segments, given by their base offsets, one after another from the end: a crash on the way leaves
    /// a log that ends earlier, and never one with a hole.
    pub(super) fn remove_last_segments(&mut self, bases: &[i64]) -> Result<(), LogError> {
        for base in bases.iter().rev() {
            self.segments.remove(base);
            self.remove_files(*base)?;
            self.folder.sync()?;
        }
        Ok(())
    }

    /// Removes a segment's files at once.
    pub(super) fn remove_files(&self, base_offset: i64) -> Result<(), LogError> {
        for suffix in SUFFIXES {
            self.folder.remove(&super::index::file_name(base_offset, suffix))?;
        }
        Ok(())
    }

    /// What has to be synced for everything appended so far to be durable. Run it where nobody waits for this log.
    pub fn flush_job(&self) -> FlushJob {
        // A segment that ends right at the recovery point was synced when it was the last one, and then without its
        // indexes: it is looked at once more.
        let first =
            self.segments.range(..self.recovery_point).next_back().map_or(i64::MIN, |(base, _)| *base);
        let files = self.segments.range(first..).map(|(base, segment)| (*base, Arc::clone(segment.file())));
        let proves = Flushed { up_to: self.end_offset, truncations: self.truncations };
        FlushJob::new(self.folder.clone(), self.foundation.clone(), files.collect(), proves)
    }

    /// Takes note of what a [job](PartitionLog::flush_job) has proven.
    pub fn flushed(&mut self, flushed: Flushed, now_ms: i64) {
        if flushed.truncations == self.truncations {
            self.recovery_point = self.recovery_point.max(flushed.up_to);
            self.last_flush_ms = now_ms;
        }
    }

    /// Whether a finished segment waits to be synced, or records have waited for longer than the topic allows.
    pub fn is_flush_overdue(&self, now_ms: i64) -> bool {
        let finished = self.segments.last_key_value().map_or(0, |(base, _)| *base);
        self.recovery_point < finished
            || (self.recovery_point < self.end_offset
                && now_ms.saturating_sub(self.last_flush_ms) >= self.config.flush_ms)
    }

    /// Ends the log's work for now: everything that a restart needs is written and synced.
    pub fn close(&mut self, now_ms: i64) -> Result<(), LogError> {
        if self.end_offset == 0 {
            // Nothing is lost with a log that holds nothing.
            return Ok(());
        }
        self.foundation.sync(&self.folder)?;
        self.producers.save_snapshot()?;
        let dirty_from = self.recovery_point;
        for segment in self.segments.values_mut().rev() {
            segment.finish()?;
            segment.sync()?;
            if segment.base_offset() < dirty_from {
                break;
            }
        }
        self.folder.sync()?;
        self.recovery_point = self.end_offset;
        self.last_flush_ms = now_ms;
        Ok(())
    }

    /// The aborted transactions among the records from `from` up to, not including, `up_to`.
    pub fn aborted_transactions(&self, from: i64, up_to: i64) -> Vec<AbortedTxn> {
        let first = self.segments.range(..=from).next_back().map_or(i64::MIN, |(base, _)| *base);
        let mut aborted = Vec::new();
        for segment in self.segments.range(first..).map(|(_, segment)| segment) {
            for txn in segment.txn_index().txns() {
                if txn.last_offset >= from && txn.first_offset < up_to {
                    aborted.push(*txn);
                }
                if txn.last_stable_offset >= up_to {
                    return aborted;
                }
            }
        }
        aborted
    }

    /// What must hold between the fields; a test asks after every step.
    pub fn check_invariants(&self) {
        assert!(!self.segments.is_empty());
        assert!(self.log_start_offset <= self.high_watermark);
        assert!(self.high_watermark <= self.end_offset);
        assert!(self.recovery_point <= self.end_offset);
        assert_eq!(self.producers.end_offset(), self.end_offset);
        let (last, _) = self.segments.last_key_value().expect("checked");
        assert!(*last <= self.end_offset);
        assert!(self.segments.iter().all(|(base, segment)| *base == segment.base_offset()));
        let epochs = self.epochs.entries();
        assert!(epochs.iter().all(|(_, start)| *start <= self.end_offset));
    }
}

fn joined(earlier: Option<AppendInfo>, later: AppendInfo) -> AppendInfo {
    match earlier {
        None => later,
        Some(earlier) => AppendInfo {
            base_offset: earlier.base_offset,
            max_timestamp: earlier.max_timestamp.max(later.max_timestamp),
            is_flush_due: earlier.is_flush_due || later.is_flush_due,
            ..later
        },
    }
}

#[cfg(test)]
mod tests;
