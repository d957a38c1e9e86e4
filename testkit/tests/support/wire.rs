//! Our broker in this process, and a client of its wire that does what it is told.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker::config::{Config, Sources};
use broker::server::Running;
use bytes::Bytes;
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, batches};
use client::wire::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use client::wire::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use client::wire::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use client::wire::kafka::writer::join;
use client::wire::kafka::{ErrorCode, Reader, Records, Request, ResponseHeader, frame};
use testkit::process::Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn start_broker(coordinator: &Server, data: &Path, more: &[(&str, &str)]) -> Running {
    let connect = format!("{}/cluster", coordinator.connect_string());
    let own = [
        ("broker.id", "1"),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", data.to_str().expect("a plain path")),
        ("zookeeper.connect", &connect),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "3"),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    let flags = own.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (config, problems) = Config::load(&Sources { flags, ..Sources::default() });
    let config = config.unwrap_or_else(|| panic!("{:?}", problems.errors));
    Running::start(config).await.expect("the broker starts")
}

pub fn address(broker: &Running) -> SocketAddr {
    broker.addresses[0].1
}

/// A connection that asks and waits for the answer.
pub struct Wire<S = TcpStream>(pub S);

impl Wire {
    pub async fn to(broker: &Running) -> Wire {
        Wire(TcpStream::connect(address(broker)).await.expect("connected"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.try_ask(request, version).await.expect("an answer")
    }

    /// `None` if the connection ends instead.
    pub async fn try_ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        let parts = frame::request(request, version, 7, Some(&"test".into())).expect("it can be written");
        self.0.write_all(&join(&parts)).await.ok()?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length).await.ok()?;
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).await.ok()?;
        let mut reader = Reader::new(Bytes::from(answer));
        let header = ResponseHeader::decode(&mut reader, R::KEY, version).expect("a header");
        assert_eq!(header.correlation_id, 7);
        let response = client::wire::kafka::Message::decode(&mut reader, version).expect("the answer");
        reader.finish().expect("nothing behind it");
        Some(response)
    }

    /// Makes a topic of one partition.
    pub async fn create(&mut self, name: &str) {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let made = self.ask(&request, 7).await;
        assert_eq!(made.topics[0].error_code, ErrorCode::NONE, "{:?}", made.topics[0].error_message);
    }

    pub async fn produce(&mut self, topic: &str, batch: Bytes) -> (ErrorCode, i64) {
        let answer = self.ask(&produce(topic, batch), 9).await;
        let partition = &answer.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    /// Reads from the beginning; whether the answer is that this was too fast.
    pub async fn fetch_throttled(&mut self, topic: &str) -> bool {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
        let topics =
            vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
        let request = FetchRequest { min_bytes: 1, max_bytes: 1 << 20, topics, ..Default::default() };
        let answer = self.ask(&request, 11).await;
        assert_eq!(answer.throttle_time_ms > 0, answer.responses.is_empty());
        answer.throttle_time_ms > 0
    }

    pub async fn fetch(&mut self, topic: &str, offset: i64) -> Result<Vec<(i64, Bytes)>, ErrorCode> {
        self.fetch_waiting(topic, offset, Duration::from_millis(100)).await
    }

    /// Reads, and waits so long if there is nothing.
    pub async fn fetch_waiting(
        &mut self,
        topic: &str,
        offset: i64,
        wait: Duration,
    ) -> Result<Vec<(i64, Bytes)>, ErrorCode> {
        let partition =
            FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
        let topics =
            vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
        let request =
            FetchRequest { max_wait_ms: wait.as_millis() as i32, min_bytes: 1, topics, ..Default::default() };
        let answer = self.ask(&request, 11).await;
        let partition = &answer.responses[0].partitions[0];
        if partition.error_code != ErrorCode::NONE {
            return Err(partition.error_code);
        }
        let Some(Records::Bytes(bytes)) = partition.records.clone() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for batch in batches(bytes) {
            for record in batch.expect("whole").records(1 << 20).expect("readable") {
                let record = record.expect("readable");
                found.push((record.offset, record.value.unwrap_or_default()));
            }
        }
        Ok(found.into_iter().filter(|(at, _)| *at >= offset).collect())
    }
}

/// A request to write a batch into a topic of one partition.
pub fn produce(topic: &str, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData { index: 0, records: Some(Records::Bytes(batch)) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![partition] };
    ProduceRequest { acks: -1, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

pub fn batch(values: &[&str]) -> Bytes {
    batch_of(BatchOptions::default(), values)
}

/// The time of all records: now, for old ones would be retired.
pub fn record_time() -> i64 {
    static TIME: OnceLock<i64> = OnceLock::new();
    *TIME.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_millis()).expect("before the end of time")
    })
}

pub fn batch_of(options: BatchOptions, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.push(record_time(), None, Some(value.as_bytes()));
    }
    builder.build().expect("small")
}
