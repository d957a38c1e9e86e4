//! What a topic's settings mean to its logs.

use client::wire::kafka::batch::TimestampType;
use client::wire::kafka::compression::Codec;

/// How old records leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments are dropped.
    pub delete: bool,
    /// Of each key the newest record is kept.
    pub compact: bool,
}

/// How records are packed on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As the producer did.
    Producer,
    /// With this codec, at this level if it has any; batches that come otherwise are packed anew.
    Fixed(Codec, Option<i32>),
}

/// A topic's settings, by Kafka's names. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression_type: Compression,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    /// Records after which the log is synced.
    pub flush_messages: i64,
    /// The longest that a record may be unsynced.
    pub flush_ms: i64,
    /// Whether an acknowledgement waits for the sync. Not one of Kafka's.
    pub flush_before_ack: bool,
    pub index_interval_bytes: u64,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: usize,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    /// `None`: any number of bytes.
    pub retention_bytes: Option<u64>,
    /// `None`: for ever.
    pub retention_ms: Option<i64>,
    pub segment_bytes: u64,
    pub segment_index_bytes: u64,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
}

const HOUR_MS: i64 = 60 * 60 * 1000;

impl Default for TopicConfig {
    /// Kafka's defaults.
    fn default() -> TopicConfig {
        TopicConfig {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            compression_type: Compression::Producer,
            delete_retention_ms: 24 * HOUR_MS,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            flush_before_ack: false,
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            message_timestamp_type: TimestampType::Create,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            retention_bytes: None,
            retention_ms: Some(7 * 24 * HOUR_MS),
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: 7 * 24 * HOUR_MS,
        }
    }
}
