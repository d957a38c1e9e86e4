//! How far have groups read?

use std::collections::BTreeMap;

use client::wire::kafka::messages::offset_commit::*;
use client::wire::kafka::messages::offset_delete::*;
use client::wire::kafka::messages::offset_fetch::*;
use client::wire::kafka::{ErrorCode, Str};

use super::Context;
use super::groups::text;
use crate::group::{Answer, Commit, CommitOffsets, Committed, Voice};

pub(super) async fn commit(context: &Context<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let broker = context.broker;
    let image = broker.image();
    let mut offsets = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if context.version() > 0 && image.partition(&topic.name, partition.partition_index).is_some() {
                offsets.push(Commit {
                    topic: topic.name.as_str().to_owned(),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: text(&partition.committed_metadata).unwrap_or_default(),
                    retention_ms: Some(request.retention_time_ms).filter(|&ms| ms >= 0),
                });
            }
        }
    }
    let from = Voice {
        group: request.group_id.as_str().to_owned(),
        member: request.member_id.as_str().to_owned(),
        instance: text(&request.group_instance_id),
        generation: request.generation_id_or_member_epoch,
    };
    let mut answers = BTreeMap::new();
    if !offsets.is_empty() {
        let keys: Vec<(String, i32)> =
            offsets.iter().map(|commit| (commit.topic.clone(), commit.partition)).collect();
        let asked = CommitOffsets { from, offsets };
        let answer =
            broker.groups.ask(broker, |groups, now, ticket, out| groups.commit(now, ticket, asked, out));
        let codes = match answer.await {
            Ok(Answer::Committed(codes)) => codes,
            Ok(_) => vec![ErrorCode::UNKNOWN_SERVER_ERROR; keys.len()],
            Err(error) => vec![error; keys.len()],
        };
        answers.extend(keys.into_iter().zip(codes));
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let key = (topic.name.as_str().to_owned(), partition.partition_index);
            // Before version 1 offsets were kept in the coordinator, which nobody has done for ten years.
            let unknown = if context.version() == 0 {
                ErrorCode::UNSUPPORTED_VERSION
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            OffsetCommitResponsePartition {
                partition_index: key.1,
                error_code: answers.get(&key).copied().unwrap_or(unknown),
            }
        });
        OffsetCommitResponseTopic { partitions: partitions.collect(), name: topic.name }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// What a group asks for: partitions by topic, or everything.
type Asked = Option<Vec<(Str, Vec<i32>)>>;

/// By topic, what is known of each partition.
type Found = Vec<(Str, Vec<(i32, Option<Committed>)>)>;

pub(super) async fn fetch(context: &Context<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.version() >= 8 {
        let groups = request.groups.into_iter().map(|group| {
            let asked: Asked = group.topics.map(|topics| {
                topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
            });
            fetch_of_one(context, group.group_id, asked)
        });
        return OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
    }
    let asked: Asked = request
        .topics
        .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
    let (found, error_code) = look_up(context, &request.group_id, asked);
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, committed)| {
            let (committed_offset, committed_leader_epoch, metadata) = said(committed);
            // Before version 2 an error had no place of its own.
            let error_code = if context.version() < 2 { error_code } else { ErrorCode::NONE };
            OffsetFetchResponsePartition {
                partition_index,
                committed_offset,
                committed_leader_epoch,
                metadata,
                error_code,
            }
        });
        OffsetFetchResponseTopic { name, partitions: partitions.collect() }
    });
    OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() }
}

fn fetch_of_one(context: &Context<'_>, group_id: Str, asked: Asked) -> OffsetFetchResponseGroup {
    let (found, error_code) = look_up(context, &group_id, asked);
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, committed)| {
            let (committed_offset, committed_leader_epoch, metadata) = said(committed);
            let error_code = ErrorCode::NONE;
            OffsetFetchResponsePartitions {
                partition_index,
                committed_offset,
                committed_leader_epoch,
                metadata,
                error_code,
            }
        });
        OffsetFetchResponseTopics { name, partitions: partitions.collect() }
    });
    let topics = if error_code == ErrorCode::NONE { topics.collect() } else { Vec::new() };
    OffsetFetchResponseGroup { group_id, topics, error_code }
}

/// What is known; with an error, nothing of whatever was asked for by name.
fn look_up(context: &Context<'_>, group: &str, asked: Asked) -> (Found, ErrorCode) {
    let groups = &context.broker.groups;
    let Some(asked) = asked else {
        return match groups.look(|groups| groups.offsets(group, None)) {
            Ok(all) => {
                let mut by_topic: BTreeMap<String, Vec<(i32, Option<Committed>)>> = BTreeMap::new();
                for (topic, partition, committed) in all {
                    by_topic.entry(topic).or_default().push((partition, committed));
                }
                (by_topic.into_iter().map(|(topic, found)| (topic.into(), found)).collect(), ErrorCode::NONE)
            }
            Err(error) => (Vec::new(), error),
        };
    };
    let mut error_code = ErrorCode::NONE;
    let mut found = Vec::with_capacity(asked.len());
    for (topic, partitions) in asked {
        let keys: Vec<(String, i32)> =
            partitions.iter().map(|&partition| (topic.as_str().to_owned(), partition)).collect();
        let known = match groups.look(|groups| groups.offsets(group, Some(&keys))) {
            Ok(known) => known.into_iter().map(|(_, partition, committed)| (partition, committed)).collect(),
            Err(error) => {
                error_code = error;
                partitions.iter().map(|&partition| (partition, None)).collect()
            }
        };
        found.push((topic, known));
    }
    (found, error_code)
}

/// Offset, epoch and metadata, as an answer has them.
fn said(committed: Option<Committed>) -> (i64, i32, Option<Str>) {
    match committed {
        Some(committed) => {
            (committed.offset, committed.leader_epoch, Some(committed.metadata.as_str().into()))
        }
        None => (-1, -1, Some(Str::default())),
    }
}

pub(super) async fn delete(context: &Context<'_>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let broker = context.broker;
    let image = broker.image();
    let keys: Vec<(String, i32)> = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| (topic.name.as_str().to_owned(), partition.partition_index))
        })
        .filter(|(topic, partition)| image.partition(topic, *partition).is_some())
        .collect();
    let mut refused = None;
    let answer = broker.groups.ask(broker, |groups, _, ticket, out| {
        if let Err(error) = groups.delete_offsets(ticket, &request.group_id, &keys, out) {
            refused = Some(error);
            out.push(crate::group::Effect::Answer(ticket, Answer::Deleted(Vec::new())));
        }
    });
    let codes = match answer.await {
        Ok(Answer::Deleted(codes)) => codes,
        Ok(_) => Vec::new(),
        Err(error_code) => return OffsetDeleteResponse { error_code, ..Default::default() },
    };
    if let Some(error_code) = refused {
        return OffsetDeleteResponse { error_code, ..Default::default() };
    }
    let answers: BTreeMap<(String, i32), ErrorCode> = keys.into_iter().zip(codes).collect();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let key = (topic.name.as_str().to_owned(), partition.partition_index);
            let error_code = answers.get(&key).copied().unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            OffsetDeleteResponsePartition { partition_index: key.1, error_code }
        });
        OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}
