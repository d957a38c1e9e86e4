//! How does a snapshot get from one member's disk to another's?
//!
//! What travels is the file itself, in pieces of one size, so that a transfer that was cut off goes on with any piece of
//! the same file. [`SnapshotId`] says whether it is the same file. The receiver keeps the pieces under a name that no start
//! takes for a snapshot, and checks the whole file, byte for byte, when the last one has come. Only
//! [`super::Log::replace_with_snapshot`] makes a snapshot of it.

use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use super::segment::parse_hex;
use super::snapshot::{self, SnapshotId, SnapshotReader};

/// The size of all pieces but the last.
pub const PIECE_BYTES: usize = 256 << 10;
/// How much is received between syncs: less to write at once means that the log's own syncs wait less behind it.
const SYNC_BYTES: u64 = 4 << 20;
const PREFIX: &str = "received.";

impl SnapshotId {
    /// How many pieces the file has.
    pub fn pieces(&self) -> u64 {
        self.file_bytes.div_ceil(PIECE_BYTES as u64)
    }

    /// The length of a piece; zero if there is no such piece.
    fn piece_length(&self, index: u64) -> usize {
        let start = index.saturating_mul(PIECE_BYTES as u64);
        self.file_bytes.saturating_sub(start).min(PIECE_BYTES as u64) as usize
    }
}

/// The name under which a snapshot at this zxid is received.
pub(super) fn received_name(zxid: u64) -> String {
    format!("{PREFIX}{zxid:x}")
}

/// The zxid that such a name tells; `None` for any other file.
pub(super) fn parse_received_name(name: &str) -> Option<u64> {
    parse_hex(name.strip_prefix(PREFIX)?)
}

/// Gives the received snapshot its name, durably. May be repeated.
pub(super) fn adopt(disk: &dyn Disk, zxid: u64) -> Result<(), StoreError> {
    let received = received_name(zxid);
    let failed = |action, source| StoreError::Io { action, file: disk.path().join(&received), source };
    if super::recovery::list(disk)?.contains(&received) {
        disk.rename(&received, &snapshot::name(zxid)).map_err(|source| failed("rename", source))?;
    }
    disk.sync_dir().map_err(|source| failed("sync the directory of", source))
}

/// A snapshot to be sent.
#[derive(Debug)]
pub struct SnapshotSource {
    file: Box<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    id: SnapshotId,
}

impl SnapshotSource {
    /// Opens the newest good snapshot, if that is at or after `zxid_min`. All of it is checked first: nobody is sent a
    /// damaged file.
    pub fn open(disk: &Arc<dyn Disk>, zxid_min: u64) -> Result<Option<SnapshotSource>, StoreError> {
        let zxids = super::change::numbers(disk.as_ref(), snapshot::parse_name)?;
        for zxid in zxids.into_iter().rev().take_while(|&zxid| zxid >= zxid_min) {
            match snapshot::check(disk.as_ref(), zxid) {
                Ok(id) => {
                    let name = snapshot::name(zxid);
                    let opened = disk.open(&name);
                    let file = disk.path().join(name);
                    let file = opened.map_err(|source| StoreError::Io { action: "open", file, source })?;
                    return Ok(Some(SnapshotSource { file, disk: Arc::clone(disk), id }));
                }
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::warn!(%error, "a damaged snapshot is not sent to other members");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Which file this is.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Reads a piece; `None` behind the last.
    pub fn piece(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let length = self.id.piece_length(index);
        if length == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, index * PIECE_BYTES as u64).map_err(|source| StoreError::Io {
            action: "read",
            file: self.disk.path().join(snapshot::name(self.id.zxid)),
            source,
        })?;
        Ok(Some(bytes))
    }
}

/// A snapshot on its way in. Dropped, it leaves what has come; the next start removes it.
#[derive(Debug)]
pub struct SnapshotReceiver {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    id: SnapshotId,
    next: u64,
    synced: u64,
    whole: bool,
}

impl SnapshotReceiver {
    /// Begins from the first piece; what else was being received is removed.
    pub fn begin(disk: Arc<dyn Disk>, id: SnapshotId) -> Result<SnapshotReceiver, StoreError> {
        remove_received(disk.as_ref())?;
        let name = received_name(id.zxid);
        let created = disk.create(&name);
        let path = disk.path().join(name);
        let file = created.map_err(|source| StoreError::Io { action: "create", file: path, source })?;
        Ok(SnapshotReceiver { disk, file, id, next: 0, synced: 0, whole: false })
    }

    /// Which file is being received.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The piece that is to come next: to resume, ask for the same file from here. Beyond the last if all have come.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether everything has come, was checked, and is durable.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether what has come is still where it was put, and no snapshot yet.
    pub fn is_there(&self) -> Result<bool, StoreError> {
        Ok(super::recovery::list(self.disk.as_ref())?.contains(&received_name(self.id.zxid)))
    }

    /// Takes the next piece; one that has come before is ignored. With the last the whole file is checked and made durable.
    ///
    /// After an error for which [`StoreError::is_full`] holds, the piece may be tried again; after any other the transfer
    /// has to begin anew, or is given up.
    pub fn piece(&mut self, index: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if index < self.next {
            return Ok(());
        }
        let length = self.id.piece_length(index);
        if index > self.next || length == 0 || bytes.len() != length {
            let what = format!(
                "piece {index} of {} bytes came, expected was piece {} of {} bytes",
                bytes.len(),
                self.next,
                self.id.piece_length(self.next)
            );
            return Err(self.damaged(what));
        }
        let offset = index * PIECE_BYTES as u64;
        self.file.write_at(bytes, offset).map_err(|source| self.failed("write to", source))?;
        let end = offset + length as u64;
        let last = end == self.id.file_bytes;
        if last || end - self.synced >= SYNC_BYTES {
            let synced = self.file.sync();
            synced.map_err(|source| super::log::final_error(self.failed("sync", source)))?;
            self.synced = end;
        }
        if last {
            self.check()?;
            self.whole = true;
        }
        self.next += 1;
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        let came = snapshot::identify(self.disk.as_ref(), &received_name(self.id.zxid), self.id.zxid)?;
        if came != self.id {
            let what = format!("checksum {:08x} was announced, {:08x} came", self.id.crc, came.crc);
            return Err(self.damaged(what));
        }
        let synced = self.disk.sync_dir();
        synced.map_err(|source| super::log::final_error(self.failed("sync the directory of", source)))
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Io { action, file: self.disk.path().join(received_name(self.id.zxid)), source }
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged {
            file: self.disk.path().join(received_name(self.id.zxid)),
            offset: self.next * PIECE_BYTES as u64,
            what,
            advice: "The snapshot is asked for again",
        }
    }
}

/// Removes what was received and never became a snapshot.
pub(super) fn remove_received(disk: &dyn Disk) -> Result<(), StoreError> {
    for zxid in super::change::numbers(disk, parse_received_name)? {
        let name = received_name(zxid);
        let removed = disk.remove(&name);
        let file = disk.path().join(name);
        removed.map_err(|source| StoreError::Io { action: "remove", file, source })?;
    }
    Ok(())
}

/// Opens what was received completely, to make sure that it is there.
pub(super) fn open_received(disk: &dyn Disk, zxid: u64) -> Result<SnapshotReader, StoreError> {
    SnapshotReader::open_file(disk, &received_name(zxid), zxid)
}
