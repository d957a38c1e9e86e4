//! How are old records read while new ones are being written?
//!
//! A [`LogReader`] reads the segments from beside the log thread. It never looks at a place that was not durable when it
//! was told how far to read, so it sees no record in the making.

use std::sync::Arc;

use bytes::Bytes;

use super::change::numbers;
use super::disk::Disk;
use super::error::StoreError;
use super::segment::{self, Next, SegmentReader};

/// Reads records in order, from after one zxid up to another.
#[derive(Debug)]
pub struct LogReader {
    disk: Arc<dyn Disk>,
    reader: SegmentReader,
    /// The next record, if it was read already; perhaps it is beyond `up_to`.
    peeked: Option<(u64, Bytes)>,
    after: u64,
    up_to: u64,
}

impl LogReader {
    /// Opens the log where it goes on after `after`. `up_to` was reported durable; nothing behind it is read.
    ///
    /// The log may hold no record at `after` itself: [`LogReader::after`] tells which it goes on from. `None` if it does not
    /// reach back so far.
    pub fn open(disk: Arc<dyn Disk>, after: u64, up_to: u64) -> Result<Option<LogReader>, StoreError> {
        let segments = numbers(disk.as_ref(), segment::parse_name)?;
        // A segment that begins behind `up_to` may be in the making.
        for first_zxid in segments.into_iter().rev().filter(|&first| first <= up_to) {
            let reader = SegmentReader::open(disk.as_ref(), first_zxid)?;
            let before = reader.header().before;
            if before.zxid <= after {
                let mut reader = LogReader { disk, reader, peeked: None, after: before.zxid, up_to };
                reader.skip_to(after)?;
                return Ok(Some(reader));
            }
            if before.crc == 0 {
                // The log began anew here: nothing leads from before this segment into it.
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn skip_to(&mut self, zxid: u64) -> Result<(), StoreError> {
        while let Some(&(next, _)) = self.peek()?
            && next <= zxid
        {
            self.peeked = None;
            self.after = next;
        }
        Ok(())
    }

    /// What the next record follows: the zxid of the last record that was read, or where reading began. A member whose
    /// history ends at another zxid than where reading began has a history that is not ours.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// The next record; `None` once everything up to `up_to` was read.
    pub fn next_record(&mut self) -> Result<Option<(u64, Bytes)>, StoreError> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let record = self.peeked.take();
        self.after = record.as_ref().map_or(self.after, |&(zxid, _)| zxid);
        Ok(record)
    }

    /// Bytes of segments that are still to be read, without the last one, which is longer than what is in it.
    pub fn bytes_ahead(&self) -> Result<u64, StoreError> {
        let current = self.reader.header().first_zxid;
        let mut later = numbers(self.disk.as_ref(), segment::parse_name)?;
        later.retain(|&first| first > current);
        later.sort_unstable();
        if later.pop().is_none() {
            return Ok(0);
        }
        let mut bytes = self.reader.size() - self.reader.offset();
        for first in later.into_iter().take_while(|&first| first <= self.up_to) {
            bytes += SegmentReader::open(self.disk.as_ref(), first)?.size();
        }
        Ok(bytes)
    }

    /// Goes on up to a later zxid, which was reported durable since.
    pub fn extend(&mut self, up_to: u64) -> Result<(), StoreError> {
        self.up_to = self.up_to.max(up_to);
        self.reader.refresh()
    }

    /// The next record up to `up_to`, which stays to be read.
    fn peek(&mut self) -> Result<Option<&(u64, Bytes)>, StoreError> {
        while self.peeked.is_none() && self.reader.last().zxid < self.up_to {
            match self.reader.next()? {
                Next::Record(zxid, body) => self.peeked = Some((zxid, body)),
                Next::Stop(why) => self.next_segment(&why)?,
            }
        }
        Ok(self.peeked.as_ref().filter(|&&(zxid, _)| zxid <= self.up_to))
    }

    /// The segment has ended, and the log has not.
    fn next_segment(&mut self, why: &str) -> Result<(), StoreError> {
        let current = self.reader.header().first_zxid;
        let next =
            numbers(self.disk.as_ref(), segment::parse_name)?.into_iter().find(|&first| first > current);
        let end = self.reader.last();
        if let Some(next) = next {
            let next = SegmentReader::open(self.disk.as_ref(), next)?;
            if next.header().before == end {
                self.reader = next;
                return Ok(());
            }
        }
        let what = format!("{why}, but the log is durable up to zxid 0x{:x}", self.up_to);
        Err(self.reader.damaged(self.reader.offset(), what))
    }
}
