//! How is one command laid out in the log?
//!
//! ```text
//!  0  u32  crc      CRC32C of the segment's salt and bytes 4..32
//!  4  u32  body     CRC32C of the body
//!  8  u32  length   of the body
//! 12  u32  batch    distance from the first record that was not known to be synced when this one was written: that
//!                   the disk holds this record proves that it once held everything before that place
//! 16  u64  zxid
//! 24  u32  previous the `crc` of the record before, across segments too
//! 28  u32  MARK
//! 32  body, zeros up to a multiple of eight, then the segment's eight-byte trailer
//! ```
//!
//! All numbers are little endian. Records start at multiples of eight. `crc` covers the body through its checksum and the
//! whole history through `previous`; the salt keeps bytes that a client stores from passing for a record.

/// The part before the body.
pub(super) const HEADER_BYTES: usize = 32;
/// The part after the body: never zero at its end, so that a record written completely does not end in a zero byte.
pub(super) const TRAILER_BYTES: usize = 8;
/// The records' alignment.
pub(super) const ALIGNMENT: u64 = 8;

const MARK: u32 = u32::from_le_bytes(*b"rec\x01");

/// A number per segment, unknown to clients. See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(pub(super) u32);

impl Salt {
    /// The eight bytes that end each record of the segment.
    pub(super) fn trailer(self) -> [u8; TRAILER_BYTES] {
        let salt = self.0.to_le_bytes();
        [salt[0], salt[1], salt[2], salt[3], b'e', b'n', b'd', 0xa5]
    }
}

/// The fields before a record's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) crc: u32,
    pub(super) body_crc: u32,
    pub(super) length: u32,
    pub(super) batch: u32,
    pub(super) zxid: u64,
    pub(super) previous: u32,
}

impl RecordHeader {
    /// Reads a header; `None` if the bytes are no header of this segment.
    pub(super) fn decode(salt: Salt, bytes: &[u8; HEADER_BYTES]) -> Option<RecordHeader> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if u32_at(28) != MARK || u32_at(0) != header_crc(salt, bytes) {
            return None;
        }
        Some(RecordHeader {
            crc: u32_at(0),
            body_crc: u32_at(4),
            length: u32_at(8),
            batch: u32_at(12),
            zxid: u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32,
            previous: u32_at(24),
        })
    }

    /// The bytes from this record's start to the next one's.
    pub(super) fn span(&self) -> u64 {
        span(self.length as usize)
    }

    /// Whether what follows the header is the body and end that belong to it. `rest` begins behind the header.
    pub(super) fn matches(&self, salt: Salt, rest: &[u8]) -> bool {
        let body_end = self.length as usize;
        let end = self.span() as usize - HEADER_BYTES;
        let trailer = end - TRAILER_BYTES;
        rest.len() >= end
            && crc32c::crc32c(&rest[..body_end]) == self.body_crc
            && rest[body_end..trailer].iter().all(|&byte| byte == 0)
            && rest[trailer..end] == salt.trailer()
    }
}

/// The bytes that a record with a body of this length occupies.
pub(super) fn span(length: usize) -> u64 {
    (HEADER_BYTES + TRAILER_BYTES) as u64 + (length as u64).next_multiple_of(ALIGNMENT)
}

/// Appends a record to `out` and returns its `crc`, which the next record names. `batch` is the distance from the
/// first record that is not yet synced.
pub(super) fn encode(
    out: &mut Vec<u8>,
    salt: Salt,
    previous: u32,
    batch: u32,
    zxid: u64,
    body: &[u8],
) -> u32 {
    let start = out.len();
    let length = u32::try_from(body.len()).expect("record bodies are bounded by RECORD_BYTES_MAX");
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&batch.to_le_bytes());
    out.extend_from_slice(&zxid.to_le_bytes());
    out.extend_from_slice(&previous.to_le_bytes());
    out.extend_from_slice(&MARK.to_le_bytes());
    let crc = header_crc(salt, &out[start..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(start + span(body.len()) as usize - TRAILER_BYTES, 0);
    out.extend_from_slice(&salt.trailer());
    crc
}

/// `header` is a whole header; its first four bytes, where the result goes, are not covered.
fn header_crc(salt: Salt, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.0.to_le_bytes()), &header[4..HEADER_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(0x1234_5678);

    fn read(bytes: &[u8]) -> Option<RecordHeader> {
        let header = RecordHeader::decode(SALT, bytes[..HEADER_BYTES].try_into().expect("a header"))?;
        header.matches(SALT, &bytes[HEADER_BYTES..]).then_some(header)
    }

    #[test]
    fn a_record_reads_back() {
        for length in [0, 1, 7, 8, 9, 1000] {
            let body = vec![7; length];
            let mut out = Vec::new();
            let crc = encode(&mut out, SALT, 99, 40, 0x2_0000_0001, &body);
            assert_eq!(out.len() as u64, span(length));
            assert_eq!(out.len() as u64 % ALIGNMENT, 0);
            let header = read(&out).expect("a whole record");
            assert_eq!((header.crc, header.previous, header.batch), (crc, 99, 40));
            assert_eq!((header.zxid, header.length as usize), (0x2_0000_0001, length));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let mut out = Vec::new();
        encode(&mut out, SALT, 99, 0, 7, b"hello world");
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&out), None, "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(read(&out).is_some());
    }

    #[test]
    fn a_record_of_another_segment_is_not_ours() {
        let mut out = Vec::new();
        encode(&mut out, Salt(1), 99, 0, 7, b"hello world");
        assert_eq!(read(&out), None);
    }
}
