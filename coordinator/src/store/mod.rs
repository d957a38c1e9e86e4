//! Keeps what was agreed: a log of opaque commands, each known by its zxid, and snapshots of opaque chunks.
//!
//! A start goes through [`Recovery`]: snapshot, records, then the [`Log`]. The log moves to its own thread
//! ([`LogHandle`]), which makes many commands durable with one sync and tells when. Snapshots have a thread too
//! ([`SnapshotHandle`]); a finished one lets old files go ([`Retention`]). A third ([`CourierHandle`]) reads records and
//! carries snapshots for other members. `docs/storage.md` describes the files byte by byte and says what every kind of
//! damage leads to.

mod change;
mod courier;
mod disk;
mod epochs;
mod error;
mod log;
mod position;
mod reader;
mod record;
mod recovery;
mod reread;
mod retention;
mod salvage;
mod segment;
mod snapshot;
mod snapshotter;
mod tail;
mod transfer;
mod writer;

#[cfg(test)]
mod tests;

pub use courier::{CourierBusy, CourierEvent, CourierHandle, ReaderId};
pub use disk::{Disk, DiskFile, RealDisk, is_full};
pub use epochs::Epochs;
pub use error::StoreError;
pub use log::{Flushed, Log, LogOptions};
pub use reader::LogReader;
pub use recovery::{Recovery, RecoveryReport, prepare_for_snapshot};
pub use reread::reread;
pub use retention::Retention;
pub use salvage::{Salvaged, salvage};
pub use snapshot::{SnapshotId, SnapshotReader, SnapshotSummary, SnapshotWriter};
pub use snapshotter::{SnapshotEvent, SnapshotHandle};
pub use transfer::{PIECE_BYTES, SnapshotReceiver, SnapshotSource};
pub use writer::{LogEvent, LogHandle, QueueFull};

/// The longest command that the log takes, encoded.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// The longest chunk that a snapshot takes, before compression.
pub const CHUNK_BYTES_MAX: usize = 64 << 20;
