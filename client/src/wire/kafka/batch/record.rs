//! The records inside a batch: their shapes for whoever only checks, their contents for whoever wants them.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::super::compression::{Codec, Decompressor};
use super::{Batch, BatchError, BatchHeader, TimestampType};

/// How much is unpacked at once.
const WINDOW_BYTES: usize = 16 * 1024;
/// A batch that unpacks to more than this is an attack on whoever unpacks it.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// Where bytes come from, one by one or skipped.
trait Feed {
    fn byte(&mut self) -> Result<u8, &'static str>;
    fn skip(&mut self, count: usize) -> Result<(), &'static str>;
    /// How many bytes were taken so far.
    fn taken(&self) -> u64;
}

const CUT: &str = "it ends inside a field";
const LONG_VARINT: &str = "a number does not end";
const NEGATIVE: &str = "a length or count is negative";
const UNEVEN: &str = "its fields do not add up to its length";

fn unsigned_varint(feed: &mut impl Feed, bytes_max: u32) -> Result<u64, &'static str> {
    let mut value = 0;
    for at in 0..bytes_max {
        let byte = feed.byte()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(LONG_VARINT)
}

fn varint(feed: &mut impl Feed) -> Result<i32, &'static str> {
    let raw = unsigned_varint(feed, 5)? as u32;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

fn varlong(feed: &mut impl Feed) -> Result<i64, &'static str> {
    let raw = unsigned_varint(feed, 10)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// A length that may be the null marker.
fn nullable_length(feed: &mut impl Feed) -> Result<Option<usize>, &'static str> {
    match varint(feed)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| NEGATIVE),
    }
}

/// What can be said of a record without keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
    pub has_value: bool,
}

/// Walks over a record's fields; what remains in the feed is the next record.
fn outline(feed: &mut impl Feed) -> Result<Outline, &'static str> {
    let length = u64::try_from(varint(feed)?).map_err(|_| NEGATIVE)?;
    let end = feed.taken() + length;
    feed.byte()?;
    let timestamp_delta = varlong(feed)?;
    let offset_delta = varint(feed)?;
    let skip_bytes = |feed: &mut _| -> Result<bool, &'static str> {
        match nullable_length(feed)? {
            None => Ok(false),
            Some(length) => feed_within(feed, length, end).map(|()| true),
        }
    };
    let has_key = skip_bytes(feed)?;
    let has_value = skip_bytes(feed)?;
    let headers = varint(feed)?;
    if headers < 0 {
        return Err(NEGATIVE);
    }
    for _ in 0..headers {
        // Two bytes are the least that a header takes, so the count cannot keep anybody busy for nothing.
        if feed.taken() >= end {
            return Err(UNEVEN);
        }
        if !skip_bytes(feed)? {
            return Err("a header has no key");
        }
        skip_bytes(feed)?;
    }
    if feed.taken() != end {
        return Err(UNEVEN);
    }
    Ok(Outline { timestamp_delta, offset_delta, has_key, has_value })
}

fn feed_within(feed: &mut impl Feed, length: usize, end: u64) -> Result<(), &'static str> {
    if feed.taken() + length as u64 > end {
        return Err(UNEVEN);
    }
    feed.skip(length)
}

/// Bytes that lie in memory.
#[derive(Debug, Clone)]
struct Plain {
    bytes: Bytes,
    at: usize,
}

impl Feed for Plain {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let byte = *self.bytes.get(self.at).ok_or(CUT)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), &'static str> {
        if count > self.bytes.len() - self.at {
            return Err(CUT);
        }
        self.at += count;
        Ok(())
    }

    fn taken(&self) -> u64 {
        self.at as u64
    }
}

/// Bytes that are unpacked as they are asked for, a window at a time.
struct Unpacked {
    stream: Decompressor,
    window: Box<[u8]>,
    at: usize,
    end: usize,
    taken: u64,
    /// The stream's own complaint, which says more than that a record is cut.
    failure: Option<BatchError>,
}

impl Unpacked {
    fn new(codec: Codec, packed: Bytes) -> Result<Unpacked, BatchError> {
        let stream = Decompressor::new(codec, packed)?;
        let window = vec![0; WINDOW_BYTES].into_boxed_slice();
        Ok(Unpacked { stream, window, at: 0, end: 0, taken: 0, failure: None })
    }

    /// Makes sure that something is in the window; false at the end of the stream.
    fn refill(&mut self) -> Result<bool, &'static str> {
        if self.at < self.end {
            return Ok(true);
        }
        if self.taken > UNPACKED_BYTES_MAX {
            self.failure = Some(BatchError::TooLarge(UNPACKED_BYTES_MAX));
            return Err(CUT);
        }
        match self.stream.fill(&mut self.window) {
            Ok(length) => {
                (self.at, self.end) = (0, length);
                Ok(length > 0)
            }
            Err(error) => {
                self.failure = Some(error.into());
                Err(CUT)
            }
        }
    }

    fn advance(&mut self, count: usize) {
        self.at += count;
        self.taken += count as u64;
    }

    /// Appends exactly `count` bytes to `out`, which grows with what is there and not with what was promised.
    fn read(&mut self, mut count: usize, out: &mut BytesMut) -> Result<(), &'static str> {
        while count > 0 {
            if !self.refill()? {
                return Err(CUT);
            }
            let piece = count.min(self.end - self.at);
            out.extend_from_slice(&self.window[self.at..self.at + piece]);
            self.advance(piece);
            count -= piece;
        }
        Ok(())
    }
}

impl Feed for Unpacked {
    fn byte(&mut self) -> Result<u8, &'static str> {
        if !self.refill()? {
            return Err(CUT);
        }
        let byte = self.window[self.at];
        self.advance(1);
        Ok(byte)
    }

    fn skip(&mut self, mut count: usize) -> Result<(), &'static str> {
        while count > 0 {
            if !self.refill()? {
                return Err(CUT);
            }
            let piece = count.min(self.end - self.at);
            self.advance(piece);
            count -= piece;
        }
        Ok(())
    }

    fn taken(&self) -> u64 {
        self.taken
    }
}

enum Source {
    Plain(Plain),
    Unpacked(Box<Unpacked>),
}

impl Source {
    fn new(batch: &Batch) -> Result<Source, BatchError> {
        let payload = batch.payload();
        Ok(match batch.header().attributes.codec()? {
            Codec::None => Source::Plain(Plain { bytes: payload, at: 0 }),
            codec => Source::Unpacked(Box::new(Unpacked::new(codec, payload)?)),
        })
    }

    fn is_at_end(&mut self) -> Result<bool, &'static str> {
        match self {
            Source::Plain(plain) => Ok(plain.at == plain.bytes.len()),
            Source::Unpacked(unpacked) => unpacked.refill().map(|more| !more),
        }
    }

    fn outline(&mut self) -> Result<Outline, &'static str> {
        match self {
            Source::Plain(plain) => outline(plain),
            Source::Unpacked(unpacked) => outline(&mut **unpacked),
        }
    }

    /// Takes the next record's bytes, without the length before them.
    fn record(&mut self, buffer: &mut BytesMut, bytes_max: usize) -> Result<Bytes, &'static str> {
        let within = |length: i32| match usize::try_from(length) {
            Ok(length) if length <= bytes_max => Ok(length),
            Ok(_) => Err("it is larger than allowed"),
            Err(_) => Err(NEGATIVE),
        };
        match self {
            Source::Plain(plain) => {
                let length = within(varint(plain)?)?;
                let start = plain.at;
                plain.skip(length)?;
                Ok(plain.bytes.slice(start..plain.at))
            }
            Source::Unpacked(unpacked) => {
                let length = within(varint(&mut **unpacked)?)?;
                unpacked.read(length, buffer)?;
                Ok(buffer.split().freeze())
            }
        }
    }

    fn failure(&mut self, index: i32, problem: &'static str) -> BatchError {
        let own = match self {
            Source::Plain(_) => None,
            Source::Unpacked(unpacked) => unpacked.failure.take(),
        };
        own.unwrap_or(BatchError::Record { index, problem })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Plain(_) => "Plain",
            Source::Unpacked(_) => "Unpacked",
        })
    }
}

/// Counts records off and sees to it that exactly as many are there as the header says.
#[derive(Debug)]
struct Walk {
    source: Source,
    count: i32,
    next: i32,
    ended: bool,
}

impl Walk {
    fn new(batch: &Batch) -> Result<Walk, BatchError> {
        let header = batch.header();
        if header.record_count < 0 {
            return Err(BatchError::Count(header.record_count, header.last_offset_delta));
        }
        Ok(Walk { source: Source::new(batch)?, count: header.record_count, next: 0, ended: false })
    }

    fn step<T>(
        &mut self,
        take: impl FnOnce(&mut Source) -> Result<T, &'static str>,
    ) -> Option<Result<T, BatchError>> {
        if self.ended {
            return None;
        }
        let index = self.next;
        let result = if index < self.count {
            self.next += 1;
            Some(take(&mut self.source))
        } else {
            self.ended = true;
            match self.source.is_at_end() {
                Ok(true) => None,
                Ok(false) => return Some(Err(BatchError::Surplus(self.count))),
                Err(problem) => Some(Err(problem)),
            }
        };
        Some(result?.map_err(|problem| {
            self.ended = true;
            self.source.failure(index, problem)
        }))
    }
}

/// See [`Batch::outlines`]. Ends after the first error.
#[derive(Debug)]
pub struct Outlines(Walk);

impl Outlines {
    pub(super) fn new(batch: &Batch) -> Result<Outlines, BatchError> {
        Walk::new(batch).map(Outlines)
    }
}

impl Iterator for Outlines {
    type Item = Result<Outline, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.step(Source::outline)
    }
}

/// One record.
///
/// A key or value that is null and one that is empty are different things; header keys may repeat, and their order
/// counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
}

/// A record's headers, still as bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    count: u32,
    bytes: Bytes,
}

/// One header of a record. The key is text, but nobody guarantees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl Headers {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = Header> {
        let mut plain = Plain { bytes: self.bytes.clone(), at: 0 };
        // The shape was checked when the record was taken from its batch, so nothing ends early.
        (0..self.count).map_while(move |_| {
            Some(Header { key: sized_bytes(&mut plain).ok()??, value: sized_bytes(&mut plain).ok()? })
        })
    }

    /// As they stand in a record, behind their count.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

fn sized_bytes(plain: &mut Plain) -> Result<Option<Bytes>, &'static str> {
    let Some(length) = nullable_length(plain)? else { return Ok(None) };
    let start = plain.at;
    plain.skip(length)?;
    Ok(Some(plain.bytes.slice(start..plain.at)))
}

impl Record {
    fn parse(body: Bytes, header: &BatchHeader) -> Result<Record, &'static str> {
        let mut plain = Plain { bytes: body, at: 0 };
        plain.byte()?;
        let timestamp_delta = varlong(&mut plain)?;
        let offset_delta = varint(&mut plain)?;
        let key = sized_bytes(&mut plain)?;
        let value = sized_bytes(&mut plain)?;
        let count = u32::try_from(varint(&mut plain)?).map_err(|_| NEGATIVE)?;
        plain.bytes.advance(plain.at);
        plain.at = 0;
        let headers = Headers { count, bytes: plain.bytes.clone() };
        for _ in 0..count {
            sized_bytes(&mut plain)?.ok_or("a header has no key")?;
            sized_bytes(&mut plain)?;
        }
        if plain.at != plain.bytes.len() {
            return Err(UNEVEN);
        }
        let offset = header.base_offset.checked_add(offset_delta.into()).ok_or("its offset is impossible")?;
        let timestamp = match header.attributes.timestamp_type() {
            TimestampType::LogAppend => header.max_timestamp,
            TimestampType::Create => header.base_timestamp.wrapping_add(timestamp_delta),
        };
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

/// See [`Batch::records`]. Ends after the first error.
#[derive(Debug)]
pub struct Records {
    walk: Walk,
    header: BatchHeader,
    buffer: BytesMut,
    record_bytes_max: usize,
}

impl Records {
    pub(super) fn new(batch: &Batch, record_bytes_max: usize) -> Result<Records, BatchError> {
        let (walk, header) = (Walk::new(batch)?, *batch.header());
        Ok(Records { walk, header, buffer: BytesMut::new(), record_bytes_max })
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (buffer, bytes_max) = (&mut self.buffer, self.record_bytes_max);
        self.walk.step(|source| Record::parse(source.record(buffer, bytes_max)?, &self.header))
    }
}
