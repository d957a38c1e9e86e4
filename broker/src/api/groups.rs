//! Members come, stay and go.

use client::wire::kafka::messages::delete_groups::*;
use client::wire::kafka::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use client::wire::kafka::messages::find_coordinator::*;
use client::wire::kafka::messages::heartbeat::*;
use client::wire::kafka::messages::join_group::*;
use client::wire::kafka::messages::leave_group::*;
use client::wire::kafka::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use client::wire::kafka::messages::sync_group::*;
use client::wire::kafka::{ErrorCode, Str};

use super::acls::Operations;
use super::{Context, topics};
use crate::cluster::OFFSETS_TOPIC;
use crate::group::{self, Answer, Join, JoinedAs, Leaver, Sync, Voice};
use crate::server::random;

/// Keys are names of groups.
const GROUP_KEYS: i8 = 0;
/// Clients are given an id before they join from this version on.
const FIRST_VERSION_IN_TWO_STEPS: i16 = 4;
const FIRST_VERSION_WITHOUT_ASSIGNMENT: i16 = 9;
/// The kind of groups that there are, as tools print it.
const CLASSIC: &str = "classic";

pub(super) fn text(text: &Option<Str>) -> Option<String> {
    text.as_ref().map(|text| text.as_str().to_owned())
}

pub(super) async fn find_coordinator(
    context: &Context<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if context.version() < 4 {
        let found = coordinator_of(context, &request.key, request.key_type).await;
        let Coordinator { node_id, host, port, error_code, error_message, .. } = found;
        return FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            host,
            port,
            ..Default::default()
        };
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in &request.coordinator_keys {
        coordinators.push(coordinator_of(context, key, request.key_type).await);
    }
    FindCoordinatorResponse { coordinators, ..Default::default() }
}

async fn coordinator_of(context: &Context<'_>, key: &Str, key_type: i8) -> Coordinator {
    match try_coordinator_of(context, key, key_type).await {
        Ok((node_id, host, port)) => {
            Coordinator { key: key.clone(), node_id, host: host.as_str().into(), port, ..Default::default() }
        }
        Err(error_code) => Coordinator {
            key: key.clone(),
            node_id: -1,
            port: -1,
            error_code,
            error_message: Some(error_code.message().into()),
            ..Default::default()
        },
    }
}

async fn try_coordinator_of(
    context: &Context<'_>,
    key: &str,
    key_type: i8,
) -> Result<(i32, String, i32), ErrorCode> {
    if key_type != GROUP_KEYS {
        // Transactional ids have no coordinator in this release.
        return Err(if key_type == 1 {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        } else {
            ErrorCode::INVALID_REQUEST
        });
    }
    let broker = context.broker;
    if !broker.image().topics.contains_key(OFFSETS_TOPIC) {
        let new = topics::NewTopic::offsets(broker);
        topics::create_and_wait(broker, OFFSETS_TOPIC, new, topics::INTERNAL_CREATION_WITHIN).await;
    }
    let image = broker.image();
    let topic = image.topics.get(OFFSETS_TOPIC).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
    let partition = group::partition_of(key, topic.partitions.len() as i32);
    let state = topic.partitions.get(&partition).map(|partition| &partition.state);
    let leader = state.map(|state| state.leader).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
    let endpoint =
        image.endpoint(leader, &context.peer.listener).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
    Ok((leader, endpoint.host.clone(), i32::from(endpoint.port)))
}

pub(super) async fn join(context: &Context<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let milliseconds = |ms: i32| u32::try_from(ms).unwrap_or(0);
    let session_timeout_ms = milliseconds(request.session_timeout_ms);
    let rebalance = if request.rebalance_timeout_ms < 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    };
    let protocols = request.protocols.into_iter();
    let join = Join {
        group: request.group_id.as_str().to_owned(),
        member: request.member_id.as_str().to_owned(),
        instance: text(&request.group_instance_id),
        client_id: context.client_id().to_owned(),
        client_host: format!("/{}", context.peer.address.ip()),
        rebalance_timeout_ms: milliseconds(rebalance),
        session_timeout_ms,
        protocol_type: request.protocol_type.as_str().to_owned(),
        // Copied, because they outlive the request's frame.
        protocols: protocols
            .map(|protocol| (protocol.name.as_str().to_owned(), own(&protocol.metadata)))
            .collect(),
        two_steps: context.version() >= FIRST_VERSION_IN_TWO_STEPS,
        may_skip_assignment: context.version() >= FIRST_VERSION_WITHOUT_ASSIGNMENT,
        unique: random::uuid_text(),
    };
    let member = join.member.clone();
    let broker = context.broker;
    let answer =
        broker.groups.ask(broker, |groups, now, ticket, out| groups.join(now, ticket, join, out)).await;
    let joined = match answer {
        Ok(Answer::Joined(joined)) => joined,
        Ok(_) => JoinedAs::refused(member, ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(error) => JoinedAs::refused(member, error),
    };
    let empty_unless_null_is_known = |name: Option<String>| match name {
        Some(name) => Some(name.as_str().into()),
        None => (context.version() < 7).then(Str::default),
    };
    JoinGroupResponse {
        error_code: joined.error,
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(Into::into),
        protocol_name: empty_unless_null_is_known(joined.protocol),
        leader: joined.leader.as_str().into(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member.as_str().into(),
        members: joined
            .members
            .into_iter()
            .map(|(id, instance, metadata)| JoinGroupResponseMember {
                member_id: id.as_str().into(),
                group_instance_id: instance.as_deref().map(Into::into),
                metadata,
            })
            .collect(),
        ..Default::default()
    }
}

fn own(bytes: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

pub(super) async fn sync(context: &Context<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    let assignments = request.assignments.iter();
    let sync = Sync {
        from: Voice {
            group: request.group_id.as_str().to_owned(),
            member: request.member_id.as_str().to_owned(),
            instance: text(&request.group_instance_id),
            generation: request.generation_id,
        },
        protocol_type: text(&request.protocol_type),
        protocol: text(&request.protocol_name),
        assignments: assignments
            .map(|given| (given.member_id.as_str().to_owned(), own(&given.assignment)))
            .collect(),
    };
    let broker = context.broker;
    let answer =
        broker.groups.ask(broker, |groups, now, ticket, out| groups.sync(now, ticket, sync, out)).await;
    match answer {
        Ok(Answer::Synced(Ok(synced))) => SyncGroupResponse {
            protocol_type: synced.protocol_type.as_deref().map(Into::into),
            protocol_name: synced.protocol.as_deref().map(Into::into),
            assignment: synced.assignment,
            ..Default::default()
        },
        Ok(Answer::Synced(Err(error_code))) | Err(error_code) => {
            SyncGroupResponse { error_code, ..Default::default() }
        }
        Ok(_) => SyncGroupResponse { error_code: ErrorCode::UNKNOWN_SERVER_ERROR, ..Default::default() },
    }
}

pub(super) async fn heartbeat(context: &Context<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let from = Voice {
        group: request.group_id.as_str().to_owned(),
        member: request.member_id.as_str().to_owned(),
        instance: text(&request.group_instance_id),
        generation: request.generation_id,
    };
    let error_code = context.broker.groups.act(context.broker, |groups, now, _| groups.heartbeat(now, &from));
    HeartbeatResponse { error_code, ..Default::default() }
}

pub(super) async fn leave(context: &Context<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leavers: Vec<Leaver> = if context.version() < 3 {
        vec![Leaver { member: request.member_id.as_str().to_owned(), instance: None }]
    } else {
        let members = request.members.iter();
        members
            .map(|member| Leaver {
                member: member.member_id.as_str().to_owned(),
                instance: text(&member.group_instance_id),
            })
            .collect()
    };
    let broker = context.broker;
    let left =
        broker.groups.act(broker, |groups, now, out| groups.leave(now, &request.group_id, &leavers, out));
    match left {
        Err(error_code) => LeaveGroupResponse { error_code, ..Default::default() },
        Ok(answers) if context.version() < 3 => {
            let error_code = answers.first().copied().unwrap_or(ErrorCode::NONE);
            LeaveGroupResponse { error_code, ..Default::default() }
        }
        Ok(answers) => LeaveGroupResponse {
            members: leavers
                .iter()
                .zip(answers)
                .map(|(leaver, error_code)| MemberResponse {
                    member_id: leaver.member.as_str().into(),
                    group_instance_id: leaver.instance.as_deref().map(Into::into),
                    error_code,
                })
                .collect(),
            ..Default::default()
        },
    }
}

pub(super) async fn describe(
    context: &Context<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let authorized_operations = Operations::Group.if_asked(request.include_authorized_operations);
    let groups = request.groups.into_iter().map(|name| {
        let described = context.broker.groups.look(|groups| groups.describe(&name));
        match described {
            Err(error_code) => DescribedGroup { error_code, group_id: name, ..Default::default() },
            Ok(None) => DescribedGroup {
                group_id: name,
                group_state: "Dead".into(),
                authorized_operations,
                ..Default::default()
            },
            Ok(Some(group)) => DescribedGroup {
                group_id: name,
                group_state: group.state.name().into(),
                protocol_type: group.protocol_type.as_str().into(),
                protocol_data: group.protocol.as_str().into(),
                members: group
                    .members
                    .into_iter()
                    .map(|member| DescribedGroupMember {
                        member_id: member.id.as_str().into(),
                        group_instance_id: member.instance.as_deref().map(Into::into),
                        client_id: member.client_id.as_str().into(),
                        client_host: member.client_host.as_str().into(),
                        member_metadata: member.metadata,
                        member_assignment: member.assignment,
                    })
                    .collect(),
                authorized_operations,
                ..Default::default()
            },
        }
    });
    DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
}

pub(super) async fn list(context: &Context<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let (listed, is_loading) = context.broker.groups.look(|groups| (groups.list(), groups.is_loading()));
    let asked = |filter: &[Str], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = listed
        .into_iter()
        .filter(|group| {
            asked(&request.states_filter, group.state.name()) && asked(&request.types_filter, CLASSIC)
        })
        .map(|group| ListedGroup {
            group_id: group.name.as_str().into(),
            protocol_type: group.protocol_type.as_str().into(),
            group_state: group.state.name().into(),
            group_type: CLASSIC.into(),
        });
    let error_code = if is_loading { ErrorCode::COORDINATOR_LOAD_IN_PROGRESS } else { ErrorCode::NONE };
    ListGroupsResponse { error_code, groups: groups.collect(), ..Default::default() }
}

pub(super) async fn delete(context: &Context<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let broker = context.broker;
    let mut results = Vec::with_capacity(request.group_names.len());
    for group_id in request.group_names {
        let ask = broker.groups.ask(broker, |groups, _, ticket, out| groups.delete(ticket, &group_id, out));
        let error_code = match ask.await {
            Ok(Answer::Deleted(answers)) => answers.first().copied().unwrap_or(ErrorCode::NONE),
            Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
            Err(error) => error,
        };
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
