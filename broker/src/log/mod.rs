//! APPEND: how a partition's records lie on disk, in the files that Kafka 3.9 writes.
//!
//! A [`LogManager`] owns the data directories; in them, each partition has a directory of segments, seen as one
//! [`PartitionLog`]. What is appended is checked once ([`batch`]), written with one gathered write ([`segment`]) and
//! found again by sparse indexes ([`index`]). What a producer sent before, and may therefore not send again, is
//! remembered in [`producers`]; who led when, in [`epochs`].
//!
//! Nothing here reads a clock: whoever calls says what time it is.

pub mod batch;
pub mod checkpoint;
pub mod compaction;
pub mod config;
mod copying;
pub mod disk;
pub mod epochs;
pub mod error;
pub mod flush;
pub mod future;
pub mod index;
mod log_dir;
pub mod manager;
pub mod partition_log;
pub mod producers;
mod reading;
mod recovery;
mod retention;
pub mod scan;
pub mod segment;
mod shared_log;
mod truncation;
pub mod txn_index;

pub use batch::AppendOrigin;
pub use config::{CleanupPolicy, Compression, TopicConfig};
pub use disk::{Disk, DiskFile, Folder, RealDisk};
pub use error::{AppendError, LogError, ReadError};
pub use flush::{FlushJob, Flushed, GroupCommit};
pub use future::FutureLog;
pub use log_dir::{Flushes, LogDir};
pub use manager::{CleanerReport, Intervals, LogManager, MoveError};
pub use partition_log::{AppendInfo, LoadOptions, PartitionLog, TopicPartition};
pub use reading::TimestampAndOffset;
pub use recovery::Recovered;
pub use segment::FileRange;
pub use shared_log::SharedLog;
