//! What is in one file of the log, and how is it read?
//!
//! A segment is named `log.<zxid of its first record, hex>` and starts with 64 bytes:
//!
//! ```text
//!  0  magic     8 bytes
//!  8  u32       format version
//! 12  u32       salt
//! 16  u64       zxid of the first record
//! 24  u64       zxid of the last record before it, in whatever segment or snapshot
//! 32  u32       `crc` of that record, zero if the segment continues a snapshot or nothing
//! 36  zeros
//! 60  u32       CRC32C of bytes 0..60
//! ```
//!
//! Records follow, then zeros to the end of the file. The segment that is being written always ends in at least
//! [`record::HEADER_BYTES`] zeros.

use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::Bytes;

use super::RECORD_BYTES_MAX;
use super::disk::{Disk, DiskFile};
use super::error::{RESTORE, StoreError};
use super::record::{self, RecordHeader, Salt};

/// The header's size.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;
/// How much is read at once; a longer record is read alone.
const WINDOW_BYTES: u64 = 1 << 20;

const MAGIC: [u8; 8] = *b"rookLOG\n";
const VERSION: u32 = 1;
const PREFIX: &str = "log.";

/// The name of the segment whose first record has this zxid.
pub(super) fn name(first_zxid: u64) -> String {
    format!("{PREFIX}{first_zxid:x}")
}

/// The first zxid that a segment's name tells; `None` for any other file.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    parse_hex(name.strip_prefix(PREFIX)?)
}

/// A number as [`name`] writes it, and in no other spelling.
pub(super) fn parse_hex(text: &str) -> Option<u64> {
    let value = u64::from_str_radix(text, 16).ok()?;
    (format!("{value:x}") == text).then_some(value)
}

/// Where a log stands after some record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link {
    pub(super) zxid: u64,
    /// The record's `crc`; zero after a snapshot that no log leads to.
    pub(super) crc: u32,
}

/// A segment's first 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) salt: Salt,
    pub(super) first_zxid: u64,
    /// The end of what this segment continues.
    pub(super) before: Link,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut out = [0; SEGMENT_HEADER_BYTES as usize];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.salt.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.first_zxid.to_le_bytes());
        out[24..32].copy_from_slice(&self.before.zxid.to_le_bytes());
        out[32..36].copy_from_slice(&self.before.crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header; the error says what is wrong with it.
    fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES as usize]) -> Result<SegmentHeader, String> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[0..8] != MAGIC {
            return Err("this is no log segment of this server".into());
        }
        if u32_at(60) != crc32c::crc32c(&bytes[..60]) {
            return Err("the segment's header fails its checksum".into());
        }
        if u32_at(8) != VERSION {
            return Err(format!("log format {} is not known to this release", u32_at(8)));
        }
        Ok(SegmentHeader {
            salt: Salt(u32_at(12)),
            first_zxid: u64_at(16),
            before: Link { zxid: u64_at(24), crc: u32_at(32) },
        })
    }
}

/// Reads a segment's records in order, checking each against the one before.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    header: SegmentHeader,
    size: u64,
    /// Where the next record starts.
    offset: u64,
    last: Link,
    last_batch: u64,
    window: Bytes,
    window_offset: u64,
}

/// What stands at a reader's offset.
#[derive(Debug)]
pub(super) enum Next {
    /// A good record.
    Record(u64, Bytes),
    /// Not a record that continues the ones before; `String` says why.
    Stop(String),
}

impl SegmentReader {
    /// Opens the segment that starts with `first_zxid` and checks its header.
    pub(super) fn open(disk: &dyn Disk, first_zxid: u64) -> Result<SegmentReader, StoreError> {
        let name = name(first_zxid);
        let path = disk.path().join(&name);
        let failed = |action| {
            let file = path.clone();
            move |source| StoreError::Io { action, file, source }
        };
        let damaged =
            |what: String| StoreError::Damaged { file: path.clone(), offset: 0, what, advice: RESTORE };
        let file = disk.open(&name).map_err(failed("open"))?;
        let size = file.size().map_err(failed("read the size of"))?;
        if size < SEGMENT_HEADER_BYTES {
            return Err(damaged(format!("the file has only {size} bytes, less than a segment's header")));
        }
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        file.read_exact_at(&mut bytes, 0).map_err(failed("read"))?;
        let header = SegmentHeader::decode(&bytes).map_err(damaged)?;
        if header.first_zxid != first_zxid {
            return Err(damaged(format!("the header is that of {}", self::name(header.first_zxid))));
        }
        Ok(SegmentReader {
            file,
            path,
            header,
            size,
            offset: SEGMENT_HEADER_BYTES,
            last: header.before,
            last_batch: SEGMENT_HEADER_BYTES,
            window: Bytes::new(),
            window_offset: 0,
        })
    }

    pub(super) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Where the next record starts, or would.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The record that was read last, or what the segment continues.
    pub(super) fn last(&self) -> Link {
        self.last
    }

    /// What lies before this offset had been synced when the last record was written.
    pub(super) fn last_batch(&self) -> u64 {
        self.last_batch
    }

    pub(super) fn file(&self) -> &dyn DiskFile {
        self.file.as_ref()
    }

    /// Gives up reading and hands over the file.
    pub(super) fn into_file(self) -> Box<dyn DiskFile> {
        self.file
    }

    /// Looks again at a file that is being written: at its size, and at what stands behind the last record.
    pub(super) fn refresh(&mut self) -> Result<(), StoreError> {
        self.window = Bytes::new();
        self.window_offset = 0;
        self.size = self.file.size().map_err(|error| self.failed("read the size of", error))?;
        Ok(())
    }

    /// This file is damaged at `offset`.
    pub(super) fn damaged(&self, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { file: self.path.clone(), offset, what: what.into(), advice: RESTORE }
    }

    /// An operation on this file failed.
    pub(super) fn failed(&self, action: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Io { action, file: self.path.clone(), source }
    }

    /// Reads the next record.
    pub(super) fn next(&mut self) -> Result<Next, StoreError> {
        loop {
            let size = self.size;
            match self.next_within_size() {
                // The writer gave back the space it had reserved behind its last record. A file shrinks once.
                Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::UnexpectedEof => {
                    self.refresh()?;
                    if self.size >= size {
                        return Err(self.failed("read", source));
                    }
                }
                found => return found,
            }
        }
    }

    /// Reads the next record of a file that has at least `self.size` bytes.
    fn next_within_size(&mut self) -> Result<Next, StoreError> {
        let stop = |why: &str| Ok(Next::Stop(why.into()));
        if self.size.saturating_sub(self.offset) < record::HEADER_BYTES as u64 {
            return stop("the file ends");
        }
        let bytes = self.bytes(self.offset, record::HEADER_BYTES as u64)?;
        let bytes: &[u8; record::HEADER_BYTES] = bytes[..].try_into().expect("asked for a header's length");
        if bytes.iter().all(|&byte| byte == 0) {
            return stop("no record follows");
        }
        let Some(header) = RecordHeader::decode(self.header.salt, bytes) else {
            return stop("the record's header fails its checksum");
        };
        if header.length as usize > RECORD_BYTES_MAX {
            return stop("the record is longer than any record may be");
        }
        if header.previous != self.last.crc {
            return stop("the record does not continue the one before it");
        }
        if !follows(self.last.zxid, header.zxid) {
            return Ok(Next::Stop(format!(
                "zxid 0x{:x} does not follow zxid 0x{:x}",
                header.zxid, self.last.zxid
            )));
        }
        if header.zxid != self.header.first_zxid && self.offset == SEGMENT_HEADER_BYTES {
            return stop("the first record is not the one that the segment is named after");
        }
        if header.span() > self.size - self.offset {
            return stop("the file ends inside the record");
        }
        let whole = self.bytes(self.offset, header.span())?;
        if !header.matches(self.header.salt, &whole[record::HEADER_BYTES..]) {
            return stop("the record fails its checksum");
        }
        let body = whole.slice(record::HEADER_BYTES..record::HEADER_BYTES + header.length as usize);
        self.last_batch = self.offset.saturating_sub(u64::from(header.batch)).max(SEGMENT_HEADER_BYTES);
        self.offset += header.span();
        self.last = Link { zxid: header.zxid, crc: header.crc };
        Ok(Next::Record(header.zxid, body))
    }

    /// `length` bytes at `offset`, both within the file.
    fn bytes(&mut self, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let window_end = self.window_offset + self.window.len() as u64;
        if offset < self.window_offset || offset + length > window_end {
            // Bounded by the file's size, which no header can exaggerate.
            let mut window = vec![0; length.max(WINDOW_BYTES).min(self.size - offset) as usize];
            self.file.read_exact_at(&mut window, offset).map_err(|error| self.failed("read", error))?;
            self.window = window.into();
            self.window_offset = offset;
        }
        let start = (offset - self.window_offset) as usize;
        Ok(self.window.slice(start..start + length as usize))
    }
}

/// Whether `next` may come right after `last`: by one within an epoch, else in a later epoch.
pub(super) fn follows(last: u64, next: u64) -> bool {
    last.checked_add(1) == Some(next) || next >> 32 > last >> 32
}
