//! Records come out of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::wire::kafka::messages::fetch::*;
use client::wire::kafka::{ErrorCode, Reader, Records};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::fetch_session::{Key, Plan, Reading};
use super::{Context, Reply, encode, read};
use crate::cluster::Image;
use crate::log::segment::FileRange;
use crate::net::connection::Ended;
use crate::replicas::{Isolation, Replica};
use crate::server::clock;
use crate::server::metrics::add;

/// Topics are named by id from here on.
const FIRST_VERSION_WITH_IDS: i16 = 13;
/// Older clients do not know zstd.
const FIRST_VERSION_OF_ZSTD: i16 = 10;

/// One partition's answer, and the records that go with it.
struct Answer {
    key: Key,
    data: PartitionData,
    range: Option<FileRange>,
    /// Waiting would not make it more.
    is_final: bool,
}

pub(super) async fn handle(context: &Context<'_>, reader: Reader) -> Result<Reply, Ended> {
    let request: FetchRequest = read(context, reader)?;
    let uses_ids = context.version() >= FIRST_VERSION_WITH_IDS;
    let plan = {
        let mut sessions =
            context.broker.fetch_sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sessions.plan(&request, uses_ids, clock::steady_ms())
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(error_code) => {
            let throttle_time_ms = context.charge_time();
            let response = FetchResponse { error_code, throttle_time_ms, ..Default::default() };
            return super::write(context, &response);
        }
    };
    let answers = context.throttle.timed(wait_and_read(context, &request, &plan)).await;
    let bytes = answers.iter().filter_map(|answer| answer.range.as_ref()).map(|range| range.length).sum();
    if !context.may_fetch(bytes) {
        return too_fast(context, &plan);
    }
    respond(context, &plan, answers, uses_ids)
}

/// The answer to a client that must wait: nothing. A session that has not been told of yet will not be.
fn too_fast(context: &Context<'_>, plan: &Plan) -> Result<Reply, Ended> {
    let session_id = if plan.is_incremental { plan.session } else { 0 };
    if session_id != plan.session {
        let mut sessions =
            context.broker.fetch_sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sessions.end(plan.session);
    }
    let throttle_time_ms = context.wait_ms();
    super::write(context, &FetchResponse { session_id, throttle_time_ms, ..Default::default() })
}

/// Reads until there is enough, or the time is up.
async fn wait_and_read(context: &Context<'_>, request: &FetchRequest, plan: &Plan) -> Vec<Answer> {
    let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into());
    let bytes_min = request.min_bytes.max(0) as u64;
    loop {
        let more = Arc::new(Notify::new());
        let image = context.broker.image();
        if !plan.readings.is_empty() && bytes_min > 0 {
            // Before reading, so that nothing is appended unseen between reading and waiting.
            for replica in
                plan.readings.iter().filter_map(|reading| replica(context, &image, &reading.key).ok())
            {
                replica.wake_when_more(&more);
            }
        }
        let answers = read_all(context, request, plan, &image).await;
        let bytes: u64 =
            answers.iter().filter_map(|answer| answer.range.as_ref()).map(|range| range.length).sum();
        let is_final = answers.iter().any(|answer| answer.is_final);
        let is_over =
            bytes >= bytes_min || is_final || plan.readings.is_empty() || Instant::now() >= deadline;
        if is_over {
            return answers;
        }
        let _waits = Waits::new(&context.broker.metrics.fetches_waiting);
        // The time may be up, which the next look finds.
        let _ = timeout_at(deadline, more.notified()).await;
    }
}

/// Counted while it lives.
struct Waits<'a>(&'a AtomicU64);

impl Waits<'_> {
    fn new(count: &AtomicU64) -> Waits<'_> {
        add(count, 1);
        Waits(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn read_all(context: &Context<'_>, request: &FetchRequest, plan: &Plan, image: &Image) -> Vec<Answer> {
    let bytes_max = (request.max_bytes.max(0) as u64).min(context.broker.config.fetch.bytes_max as u64);
    let bytes_max = bytes_max.min(context.fetch_bytes_max());
    let mut left = bytes_max;
    let mut answers = Vec::with_capacity(plan.readings.len());
    let mut has_records = false;
    for reading in &plan.readings {
        let answer = read_one(context, request, reading, image, left, !has_records).await;
        let answer = answer.unwrap_or_else(|error_code| {
            let topic = name_of(image, &reading.key);
            context.broker.metrics.count_failure(topic, |traffic| add(&traffic.fetches_failed, 1));
            let data = refused(image, reading, error_code);
            Answer { key: reading.key.clone(), data, range: None, is_final: true }
        });
        if let Some(range) = &answer.range {
            has_records = true;
            left = left.saturating_sub(range.length);
        }
        answers.push(answer);
    }
    answers
}

async fn read_one(
    context: &Context<'_>,
    request: &FetchRequest,
    reading: &Reading,
    image: &Image,
    left: u64,
    is_first: bool,
) -> Result<Answer, ErrorCode> {
    let key = reading.key.clone();
    let wanted = &reading.wanted;
    let replica = replica(context, image, &reading.key)?;
    let known_epoch = Some(wanted.current_leader_epoch).filter(|&epoch| epoch >= 0);
    let isolation = if request.isolation_level == 1 { Isolation::Committed } else { Isolation::Uncommitted };
    let bytes_max = (wanted.partition_max_bytes.max(0) as u64).min(left);
    if let Some(data) = diverging(&replica, reading, known_epoch)? {
        return Ok(Answer { key, data, range: None, is_final: true });
    }
    let found = replica.read(wanted.fetch_offset, bytes_max, is_first, known_epoch, isolation)?;
    let range = match found.range {
        Some(range) => verified(&replica, range).await?,
        None => None,
    };
    if context.version() < FIRST_VERSION_OF_ZSTD
        && let Some(range) = &range
        && holds_zstd(range)
    {
        return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }
    let aborted_transactions = (isolation == Isolation::Committed)
        .then(|| aborted(&replica, wanted.fetch_offset, found.last_stable_offset, known_epoch))
        .transpose()?;
    let data = PartitionData {
        high_watermark: found.high_watermark,
        last_stable_offset: found.last_stable_offset,
        log_start_offset: found.log_start_offset,
        aborted_transactions,
        ..empty(reading)
    };
    Ok(Answer { key, data, range, is_final: found.is_behind })
}

/// The topic's name; an id may be of none.
fn name_of<'a>(image: &'a Image, key: &'a Key) -> Option<&'a str> {
    if key.topic_id.is_zero() { Some(&key.topic) } else { image.name_of(key.topic_id) }
}

fn replica(context: &Context<'_>, image: &Image, key: &Key) -> Result<Arc<Replica>, ErrorCode> {
    let name = name_of(image, key).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
    context.broker.replicas.get(name, key.partition).ok_or_else(|| {
        let is_known = image.partition(name, key.partition).is_some();
        if is_known { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION }
    })
}

/// Where the reader's log and ours part, if they do.
fn diverging(
    replica: &Replica,
    reading: &Reading,
    known_epoch: Option<i32>,
) -> Result<Option<PartitionData>, ErrorCode> {
    let wanted = &reading.wanted;
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    replica.with_log(known_epoch, |log, leadership| {
        let Some(end) = log.end_offset_for_epoch(wanted.last_fetched_epoch) else {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        };
        let parts = end.epoch < wanted.last_fetched_epoch || end.end_offset < wanted.fetch_offset;
        Ok(parts.then(|| PartitionData {
            diverging_epoch: EpochEndOffset { epoch: end.epoch, end_offset: end.end_offset },
            high_watermark: leadership.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            log_start_offset: log.log_start_offset(),
            ..empty(reading)
        }))
    })
}

/// Bytes that this process neither wrote nor checked before are checked before they are sent.
async fn verified(replica: &Arc<Replica>, range: FileRange) -> Result<Option<FileRange>, ErrorCode> {
    let checked = if range.is_verified() {
        Ok(range)
    } else {
        let verify = tokio::task::spawn_blocking(move || range.verify());
        verify.await.map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?
    };
    let range = checked.map_err(|error| replica.storage_error(&error))?;
    Ok((range.length > 0).then_some(range))
}

fn holds_zstd(range: &FileRange) -> bool {
    let mut header = [0; 23];
    range.file().read_exact_at(&mut header, range.position).is_ok() && header[22] & 7 == 4
}

fn aborted(
    replica: &Replica,
    from: i64,
    up_to: i64,
    known_epoch: Option<i32>,
) -> Result<Vec<AbortedTransaction>, ErrorCode> {
    replica.with_log(known_epoch, |log, _| {
        let aborted = log.aborted_transactions(from, up_to).into_iter();
        Ok(aborted
            .map(|txn| AbortedTransaction { producer_id: txn.producer_id, first_offset: txn.first_offset })
            .collect())
    })
}

fn empty(reading: &Reading) -> PartitionData {
    PartitionData {
        partition_index: reading.key.partition,
        records: Some(Records::default()),
        ..Default::default()
    }
}

fn refused(image: &Image, reading: &Reading, error_code: ErrorCode) -> PartitionData {
    let moved = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH].contains(&error_code);
    let partition = name_of(image, &reading.key)
        .filter(|_| moved)
        .and_then(|name| image.partition(name, reading.key.partition));
    let current_leader = partition.map_or_else(LeaderIdAndEpoch::default, |partition| LeaderIdAndEpoch {
        leader_id: partition.state.leader,
        leader_epoch: partition.state.leader_epoch,
    });
    PartitionData { error_code, high_watermark: -1, current_leader, ..empty(reading) }
}

/// The answer, with holes where the records go.
fn respond(context: &Context<'_>, plan: &Plan, answers: Vec<Answer>, uses_ids: bool) -> Result<Reply, Ended> {
    let (image, metrics) = (context.broker.image(), &context.broker.metrics);
    let mut ranges = std::collections::BTreeMap::new();
    let mut said: Vec<(Key, PartitionData)> = Vec::with_capacity(answers.len());
    for Answer { key, mut data, range, .. } in answers {
        let topic = name_of(&image, &key);
        match topic.filter(|_| data.error_code == ErrorCode::NONE) {
            Some(topic) => metrics.count(topic, |traffic| {
                add(&traffic.fetches, 1);
                add(&traffic.bytes_out, range.as_ref().map_or(0, |range| range.length));
            }),
            None => metrics.count_failure(topic, |traffic| add(&traffic.fetches, 1)),
        }
        if let Some(range) = range {
            data.records = Some(Records::Hole { length: range.length as u32 });
            ranges.insert(key.clone(), range);
        }
        said.push((key, data));
    }
    if plan.session != 0 {
        let mut sessions =
            context.broker.fetch_sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sessions.told(plan.session, &mut said, plan.is_incremental);
    }
    let mut files = Vec::new();
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    for (key, data) in said {
        files.extend(ranges.remove(&key));
        let same = |topic: &&mut FetchableTopicResponse| {
            if uses_ids { topic.topic_id == key.topic_id } else { *topic.topic == *key.topic }
        };
        match responses.last_mut().filter(same) {
            Some(topic) => topic.partitions.push(data),
            None => responses.push(FetchableTopicResponse {
                topic: key.topic.as_str().into(),
                topic_id: key.topic_id,
                partitions: vec![data],
            }),
        }
    }
    let response = FetchResponse { session_id: plan.session, responses, ..Default::default() };
    encode(context, &response, context.version(), files)
}
