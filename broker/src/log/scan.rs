//! Walking over the batches of a segment file: their headers only, or all their bytes, checked.

use bytes::{Bytes, BytesMut};
use client::wire::kafka::batch::{Batch, BatchError, BatchHeader, HEADER_BYTES};

use super::error::LogError;
use super::segment::SegmentFile;

/// What is read at once while only headers are wanted; most batches are smaller than the gap between index entries.
const HEADERS_READ_BYTES: usize = 8 * 1024;
/// What is read at once while everything is wanted.
const BATCHES_READ_BYTES: usize = 1 << 20;

/// The headers of the batches between two places, with where each is. What is between them is not looked at.
#[derive(Debug)]
pub struct HeaderScan<'a> {
    file: &'a SegmentFile,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> HeaderScan<'a> {
    pub fn new(file: &'a SegmentFile, position: u64, end: u64) -> HeaderScan<'a> {
        HeaderScan { file, position, end, buffer: Vec::new(), buffer_at: position }
    }

    /// The next batch's place and header.
    pub fn advance(&mut self) -> Result<Option<(u64, BatchHeader)>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let header = match BatchHeader::parse(self.header_bytes()?) {
            Ok(header) => header,
            Err(error) => return Err(self.file.damaged(position, &error)),
        };
        if header.size() as u64 > self.end - position {
            let (needed, have) = (header.size(), (self.end - position) as usize);
            return Err(self.file.damaged(position, &BatchError::Truncated { needed, have }));
        }
        self.position += header.size() as u64;
        Ok(Some((position, header)))
    }

    fn header_bytes(&mut self) -> Result<&[u8], LogError> {
        let wanted = (self.end - self.position).min(HEADER_BYTES as u64);
        if self.position + wanted > self.buffer_at + self.buffer.len() as u64 || self.buffer.is_empty() {
            let length = (self.end - self.position).min(HEADERS_READ_BYTES as u64) as usize;
            self.buffer.resize(length, 0);
            self.buffer_at = self.position;
            self.file.read_exact(&mut self.buffer, self.position)?;
        }
        Ok(&self.buffer[(self.position - self.buffer_at) as usize..])
    }
}

/// The batches from a place on, whole, with their checksums compared. Memory is one read's worth, or the largest batch.
#[derive(Debug)]
pub struct BatchScan<'a> {
    file: &'a SegmentFile,
    position: u64,
    end: u64,
    /// What was read and not handed out, from `position` on.
    rest: Bytes,
}

impl<'a> BatchScan<'a> {
    pub fn new(file: &'a SegmentFile, position: u64, end: u64) -> BatchScan<'a> {
        BatchScan { file, position, end, rest: Bytes::new() }
    }

    /// Where the next batch begins, and behind the last one the end of what is good.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next batch and its place. [`LogError::Damaged`] if what is there is none.
    pub fn advance(&mut self) -> Result<Option<(u64, Batch)>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let left = self.end - position;
        let needed = match BatchHeader::parse(&self.rest) {
            Ok(header) => header.size(),
            Err(BatchError::Truncated { needed, .. }) => needed,
            Err(error) => return Err(self.file.damaged(position, &error)),
        };
        if needed > self.rest.len() {
            if needed as u64 > left {
                let error = BatchError::Truncated { needed, have: left as usize };
                return Err(self.file.damaged(position, &error));
            }
            let length = left.min(needed.max(BATCHES_READ_BYTES) as u64) as usize;
            let mut buffer = BytesMut::zeroed(length);
            self.file.read_exact(&mut buffer, position)?;
            self.rest = buffer.freeze();
            if needed == HEADER_BYTES {
                return self.advance();
            }
        }
        let batch = Batch::split_from(&mut self.rest)
            .and_then(|batch| batch.check_crc().map(|()| batch))
            .map_err(|error| self.file.damaged(position, &error))?;
        self.position += batch.bytes().len() as u64;
        Ok(Some((position, batch)))
    }
}
