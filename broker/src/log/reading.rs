//! Finding records: by offset, by time.

use client::wire::kafka::batch::HEADER_BYTES;

use super::error::{LogError, ReadError};
use super::partition_log::PartitionLog;
use super::segment::{FileRange, Place, Segment};

/// A record's time, offset and its leader's epoch, as an answer to a question about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampAndOffset {
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

/// Looking for one record unpacks its batch; a record larger than this is not looked into.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// So many batches without a record are passed over in one read.
const EMPTY_BATCHES_PASSED_MAX: usize = 1000;

impl PartitionLog {
    /// Where the records from `from` on lie, before `up_to` and in one segment. `None` if there are none.
    ///
    /// The range begins with the batch that holds `from` and has at most `max_bytes`, so its last batch may be cut; only
    /// the first batch is given whole whatever its size, if `min_one_batch` says so.
    ///
    /// Empty batches, which compaction leaves, are passed over where the range begins: there are clients that ask for the
    /// same offset for ever if they get nothing else.
    pub fn read(
        &mut self,
        from: i64,
        max_bytes: u64,
        up_to: i64,
        min_one_batch: bool,
    ) -> Result<Option<FileRange>, ReadError> {
        if from < self.log_start_offset || from > self.end_offset {
            let (start, end) = (self.log_start_offset, self.end_offset);
            return Err(ReadError::OutOfRange { offset: from, start, end });
        }
        let up_to = up_to.min(self.end_offset);
        if from >= up_to {
            return Ok(None);
        }
        let found = self.find_records(from, up_to)?;
        Ok(self.range_at(found, max_bytes, up_to, min_one_batch)?)
    }

    /// Whether this offset lies in an earlier segment than the end of what may be read: a reader there gets the rest of that
    /// segment, however little it is, for more does not come.
    pub fn is_behind(&self, offset: i64, up_to: i64) -> bool {
        let segment_of = |at| self.segments.range(..=at).next_back().map(|(base, _)| *base);
        offset < up_to && segment_of(offset) < segment_of(up_to)
    }

    /// Like [`PartitionLog::read`], without a look at the log's start: what a copy of the log needs.
    pub(super) fn range_from(
        &mut self,
        from: i64,
        max_bytes: u64,
        up_to: i64,
        min_one_batch: bool,
    ) -> Result<Option<FileRange>, LogError> {
        if from >= up_to.min(self.end_offset) {
            return Ok(None);
        }
        let found = self.find(from)?;
        self.range_at(found, max_bytes, up_to, min_one_batch)
    }

    fn range_at(
        &mut self,
        found: Option<(i64, Place)>,
        max_bytes: u64,
        up_to: i64,
        min_one_batch: bool,
    ) -> Result<Option<FileRange>, LogError> {
        let end_offset = self.end_offset;
        let up_to = up_to.min(end_offset);
        let Some((segment, place)) = found.filter(|(_, place)| place.base_offset < up_to) else {
            return Ok(None);
        };
        let segment = self.segments.get_mut(&segment).expect("just seen");
        let end = if up_to >= end_offset {
            segment.size()
        } else {
            segment.seek(up_to)?.map_or(segment.size(), |place| place.position)
        };
        // A batch that reaches over the end is not to be seen at all.
        let available = end.saturating_sub(place.position);
        let wanted = if min_one_batch { max_bytes.max(place.size) } else { max_bytes };
        let length = available.min(wanted);
        Ok((length > 0).then(|| segment.range(place.position, length)))
    }

    /// The first batch with records that reaches to this offset or beyond it, or the last one before `up_to`; with the base
    /// offset of its segment.
    fn find_records(&mut self, mut offset: i64, up_to: i64) -> Result<Option<(i64, Place)>, LogError> {
        let mut found = self.find(offset)?;
        for _ in 0..EMPTY_BATCHES_PASSED_MAX {
            match found {
                Some((_, place)) if place.size == HEADER_BYTES as u64 && place.last_offset + 1 < up_to => {
                    offset = place.last_offset + 1;
                }
                _ => break,
            }
            found = self.find(offset)?;
        }
        Ok(found)
    }

    /// The first batch that reaches to this offset or beyond it, and the base offset of the segment that has it.
    fn find(&mut self, offset: i64) -> Result<Option<(i64, Place)>, LogError> {
        let floor = self.segments.range(..=offset).next_back().map_or(i64::MIN, |(base, _)| *base);
        // Compaction may have taken the end of a segment, so the offset may be behind its last batch.
        for (base, segment) in self.segments.range_mut(floor..) {
            if let Some(place) = segment.seek(offset)? {
                return Ok(Some((*base, place)));
            }
        }
        Ok(None)
    }

    /// The first record of this time or later.
    pub fn offset_for_timestamp(&mut self, timestamp: i64) -> Result<Option<TimestampAndOffset>, LogError> {
        let from = self.log_start_offset;
        let floor = self.segments.range(..=from).next_back().map_or(i64::MIN, |(base, _)| *base);
        for segment in self.segments.range_mut(floor..).map(|(_, segment)| segment) {
            if segment.max_timestamp().0 < timestamp {
                continue;
            }
            if let Some(place) = segment.seek_time(timestamp, from)?
                && let Some(found) = first_record(segment, &place, from, timestamp)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first of the records with the largest timestamp.
    pub fn offset_of_max_timestamp(&mut self) -> Result<Option<TimestampAndOffset>, LogError> {
        let newest = self.segments.values().map(|segment| segment.max_timestamp().0).max();
        match newest {
            Some(timestamp) if timestamp >= 0 => self.offset_for_timestamp(timestamp),
            _ => Ok(None),
        }
    }
}

/// The first record from `from` on, of this time or later, in the batch at this place.
fn first_record(
    segment: &Segment,
    place: &Place,
    from: i64,
    timestamp: i64,
) -> Result<Option<TimestampAndOffset>, LogError> {
    let mut scan = segment.batches(place.position);
    // The batch whose largest timestamp fits may have it in a record before `from`: then the next ones count.
    while let Some((position, batch)) = scan.advance()? {
        let damaged = |error| segment.file().damaged(position, &error);
        if batch.header().max_timestamp < timestamp {
            continue;
        }
        for record in batch.records(RECORD_BYTES_MAX).map_err(damaged)? {
            let record = record.map_err(|error| segment.file().damaged(position, &error))?;
            if record.timestamp >= timestamp && record.offset >= from {
                let leader_epoch = Some(batch.header().leader_epoch).filter(|epoch| *epoch >= 0);
                let (timestamp, offset) = (record.timestamp, record.offset);
                return Ok(Some(TimestampAndOffset { timestamp, offset, leader_epoch }));
            }
        }
    }
    Ok(None)
}
