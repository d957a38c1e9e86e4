//! Our broker on our coordinator, or on Apache ZooKeeper with `CLIENT_AGAINST=zookeeper`, as a client of the wire sees it.

mod support;
#[path = "support/wire.rs"]
mod wire;

use bytes::Bytes;
use client::wire::kafka::batch::BatchOptions;
use client::wire::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use client::wire::kafka::messages::delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use client::wire::kafka::messages::delete_groups::DeleteGroupsRequest;
use client::wire::kafka::messages::describe_acls::DescribeAclsRequest;
use client::wire::kafka::messages::describe_groups::DescribeGroupsRequest;
use client::wire::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use client::wire::kafka::messages::find_coordinator::FindCoordinatorRequest;
use client::wire::kafka::messages::init_producer_id::InitProducerIdRequest;
use client::wire::kafka::messages::join_group::JoinGroupRequest;
use client::wire::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use client::wire::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use client::wire::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use client::wire::kafka::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use client::wire::kafka::messages::produce::{ProduceRequest, ProduceResponse};
use client::wire::kafka::writer::join;
use client::wire::kafka::{ApiKey, ErrorCode, Message, Reader, Request, ResponseHeader, frame};
use support::start;
use testkit::badinput::broker::joins;
use testkit::process::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Wire, address, batch, batch_of, produce, record_time, start_broker};

fn values(found: &[(i64, Bytes)]) -> Vec<(i64, &str)> {
    found.iter().map(|(offset, value)| (*offset, std::str::from_utf8(value).expect("text"))).collect()
}

/// A request of its own number.
fn numbered<R: Request>(request: &R, version: i16, number: i32) -> Bytes {
    join(&frame::request(request, version, number, Some(&"test".into())).expect("it can be written"))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_sent_at_once_are_answered_in_order() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    // A hundred of them: small and large writes, questions, and one that waits for half a second.
    let large = "x".repeat(200_000);
    let mut sent = Vec::new();
    for number in 0..100 {
        let value = if number % 10 == 9 { large.as_str() } else { "small" };
        sent.extend_from_slice(&match number {
            50 => {
                let partition =
                    FetchPartition { fetch_offset: 33, partition_max_bytes: 1, ..Default::default() };
                let topic =
                    FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
                let fetch = FetchRequest {
                    max_wait_ms: 500,
                    min_bytes: 1,
                    max_bytes: 1,
                    topics: vec![topic],
                    ..Default::default()
                };
                numbered(&fetch, 11, number)
            }
            _ if number % 3 == 0 => numbered(&MetadataRequest::default(), 9, number),
            _ => numbered(&produce("t", batch(&[value])), 9, number),
        });
    }
    let (mut from, mut to) = wire.0.into_split();
    let sending = tokio::spawn(async move { to.write_all(&sent).await.map(|()| to) });
    let mut next_offset = 0;
    for number in 0..100i32 {
        let mut length = [0; 4];
        from.read_exact(&mut length).await.expect("an answer");
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        from.read_exact(&mut answer).await.expect("a whole answer");
        assert_eq!(answer[..4], number.to_be_bytes(), "answers keep the order of requests");
        if number == 50 || number % 3 == 0 {
            continue;
        }
        let mut reader = Reader::new(Bytes::from(answer));
        ResponseHeader::decode(&mut reader, ApiKey::Produce, 9).expect("a header");
        let answer = ProduceResponse::decode(&mut reader, 9).expect("the answer");
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (ErrorCode::NONE, next_offset));
        next_offset += 1;
    }
    assert_eq!(next_offset, 65);
    drop(sending.await.expect("no panic").expect("all was taken"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_produced_is_read_also_after_a_restart() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    assert_eq!(wire.produce("t", batch(&["a", "b"])).await, (ErrorCode::NONE, 0));
    assert_eq!(wire.produce("t", batch(&["c"])).await, (ErrorCode::NONE, 2));
    assert_eq!(values(&wire.fetch("t", 1).await.expect("read")), [(1, "b"), (2, "c")]);
    assert_eq!(wire.fetch("t", 3).await.expect("read"), []);
    assert_eq!(wire.fetch("t", 4).await, Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(wire.produce("unknown", batch(&["x"])).await.0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    broker.stop().await;

    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    let found = loop {
        match wire.fetch("t", 0).await {
            Ok(found) => break found,
            // The controller has not told this broker yet what it leads.
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(values(&found), [(0, "a"), (1, "b"), (2, "c")]);
    assert_eq!(wire.produce("t", batch(&["d"])).await, (ErrorCode::NONE, 3));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_repeats_is_there_once() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    let given = wire.ask(&InitProducerIdRequest::default(), 4).await;
    assert_eq!(given.error_code, ErrorCode::NONE);
    let other = wire.ask(&InitProducerIdRequest::default(), 4).await;
    assert_ne!(given.producer_id, other.producer_id);
    let numbered = |base_sequence: i32, value: &str| {
        let options = BatchOptions {
            producer_id: given.producer_id,
            producer_epoch: given.producer_epoch,
            base_sequence,
            ..BatchOptions::default()
        };
        batch_of(options, &[value])
    };
    assert_eq!(wire.produce("t", numbered(0, "a")).await, (ErrorCode::NONE, 0));
    assert_eq!(wire.produce("t", numbered(1, "b")).await, (ErrorCode::NONE, 1));
    assert_eq!(wire.produce("t", numbered(0, "a")).await, (ErrorCode::NONE, 0), "told where it is");
    assert_eq!(wire.produce("t", numbered(3, "d")).await.0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(values(&wire.fetch("t", 0).await.expect("read")), [(0, "a"), (1, "b")]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_no_producer_is_in_no_transaction_whatever_it_says() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    let mut send = async |transactional_id: Option<&str>, producer_id: i64| {
        let options = BatchOptions {
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
            ..BatchOptions::default()
        };
        let transactional_id = transactional_id.map(Into::into);
        let request = ProduceRequest { transactional_id, ..produce("t", batch_of(options, &["a"])) };
        wire.ask(&request, 9).await.responses[0].partition_responses[0].error_code
    };
    let refused = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    assert_eq!(send(None, -1).await, refused);
    assert_eq!(send(Some("mine"), 5).await, refused);
    assert_eq!(send(Some("mine"), -1).await, ErrorCode::NONE);
    // It keeps nobody waiting for its end.
    let replica = broker.broker.replicas.get("t", 0).expect("here");
    let ends = || replica.log().lock().map(|log| (log.end_offset(), log.last_stable_offset()));
    assert_eq!(ends().expect("online"), (1, 1));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_remember_how_far_they_read_over_a_restart() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    let find = FindCoordinatorRequest { key: "readers".into(), ..Default::default() };
    let found = wire.ask(&find, 3).await;
    assert_eq!((found.error_code, found.node_id), (ErrorCode::NONE, 1));

    let join = joins("readers");
    let invited = wire.ask(&join, 5).await;
    assert_eq!(invited.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    let joined = wire.ask(&JoinGroupRequest { member_id: invited.member_id, ..join }, 5).await;
    assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (ErrorCode::NONE, 1, 1));

    let partition = OffsetCommitRequestPartition { committed_offset: 42, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] };
    let commit = |generation: i32, member: &str| OffsetCommitRequest {
        group_id: "readers".into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![topic.clone()],
        ..Default::default()
    };
    let refused = wire.ask(&commit(7, &joined.member_id), 8).await;
    assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::ILLEGAL_GENERATION);
    // The group has no assignment yet, so only a client that is in no group may commit: in another group.
    let lonely = OffsetCommitRequest { group_id: "lonely".into(), ..commit(-1, "") };
    let committed = wire.ask(&lonely, 8).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, ErrorCode::NONE);
    broker.stop().await;

    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    let asked = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let fetch =
        OffsetFetchRequest { group_id: "lonely".into(), topics: Some(vec![asked]), ..Default::default() };
    let offset = loop {
        let answer = wire.ask(&fetch, 7).await;
        match answer.error_code {
            ErrorCode::NONE => break answer.topics[0].partitions[0].committed_offset,
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {}
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(offset, 42);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_come_on_first_use_and_times_lead_to_offsets() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[("num.partitions", "2")]).await;
    let mut wire = Wire::to(&broker).await;
    let named = |name: &str| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]),
        ..Default::default()
    };
    let seen = wire.ask(&named("new"), 9).await;
    assert_eq!((seen.topics[0].error_code, seen.topics[0].partitions.len()), (ErrorCode::NONE, 2));
    assert_eq!((seen.controller_id, seen.brokers[0].node_id), (1, 1));
    let refused = wire.ask(&MetadataRequest { allow_auto_topic_creation: false, ..named("other") }, 9).await;
    assert_eq!(refused.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(wire.ask(&named("a/b"), 9).await.topics[0].error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);

    wire.produce("new", batch(&["a", "b"])).await;
    let mut look = async |timestamp: i64| {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: "new".into(), partitions: vec![partition] };
        let answer = wire.ask(&ListOffsetsRequest { topics: vec![topic], ..Default::default() }, 7).await;
        answer.topics[0].partitions[0].offset
    };
    assert_eq!((look(-2).await, look(-1).await), (0, 2));
    assert_eq!((look(record_time()).await, look(record_time() + 1).await), (0, -1));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_one_connection_and_nothing_else() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01",
        b"\0\0\0\x0a\x7f\xff\0\0\0\0\0\x01\xff\xff",
        b"\0\0\0\x0a\0\x03\0\x63\0\0\0\x01\xff\xff",
        b"\0\0\0\x04\0\x03\0\x01",
    ] {
        let mut stream = TcpStream::connect(address(&broker)).await.expect("connected");
        stream.write_all(garbage).await.expect("sent");
        let mut rest = Vec::new();
        let read =
            tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "{garbage:?}: {read:?}");
    }
    // A version of ApiVersions that nobody knows is answered in the oldest form, and the connection goes on.
    let mut stream = TcpStream::connect(address(&broker)).await.expect("connected");
    stream.write_all(b"\0\0\0\x0b\0\x12\0\x63\0\0\0\x09\xff\xff\0").await.expect("sent");
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer[4..10], [0, 0, 0, 9, 0, 35]);
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    let mut damaged = batch(&["a"]).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert_eq!(wire.produce("t", damaged.into()).await.0, ErrorCode::CORRUPT_MESSAGE);
    assert_eq!(wire.produce("t", Bytes::new()).await.0, ErrorCode::INVALID_RECORD);
    assert_eq!(wire.produce("t", batch(&["a"])).await, (ErrorCode::NONE, 0));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authorizer_anybody_may_do_anything_and_there_are_no_rules() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    let bits = |operations: &[i32]| operations.iter().map(|operation| 1 << operation).sum::<i32>();
    let topics =
        ["t", "unknown"].map(|name| MetadataRequestTopic { name: Some(name.into()), ..Default::default() });
    let mut request = MetadataRequest {
        topics: Some(topics.to_vec()),
        allow_auto_topic_creation: false,
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
    };
    let told = wire.ask(&request, 9).await;
    assert_eq!(told.cluster_authorized_operations, bits(&[5, 7, 8, 9, 10, 11, 12]));
    for topic in told.topics {
        assert_eq!(topic.topic_authorized_operations, bits(&[3, 4, 5, 6, 7, 8, 10, 11]));
    }
    request.include_topic_authorized_operations = false;
    assert_eq!(wire.ask(&request, 9).await.topics[0].topic_authorized_operations, i32::MIN);
    // Java's clients name nothing beside an id, which is not the same as no name.
    let topic_id = wire.ask(&request, 12).await.topics[0].topic_id;
    let by_id = MetadataRequestTopic { name: Some("".into()), topic_id };
    request.topics = Some(vec![by_id]);
    let told = wire.ask(&request, 12).await;
    assert_eq!((told.topics[0].error_code, told.topics[0].name.as_deref()), (ErrorCode::NONE, Some("t")));
    let find = FindCoordinatorRequest { key: "unknown".into(), ..Default::default() };
    assert_eq!(wire.ask(&find, 3).await.error_code, ErrorCode::NONE);
    let groups =
        DescribeGroupsRequest { groups: vec!["unknown".into()], include_authorized_operations: true };
    let told = wire.ask(&groups, 5).await;
    assert_eq!(told.groups[0].authorized_operations, bits(&[3, 6, 8]));
    let told = wire.ask(&DescribeAclsRequest::default(), 3).await;
    assert_eq!(told.error_code, ErrorCode::SECURITY_DISABLED);
    let filters = vec![DeleteAclsFilter::default(); 2];
    let told = wire.ask(&DeleteAclsRequest { filters }, 3).await;
    let codes: Vec<_> = told.filter_results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::SECURITY_DISABLED; 2]);
    let told = wire.ask(&DeleteGroupsRequest { group_names: vec!["".into()] }, 2).await;
    assert_eq!(told.results[0].error_code, ErrorCode::GROUP_ID_NOT_FOUND);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_may_ask_for_more_replicas_in_sync_than_it_has() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    let config = CreatableTopicConfig { name: "min.insync.replicas".into(), value: Some("3".into()) };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let mut request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: true };
    let would = wire.ask(&request, 7).await;
    assert_eq!((would.topics[0].error_code, would.topics[0].topic_id.is_zero()), (ErrorCode::NONE, true));
    request.validate_only = false;
    let made = wire.ask(&request, 7).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].topic_id.is_zero()), (ErrorCode::NONE, false));
    assert_eq!(wire.produce("t", batch(&["a"])).await, (ErrorCode::NONE, 0));
    broker.stop().await;
}
