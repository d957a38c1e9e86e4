//! What can a member keep of a damaged directory?
//!
//! A server that is alone refuses to start with less than it acknowledged. A member of an ensemble can fetch what it lost
//! from the others, as long as nobody believes what it remembers meanwhile. So first it gives up its claim to a complete
//! history ([`Epochs::complete`]), durably; then it moves the damaged files aside, and what only follows them, under names
//! that end in `.damaged`, which nothing reads or removes. What is left starts. A crash in between leads to another refusal
//! and another [`salvage`], or to a start with less and without the claim.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::change::{self, numbers};
use super::disk::Disk;
use super::epochs::{EPOCHS_FILE, Epochs};
use super::error::StoreError;
use super::log::LogOptions;
use super::position::{Note, Position, PositionFile};
use super::recovery::{Recovery, first_nonzero, list};
use super::segment::{self, Link, Next, SEGMENT_HEADER_BYTES, SegmentReader};
use super::snapshot;
use super::tail;

/// What the names of files end in that were moved aside.
const DAMAGED_SUFFIX: &str = ".damaged";
/// The most that is kept of a damaged epochs file.
const EPOCHS_KEPT_BYTES: usize = 4096;

/// What a salvage did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Why the start was refused.
    pub damage: String,
    /// The files' new names.
    pub moved: Vec<PathBuf>,
    /// Where the log ends now.
    pub last_zxid: u64,
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the log now ends at zxid 0x{:x}, kept for inspection:", self.damage, self.last_zxid)?;
        for path in &self.moved {
            write!(f, " {}", path.display())?;
        }
        if self.moved.is_empty() {
            f.write_str(" nothing")?;
        }
        Ok(())
    }
}

/// Makes a start possible that was refused because of `damage`. The member must fetch what is missing from the others and
/// must not vote before it has. Start again afterwards, with a new [`Recovery`].
pub fn salvage(
    log_disk: &Arc<dyn Disk>,
    snapshot_disk: &Arc<dyn Disk>,
    damage: &StoreError,
) -> Result<Salvaged, StoreError> {
    let mut moved = Vec::new();
    give_up_completeness(log_disk.as_ref(), snapshot_disk.as_ref(), &mut moved)?;

    let note = change::resume(log_disk.as_ref(), snapshot_disk.as_ref()).unwrap_or(Note::Unreadable);
    let base = newest_good_snapshot(snapshot_disk.as_ref(), &mut moved)?;
    let mut end = good_end(log_disk.as_ref(), base, note)?;
    cut_off(log_disk.as_ref(), &end, &mut moved)?;
    if let Err(error) = try_start(log_disk, snapshot_disk) {
        let StoreError::Damaged { .. } = error else { return Err(error) };
        tracing::error!(%error, "what was to be salvaged is damaged too; starting empty");
        for zxid in numbers(snapshot_disk.as_ref(), snapshot::parse_name)? {
            move_aside(snapshot_disk.as_ref(), &snapshot::name(zxid), &mut moved)?;
        }
        sync_dir(snapshot_disk.as_ref())?;
        end = begin_after(0);
        cut_off(log_disk.as_ref(), &end, &mut moved)?;
    }
    Ok(Salvaged { damage: damage.to_string(), moved, last_zxid: end.last.zxid })
}

/// Makes durable that the history is incomplete. Epochs that cannot be read are replaced by what the files' names and the
/// note tell: a current epoch above zero says that there once was a history, even if nothing of it is left.
fn give_up_completeness(
    log_disk: &dyn Disk,
    snapshot_disk: &dyn Disk,
    moved: &mut Vec<PathBuf>,
) -> Result<(), StoreError> {
    let names = list(log_disk)?;
    let segments = numbers(log_disk, segment::parse_name)?;
    let snapshots = numbers(snapshot_disk, snapshot::parse_name)?;
    let noted = match PositionFile::read(log_disk, &names)? {
        (Note::Known(position), _) => position.last.zxid,
        _ => 0,
    };
    let newest = segments.last().max(snapshots.last()).copied().unwrap_or(0).max(noted);
    let saved = match Epochs::read(log_disk, &names) {
        Ok(saved) => saved.unwrap_or(Epochs::of_history(newest)),
        Err(StoreError::Damaged { .. }) => {
            keep_epochs(log_disk, &names, moved)?;
            Epochs::of_history(newest)
        }
        Err(error) => return Err(error),
    };
    Epochs { complete: false, ..saved.beside(newest) }.save(log_disk)
}

/// Copies the damaged epochs file: it must not be missed for a moment, because a directory without one is judged by its
/// history.
fn keep_epochs(log_disk: &dyn Disk, names: &[String], moved: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    let name = free_name(EPOCHS_FILE, names);
    let copied = log_disk.open(EPOCHS_FILE).and_then(|file| {
        let mut bytes = vec![0; file.size()?.min(EPOCHS_KEPT_BYTES as u64) as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let copy = log_disk.create(&name)?;
        copy.write_at(&bytes, 0)?;
        copy.sync()
    });
    let path = log_disk.path().join(name);
    copied.map_err(|source| StoreError::Io { action: "copy", file: path.clone(), source })?;
    moved.push(path);
    Ok(())
}

/// The zxid of the newest good snapshot, or zero. Newer ones, which are damaged, are moved aside.
fn newest_good_snapshot(disk: &dyn Disk, moved: &mut Vec<PathBuf>) -> Result<u64, StoreError> {
    let mut good = 0;
    for zxid in numbers(disk, snapshot::parse_name)?.into_iter().rev() {
        match snapshot::check(disk, zxid) {
            Ok(_) => {
                good = zxid;
                break;
            }
            Err(StoreError::Damaged { .. }) => move_aside(disk, &snapshot::name(zxid), moved)?,
            Err(error) => return Err(error),
        }
    }
    sync_dir(disk)?;
    Ok(good)
}

/// Where the log ends before the first segment that is damaged, when it is read from a snapshot. If it does not reach the
/// snapshot, it begins anew after that.
fn good_end(log_disk: &dyn Disk, base: u64, note: Note) -> Result<Position, StoreError> {
    let noted = match note {
        Note::Known(position) => Some(position),
        Note::Missing | Note::Unreadable => None,
    };
    let segments = numbers(log_disk, segment::parse_name)?;
    let mut begin = None;
    for (index, &first_zxid) in segments.iter().enumerate().rev() {
        if let Some(reader) = undamaged(SegmentReader::open(log_disk, first_zxid))?
            && reader.header().before.zxid <= base
        {
            begin = Some((index, reader));
            break;
        }
    }
    let mut end = begin_after(base);
    let Some((mut index, mut reader)) = begin else { return Ok(end) };
    loop {
        let why = loop {
            if let Next::Stop(why) = reader.next()? {
                break why;
            }
        };
        let successor = segments.get(index + 1);
        let ends_well = match successor {
            Some(_) => first_nonzero(&reader)?.is_none(),
            None => undamaged(tail::judge(&reader, &why, noted))?.is_some(),
        };
        if !ends_well || reader.offset() == SEGMENT_HEADER_BYTES {
            return Ok(end);
        }
        if reader.last().zxid >= base {
            let segment = Some(reader.header().first_zxid);
            end = Position { segment, offset: reader.offset(), last: reader.last() };
        }
        let Some(&successor) = successor else { return Ok(end) };
        match undamaged(SegmentReader::open(log_disk, successor))? {
            Some(next) if next.header().before == reader.last() => reader = next,
            _ => return Ok(end),
        }
        index += 1;
    }
}

fn begin_after(zxid: u64) -> Position {
    Position { segment: None, offset: 0, last: Link { zxid, crc: 0 } }
}

/// Moves every segment aside that begins after the end, and notes the end.
fn cut_off(log_disk: &dyn Disk, end: &Position, moved: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    // All of them, if the log begins at the end.
    let kept = end.segment.unwrap_or(0);
    for first_zxid in numbers(log_disk, segment::parse_name)? {
        if first_zxid > kept {
            move_aside(log_disk, &segment::name(first_zxid), moved)?;
        }
    }
    sync_dir(log_disk)?;
    // It may say that more was durable, or nothing that can be read.
    PositionFile::open(log_disk, &list(log_disk)?, end).map(drop)
}

/// Reads everything that a start would read.
fn try_start(log_disk: &Arc<dyn Disk>, snapshot_disk: &Arc<dyn Disk>) -> Result<(), StoreError> {
    let mut recovery =
        Recovery::open(Arc::clone(log_disk), Arc::clone(snapshot_disk), LogOptions::default())?;
    while recovery.next_record()?.is_some() {}
    Ok(())
}

/// `None` if this is damaged.
fn undamaged<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn move_aside(disk: &dyn Disk, name: &str, moved: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    let aside = free_name(name, &list(disk)?);
    let renamed = disk.rename(name, &aside);
    let file = disk.path().join(name);
    renamed.map_err(|source| StoreError::Io { action: "move aside", file, source })?;
    moved.push(disk.path().join(aside));
    Ok(())
}

/// A name for a damaged file that no other one has.
fn free_name(name: &str, names: &[String]) -> String {
    let mut aside = format!("{name}{DAMAGED_SUFFIX}");
    let mut number = 2;
    while names.contains(&aside) {
        aside = format!("{name}.{number}{DAMAGED_SUFFIX}");
        number += 1;
    }
    aside
}

fn sync_dir(disk: &dyn Disk) -> Result<(), StoreError> {
    let failed =
        |source| StoreError::Io { action: "sync directory", file: disk.path().to_path_buf(), source };
    disk.sync_dir().map_err(failed)
}
