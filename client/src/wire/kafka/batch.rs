//! Record batches: the unit that producers send, logs keep and consumers fetch.
//!
//! A batch is a header of 61 bytes and its records, packed as one block or not at all. The header is all that a broker
//! needs on most paths, so [`Batch`] is a view of received or stored bytes, and its records are only looked at when
//! somebody asks: [`Batch::outlines`] walks over their shapes, [`Batch::records`] hands them out.
//!
//! Offset and leader epoch lie outside the checksum, so that a leader can write them in place.

mod builder;
mod record;

use bytes::{BufMut, Bytes};

pub use builder::{BatchBuilder, BatchOptions, ControlType, control_batch};
pub use record::{Header, Headers, Outline, Outlines, Record, Records};

use super::compression::{Codec, CompressionError};

/// The header's size.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length: what comes before the bytes that the length counts.
pub const PREFIX_BYTES: usize = 12;
/// The only format that is understood; 0 and 1 ended with Kafka 0.11.
pub const MAGIC: i8 = 2;
/// In the place of a timestamp: there is none.
pub const NO_TIMESTAMP: i64 = -1;
/// In the place of a producer id: the producer is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// In the place of a leader epoch: unknown.
pub const NO_LEADER_EPOCH: i32 = -1;

const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch needs {needed} bytes, and {have} are there")]
    Truncated { needed: usize, have: usize },
    /// The length field is less than a header, or negative.
    #[error("batch length {0} is impossible")]
    BadLength(i32),
    /// Not version 2.
    #[error("batch format {0} is not supported")]
    Magic(i8),
    /// The bytes are not those that were written.
    #[error("the batch's checksum is {stored:08x}, that of its bytes {computed:08x}")]
    Crc { stored: u32, computed: u32 },
    /// The header's counts and offsets contradict each other.
    #[error("{0} records with last offset delta {1} cannot be")]
    Count(i32, i32),
    /// The records' packing.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record's fields do not fit its length, or its length not the batch.
    #[error("record {index} of the batch: {problem}")]
    Record { index: i32, problem: &'static str },
    /// The batch says it has fewer records than it has.
    #[error("bytes remain behind the last of {0} records")]
    Surplus(i32),
    /// The records unpack to more than anybody can want.
    #[error("the records unpack to more than {0} bytes")]
    TooLarge(u64),
}

/// Who set the timestamps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, for each record.
    Create,
    /// The leader, one for all.
    LogAppend,
}

/// The flags of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    pub fn codec(self) -> Result<Codec, CompressionError> {
        Codec::from_wire((self.0 & Self::CODEC) as u8)
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppend } else { TimestampType::Create }
    }

    /// Belongs to a transaction: readers who want only committed records wait for its end.
    pub fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    /// Holds a marker, and nothing for consumers.
    pub fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    /// The base timestamp says when tombstones and markers may go.
    pub fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    #[must_use]
    pub fn with_timestamp_type(self, kind: TimestampType) -> Attributes {
        self.with(Self::LOG_APPEND_TIME, kind == TimestampType::LogAppend)
    }

    fn has(self, flag: i16) -> bool {
        self.0 & flag != 0
    }

    fn with(self, flag: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | flag } else { self.0 & !flag })
    }
}

/// The fixed part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// The bytes behind this field.
    pub length: i32,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: Attributes,
    /// Survives compaction, even when the last record does not.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to, or the delete horizon.
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`, which need not hold the whole batch.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header: &[u8; HEADER_BYTES] = match bytes.first_chunk() {
            Some(header) => header,
            None => return Err(Self::parse_fragment(bytes)),
        };
        let length = int(header, 8);
        Self::check_start(length, header[MAGIC_AT] as i8)?;
        let parsed = BatchHeader {
            base_offset: long(header, 0),
            length,
            leader_epoch: int(header, 12),
            crc: int(header, CRC_AT) as u32,
            attributes: Attributes(short(header, ATTRIBUTES_AT)),
            last_offset_delta: int(header, 23),
            base_timestamp: long(header, 27),
            max_timestamp: long(header, MAX_TIMESTAMP_AT),
            producer_id: long(header, 43),
            producer_epoch: short(header, 51),
            base_sequence: int(header, 53),
            record_count: int(header, 57),
        };
        if parsed.last_offset_delta < 0
            || parsed.base_offset.checked_add(parsed.last_offset_delta.into()).is_none()
        {
            return Err(BatchError::Count(parsed.record_count, parsed.last_offset_delta));
        }
        Ok(parsed)
    }

    /// What is wrong with bytes that end inside a header: perhaps more than that.
    fn parse_fragment(bytes: &[u8]) -> BatchError {
        let wrong = match bytes.get(8..MAGIC_AT + 1) {
            Some(start) => {
                let length = i32::from_be_bytes([start[0], start[1], start[2], start[3]]);
                Self::check_start(length, start[8] as i8).err()
            }
            None => None,
        };
        wrong.unwrap_or(BatchError::Truncated { needed: HEADER_BYTES, have: bytes.len() })
    }

    fn check_start(length: i32, magic: i8) -> Result<(), BatchError> {
        if length < 0 {
            return Err(BatchError::BadLength(length));
        }
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        if (length as usize) < HEADER_BYTES - PREFIX_BYTES {
            return Err(BatchError::BadLength(length));
        }
        Ok(())
    }

    /// The size of the whole batch.
    pub fn size(&self) -> usize {
        PREFIX_BYTES + self.length as usize
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The sequence number of the last record; they wrap around at 2³¹.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        next_sequence(self.base_sequence, self.last_offset_delta)
    }

    pub fn has_producer(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// When tombstones and markers in this batch may be removed, if that was decided.
    pub fn delete_horizon(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// The header of the same batch without its records, as compaction leaves it: it still says which offsets and
    /// sequence numbers are taken.
    #[must_use]
    pub fn emptied(&self) -> BatchHeader {
        let kept = Attributes::LOG_APPEND_TIME | Attributes::TRANSACTIONAL | Attributes::CONTROL;
        let mut header = BatchHeader {
            length: (HEADER_BYTES - PREFIX_BYTES) as i32,
            attributes: Attributes(self.attributes.0 & kept),
            base_timestamp: self.max_timestamp,
            record_count: 0,
            ..*self
        };
        header.crc = header.checksum(&[]);
        header
    }

    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = &mut bytes[..];
        out.put_i64(self.base_offset);
        out.put_i32(self.length);
        out.put_i32(self.leader_epoch);
        out.put_i8(MAGIC);
        out.put_u32(self.crc);
        out.put_i16(self.attributes.0);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.record_count);
        bytes
    }

    /// Sets who is responsible for the timestamps, the largest of them, and the checksum that follows from that.
    /// `records` are the bytes behind the header.
    pub fn set_max_timestamp(&mut self, kind: TimestampType, max_timestamp: i64, records: &[u8]) {
        self.attributes = self.attributes.with_timestamp_type(kind);
        self.max_timestamp = max_timestamp;
        self.crc = self.checksum(records);
    }

    /// The checksum of this header and the bytes behind it.
    pub fn checksum(&self, records: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.to_bytes()[ATTRIBUTES_AT..]), records)
    }
}

/// The sequence number that comes `delta` after this one.
pub fn next_sequence(sequence: i32, delta: i32) -> i32 {
    ((i64::from(sequence) + i64::from(delta)) & i64::from(i32::MAX)) as i32
}

fn short(bytes: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn int(bytes: &[u8; HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8; HEADER_BYTES], at: usize) -> i64 {
    i64::from(int(bytes, at)) << 32 | i64::from(int(bytes, at + 4) as u32)
}

/// One whole batch inside bytes that came from somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes the first batch off the front of `rest`. Its shape is checked, its checksum is not.
    pub fn split_from(rest: &mut Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse(rest)?;
        if header.size() > rest.len() {
            return Err(BatchError::Truncated { needed: header.size(), have: rest.len() });
        }
        Ok(Batch { header, bytes: rest.split_to(header.size()) })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records, as they are packed.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Compares the checksum with the bytes.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]);
        if computed != self.header.crc {
            return Err(BatchError::Crc { stored: self.header.crc, computed });
        }
        Ok(())
    }

    /// The records' shapes, in order; ends with an error if they are not what the header says.
    pub fn outlines(&self) -> Result<Outlines, BatchError> {
        Outlines::new(self)
    }

    /// The records, in order. Packed ones are unpacked one by one; none may be larger than `record_bytes_max`.
    pub fn records(&self, record_bytes_max: usize) -> Result<Records, BatchError> {
        Records::new(self, record_bytes_max)
    }
}

/// The batches of a record set, one after another. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

/// Looks at a record set as batches.
pub fn batches(records: Bytes) -> Batches {
    Batches { rest: records }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::split_from(&mut self.rest);
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests;
