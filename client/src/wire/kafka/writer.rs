//! Writing one frame, as parts that need not be copied into one buffer.

use bytes::{BufMut, Bytes, BytesMut};

use super::error_code::ErrorCode;
use super::reader::STRING_BYTES_MAX;
use super::records::Records;

/// What an encoded frame consists of. Parts are sent in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Bytes(Bytes),
    /// Bytes that the sender supplies, usually from a file. Holes come in the order of the [`Records::Hole`] fields
    /// of the message.
    Hole {
        length: u32,
    },
}

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a string of {0} bytes is longer than the protocol allows")]
    StringTooLong(usize),
    #[error("the frame would be longer than 2 GiB")]
    FrameTooLong,
    #[error("{name} has no version {version}")]
    UnknownVersion { name: &'static str, version: i16 },
}

/// Record sets from this size on are passed along instead of copied: below, a copy is cheaper than a part.
const SHARED_BYTES_MIN: usize = 1024;

/// Most messages fit without growing.
const CAPACITY: usize = 256;

const FRAME_LENGTH_BYTES: usize = size_of::<i32>();

/// Collects one frame.
///
/// What cannot be written is remembered and reported by [`Writer::finish`], so that the many writes in between need
/// no check each.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// What goes between the bytes of `out`, and before which position.
    inserts: Vec<(usize, Part)>,
    inserted_bytes: usize,
    framed: bool,
    flexible: bool,
    error: Option<EncodeError>,
    codes: Vec<(ErrorCode, u64)>,
}

impl Writer {
    /// Begins bytes without a length before them.
    pub fn new() -> Writer {
        Writer { out: Vec::with_capacity(CAPACITY), ..Writer::default() }
    }

    /// Begins a frame: its length will come first.
    pub fn frame() -> Writer {
        let mut writer = Writer { framed: true, ..Writer::new() };
        writer.int32(0);
        writer
    }

    /// Everything written, in order.
    pub fn finish(mut self) -> Result<Vec<Part>, EncodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.framed {
            let length = self.out.len() - FRAME_LENGTH_BYTES + self.inserted_bytes;
            let length = i32::try_from(length).map_err(|_| EncodeError::FrameTooLong)?;
            self.out[..FRAME_LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        }
        let out = Bytes::from(self.out);
        let mut parts = Vec::with_capacity(2 * self.inserts.len() + 1);
        let mut from = 0;
        for (at, insert) in self.inserts {
            if at > from {
                parts.push(Part::Bytes(out.slice(from..at)));
            }
            parts.push(insert);
            from = at;
        }
        if from < out.len() {
            parts.push(Part::Bytes(out.slice(from..)));
        }
        Ok(parts)
    }

    pub(crate) fn flexible(&self) -> bool {
        self.flexible
    }

    pub(crate) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(crate) fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn error_code(&mut self, code: ErrorCode) {
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.codes.push((code, 1)),
        }
        self.int16(code.0);
    }

    /// How often each error code was written.
    pub(crate) fn take_codes(&mut self) -> Vec<(ErrorCode, u64)> {
        std::mem::take(&mut self.codes)
    }

    pub(crate) fn int16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn int32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// The count before elements or bytes; `None` is null.
    pub(crate) fn count(&mut self, count: Option<usize>) {
        let Ok(count) = count.map(i32::try_from).transpose() else {
            return self.fail(EncodeError::FrameTooLong);
        };
        if self.flexible {
            self.unsigned_varint(count.map_or(0, |count| count as u32 + 1));
        } else {
            self.int32(count.unwrap_or(-1));
        }
    }

    pub(crate) fn string(&mut self, value: Option<&[u8]>) {
        let length = value.map_or(0, <[u8]>::len);
        if length > STRING_BYTES_MAX {
            return self.fail(EncodeError::StringTooLong(length));
        }
        if self.flexible {
            self.count(value.map(<[u8]>::len));
        } else {
            self.int16(if value.is_some() { length as i16 } else { -1 });
        }
        self.raw(value.unwrap_or_default());
    }

    pub(crate) fn bytes(&mut self, value: Option<&[u8]>) {
        self.count(value.map(<[u8]>::len));
        self.raw(value.unwrap_or_default());
    }

    pub(crate) fn records(&mut self, value: Option<&Records>) {
        self.count(value.map(Records::len));
        match value {
            None => {}
            Some(Records::Bytes(bytes)) if bytes.len() < SHARED_BYTES_MIN => self.raw(bytes),
            Some(Records::Bytes(bytes)) => self.insert(bytes.len(), Part::Bytes(bytes.clone())),
            Some(Records::Hole { length }) => self.insert(*length as usize, Part::Hole { length: *length }),
        }
    }

    fn insert(&mut self, length: usize, part: Part) {
        self.inserted_bytes += length;
        self.inserts.push((self.out.len(), part));
    }

    /// One tagged field: tag, size, and what `body` writes (never records).
    pub(crate) fn tagged_field(&mut self, tag: u32, body: impl FnOnce(&mut Writer)) {
        self.unsigned_varint(tag);
        let start = self.out.len();
        body(self);
        let end = self.out.len();
        self.unsigned_varint((end - start) as u32);
        let size_bytes = self.out.len() - end;
        self.out[start..].rotate_right(size_bytes);
    }
}

/// One buffer of all parts, for those who have no holes to fill; each hole is left as zeros.
pub fn join(parts: &[Part]) -> Bytes {
    if let [Part::Bytes(only)] = parts {
        return only.clone();
    }
    let mut out = BytesMut::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => out.extend_from_slice(bytes),
            Part::Hole { length } => out.put_bytes(0, *length as usize),
        }
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_records_and_holes_split_the_frame() {
        let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut writer = Writer::frame();
        writer.int16(1);
        writer.records(Some(&Records::Bytes(large.clone())));
        writer.records(Some(&Records::Hole { length: 5 }));
        writer.records(Some(&Records::Bytes(Bytes::from_static(b"small"))));
        let parts = writer.finish().unwrap();
        assert_eq!(
            parts,
            [
                Part::Bytes(Bytes::from_static(&[0, 0, 4, 24, 0, 1, 0, 0, 4, 0])),
                Part::Bytes(large.clone()),
                Part::Bytes(Bytes::from_static(&[0, 0, 0, 5])),
                Part::Hole { length: 5 },
                Part::Bytes(Bytes::from_static(b"\0\0\0\x05small")),
            ]
        );
        let Part::Bytes(passed) = &parts[1] else { panic!("records come second") };
        assert_eq!(passed.as_ptr(), large.as_ptr(), "the records are the same bytes, not a copy");
        assert_eq!(join(&parts).len(), 4 + 0x418);
    }

    #[test]
    fn a_tagged_field_knows_its_size() {
        let mut writer = Writer::new();
        writer.tagged_field(3, |writer| writer.raw(&[9; 200]));
        let mut expected = vec![3, 0xc8, 0x01];
        expected.extend([9; 200]);
        assert_eq!(writer.finish(), Ok(vec![Part::Bytes(expected.into())]));
    }

    #[test]
    fn a_string_too_long_is_reported_at_the_end() {
        let mut writer = Writer::new();
        writer.string(Some(&[b'a'; STRING_BYTES_MAX + 1]));
        writer.int16(1);
        assert_eq!(writer.finish(), Err(EncodeError::StringTooLong(STRING_BYTES_MAX + 1)));
    }
}
