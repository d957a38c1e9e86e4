//! Is what follows the last good record the trace of a crash, or damage?
//!
//! A crash can leave any part of the batch that was being written: the batch's space was durably zero, so each sector now
//! holds what was written, zeros, or at worst the beginning of one and then zeros. Nothing behind the batch was written,
//! and nothing in it was acknowledged: it may be cut. Everything else is damage to something that was acknowledged, and
//! the server must not start without it.

use super::disk::DiskFile;
use super::error::StoreError;
use super::position::Position;
use super::record::{self, RecordHeader, TRAILER_BYTES};
use super::segment::SegmentReader;

/// The unit that a disk writes wholly or not at all, mostly.
const SECTOR_BYTES: u64 = 512;
const WINDOW_BYTES: usize = 1 << 20;

/// What stands behind the last good record of the last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Zeros.
    Clean,
    /// The remains of a batch that was never acknowledged, this many bytes long.
    Torn { bytes: u64 },
}

/// Judges what stands at the reader's offset, where `why` says that no good record stands. `noted` is where the log was
/// durable according to the position file.
pub(super) fn judge(reader: &SegmentReader, why: &str, noted: Option<Position>) -> Result<Tail, StoreError> {
    let start = reader.offset();
    let damaged = |what: String| Err(reader.damaged(start, what));
    if let Some(noted) = noted {
        let here = noted.segment == Some(reader.header().first_zxid);
        if here && noted.offset > start {
            return damaged(format!("{why}, but records up to byte {} were acknowledged", noted.offset));
        }
        if here && noted.offset == start && noted.last != reader.last() {
            return Err(reader.damaged(0, "this is another log than the one that was written here"));
        }
        if noted.last == reader.last() && reader.size() == start {
            // A segment that had a successor was cut to its length, and the successor, still empty, was removed again.
            return Ok(Tail::Clean);
        }
    }
    if reader.size() - start < record::HEADER_BYTES as u64 {
        return damaged(format!(
            "{why}: it was {} bytes longer when it was written, or more",
            record::HEADER_BYTES
        ));
    }
    let rest = survey(reader)?;
    let Some(end) = rest.end else { return Ok(Tail::Clean) };
    if let Some(later) = rest.synced_later {
        return damaged(format!("{why}, but a later record, at byte {later}, is whole"));
    }
    if let Some(header) = rest.first
        && (header.previous != reader.last().crc || start + header.span() > reader.size())
    {
        // The header is whole, so the write was; it only stands in the wrong place or lacks its end.
        return damaged(why.into());
    }
    let record_end = match (rest.first, rest.next) {
        (Some(header), _) => start + header.span(),
        (None, next) => next.unwrap_or(end),
    };
    if is_whole(reader, start, record_end, rest.first.is_some())? {
        return damaged(format!("{why}, although it was written to its end"));
    }
    Ok(Tail::Torn { bytes: end - start })
}

/// What a look at everything behind the last good record found.
#[derive(Debug, Default)]
struct Rest {
    /// Behind the last byte that is not zero.
    end: Option<u64>,
    /// The header right at the start, if that is whole.
    first: Option<RecordHeader>,
    /// The next place with a whole header.
    next: Option<u64>,
    /// A place with a whole header of a batch that was begun after the start: what precedes that batch was synced.
    synced_later: Option<u64>,
}

fn survey(reader: &SegmentReader) -> Result<Rest, StoreError> {
    let start = reader.offset();
    let mut rest = Rest::default();
    let mut window = vec![0; WINDOW_BYTES];
    let mut offset = start;
    // Windows overlap by a header, less the alignment, so that each possible header lies in one of them.
    let overlap = record::HEADER_BYTES as u64 - record::ALIGNMENT;
    while offset < reader.size() {
        let length = (reader.size() - offset).min(WINDOW_BYTES as u64) as usize;
        let bytes = &mut window[..length];
        read(reader, bytes, offset)?;
        if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
            rest.end = Some(offset + last as u64 + 1);
            for at in (0..length.saturating_sub(record::HEADER_BYTES - 1)).step_by(record::ALIGNMENT as usize)
            {
                let header = bytes[at..at + record::HEADER_BYTES].try_into().expect("a header's length");
                let Some(header) = RecordHeader::decode(reader.header().salt, header) else { continue };
                let place = offset + at as u64;
                if place == start {
                    rest.first = Some(header);
                } else {
                    rest.next.get_or_insert(place);
                    if place.saturating_sub(u64::from(header.batch)) > start {
                        rest.synced_later = Some(place);
                        return Ok(rest);
                    }
                }
            }
        }
        if offset + length as u64 == reader.size() {
            break;
        }
        offset += length as u64 - overlap;
    }
    Ok(rest)
}

/// Whether nothing in this range looks unwritten: each sector's part of it ends in something else than zero, and the
/// range in a trailer, or in what damage made of a trailer if the end is known from a whole header.
fn is_whole(reader: &SegmentReader, start: u64, end: u64, end_known: bool) -> Result<bool, StoreError> {
    if end - start < TRAILER_BYTES as u64 {
        return Ok(false);
    }
    let mut last = [0; TRAILER_BYTES];
    read(reader, &mut last, end - TRAILER_BYTES as u64)?;
    let ends = if end_known { last[TRAILER_BYTES - 1] != 0 } else { last == reader.header().salt.trailer() };
    if !ends {
        return Ok(false);
    }
    let mut sector_end = (start + 1).next_multiple_of(SECTOR_BYTES);
    while sector_end < end {
        let mut byte = [0];
        read(reader, &mut byte, sector_end - 1)?;
        if byte == [0] {
            return Ok(false);
        }
        sector_end += SECTOR_BYTES;
    }
    Ok(true)
}

fn read(reader: &SegmentReader, bytes: &mut [u8], offset: u64) -> Result<(), StoreError> {
    let file: &dyn DiskFile = reader.file();
    file.read_exact_at(bytes, offset).map_err(|error| reader.failed("read", error))
}
