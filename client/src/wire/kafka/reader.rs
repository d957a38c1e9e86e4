//! Reading one frame: lengths are checked before they are believed, and memory is paid for before it is taken.

use std::sync::Arc;

use bytes::Bytes;

use super::text::Str;

/// Why bytes could not be understood, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct DecodeError {
    /// Struct and field, as in `FetchPartition.fetch_offset`; empty when no field is concerned.
    pub field: &'static str,
    pub problem: Problem,
}

impl DecodeError {
    /// Names the field, unless one further inside has already been named.
    pub(crate) fn within(mut self, field: &'static str) -> DecodeError {
        if self.field.is_empty() {
            self.field = field;
        }
        self
    }
}

impl From<Problem> for DecodeError {
    fn from(problem: Problem) -> DecodeError {
        DecodeError { field: "", problem }
    }
}

/// What can be wrong with bytes from the network or the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the message ends inside a field")]
    Truncated,
    #[error("length or count {0} is impossible")]
    BadLength(i64),
    #[error("a field that must not be null is")]
    UnexpectedNull,
    #[error("a variable-length number is longer than it may be")]
    BadVarint,
    #[error("a string is not UTF-8")]
    NotUtf8,
    #[error("tag {0} does not come after the one before it")]
    TagOrder(u32),
    #[error("{0} bytes follow where the message should end")]
    TrailingBytes(usize),
    #[error("version {0} does not exist")]
    UnknownVersion(i16),
    #[error("API key {0} does not exist")]
    UnknownApiKey(i16),
    #[error("the message would take unreasonably more memory than bytes")]
    TooManyElements,
}

/// The longest string the protocol allows, in bytes, however its length is written.
pub(crate) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// What decoding a frame may allocate: this often its size ...
pub const MEMORY_PER_FRAME_BYTE: usize = 4;
/// ... and this much besides, for a request, which may come from anybody. Honest ones fit: the worst are lists of topics
/// with names of five letters, up to 5.3 times as large in memory, of which four thousand are read (DescribeConfigs), or ten
/// thousand where a struct is smaller (Metadata).
pub const MEMORY_ALLOWANCE: usize = 64 << 10;
/// The same for an answer, which comes from somebody who was asked, and in which small structs may be many (group lists in
/// the oldest versions). With a larger factor instead, 100 MiB of noise could claim gigabytes.
pub const MEMORY_ALLOWANCE_ANSWER: usize = 4 << 20;

/// A cursor over one frame.
///
/// Invariant: the elements of all vectors read so far take at most [`MEMORY_PER_FRAME_BYTE`] times the frame plus the
/// allowance. Vectors are the only thing decoding allocates, and each is allocated once, exactly.
#[derive(Debug, Clone)]
pub struct Reader {
    frame: Arc<Bytes>,
    /// What is not yet read lies between these.
    at: usize,
    end: usize,
    /// Compact lengths and tagged fields, from some version of each message on.
    flexible: bool,
    memory_left: usize,
}

impl Reader {
    /// Reads an answer, or what this process wrote.
    pub fn new(frame: Bytes) -> Reader {
        Reader::allowing(frame, MEMORY_ALLOWANCE_ANSWER)
    }

    /// Reads what a stranger sent.
    pub fn of_request(frame: Bytes) -> Reader {
        Reader::allowing(frame, MEMORY_ALLOWANCE)
    }

    fn allowing(frame: Bytes, besides: usize) -> Reader {
        let end = frame.len();
        let memory_left = end.saturating_mul(MEMORY_PER_FRAME_BYTE).saturating_add(besides);
        Reader { frame: Arc::new(frame), at: 0, end, flexible: false, memory_left }
    }

    /// How many bytes are not yet read.
    pub fn left(&self) -> usize {
        self.end - self.at
    }

    /// Ends the reading: nothing may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(Problem::TrailingBytes(left).into()),
        }
    }

    pub(crate) fn flexible(&self) -> bool {
        self.flexible
    }

    pub(crate) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let taken = *self.frame[self.at..self.end].first_chunk::<N>().ok_or(Problem::Truncated)?;
        self.at += N;
        Ok(taken)
    }

    /// Passes over so many bytes, and says where they begin.
    fn pass(&mut self, length: usize) -> Result<usize, Problem> {
        if length > self.left() {
            return Err(Problem::Truncated);
        }
        let begin = self.at;
        self.at += length;
        Ok(begin)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, Problem> {
        let begin = self.pass(length)?;
        Ok(self.frame.slice(begin..begin + length))
    }

    pub(crate) fn int16(&mut self) -> Result<i16, Problem> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn int32(&mut self) -> Result<i32, Problem> {
        self.array().map(i32::from_be_bytes)
    }

    /// Seven bits per byte, the lowest first, at most 32 in all.
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, Problem> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(Problem::BadVarint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Problem::BadVarint)
    }

    /// A length or count: compact in flexible versions, otherwise read by `plain`; `None` stands for null.
    fn length(&mut self, plain: fn(&mut Reader) -> Result<i32, Problem>) -> Result<Option<usize>, Problem> {
        if self.flexible {
            return Ok(self.unsigned_varint()?.checked_sub(1).map(|length| length as usize));
        }
        // Any negative length is null, as for Kafka.
        Ok(usize::try_from(plain(self)?).ok())
    }

    pub(crate) fn string(&mut self) -> Result<Option<Str>, Problem> {
        match self.length(|reader| reader.int16().map(i32::from))? {
            None => Ok(None),
            Some(length) if length > STRING_BYTES_MAX => Err(Problem::BadLength(length as i64)),
            Some(length) => {
                let begin = self.pass(length)?;
                Str::slice(&self.frame, begin, length).map(Some).ok_or(Problem::NotUtf8)
            }
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Option<Bytes>, Problem> {
        match self.length(Reader::int32)? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    /// A vector for as many elements as announced, each at least `element_bytes_min` long on the wire.
    pub(crate) fn vector<T>(&mut self, element_bytes_min: usize) -> Result<Option<(usize, Vec<T>)>, Problem> {
        let Some(count) = self.length(Reader::int32)? else { return Ok(None) };
        if count > self.left() / element_bytes_min {
            return Err(Problem::BadLength(count as i64));
        }
        let memory = count.saturating_mul(size_of::<T>());
        self.memory_left = self.memory_left.checked_sub(memory).ok_or(Problem::TooManyElements)?;
        Ok(Some((count, Vec::with_capacity(count))))
    }

    /// The tagged fields that end every struct of a flexible version. `known` reads the fields it knows and says
    /// whether it did; others were added by someone newer and are skipped.
    pub(crate) fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut tag_min = 0u64;
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            if u64::from(tag) < tag_min {
                return Err(Problem::TagOrder(tag).into());
            }
            tag_min = u64::from(tag) + 1;
            let size = self.unsigned_varint()? as usize;
            let begin = self.pass(size)?;
            let (after, end) = (self.at, self.end);
            (self.at, self.end) = (begin, after);
            if known(tag, self)? && self.left() > 0 {
                return Err(Problem::TrailingBytes(self.left()).into());
            }
            (self.at, self.end) = (after, end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8], flexible: bool) -> Reader {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        reader.set_flexible(flexible);
        reader
    }

    #[test]
    fn varints_hold_32_bits_and_no_more() {
        for (bytes, expected) in [
            (&[0x00][..], Ok(0)),
            (&[0xac, 0x02], Ok(300)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(Problem::BadVarint)),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], Err(Problem::BadVarint)),
            (&[0x80], Err(Problem::Truncated)),
        ] {
            assert_eq!(reader(bytes, true).unsigned_varint(), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn null_and_empty_are_different() {
        assert_eq!(reader(&[0xff, 0xff], false).string(), Ok(None));
        assert_eq!(reader(&[0, 0], false).string(), Ok(Some(Str::default())));
        assert_eq!(reader(&[0], true).bytes(), Ok(None));
        assert_eq!(reader(&[1], true).bytes(), Ok(Some(Bytes::new())));
        assert_eq!(reader(&[0xff, 0xfe], false).string(), Ok(None), "-2");
    }

    #[test]
    fn a_count_is_compared_with_what_is_left() {
        let mut huge = i32::MAX.to_be_bytes().to_vec();
        huge.extend_from_slice(&[0; 64]);
        assert_eq!(reader(&huge, false).vector::<i64>(8), Err(Problem::BadLength(i32::MAX.into())));
        let mut nine = 9i32.to_be_bytes().to_vec();
        nine.extend_from_slice(&[0; 64]);
        assert_eq!(reader(&nine, false).vector::<i64>(8), Err(Problem::BadLength(9)));
    }

    #[test]
    fn memory_runs_out_before_the_machine_does() {
        let mut frame = (1i32 << 20).to_be_bytes().to_vec();
        frame.resize(frame.len() + (1 << 20), 0);
        assert!(matches!(reader(&frame, false).vector::<[u8; 7]>(1), Ok(Some(_))));
        assert_eq!(reader(&frame, false).vector::<[u8; 9]>(1), Err(Problem::TooManyElements));
        let request = || Reader::of_request(Bytes::copy_from_slice(&frame));
        assert!(matches!(request().vector::<[u8; 4]>(1), Ok(Some(_))));
        assert_eq!(request().vector::<[u8; 5]>(1), Err(Problem::TooManyElements), "four-fold, and 64 KiB");
    }

    #[test]
    fn tags_ascend_and_fill_their_size() {
        let read = |bytes: &[u8]| {
            let mut seen = Vec::new();
            let known = |tag, reader: &mut Reader| {
                seen.push((tag, reader.array::<1>()?[0]));
                Ok(true)
            };
            reader(bytes, true).tagged_fields(known).map(|()| seen).map_err(|error| error.problem)
        };
        assert_eq!(read(&[2, 0, 1, 7, 5, 1, 8]), Ok(vec![(0, 7), (5, 8)]));
        assert_eq!(read(&[2, 5, 1, 7, 5, 1, 8]), Err(Problem::TagOrder(5)));
        assert_eq!(read(&[2, 5, 1, 7, 4, 1, 8]), Err(Problem::TagOrder(4)));
        assert_eq!(read(&[1, 0, 2, 7, 7]), Err(Problem::TrailingBytes(1)));
        assert_eq!(read(&[1, 0, 9, 7, 7]), Err(Problem::Truncated));
    }
}
