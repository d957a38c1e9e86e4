//! Who leads what, and where are they?

use std::collections::BTreeSet;
use std::time::Duration;

use client::wire::kafka::messages::metadata::*;
use client::wire::kafka::{ErrorCode, Str};

use super::acls::Operations;
use super::{Context, topics};
use crate::cluster::OFFSETS_TOPIC;
use crate::cluster::{Image, NO_LEADER, TopicImage};

/// How long a topic that is made on demand may take to have leaders; the client asks again after that.
const CREATION_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn handle(context: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
    let wants_all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version() == 0,
    };
    let asked = request.topics.unwrap_or_default();
    if context.broker.config.topics.auto_create && request.allow_auto_topic_creation {
        create_missing(context, &asked).await;
    }
    let image = context.broker.image();
    let mut topics: Vec<_> = if wants_all {
        image.topics.iter().map(|(name, topic)| describe(context, &image, name, topic)).collect()
    } else {
        let mut seen = BTreeSet::new();
        let once = asked.iter().filter(|topic| seen.insert((topic.name.as_deref(), topic.topic_id)));
        once.map(|topic| find(context, &image, topic)).collect()
    };
    for topic in &mut topics {
        topic.topic_authorized_operations =
            Operations::Topic.if_asked(request.include_topic_authorized_operations);
    }
    MetadataResponse {
        brokers: brokers(context, &image),
        cluster_id: Some(context.broker.cluster_id.as_str().into()),
        controller_id: image.controller.unwrap_or(-1),
        topics,
        cluster_authorized_operations: Operations::Cluster
            .if_asked(request.include_cluster_authorized_operations),
        ..Default::default()
    }
}

/// Makes topics that were asked for and do not exist.
async fn create_missing(context: &Context<'_>, asked: &[MetadataRequestTopic]) {
    let image = context.broker.image();
    let named =
        asked.iter().filter(|topic| topic.topic_id.is_zero()).filter_map(|topic| topic.name.as_deref());
    let missing: Vec<String> = named
        .filter(|name| !image.topics.contains_key(*name) && topics::check_name(name).is_ok())
        // Without transactions it would be a topic like any other, and in the way later.
        .filter(|name| *name == OFFSETS_TOPIC || !is_internal(name))
        .map(str::to_owned)
        .collect();
    for name in missing {
        let settings = if name == OFFSETS_TOPIC {
            topics::NewTopic::offsets(context.broker)
        } else {
            topics::NewTopic::default()
        };
        topics::create_and_wait(context.broker, &name, settings, CREATION_WITHIN).await;
    }
}

fn brokers(context: &Context<'_>, image: &Image) -> Vec<MetadataResponseBroker> {
    let describe = |(&id, broker): (&i32, &crate::cluster::Broker)| {
        let endpoint = broker.endpoints.iter().find(|at| *at.listener == *context.peer.listener)?;
        Some(MetadataResponseBroker {
            node_id: id,
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Into::into),
        })
    };
    image.brokers.iter().filter_map(describe).collect()
}

fn find(context: &Context<'_>, image: &Image, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
    // Java's clients send an empty name beside an id.
    let asked_name = asked.name.as_ref().filter(|_| asked.topic_id.is_zero());
    let missing = |error_code| MetadataResponseTopic {
        error_code,
        name: asked_name.cloned().or_else(|| (context.version() < 12).then(Str::default)),
        topic_id: asked.topic_id,
        ..Default::default()
    };
    match asked_name {
        Some(name) => match image.topics.get(name.as_str()) {
            Some(topic) => describe(context, image, name, topic),
            None if topics::check_name(name).is_err() => missing(ErrorCode::INVALID_TOPIC_EXCEPTION),
            None => missing(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        },
        None => match image.name_of(asked.topic_id).and_then(|name| Some((name, image.topics.get(name)?))) {
            Some((name, topic)) => describe(context, image, name, topic),
            None => missing(ErrorCode::UNKNOWN_TOPIC_ID),
        },
    }
}

fn describe(context: &Context<'_>, image: &Image, name: &str, topic: &TopicImage) -> MetadataResponseTopic {
    let is_live = |broker: i32| image.endpoint(broker, &context.peer.listener).is_some();
    let partitions = topic.partitions.iter().map(|(&partition_index, partition)| {
        let state = &partition.state;
        let error_code = if state.leader == NO_LEADER || !image.brokers.contains_key(&state.leader) {
            ErrorCode::LEADER_NOT_AVAILABLE
        } else if !is_live(state.leader) {
            if context.version() >= 6 {
                ErrorCode::LISTENER_NOT_FOUND
            } else {
                ErrorCode::LEADER_NOT_AVAILABLE
            }
        } else {
            ErrorCode::NONE
        };
        MetadataResponsePartition {
            error_code,
            partition_index,
            leader_id: if error_code == ErrorCode::NONE { state.leader } else { NO_LEADER },
            leader_epoch: state.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes: state.isr.clone(),
            offline_replicas: partition
                .replicas
                .iter()
                .copied()
                .filter(|&replica| !is_live(replica))
                .collect(),
        }
    });
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(name.into()),
        topic_id: topic.id,
        is_internal: is_internal(name),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

/// Topics that brokers keep for themselves.
pub(super) fn is_internal(name: &str) -> bool {
    name == OFFSETS_TOPIC || name == "__transaction_state"
}
