//! The same for a broker: what it must answer to bytes that no proper client sends.
//!
//! The rows run against ours and against Apache Kafka 3.9 as control.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use client::wire::kafka::batch::{BatchBuilder, BatchOptions};
use client::wire::kafka::compression::Codec;
use client::wire::kafka::messages::api_versions::ApiVersionsRequest;
use client::wire::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use client::wire::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use client::wire::kafka::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use client::wire::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use client::wire::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use client::wire::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use client::wire::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use client::wire::kafka::writer::join;
use client::wire::kafka::{ErrorCode, Reader, Records, Request, ResponseHeader, frame};

use crate::raw::{Body, Connection, Next};

/// The topic that rows write to; it has one partition and a `max.message.bytes` of 100,000.
pub const TOPIC: &str = "badinput";
/// See [`TOPIC`].
pub const MESSAGE_BYTES_MAX: usize = 100_000;

const PATIENCE: Duration = Duration::from_secs(10);

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The connection ends without a word.
    Closes,
    /// The answer has this error.
    Code(ErrorCode),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Closes => f.write_str("closes"),
            Outcome::Code(code) => write!(f, "{} ({})", code.0, code.message()),
        }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub enum Input {
    /// Bytes. Of an answer, the two bytes behind the correlation id count, after so many more.
    Raw(Vec<u8>, usize),
    /// Bytes, and the word that no more will come.
    Half(Vec<u8>),
    /// A request to write this into a partition, with these acks.
    Produce { topic: &'static str, partition: i32, acks: i16, records: Vec<u8> },
    /// A request to make a topic of this name.
    Create(String),
}

/// One input and its answers.
#[derive(Debug, Clone)]
pub struct Row {
    /// What the input is, in words.
    pub name: String,
    /// The bytes.
    pub input: Input,
    /// What ours does.
    pub ours: Outcome,
    /// What Apache Kafka does, where that is something else.
    pub control: Option<Outcome>,
}

impl Row {
    /// What must come back.
    pub fn expected(&self, is_control: bool) -> Outcome {
        self.control.filter(|_| is_control).unwrap_or(self.ours)
    }

    fn control(mut self, outcome: Outcome) -> Row {
        self.control = Some(outcome);
        self
    }
}

/// Plays one row.
pub fn run(address: SocketAddr, row: &Row) -> Result<Outcome> {
    let mut connection = Connection::open(address)?;
    let (bytes, skipped) = match &row.input {
        Input::Raw(bytes, skipped) => (bytes.clone(), *skipped),
        Input::Half(bytes) => return half(connection, bytes),
        Input::Create(name) => return create(&mut connection, name),
        Input::Produce { topic, partition, acks, records } => {
            return produce(&mut connection, topic, *partition, *acks, records.clone());
        }
    };
    // The server may close before it took everything.
    let _ = connection.send(&bytes);
    match connection.next(PATIENCE) {
        Next::Closed => Ok(Outcome::Closes),
        Next::Silence => bail!("{}: neither an answer nor a close within {PATIENCE:?}", row.name),
        Next::Frame(answer) => {
            let code = answer.get(4 + skipped..6 + skipped).context("an answer too short for a code")?;
            Ok(Outcome::Code(ErrorCode(i16::from_be_bytes([code[0], code[1]]))))
        }
    }
}

/// Whatever of this comes back is too much.
fn half(connection: Connection, bytes: &[u8]) -> Result<Outcome> {
    let mut socket = connection.into_socket();
    socket.write_all(bytes)?;
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    match socket.read(&mut [0]) {
        Ok(1..) => bail!("half a request was answered"),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => bail!("no close within {PATIENCE:?}"),
        Ok(0) | Err(_) => Ok(Outcome::Closes),
    }
}

/// Makes a topic, and returns the error.
pub fn create(connection: &mut Connection, name: &str) -> Result<Outcome> {
    let topic =
        CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    Ok(match ask(connection, &request, 4)? {
        Some(answer) => Outcome::Code(answer.topics.first().context("no topic")?.error_code),
        None => Outcome::Closes,
    })
}

fn produce(
    connection: &mut Connection,
    topic: &str,
    index: i32,
    acks: i16,
    records: Vec<u8>,
) -> Result<Outcome> {
    let partition = PartitionProduceData { index, records: Some(Records::Bytes(Bytes::from(records))) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![partition] };
    let request = ProduceRequest { acks, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() };
    Ok(match ask(connection, &request, 7)? {
        Some(answer) => {
            let topic = answer.responses.first().context("no topic")?;
            Outcome::Code(topic.partition_responses.first().context("no partition")?.error_code)
        }
        None => Outcome::Closes,
    })
}

/// Asks something; `None` if the connection ends instead of an answer.
pub fn ask<R: Request>(
    connection: &mut Connection,
    request: &R,
    version: i16,
) -> Result<Option<R::Response>> {
    let parts = frame::request(request, version, 7, Some(&"badinput".into()))?;
    connection.send(&join(&parts))?;
    let answer = match connection.next(PATIENCE) {
        Next::Closed => return Ok(None),
        Next::Silence => bail!("neither an answer nor a close within {PATIENCE:?}"),
        Next::Frame(answer) => answer,
    };
    let mut reader = Reader::new(Bytes::from(answer));
    let header = ResponseHeader::decode(&mut reader, R::KEY, version)?;
    ensure!(header.correlation_id == 7, "an answer to something else");
    Ok(Some(client::wire::kafka::Message::decode(&mut reader, version)?))
}

/// Every row. Order matters only where a row says that it is about something sent before.
pub fn table() -> Vec<Row> {
    let mut rows = frames();
    rows.extend(bodies());
    rows.extend(batches());
    rows.extend(records());
    rows.extend(packed());
    rows.extend(announced());
    rows.extend(sequences());
    rows.extend(requests());
    rows.extend(cut());
    rows
}

fn row(name: impl Into<String>, input: Input, ours: Outcome) -> Row {
    Row { name: name.into(), input, ours, control: None }
}

/// A request's header with a client id of its own kind, and whatever follows.
fn request(key: i16, version: i16, client_id: &[u8], body: &[u8]) -> Vec<u8> {
    let header = [key.to_be_bytes(), version.to_be_bytes()].concat();
    Body::new().raw(header).int(7).raw(client_id).raw(body).frame()
}

/// The client id `x`, as all but the newest headers have it.
const CLIENT: &[u8] = &[0, 1, b'x'];

const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

fn frames() -> Vec<Row> {
    let closes = |name: &str, bytes: &[u8]| row(name, Input::Raw(bytes.to_vec(), 0), Outcome::Closes);
    let asks = |name: &str, key: i16, version: i16| {
        row(name, Input::Raw(request(key, version, CLIENT, &[]), 0), Outcome::Closes)
    };
    let whole = request(METADATA, 1, CLIENT, &(-1i32).to_be_bytes());
    let half = |name: &str, length: usize| row(name, Input::Half(whole[..length].to_vec()), Outcome::Closes);
    vec![
        half("not a byte, and then the end", 0),
        half("half a length, and then the end", 2),
        half("a length, and then the end", 4),
        half("half a header, and then the end", 9),
        half("all but the last byte of a request, and then the end", whole.len() - 1),
        closes("a frame of length 2^31-1", &i32::MAX.to_be_bytes()),
        closes("a frame of length -1", &(-1i32).to_be_bytes()),
        closes("a frame of length 0", &0i32.to_be_bytes()),
        closes("a frame of length -2^31", &i32::MIN.to_be_bytes()),
        closes("a frame over socket.request.max.bytes", &(100 << 20 | 1i32).to_be_bytes()),
        closes(
            "the beginning of a request with a record of 200 MiB",
            &[&(200i32 << 20).to_be_bytes()[..], &request(0, 9, CLIENT, &[0; 1000])[4..]].concat(),
        ),
        closes("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        closes("a TLS handshake", &[0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03]),
        closes("a header of 4 bytes", &Body::new().int(METADATA.into()).frame()),
        closes("a header cut in its client id", &request(METADATA, 1, &[0, 9, b'x'], &[])),
        asks("API key 999", 999, 0),
        asks("API key -1", -1, 0),
        asks("API key 2^15-1 of version 2^15-1", i16::MAX, i16::MAX),
        asks("API key -2^15 of version -2^15", i16::MIN, i16::MIN),
        asks("Metadata of version 99", METADATA, 99),
        asks("Metadata of version 2^15-1", METADATA, i16::MAX),
        asks("Metadata of version -1", METADATA, -1),
        row(
            "ApiVersions of version 99",
            Input::Raw(request(API_VERSIONS, 99, CLIENT, &[0]), 0),
            Outcome::Code(ErrorCode::UNSUPPORTED_VERSION),
        ),
        // In clear text there is nothing to agree on; we do not offer it.
        row(
            "SaslHandshake",
            Input::Raw(request(17, 1, CLIENT, &[0, 5, b'P', b'L', b'A', b'I', b'N']), 0),
            Outcome::Closes,
        )
        .control(Outcome::Code(ErrorCode::ILLEGAL_SASL_STATE)),
    ]
}

fn bodies() -> Vec<Row> {
    let metadata = |name: &str, version: i16, body: &[u8]| {
        row(name, Input::Raw(request(METADATA, version, CLIENT, body), 0), Outcome::Closes)
    };
    // What an answer with a throttle time of zero and brokers begins with.
    let answers = |mut row: Row| {
        row.ours = Outcome::Code(ErrorCode::NONE);
        row
    };
    vec![
        metadata("an empty body", 1, &[]),
        metadata("2^31-1 topics", 1, &i32::MAX.to_be_bytes()),
        metadata("1,000,000 topics and none there", 1, &1_000_000i32.to_be_bytes()),
        answers(metadata("-5 topics", 3, &(-5i32).to_be_bytes())),
        answers(row(
            "a client id of length -2",
            Input::Raw(request(METADATA, 3, &[0xff, 0xfe], &0i32.to_be_bytes()), 0),
            Outcome::Closes,
        )),
        metadata("a topic longer than the frame", 1, &[0, 0, 0, 1, 0, 9, b'x']),
        metadata("a count of more than five bytes", 9, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        metadata("a compact string past the end", 9, &[0, 2, 100, b'x']),
        metadata("2^31-1 topics in a compact array", 9, &[&[0], MANY_COMPACT].concat()),
        metadata("a count of ten bytes", 9, &[&[0], TEN_BYTES].concat()),
        metadata("2^31-1 tagged fields in the header", 9, MANY),
        metadata("a count of tagged fields of ten bytes", 9, TEN_BYTES),
        metadata("a tagged field of 2^31-1 bytes in the header", 9, &[&[1, 0], MANY].concat()),
        metadata("2^31-1 tagged fields behind the body", 9, &[&[0, 1, 1, 0, 0], MANY].concat()),
        metadata("tagged fields past the end", 9, &[0, 1, 1, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0x7f]),
    ]
}

/// 2^31-1 as a varint, the same as the count of a compact array, and more bytes than a varint may have.
const MANY: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x07];
const MANY_COMPACT: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x08];
const TEN_BYTES: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

/// Bodies that are nothing but the largest counts, for requests of any kind.
pub fn largest_counts() -> [Vec<u8>; 4] {
    let headed = |count: &[u8]| [&[0], count.repeat(12).as_slice()].concat();
    [i32::MAX.to_be_bytes().repeat(16), headed(MANY_COMPACT), headed(MANY), headed(TEN_BYTES)]
}

/// A request of any kind with this body.
pub fn request_of(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    request(key, version, CLIENT, body)
}

fn batch_with(options: BatchOptions, values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.push(1_700_000_000_000, None, Some(value));
    }
    builder.build().expect("small").to_vec()
}

fn batch(values: &[&[u8]]) -> Vec<u8> {
    batch_with(BatchOptions::default(), values)
}

/// Where things stand in a batch.
mod at {
    pub(super) const BASE_OFFSET: usize = 0;
    pub(super) const LENGTH: usize = 8;
    pub(super) const BEHIND_LENGTH: usize = 12;
    pub(super) const MAGIC: usize = 16;
    pub(super) const CRC: usize = 17;
    pub(super) const ATTRIBUTES: usize = 21;
    pub(super) const LAST_OFFSET_DELTA: usize = 23;
    pub(super) const COUNT: usize = 57;
    pub(super) const RECORDS: usize = 61;
}

fn with(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    batch
}

/// The same with a checksum that is right.
fn sealed(batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[at::ATTRIBUTES..]);
    with(batch, at::CRC, &crc.to_be_bytes())
}

fn produces(name: impl Into<String>, records: Vec<u8>, code: ErrorCode) -> Row {
    row(name, Input::Produce { topic: TOPIC, partition: 0, acks: -1, records }, Outcome::Code(code))
}

fn batches() -> Vec<Row> {
    let good = || batch(&[b"a", b"b"]);
    let changed = |name: &str, at: usize, bytes: &[u8], code: ErrorCode| {
        produces(name, sealed(with(good(), at, bytes)), code)
    };
    let damaged =
        |name: &str, at: usize, bytes: &[u8], code: ErrorCode| produces(name, with(good(), at, bytes), code);
    let (corrupt, invalid) = (ErrorCode::CORRUPT_MESSAGE, ErrorCode::INVALID_RECORD);
    let count = |count: i32| count.to_be_bytes();
    let twice = [good(), good()].concat();
    vec![
        produces("a good batch", good(), ErrorCode::NONE),
        damaged("a batch with a wrong checksum", at::CRC, &[0; 4], corrupt),
        damaged("a batch of length 10", at::LENGTH, &count(10), corrupt),
        damaged("a batch of length -1", at::LENGTH, &count(-1), corrupt),
        damaged("a batch of magic 7", at::MAGIC, &[7], corrupt),
        produces("noise", (0..200u8).map(|byte| byte.wrapping_mul(37)).collect(), corrupt),
        damaged("a batch longer than what came", at::LENGTH, &count(1 << 20), invalid),
        damaged("a batch of all but 2^31 bytes", at::LENGTH, &count(i32::MAX - 12), invalid),
        changed("a count that is not that of the records", at::COUNT, &count(1), invalid),
        changed("a count of -3", at::COUNT, &count(-3), invalid),
        changed("a count of 0", at::COUNT, &count(0), invalid),
        changed("a count of 2^31-1", at::COUNT, &count(i32::MAX), invalid),
        changed("a last offset that the count contradicts", at::LAST_OFFSET_DELTA, &count(5), invalid),
        produces("two batches", twice, invalid),
        produces("no batch at all", Vec::new(), invalid),
        changed("a control batch", at::ATTRIBUTES, &[0, 0x20], invalid),
        changed(
            "a transactional batch in a request that names no transaction",
            at::ATTRIBUTES,
            &[0, 0x10],
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        damaged("a batch that begins at offset 999", at::BASE_OFFSET, &999i64.to_be_bytes(), invalid),
    ]
}

/// A batch that says how its records are packed, and has these bytes in their place.
fn filled(codec: u8, records: &[u8]) -> Vec<u8> {
    let mut batch = with(batch(&[b"a"]), at::ATTRIBUTES, &[0, codec]);
    batch.truncate(at::RECORDS);
    batch.extend_from_slice(records);
    let length = i32::try_from(batch.len() - at::BEHIND_LENGTH).expect("small").to_be_bytes();
    sealed(with(batch, at::LENGTH, &length))
}

/// Records that are not what they say.
fn records() -> Vec<Row> {
    // 2^31-1 as records write it.
    const LARGEST: &[u8] = &[0xfe, 0xff, 0xff, 0xff, 0x0f];
    let record = |name: &str, body: &[&[u8]]| {
        let body = body.concat();
        let length = [2 * body.len() as u8];
        produces(name, filled(0, &[&length[..], &body].concat()), ErrorCode::INVALID_RECORD)
    };
    let counts = [i32::MAX - 1, i32::MAX].map(i32::to_be_bytes);
    let many = with(with(batch(&[b"a"]), at::LAST_OFFSET_DELTA, &counts[0]), at::COUNT, &counts[1]);
    vec![
        produces("2^31-1 records, of which one came", sealed(many), ErrorCode::INVALID_RECORD),
        produces("a record of 2^31-1 bytes", filled(0, LARGEST), ErrorCode::INVALID_RECORD),
        record("a key of 2^31-1 bytes", &[&[0, 0, 0], LARGEST, &[0; 9]]),
        record("a value of 2^31-1 bytes", &[&[0, 0, 0, 1], LARGEST, &[0; 9]]),
        record("2^31-1 headers of a record", &[&[0, 0, 0, 1, 1], LARGEST, &[0; 9]]),
        record("a header's key of 2^31-1 bytes", &[&[0, 0, 0, 1, 1, 2], LARGEST, &[0; 9]]),
    ]
}

/// Packed records that announce more than there is.
fn announced() -> Vec<Row> {
    let unpacks = |name: &str, codec: u8, bytes: &[u8]| {
        produces(name, filled(codec, bytes), ErrorCode::INVALID_RECORD)
            .control(Outcome::Code(ErrorCode::UNKNOWN_SERVER_ERROR))
    };
    let mut once = Vec::new();
    Codec::Gzip.compress(None, &vec![0; 20 << 20], &mut once).expect("memory");
    let mut twice = Vec::new();
    Codec::Gzip.compress(None, &once, &mut twice).expect("memory");
    vec![
        produces("20 MiB of nothing, packed twice", filled(1, &twice), ErrorCode::INVALID_RECORD),
        unpacks("a snappy block of 2^32-1 bytes", 2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]),
        // The magic number, then a window of 2^41 bytes.
        unpacks("a zstd frame with a window of 2 TiB", 4, &[0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8, 1, 0, 0]),
        // The magic number, then a content of 2^64-1 bytes in one segment.
        unpacks(
            "a zstd frame of 2^64-1 bytes",
            4,
            &[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0],
        ),
    ]
}

fn packed() -> Vec<Row> {
    let unknown = ErrorCode::UNKNOWN_SERVER_ERROR;
    let packed = |codec: u8| sealed(with(batch(&[b"a"]), at::ATTRIBUTES, &[0, codec]));
    let mut rows =
        vec![produces("codec 7", packed(7), ErrorCode::INVALID_RECORD).control(Outcome::Code(unknown))];
    for (codec, name) in [(1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")] {
        let row =
            produces(format!("plain records that say {name}"), packed(codec), ErrorCode::INVALID_RECORD);
        rows.push(row.control(Outcome::Code(unknown)));
    }
    // Twenty megabytes of nothing, in twenty kilobytes.
    let zeros = vec![0; 20 << 20];
    let bomb = batch_with(BatchOptions { codec: Codec::Gzip, ..BatchOptions::default() }, &[&zeros]);
    rows.push(produces("a record of 20 MiB in 20 KiB", bomb, ErrorCode::NONE));
    let options = BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() };
    let bomb = batch_with(options, &[&vec![0; 200 << 20]]);
    rows.push(produces("a record of 200 MiB in 20 KiB", bomb, ErrorCode::NONE));
    let mut nothing = Vec::new();
    Codec::Gzip.compress(None, &zeros, &mut nothing).expect("memory");
    let name = "20 MiB that are no records in 20 KiB";
    rows.push(produces(name, filled(1, &nothing), ErrorCode::INVALID_RECORD));
    rows
}

/// Batches of one producer, which nobody has heard of before, in this order.
fn sequences() -> Vec<Row> {
    let sends = |name: &str, epoch: i16, sequence: i32, code: ErrorCode| {
        let options = BatchOptions {
            producer_id: 4711,
            producer_epoch: epoch,
            base_sequence: sequence,
            ..BatchOptions::default()
        };
        produces(name, batch_with(options, &[b"a"]), code)
    };
    vec![
        sends("the first word of a producer, at sequence 5", 1, 5, ErrorCode::NONE),
        sends("the same again", 1, 5, ErrorCode::NONE),
        sends("a gap in the sequence", 1, 9, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        sends("an epoch that is over", 0, 6, ErrorCode::INVALID_PRODUCER_EPOCH),
        sends("a producer without a sequence", 1, -1, ErrorCode::INVALID_RECORD),
    ]
}

/// A consumer's word that it wants to be in a group.
pub fn joins(group: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"\0\0") };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

/// Good requests. Neither they nor what damage makes of them asks for much.
pub fn good_requests() -> Vec<Body> {
    fn body<R: Request>(request: &R, version: i16) -> Body {
        let parts = frame::request(request, version, 7, Some(&"badinput".into())).expect("it fits");
        Body(join(&parts)[4..].to_vec())
    }
    let metadata = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() }]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let records = Some(Records::Bytes(Bytes::from(batch(&[b"a"]))));
    let partition = PartitionProduceData { index: 0, records };
    let topic = TopicProduceData { name: TOPIC.into(), partition_data: vec![partition] };
    let produce = ProduceRequest { acks: 1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
    let partition = FetchPartition { partition_max_bytes: 1000, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let fetch = FetchRequest { max_bytes: 1000, topics: vec![topic], ..Default::default() };
    let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] };
    let offsets = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
    let partition = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition] };
    let commit = OffsetCommitRequest { group_id: "g".into(), topics: vec![topic], ..Default::default() };
    let versions =
        ApiVersionsRequest { client_software_name: "badinput".into(), client_software_version: "1".into() };
    let join_group = joins("g");
    vec![
        body(&metadata, 1),
        body(&metadata, 12),
        body(&produce, 3),
        body(&produce, 9),
        body(&fetch, 4),
        body(&fetch, 12),
        body(&offsets, 1),
        body(&offsets, 7),
        body(&commit, 2),
        body(&commit, 8),
        body(&versions, 3),
        body(&join_group, 1),
        body(&join_group, 6),
    ]
}

/// Every beginning of every good request.
fn cut() -> Vec<Row> {
    let mut rows = Vec::new();
    for good in good_requests() {
        let key = i16::from_be_bytes([good.0[0], good.0[1]]);
        let version = i16::from_be_bytes([good.0[2], good.0[3]]);
        for length in 0..good.0.len() {
            let name = format!("request {key}.{version} cut after {length} of {} bytes", good.0.len());
            let cut = Body(good.0[..length].to_vec()).frame();
            rows.push(row(name, Input::Raw(cut, 0), Outcome::Closes));
        }
    }
    rows
}

fn requests() -> Vec<Row> {
    let writes = |name: &str, partition: i32, acks: i16, code: ErrorCode| {
        let input = Input::Produce { topic: TOPIC, partition, acks, records: batch(&[b"a"]) };
        row(name, input, Outcome::Code(code))
    };
    let large = vec![b'x'; MESSAGE_BYTES_MAX];
    let names = |name: &str, text: &str| {
        row(name, Input::Create(text.to_owned()), Outcome::Code(ErrorCode::INVALID_TOPIC_EXCEPTION))
    };
    vec![
        produces("more than max.message.bytes", batch(&[&large]), ErrorCode::MESSAGE_TOO_LARGE),
        writes("acks 5", 0, 5, ErrorCode::INVALID_REQUIRED_ACKS),
        writes("partition 9", 9, 1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        writes("partition -1", -1, 1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        names("a topic named ..", ".."),
        names("a topic of 250 characters", &"x".repeat(250)),
        names("a topic named a/b", "a/b"),
        names("a topic with NUL in its name", "a\0b"),
        names("a topic without a name", ""),
    ]
}
