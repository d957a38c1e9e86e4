//! Topics come, grow and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::wire::kafka::messages::create_partitions::*;
use client::wire::kafka::messages::create_topics::*;
use client::wire::kafka::messages::delete_topics::*;
use client::wire::kafka::{ErrorCode, Str};
use tokio::time::Instant;

use super::Context;
use crate::cluster::{Assignment, Image, NO_LEADER, OFFSETS_TOPIC};
use crate::config::new_topic_settings;
use crate::controller::place;
use crate::limits;
use crate::registry::{Registry, RegistryError};
use crate::server::seldom::Seldom;
use crate::server::{Broker, random};

/// How long an internal topic may take to be there; the client asks again after that.
pub(super) const INTERNAL_CREATION_WITHIN: Duration = Duration::from_secs(5);
const NAME_BYTES_MAX: usize = 249;

/// Why a request about a topic is refused.
type Refusal = (ErrorCode, String);

fn refuse<T>(code: ErrorCode, why: impl Into<String>) -> Result<T, Refusal> {
    Err((code, why.into()))
}

/// How a topic is to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewTopic {
    /// `None`: as the broker is configured.
    pub(super) partitions: Option<i32>,
    pub(super) replicas: Option<i16>,
    /// Which brokers hold which partition, if somebody says.
    pub(super) assignment: BTreeMap<i32, Vec<i32>>,
    pub(super) configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// The topic of the groups.
    pub(super) fn offsets(broker: &Broker) -> NewTopic {
        let groups = &broker.config.groups;
        let configs = [
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", groups.topic_segment_bytes.to_string()),
            ("compression.type", "producer".to_owned()),
        ];
        NewTopic {
            partitions: Some(groups.settings.partitions),
            replicas: Some(groups.topic_replicas),
            assignment: BTreeMap::new(),
            configs: configs.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }
}

/// A topic as containers' variables write it: `name:partitions:replicas[:cleanup policy]`.
pub(crate) fn parse_wanted(text: &str) -> Option<(String, NewTopic)> {
    let mut parts = text.split(':');
    let (name, partitions, replicas) = (parts.next()?, parts.next()?, parts.next()?);
    let policy = parts.next().filter(|policy| !policy.is_empty());
    let new = NewTopic {
        partitions: Some(partitions.trim().parse().ok()?),
        replicas: Some(replicas.trim().parse().ok()?),
        assignment: BTreeMap::new(),
        configs: policy.map(|policy| ("cleanup.policy".to_owned(), policy.to_owned())).into_iter().collect(),
    };
    Some((name.trim().to_owned(), new))
}

/// Whether a topic may have this name.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name == "." || name == ".." {
        return Err("the name of a topic cannot be empty, \".\" or \"..\"".into());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("the name of a topic cannot be longer than {NAME_BYTES_MAX} characters"));
    }
    if !name.chars().all(is_allowed) {
        return Err(format!("{name:?} has characters other than letters, digits, \".\", \"_\" and \"-\""));
    }
    Ok(())
}

/// What of a topic's making is known before it is made.
struct Planned {
    assignment: Assignment,
    configs: BTreeMap<String, String>,
}

fn plan(broker: &Broker, image: &Image, name: &str, new: NewTopic) -> Result<Planned, Refusal> {
    check_name(name).or_else(|why| refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, why))?;
    if image.topics.contains_key(name) {
        return refuse(ErrorCode::TOPIC_ALREADY_EXISTS, format!("topic '{name}' already exists"));
    }
    let collides = |known: &&String| known.replace('.', "_") == name.replace('.', "_");
    if let Some(other) = image.topics.keys().find(collides) {
        return refuse(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("topic '{name}' collides with existing topic '{other}': '.' and '_' are one in metrics"),
        );
    }
    new_topic_settings(&new.configs, &broker.topic_configs.broker())
        .or_else(|why| refuse(ErrorCode::INVALID_CONFIG, why))?;
    let replicas = if new.assignment.is_empty() {
        let partitions = new.partitions.unwrap_or(broker.config.topics.partitions);
        let factor = new.replicas.unwrap_or(broker.config.topics.replicas);
        place_new(image, 0, partitions, factor)?
    } else {
        check_assignment(image, 0, &new.assignment)?;
        new.assignment
    };
    let assignment = Assignment { topic_id: Some(random::uuid()), replicas, ..Assignment::default() };
    Ok(Planned { assignment, configs: new.configs })
}

/// Spreads new partitions over the brokers.
fn place_new(image: &Image, first: i32, count: i32, factor: i16) -> Result<BTreeMap<i32, Vec<i32>>, Refusal> {
    if !(1..=limits::PARTITIONS_PER_TOPIC_MAX).contains(&count) {
        let why = format!("the number of partitions must be from 1 to {}", limits::PARTITIONS_PER_TOPIC_MAX);
        return refuse(ErrorCode::INVALID_PARTITIONS, why);
    }
    let brokers = image.brokers.iter().map(|(&id, broker)| (id, broker.rack.clone())).collect();
    let factor = usize::try_from(factor).unwrap_or(0);
    let placed = place(&brokers, first, count, factor, random::number() as usize % 1024);
    placed.map_err(|error| (ErrorCode::INVALID_REPLICATION_FACTOR, error.to_string()))
}

/// Whether an assignment that somebody wrote down makes sense.
fn check_assignment(image: &Image, first: i32, assignment: &BTreeMap<i32, Vec<i32>>) -> Result<(), Refusal> {
    let wrong = |why: String| refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
    let factor = assignment.values().next().map_or(0, Vec::len);
    for (expected, (&partition, replicas)) in (first..).zip(assignment) {
        let distinct: BTreeSet<i32> = replicas.iter().copied().collect();
        if partition != expected {
            return wrong(format!("partitions must be numbered from {first} on; {expected} is missing"));
        }
        if replicas.is_empty() || distinct.len() != replicas.len() {
            return wrong(format!("partition {partition} must have replicas, each once"));
        }
        if replicas.len() != factor {
            return wrong("all partitions must have the same number of replicas".into());
        }
        if let Some(unknown) = distinct.iter().find(|id| !image.brokers.contains_key(id)) {
            return wrong(format!("partition {partition} names broker {unknown}, which is not there"));
        }
    }
    Ok(())
}

async fn make(registry: &Registry, name: &str, planned: &Planned) -> Result<(), Refusal> {
    registry.create_topic(name, &planned.assignment, &planned.configs).await.map_err(|error| match error {
        RegistryError::Coordinator(client::zk::Error::NodeExists) => {
            (ErrorCode::TOPIC_ALREADY_EXISTS, format!("topic '{name}' already exists"))
        }
        error => unforeseen(&error),
    })
}

fn unforeseen(error: &RegistryError) -> Refusal {
    tracing::warn!(%error, "a request about topics failed");
    (ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string())
}

/// Makes a topic and waits a little until it can be used; whoever wanted it looks for it afterwards.
pub(crate) async fn create_and_wait(broker: &Arc<Broker>, name: &str, new: NewTopic, within: Duration) {
    let deadline = Instant::now() + within;
    // Only the controller knows all topics; elsewhere the client asks again.
    let Ok(session) = broker.controlling() else { return };
    let made = match plan(broker, &broker.image(), name, new) {
        Ok(planned) => make(&session.registry, name, &planned).await,
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(()) => tracing::info!(topic = name, "created on first use"),
        Err((ErrorCode::TOPIC_ALREADY_EXISTS, _)) => {}
        Err((_, why)) => {
            let setting = (name == OFFSETS_TOPIC).then_some("offsets.topic.replication.factor");
            if UNUSABLE.may_be_said() {
                tracing::warn!(topic = name, why, setting, "cannot be created on first use");
            }
            return;
        }
    }
    broker.wait_until(deadline, |image| is_ready(image, name, 1)).await;
}

/// Clients ask for what they cannot get ten times a second; the log says so every ten seconds.
static UNUSABLE: Seldom = Seldom::new(1, Duration::from_secs(10));

/// Whether all partitions, at least so many, have a leader.
fn is_ready(image: &Image, name: &str, partitions_min: usize) -> bool {
    image.topics.get(name).is_some_and(|topic| {
        topic.partitions.len() >= partitions_min
            && topic.partitions.values().all(|partition| partition.state.leader != NO_LEADER)
    })
}

fn deadline(timeout_ms: i32) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms.max(0).unsigned_abs().into())
}

pub(super) async fn create(context: &Context<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let broker = context.broker;
    let deadline = deadline(request.timeout_ms);
    let mut names = BTreeMap::new();
    for topic in &request.topics {
        *names.entry(topic.name.as_str().to_owned()).or_insert(0) += 1;
    }
    let mut results = Vec::with_capacity(request.topics.len());
    let mut waiting = Vec::new();
    for topic in request.topics {
        let name = topic.name.clone();
        let made = if names.get(name.as_str()) != Some(&1) {
            refuse(ErrorCode::INVALID_REQUEST, format!("topic '{name}' is there more than once"))
        } else {
            create_one(context, topic, request.validate_only).await
        };
        if let Ok(planned) = &made
            && !request.validate_only
        {
            waiting.push((name.as_str().to_owned(), planned.assignment.replicas.len(), results.len()));
        }
        results.push(creation_result(broker, name, made, request.validate_only));
    }
    for (name, partitions, index) in waiting {
        if !broker.wait_until(deadline, |image| is_ready(image, &name, partitions)).await {
            results[index].error_code = ErrorCode::REQUEST_TIMED_OUT;
            results[index].error_message = Some(ErrorCode::REQUEST_TIMED_OUT.message().into());
        }
    }
    CreateTopicsResponse { topics: results, ..Default::default() }
}

async fn create_one(
    context: &Context<'_>,
    topic: CreatableTopic,
    validate_only: bool,
) -> Result<Planned, Refusal> {
    let broker = context.broker;
    let session = broker.controlling().map_err(|code| (code, code.message().to_owned()))?;
    if !topic.assignments.is_empty() && (topic.num_partitions != -1 || topic.replication_factor != -1) {
        let why = "with an assignment, partitions and replication factor must be -1";
        return refuse(ErrorCode::INVALID_REQUEST, why);
    }
    let mut assignment = BTreeMap::new();
    for assigned in &topic.assignments {
        if assignment.insert(assigned.partition_index, assigned.broker_ids.clone()).is_some() {
            let why = format!("partition {} is assigned twice", assigned.partition_index);
            return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
        }
    }
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            return refuse(ErrorCode::INVALID_CONFIG, format!("{} has no value", config.name));
        };
        configs.insert(config.name.as_str().to_owned(), value.as_str().to_owned());
    }
    let new = NewTopic {
        partitions: Some(topic.num_partitions).filter(|&count| count != -1),
        replicas: Some(topic.replication_factor).filter(|&factor| factor != -1),
        assignment,
        configs,
    };
    let planned = plan(broker, &broker.image(), &topic.name, new)?;
    if !validate_only {
        context.mutate(planned.assignment.replicas.len(), 6)?;
        make(&session.registry, &topic.name, &planned).await?;
        tracing::info!(
            topic = topic.name.as_str(),
            partitions = planned.assignment.replicas.len(),
            "created"
        );
    }
    Ok(planned)
}

fn creation_result(
    broker: &Broker,
    name: Str,
    made: Result<Planned, Refusal>,
    validate_only: bool,
) -> CreatableTopicResult {
    match made {
        Ok(planned) => {
            let replicas = planned.assignment.replicas.values().next().map_or(0, Vec::len);
            CreatableTopicResult {
                name,
                // One that was not made has none.
                topic_id: planned.assignment.topic_id.filter(|_| !validate_only).unwrap_or_default(),
                num_partitions: planned.assignment.replicas.len() as i32,
                replication_factor: replicas as i16,
                configs: Some(super::configs::of_new_topic(broker, &planned.configs)),
                ..Default::default()
            }
        }
        Err((error_code, why)) => {
            CreatableTopicResult { name, error_code, error_message: Some(why.into()), ..Default::default() }
        }
    }
}

pub(super) async fn delete(context: &Context<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let broker = context.broker;
    let deadline = deadline(request.timeout_ms);
    let asked: Vec<DeleteTopicState> = if context.version() >= 6 {
        request.topics
    } else {
        let named = request.topic_names.into_iter();
        named.map(|name| DeleteTopicState { name: Some(name), ..Default::default() }).collect()
    };
    let mut responses = Vec::with_capacity(asked.len());
    let mut waiting = Vec::new();
    for topic in asked {
        let image = broker.image();
        let name = match &topic.name {
            Some(name) => Some(name.as_str().to_owned()),
            None => image.name_of(topic.topic_id).map(str::to_owned),
        };
        let id = name.as_ref().and_then(|name| image.topics.get(name)).map(|known| known.id);
        let result = match &name {
            None => refuse(ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::UNKNOWN_TOPIC_ID.message()),
            Some(name) => delete_one(context, &image, name).await,
        };
        let (error_code, error_message) = match result {
            Ok(()) => {
                waiting.extend(name.clone().map(|name| (name, responses.len())));
                (ErrorCode::NONE, None)
            }
            Err((code, why)) => (code, Some(why.into())),
        };
        responses.push(DeletableTopicResult {
            name: name.map(Into::into),
            topic_id: id.unwrap_or(topic.topic_id),
            error_code,
            error_message,
        });
    }
    for (name, index) in waiting {
        let gone = broker.wait_until(deadline, |image| !image.topics.contains_key(&name)).await
            && is_left_by_coordinator(context, &name, deadline).await;
        if !gone {
            responses[index].error_code = ErrorCode::REQUEST_TIMED_OUT;
        }
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

/// Waits until the topic's znodes are gone: whoever is told that it is deleted may want to make it again.
async fn is_left_by_coordinator(context: &Context<'_>, name: &str, deadline: Instant) -> bool {
    let Ok(session) = context.broker.controlling() else { return true };
    let gone = tokio::time::timeout_at(deadline, session.registry.until_gone(name)).await;
    // Another controller removes it now, if this one cannot ask any more.
    gone.is_ok()
}

async fn delete_one(context: &Context<'_>, image: &Image, name: &str) -> Result<(), Refusal> {
    let broker = context.broker;
    let session = broker.controlling().map_err(|code| (code, code.message().to_owned()))?;
    if !broker.config.topics.may_delete {
        let code = ErrorCode::TOPIC_DELETION_DISABLED;
        let code = if context.version() < 3 { ErrorCode::INVALID_REQUEST } else { code };
        return refuse(code, "delete.topic.enable is false");
    }
    let Some(topic) = image.topics.get(name) else {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic '{name}'"));
    };
    context.mutate(topic.partitions.len(), 5)?;
    session.registry.wish_gone(name).await.map_err(|error| unforeseen(&error))?;
    tracing::info!(topic = name, "is to be deleted");
    Ok(())
}

pub(super) async fn create_partitions(
    context: &Context<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let broker = context.broker;
    let deadline = deadline(request.timeout_ms);
    let mut results = Vec::with_capacity(request.topics.len());
    let mut waiting = Vec::new();
    for topic in request.topics {
        let result = grow(context, &topic, request.validate_only).await;
        let (error_code, error_message) = match result {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, why)) => (code, Some(why.into())),
        };
        if error_code == ErrorCode::NONE && !request.validate_only {
            waiting.push((topic.name.as_str().to_owned(), topic.count as usize, results.len()));
        }
        results.push(CreatePartitionsTopicResult { name: topic.name, error_code, error_message });
    }
    for (name, partitions, index) in waiting {
        if !broker.wait_until(deadline, |image| is_ready(image, &name, partitions)).await {
            results[index].error_code = ErrorCode::REQUEST_TIMED_OUT;
        }
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

async fn grow(
    context: &Context<'_>,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let broker = context.broker;
    let session = broker.controlling().map_err(|code| (code, code.message().to_owned()))?;
    let found = session.registry.assignment(&topic.name).await.map_err(|error| unforeseen(&error))?;
    let Some((mut assignment, read)) = found else {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic '{}'", topic.name));
    };
    if !assignment.adding.is_empty() || !assignment.removing.is_empty() {
        return refuse(ErrorCode::REASSIGNMENT_IN_PROGRESS, "the topic's partitions are being moved");
    }
    let now = assignment.replicas.len() as i32;
    if topic.count <= now {
        let why = format!("topic '{}' has {now} partitions, and can only get more", topic.name);
        return refuse(ErrorCode::INVALID_PARTITIONS, why);
    }
    let image = broker.image();
    let more = topic.count - now;
    let placed = match &topic.assignments {
        None => {
            let factor = assignment.replicas.values().next().map_or(1, Vec::len);
            place_new(&image, now, more, factor as i16)?
        }
        Some(assigned) if assigned.len() != more as usize => {
            let why = format!("{} new partitions are assigned, and {more} are wanted", assigned.len());
            return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
        }
        Some(assigned) => {
            let placed = (now..).zip(assigned.iter().map(|new| new.broker_ids.clone())).collect();
            check_assignment(&image, now, &placed)?;
            placed
        }
    };
    if validate_only {
        return Ok(());
    }
    context.mutate(placed.len(), 3)?;
    assignment.replicas.extend(placed);
    let set = session.registry.set_assignment(&topic.name, &assignment, read).await;
    set.map_err(|error| unforeseen(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_as_containers_write_them() {
        let (name, new) = parse_wanted("b:3:1:compact").expect("good");
        assert_eq!((name.as_str(), new.partitions, new.replicas), ("b", Some(3), Some(1)));
        assert_eq!(new.configs["cleanup.policy"], "compact");
        assert!(parse_wanted("a:1:1").expect("good").1.configs.is_empty());
        assert!(parse_wanted("a").is_none() && parse_wanted("a:x:1").is_none());
    }

    #[test]
    fn names_are_as_kafka_has_them() {
        for good in ["a", "A-b_c.9", &"x".repeat(249), "..."] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
