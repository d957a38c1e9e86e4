//! How are ZooKeeper's transaction logs read?
//!
//! A file is named after its first transaction. Entries follow each other up to zeros or the end of the file: checksum,
//! length, content, `B`. A server that was killed leaves its last entry incomplete and begins another file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::ImportError;
use super::stream::Adler32;

const MAGIC: [u8; 4] = *b"ZKLG";
const VERSION: [u8; 4] = 2u32.to_be_bytes();
const HEADER_BYTES: u64 = 16;
/// Longer transactions are not believed.
const TXN_BYTES_MAX: u64 = 64 << 20;
const END_OF_RECORD: u8 = b'B';
/// More is not searched behind an entry without an end.
const REST_BYTES_MAX: u64 = 256 << 20;

/// Reads one file.
pub(super) struct TxnLogReader {
    path: PathBuf,
    source: BufReader<File>,
    size: u64,
    offset: u64,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The bytes of a transaction, and where its entry starts.
    Txn(u64, Vec<u8>),
    /// The file ends here as it should.
    End,
    /// The file ends with an incomplete entry, which starts here.
    Torn(u64),
}

impl TxnLogReader {
    pub(super) fn open(path: &Path) -> Result<TxnLogReader, ImportError> {
        let file = File::open(path).map_err(ImportError::io("open", path))?;
        let size = file.metadata().map_err(ImportError::io("read the size of", path))?.len();
        let source = BufReader::with_capacity(1 << 18, file);
        let mut reader = TxnLogReader { path: path.to_path_buf(), source, size, offset: 0 };
        // ZooKeeper creates a file before it writes its header.
        if size == 0 {
            return Ok(reader);
        }
        if size < HEADER_BYTES {
            return Err(reader.damaged(0, "the file ends inside its header"));
        }
        let header = reader.take(HEADER_BYTES)?;
        if header.iter().all(|&byte| byte == 0) {
            // Preallocated, and killed before the header.
            reader.offset = 0;
            return Ok(reader);
        }
        if header[..4] != MAGIC {
            return Err(reader.damaged(0, "this is no ZooKeeper transaction log"));
        }
        if header[4..8] != VERSION {
            return Err(reader.damaged(4, "this format of the transaction log is not known"));
        }
        Ok(reader)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn damaged(&self, offset: u64, what: impl Into<String>) -> ImportError {
        ImportError::damaged(&self.path, offset, what)
    }

    /// Reads the next entry.
    pub(super) fn next(&mut self) -> Result<Entry, ImportError> {
        let start = self.offset;
        if self.size - start < 12 {
            return self.end(start, Vec::new());
        }
        let header = self.take(12)?;
        let checksum = i64::from_be_bytes(header[..8].try_into().expect("eight bytes"));
        let length = i32::from_be_bytes(header[8..].try_into().expect("four bytes"));
        if length == 0 {
            // Nothing is an entry of length zero, so this is the space behind the last.
            return self.end(start, header);
        }
        let Ok(length) = u64::try_from(length) else {
            return Err(self.damaged(start, format!("an entry of {length} bytes is impossible")));
        };
        if length > TXN_BYTES_MAX {
            return Err(self.damaged(start, format!("an entry of {length} bytes is impossible")));
        }
        if length + 1 > self.size - self.offset {
            return self.torn(start, checksum, Vec::new());
        }
        let mut bytes = self.take(length + 1)?;
        match bytes.last() {
            Some(&END_OF_RECORD) if i64::from(Adler32::of(&bytes[..length as usize])) == checksum => {
                bytes.pop();
                Ok(Entry::Txn(start, bytes))
            }
            // Its end was not written.
            Some(0) => self.torn(start, checksum, bytes),
            _ => Err(self.damaged(start, "the entry fails its checksum")),
        }
    }

    /// The entry at `start` lacks its end; `read` was already taken from what follows its length. Either its writer was
    /// stopped, then nothing follows, or its length is wrong.
    fn torn(&mut self, start: u64, checksum: i64, mut rest: Vec<u8>) -> Result<Entry, ImportError> {
        let unread = self.size - self.offset;
        if unread > REST_BYTES_MAX {
            return Err(self.damaged(start, "the entry has no end, and much follows"));
        }
        rest.append(&mut self.take(unread)?);
        let used = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let rest = &rest[..used];
        let whole = rest.split_last().is_some_and(|(&end, content)| {
            end == END_OF_RECORD && i64::from(Adler32::of(content)) == checksum
        });
        if whole || contains_entry(rest) {
            return Err(self.damaged(start, "the entry's length is wrong"));
        }
        Ok(Entry::Torn(start))
    }

    /// The space behind the last entry; `read` was already taken from it.
    fn end(&mut self, start: u64, read: Vec<u8>) -> Result<Entry, ImportError> {
        if let Some(index) = read.iter().position(|&byte| byte != 0) {
            // A checksum without a length.
            return match self.rest_is_empty()? {
                None => Ok(Entry::Torn(start)),
                Some(_) => {
                    Err(self.damaged(start + index as u64, "there is something where the log should end"))
                }
            };
        }
        match self.rest_is_empty()? {
            None => Ok(Entry::End),
            Some(_) if self.size - start < 12 => Ok(Entry::Torn(start)),
            Some(offset) => Err(self.damaged(
                start,
                format!("the log ends here, but goes on at byte {offset}: what was between them is gone"),
            )),
        }
    }

    /// The first byte of the rest that is not zero.
    fn rest_is_empty(&mut self) -> Result<Option<u64>, ImportError> {
        while self.offset < self.size {
            let length = (self.size - self.offset).min(1 << 16);
            let block_offset = self.offset;
            let block = self.take(length)?;
            if let Some(index) = block.iter().position(|&byte| byte != 0) {
                return Ok(Some(block_offset + index as u64));
            }
        }
        Ok(None)
    }

    /// Reads `length` bytes, which the file has.
    fn take(&mut self, length: u64) -> Result<Vec<u8>, ImportError> {
        let mut bytes = vec![0; length as usize];
        self.source.read_exact(&mut bytes).map_err(ImportError::io("read", &self.path))?;
        self.offset += length;
        Ok(bytes)
    }
}

/// Whether a whole entry begins anywhere in these bytes.
fn contains_entry(bytes: &[u8]) -> bool {
    // Enough for any log, and an end to what a made-up one can cost.
    let mut checks_left = 10_000;
    for start in 0..bytes.len().saturating_sub(12) {
        let (checksum, rest) = bytes[start..].split_at(8);
        // The checksum has 32 bits in 64.
        if checksum[..4] != [0; 4] {
            continue;
        }
        let (length, rest) = rest.split_at(4);
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        if length == 0 || rest.get(length) != Some(&END_OF_RECORD) {
            continue;
        }
        if Adler32::of(&rest[..length]).to_be_bytes() == checksum[4..] || checks_left == 0 {
            return true;
        }
        checks_left -= 1;
    }
    false
}
