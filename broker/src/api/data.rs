//! What lies in partitions?

use std::sync::Arc;

use client::wire::kafka::ErrorCode;
use client::wire::kafka::messages::delete_records::*;
use client::wire::kafka::messages::offset_for_leader_epoch::*;

use super::{Context, metadata};
use crate::log::ReadError;
use crate::replicas::Replica;

/// Stands for the high watermark in a request to delete records.
const EVERYTHING: i64 = -1;

/// Gives up the records before an offset.
pub(super) async fn delete_records(
    context: &Context<'_>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let partition_index = asked.partition_index;
            match delete_before(context, &topic.name, partition_index, asked.offset) {
                Ok(low_watermark) => {
                    DeleteRecordsPartitionResult { partition_index, low_watermark, ..Default::default() }
                }
                Err(error_code) => {
                    DeleteRecordsPartitionResult { partition_index, low_watermark: -1, error_code }
                }
            }
        });
        DeleteRecordsTopicResult { partitions: partitions.collect(), name: topic.name }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

/// Returns where the log starts then.
fn delete_before(context: &Context<'_>, topic: &str, partition: i32, offset: i64) -> Result<i64, ErrorCode> {
    if metadata::is_internal(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let replica = find(context, topic, partition)?;
    replica.with_log(None, |log, leadership| {
        let policy = log.config().cleanup_policy;
        if policy.compact && !policy.delete {
            // What is the newest of a key must stay for as long as the topic does.
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let offset = if offset == EVERYTHING { leadership.high_watermark() } else { offset };
        if offset < 0 {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        log.delete_records_before(offset).map_err(|error: ReadError| replica.read_error(&error))
    })
}

/// The partition, which the request must be for.
fn find(context: &Context<'_>, topic: &str, partition: i32) -> Result<Arc<Replica>, ErrorCode> {
    let broker = context.broker;
    broker.replicas.get(topic, partition).ok_or_else(|| {
        let is_known = broker.image().partition(topic, partition).is_some();
        if is_known { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION }
    })
}

/// Where leaders' epochs ended, so that a reader can find out where its log and this one part.
pub(super) async fn epoch_ends(
    context: &Context<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| epoch_end(context, &topic.topic, asked));
        OffsetForLeaderTopicResult { partitions: partitions.collect(), topic: topic.topic }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn epoch_end(context: &Context<'_>, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let partition = asked.partition;
    let known_epoch = Some(asked.current_leader_epoch).filter(|&epoch| epoch >= 0);
    let found = find(context, topic, partition).and_then(|replica| {
        replica.with_log(known_epoch, |log, _| Ok(log.end_offset_for_epoch(asked.leader_epoch)))
    });
    match found {
        Ok(Some(end)) => EpochEndOffset {
            partition,
            leader_epoch: end.epoch,
            end_offset: end.end_offset,
            ..Default::default()
        },
        // An epoch that this log has not seen: both stay at -1.
        Ok(None) => EpochEndOffset { partition, ..Default::default() },
        Err(error_code) => EpochEndOffset { partition, error_code, ..Default::default() },
    }
}
