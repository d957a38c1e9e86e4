//! How does the log lose its end, or all of it, so that a crash leaves the old log or the new one and never a mix?
//!
//! A change is announced in the position file ([`Change`]): the sync of the announcement is the one moment at which the old
//! log becomes the new one. Everything after it, removing files and erasing records, only carries out what is decided,
//! may be repeated, and is repeated by the next start ([`resume`]) until the file holds a plain note again. No record is
//! appended before that.

use super::disk::Disk;
use super::error::StoreError;
use super::position::{Change, Note, Position, PositionFile};
use super::recovery::{erase, list};
use super::segment::{self, Link, Next, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentReader};
use super::{snapshot, transfer};

/// A record that the log can end with, or the snapshot that it can begin after.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) position: Position,
    /// The segment, read up to the position; `None` if the log begins here.
    pub(super) reader: Option<SegmentReader>,
}

/// Finds where the log would end after `zxid`. `None` if no record of that zxid is left and the log does not begin there, or
/// if nothing would be left that leads to it. `begin` is where the log begins, if it has no record yet.
pub(super) fn find(
    log_disk: &dyn Disk,
    snapshot_disk: &dyn Disk,
    begin: Option<u64>,
    zxid: u64,
) -> Result<Option<Place>, StoreError> {
    let at_begin =
        Place { position: Position { segment: None, offset: 0, last: Link { zxid, crc: 0 } }, reader: None };
    if begin == Some(zxid) {
        return Ok(has_base(snapshot_disk, zxid, zxid)?.then_some(at_begin));
    }
    let segments = numbers(log_disk, segment::parse_name)?;
    let header = |index: usize| SegmentReader::open(log_disk, segments[index]).map(|reader| *reader.header());
    let mut target = None;
    for index in (0..segments.len()).rev() {
        let header = header(index)?;
        if header.before.zxid <= zxid {
            target = Some((index, header));
            break;
        }
    }
    let Some((target, target_header)) = target else { return Ok(None) };
    // The oldest segment continues a snapshot, and so does one that was begun after one from elsewhere.
    let begins = |index: usize, header: &SegmentHeader| index == 0 || header.before.crc == 0;

    let (mut index, mut oldest) = (target, target_header);
    while !has_base(snapshot_disk, oldest.before.zxid, zxid)? {
        if begins(index, &oldest) {
            return Ok(None);
        }
        index -= 1;
        oldest = match header(index) {
            // Nobody needed it so far.
            Err(StoreError::Damaged { .. }) => return Ok(None),
            header => header?,
        };
    }
    if target_header.before.zxid < zxid {
        return read_to(log_disk, segments[target], zxid);
    }
    if begins(target, &target_header) {
        return Ok(Some(at_begin));
    }
    let end_of_previous = match read_to(log_disk, segments[target - 1], zxid) {
        Err(StoreError::Damaged { .. }) => None,
        place => place?,
    };
    Ok(end_of_previous.filter(|place| place.position.last == target_header.before))
}

/// Reads a segment until the record at `zxid`; `None` if there is no such record.
fn read_to(log_disk: &dyn Disk, first_zxid: u64, zxid: u64) -> Result<Option<Place>, StoreError> {
    let mut reader = SegmentReader::open(log_disk, first_zxid)?;
    while reader.last().zxid < zxid {
        if let Next::Stop(_) = reader.next()? {
            return Ok(None);
        }
    }
    if reader.last().zxid > zxid || reader.offset() == SEGMENT_HEADER_BYTES {
        return Ok(None);
    }
    let position = Position { segment: Some(first_zxid), offset: reader.offset(), last: reader.last() };
    Ok(Some(Place { position, reader: Some(reader) }))
}

/// Whether a good snapshot is left between `base` and `zxid` once later ones are gone; none is needed if the log reaches
/// back to the beginning.
fn has_base(snapshot_disk: &dyn Disk, base: u64, zxid: u64) -> Result<bool, StoreError> {
    if base == 0 {
        return Ok(true);
    }
    let snapshots = numbers(snapshot_disk, snapshot::parse_name)?;
    let newest_goes = snapshots.last().is_some_and(|&newest| newest > zxid);
    for &candidate in snapshots.iter().rev().filter(|&&candidate| base <= candidate && candidate <= zxid) {
        // The newest was read when it was written or loaded; an older one perhaps never since.
        if !newest_goes {
            return Ok(true);
        }
        match snapshot::check(snapshot_disk, candidate) {
            Ok(_) => return Ok(true),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Does what was announced. May be repeated.
pub(super) fn carry_out(
    log_disk: &dyn Disk,
    snapshot_disk: &dyn Disk,
    change: Change,
    position: &Position,
) -> Result<(), StoreError> {
    let zxid = position.last.zxid;
    if change == Change::Replace {
        transfer::adopt(snapshot_disk, zxid)?;
    }
    let later = numbers(snapshot_disk, snapshot::parse_name)?.into_iter().filter(|&at| at > zxid);
    remove(snapshot_disk, later.map(snapshot::name))?;
    // All of them, if the log begins at the position.
    let kept = position.segment.unwrap_or(0);
    let later = numbers(log_disk, segment::parse_name)?.into_iter().filter(|&first| first > kept);
    remove(log_disk, later.map(segment::name))?;
    if let Some(first_zxid) = position.segment {
        let name = segment::name(first_zxid);
        let erased = log_disk.open(&name).and_then(|file| {
            erase(file.as_ref(), position.offset, file.size()?)?;
            file.sync()
        });
        let file = log_disk.path().join(name);
        erased.map_err(|source| StoreError::Io { action: "erase the end of", file, source })?;
    }
    Ok(())
}

/// Carries out what was announced before the last stop, and returns the note as it is then. The announcement stays in the
/// file until a plain note takes its place.
pub(super) fn resume(log_disk: &dyn Disk, snapshot_disk: &dyn Disk) -> Result<Note, StoreError> {
    let names = list(log_disk)?;
    let (note, change) = PositionFile::read(log_disk, &names)?;
    let (Note::Known(position), Some(change)) = (note, change) else { return Ok(note) };
    // The announcement may be in memory only: its sync may have failed.
    let mut position_file = PositionFile::attach(log_disk, &names)?;
    position_file.announce(change, &position).map_err(|source| StoreError::Io {
        action: "write",
        file: log_disk.path().join(super::position::POSITION_FILE),
        source,
    })?;
    carry_out(log_disk, snapshot_disk, change, &position)?;
    Ok(note)
}

/// What the names of these files tell, in order.
pub(super) fn numbers(disk: &dyn Disk, parse_name: fn(&str) -> Option<u64>) -> Result<Vec<u64>, StoreError> {
    let mut numbers: Vec<u64> = list(disk)?.iter().filter_map(|name| parse_name(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes files and makes that durable, whoever removed them: the one who did so before may have been killed before its
/// sync. Returns their names.
pub(super) fn remove(
    disk: &dyn Disk,
    names: impl Iterator<Item = String>,
) -> Result<Vec<String>, StoreError> {
    let failed = |action, file, source| StoreError::Io { action, file, source };
    let names: Vec<String> = names.collect();
    for name in &names {
        disk.remove(name).map_err(|source| failed("remove", disk.path().join(name), source))?;
    }
    disk.sync_dir().map_err(|source| failed("sync directory", disk.path().to_path_buf(), source))?;
    Ok(names)
}
