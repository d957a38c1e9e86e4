//! Which transactions in a segment were aborted?

use std::sync::Arc;

use super::disk::{DiskFile, Folder};
use super::error::LogError;
use super::index::file_name;

const ENTRY_BYTES: usize = 34;

/// A transaction whose records consumers of committed records must skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The offset of the marker.
    pub last_offset: i64,
    /// Below it, everything was decided when the marker was written.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (place, field) in bytes[2..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<AbortedTxn> {
        let mut fields = bytes[2..]
            .chunks_exact(8)
            .map(|field| i64::from_be_bytes(field.try_into().expect("eight bytes")));
        let mut next = || fields.next();
        let txn = AbortedTxn {
            producer_id: next()?,
            first_offset: next()?,
            last_offset: next()?,
            last_stable_offset: next()?,
        };
        (bytes[..2] == [0, 0]).then_some(txn)
    }
}

/// The aborted transactions of a segment, in the order of their markers. Most segments have none, and no file.
#[derive(Debug)]
pub struct TxnIndex {
    folder: Folder,
    name: String,
    file: Option<Arc<dyn DiskFile>>,
    txns: Vec<AbortedTxn>,
    /// How many of them are in the file.
    written: usize,
}

impl TxnIndex {
    /// An index without entries; a file left from before is emptied when the first comes. Its name ends in this
    /// too.
    pub fn new(folder: &Folder, base_offset: i64, end: &str) -> TxnIndex {
        let name = file_name(base_offset, "txnindex") + end;
        TxnIndex { folder: folder.clone(), name, file: None, txns: Vec::new(), written: 0 }
    }

    /// Reads what is there; `None` if it must be made anew.
    pub fn open(folder: &Folder, base_offset: i64) -> Result<Option<TxnIndex>, LogError> {
        let mut index = TxnIndex::new(folder, base_offset, "");
        let Some(content) = folder.read(&index.name)? else { return Ok(Some(index)) };
        if content.len() % ENTRY_BYTES != 0 {
            return Ok(None);
        }
        for bytes in content.chunks_exact(ENTRY_BYTES) {
            match AbortedTxn::parse(bytes) {
                Some(txn) if txn.first_offset <= txn.last_offset && txn.last_offset >= base_offset => {
                    index.txns.push(txn);
                }
                _ => return Ok(None),
            }
        }
        index.file = Some(folder.open(&index.name)?);
        index.written = index.txns.len();
        Ok(Some(index))
    }

    pub fn txns(&self) -> &[AbortedTxn] {
        &self.txns
    }

    /// Adds a transaction; the file follows with the next [write](TxnIndex::write).
    pub fn push(&mut self, txn: AbortedTxn) {
        self.txns.push(txn);
        // If that fails, nothing is lost yet: the error comes up when the entry must be written.
        let _ = self.write();
    }

    /// Puts everything into the file.
    pub fn write(&mut self) -> Result<(), LogError> {
        if self.written == self.txns.len() {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(self.folder.create(&self.name)?),
        };
        let bytes: Vec<u8> = self.txns[self.written..].iter().flat_map(|txn| txn.to_bytes()).collect();
        let at = (self.written * ENTRY_BYTES) as u64;
        file.write_all_at(&bytes, at).map_err(self.folder.failed("write", &self.name))?;
        self.written = self.txns.len();
        Ok(())
    }

    /// Forgets transactions whose marker is at this offset or behind it.
    pub fn truncate(&mut self, offset: i64) -> Result<(), LogError> {
        let count = self.txns.partition_point(|txn| txn.last_offset < offset);
        self.txns.truncate(count);
        if count < self.written
            && let Some(file) = &self.file
        {
            let failed = self.folder.failed("truncate", &self.name);
            file.set_size((count * ENTRY_BYTES) as u64).map_err(failed)?;
            self.written = count;
        }
        Ok(())
    }

    pub fn sync(&mut self) -> Result<(), LogError> {
        self.write()?;
        match &self.file {
            Some(file) => file.sync().map_err(self.folder.failed("sync", &self.name)),
            None => Ok(()),
        }
    }
}
