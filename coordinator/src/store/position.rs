//! Up to where was the log durable, as noted outside the log?
//!
//! The log alone cannot tell that its end is missing. So after each flush the log's new end is noted in the file
//! `position`, without a sync: the note survives the death of the process, and mostly that of the machine. It is written
//! only after the log's own sync and before anybody is told, therefore it never promises too much, and as long as the
//! operating system lives it never promises too little. It is synced whenever a segment is begun and at a clean stop.
//!
//! A change to the log that is more than one write, see [`Change`], is announced here first. From the moment that the
//! announcement is durable the change counts as made; a start that finds one carries it out before it reads anything.
//!
//! Two slots of one sector each are written in turn, so that a torn write spoils at most the newer note:
//!
//! ```text
//!  0  magic     8 bytes, which tell a note from an announcement
//!  8  u64       sequence number; the greater of two good slots counts
//! 16  u64       first zxid of the segment, zero if there is none yet
//! 24  u64       offset behind the last durable record
//! 32  u64       zxid of that record, or of the snapshot that the log continues
//! 40  u32       the record's `crc`
//! 44  u32       CRC32C of bytes 0..44
//! ```

use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use super::segment::Link;

/// The file's name.
pub(super) const POSITION_FILE: &str = "position";
/// Where the second slot lies: in a sector, and in a page, of its own.
const SLOT_STRIDE: u64 = 4096;
const SLOT_BYTES: usize = 48;
const MAGIC: [u8; 8] = *b"rookPOS\n";
const MAGIC_TRUNCATE: [u8; 8] = *b"rookCUT\n";
const MAGIC_REPLACE: [u8; 8] = *b"rookREP\n";

/// A change to the log that is announced before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The log ends at the position; records and snapshots that go beyond are to be forgotten.
    Truncate,
    /// The log begins at the position, after the snapshot that was received; whatever it held is to be forgotten.
    Replace,
}

/// A durable end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The segment's name, as a number; `None` before the first one.
    pub(super) segment: Option<u64>,
    pub(super) offset: u64,
    pub(super) last: Link,
}

/// What the position file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// There is no file.
    Missing,
    /// There is a file, but no good note in it.
    Unreadable,
    /// The log was durable up to here, at least.
    Known(Position),
}

/// The open position file.
#[derive(Debug)]
pub(super) struct PositionFile {
    file: Box<dyn DiskFile>,
    sequence: u64,
}

impl PositionFile {
    /// Reads the note, if any, and the change that leads to it if it announces one.
    pub(super) fn read(disk: &dyn Disk, names: &[String]) -> Result<(Note, Option<Change>), StoreError> {
        if !names.iter().any(|name| name == POSITION_FILE) {
            return Ok((Note::Missing, None));
        }
        let file = disk.open(POSITION_FILE).map_err(|source| failed(disk, "open", source))?;
        let newest = read_slots(file.as_ref()).map_err(|source| failed(disk, "read", source))?;
        Ok(newest.map_or((Note::Unreadable, None), |slot| (Note::Known(slot.position), slot.change)))
    }

    /// Opens the file for writing and makes `position` durable in it.
    pub(super) fn open(
        disk: &dyn Disk,
        names: &[String],
        position: &Position,
    ) -> Result<PositionFile, StoreError> {
        let mut position_file = PositionFile::attach(disk, names)?;
        position_file.settle(position).map_err(|source| failed(disk, "write", source))?;
        if !names.iter().any(|name| name == POSITION_FILE) {
            disk.sync_dir().map_err(|source| failed(disk, "sync the directory of", source))?;
        }
        Ok(position_file)
    }

    /// Opens the file, which is made if need be, and leaves it as it is.
    pub(super) fn attach(disk: &dyn Disk, names: &[String]) -> Result<PositionFile, StoreError> {
        let exists = names.iter().any(|name| name == POSITION_FILE);
        let file = if exists { disk.open(POSITION_FILE) } else { disk.create(POSITION_FILE) };
        let file = file.map_err(|source| failed(disk, "open", source))?;
        let newest = read_slots(file.as_ref()).map_err(|source| failed(disk, "read", source))?;
        Ok(PositionFile { file, sequence: newest.map_or(0, |slot| slot.sequence) })
    }

    /// Notes a position that is durable in the log. The note itself is not made durable.
    pub(super) fn note(&mut self, position: &Position) -> std::io::Result<()> {
        self.write(None, position)
    }

    /// Announces a change, durably. Until [`PositionFile::settle`] every start carries it out again.
    pub(super) fn announce(&mut self, change: Change, position: &Position) -> std::io::Result<()> {
        self.write_both(Some(change), position)
    }

    /// Notes a position durably, in both slots: no older note and no announcement is left.
    pub(super) fn settle(&mut self, position: &Position) -> std::io::Result<()> {
        self.write_both(None, position)
    }

    /// One slot after the other, so that at any time one of them is whole.
    fn write_both(&mut self, change: Option<Change>, position: &Position) -> std::io::Result<()> {
        for _ in 0..2 {
            self.write(change, position)?;
            self.sync()?;
        }
        Ok(())
    }

    fn write(&mut self, change: Option<Change>, position: &Position) -> std::io::Result<()> {
        let slot = Slot { sequence: self.sequence + 1, change, position: *position };
        self.file.write_at(&slot.encode(), slot.sequence % 2 * SLOT_STRIDE)?;
        self.sequence = slot.sequence;
        Ok(())
    }

    /// Makes the last note durable.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }
}

fn failed(disk: &dyn Disk, action: &'static str, source: std::io::Error) -> StoreError {
    StoreError::Io { action, file: disk.path().join(POSITION_FILE), source }
}

fn read_slots(file: &dyn DiskFile) -> std::io::Result<Option<Slot>> {
    let size = file.size()?;
    let mut newest: Option<Slot> = None;
    for offset in [0, SLOT_STRIDE] {
        if offset + SLOT_BYTES as u64 > size {
            continue;
        }
        let mut bytes = [0; SLOT_BYTES];
        file.read_exact_at(&mut bytes, offset)?;
        if let Some(found) = Slot::decode(&bytes)
            && newest.is_none_or(|slot| slot.sequence < found.sequence)
        {
            newest = Some(found);
        }
    }
    Ok(newest)
}

/// One of the two places of the file.
#[derive(Debug, Clone, Copy)]
struct Slot {
    sequence: u64,
    /// `None` in a note.
    change: Option<Change>,
    position: Position,
}

impl Slot {
    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        out[0..8].copy_from_slice(&match self.change {
            None => MAGIC,
            Some(Change::Truncate) => MAGIC_TRUNCATE,
            Some(Change::Replace) => MAGIC_REPLACE,
        });
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..24].copy_from_slice(&self.position.segment.unwrap_or(0).to_le_bytes());
        out[24..32].copy_from_slice(&self.position.offset.to_le_bytes());
        out[32..40].copy_from_slice(&self.position.last.zxid.to_le_bytes());
        out[40..44].copy_from_slice(&self.position.last.crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..44]);
        out[44..48].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if the bytes are no good slot.
    fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if u32_at(44) != crc32c::crc32c(&bytes[..44]) {
            return None;
        }
        let change = match bytes[0..8].try_into().expect("eight bytes") {
            MAGIC => None,
            MAGIC_TRUNCATE => Some(Change::Truncate),
            MAGIC_REPLACE => Some(Change::Replace),
            _ => return None,
        };
        let position = Position {
            segment: Some(u64_at(16)).filter(|&segment| segment != 0),
            offset: u64_at(24),
            last: Link { zxid: u64_at(32), crc: u32_at(40) },
        };
        Some(Slot { sequence: u64_at(8), change, position })
    }
}
