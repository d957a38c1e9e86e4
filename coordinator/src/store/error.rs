//! What can go wrong with storage, in words for whoever has to act on it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::disk;

/// A failure of storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process uses the directory.
    #[error("data directory {} is in use by another process{}", dir.display(), Holder(*holder))]
    Locked { dir: PathBuf, holder: Option<u32> },
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        action: &'static str,
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file does not say what was written to it, and going on would lose acknowledged writes.
    #[error("{} is damaged at byte {offset}: {what}. {advice}", file.display())]
    Damaged { file: PathBuf, offset: u64, what: String, advice: &'static str },
    /// The storage thread ended without being asked to.
    #[error("storage thread failed: {0}")]
    Thread(String),
}

/// What to do about damage that no other file makes good.
pub(super) const RESTORE: &str = "The server refuses to start with less than it acknowledged: put back this file from a \
     backup, or move the whole directory away to start empty";

impl StoreError {
    /// Whether space ran out, which may pass without a restart.
    pub fn is_full(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if disk::is_full(source))
    }
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}
