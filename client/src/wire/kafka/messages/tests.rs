//! Frames as Apache Kafka 3.9.1's own classes write them.

use std::fmt::{Debug, Write};

use bytes::Bytes;

use super::*;
use crate::wire::kafka::frame;
use crate::wire::kafka::writer::{EncodeError, Part, join};
use crate::wire::kafka::{ErrorCode, Reader, Records, RequestHeader, ResponseHeader};

const CORRELATION_ID: i32 = 7;

/// The frame is what Kafka writes, and reads back as what went in.
fn check<M: Message + PartialEq + Debug>(
    message: M,
    version: i16,
    frame: Result<Vec<Part>, EncodeError>,
    read_header: impl FnOnce(&mut Reader),
    expected: &str,
) {
    let frame = join(&frame.unwrap());
    let text = frame.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    assert_eq!(text, expected, "{} v{version}", M::NAME);
    let mut reader = Reader::new(frame.slice(4..));
    read_header(&mut reader);
    assert_eq!(M::decode(&mut reader, version), Ok(message));
    assert_eq!(reader.finish(), Ok(()));
}

fn request<R: Request + PartialEq + Debug>(request: R, version: i16, expected: &str) {
    let client_id = Some("me".into());
    let frame = frame::request(&request, version, CORRELATION_ID, client_id.as_ref());
    let header =
        RequestHeader { api_key: R::KEY, api_version: version, correlation_id: CORRELATION_ID, client_id };
    let read_header = |reader: &mut Reader| assert_eq!(RequestHeader::decode(reader), Ok(header));
    check(request, version, frame, read_header, expected);
}

fn response<M: Message + PartialEq + Debug>(response: M, key: ApiKey, version: i16, expected: &str) {
    let frame = frame::response(&response, key, version, CORRELATION_ID).map(|frame| frame.parts);
    let header = ResponseHeader { correlation_id: CORRELATION_ID };
    let read_header = |reader: &mut Reader| {
        assert_eq!(ResponseHeader::decode(reader, key, version), Ok(header));
    };
    check(response, version, frame, read_header, expected);
}

#[test]
fn requests_are_kafkas() {
    request(
        ApiVersionsRequest {
            client_software_name: "apache-kafka-java".into(),
            client_software_version: "3.9.1".into(),
        },
        4,
        "00000026001200040000000700026d6500126170616368652d6b61666b612d6a61766106332e392e3100",
    );
    let partition = produce::PartitionProduceData {
        index: 1,
        records: Some(Records::Bytes(Bytes::from_static(b"records"))),
    };
    let topic = produce::TopicProduceData { name: "t".into(), partition_data: vec![partition] };
    let produce =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    request(
        produce.clone(),
        7,
        "0000002e000000070000000700026d65ffffffff0000753000000001000174000000010000000100000007\
         7265636f726473",
    );
    request(
        produce,
        9,
        "00000027000000090000000700026d650000ffff000075300202740200000001087265636f726473000000",
    );
    request(
        ControlledShutdownRequest { broker_id: 2, broker_epoch: (1 << 32) + 1 },
        3,
        "0000001a000700030000000700026d650000000002000000010000000100",
    );
    request(
        HeartbeatRequest {
            group_id: "g".into(),
            generation_id: 3,
            member_id: "m".into(),
            group_instance_id: None,
        },
        4,
        "00000017000c00040000000700026d6500026700000003026d0000",
    );
}

#[test]
fn responses_are_kafkas() {
    let key = api_versions::ApiVersion { api_key: 18, min_version: 0, max_version: 4 };
    response(
        ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            api_keys: vec![key],
            ..Default::default()
        },
        ApiKey::ApiVersions,
        0,
        "0000001000000007002300000001001200000004",
    );
    let partition = fetch::PartitionData {
        partition_index: 1,
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        high_watermark: -1,
        aborted_transactions: Some(Vec::new()),
        records: Some(Records::default()),
        current_leader: fetch::LeaderIdAndEpoch { leader_id: 2, leader_epoch: 5 },
        ..Default::default()
    };
    let topic = fetch::FetchableTopicResponse {
        topic_id: "pdMkkJcgS_CM27Vo2rXdGg".parse().unwrap(),
        partitions: vec![partition],
        ..Default::default()
    };
    let leader = fetch::NodeEndpoint { node_id: 2, host: "b2".into(), port: 9092, rack: None };
    response(
        FetchResponse { responses: vec![topic], node_endpoints: vec![leader], ..Default::default() },
        ApiKey::Fetch,
        16,
        "0000006300000007000000000000000000000002a5d3249097204bf08cdbb568dab5dd1a02000000010006\
         ffffffffffffffffffffffffffffffffffffffffffffffff01ffffffff0101010900000002000000050000\
         01000e0200000002036232000023840000",
    );
}
