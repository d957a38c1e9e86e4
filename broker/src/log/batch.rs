//! What a leader checks and changes before records enter the log, and a follower before it repeats them.

use bytes::Bytes;
use client::wire::kafka::batch::{
    Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, NO_TIMESTAMP, TimestampType, batches,
};
use client::wire::kafka::compression::{Codec, CompressionError};

use super::config::{Compression, TopicConfig};
use super::error::AppendError;
use super::segment::NewBatch;

/// Where records come from, and so what is believed of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: everything is checked.
    Client,
    /// This broker's coordinators: markers are allowed, and sequence numbers are not asked for.
    Coordinator,
    /// The leader, who checked them.
    Replication,
}

/// Packing anew holds all records in memory at once, so what unpacks to more is refused.
const REPACK_BYTES_MAX: usize = 256 << 20;

/// The one batch of a produce request, checked.
#[derive(Debug)]
pub struct CheckedBatch {
    pub batch: Batch,
    max_timestamp: i64,
}

/// Checks the records of a produce request, as far as that needs nothing but the topic's settings.
pub fn check_produced(
    records: Bytes,
    config: &TopicConfig,
    now_ms: i64,
    origin: AppendOrigin,
) -> Result<CheckedBatch, AppendError> {
    let mut all = batches(records);
    let batch = all.next().ok_or_else(|| invalid("there are no records"))??;
    if all.next().is_some() {
        return Err(invalid("there is more than one batch"));
    }
    let size = batch.bytes().len();
    if size > config.max_message_bytes {
        return Err(AppendError::TooLarge { size, max: config.max_message_bytes });
    }
    batch.check_crc()?;
    check_header(batch.header(), origin)?;
    let max_timestamp = check_records(&batch, config, now_ms)?;
    Ok(CheckedBatch { batch, max_timestamp })
}

fn invalid(problem: impl Into<String>) -> AppendError {
    AppendError::InvalidRecord(problem.into())
}

fn check_header(header: &BatchHeader, origin: AppendOrigin) -> Result<(), AppendError> {
    if header.record_count <= 0 || header.record_count - 1 != header.last_offset_delta {
        let (count, delta) = (header.record_count, header.last_offset_delta);
        return Err(invalid(format!("a batch of {count} records cannot have last offset delta {delta}")));
    }
    if origin == AppendOrigin::Client {
        if header.base_offset != 0 {
            return Err(invalid(format!(
                "a producer's batch begins at offset 0, not {}",
                header.base_offset
            )));
        }
        if header.attributes.is_control() {
            return Err(invalid("a producer cannot write markers"));
        }
        if header.has_producer() && (header.base_sequence < 0 || header.producer_epoch < 0) {
            return Err(invalid("an idempotent producer's batch has no sequence number or epoch"));
        }
    }
    if header.attributes.has_delete_horizon() {
        return Err(invalid("only the log itself sets when markers may go"));
    }
    Ok(())
}

/// Walks over the records; returns their largest timestamp.
fn check_records(batch: &Batch, config: &TopicConfig, now_ms: i64) -> Result<i64, AppendError> {
    let header = batch.header();
    let by_producer = config.message_timestamp_type == TimestampType::Create;
    if by_producer && header.attributes.timestamp_type() == TimestampType::LogAppend {
        return Err(AppendError::InvalidTimestampType);
    }
    let needs_keys = config.cleanup_policy.compact && !header.attributes.is_control();
    let earliest = now_ms.saturating_sub(config.message_timestamp_before_max_ms);
    let latest = now_ms.saturating_add(config.message_timestamp_after_max_ms);
    let mut max_timestamp = NO_TIMESTAMP;
    for (index, outline) in batch.outlines()?.enumerate() {
        let outline = outline?;
        if usize::try_from(outline.offset_delta) != Ok(index) {
            return Err(invalid(format!(
                "record {index} of the batch has offset delta {}",
                outline.offset_delta
            )));
        }
        if needs_keys && !outline.has_key {
            return Err(invalid(format!(
                "record {index} of the batch has no key, and the topic is compacted"
            )));
        }
        let timestamp = header.base_timestamp.wrapping_add(outline.timestamp_delta);
        let is_allowed = timestamp == NO_TIMESTAMP || (earliest..=latest).contains(&timestamp);
        if by_producer && !is_allowed {
            return Err(AppendError::InvalidTimestamp { index, timestamp, now: now_ms });
        }
        max_timestamp = max_timestamp.max(timestamp);
    }
    Ok(max_timestamp)
}

impl CheckedBatch {
    /// The batch as it enters the log at this offset. Only its header is made anew, unless the topic's codec is another.
    pub fn place(
        &self,
        offset: i64,
        leader_epoch: i32,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<NewBatch, AppendError> {
        let repacked = self.repack(config)?;
        let batch = repacked.as_ref().unwrap_or(&self.batch);
        let payload = batch.payload();
        let mut header = *batch.header();
        if header.size() > config.max_message_bytes {
            return Err(AppendError::TooLarge { size: header.size(), max: config.max_message_bytes });
        }
        header.base_offset = offset;
        header.leader_epoch = leader_epoch;
        if offset.checked_add(i64::from(header.last_offset_delta) + 1).is_none() {
            return Err(invalid("the log has no offsets left"));
        }
        let wanted = match config.message_timestamp_type {
            TimestampType::LogAppend => (TimestampType::LogAppend, now_ms),
            TimestampType::Create => (TimestampType::Create, self.max_timestamp),
        };
        if (header.attributes.timestamp_type(), header.max_timestamp) != wanted {
            header.set_max_timestamp(wanted.0, wanted.1, &payload);
        }
        Ok(NewBatch::new(header, payload))
    }

    fn repack(&self, config: &TopicConfig) -> Result<Option<Batch>, AppendError> {
        let Compression::Fixed(codec, level) = config.compression_type else { return Ok(None) };
        let header = self.batch.header();
        if codec == self.codec()? || header.attributes.is_control() {
            return Ok(None);
        }
        let mut options = BatchOptions { codec, level, ..BatchOptions::of(header).map_err(packing)? };
        // The records' own times are kept, even when the leader's is to be shown.
        options.timestamp_type = TimestampType::Create;
        let mut builder = BatchBuilder::new(options);
        for record in self.batch.records(REPACK_BYTES_MAX)? {
            builder.push_record(&record?);
            if builder.size_unpacked() > REPACK_BYTES_MAX {
                return Err(AppendError::TooLarge { size: builder.size_unpacked(), max: REPACK_BYTES_MAX });
            }
        }
        let mut bytes = builder.build().map_err(packing)?;
        Ok(Some(Batch::split_from(&mut bytes)?))
    }

    fn codec(&self) -> Result<Codec, AppendError> {
        self.batch.header().attributes.codec().map_err(packing)
    }
}

fn packing(error: CompressionError) -> AppendError {
    invalid(error.to_string())
}

/// Checks replicated records: whole batches whose offsets grow from `expected` on. They are not changed.
pub fn check_replicated(records: Bytes, mut expected: i64) -> Result<Vec<Batch>, AppendError> {
    let mut checked = Vec::new();
    for batch in batches(records) {
        let batch = match batch {
            // A fetch ends where its size limit was, and the next one begins with the batch that was cut.
            Err(BatchError::Truncated { .. }) => break,
            batch => batch?,
        };
        batch.check_crc()?;
        let found = batch.header().base_offset;
        if found < expected {
            return Err(AppendError::OutOfOrderOffsets { found, expected });
        }
        expected = batch.header().next_offset();
        checked.push(batch);
    }
    Ok(checked)
}
