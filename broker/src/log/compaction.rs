//! Keeping of each key the newest record.
//!
//! A cleaning looks at a log from outside its lock. It first notes the newest offset of each key in the dirty part, as
//! far as its memory reaches ([`offset_map`]); then it copies all segments up to there, several small ones into one, and
//! leaves out what is superseded. Each copy takes the place of its originals under the log's lock, by renames that a
//! restart can finish; if the originals changed meanwhile, the copy is thrown away.
//!
//! Offsets never change. Tombstones and transaction markers get a deadline when they are first seen, and stay until it
//! is over, so that everybody who reads along sees them. The last batch of a producer stays, empty if need be, because
//! its sequence number is still asked for; so does the last batch of each copy, because it says where that ends: a segment
//! that ends before the next begins is one whose end was lost with the power.
//!
//! A record goes because there is a newer one, so that one must not be lost: all that may have been looked at is synced
//! before the first copy takes its place, also behind the end of what memory sufficed for.

mod offset_map;
mod transactions;

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use client::wire::kafka::batch::{Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, Record};

use super::config::TopicConfig;
use super::disk::Folder;
use super::error::LogError;
use super::index::file_name;
use super::partition_log::PartitionLog;
use super::recovery::{CLEANED_SUFFIX, SWAP_SUFFIX};
use super::scan::{BatchScan, HeaderScan};
use super::segment::{INDEX_SUFFIXES, LOG_SUFFIX, NewBatch, Segment, SegmentFile};
use super::txn_index::AbortedTxn;

use offset_map::OffsetMap;
use transactions::CleanedTransactions;

use crate::planted::{self, Mistake};

/// A record that unpacks to more than this cannot be looked into.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// How many bytes of copies are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// What there would be to clean in a log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dirt {
    pub first_dirty: i64,
    /// Where the part ends that may be cleaned now.
    pub end: i64,
    /// How much of the log that is, from 0 to 1.
    pub ratio: f64,
    /// Whether the topic asks for a cleaning now.
    pub is_due: bool,
}

/// What a cleaning works on: the log as it was when it began.
#[derive(Debug)]
pub struct Plan {
    folder: Folder,
    config: Arc<TopicConfig>,
    dirt: Dirt,
    segments: Vec<Source>,
    aborted: Vec<AbortedTxn>,
    /// The last batch of each producer: its last offset, or none if it has only written markers; and the epoch.
    last_batches: BTreeMap<i64, (Option<i64>, i16)>,
}

#[derive(Debug, Clone)]
struct Source {
    base_offset: i64,
    file: Arc<SegmentFile>,
    size: u64,
}

/// A batch's place among those that are copied.
struct Place<'a> {
    segment: &'a Source,
    position: u64,
    /// Whether something of it stays even if none of its records does.
    is_last: bool,
}

/// What a cleaning came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// Everything before it was cleaned; the next cleaning begins here.
    pub end_offset: i64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl PartitionLog {
    /// Looks at how dirty the log is, when everything before `cleaned_to` was cleaned.
    pub fn dirt(&mut self, cleaned_to: i64, now_ms: i64) -> Result<Option<Dirt>, LogError> {
        let config = Arc::clone(&self.config);
        if !config.cleanup_policy.compact {
            return Ok(None);
        }
        let active = self.active().base_offset();
        // What was noted for a log that was since truncated or recreated says nothing.
        let first_dirty =
            if cleaned_to > active { self.log_start_offset } else { cleaned_to.max(self.log_start_offset) };
        let limit = match planted::is(Mistake::CleaningPastWatermark) {
            true => active,
            false => self.last_stable_offset().min(active),
        };
        let youngest_ms = now_ms.saturating_sub(config.min_compaction_lag_ms);
        let oldest_ms = now_ms.saturating_sub(config.max_compaction_lag_ms);
        let (mut clean_bytes, mut dirty_bytes, mut end, mut is_overdue) = (0, 0, first_dirty, false);
        let bases: Vec<i64> = self.segments.keys().copied().collect();
        for pair in bases.windows(2) {
            let (base, next) = (pair[0], pair[1]);
            let segment = self.segments.get_mut(&base).expect("just listed");
            if next <= first_dirty {
                clean_bytes += segment.size();
                continue;
            }
            let is_young = config.min_compaction_lag_ms > 0 && segment.largest_time() > youngest_ms;
            if next > limit || is_young {
                break;
            }
            dirty_bytes += segment.size();
            end = next;
            is_overdue |= (0..oldest_ms).contains(&segment.first_timestamp()?);
        }
        if end <= first_dirty {
            return Ok(None);
        }
        let total = clean_bytes + dirty_bytes;
        let ratio = if total == 0 { 0.0 } else { dirty_bytes as f64 / total as f64 };
        let is_due = total > 0 && (ratio >= config.min_cleanable_dirty_ratio || is_overdue);
        Ok(Some(Dirt { first_dirty, end, ratio, is_due }))
    }

    /// What a cleaning needs to know of the log.
    pub fn cleaning_plan(&self, dirt: Dirt) -> Plan {
        let segments = self.segments.range(..dirt.end).map(|(base_offset, segment)| Source {
            base_offset: *base_offset,
            file: Arc::clone(segment.file()),
            size: segment.size(),
        });
        let last_batches = self.producers.iter().map(|(id, producer)| {
            let last_offset = Some(producer.last_offset()).filter(|offset| *offset >= 0);
            (id, (last_offset, producer.epoch))
        });
        Plan {
            folder: self.folder.clone(),
            config: Arc::clone(&self.config),
            dirt,
            segments: segments.collect(),
            aborted: self.aborted_transactions(i64::MIN, dirt.end),
            last_batches: last_batches.collect(),
        }
    }

    fn still_has(&self, sources: &[Source]) -> bool {
        sources.iter().all(|source| {
            self.segments.get(&source.base_offset).is_some_and(|segment| {
                Arc::ptr_eq(segment.file(), &source.file) && segment.size() == source.size
            })
        })
    }

    /// Whether everything before this offset was synced, so that older records may go for it.
    fn has_durable(&self, end_offset: i64) -> bool {
        self.recovery_point >= end_offset || planted::is(Mistake::UnsyncedCleaning)
    }

    /// Puts a copy in the place of its originals, unless they changed, or what they go for was taken back; says whether it
    /// did.
    fn replace_segments(
        &mut self,
        originals: &[Source],
        looked_at_end: i64,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        if !self.has_durable(looked_at_end) || !self.still_has(originals) {
            return Ok(false);
        }
        let base = originals[0].base_offset;
        rename_all(&self.folder, base, CLEANED_SUFFIX, SWAP_SUFFIX)?;
        self.folder.sync()?;
        for original in originals {
            let keeps_snapshot = original.base_offset == base;
            self.retire_files(original.base_offset, keeps_snapshot, now_ms)?;
        }
        // Without this, a crash could leave the copy under its final name beside an original that it covers.
        self.folder.sync()?;
        rename_all(&self.folder, base, SWAP_SUFFIX, "")?;
        self.folder.sync()?;
        for original in originals {
            self.segments.remove(&original.base_offset);
        }
        let segment = Segment::open(&self.folder, base, now_ms)?;
        let segment = segment.ok_or_else(|| {
            self.folder.malformed(&file_name(base, LOG_SUFFIX), "its new indexes are damaged")
        })?;
        self.segments.insert(base, segment);
        Ok(true)
    }
}

/// Renames the files of a copy; an index that has nothing has no file.
fn rename_all(folder: &Folder, base: i64, from: &str, to: &str) -> Result<(), LogError> {
    for suffix in [LOG_SUFFIX].iter().chain(&INDEX_SUFFIXES) {
        let name = file_name(base, suffix);
        match folder.rename(&format!("{name}{from}"), &format!("{name}{to}")) {
            Err(LogError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && *suffix != LOG_SUFFIX => {}
            result => result?,
        }
    }
    Ok(())
}

impl Plan {
    /// Cleans, with at most so many bytes for the keys. The log is locked only to put each copy into its place; `flush`
    /// makes durable what was appended to it.
    ///
    /// `Ok(None)`: the log changed meanwhile, and what was not replaced until then is as it was.
    pub fn run<'a>(
        &self,
        dedupe_bytes: usize,
        now_ms: i64,
        lock: impl Fn() -> Result<MutexGuard<'a, PartitionLog>, LogError>,
        flush: impl Fn() -> Result<(), LogError>,
    ) -> Result<Option<Cleaned>, LogError> {
        let mut done = 0;
        let result = self.try_run(dedupe_bytes, now_ms, &lock, &flush, &mut done);
        if let Ok(Some(_)) = result {
            return result;
        }
        self.discard_copies()?;
        // What was taken away while it was read is no error.
        if lock()?.still_has(&self.segments[done..]) { result } else { Ok(None) }
    }

    /// Cleans; `done` tells how many segments were replaced.
    fn try_run<'a>(
        &self,
        dedupe_bytes: usize,
        now_ms: i64,
        lock: &impl Fn() -> Result<MutexGuard<'a, PartitionLog>, LogError>,
        flush: &impl Fn() -> Result<(), LogError>,
        done: &mut usize,
    ) -> Result<Option<Cleaned>, LogError> {
        let map = self.newest_offsets(dedupe_bytes)?;
        let end_offset = map.end_offset().ok_or_else(|| {
            let name = file_name(self.segments.first().map_or(0, |first| first.base_offset), LOG_SUFFIX);
            self.folder.malformed(&name, "one batch has more keys than there is memory for")
        })?;
        // Finished segments are synced soon anyhow, so there is rarely anything to do.
        let is_durable = lock()?.has_durable(self.dirt.end);
        if !is_durable {
            flush()?;
        }
        let mut transactions = CleanedTransactions::new(self.aborted.clone());
        let mut cleaned = Cleaned { end_offset, bytes_before: 0, bytes_after: 0 };
        let count = self.segments.partition_point(|segment| segment.base_offset < end_offset);
        for group in self.groups(&self.segments[..count]) {
            let size = self.copy(group, &map, &mut transactions, now_ms)?;
            cleaned.bytes_before += group.iter().map(|segment| segment.size).sum::<u64>();
            cleaned.bytes_after += size;
            if !lock()?.replace_segments(group, self.dirt.end, now_ms)? {
                return Ok(None);
            }
            *done += group.len();
        }
        Ok(Some(cleaned))
    }

    /// The newest offset of each key in the dirty part, as far as memory reaches.
    fn newest_offsets(&self, dedupe_bytes: usize) -> Result<OffsetMap, LogError> {
        let dirty = || self.segments.iter().filter(|segment| self.is_dirty(segment));
        let mut records = 0;
        for segment in dirty() {
            let mut scan = HeaderScan::new(&segment.file, 0, segment.size);
            while let Some((_, header)) = scan.advance()? {
                records += header.record_count.max(0) as usize;
            }
        }
        let mut map = OffsetMap::new(records, dedupe_bytes);
        let start = dirty().next().map_or(0, |first| first.base_offset);
        let aborted = self.aborted.iter().filter(|txn| txn.last_offset >= start);
        let mut transactions = CleanedTransactions::new(aborted.copied().collect());
        for segment in dirty() {
            let mut scan = BatchScan::new(&segment.file, 0, segment.size);
            while let Some((position, batch)) = scan.advance()? {
                let header = batch.header();
                if header.attributes.is_control() {
                    transactions.on_marker(&batch).map_err(|e| segment.file.damaged(position, &e))?;
                } else if !transactions.on_records(header) && header.last_offset() >= self.dirt.first_dirty {
                    for record in records_of(segment, position, &batch)? {
                        let record = record?;
                        let Some(key) = &record.key else { continue };
                        if record.offset >= self.dirt.first_dirty && !map.insert(key, record.offset) {
                            // Full: the part that ends before this batch is cleaned now.
                            return Ok(map);
                        }
                    }
                }
                map.reached(header.next_offset());
            }
        }
        map.reached(self.dirt.end);
        Ok(map)
    }

    fn is_dirty(&self, segment: &Source) -> bool {
        let next = self.segments.partition_point(|other| other.base_offset <= segment.base_offset);
        self.segments.get(next).map_or(self.dirt.end, |next| next.base_offset) > self.dirt.first_dirty
    }

    /// Neighbours that fit one segment together.
    fn groups<'a>(&self, segments: &'a [Source]) -> Vec<&'a [Source]> {
        let mut groups = Vec::new();
        let mut rest = segments;
        while let Some(first) = rest.first() {
            let (mut bytes, mut count) = (first.size, 1);
            for (at, segment) in rest.iter().enumerate().skip(1) {
                bytes += segment.size;
                let next = rest.get(at + 1).map_or(self.dirt.end, |next| next.base_offset);
                let fits =
                    bytes <= self.config.segment_bytes && i32::try_from(next - first.base_offset).is_ok();
                if !fits {
                    break;
                }
                count += 1;
            }
            let (group, later) = rest.split_at(count);
            groups.push(group);
            rest = later;
        }
        groups
    }

    /// Writes what is left of some segments into a new one; returns its size.
    fn copy(
        &self,
        group: &[Source],
        map: &OffsetMap,
        transactions: &mut CleanedTransactions,
        now_ms: i64,
    ) -> Result<u64, LogError> {
        let base = group[0].base_offset;
        let mut copy = Segment::create_as(&self.folder, base, CLEANED_SUFFIX, now_ms)?;
        let mut waiting: Vec<NewBatch> = Vec::new();
        let mut waiting_bytes = 0;
        for (at, segment) in group.iter().enumerate() {
            let mut scan = BatchScan::new(&segment.file, 0, segment.size);
            while let Some((position, batch)) = scan.advance()? {
                let is_last = at + 1 == group.len() && scan.position() == segment.size;
                let is_last = is_last || self.is_last_of_producer(batch.header());
                let place = Place { segment, position, is_last };
                let kept = self.keep(&place, &batch, map, transactions, now_ms)?;
                for aborted in transactions.take_kept() {
                    copy.txn_index_mut().push(aborted);
                }
                let Some(kept) = kept else { continue };
                waiting_bytes += kept.size() as usize;
                waiting.push(kept);
                if waiting_bytes >= WRITE_BYTES {
                    copy.append(waiting.iter(), self.config.index_interval_bytes)?;
                    waiting.clear();
                    waiting_bytes = 0;
                }
            }
        }
        copy.append(waiting.iter(), self.config.index_interval_bytes)?;
        copy.finish()?;
        copy.sync()?;
        Ok(copy.size())
    }

    /// What is left of a batch; `None` if it goes.
    fn keep(
        &self,
        &Place { segment, position, is_last }: &Place<'_>,
        batch: &Batch,
        map: &OffsetMap,
        transactions: &mut CleanedTransactions,
        now_ms: i64,
    ) -> Result<Option<NewBatch>, LogError> {
        let header = batch.header();
        let is_control = header.attributes.is_control();
        let ends_nothing = is_control
            && transactions.on_marker(batch).map_err(|error| segment.file.damaged(position, &error))?;
        let is_aborted = !is_control && transactions.on_records(header);
        let is_over = header.delete_horizon().is_some_and(|deadline| deadline <= now_ms)
            || planted::is(Mistake::TombstonesAtOnce);
        let original = || NewBatch::new(*header, batch.payload());
        if is_aborted || (ends_nothing && is_over) {
            return Ok(is_last.then(|| NewBatch::new(header.emptied(), Bytes::new())));
        }
        let mut kept: Vec<Record> = Vec::new();
        let mut has_tombstone = false;
        for record in records_of(segment, position, batch)? {
            let record = record?;
            let is_kept = is_control
                || Some(record.offset) >= map.end_offset()
                || record.key.as_ref().is_some_and(|key| {
                    let is_newest = map.get(key).is_none_or(|newest| record.offset >= newest);
                    is_newest && (record.value.is_some() || !is_over)
                });
            if is_kept {
                has_tombstone |= !is_control && record.value.is_none();
                kept.push(record);
            }
        }
        if kept.is_empty() {
            return Ok(is_last.then(|| NewBatch::new(header.emptied(), Bytes::new())));
        }
        let needs_deadline = header.delete_horizon().is_none() && (has_tombstone || ends_nothing);
        if kept.len() == header.record_count.max(0) as usize && !needs_deadline {
            return Ok(Some(original()));
        }
        let mut options =
            BatchOptions::of(header).map_err(|error| segment.file.damaged(position, &error.into()))?;
        if needs_deadline {
            options.delete_horizon = Some(now_ms.saturating_add(self.config.delete_retention_ms));
        }
        rebuilt(header, options, &kept).map(Some).map_err(|error| segment.file.damaged(position, &error))
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        match self.last_batches.get(&header.producer_id) {
            Some((Some(last_offset), _)) => header.last_offset() == *last_offset,
            Some((None, epoch)) => header.attributes.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }

    /// Removes a copy that nobody wants.
    fn discard_copies(&self) -> Result<(), LogError> {
        for source in &self.segments {
            for suffix in [LOG_SUFFIX].iter().chain(&INDEX_SUFFIXES) {
                self.folder.remove(&format!("{}{CLEANED_SUFFIX}", file_name(source.base_offset, suffix)))?;
            }
        }
        Ok(())
    }
}

/// A batch with some of its records, which reaches as far as it did.
fn rebuilt(header: &BatchHeader, options: BatchOptions, records: &[Record]) -> Result<NewBatch, BatchError> {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        builder.push_record(record);
    }
    NewBatch::whole(&builder.build_until(header.last_offset_delta)?)
}

/// The records of a batch, with errors that say where it is.
fn records_of<'a>(
    segment: &'a Source,
    position: u64,
    batch: &Batch,
) -> Result<impl Iterator<Item = Result<Record, LogError>> + use<'a>, LogError> {
    let records = batch.records(RECORD_BYTES_MAX).map_err(|error| segment.file.damaged(position, &error))?;
    let file = &segment.file;
    Ok(records.map(move |record| record.map_err(|error| file.damaged(position, &error))))
}

#[cfg(test)]
mod tests;
