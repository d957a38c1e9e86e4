//! Kafka's wire against a second opinion: whatever we write another codec reads and writes again byte for byte, and
//! the reverse; and no bytes at all can make decoding panic or take memory out of proportion.

use std::ops::RangeInclusive;

use bytes::Bytes;
use client::wire::kafka::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use client::wire::kafka::sample::{Dice, Sample};
use client::wire::kafka::writer::join;
use client::wire::kafka::{
    ApiKey, DecodeError, Message, Problem, Reader, RequestHeader, Str, Writer, messages,
};
use client::with_every_kafka_api;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message as TheirMessage};

/// One request or response, ours and theirs.
struct Case {
    name: &'static str,
    versions: RangeInclusive<i16>,
    /// What the oracle thinks the versions are.
    their_versions: RangeInclusive<i16>,
    /// Forms of the header, as ours and the oracle say.
    header: fn(i16) -> (i16, i16),
    /// A random message, its bytes, and whether they decode to it again.
    sample: fn(&mut Dice, i16) -> Bytes,
    /// Their decoder and encoder in a row.
    echo: fn(Bytes, i16) -> Bytes,
    /// Our decoder and encoder in a row; any error is fine.
    ours: fn(Bytes, i16) -> Option<Bytes>,
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    join(&writer.finish().expect("a sample fits the protocol"))
}

fn sample<M: Message + Sample + PartialEq + std::fmt::Debug>(dice: &mut Dice, version: i16) -> Bytes {
    let message = M::sample(dice, version);
    let bytes = encode(&message, version);
    let again = M::decode_all(bytes.clone(), version);
    assert_eq!(again.as_ref(), Ok(&message), "{} v{version}: {bytes:x?}", M::NAME);
    bytes
}

fn echo<T: Encodable + Decodable>(mut bytes: Bytes, version: i16) -> Bytes {
    let message = T::decode(&mut bytes, version).expect("the oracle reads what we wrote");
    assert!(bytes.is_empty(), "the oracle leaves {bytes:x?}");
    let mut out = bytes::BytesMut::new();
    message.encode(&mut out, version).expect("the oracle writes what it read");
    out.freeze()
}

fn ours<M: Message>(bytes: Bytes, version: i16) -> Option<Bytes> {
    M::decode_all(bytes, version).ok().map(|message| encode(&message, version))
}

fn their_versions<T: TheirMessage>() -> RangeInclusive<i16> {
    T::VERSIONS.min..=T::VERSIONS.max
}

macro_rules! case {
    ($ours:ty, $theirs:ty, $header:expr) => {
        Case {
            name: <$ours>::NAME,
            versions: <$ours>::VERSIONS,
            their_versions: their_versions::<$theirs>(),
            header: $header,
            sample: sample::<$ours>,
            echo: echo::<$theirs>,
            ours: ours::<$ours>,
        }
    };
}

macro_rules! cases {
    ($($module:ident::$name:ident($request:ident, $response:ident);)+) => {
        vec![$(
            case!(messages::$request, kafka_protocol::messages::$request, |version| (
                ApiKey::$name.request_header_version(version),
                kafka_protocol::messages::$request::header_version(version),
            )),
            case!(messages::$response, kafka_protocol::messages::$response, |version| (
                ApiKey::$name.response_header_version(version),
                kafka_protocol::messages::$response::header_version(version),
            )),
        )+]
    };
}

fn cases() -> Vec<Case> {
    let mut cases = with_every_kafka_api!(cases);
    assert_eq!(cases.len(), 2 * ApiKey::ALL.len());
    cases.push(case!(
        ConsumerProtocolSubscription,
        kafka_protocol::messages::ConsumerProtocolSubscription,
        |_| (0, 0)
    ));
    cases.push(case!(
        ConsumerProtocolAssignment,
        kafka_protocol::messages::ConsumerProtocolAssignment,
        |_| (0, 0)
    ));
    cases
}

/// Calls with every case in every version.
fn every_version(mut check: impl FnMut(&Case, i16)) {
    for case in cases() {
        for version in case.versions.clone() {
            check(&case, version);
        }
    }
}

#[test]
fn versions_are_the_oracles() {
    for case in cases() {
        assert_eq!(case.versions, case.their_versions, "{}", case.name);
    }
    every_version(|case, version| {
        let (ours, theirs) = (case.header)(version);
        assert_eq!(ours, theirs, "header of {} v{version}", case.name);
    });
}

#[test]
fn every_message_is_understood_both_ways() {
    every_version(|case, version| {
        for seed in 0..40 {
            let bytes = (case.sample)(&mut Dice::new(seed), version);
            let echoed = (case.echo)(bytes.clone(), version);
            assert_eq!(echoed, bytes, "{} v{version} seed {seed}", case.name);
        }
    });
}

#[test]
fn headers_are_understood_both_ways() {
    for &api_key in ApiKey::ALL {
        for api_version in api_key.versions() {
            let form = api_key.request_header_version(api_version);
            let client_id = (form >= 1).then(|| Str::from("żuraw"));
            let header = RequestHeader { api_key, api_version, correlation_id: -2, client_id };
            let mut writer = Writer::new();
            header.encode(&mut writer);
            let bytes = join(&writer.finish().unwrap());
            assert_eq!(echo::<kafka_protocol::messages::RequestHeader>(bytes.clone(), form), bytes);
        }
    }
}

/// Tagged fields from the future are skipped, wherever a struct may have them.
#[test]
fn unknown_tagged_fields_are_skipped() {
    use kafka_protocol::messages::{MetadataRequest, metadata_request::MetadataRequestTopic};
    let unknown = std::collections::BTreeMap::from([(7, Bytes::from_static(b"new")), (900, Bytes::new())]);
    let topic = MetadataRequestTopic::default()
        .with_name(Some(kafka_protocol::protocol::StrBytes::from_static_str("t").into()));
    let request = |unknown: &std::collections::BTreeMap<i32, Bytes>| {
        let mut out = bytes::BytesMut::new();
        MetadataRequest::default()
            .with_topics(Some(vec![topic.clone().with_unknown_tagged_fields(unknown.clone())]))
            .with_unknown_tagged_fields(unknown.clone())
            .encode(&mut out, 12)
            .unwrap();
        messages::MetadataRequest::decode_all(out.freeze(), 12)
    };
    assert_eq!(request(&unknown), request(&Default::default()));
    assert_eq!(request(&unknown).unwrap().topics.unwrap()[0].name.as_deref(), Some("t"));
}

/// What still decodes after damage is a message like any other: it survives its own encoding.
fn survives(case: &Case, version: i16, damaged: Vec<u8>) {
    if let Some(once) = (case.ours)(damaged.into(), version) {
        let twice = (case.ours)(once.clone(), version);
        assert_eq!(twice.as_ref(), Some(&once), "{} v{version}", case.name);
    }
}

#[test]
fn no_damage_is_too_much() {
    every_version(|case, version| {
        let mut dice = Dice::new(version as u64);
        let whole = (case.sample)(&mut dice, version);
        for length in 0..whole.len().min(400) {
            assert_eq!((case.ours)(whole.slice(..length), version), None, "{} v{version}", case.name);
        }
        for at in 0..whole.len().min(400) {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[at] ^= 1 << bit;
                survives(case, version, damaged);
            }
        }
        for _ in 0..200 {
            let length = dice.roll() % 64;
            survives(case, version, (0..length).map(|_| dice.roll() as u8).collect());
        }
        let mut trailing = whole.to_vec();
        trailing.push(0);
        assert_eq!((case.ours)(trailing.into(), version), None, "{} v{version} trailing", case.name);
    });
}

/// A request as a server reads it.
fn read_request<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    M::decode(&mut Reader::of_request(bytes), version)
}

fn is_read_by_a_server<M: Message>(request: &M) {
    for version in M::VERSIONS {
        let read = read_request::<M>(encode(request, version), version);
        assert!(read.is_ok(), "{} v{version}: {:?}", M::NAME, read.err());
    }
}

/// Honest requests are read, also where short names make them much larger in memory than on the wire.
#[test]
fn requests_about_thousands_of_topics_are_read() {
    use messages::{
        create_topics, delete_topics, describe_configs, fetch, list_offsets, metadata, offset_commit,
        offset_fetch,
    };
    fn some<T>(count: usize, of: impl Fn(Str) -> T) -> Vec<T> {
        (0..count).map(|number| of(format!("t{number:04}").into())).collect()
    }
    fn each<T>(of: impl Fn(Str) -> T) -> Vec<T> {
        some(10_000, of)
    }
    let topics = each(|name| metadata::MetadataRequestTopic { name: Some(name), ..Default::default() });
    is_read_by_a_server(&messages::MetadataRequest { topics: Some(topics), ..Default::default() });
    let topics = some(5000, |name| create_topics::CreatableTopic { name, ..Default::default() });
    is_read_by_a_server(&messages::CreateTopicsRequest { topics, ..Default::default() });
    let topics = each(|name| delete_topics::DeleteTopicState { name: Some(name), ..Default::default() });
    let topic_names = each(|name| name);
    is_read_by_a_server(&messages::DeleteTopicsRequest { topics, topic_names, timeout_ms: 1 });
    let resources = some(4000, |resource_name| describe_configs::DescribeConfigsResource {
        resource_name,
        ..Default::default()
    });
    is_read_by_a_server(&messages::DescribeConfigsRequest { resources, ..Default::default() });
    let partitions = vec![fetch::FetchPartition::default()];
    let topics =
        each(|topic| fetch::FetchTopic { topic, partitions: partitions.clone(), ..Default::default() });
    is_read_by_a_server(&messages::FetchRequest { topics, ..Default::default() });
    let partitions = vec![list_offsets::ListOffsetsPartition::default()];
    let topics = each(|name| list_offsets::ListOffsetsTopic { name, partitions: partitions.clone() });
    is_read_by_a_server(&messages::ListOffsetsRequest { topics, ..Default::default() });
    let partitions = vec![offset_commit::OffsetCommitRequestPartition::default()];
    let topics =
        each(|name| offset_commit::OffsetCommitRequestTopic { name, partitions: partitions.clone() });
    is_read_by_a_server(&messages::OffsetCommitRequest { topics, ..Default::default() });
    let topics = each(|name| offset_fetch::OffsetFetchRequestTopic { name, partition_indexes: vec![0] });
    let grouped = each(|name| offset_fetch::OffsetFetchRequestTopics { name, partition_indexes: vec![0] });
    let group = offset_fetch::OffsetFetchRequestGroup { topics: Some(grouped), ..Default::default() };
    is_read_by_a_server(&messages::OffsetFetchRequest {
        topics: Some(topics),
        groups: vec![group],
        ..Default::default()
    });
    is_read_by_a_server(&messages::DescribeGroupsRequest { groups: each(|name| name), ..Default::default() });
}

/// A megabyte may announce a million strings of no bytes, 16 million bytes of handles: it is refused before they are
/// set aside. Honest lists are read, also where they are at their worst.
#[test]
fn memory_follows_the_frame() {
    let count = 1 << 20;
    let groups = vec![Str::default(); count];
    let hostile = encode(&messages::DescribeGroupsRequest { groups, ..Default::default() }, 5);
    assert!(hostile.len() < count + 16);
    let error = read_request::<messages::DescribeGroupsRequest>(hostile, 5).unwrap_err();
    assert_eq!((error.field, error.problem), ("DescribeGroupsRequest.groups", Problem::TooManyElements));

    let group = |number| messages::list_groups::ListedGroup {
        group_id: format!("group-{number}").into(),
        protocol_type: "consumer".into(),
        ..Default::default()
    };
    let honest =
        messages::ListGroupsResponse { groups: (0..40_000).map(group).collect(), ..Default::default() };
    for version in messages::ListGroupsResponse::VERSIONS {
        assert_eq!(
            messages::ListGroupsResponse::decode_all(encode(&honest, version), version),
            Ok(honest.clone())
        );
    }
}
