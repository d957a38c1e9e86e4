//! Records go into the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use client::wire::kafka::messages::produce::*;
use client::wire::kafka::{ErrorCode, Reader, Records};

use super::{Context, Reply, append_error, metadata, read, write};
use crate::log::{AppendInfo, AppendOrigin};
use crate::net::connection::Ended;
use crate::replicas::{AppendFailure, Replica};
use crate::server::clock;
use crate::server::metrics::add;

/// Record batches of format 2 came with this version of the request; clients older than that have none.
const FIRST_VERSION_OF_BATCHES: i16 = 3;
/// Where the low byte of a batch's attributes is, and the bit in it that makes the batch part of a transaction.
const ATTRIBUTES: usize = 22;
const TRANSACTIONAL: u8 = 0x10;
/// Where the id of a batch's producer is; negative if it has none.
const PRODUCER_ID: usize = 43;
/// zstd came later.
const FIRST_VERSION_OF_ZSTD: i16 = 7;

pub(super) async fn handle(context: &Context<'_>, reader: Reader) -> Result<Reply, Ended> {
    let request: ProduceRequest = read(context, reader)?;
    let acks = request.acks;
    let mut response = context.throttle.timed(append_all(context, request)).await;
    context.charge_produced();
    response.throttle_time_ms = context.charge_time();
    if acks != 0 {
        return write(context, &response);
    }
    // Nobody waits for an answer, so the only way to say that something went wrong is to hang up.
    let failed = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match failed.map(|partition| partition.error_code).find(|&code| code != ErrorCode::NONE) {
        Some(code) => {
            Err(Ended::Refused(format!("records sent with acks=0 were refused: {}", code.message())))
        }
        None => Ok(Reply::Nothing),
    }
}

async fn append_all(context: &Context<'_>, request: ProduceRequest) -> ProduceResponse {
    let refusal = refusal(context, &request);
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
        for partition in topic.partition_data {
            let index = partition.index;
            let size = partition.records.as_ref().map_or(0, |records| records.len() as u64);
            let result = match refusal {
                Some(code) => Err((code, None)),
                None => append(context, &topic.name, partition, request.acks).await,
            };
            partition_responses.push(respond(context, &topic.name, index, size, result));
        }
        responses.push(TopicProduceResponse { name: topic.name, partition_responses });
    }
    ProduceResponse { responses, ..Default::default() }
}

/// What is wrong with the request as a whole.
fn refusal(context: &Context<'_>, request: &ProduceRequest) -> Option<ErrorCode> {
    if !(-1..=1).contains(&request.acks) {
        return Some(ErrorCode::INVALID_REQUIRED_ACKS);
    }
    if context.version() < FIRST_VERSION_OF_BATCHES {
        return Some(ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT);
    }
    let mut seen = BTreeSet::new();
    let mut partitions = request.topic_data.iter().flat_map(|topic| {
        topic.partition_data.iter().map(move |partition| (topic.name.as_str(), partition.index))
    });
    if !partitions.all(|partition| seen.insert(partition)) {
        return Some(ErrorCode::INVALID_REQUEST);
    }
    // This release has no transactions, so no transactional id belongs to any producer. A batch without a producer is in
    // no transaction whatever it says, but somebody must be named.
    let is_anonymous = request.transactional_id.is_none();
    let mut records = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_refused = records.any(|partition| {
        has_attribute(partition, TRANSACTIONAL) && (is_anonymous || has_producer(partition))
    });
    is_refused.then_some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
}

/// Whether the first batch names a producer.
fn has_producer(partition: &PartitionProduceData) -> bool {
    let Some(Records::Bytes(records)) = &partition.records else { return false };
    records.get(PRODUCER_ID).is_some_and(|sign| sign & 0x80 == 0)
}

/// Whether the low byte of the first batch's attributes has this bit.
fn has_attribute(partition: &PartitionProduceData, bit: u8) -> bool {
    let Some(Records::Bytes(records)) = &partition.records else { return false };
    records.get(ATTRIBUTES).is_some_and(|attributes| attributes & bit != 0)
}

type Refusal = (ErrorCode, Option<String>);

async fn append(
    context: &Context<'_>,
    topic: &str,
    partition: PartitionProduceData,
    acks: i16,
) -> Result<AppendInfo, Refusal> {
    let broker = context.broker;
    if metadata::is_internal(topic) {
        return Err((
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            Some(format!("{topic} is written by brokers only")),
        ));
    }
    let records = match partition.records {
        Some(Records::Bytes(records)) => records,
        Some(Records::Hole { .. }) | None => Bytes::new(),
    };
    let Some(replica) = broker.replicas.get(topic, partition.index) else {
        let is_known = broker.image().partition(topic, partition.index).is_some();
        let code =
            if is_known { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        return Err((code, None));
    };
    if context.version() < FIRST_VERSION_OF_ZSTD && is_zstd(&records) {
        return Err((ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, None));
    }
    let size = records.len() as u64;
    broker.metrics.count(topic, |traffic| add(&traffic.produces, 1));
    let appended = replica.append(records, clock::wall_ms(), AppendOrigin::Client, acks == -1);
    let info = appended.map_err(|failure| match failure {
        AppendFailure::Refused(code) => (code, None),
        AppendFailure::Log(error) => (append_error(&error), Some(error.to_string())),
    })?;
    settle(&replica, &info, acks).await?;
    let count = info.last_offset - info.base_offset + 1;
    broker.metrics.count(topic, |traffic| {
        add(&traffic.bytes_in, size);
        add(&traffic.messages_in, count.unsigned_abs());
    });
    Ok(info)
}

/// Syncs what was appended, if its topic wants that.
async fn settle(replica: &Arc<Replica>, info: &AppendInfo, acks: i16) -> Result<(), Refusal> {
    let before_ack = acks != 0 && replica.must_be_durable();
    if !before_ack && !info.is_flush_due {
        return Ok(());
    }
    let (log, offset) = (Arc::clone(replica.log()), info.last_offset + 1);
    let sync = tokio::task::spawn_blocking(move || log.commit(offset, clock::wall_ms()));
    if !before_ack {
        // Nobody waits for it; what fails takes the directory offline.
        return Ok(());
    }
    match sync.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err((replica.storage_error(&error), Some(error.to_string()))),
        Err(_) => Err((ErrorCode::KAFKA_STORAGE_ERROR, None)),
    }
}

/// The codec is in the last three bits of the attributes, 4 is zstd.
fn is_zstd(records: &[u8]) -> bool {
    records.get(ATTRIBUTES).is_some_and(|attributes| attributes & 7 == 4)
}

fn respond(
    context: &Context<'_>,
    topic: &str,
    index: i32,
    size: u64,
    result: Result<AppendInfo, Refusal>,
) -> PartitionProduceResponse {
    match result {
        Ok(info) => PartitionProduceResponse {
            index,
            base_offset: info.base_offset,
            log_append_time_ms: info.log_append_time.unwrap_or(-1),
            log_start_offset: info.log_start_offset,
            ..Default::default()
        },
        Err((error_code, message)) => {
            context.broker.metrics.count_failure(Some(topic), |traffic| {
                add(&traffic.produces_failed, 1);
                if error_code == ErrorCode::MESSAGE_TOO_LARGE {
                    add(&traffic.bytes_rejected, size);
                }
            });
            PartitionProduceResponse {
                index,
                error_code,
                base_offset: -1,
                error_message: message.map(Into::into),
                current_leader: current_leader(context, topic, index, error_code),
                ..Default::default()
            }
        }
    }
}

/// Whom to ask instead.
fn current_leader(context: &Context<'_>, topic: &str, index: i32, code: ErrorCode) -> LeaderIdAndEpoch {
    if code != ErrorCode::NOT_LEADER_OR_FOLLOWER {
        return LeaderIdAndEpoch::default();
    }
    let image = context.broker.image();
    match image.partition(topic, index) {
        Some(partition) => {
            LeaderIdAndEpoch { leader_id: partition.state.leader, leader_epoch: partition.state.leader_epoch }
        }
        None => LeaderIdAndEpoch::default(),
    }
}
