//! What can go wrong with an import.

use std::io;
use std::path::{Path, PathBuf};

/// Why a ZooKeeper data directory could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        action: &'static str,
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// There is nothing to import.
    #[error("{} holds no ZooKeeper data: neither snapshots nor transaction logs were found there or in its version-2 folder", .0.display())]
    NoData(PathBuf),
    /// A file does not say what ZooKeeper wrote to it.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Damaged { file: PathBuf, offset: u64, what: String },
    /// Files are sound, but some are missing.
    #[error("{0}")]
    Incomplete(String),
}

impl ImportError {
    pub(super) fn damaged(file: &Path, offset: u64, what: impl Into<String>) -> ImportError {
        ImportError::Damaged { file: file.to_path_buf(), offset, what: what.into() }
    }

    pub(super) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> ImportError {
        move |source| ImportError::Io { action, file: file.to_path_buf(), source }
    }
}
