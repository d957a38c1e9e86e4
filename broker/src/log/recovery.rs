//! Opening a partition's directory: after a clean stop as it is, after a crash with a second look at everything that
//! was not synced for sure.
//!
//! # Torn or damaged
//!
//! The first batch that is not whole ends the log, if it is what a crash leaves: nothing whole stands behind it, or the
//! file ends inside it, or sectors, or ends of sectors, that the disk never got (zeros) are in it. What lies there was
//! never synced, and is cut off. If whole batches do stand behind it and its bytes were all written, or replicas are
//! known to have had them, then something changed what was on the disk. Cutting would lose the rest for good, so the
//! partition is refused, and file and byte are named.
//!
//! Likewise a segment that ends before the next one begins has lost its end, and so the log ends there. Nothing else
//! leaves such holes in what was not synced: each copy that compaction makes keeps a batch at its end, if only an empty
//! one, and a copy of a compacted log begins its segments where the last one ended. Kafka's compaction does leave them,
//! in what its cleaner's checkpoint covers.
//!
//! Disks write sectors whole, and nothing on the way to them moves less than a word of eight bytes. So a torn sector ends
//! in more zeros than the one or two that records like to end in. Only the last sector of a file may have fewer bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::wire::kafka::batch::{BatchError, BatchHeader, HEADER_BYTES};

use super::config::TopicConfig;
use super::disk::Folder;
use super::epochs::Epochs;
use super::error::LogError;
use super::index::file_name;
use super::partition_log::{LoadOptions, PartitionLog, TopicPartition};
use super::producers::{Marker, Producers};
use super::scan::{BatchScan, HeaderScan};
use super::segment::{INDEX_SUFFIXES, LOG_SUFFIX, SUFFIXES, Segment, SegmentFile};
use super::truncation::DELETED_SUFFIX;
use crate::planted::{self, Mistake};

/// What a file of a compacted segment ends in while it is written.
pub(super) const CLEANED_SUFFIX: &str = ".cleaned";
/// What it ends in when it is complete, and what it replaces goes.
pub(super) const SWAP_SUFFIX: &str = ".swap";
/// How much of the bytes behind a damaged place is searched for whole batches at once.
const SEARCH_BYTES: usize = 1 << 20;
const SECTOR_BYTES: u64 = 512;
/// What a sector ends in that was torn. Fewer zeros may well be somebody's data.
const UNWRITTEN: [u8; 8] = [0; 8];

/// What opening a log had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Segments whose indexes were made anew.
    pub segments_rebuilt: usize,
    /// Bytes that were cut off.
    pub bytes_cut: u64,
}

impl PartitionLog {
    /// Opens what is in the directory; an empty one becomes an empty log.
    pub fn open(
        folder: Folder,
        partition: TopicPartition,
        config: Arc<TopicConfig>,
        options: &LoadOptions,
        now_ms: i64,
    ) -> Result<(PartitionLog, Recovered), LogError> {
        let bases = tidy(&folder)?;
        let mut recovered = Recovered::default();
        let (epochs, epochs_lost) = load_epochs(&folder)?;
        let mut log = PartitionLog::with(folder, partition, config, BTreeMap::new(), epochs, now_ms);
        let dirty_from = if options.was_clean {
            i64::MAX
        } else {
            // A segment that ends exactly there may have been finished later, and so its indexes.
            let floor = bases.partition_point(|base| *base < options.recovery_point);
            floor.checked_sub(1).map_or(i64::MIN, |at| bases[at])
        };
        let mut first_rebuilt = None;
        let mut rebuilt_end = None;
        for (at, base) in bases.iter().copied().enumerate() {
            if base < dirty_from
                && let Some(segment) = Segment::open(&log.folder, base, now_ms)?
            {
                log.segments.insert(base, segment);
                rebuilt_end = None;
                continue;
            }
            if !options.was_clean
                && let Some(end) = rebuilt_end.filter(|end| *end < base)
                && log.ends_at_hole(end, &bases[at - 1..], options)?
            {
                break;
            }
            first_rebuilt.get_or_insert(base);
            recovered.segments_rebuilt += 1;
            let judge = (!options.was_clean).then_some((options.high_watermark, &bases[at + 1..]));
            let (end, cut) = log.rebuild_segment(base, judge, now_ms)?;
            recovered.bytes_cut = cut;
            if cut > 0 {
                break;
            }
            rebuilt_end = Some(end);
        }
        log.settle(options, epochs_lost, first_rebuilt, now_ms)?;
        Ok((log, recovered))
    }

    /// Makes the fields agree with the segments that were found.
    fn settle(
        &mut self,
        options: &LoadOptions,
        epochs_lost: bool,
        first_rebuilt: Option<i64>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.load_topic_id(options)?;
        if self.segments.is_empty() {
            let base = options.log_start_offset;
            self.segments.insert(base, Segment::create(&self.folder, base, now_ms)?);
        }
        if !options.was_clean {
            // What a killed process removed or cut may come back if the power goes too, and then stand behind what is
            // appended from now on.
            self.active().file().sync()?;
        }
        let active = self.active();
        self.end_offset = active.last_offset()?.map_or(active.base_offset(), |last| last + 1);
        let first = self.segments.first_key_value().map_or(0, |(base, _)| *base);
        self.log_start_offset = options.log_start_offset.max(first);
        if self.log_start_offset > self.end_offset {
            // What the log should begin with was lost, and nothing before it is wanted.
            let start = self.log_start_offset;
            tracing::warn!(partition = %self.partition, start, end = self.end_offset, "the log ended before its start");
            return self.truncate_fully_and_start_at(start, now_ms);
        }
        self.recovery_point =
            if options.was_clean { self.end_offset } else { options.recovery_point.min(self.end_offset) };
        self.high_watermark = options.high_watermark.clamp(self.log_start_offset, self.end_offset);
        if epochs_lost {
            self.collect_epochs(i64::MIN)?;
        } else if let Some(base) = first_rebuilt {
            self.collect_epochs(base)?;
        }
        self.epochs.truncate_end(self.end_offset)?;
        self.epochs.truncate_start(self.log_start_offset)?;
        let end_offset = self.end_offset;
        self.producers.remove_snapshots(|at| at > end_offset)?;
        self.replay_producers_before(first_rebuilt.unwrap_or(end_offset))?;
        if planted::is(Mistake::ProducersForgotten) {
            self.producers.clear(end_offset);
        }
        self.producers.on_high_watermark(self.high_watermark);
        Ok(())
    }

    /// Looks at a segment that ends before the next begins; true if the log ends there, and what follows was removed. The
    /// end of a file that was not synced may be lost although the next file has its name, and even content.
    fn ends_at_hole(&mut self, end: i64, bases: &[i64], options: &LoadOptions) -> Result<bool, LogError> {
        let later = &bases[1..];
        if later[0] <= options.cleaned_to.max(options.recovery_point) {
            // Kafka's compaction leaves holes; what it cleaned, and what was synced, was not lost.
            return Ok(false);
        }
        if self.has_whole_batch(later)? {
            if end < options.high_watermark {
                let file = self.folder.path(&file_name(bases[0], LOG_SUFFIX));
                let position = self.segments.last_key_value().map_or(0, |(_, segment)| segment.size());
                let problem = format!("it ends at offset {end}, and the next file begins at {}", later[0]);
                return Err(LogError::Damaged { file, position, problem });
            }
            tracing::warn!(partition = %self.partition, offset = end, next = later[0], "what follows a hole is cut off");
        }
        self.remove_last_segments(later)?;
        Ok(true)
    }

    /// Reads a segment from its first byte, makes its indexes anew, and cuts off what a crash left unfinished; returns
    /// where the segment ends, and how many bytes were cut. Without a judge, whatever is wrong is damage.
    fn rebuild_segment(
        &mut self,
        base: i64,
        judge: Option<(i64, &[i64])>,
        now_ms: i64,
    ) -> Result<(i64, u64), LogError> {
        let (mut segment, size) = Segment::open_bare(&self.folder, base, now_ms)?;
        let file = Arc::clone(segment.file());
        let mut scan = BatchScan::new(&file, 0, size);
        let mut expected = base;
        let mut cut = 0;
        loop {
            let (position, damage) = match scan.advance() {
                Ok(None) => break,
                Ok(Some((_, batch))) if batch.header().base_offset >= expected => {
                    expected = batch.header().next_offset();
                    segment.admit(batch.header(), self.config.index_interval_bytes);
                    continue;
                }
                // The checksum leaves the offset out, so one that was only half written looks whole.
                Ok(Some((position, batch))) => {
                    let path = self.folder.path(&file_name(base, LOG_SUFFIX));
                    let problem = format!("offset {} follows {}", batch.header().base_offset, expected - 1);
                    (position, LogError::Damaged { file: path, position, problem })
                }
                Err(damage @ LogError::Damaged { .. }) => (scan.position(), damage),
                Err(error) => return Err(error),
            };
            let Some((high_watermark, later)) = judge else { return Err(damage) };
            let place = Wound { position, size, expected };
            if self.is_damage(&file, &place, later, high_watermark)? {
                return Err(damage);
            }
            cut = size - place.position;
            tracing::warn!(
                partition = %self.partition, %damage, bytes = cut, offset = expected,
                below_high_watermark = expected < high_watermark,
                "cut off what a crash left unfinished"
            );
            // First the later ones: should this be cut short, the next start comes to the same verdict.
            self.remove_last_segments(later)?;
            segment.cut(place.position)?;
            segment.sync()?;
            break;
        }
        segment.finish()?;
        self.segments.insert(base, segment);
        Ok((expected, cut))
    }

    /// See the top of this file.
    fn is_damage(
        &self,
        file: &SegmentFile,
        wound: &Wound,
        later: &[i64],
        high_watermark: i64,
    ) -> Result<bool, LogError> {
        let next = find_whole_batch(file, wound)?;
        let is_followed = next.is_some() || self.has_whole_batch(later)?;
        if !is_followed {
            return Ok(false);
        }
        let was_torn = match next {
            Some(next) => {
                // The sector that the next batch begins in was written, unless all that it has of that batch are the
                // zeros that offsets begin with.
                let end = next + UNWRITTEN.len() as u64 - 1;
                has_unwritten_sector(file, wound.position, end - end % SECTOR_BYTES)?
            }
            None => {
                ends_inside_batch(file, wound)? || has_unwritten_sector(file, wound.position, wound.size)?
            }
        };
        Ok(wound.expected < high_watermark || !was_torn)
    }

    fn has_whole_batch(&self, segments: &[i64]) -> Result<bool, LogError> {
        for base in segments {
            let (file, size) = look_at(&self.folder, &file_name(*base, LOG_SUFFIX))?;
            match BatchScan::new(&file, 0, size).advance() {
                Ok(Some(_)) => return Ok(true),
                Ok(None) | Err(LogError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Learns the leaders' epochs from the batches from this segment on.
    fn collect_epochs(&mut self, from_base: i64) -> Result<(), LogError> {
        for segment in self.segments.range(from_base..).map(|(_, segment)| segment) {
            let mut scan = HeaderScan::new(segment.file(), 0, segment.size());
            while let Some((_, header)) = scan.advance()? {
                if self.epochs.latest().is_none_or(|latest| header.leader_epoch > latest) {
                    self.epochs.assign(header.leader_epoch, header.base_offset)?;
                }
            }
        }
        Ok(())
    }

    /// Brings what is known of producers to the log's end, from the newest snapshot on.
    pub(super) fn replay_producers(&mut self) -> Result<(), LogError> {
        self.replay_producers_before(self.end_offset)?;
        self.producers.on_high_watermark(self.high_watermark);
        Ok(())
    }

    /// The same, with a snapshot at or before this offset. Markers of aborted transactions that a segment's index does
    /// not have are added to it.
    fn replay_producers_before(&mut self, offset: i64) -> Result<(), LogError> {
        let from = self.producers.load_snapshot(self.log_start_offset, offset)?;
        replay(&mut self.producers, &mut self.segments, from, i64::MAX)?;
        self.producers.set_end_offset(self.end_offset);
        Ok(())
    }

    /// Makes sure that a snapshot of the producers at this offset, where a segment begins, is on the disk. After a crash,
    /// or in a directory that Kafka wrote, there may be none.
    pub(super) fn keep_producers_at(&mut self, offset: i64) -> Result<(), LogError> {
        if self.producers.sync_snapshot(offset)? {
            return Ok(());
        }
        let mut producers = Producers::new(self.folder.clone());
        let first = self.segments.first_key_value().map_or(0, |(base, _)| *base);
        let from = producers.load_snapshot(first, offset)?;
        match replay(&mut producers, &mut self.segments, from, offset) {
            Err(error @ LogError::Damaged { .. }) => {
                // What cannot be read must not stay for ever because of that.
                tracing::warn!(partition = %self.partition, %error, "some producers' past is lost");
            }
            result => result?,
        }
        producers.set_end_offset(offset);
        producers.save_snapshot()?;
        producers.sync_snapshot(offset)?;
        Ok(())
    }
}

/// Tells producers of what the segments that begin before `up_to` hold from `from` on.
fn replay(
    producers: &mut Producers,
    segments: &mut BTreeMap<i64, Segment>,
    from: i64,
    up_to: i64,
) -> Result<(), LogError> {
    let floor = segments.range(..=from).next_back().map_or(i64::MIN, |(base, _)| *base);
    for segment in segments.range_mut(floor..up_to).map(|(_, segment)| segment) {
        let Some(start) = segment.seek(from)? else { continue };
        let file = Arc::clone(segment.file());
        let mut scan = HeaderScan::new(&file, start.position, segment.size());
        while let Some((position, header)) = scan.advance()? {
            let marker = if header.attributes.is_control() && header.has_producer() {
                read_marker(&file, position, &header)?
            } else {
                None
            };
            let Some(aborted) = producers.appended(&header, marker) else { continue };
            let known_to = segment.txn_index().txns().last().map(|txn| txn.last_offset);
            if known_to.is_none_or(|known_to| known_to < aborted.last_offset) {
                segment.txn_index_mut().push(aborted);
            }
        }
    }
    Ok(())
}

fn read_marker(file: &SegmentFile, position: u64, header: &BatchHeader) -> Result<Option<Marker>, LogError> {
    let mut scan = BatchScan::new(file, position, position + header.size() as u64);
    match scan.advance()? {
        Some((_, batch)) => Marker::of(&batch).map_err(|error| LogError::Damaged {
            file: file.path(),
            position,
            problem: error.to_string(),
        }),
        None => Ok(None),
    }
}

/// A place where no whole batch is.
struct Wound {
    position: u64,
    size: u64,
    /// The offset that a batch here would have at least.
    expected: i64,
}

/// Looks behind a wound for a batch that is whole and continues the log; returns where it begins.
fn find_whole_batch(file: &SegmentFile, wound: &Wound) -> Result<Option<u64>, LogError> {
    let mut at = wound.position + 1;
    while at + HEADER_BYTES as u64 <= wound.size {
        let length = (wound.size - at).min(SEARCH_BYTES as u64) as usize;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes, at)?;
        for (skip, window) in bytes.windows(HEADER_BYTES).enumerate() {
            // Few places look like a header, so hardly any checksum is computed.
            let Ok(header) = BatchHeader::parse(window) else { continue };
            let position = at + skip as u64;
            let continues = header.base_offset >= wound.expected
                && header.base_offset - wound.expected <= i64::from(i32::MAX)
                && position + header.size() as u64 <= wound.size;
            if continues && BatchScan::new(file, position, wound.size).advance().is_ok() {
                return Ok(Some(position));
            }
        }
        at += (length - HEADER_BYTES + 1) as u64;
    }
    Ok(None)
}

/// Whether the file ends before the batch at the wound does, going by what is left of its header.
fn ends_inside_batch(file: &SegmentFile, wound: &Wound) -> Result<bool, LogError> {
    let left = wound.size - wound.position;
    let mut start = vec![0; left.min(HEADER_BYTES as u64) as usize];
    file.read_exact(&mut start, wound.position)?;
    Ok(match BatchHeader::parse(&start) {
        Ok(header) => header.size() as u64 > left,
        Err(error) => matches!(error, BatchError::Truncated { .. }),
    })
}

/// Whether a sector that reaches into this range ends in zeros, as it does when the disk never got its end. The range
/// ends where a sector does, or the file.
fn has_unwritten_sector(file: &SegmentFile, start: u64, end: u64) -> Result<bool, LogError> {
    let is_unwritten = |sector: &[u8]| sector.ends_with(&UNWRITTEN[..UNWRITTEN.len().min(sector.len())]);
    let mut at = start - start % SECTOR_BYTES;
    while at < end {
        let stop = (at + SEARCH_BYTES as u64).min(end);
        let mut bytes = vec![0; (stop - at) as usize];
        file.read_exact(&mut bytes, at)?;
        if bytes.chunks(SECTOR_BYTES as usize).any(is_unwritten) {
            return Ok(true);
        }
        at = stop;
    }
    Ok(false)
}

fn load_epochs(folder: &Folder) -> Result<(Epochs, bool), LogError> {
    match Epochs::load(folder.clone()) {
        Ok(epochs) => Ok((epochs, false)),
        Err(error @ LogError::Malformed { .. }) => {
            tracing::warn!(%error, "the epochs are read from the log instead");
            Ok((Epochs::lost(folder.clone()), true))
        }
        Err(error) => Err(error),
    }
}

/// Finishes or removes what was being renamed when the process ended, and returns the segments' base offsets, growing.
fn tidy(folder: &Folder) -> Result<Vec<i64>, LogError> {
    let names = || -> Result<Vec<String>, LogError> {
        let entries = folder.list()?.into_iter();
        Ok(entries.filter(|entry| !entry.is_dir).map(|entry| entry.name).collect())
    };
    let present = names()?;
    // As long as a part of a copy has its first name, none of it took anything's place.
    let unfinished: Vec<&str> =
        present.iter().filter_map(|name| stem_of(name.strip_suffix(CLEANED_SUFFIX)?)).collect();
    let is_unfinished = |name: &str| stem_of(name).is_some_and(|stem| unfinished.contains(&stem));
    let swaps = || present.iter().filter_map(|name| Some((name, name.strip_suffix(SWAP_SUFFIX)?)));
    for (name, _) in swaps().filter(|(_, complete)| is_unfinished(complete)) {
        folder.remove(name)?;
    }
    if swaps().next().is_some() {
        folder.sync()?;
    }
    for name in &present {
        if [DELETED_SUFFIX, CLEANED_SUFFIX, ".tmp"].iter().any(|suffix| name.ends_with(suffix)) {
            folder.remove(name)?;
        }
    }
    let complete: Vec<(&String, &str)> = swaps().filter(|(_, complete)| !is_unfinished(complete)).collect();
    for swap in complete.iter().filter_map(|(_, complete)| base_of(complete)) {
        // What the compacted segment covers was to go, and perhaps did not.
        let end = swap_end(folder, swap)?;
        for base in present.iter().filter_map(|name| base_of(name)).filter(|base| (swap..end).contains(base))
        {
            for suffix in SUFFIXES.iter().filter(|suffix| **suffix != "snapshot") {
                folder.remove(&file_name(base, suffix))?;
            }
        }
        folder.sync()?;
    }
    for (name, complete) in &complete {
        folder.rename(name, complete)?;
    }
    if !complete.is_empty() {
        folder.sync()?;
    }
    let names = names()?;
    let mut bases: Vec<i64> = names.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    for name in &names {
        let orphan = INDEX_SUFFIXES.iter().any(|suffix| {
            let base = name.strip_suffix(suffix).and_then(|base| base.strip_suffix('.')?.parse().ok());
            base.is_some_and(|base: i64| bases.binary_search(&base).is_err())
        });
        if orphan {
            folder.remove(name)?;
        }
    }
    Ok(bases)
}

/// What the names of a segment's files have in common.
fn stem_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(stem, _)| stem)
}

/// The base offset in the name of a segment's own file.
fn base_of(name: &str) -> Option<i64> {
    name.strip_suffix(".log")?.parse().ok().filter(|base| *base >= 0)
}

fn look_at(folder: &Folder, name: &str) -> Result<(SegmentFile, u64), LogError> {
    let file = SegmentFile::open(folder, name)?;
    let size = file.size()?;
    Ok((file, size))
}

/// The offset behind the last batch of a compacted segment that is to get its name.
fn swap_end(folder: &Folder, base: i64) -> Result<i64, LogError> {
    let name = format!("{}{SWAP_SUFFIX}", file_name(base, "log"));
    let (file, size) = look_at(folder, &name)?;
    let mut scan = HeaderScan::new(&file, 0, size);
    let mut end = base;
    while let Some((_, header)) = scan.advance()? {
        end = header.next_offset();
    }
    Ok(end)
}

#[cfg(test)]
mod tests;
