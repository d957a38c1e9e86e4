//! One piece of a partition's log: a file of batches, and what finds them.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use client::wire::kafka::batch::{BatchError, BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use smallvec::SmallVec;

use super::disk::{DiskFile, Folder};
use super::error::LogError;
use super::index::{OffsetIndex, TimeIndex, file_name};
use super::scan::{BatchScan, HeaderScan};
use super::txn_index::TxnIndex;

/// What a segment's own file ends in.
pub const LOG_SUFFIX: &str = "log";
/// What the names of a segment's indexes end in.
pub const INDEX_SUFFIXES: [&str; 3] = ["index", "timeindex", "txnindex"];
/// The files of a segment, by what their names end in.
pub const SUFFIXES: [&str; 5] = [LOG_SUFFIX, "index", "timeindex", "txnindex", "snapshot"];

/// The file of a segment; readers hold on to it while the log goes on, even when it is removed.
#[derive(Debug)]
pub struct SegmentFile {
    folder: Folder,
    name: String,
    file: Arc<dyn DiskFile>,
    /// What this process wrote, or checked at the start, from here on. Everything before is checked when it is first
    /// read, because it may have changed while nobody looked.
    trusted_from: AtomicU64,
    checked: Mutex<CheckedRanges>,
    /// Whether the directory was synced since the file got its name.
    is_name_durable: AtomicBool,
}

impl SegmentFile {
    fn new(folder: &Folder, name: String, file: Arc<dyn DiskFile>, trusted_from: u64) -> SegmentFile {
        SegmentFile {
            folder: folder.clone(),
            name,
            file,
            trusted_from: AtomicU64::new(trusted_from),
            checked: Mutex::default(),
            is_name_durable: AtomicBool::new(false),
        }
    }

    /// Opens a file of batches under whatever name, to look at it.
    pub fn open(folder: &Folder, name: &str) -> Result<SegmentFile, LogError> {
        Ok(SegmentFile::new(folder, name.to_owned(), folder.open(name)?, u64::MAX))
    }

    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Where it is, for messages.
    pub fn path(&self) -> PathBuf {
        self.folder.path(&self.name)
    }

    pub fn size(&self) -> Result<u64, LogError> {
        self.file.size().map_err(self.folder.failed("read", &self.name))
    }

    pub fn read_exact(&self, buf: &mut [u8], position: u64) -> Result<(), LogError> {
        self.file.read_exact_at(buf, position).map_err(self.folder.failed("read", &self.name))
    }

    /// Makes the content durable, and the name, if that is new.
    pub fn sync(&self) -> Result<(), LogError> {
        self.file.sync().map_err(self.folder.failed("sync", &self.name))?;
        if !self.is_name_durable.load(Ordering::Acquire) {
            self.folder.sync()?;
            self.is_name_durable.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// What is at this place is not what was written.
    pub fn damaged(&self, position: u64, error: &BatchError) -> LogError {
        LogError::Damaged { file: self.path(), position, problem: error.to_string() }
    }

    /// Compares the checksums of the whole batches from `start` on, at most up to `end`, unless that was done before;
    /// returns where the last of them ends.
    fn check(&self, start: u64, end: u64) -> Result<u64, LogError> {
        let trusted_from = self.trusted_from.load(Ordering::Acquire);
        if start >= trusted_from {
            return Ok(end);
        }
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known_to) = checked().known_to(start) {
            return Ok(if known_to >= trusted_from { end } else { end.min(known_to) });
        }
        // The first batch is checked whole, even if the range ends inside it; of the others, those that are whole in it.
        let Some((_, first)) = HeaderScan::new(self, start, self.size()?).advance()? else {
            return Ok(start);
        };
        let mut scan = BatchScan::new(self, start, end.max(start + first.size() as u64));
        loop {
            match scan.advance() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // What is good before the damage is handed out; the next read begins with the damage.
                Err(LogError::Damaged { .. }) if scan.position() > start => break,
                Err(error) => return Err(error),
            }
        }
        let good_to = scan.position();
        checked().add(start, good_to);
        Ok(end.min(good_to))
    }
}

/// Places that were found good, as ranges that do not touch; a few, for readers go from front to back.
#[derive(Debug, Default)]
struct CheckedRanges(Vec<(u64, u64)>);

const CHECKED_RANGES_MAX: usize = 64;

impl CheckedRanges {
    fn known_to(&self, start: u64) -> Option<u64> {
        self.0.iter().find(|(from, to)| (*from..*to).contains(&start)).map(|(_, to)| *to)
    }

    fn add(&mut self, mut start: u64, mut end: u64) {
        self.0.retain(|(from, to)| {
            let apart = *to < start || *from > end;
            if !apart {
                (start, end) = (start.min(*from), end.max(*to));
            }
            apart
        });
        if self.0.len() >= CHECKED_RANGES_MAX {
            // What is forgotten is merely checked again.
            self.0.remove(0);
        }
        self.0.push((start, end));
    }
}

/// A stretch of a segment's file, whole batches but for perhaps the last.
#[derive(Debug, Clone)]
pub struct FileRange {
    segment: Arc<SegmentFile>,
    pub position: u64,
    pub length: u64,
}

impl FileRange {
    /// The file, to send from.
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        self.segment.file()
    }

    /// Whether [`FileRange::verify`] has nothing to do, because this process wrote all of it or has checked it.
    pub fn is_verified(&self) -> bool {
        self.position >= self.segment.trusted_from.load(Ordering::Acquire)
    }

    /// Makes sure that nothing damaged is handed out: bytes that this process neither wrote nor checked are checked
    /// once, and the range shortened to the batches that were. Reads the disk, so not for a place where others wait.
    pub fn verify(mut self) -> Result<FileRange, LogError> {
        let end = self.segment.check(self.position, self.position + self.length)?;
        self.length = end - self.position;
        Ok(self)
    }

    /// The bytes themselves.
    pub fn read(&self) -> Result<Bytes, LogError> {
        let mut buffer = vec![0; self.length as usize];
        self.segment.read_exact(&mut buffer, self.position)?;
        Ok(buffer.into())
    }
}

/// Where a batch lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub base_offset: i64,
    pub last_offset: i64,
    pub position: u64,
    pub size: u64,
    pub max_timestamp: i64,
}

/// A batch on its way to the disk: a header of our making before bytes that are as they came.
#[derive(Debug)]
pub struct NewBatch {
    pub header: BatchHeader,
    header_bytes: [u8; HEADER_BYTES],
    payload: Bytes,
}

impl NewBatch {
    /// `payload` is what follows the header.
    pub fn new(header: BatchHeader, payload: Bytes) -> NewBatch {
        NewBatch { header, header_bytes: header.to_bytes(), payload }
    }

    /// A batch that is whole already.
    pub fn whole(bytes: &Bytes) -> Result<NewBatch, BatchError> {
        Ok(NewBatch::new(BatchHeader::parse(bytes)?, bytes.slice(HEADER_BYTES..)))
    }

    pub fn size(&self) -> u64 {
        (HEADER_BYTES + self.payload.len()) as u64
    }
}

/// How many of the newest batches are known without looking into files: those that consumers at the end ask for.
const RECENT_MAX: usize = 32;

/// A segment, open.
#[derive(Debug)]
pub struct Segment {
    folder: Folder,
    base_offset: i64,
    file: Arc<SegmentFile>,
    size: u64,
    index: OffsetIndex,
    time_index: TimeIndex,
    txn_index: TxnIndex,
    created_ms: i64,
    /// The largest timestamp and the last offset of the batch that has it.
    max_timestamp: (i64, i64),
    /// The first batch's largest timestamp, once it was looked at.
    first_timestamp: Option<i64>,
    bytes_since_index_entry: u64,
    recent: VecDeque<Place>,
}

impl Segment {
    /// Makes an empty segment.
    pub fn create(folder: &Folder, base_offset: i64, now_ms: i64) -> Result<Segment, LogError> {
        Segment::create_as(folder, base_offset, "", now_ms)
    }

    /// Makes an empty segment whose files' names end in this too.
    pub fn create_as(folder: &Folder, base_offset: i64, end: &str, now_ms: i64) -> Result<Segment, LogError> {
        let name = file_name(base_offset, LOG_SUFFIX) + end;
        let file = SegmentFile::new(folder, name.clone(), folder.create(&name)?, 0);
        let indexes = Segment::create_indexes(folder, base_offset, end)?;
        Ok(Segment::with(folder, base_offset, file, 0, indexes, now_ms))
    }

    fn create_indexes(
        folder: &Folder,
        base_offset: i64,
        end: &str,
    ) -> Result<(OffsetIndex, TimeIndex, TxnIndex), LogError> {
        Ok((
            OffsetIndex::create(folder, base_offset, end)?,
            TimeIndex::create(folder, base_offset, end)?,
            TxnIndex::new(folder, base_offset, end),
        ))
    }

    /// Opens a segment with its indexes; `None` if any of them is missing or no index.
    pub fn open(folder: &Folder, base_offset: i64, now_ms: i64) -> Result<Option<Segment>, LogError> {
        let (file, size) = Segment::open_file(folder, base_offset)?;
        let indexes = (
            OffsetIndex::open(folder, base_offset, size)?,
            TimeIndex::open(folder, base_offset)?,
            TxnIndex::open(folder, base_offset)?,
        );
        let (Some(index), Some(time_index), Some(txn_index)) = indexes else { return Ok(None) };
        let indexes = (index, time_index, txn_index);
        Ok(Some(Segment::with(folder, base_offset, file, size, indexes, now_ms)))
    }

    /// Opens a segment whose indexes are to be made anew; it shows nothing until that is [admitted](Segment::admit).
    pub fn open_bare(folder: &Folder, base_offset: i64, now_ms: i64) -> Result<(Segment, u64), LogError> {
        let (file, size) = Segment::open_file(folder, base_offset)?;
        // Whoever admits batches has checked them.
        file.trusted_from.store(0, Ordering::Release);
        folder.remove(&file_name(base_offset, "txnindex"))?;
        let indexes = Segment::create_indexes(folder, base_offset, "")?;
        Ok((Segment::with(folder, base_offset, file, 0, indexes, now_ms), size))
    }

    fn open_file(folder: &Folder, base_offset: i64) -> Result<(SegmentFile, u64), LogError> {
        let file = SegmentFile::open(folder, &file_name(base_offset, LOG_SUFFIX))?;
        let size = file.size()?;
        file.trusted_from.store(size, Ordering::Release);
        Ok((file, size))
    }

    fn with(
        folder: &Folder,
        base_offset: i64,
        file: SegmentFile,
        size: u64,
        (index, time_index, txn_index): (OffsetIndex, TimeIndex, TxnIndex),
        created_ms: i64,
    ) -> Segment {
        let max_timestamp = time_index.last().unwrap_or((NO_TIMESTAMP, base_offset));
        Segment {
            folder: folder.clone(),
            base_offset,
            file: Arc::new(file),
            size,
            index,
            time_index,
            txn_index,
            created_ms,
            max_timestamp,
            first_timestamp: None,
            bytes_since_index_entry: 0,
            recent: VecDeque::new(),
        }
    }

    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn file(&self) -> &Arc<SegmentFile> {
        &self.file
    }

    pub fn txn_index(&self) -> &TxnIndex {
        &self.txn_index
    }

    pub fn txn_index_mut(&mut self) -> &mut TxnIndex {
        &mut self.txn_index
    }

    /// The largest timestamp and the last offset of the batch that has it.
    pub fn max_timestamp(&self) -> (i64, i64) {
        self.max_timestamp
    }

    /// When everything in here was written, as far as can be told.
    pub fn largest_time(&self) -> i64 {
        if self.max_timestamp.0 > NO_TIMESTAMP { self.max_timestamp.0 } else { self.created_ms }
    }

    /// How long the segment has waited for a batch of this timestamp.
    pub fn age(&mut self, timestamp: i64, now_ms: i64) -> Result<i64, LogError> {
        match self.first_timestamp()? {
            first if first >= 0 => Ok(timestamp.saturating_sub(first)),
            _ => Ok(now_ms.saturating_sub(self.created_ms)),
        }
    }

    /// The first batch's largest timestamp; -1 if there is none.
    pub fn first_timestamp(&mut self) -> Result<i64, LogError> {
        if self.first_timestamp.is_none() && self.size > 0 {
            let header = HeaderScan::new(&self.file, 0, self.size).advance()?;
            self.first_timestamp = header.map(|(_, header)| header.max_timestamp);
        }
        Ok(self.first_timestamp.unwrap_or(NO_TIMESTAMP))
    }

    /// Whether one more entry would make an index larger than this.
    pub fn index_is_full(&self, index_bytes_max: u64) -> bool {
        self.index.len() >= index_bytes_max / 8 || self.time_index.len() >= index_bytes_max / 12
    }

    /// Whether the offset can be told relative to the base.
    pub fn reaches(&self, offset: i64) -> bool {
        i32::try_from(offset - self.base_offset).is_ok()
    }

    /// Writes batches behind the last one, with one call. Either all of them are in the log afterwards or none is.
    pub fn append<'a>(
        &mut self,
        batches: impl Iterator<Item = &'a NewBatch> + Clone,
        index_interval_bytes: u64,
    ) -> Result<(), LogError> {
        let mut pieces: SmallVec<[IoSlice<'_>; 2]> = SmallVec::new();
        for batch in batches.clone() {
            pieces.extend([IoSlice::new(&batch.header_bytes), IoSlice::new(&batch.payload)]);
        }
        let result = self.file.file.write_at(&mut pieces, self.size);
        result.map_err(self.folder.failed("write", &self.file.name))?;
        for batch in batches {
            self.admit(&batch.header, index_interval_bytes);
        }
        Ok(())
    }

    /// Takes note of a batch that lies in the file behind those known.
    pub fn admit(&mut self, header: &BatchHeader, index_interval_bytes: u64) {
        let (position, size) = (self.size, header.size() as u64);
        let last_offset = header.last_offset();
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        self.size += size;
        if header.max_timestamp > self.max_timestamp.0 {
            self.max_timestamp = (header.max_timestamp, last_offset);
        }
        if self.bytes_since_index_entry > index_interval_bytes {
            self.index.push(last_offset, position);
            self.time_index.push(self.max_timestamp.0, self.max_timestamp.1);
            self.bytes_since_index_entry = 0;
        }
        self.bytes_since_index_entry += size;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        let (base_offset, max_timestamp) = (header.base_offset, header.max_timestamp);
        self.recent.push_back(Place { base_offset, last_offset, position, size, max_timestamp });
    }

    /// The first batch that reaches to this offset or beyond it.
    pub fn seek(&mut self, offset: i64) -> Result<Option<Place>, LogError> {
        if self.recent.front().is_some_and(|first| first.base_offset <= offset) {
            let at = self.recent.partition_point(|place| place.last_offset < offset);
            return Ok(self.recent.get(at).copied());
        }
        let start = self.index.floor(offset)?;
        self.first_place(start, |header| header.last_offset() >= offset)
    }

    /// The first batch from this offset on that has a record of this time or later.
    pub fn seek_time(&mut self, timestamp: i64, from_offset: i64) -> Result<Option<Place>, LogError> {
        let start = self.index.floor(self.time_index.floor(timestamp)?.max(from_offset))?;
        self.first_place(start, |header| {
            header.max_timestamp >= timestamp && header.last_offset() >= from_offset
        })
    }

    fn first_place(
        &self,
        start: u64,
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<Place>, LogError> {
        let mut scan = HeaderScan::new(&self.file, start, self.size);
        while let Some((position, header)) = scan.advance()? {
            if wanted(&header) {
                return Ok(Some(Place {
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    position,
                    size: header.size() as u64,
                    max_timestamp: header.max_timestamp,
                }));
            }
        }
        Ok(None)
    }

    /// The offset of the last record; `None` if there is nothing.
    pub fn last_offset(&mut self) -> Result<Option<i64>, LogError> {
        if let Some(last) = self.recent.back() {
            return Ok(Some(last.last_offset));
        }
        let mut scan = HeaderScan::new(&self.file, self.index.floor(i64::MAX)?, self.size);
        let mut last = None;
        while let Some((_, header)) = scan.advance()? {
            last = Some(header.last_offset());
        }
        Ok(last)
    }

    /// A stretch of this segment.
    pub fn range(&self, position: u64, length: u64) -> FileRange {
        FileRange { segment: Arc::clone(&self.file), position, length }
    }

    /// The batches of this segment from a place on.
    pub fn batches(&self, position: u64) -> BatchScan<'_> {
        BatchScan::new(&self.file, position, self.size)
    }

    /// Forgets this offset and everything behind it; the batch that holds the offset goes wholly.
    pub fn truncate(&mut self, offset: i64) -> Result<(), LogError> {
        let Some(place) = self.seek(offset)? else { return Ok(()) };
        let end_offset = place.base_offset.max(self.base_offset);
        self.index.truncate(end_offset)?;
        self.time_index.truncate(end_offset)?;
        self.txn_index.truncate(end_offset)?;
        self.cut(place.position)?;
        self.file.sync()?;
        self.recent.retain(|recent| recent.position < place.position);
        // No entry may be about the first batch, so counting begins anew.
        self.bytes_since_index_entry = 0;
        if self.size == 0 {
            self.first_timestamp = None;
        }
        // The largest timestamp may have been in what is gone; the rest that the index does not know is read again.
        self.max_timestamp = self.time_index.last().unwrap_or((NO_TIMESTAMP, self.base_offset));
        let mut scan = HeaderScan::new(&self.file, self.index.floor(self.max_timestamp.1)?, self.size);
        while let Some((_, header)) = scan.advance()? {
            if header.max_timestamp > self.max_timestamp.0 {
                self.max_timestamp = (header.max_timestamp, header.last_offset());
            }
        }
        Ok(())
    }

    /// Cuts the file behind what is known.
    pub fn cut(&mut self, size: u64) -> Result<(), LogError> {
        self.file.file.set_size(size).map_err(self.folder.failed("truncate", &self.file.name))?;
        self.size = size;
        self.file.trusted_from.fetch_min(size, Ordering::AcqRel);
        Ok(())
    }

    /// Nothing more is appended: what the indexes do not know yet is added, and all of it goes into their files.
    pub fn finish(&mut self) -> Result<(), LogError> {
        self.time_index.push(self.max_timestamp.0, self.max_timestamp.1);
        self.index.write()?;
        self.time_index.write()?;
        self.txn_index.write()?;
        self.recent = VecDeque::new();
        Ok(())
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.file.sync()?;
        self.index.sync()?;
        self.time_index.sync()?;
        self.txn_index.sync()
    }
}
