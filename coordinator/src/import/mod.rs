//! Reads a data directory of Apache ZooKeeper, 3.5 to 3.9.
//!
//! [`read`] loads the newest sound snapshot, replays the transaction logs from there, and returns the tree in plain form
//! with a report. It follows what a starting ZooKeeper server does, with these differences: it never changes the
//! directory; a hole in the middle of a log is refused instead of read as the end, and so is a log that is missing between
//! two others; a snapshot that shows effects of transactions that are in no log is refused.

mod digest;
mod error;
mod install;
mod replay;
mod snapshot;
mod stream;
mod txn;
mod txn_log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::wire::zk::acl::Acl;

pub use error::ImportError;
pub use install::{ImportOptions, run};
use replay::Replay;
use snapshot::SnapshotDigest;
use txn_log::{Entry, TxnLogReader};

/// Everything that a ZooKeeper server would serve from its directory.
#[derive(Debug)]
pub struct ImportedTree {
    /// By path, so that parents come before their children. The root is `/`.
    pub nodes: BTreeMap<String, ImportedNode>,
    /// Session ids and their timeouts in milliseconds.
    pub sessions: BTreeMap<i64, i32>,
    /// The last transaction, applied or not.
    pub last_zxid: u64,
    pub report: ImportReport,
}

/// A znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedNode {
    /// Null and empty are different things to clients.
    pub data: Option<Vec<u8>>,
    pub acl: Arc<[Acl<'static>]>,
    pub stat: ImportedStat,
}

/// What ZooKeeper keeps about a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportedStat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// How many children were ever created; what clients see is twice that, less the children there are.
    pub cversion: i32,
    pub aversion: i32,
    /// See [`ImportedStat::kind`].
    pub ephemeral_owner: i64,
    pub pzxid: i64,
}

/// What becomes of a znode when nobody deletes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Persistent,
    Ephemeral,
    Container,
    Ttl { ttl_ms: u64 },
}

/// What was found, for the one who imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// `None` if there was none, and the log began at the beginning.
    pub snapshot: Option<PathBuf>,
    pub snapshot_zxid: u64,
    /// Transactions replayed, including failed ones.
    pub transactions: u64,
    pub nodes: usize,
    pub ephemerals: usize,
    /// Of all nodes' data.
    pub data_bytes: u64,
    pub sessions: usize,
    /// Ephemeral nodes that were left out because their session is gone.
    pub orphans: usize,
    pub digest: DigestCheck,
    /// Each a sentence.
    pub warnings: Vec<String>,
}

/// Whether the tree agrees with what ZooKeeper computed over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigestCheck {
    /// How often there was something to compare: none before 3.6, or when digests were switched off.
    pub compared: u64,
    /// The first transaction after which they differed.
    pub first_mismatch: Option<u64>,
}

/// Reads the directory `from`, which holds snapshots and logs, itself or in its folder `version-2`. `logs_from` is where
/// the logs are, if they are elsewhere (`dataLogDir`).
pub fn read(from: &Path, logs_from: Option<&Path>) -> Result<ImportedTree, ImportError> {
    let snapshots = numbered_files(&data_folder(from), "snapshot")?;
    let logs = numbered_files(&data_folder(logs_from.unwrap_or(from)), "log")?;
    if snapshots.is_empty() && logs.is_empty() {
        return Err(ImportError::NoData(from.to_path_buf()));
    }
    let mut import = Import::start(&snapshots)?;
    import.replay_logs(&logs)?;
    import.finish()
}

/// Snapshots that are tried before giving up.
const SNAPSHOTS_TRIED_MAX: usize = 100;

/// An import in progress.
struct Import {
    replay: Replay,
    snapshot: Option<PathBuf>,
    snapshot_zxid: u64,
    /// As long as this is there, the tree may show effects of transactions up to the digest's that were not replayed yet.
    fuzzy_until: Option<SnapshotDigest>,
    last_zxid: u64,
    /// The log that the last transaction was read from.
    file_read: Option<PathBuf>,
    transactions: u64,
    digest: DigestCheck,
    warnings: Vec<String>,
}

/// Whether `next` may come right after `last`.
fn follows(last: u64, next: u64) -> bool {
    let first_of_epoch = next >> 32 > last >> 32 && next & 0xffff_ffff == 1;
    last.checked_add(1) == Some(next) || first_of_epoch
}

impl Import {
    /// Loads the newest sound snapshot. `snapshots` are in rising order.
    fn start(snapshots: &[(u64, PathBuf)]) -> Result<Import, ImportError> {
        let mut warnings = Vec::new();
        let mut newest_error = None;
        for (zxid, path) in snapshots.iter().rev().take(SNAPSHOTS_TRIED_MAX) {
            let mut replay = Replay::default();
            match snapshot::read(path, &mut replay) {
                Ok(digest) => {
                    let mut import = Import {
                        replay,
                        snapshot: Some(path.clone()),
                        snapshot_zxid: *zxid,
                        // After a change of leader the snapshot's zxid may be later than any transaction in it.
                        fuzzy_until: digest.filter(|digest| digest.zxid >= *zxid),
                        last_zxid: *zxid,
                        file_read: None,
                        transactions: 0,
                        digest: DigestCheck::default(),
                        warnings,
                    };
                    import.leave_fuzzy(*zxid);
                    return Ok(import);
                }
                Err(error @ ImportError::Damaged { .. }) => {
                    warnings.push(format!("{error}; going back to an older snapshot"));
                    newest_error.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match newest_error {
            Some(error) => Err(error),
            None => Ok(Import {
                replay: Replay::initial(),
                snapshot: None,
                snapshot_zxid: 0,
                fuzzy_until: None,
                last_zxid: 0,
                file_read: None,
                transactions: 0,
                digest: DigestCheck::default(),
                warnings,
            }),
        }
    }

    /// Replays all logs from the snapshot on. `logs` are in rising order.
    fn replay_logs(&mut self, logs: &[(u64, PathBuf)]) -> Result<(), ImportError> {
        // The last file that begins at or before the first transaction needed, and all later ones.
        let needed = self.snapshot_zxid.saturating_add(1);
        let start = logs.partition_point(|(first, _)| *first <= needed).saturating_sub(1);
        if let (None, Some((first, path))) = (&self.snapshot, logs.first())
            && *first & 0xffff_ffff > 1
        {
            return Err(ImportError::Incomplete(format!(
                "there is no snapshot, and the first log, {}, does not begin with the first transaction",
                path.display()
            )));
        }
        let mut torn: Option<(PathBuf, u64)> = None;
        for (index, (_, path)) in logs.iter().enumerate().skip(start) {
            let mut reader = TxnLogReader::open(path)?;
            loop {
                match reader.next()? {
                    Entry::Txn(offset, bytes) => self.replay_txn(&reader, offset, &bytes, &mut torn)?,
                    Entry::End => break,
                    Entry::Torn(offset) => {
                        if index + 1 == logs.len() {
                            self.warnings.push(format!(
                                "{} ends with an incomplete transaction at byte {offset}, as after a crash",
                                path.display()
                            ));
                        }
                        torn = Some((path.clone(), offset));
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn replay_txn(
        &mut self,
        reader: &TxnLogReader,
        offset: u64,
        bytes: &[u8],
        torn: &mut Option<(PathBuf, u64)>,
    ) -> Result<(), ImportError> {
        let (header, txn, digest) = txn::decode(bytes)
            .map_err(|error| reader.damaged(offset, format!("the transaction is unreadable: {error}")))?;
        if header.zxid <= self.snapshot_zxid {
            return Ok(());
        }
        if !follows(self.last_zxid, header.zxid) {
            self.gap(reader, offset, header.zxid, torn.take())?;
        }
        torn.take();
        self.file_read = Some(reader.path().to_path_buf());
        self.replay.apply(&header, &txn);
        self.transactions += 1;
        self.last_zxid = self.last_zxid.max(header.zxid);
        match self.fuzzy_until {
            Some(_) => self.leave_fuzzy(header.zxid),
            None => {
                if let Some(digest) = digest {
                    self.compare(digest, header.zxid);
                }
            }
        }
        Ok(())
    }

    /// Transaction `zxid` is not the one expected. Within a file that can be: a server may use up a zxid without logging
    /// anything. Between files it means that one is missing, or the end of one.
    fn gap(
        &mut self,
        reader: &TxnLogReader,
        offset: u64,
        zxid: u64,
        torn: Option<(PathBuf, u64)>,
    ) -> Result<(), ImportError> {
        let gap = format!("zxid 0x{zxid:x} comes after 0x{:x}", self.last_zxid);
        if let Some((path, offset)) = torn {
            let what = format!("the entry is incomplete, and in {} {gap}", reader.path().display());
            return Err(ImportError::damaged(&path, offset, what));
        }
        if self.file_read.as_deref() != Some(reader.path()) {
            return Err(ImportError::Incomplete(format!(
                "in {}, {gap}: a transaction log before it is missing",
                reader.path().display()
            )));
        }
        self.warnings.push(format!("{}, byte {offset}: {gap}", reader.path().display()));
        Ok(())
    }

    /// Compares with the snapshot's digest once the tree is exact again.
    fn leave_fuzzy(&mut self, zxid: u64) {
        if let Some(digest) = self.fuzzy_until.take_if(|digest| digest.zxid <= zxid)
            && let Some(value) = digest.value.filter(|_| digest.zxid == zxid)
        {
            self.compare(value, zxid);
        }
    }

    fn compare(&mut self, digest: u64, zxid: u64) {
        self.digest.compared += 1;
        if digest != self.replay.digest() {
            self.digest.first_mismatch.get_or_insert(zxid);
        }
    }

    fn finish(mut self) -> Result<ImportedTree, ImportError> {
        if let (Some(digest), Some(path)) = (self.fuzzy_until, &self.snapshot) {
            return Err(ImportError::Incomplete(format!(
                "{} shows effects of transactions up to zxid 0x{:x}, but the logs end at 0x{:x}: some are missing (are they \
                 in another directory, dataLogDir?)",
                path.display(),
                digest.zxid,
                self.last_zxid
            )));
        }
        let orphans = self.replay.remove_orphans(self.last_zxid);
        let Replay { nodes, sessions, .. } = self.replay;
        let report = ImportReport {
            snapshot: self.snapshot,
            snapshot_zxid: self.snapshot_zxid,
            transactions: self.transactions,
            nodes: nodes.len(),
            ephemerals: nodes.values().filter(|node| node.stat.kind() == NodeKind::Ephemeral).count(),
            data_bytes: nodes.values().map(|node| node.data.as_ref().map_or(0, Vec::len) as u64).sum(),
            sessions: sessions.len(),
            orphans,
            digest: self.digest,
            warnings: self.warnings,
        };
        Ok(ImportedTree { nodes, sessions, last_zxid: self.last_zxid, report })
    }
}

/// ZooKeeper puts its files into this folder of the directory that is configured.
fn data_folder(directory: &Path) -> PathBuf {
    let folder = directory.join("version-2");
    if folder.is_dir() { folder } else { directory.to_path_buf() }
}

/// The files named `<prefix>.<hexadecimal number>`, with any extension after it, by rising number.
fn numbered_files(folder: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>, ImportError> {
    let entries = std::fs::read_dir(folder).map_err(ImportError::io("list", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(ImportError::io("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let mut parts = name.unwrap_or_default().split('.');
        if parts.next() == Some(prefix)
            && let Some(number) = parts.next().and_then(|number| u64::from_str_radix(number, 16).ok())
        {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}
