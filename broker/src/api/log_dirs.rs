//! Which partitions lie in which data directory, and in which shall they?

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use client::wire::kafka::messages::alter_replica_log_dirs::*;
use client::wire::kafka::messages::describe_log_dirs::*;
use client::wire::kafka::{ErrorCode, Str};

use super::Context;
use crate::log::{LogDir, LogManager, MoveError, PartitionLog, TopicPartition};
use crate::server::{Broker, clock};

/// Moves partitions to other directories, or lets them stay where they are.
pub(super) async fn alter(
    context: &Context<'_>,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let mut moves = Vec::new();
    for dir in request.dirs {
        for topic in dir.topics {
            for partition in topic.partitions {
                let path = PathBuf::from(dir.path.as_str());
                moves.push((TopicPartition { topic: topic.name.as_str().to_owned(), partition }, path));
            }
        }
    }
    let broker = Arc::clone(context.broker);
    let names: Vec<TopicPartition> = moves.iter().map(|(name, _)| name.clone()).collect();
    // The first files of a copy are made before the answer.
    let moved = tokio::task::spawn_blocking(move || {
        moves.iter().map(|(name, path)| begin_to_move(&broker, name, path)).collect::<Vec<ErrorCode>>()
    });
    let codes = moved.await.unwrap_or_else(|_| vec![ErrorCode::UNKNOWN_SERVER_ERROR; names.len()]);
    let mut topics: BTreeMap<String, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
    for (name, code) in names.into_iter().zip(codes) {
        topics.entry(name.topic).or_default().insert(name.partition, code);
    }
    let results = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, error_code)| {
            AlterReplicaLogDirPartitionResult { partition_index, error_code }
        });
        let (topic_name, partitions) = (Str::from(name.as_str()), partitions.collect());
        AlterReplicaLogDirTopicResult { topic_name, partitions }
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() }
}

fn begin_to_move(broker: &Broker, name: &TopicPartition, path: &Path) -> ErrorCode {
    let logs = broker.replicas.logs();
    // Only of partitions that there are is it noted where they are wanted.
    let is_known = broker.image().partition(&name.topic, name.partition).is_some();
    let is_here = logs.get(name).is_some();
    let result = if is_known || is_here {
        logs.move_to(name, path, clock::wall_ms())
    } else if logs.dirs().iter().any(|dir| dir.path() == path) {
        return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    } else {
        Err(MoveError::NoSuchDir { dir: path.display().to_string() })
    };
    let Err(error) = result else { return ErrorCode::NONE };
    tracing::warn!(partition = %name, to = %path.display(), %error, "the partition is not moved");
    match error {
        MoveError::NoSuchDir { .. } => ErrorCode::LOG_DIR_NOT_FOUND,
        MoveError::NameTooLong => ErrorCode::INVALID_TOPIC_EXCEPTION,
        MoveError::NotHere => ErrorCode::REPLICA_NOT_AVAILABLE,
        MoveError::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// How full the data directories are, and with what.
pub(super) async fn describe(
    context: &Context<'_>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let logs = Arc::clone(context.broker.replicas.logs());
    let wanted: Option<BTreeSet<TopicPartition>> = request.topics.map(|topics| {
        let names = topics.into_iter().flat_map(|topic| {
            let name = topic.topic.as_str().to_owned();
            topic
                .partitions
                .into_iter()
                .map(move |partition| TopicPartition { topic: name.clone(), partition })
        });
        names.collect()
    });
    // Asking for the space on a disk may wait for that disk.
    let described = tokio::task::spawn_blocking(move || {
        let mut held = described(&logs);
        held.retain(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(name)));
        logs.dirs().iter().map(|dir| describe_dir(dir, &held)).collect()
    });
    match described.await {
        Ok(results) => DescribeLogDirsResponse { results, ..Default::default() },
        Err(_) => {
            DescribeLogDirsResponse { error_code: ErrorCode::UNKNOWN_SERVER_ERROR, ..Default::default() }
        }
    }
}

/// Each log, and each copy that is to replace one, with the directory where it lies.
type Held = Vec<(TopicPartition, (Arc<LogDir>, DescribeLogDirsPartition))>;

fn described(logs: &LogManager) -> Held {
    let mut held = Held::new();
    let mut ends = BTreeMap::new();
    for (name, shared) in logs.logs() {
        let Ok(log) = shared.lock() else { continue };
        ends.insert(name.clone(), log.end_offset());
        let described = describe_log(&log, log.high_watermark().saturating_sub(log.end_offset()));
        held.push((name, (shared.dir(), described)));
    }
    for (name, future) in logs.futures() {
        let future = future.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(log), Some(end)) = (future.log(), ends.get(&name)) else { continue };
        let described =
            DescribeLogDirsPartition { is_future_key: true, ..describe_log(log, end - log.end_offset()) };
        held.push((name, (Arc::clone(future.dir()), described)));
    }
    held
}

fn describe_log(log: &PartitionLog, behind: i64) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: log.partition().partition,
        partition_size: i64::try_from(log.size()).unwrap_or(i64::MAX),
        offset_lag: behind.max(0),
        ..Default::default()
    }
}

fn describe_dir(dir: &Arc<LogDir>, held: &Held) -> DescribeLogDirsResult {
    let log_dir = dir.path().to_string_lossy().into_owned().into();
    if dir.failure().is_some() {
        let error_code = ErrorCode::KAFKA_STORAGE_ERROR;
        return DescribeLogDirsResult { log_dir, error_code, ..Default::default() };
    }
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (name, (_, described)) in held.iter().filter(|(_, (place, _))| Arc::ptr_eq(place, dir)) {
        topics.entry(&name.topic).or_default().push(described.clone());
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name: name.into(), partitions });
    let (total_bytes, usable_bytes) = space(dir.path());
    DescribeLogDirsResult {
        log_dir,
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
        ..Default::default()
    }
}

/// The size of the volume, and what of it may still be used; -1 each if the system does not say.
fn space(path: &Path) -> (i64, i64) {
    let Ok(volume) = rustix::fs::statvfs(path) else { return (-1, -1) };
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(volume.f_frsize)).unwrap_or(i64::MAX);
    (bytes(volume.f_blocks), bytes(volume.f_bavail))
}
