//! What does a start find on disk, and may the server go on with it?
//!
//! [`Recovery`] finds the newest good snapshot, then reads the log from there, record by record; [`Recovery::finish`]
//! hands over the log, ready for appending. The rule above all others: never start with less than was acknowledged. A
//! batch that a crash cut short was not, and is removed; all other irregularities are refused with file and byte.

use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, DiskFile};
use super::epochs::{self, EPOCHS_FILE, Epochs};
use super::error::{RESTORE, StoreError};
use super::log::{Active, Log, LogOptions, UNFINISHED_SUFFIX};
use super::position::{Note, POSITION_FILE, Position, PositionFile};
use super::segment::{self, Link, Next, SEGMENT_HEADER_BYTES, SegmentReader};
use super::snapshot::{self, SnapshotReader};
use super::tail::{self, Tail};
use super::{change, transfer};

/// What a start found, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The zxid of the snapshot that was loaded, if any.
    pub snapshot_zxid: Option<u64>,
    /// The zxid of the last record, or of the snapshot.
    pub last_zxid: u64,
    /// Records after the snapshot.
    pub records: u64,
    /// The size of the unacknowledged batch that a crash left at the log's end, if any.
    pub torn_bytes: Option<u64>,
    /// What the member promised to its ensemble.
    pub epochs: Epochs,
    /// Irregularities that cost nothing, each a sentence.
    pub warnings: Vec<String>,
}

/// A start in progress: first the snapshot, then the records, then [`Recovery::finish`].
#[derive(Debug)]
pub struct Recovery {
    disk: Arc<dyn Disk>,
    snapshot_disk: Arc<dyn Disk>,
    options: LogOptions,
    names: Vec<String>,
    note: Note,
    epochs: Option<Epochs>,
    snapshot: Option<SnapshotReader>,
    snapshot_zxid: u64,
    /// The newest snapshot that cannot be used, and why.
    bad_snapshot: Option<BadSnapshot>,
    /// First zxids of the segments that are still to be read.
    segments: std::vec::IntoIter<u64>,
    reader: Option<SegmentReader>,
    last: Link,
    /// The last segment that held records, and where they ended.
    last_segment: Option<(u64, u64)>,
    report: RecoveryReport,
    ended: bool,
}

/// Prepares directories without a log for a snapshot from elsewhere, which is then accepted although no log leads to it. To
/// be called before the snapshot is written.
pub fn prepare_for_snapshot(
    log_disk: &Arc<dyn Disk>,
    snapshot_disk: &Arc<dyn Disk>,
) -> Result<(), StoreError> {
    let mut recovery =
        Recovery::open(Arc::clone(log_disk), Arc::clone(snapshot_disk), LogOptions::default())?;
    while recovery.next_record()?.is_some() {}
    recovery.finish().map(drop)
}

impl Recovery {
    /// Looks at both directories, which may be one.
    pub fn open(
        log_disk: Arc<dyn Disk>,
        snapshot_disk: Arc<dyn Disk>,
        options: LogOptions,
    ) -> Result<Recovery, StoreError> {
        remove_unfinished(log_disk.as_ref(), segment::parse_name)?;
        remove_unfinished(snapshot_disk.as_ref(), snapshot::parse_name)?;
        let note = change::resume(log_disk.as_ref(), snapshot_disk.as_ref())?;
        transfer::remove_received(snapshot_disk.as_ref())?;

        let names = list(log_disk.as_ref())?;
        let snapshot_names = list(snapshot_disk.as_ref())?;
        let epochs = Epochs::read(log_disk.as_ref(), &names)?;
        if epochs.is_some() {
            // Whoever put the file there may have been killed before its name was durable.
            log_disk.sync_dir().map_err(|source| {
                let file = log_disk.path().join(EPOCHS_FILE);
                StoreError::Io { action: "sync the directory of", file, source }
            })?;
        }
        let mut report = RecoveryReport {
            snapshot_zxid: None,
            last_zxid: 0,
            records: 0,
            torn_bytes: None,
            epochs: Epochs::default(),
            warnings: Vec::new(),
        };
        let (snapshot, bad_snapshot) = newest_snapshot(snapshot_disk.as_ref(), &snapshot_names)?;
        report.snapshot_zxid = snapshot.as_ref().map(SnapshotReader::zxid);
        if let Some((_, error)) = &bad_snapshot {
            report.warnings.push(format!("{error}; going back to what is older, and more of the log"));
        }
        let snapshot_zxid = snapshot.as_ref().map_or(0, SnapshotReader::zxid);
        let mut segments: Vec<u64> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
        segments.sort_unstable();
        let mut recovery = Recovery {
            disk: log_disk,
            snapshot_disk,
            options,
            names,
            note,
            epochs,
            snapshot,
            snapshot_zxid,
            bad_snapshot,
            segments: Vec::new().into_iter(),
            reader: None,
            last: Link { zxid: snapshot_zxid, crc: 0 },
            last_segment: None,
            report,
            ended: false,
        };
        recovery.check_note(&segments)?;
        recovery.select(segments)?;
        Ok(recovery)
    }

    /// The newest good snapshot, to be read before the records.
    pub fn snapshot(&mut self) -> Option<&mut SnapshotReader> {
        self.snapshot.as_mut()
    }

    /// The next record after the snapshot; `None` at the log's end.
    pub fn next_record(&mut self) -> Result<Option<(u64, Bytes)>, StoreError> {
        while !self.ended {
            let Some(reader) = &mut self.reader else {
                self.ended = true;
                break;
            };
            match reader.next()? {
                Next::Record(zxid, body) if zxid > self.snapshot_zxid => {
                    self.report.records += 1;
                    return Ok(Some((zxid, body)));
                }
                // In the snapshot already.
                Next::Record(..) => {}
                Next::Stop(why) => self.end_segment(&why)?,
            }
        }
        Ok(None)
    }

    /// Makes the log ready for appending: what a crash left of an unacknowledged batch is removed, and what was read is
    /// made durable in case nobody did so before.
    ///
    /// # Panics
    /// If [`Recovery::next_record`] was not called until it returned `None`.
    pub fn finish(mut self) -> Result<(Log, RecoveryReport), StoreError> {
        assert!(self.ended, "the log must be read to its end");
        let mut active = None;
        let mut unused = None;
        if let Some(reader) = self.reader.take() {
            if self.last.zxid != reader.last().zxid {
                // The snapshot is ahead of the log; see `end_segment`.
            } else if reader.offset() == SEGMENT_HEADER_BYTES {
                unused = Some(reader.header().first_zxid);
            } else if reader.offset() < reader.size() {
                active = Some(self.settle(reader)?);
            }
        }
        let (segment, offset) =
            self.last_segment.map_or((None, 0), |(segment, offset)| (Some(segment), offset));
        let position = Position { segment, offset, last: self.last };
        let position_file = PositionFile::open(self.disk.as_ref(), &self.names, &position)?;
        if let Some(first_zxid) = unused {
            // Begun for a batch that never came. The next one may carry another zxid, so the name would be wrong.
            let name = segment::name(first_zxid);
            let removed = self.disk.remove(&name).and_then(|()| self.disk.sync_dir());
            let file = self.disk.path().join(name);
            removed.map_err(|source| StoreError::Io { action: "remove", file, source })?;
        }
        let last_zxid = self.last.zxid;
        self.report.last_zxid = last_zxid;
        self.report.epochs = match self.epochs {
            Some(epochs) => epochs.beside(last_zxid),
            None => Epochs::of_history(last_zxid),
        };
        let (disks, epochs) = ((self.disk, self.snapshot_disk), self.report.epochs);
        Ok((Log::new(disks, self.options, epochs, active, self.last, position_file), self.report))
    }

    /// Compares the note with what exists at all.
    fn check_note(&mut self, segments: &[u64]) -> Result<(), StoreError> {
        let damaged = |what: String| {
            let file = self.disk.path().join(POSITION_FILE);
            Err(StoreError::Damaged { file, offset: 0, what, advice: RESTORE })
        };
        let newest = segments.last().copied();
        match self.note {
            Note::Known(Position { segment: Some(noted), offset, .. })
                if newest.is_none_or(|newest| newest < noted) =>
            {
                let file = self.disk.path().join(segment::name(noted));
                let what = format!("the file is missing, though the log was durable up to its byte {offset}");
                Err(StoreError::Damaged { file, offset: 0, what, advice: RESTORE })
            }
            Note::Known(_) => Ok(()),
            Note::Missing | Note::Unreadable if newest.is_none() && self.snapshot_zxid > 0 => {
                damaged(format!(
                    "there is no log beside the snapshot at zxid 0x{:x}, and nothing here says where it ended; is this the \
                 right directory (dataLogDir), and is its disk mounted?",
                    self.snapshot_zxid
                ))
            }
            Note::Missing if newest.is_some() => {
                self.warn("the position file is missing; the log is judged by itself alone");
                Ok(())
            }
            Note::Missing => Ok(()),
            Note::Unreadable => {
                self.warn("the position file is unreadable; the log is judged by itself alone");
                Ok(())
            }
        }
    }

    /// Finds the segment to start with: the last one that continues something at or before the snapshot.
    fn select(&mut self, mut segments: Vec<u64>) -> Result<(), StoreError> {
        for index in (0..segments.len()).rev() {
            let reader = SegmentReader::open(self.disk.as_ref(), segments[index])?;
            let before = reader.header().before.zxid;
            if before <= self.snapshot_zxid {
                self.segments = segments.split_off(index + 1).into_iter();
                self.reader = Some(reader);
                return Ok(());
            }
            if index == 0 {
                if let Some((_, error)) = self.bad_snapshot.take() {
                    return Err(error);
                }
                let what = format!(
                    "the log starts after zxid 0x{before:x}, but the newest good snapshot is at zxid 0x{:x}: a segment \
                     or a snapshot is missing",
                    self.snapshot_zxid
                );
                return Err(reader.damaged(24, what));
            }
        }
        self.check_acknowledged()
    }

    /// The current segment has no further good record.
    fn end_segment(&mut self, why: &str) -> Result<(), StoreError> {
        let reader = self.reader.as_ref().expect("called while reading");
        let link = reader.last();
        let first_zxid = reader.header().first_zxid;
        if reader.offset() > SEGMENT_HEADER_BYTES {
            self.last_segment = Some((first_zxid, reader.offset()));
        }
        if let Some(next) = self.segments.next() {
            let successor = SegmentReader::open(self.disk.as_ref(), next)?;
            let continued = successor.header().before;
            if continued != link {
                // What follows was built on a snapshot that is not there any more.
                if let Some((_, error)) = self.bad_snapshot.take_if(|(zxid, _)| *zxid == continued.zxid) {
                    return Err(error);
                }
                let what =
                    format!("{why}, but {} continues after zxid 0x{:x}", segment::name(next), continued.zxid);
                return Err(reader.damaged(reader.offset(), what));
            }
            if let Some(offset) = first_nonzero(reader)? {
                return Err(reader.damaged(offset, "the segment goes on after its last record"));
            }
            self.reader = Some(successor);
            return Ok(());
        }

        let noted = match self.note {
            Note::Known(position) => Some(position),
            Note::Missing | Note::Unreadable => None,
        };
        if let Tail::Torn { bytes } = tail::judge(reader, why, noted)? {
            self.report.torn_bytes = Some(bytes);
        }
        if link.zxid >= self.snapshot_zxid {
            self.last = link;
        } else {
            // What comes next begins a new chain in a new segment, so the note must not point into this one.
            self.last_segment = None;
            let warning = format!(
                "the log ends at zxid 0x{:x}, before the snapshot at zxid 0x{:x}; the snapshot has it all",
                link.zxid, self.snapshot_zxid
            );
            self.warn(&warning);
        }
        self.check_acknowledged()?;
        // The reader stays, for `finish`.
        self.ended = true;
        Ok(())
    }

    /// Whatever the reason: what was noted as durable must have been found.
    fn check_acknowledged(&mut self) -> Result<(), StoreError> {
        if let Some((_, error)) = self.bad_snapshot.take_if(|(zxid, _)| *zxid > self.last.zxid) {
            return Err(error);
        }
        match self.note {
            Note::Known(position) if position.last.zxid > self.last.zxid => {
                let file = position.segment.map_or(POSITION_FILE.into(), segment::name);
                let what = format!(
                    "zxid 0x{:x} was acknowledged, but the log and the snapshots end at 0x{:x}",
                    position.last.zxid, self.last.zxid
                );
                let file = self.disk.path().join(file);
                Err(StoreError::Damaged { file, offset: position.offset, what, advice: RESTORE })
            }
            _ => Ok(()),
        }
    }

    /// Writes the last batch again and zeros behind it, then syncs. The batch may have been read from memory only: the
    /// process that wrote it may have been killed before its sync, or have seen its sync fail.
    fn settle(&self, reader: SegmentReader) -> Result<Active, StoreError> {
        let (end, size) = (reader.offset(), reader.size());
        let (salt, first_zxid) = (reader.header().salt, reader.header().first_zxid);
        let rewritten =
            rewrite(reader.file(), reader.last_batch(), end).and_then(|()| erase(reader.file(), end, size));
        rewritten.and_then(|()| reader.file().sync()).map_err(|source| reader.failed("settle", source))?;
        Ok(Active { file: reader.into_file(), first_zxid, salt, size, end, synced: end })
    }

    fn warn(&mut self, warning: &str) {
        self.report.warnings.push(warning.into());
    }
}

const BLOCK_BYTES: u64 = 1 << 20;

fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    let mut block = Vec::new();
    for offset in (from..to).step_by(BLOCK_BYTES as usize) {
        block.resize(BLOCK_BYTES.min(to - offset) as usize, 0);
        file.read_exact_at(&mut block, offset)?;
        file.write_at(&block, offset)?;
    }
    Ok(())
}

pub(super) fn erase(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    let zeros = vec![0; BLOCK_BYTES.min(to - from) as usize];
    for offset in (from..to).step_by(BLOCK_BYTES as usize) {
        file.write_at(&zeros[..BLOCK_BYTES.min(to - offset) as usize], offset)?;
    }
    Ok(())
}

/// The first byte behind the reader's offset that is not zero.
pub(super) fn first_nonzero(reader: &SegmentReader) -> Result<Option<u64>, StoreError> {
    let mut block = Vec::new();
    for offset in (reader.offset()..reader.size()).step_by(BLOCK_BYTES as usize) {
        block.resize(BLOCK_BYTES.min(reader.size() - offset) as usize, 0);
        reader.file().read_exact_at(&mut block, offset).map_err(|error| reader.failed("read", error))?;
        if let Some(index) = block.iter().position(|&byte| byte != 0) {
            return Ok(Some(offset + index as u64));
        }
    }
    Ok(None)
}

type BadSnapshot = (u64, StoreError);

/// The newest good snapshot, and the newest bad one that is newer still.
fn newest_snapshot(
    disk: &dyn Disk,
    names: &[String],
) -> Result<(Option<SnapshotReader>, Option<BadSnapshot>), StoreError> {
    let mut zxids: Vec<u64> = names.iter().filter_map(|name| snapshot::parse_name(name)).collect();
    zxids.sort_unstable();
    let mut bad = None;
    for zxid in zxids.into_iter().rev() {
        match snapshot::check(disk, zxid) {
            Ok(_) => return Ok((Some(SnapshotReader::open(disk, zxid)?), bad)),
            Err(error @ StoreError::Damaged { .. }) => {
                bad.get_or_insert((zxid, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((None, bad))
}

pub(super) fn list(disk: &dyn Disk) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Io { action: "list", file: disk.path().to_path_buf(), source };
    disk.list().map_err(failed)
}

/// Removes what a crash left half written; nothing refers to it.
fn remove_unfinished(disk: &dyn Disk, parse_name: fn(&str) -> Option<u64>) -> Result<(), StoreError> {
    for name in &list(disk)? {
        let of_files = name.strip_suffix(UNFINISHED_SUFFIX).and_then(parse_name).is_some();
        if of_files || *name == epochs::unfinished() {
            let file = disk.path().join(name);
            disk.remove(name).map_err(|source| StoreError::Io { action: "remove", file, source })?;
        }
    }
    Ok(())
}
