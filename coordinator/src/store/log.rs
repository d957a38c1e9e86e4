//! How does a batch of commands become durable?
//!
//! [`Log::append`] only collects; [`Log::flush`] writes what was collected with one write and one sync. The space it
//! writes into was filled with zeros and synced beforehand, so that the sync of a batch has no metadata to write, and so
//! that whatever a crash leaves of a batch is either what was written or zeros.
//!
//! A full disk leaves the batch collected; `flush` may be called again. Any other error is final: the caller must stop
//! the process, because after a failed sync nobody knows what the disk holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::disk::{Disk, DiskFile};
use super::epochs::Epochs;
use super::error::StoreError;
use super::position::{Change, Position, PositionFile};
use super::record::{self, Salt};
use super::segment::{self, Link, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentReader};
use super::{RECORD_BYTES_MAX, change, transfer};

/// A new segment's size, and the least by which one grows.
const GROWTH_BYTES_MIN: u64 = 64 << 10;
/// The most by which a segment grows at once, whatever is configured. Filling and syncing 4 MiB was felt as a pause of 5 ms
/// where 1 MiB took 1 ms, with the same throughput.
const GROWTH_BYTES_MAX: u64 = 1 << 20;
/// The most that is written to a segment before another is begun, whatever is configured.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// What a segment's name ends in until its header is durable.
pub(super) const UNFINISHED_SUFFIX: &str = ".new";

/// How the log is written.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A segment that has reached this size is followed by another one.
    pub segment_bytes_max: u64,
    /// A segment grows by doubling, but never by more than this at once (nor by more than 1 MiB).
    pub growth_bytes_max: u64,
    /// Whether a batch is acknowledged only after it was synced. Without this a crash of the machine loses writes that
    /// clients were told are safe.
    pub sync: bool,
    /// Where the segments' salts come from. Clients must not be able to guess it.
    pub salt_seed: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        use std::hash::{BuildHasher, RandomState};
        LogOptions {
            segment_bytes_max: 256 << 20,
            growth_bytes_max: GROWTH_BYTES_MAX,
            sync: true,
            salt_seed: RandomState::new().hash_one("salt"),
        }
    }
}

/// What one flush did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Everything up to here is durable.
    pub zxid: u64,
    pub records: usize,
    /// Written to the log, headers included.
    pub bytes: u64,
    /// How long the disk took to sync; zero when syncs are off.
    pub sync_time: Duration,
}

/// The log's end, open for appending.
///
/// Invariants: `last` is the end of what is durable; zxids rise by one, or to a later epoch; in the active segment every
/// byte from `end` to `size` is durably zero, except for the traces of a flush that failed for lack of space, and at
/// least a record header's length of them remains after each flush.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    snapshot_disk: Arc<dyn Disk>,
    options: LogOptions,
    epochs: Epochs,
    active: Option<Active>,
    last: Link,
    pending: Vec<(u64, Bytes)>,
    pending_zxid: u64,
    position: PositionFile,
    /// Kept between flushes, to spare the allocation.
    buffer: Vec<u8>,
    roll: bool,
    /// Whether a failed flush may have left traces behind the active segment's end.
    partial: bool,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) first_zxid: u64,
    pub(super) salt: Salt,
    pub(super) size: u64,
    /// Behind the last record.
    pub(super) end: u64,
    /// Behind the last record that was synced: `end`, unless syncs are off.
    pub(super) synced: u64,
}

/// The encode buffer is given back when one large batch blew it up beyond this.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

impl Log {
    pub(super) fn new(
        (disk, snapshot_disk): (Arc<dyn Disk>, Arc<dyn Disk>),
        options: LogOptions,
        epochs: Epochs,
        active: Option<Active>,
        last: Link,
        position: PositionFile,
    ) -> Log {
        Log {
            disk,
            snapshot_disk,
            options,
            epochs,
            active,
            last,
            pending: Vec::new(),
            pending_zxid: last.zxid,
            position,
            buffer: Vec::new(),
            roll: false,
            partial: false,
        }
    }

    /// The last durable zxid, or that of the snapshot that the log continues.
    pub fn last_zxid(&self) -> u64 {
        self.last.zxid
    }

    /// Collects a record for the next flush.
    ///
    /// # Panics
    /// If the zxid does not follow the one before or the record is longer than [`RECORD_BYTES_MAX`]: writing either would
    /// make the log unreadable.
    pub fn append(&mut self, zxid: u64, body: Bytes) {
        let before = self.pending_zxid;
        assert!(segment::follows(before, zxid), "zxid 0x{zxid:x} does not follow 0x{before:x}");
        assert!(body.len() <= RECORD_BYTES_MAX, "a record of {} bytes is too long", body.len());
        self.pending.push((zxid, body));
        self.pending_zxid = zxid;
    }

    /// Begins a new segment with the next record.
    pub fn roll(&mut self) {
        self.roll = true;
    }

    /// Goes on after a snapshot at `zxid` that the log does not lead to, and that is durable: what was restored from
    /// elsewhere. From then on nobody can replay the log from before to after it.
    ///
    /// # Panics
    /// If anything was collected and not flushed, or the zxid is not later than the last.
    pub fn restart_after(&mut self, zxid: u64) -> Result<(), StoreError> {
        assert!(self.pending.is_empty(), "records that come before the snapshot must be flushed");
        assert!(zxid > self.last.zxid, "zxid 0x{zxid:x} is not later than 0x{:x}", self.last.zxid);
        self.sync_active()?;
        self.active = None;
        self.last = Link { zxid, crc: 0 };
        self.pending_zxid = zxid;
        self.note_position()?;
        self.sync_position()
    }

    /// The epochs that were saved last.
    pub fn epochs(&self) -> Epochs {
        self.epochs
    }

    /// Makes the epochs durable, after every record before them.
    ///
    /// After an error for which [`StoreError::is_full`] holds, the ones before are still there and the call may be repeated.
    /// After any other the log must not be used again.
    ///
    /// # Panics
    /// If anything was collected and not flushed, or an epoch goes back.
    pub fn save_epochs(&mut self, epochs: Epochs) -> Result<(), StoreError> {
        assert!(self.pending.is_empty(), "records that come before the epochs must be flushed");
        let before = self.epochs;
        assert!(
            epochs.accepted >= before.accepted && epochs.current >= before.current,
            "{before:?} must not go back to {epochs:?}"
        );
        self.sync_active()?;
        epochs.save(self.disk.as_ref())?;
        self.epochs = epochs;
        Ok(())
    }

    /// Forgets every record after `zxid`, and the snapshots that hold what they did, durably; what is appended next follows
    /// `zxid`. Changes nothing and returns false if the log has no record of that zxid and does not begin there, or if no
    /// good snapshot that leads to it would be left. A snapshot in the making must hold nothing that is to be forgotten.
    ///
    /// # Panics
    /// If anything was collected and not flushed.
    pub fn truncate_after(&mut self, zxid: u64) -> Result<bool, StoreError> {
        assert!(self.pending.is_empty(), "records before a truncation must be flushed");
        if zxid > self.last.zxid {
            return Ok(false);
        }
        self.sync_active()?;
        // After a snapshot, and before the first record, there may be no segment to find it in.
        let begins_here = self.active.is_none() && self.last == Link { zxid, crc: 0 };
        let begin = begins_here.then_some(zxid);
        let found = change::find(self.disk.as_ref(), self.snapshot_disk.as_ref(), begin, zxid)?;
        let Some(place) = found else { return Ok(false) };
        self.change(Change::Truncate, place.position, place.reader)?;
        Ok(true)
    }

    /// Forgets everything and begins after the snapshot at `zxid` that a [`transfer::SnapshotReceiver`] received completely,
    /// whether the log had come as far, or further. A snapshot in the making must hold only what was committed.
    ///
    /// # Panics
    /// If anything was collected and not flushed.
    pub fn replace_with_snapshot(&mut self, zxid: u64) -> Result<(), StoreError> {
        assert!(self.pending.is_empty(), "records before a replacement must be flushed");
        transfer::open_received(self.snapshot_disk.as_ref(), zxid)?;
        let position = Position { segment: None, offset: 0, last: Link { zxid, crc: 0 } };
        self.change(Change::Replace, position, None)
    }

    /// Announces a change, carries it out, and goes on from there. `reader` has read up to the position.
    fn change(
        &mut self,
        change: Change,
        position: Position,
        reader: Option<SegmentReader>,
    ) -> Result<(), StoreError> {
        let announced = self.position.announce(change, &position);
        announced.map_err(|source| final_error(self.position_failed("write", source)))?;
        let (log_disk, snapshot_disk) = (self.disk.as_ref(), self.snapshot_disk.as_ref());
        // From here on a full disk is no reason to try again: only the next start knows what is left to do.
        change::carry_out(log_disk, snapshot_disk, change, &position).map_err(final_error)?;
        // A segment that a successor had ended has no space left; the next record begins another one.
        self.active = reader.filter(|reader| reader.offset() < reader.size()).map(|reader| {
            let (first_zxid, salt) = (reader.header().first_zxid, reader.header().salt);
            let (size, end) = (reader.size(), reader.offset());
            Active { file: reader.into_file(), first_zxid, salt, size, end, synced: end }
        });
        self.last = position.last;
        self.pending_zxid = position.last.zxid;
        self.partial = false;
        let settled = self.position.settle(&position);
        settled.map_err(|source| final_error(self.position_failed("write", source)))
    }

    /// Makes everything collected durable; `None` if that was nothing.
    ///
    /// After an error for which [`StoreError::is_full`] holds, nothing is lost and the call may be repeated. After any
    /// other the log must not be used again.
    pub fn flush(&mut self) -> Result<Option<Flushed>, StoreError> {
        let Some(&(first_zxid, _)) = self.pending.first() else { return Ok(None) };
        if self.must_begin_segment(first_zxid) {
            self.begin_segment(first_zxid)?;
            self.roll = false;
        }
        let active = self.active.as_mut().expect("a segment was begun");

        self.buffer.clear();
        let mut crc = self.last.crc;
        for (zxid, body) in &self.pending {
            let distance = active.end - active.synced + self.buffer.len() as u64;
            let batch = u32::try_from(distance).expect("batches and segments are bounded");
            crc = record::encode(&mut self.buffer, active.salt, crc, batch, *zxid, body);
        }
        let failed = |action, source| {
            let file = self.disk.path().join(segment::name(active.first_zxid));
            StoreError::Io { action, file, source }
        };
        let end = active.end + self.buffer.len() as u64;
        let need = end + record::HEADER_BYTES as u64;
        if need > active.size {
            active.size = grow(active, need, &self.options).map_err(|error| failed("extend", error))?;
        }
        self.partial = true;
        active.file.write_at(&self.buffer, active.end).map_err(|error| failed("write to", error))?;
        self.partial = false;
        let started = Instant::now();
        let mut sync_time = Duration::ZERO;
        if self.options.sync {
            active.file.sync().map_err(|error| final_error(failed("sync", error)))?;
            sync_time = started.elapsed();
        }

        active.end = end;
        if self.options.sync {
            active.synced = end;
        }
        self.last = Link { zxid: self.pending_zxid, crc };
        let flushed = Flushed {
            zxid: self.last.zxid,
            records: self.pending.len(),
            bytes: self.buffer.len() as u64,
            sync_time,
        };
        self.pending.clear();
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        if self.options.sync {
            self.note_position()?;
        }
        Ok(Some(flushed))
    }

    /// Notes the log's end durably, for the next start. Call it last, after everything was flushed.
    pub fn close(mut self) -> Result<(), StoreError> {
        match self.flush() {
            Ok(_) => {}
            Err(error) if error.is_full() => {
                self.undo_partial_write();
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.sync_active()?;
        self.note_position()?;
        self.sync_position()
    }

    fn must_begin_segment(&self, first_zxid: u64) -> bool {
        let Some(active) = &self.active else { return true };
        // A segment without a record is not followed by another one: both would carry the same name. And one that a
        // failed flush has left traces in must first be written over.
        let may_end = active.first_zxid != first_zxid && !self.partial;
        may_end && (self.roll || active.end >= self.options.segment_bytes_max.min(SEGMENT_BYTES_MAX))
    }

    /// With syncs off, does now what each flush left undone.
    fn sync_active(&mut self) -> Result<(), StoreError> {
        if let Some(active) = self.active.as_mut().filter(|active| active.synced < active.end) {
            let file = self.disk.path().join(segment::name(active.first_zxid));
            let synced = active.file.sync();
            synced.map_err(|source| final_error(StoreError::Io { action: "sync", file, source }))?;
            active.synced = active.end;
        }
        Ok(())
    }

    fn begin_segment(&mut self, first_zxid: u64) -> Result<(), StoreError> {
        // That a segment has a successor says that it is whole.
        self.sync_active()?;
        let name = segment::name(first_zxid);
        let unfinished = format!("{name}{UNFINISHED_SUFFIX}");
        let salt = new_salt(self.options.salt_seed, first_zxid);
        let header = SegmentHeader { salt, first_zxid, before: self.last };
        let created = self.disk.create(&unfinished).and_then(|file| {
            let mut start = vec![0; GROWTH_BYTES_MIN as usize];
            start[..SEGMENT_HEADER_BYTES as usize].copy_from_slice(&header.encode());
            file.write_at(&start, 0)?;
            Ok(file)
        });
        let file = match created {
            Ok(file) => file,
            Err(source) => {
                // Gives the space back; if that fails too, the next start removes it.
                let _ = self.disk.remove(&unfinished);
                return Err(self.failed("create", first_zxid, source));
            }
        };
        let named = file
            .sync()
            .and_then(|()| self.disk.rename(&unfinished, &name))
            .and_then(|()| self.disk.sync_dir());
        named.map_err(|source| final_error(self.failed("create", first_zxid, source)))?;
        let end = SEGMENT_HEADER_BYTES;
        let active = Active { file, first_zxid, salt, size: GROWTH_BYTES_MIN, end, synced: end };
        if let Some(full) = self.active.replace(active) {
            // Only gives unused space back: readers stop where the next segment says that this one ended.
            if let Err(error) = full.file.set_size(full.end) {
                tracing::warn!(segment = segment::name(full.first_zxid), %error, "cannot trim a log segment");
            }
        }
        self.note_position()?;
        self.sync_position()
    }

    fn position(&self) -> Position {
        Position {
            segment: self.active.as_ref().map(|active| active.first_zxid),
            offset: self.active.as_ref().map_or(0, |active| active.end),
            last: self.last,
        }
    }

    fn note_position(&mut self) -> Result<(), StoreError> {
        let position = self.position();
        // The space was allocated when the file was made, so even "disk full" is unexpected here; and the batch is
        // durable already, so it must not be tried again.
        self.position.note(&position).map_err(|source| final_error(self.position_failed("write", source)))
    }

    fn sync_position(&self) -> Result<(), StoreError> {
        self.position.sync().map_err(|source| final_error(self.position_failed("sync", source)))
    }

    /// Replaces what a failed flush may have written by zeros, so that the next start need not judge it.
    fn undo_partial_write(&mut self) {
        let Some(active) = &self.active else { return };
        let length = (active.size - active.end).min(self.buffer.len() as u64) as usize;
        if let Err(error) = active.file.write_at(&vec![0; length], active.end) {
            tracing::warn!(%error, "cannot undo a partial write to the log; the next start will");
        }
    }

    fn failed(&self, action: &'static str, first_zxid: u64, source: std::io::Error) -> StoreError {
        StoreError::Io { action, file: self.disk.path().join(segment::name(first_zxid)), source }
    }

    fn position_failed(&self, action: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Io { action, file: self.disk.path().join(super::position::POSITION_FILE), source }
    }
}

/// Extends the segment with zeros to at least `need`, durably, and returns its new size.
fn grow(active: &Active, need: u64, options: &LogOptions) -> std::io::Result<u64> {
    let step_max = options.growth_bytes_max.clamp(GROWTH_BYTES_MIN, GROWTH_BYTES_MAX);
    let least = need.next_multiple_of(GROWTH_BYTES_MIN);
    let wanted = least.max(active.size + active.size.min(step_max));
    // When space is short, ask for no more than this batch needs.
    for size in [wanted, least] {
        match fill_with_zeros(active.file.as_ref(), active.size, size) {
            Ok(()) => {
                // A sync that fails is final even if the reason is a full disk; see the module's description.
                active.file.sync().map_err(std::io::Error::other)?;
                return Ok(size);
            }
            Err(error) => {
                active.file.set_size(active.size)?;
                if !super::disk::is_full(&error) || size == least {
                    return Err(error);
                }
            }
        }
    }
    unreachable!("the last size either succeeds or returns its error")
}

fn fill_with_zeros(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut offset = from;
    while offset < to {
        let length = (to - offset).min(ZEROS.len() as u64);
        file.write_at(&ZEROS[..length as usize], offset)?;
        offset += length;
    }
    Ok(())
}

/// A salt that is never zero, so that no run of zeros passes for a record.
fn new_salt(seed: u64, first_zxid: u64) -> Salt {
    Salt(crc32c::crc32c_append(crc32c::crc32c(&seed.to_le_bytes()), &first_zxid.to_le_bytes()) | 1)
}

/// Turns "disk full", which may be tried again, into an error that may not.
pub(super) fn final_error(error: StoreError) -> StoreError {
    match error {
        StoreError::Io { action, file, source } => {
            StoreError::Io { action, file, source: std::io::Error::other(source) }
        }
        other => other,
    }
}
