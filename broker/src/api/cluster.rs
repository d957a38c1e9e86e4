//! Who is in the cluster, who should lead, and what is on the move?

use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::messages::alter_partition_reassignments::*;
use client::wire::kafka::messages::describe_cluster::*;
use client::wire::kafka::messages::elect_leaders::*;
use client::wire::kafka::messages::list_partition_reassignments::*;
use client::wire::kafka::{ErrorCode, Str};

use super::Context;
use super::acls::Operations;
use crate::cluster::{Assignment, Image};
use crate::controller::{Answer, PartitionName};
use crate::registry::RegistryError;
use crate::server::controlling::Request;

/// Brokers rather than controllers, which a client can ask for where these are servers of their own.
const BROKERS: i8 = 1;

pub(super) async fn describe(
    context: &Context<'_>,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
            error_message: Some("this cluster has no listeners of controllers".into()),
            endpoint_type: request.endpoint_type,
            ..Default::default()
        };
    }
    let image = context.broker.image();
    let brokers = image.brokers.iter().filter_map(|(&broker_id, broker)| {
        let endpoint = image.endpoint(broker_id, &context.peer.listener)?;
        Some(DescribeClusterBroker {
            broker_id,
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Into::into),
        })
    });
    DescribeClusterResponse {
        cluster_id: context.broker.cluster_id.as_str().into(),
        controller_id: image.controller.unwrap_or(-1),
        brokers: brokers.collect(),
        cluster_authorized_operations: Operations::Cluster
            .if_asked(request.include_cluster_authorized_operations),
        ..Default::default()
    }
}

/// The preferred replica leads.
const PREFERRED: i8 = 0;
/// Any replica leads, even one that lacks records.
const UNCLEAN: i8 = 1;

pub(super) async fn elect_leaders(
    context: &Context<'_>,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let wants_all = request.topic_partitions.is_none();
    let asked: Option<Vec<PartitionName>> = request.topic_partitions.map(|topics| {
        let names = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|&partition| (topic.topic.as_str().to_owned(), partition))
        });
        names.collect()
    });
    let elected = match request.election_type {
        PREFERRED => elect(context, Request::Prefer(asked.clone())).await,
        UNCLEAN => elect(context, Request::ElectAnybody(asked.clone())).await,
        _ => Err(ErrorCode::INVALID_REQUEST),
    };
    let (error_code, results) = match elected {
        Ok(results) => (ErrorCode::NONE, results),
        Err(code) => (code, asked.unwrap_or_default().into_iter().map(|name| (name, code)).collect()),
    };
    let mut topics: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
    for ((topic, partition_id), error_code) in results {
        if wants_all && error_code == ErrorCode::ELECTION_NOT_NEEDED {
            continue;
        }
        let error_message = (error_code != ErrorCode::NONE).then(|| error_code.message().into());
        let result = PartitionResult { partition_id, error_code, error_message };
        topics.entry(topic).or_default().push(result);
    }
    let results = topics
        .into_iter()
        .map(|(topic, partition_result)| ReplicaElectionResult { topic: topic.into(), partition_result });
    ElectLeadersResponse { error_code, replica_election_results: results.collect(), ..Default::default() }
}

async fn elect(
    context: &Context<'_>,
    request: Request,
) -> Result<Vec<(PartitionName, ErrorCode)>, ErrorCode> {
    match context.broker.ask_controller(request).await? {
        Answer::Preferred(results) => Ok(results),
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}

/// A request to move replicas. This release moves none, so all it can do is to find out whether anything would have to move.
pub(super) async fn reassign(
    context: &Context<'_>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    if let Err(error_code) = context.broker.controlling() {
        let error_message = Some(error_code.message().into());
        return AlterPartitionReassignmentsResponse { error_code, error_message, ..Default::default() };
    }
    let image = context.broker.image();
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let partition_index = asked.partition_index;
            let (error_code, why) =
                judge_move(&image, &topic.name, partition_index, asked.replicas.as_deref());
            ReassignablePartitionResponse { partition_index, error_code, error_message: why.map(Into::into) }
        });
        ReassignableTopicResponse { partitions: partitions.collect(), name: topic.name }
    });
    AlterPartitionReassignmentsResponse { responses: responses.collect(), ..Default::default() }
}

/// What a request to have these replicas gets; `None` cancels a move.
fn judge_move(
    image: &Image,
    topic: &str,
    partition: i32,
    replicas: Option<&[i32]>,
) -> (ErrorCode, Option<String>) {
    let Some(found) = image.partition(topic, partition) else {
        let why = format!("there is no partition {topic}-{partition}");
        return (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(why));
    };
    let Some(replicas) = replicas else {
        let code = ErrorCode::NO_REASSIGNMENT_IN_PROGRESS;
        return (code, Some(code.message().to_owned()));
    };
    let wrong = |why: String| (ErrorCode::INVALID_REPLICA_ASSIGNMENT, Some(why));
    let distinct: BTreeSet<i32> = replicas.iter().copied().collect();
    if replicas.is_empty() || distinct.len() != replicas.len() {
        return wrong(format!("partition {topic}-{partition} must have replicas, each once"));
    }
    if let Some(unknown) = replicas.iter().find(|id| !image.brokers.contains_key(id)) {
        return wrong(format!("broker {unknown} is not there"));
    }
    if replicas != found.replicas {
        return wrong("this release moves no replicas between brokers".to_owned());
    }
    (ErrorCode::NONE, None)
}

/// The moves that are going on, which another kind of broker may have begun.
pub(super) async fn list_reassignments(
    context: &Context<'_>,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let refuse = |error_code: ErrorCode, why: String| ListPartitionReassignmentsResponse {
        error_code,
        error_message: Some(why.into()),
        ..Default::default()
    };
    let session = match context.broker.controlling() {
        Ok(session) => session,
        Err(code) => return refuse(code, code.message().to_owned()),
    };
    let asked: Vec<(Str, Option<BTreeSet<i32>>)> = match request.topics {
        Some(topics) => topics
            .into_iter()
            .map(|topic| (topic.name, Some(topic.partition_indexes.into_iter().collect())))
            .collect(),
        None => context.broker.image().topics.keys().map(|name| (Str::from(name.as_str()), None)).collect(),
    };
    let mut topics = Vec::new();
    for (name, indexes) in asked {
        let found: Result<_, RegistryError> = session.registry.assignment(&name).await;
        let assignment = match found {
            Ok(Some((assignment, _))) => assignment,
            Ok(None) => continue,
            Err(error) => return refuse(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()),
        };
        let partitions = moving(&assignment, indexes.as_ref());
        if !partitions.is_empty() {
            topics.push(OngoingTopicReassignment { name, partitions });
        }
    }
    ListPartitionReassignmentsResponse { topics, ..Default::default() }
}

fn moving(assignment: &Assignment, indexes: Option<&BTreeSet<i32>>) -> Vec<OngoingPartitionReassignment> {
    let of = |map: &BTreeMap<i32, Vec<i32>>, index: i32| map.get(&index).cloned().unwrap_or_default();
    let wanted = assignment.replicas.iter().filter(|(index, _)| {
        indexes.is_none_or(|indexes| indexes.contains(index))
            && (assignment.adding.contains_key(index) || assignment.removing.contains_key(index))
    });
    wanted
        .map(|(&partition_index, replicas)| OngoingPartitionReassignment {
            partition_index,
            replicas: replicas.clone(),
            adding_replicas: of(&assignment.adding, partition_index),
            removing_replicas: of(&assignment.removing, partition_index),
        })
        .collect()
}
