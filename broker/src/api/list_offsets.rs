//! Which offset belongs to a point in time?

use client::wire::kafka::ErrorCode;
use client::wire::kafka::messages::list_offsets::*;

use super::Context;
use crate::log::PartitionLog;
use crate::partition::Leadership;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const OF_LARGEST_TIMESTAMP: i64 = -3;
/// Everything is on the local disk here, so these two are what they would be without tiers.
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// What is found: the record's time, its offset, and the epoch it was written in.
type Found = (i64, i64, i32);

/// Whether clients of this version know what such a time means.
fn is_known(timestamp: i64, version: i16) -> bool {
    match timestamp {
        OF_LARGEST_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        timestamp => timestamp >= EARLIEST,
    }
}

pub(super) async fn handle(context: &Context<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed_only = request.isolation_level == 1;
    let is_follower = request.replica_id >= 0;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let found = if is_known(asked.timestamp, context.version()) {
                look_up(context, &topic.name, asked, committed_only, is_follower)
            } else {
                Err(ErrorCode::UNSUPPORTED_VERSION)
            };
            respond(context, asked, found)
        });
        ListOffsetsTopicResponse { partitions: partitions.collect(), name: topic.name }
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn look_up(
    context: &Context<'_>,
    topic: &str,
    asked: &ListOffsetsPartition,
    committed_only: bool,
    is_follower: bool,
) -> Result<Option<Found>, ErrorCode> {
    let broker = context.broker;
    let Some(replica) = broker.replicas.get(topic, asked.partition_index) else {
        let is_known = broker.image().partition(topic, asked.partition_index).is_some();
        return Err(if is_known {
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        });
    };
    let known_epoch = Some(asked.current_leader_epoch).filter(|&epoch| epoch >= 0);
    replica.with_log(known_epoch, |log, leadership| {
        let visible = if is_follower {
            log.end_offset()
        } else if committed_only {
            log.last_stable_offset()
        } else {
            leadership.high_watermark()
        };
        if !is_follower && leadership.high_watermark() < leadership.start_offset() {
            // What earlier leaders wrote is not all known to be safe yet.
            return Err(ErrorCode::OFFSET_NOT_AVAILABLE);
        }
        find(log, leadership, asked.timestamp, visible).map_err(|error| replica.storage_error(&error))
    })
}

fn find(
    log: &mut PartitionLog,
    leadership: &Leadership,
    timestamp: i64,
    visible: i64,
) -> Result<Option<Found>, crate::log::LogError> {
    let epoch_now = leadership.state().leader_epoch;
    let found = match timestamp {
        LATEST => return Ok(Some((-1, visible, epoch_now))),
        EARLIEST | EARLIEST_LOCAL => {
            let start = log.log_start_offset();
            return Ok(Some((-1, start, log.epoch_at(start).unwrap_or(epoch_now))));
        }
        LATEST_TIERED => return Ok(None),
        OF_LARGEST_TIMESTAMP => log.offset_of_max_timestamp()?,
        timestamp => log.offset_for_timestamp(timestamp)?,
    };
    let seen = found.filter(|found| found.offset < visible);
    Ok(seen.map(|found| (found.timestamp, found.offset, found.leader_epoch.unwrap_or(-1))))
}

fn respond(
    context: &Context<'_>,
    asked: &ListOffsetsPartition,
    found: Result<Option<Found>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let partition_index = asked.partition_index;
    match found {
        Ok(Some((timestamp, offset, leader_epoch))) => ListOffsetsPartitionResponse {
            partition_index,
            timestamp,
            offset,
            leader_epoch,
            old_style_offsets: if context.version() == 0 { vec![offset] } else { Vec::new() },
            ..Default::default()
        },
        Ok(None) => ListOffsetsPartitionResponse { partition_index, ..Default::default() },
        Err(error_code) => ListOffsetsPartitionResponse { partition_index, error_code, ..Default::default() },
    }
}
