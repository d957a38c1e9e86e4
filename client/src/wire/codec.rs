//! Reading and writing ZooKeeper's "jute" encoding: big-endian numbers, length-prefixed bytes, counted vectors.
//!
//! The reader borrows from the frame and never allocates more than the frame could hold: every length and count is
//! compared with the bytes that remain before anything is reserved.

use std::borrow::Cow;

/// Why bytes could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field reaches past the end of the frame.
    #[error("the message ends inside a field")]
    Truncated,
    /// A length or count is negative and not the null marker −1, or cannot fit the frame.
    #[error("length or count {0} is impossible")]
    BadLength(i32),
    /// A field that must not be null is.
    #[error("a required field is null")]
    UnexpectedNull,
    /// A field has a value outside its closed set.
    #[error("value {0} is not allowed here")]
    BadValue(i32),
    /// The operation code is not one a client may send.
    #[error("operation code {0} is unknown")]
    UnknownOperation(i32),
}

/// A cursor over one frame.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start of a frame.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte; whatever is not zero is true.
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()?[0] != 0)
    }

    /// Four bytes.
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Bytes with a length before them; null and empty are different things.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.int()? {
            -1 => Ok(None),
            length if length < 0 => Err(DecodeError::BadLength(length)),
            length => self.take(length as usize).map(Some),
        }
    }

    /// Text with a length before it. Bytes that are not UTF-8 (or Java's surrogate pairs in UTF-8 clothes) become
    /// U+FFFD, which no path may contain.
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer()?.map(text))
    }

    /// Text that must be there.
    pub fn required_string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.string()?.ok_or(DecodeError::UnexpectedNull)
    }

    /// The count before a vector whose elements take at least `element_size_min` bytes each; `None` is a null vector.
    pub fn count(&mut self, element_size_min: usize) -> Result<Option<usize>, DecodeError> {
        match self.int()? {
            -1 => Ok(None),
            count if count < 0 => Err(DecodeError::BadLength(count)),
            count if (count as usize).saturating_mul(element_size_min) > self.rest.len() => {
                Err(DecodeError::BadLength(count))
            }
            count => Ok(Some(count as usize)),
        }
    }

    /// A vector of texts that must not be null.
    pub fn strings(&mut self) -> Result<Vec<Cow<'a, str>>, DecodeError> {
        let count = self.count(4)?.ok_or(DecodeError::UnexpectedNull)?;
        let mut strings = Vec::with_capacity(count);
        for _ in 0..count {
            strings.push(self.required_string()?);
        }
        Ok(strings)
    }
}

/// UTF-8 if it is, otherwise CESU-8 (each half of a surrogate pair written as three bytes) decoded, and anything
/// else replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(decode_cesu8(bytes)),
    }
}

fn decode_cesu8(bytes: &[u8]) -> String {
    let surrogate = |at: usize, high_nibble: u8| -> Option<u32> {
        match bytes.get(at..at + 3)? {
            [0xed, second, third] if second >> 4 == high_nibble && third >> 6 == 0b10 => {
                Some(((*second as u32 & 0x0f) << 6) | (*third as u32 & 0x3f))
            }
            _ => None,
        }
    };
    // 0xed 0xa0..0xaf is a high surrogate, 0xed 0xb0..0xbf a low one.
    let mut out = String::with_capacity(bytes.len());
    let mut plain_from = 0;
    let mut at = 0;
    while at < bytes.len() {
        if let (Some(high), Some(low)) = (surrogate(at, 0xa), surrogate(at + 3, 0xb))
            && let Some(character) = char::from_u32(0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff))
        {
            out.push_str(&String::from_utf8_lossy(&bytes[plain_from..at]));
            out.push(character);
            at += 6;
            plain_from = at;
        } else {
            at += 1;
        }
    }
    out.push_str(&String::from_utf8_lossy(&bytes[plain_from..]));
    out
}

/// Writing to a growing buffer.
pub trait Writer {
    /// Bytes as they are.
    fn bytes(&mut self, bytes: &[u8]);

    /// One byte.
    fn boolean(&mut self, value: bool) {
        self.bytes(&[value as u8]);
    }

    /// Four bytes.
    fn int(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Eight bytes.
    fn long(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Bytes with their length before them, −1 for null.
    fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.int(bytes.len() as i32);
                self.bytes(bytes);
            }
        }
    }

    /// Text with its length before it.
    fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// The count before a vector.
    fn count(&mut self, count: usize) {
        self.int(count as i32);
    }

    /// A vector of texts.
    fn strings<S: AsRef<str>>(&mut self, values: &[S]) {
        self.count(values.len());
        for value in values {
            self.string(value.as_ref());
        }
    }
}

impl Writer for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Appends one frame: its length, then what `body` writes.
pub fn write_frame(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.int(0);
    body(out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_different() {
        let mut out = Vec::new();
        out.buffer(None);
        out.buffer(Some(b""));
        let mut reader = Reader::new(&out);
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&b""[..])));
        assert_eq!(reader.buffer(), Err(DecodeError::Truncated));
    }

    #[test]
    fn impossible_lengths_are_refused_before_allocating() {
        for length in [-2, i32::MIN] {
            assert_eq!(Reader::new(&length.to_be_bytes()).buffer(), Err(DecodeError::BadLength(length)));
        }
        let mut huge = i32::MAX.to_be_bytes().to_vec();
        assert_eq!(Reader::new(&huge).strings(), Err(DecodeError::BadLength(i32::MAX)));
        huge.extend_from_slice(&[0; 8]);
        assert_eq!(Reader::new(&huge).buffer(), Err(DecodeError::Truncated));
    }

    #[test]
    fn surrogate_pairs_and_noise_become_text() {
        assert_eq!(text("żółw".as_bytes()), "żółw");
        // U+1F426 as Java writes it, unit by unit.
        assert_eq!(text(&[b'a', 0xed, 0xa0, 0xbd, 0xed, 0xb0, 0xa6, b'b']), "a\u{1f426}b");
        assert_eq!(text(&[b'a', 0xed, 0xa0]), "a\u{fffd}\u{fffd}");
        assert!(text(&[0xff, 0xfe]).contains('\u{fffd}'));
    }
}
