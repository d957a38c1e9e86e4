//! What can go wrong with a log, from three sides: the disk's, a producer's, a consumer's.

use std::io;
use std::path::{Path, PathBuf};

use client::wire::kafka::batch::BatchError;

/// The disk failed, or what is on it is not what was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused something.
    #[error("cannot {action} {}", file.display())]
    Io { action: &'static str, file: PathBuf, source: io::Error },
    /// Another process uses the data directory.
    #[error("{} is in use by another process", dir.display())]
    Locked { dir: PathBuf },
    /// A file of ours cannot be understood.
    #[error("{} is not as it should be: {problem}", file.display())]
    Malformed { file: PathBuf, problem: String },
    /// Bytes of a segment are not those that were written, and are needed.
    #[error("{} is damaged at byte {position}: {problem}", file.display())]
    Damaged { file: PathBuf, position: u64, problem: String },
    /// The partition was deleted while somebody still used it.
    #[error("the partition was deleted")]
    Deleted,
    /// The data directory failed before; nothing in it is used until a restart.
    #[error("data directory {} is offline", dir.display())]
    Offline { dir: PathBuf },
}

impl LogError {
    /// Whether the operating system refused something with a file in this directory.
    pub fn is_in(&self, dir: &Path) -> bool {
        matches!(self, LogError::Io { file, .. } if file.starts_with(dir))
    }

    /// Whether space ran out, which may pass, rather than that the disk failed, which may not.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, LogError::Io { source, .. }
            if matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

/// Why records were not appended. Each variant names the Kafka error that a client gets for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// CORRUPT_MESSAGE: the bytes are not those that were sent.
    #[error(transparent)]
    Corrupt(BatchError),
    /// INVALID_RECORD: the bytes arrived well, but make no sense.
    #[error("{0}")]
    InvalidRecord(String),
    /// UNSUPPORTED_FOR_MESSAGE_FORMAT: a format that ended with Kafka 0.11.
    #[error("record format {0} is not supported, only 2 is")]
    UnsupportedFormat(i8),
    /// MESSAGE_TOO_LARGE
    #[error("the batch has {size} bytes, and the topic takes {max}")]
    TooLarge { size: usize, max: usize },
    /// RECORD_LIST_TOO_LARGE
    #[error("the batch has {size} bytes, and a segment of the topic {max}")]
    LargerThanSegment { size: usize, max: u64 },
    /// INVALID_TIMESTAMP
    #[error("timestamp {timestamp} of record {index} is not within what the topic allows at {now}")]
    InvalidTimestamp { index: usize, timestamp: i64, now: i64 },
    /// INVALID_TIMESTAMP: only the leader may say that it set the timestamps.
    #[error("a producer cannot set the append time")]
    InvalidTimestampType,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER
    #[error("producer {producer_id} sent sequence {sequence} behind {last}")]
    OutOfOrderSequence { producer_id: i64, sequence: i32, last: i32 },
    /// INVALID_PRODUCER_EPOCH
    #[error("epoch {epoch} of producer {producer_id} is over, it is at {current}")]
    InvalidProducerEpoch { producer_id: i64, epoch: i16, current: i16 },
    /// INVALID_TXN_STATE
    #[error("producer {producer_id} has a transaction open and sent records outside of it")]
    InvalidTxnState { producer_id: i64 },
    /// TRANSACTION_COORDINATOR_FENCED
    #[error("the transaction coordinator of epoch {epoch} was replaced by that of {current}")]
    CoordinatorFenced { epoch: i32, current: i32 },
    /// Replicated records do not continue this log; the follower must find out where it diverged.
    #[error("records at offset {found} cannot follow those before {expected}")]
    OutOfOrderOffsets { found: i64, expected: i64 },
    /// KAFKA_STORAGE_ERROR
    #[error(transparent)]
    Storage(#[from] LogError),
}

impl From<BatchError> for AppendError {
    fn from(error: BatchError) -> AppendError {
        match error {
            BatchError::Magic(magic @ 0..=1) => AppendError::UnsupportedFormat(magic),
            BatchError::Magic(_) | BatchError::BadLength(_) | BatchError::Crc { .. } => {
                AppendError::Corrupt(error)
            }
            _ => AppendError::InvalidRecord(error.to_string()),
        }
    }
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE
    #[error("offset {offset} is not within {start} and {end}")]
    OutOfRange { offset: i64, start: i64, end: i64 },
    /// KAFKA_STORAGE_ERROR
    #[error(transparent)]
    Storage(#[from] LogError),
}
