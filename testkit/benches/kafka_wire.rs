//! What the codec costs beside another one: `cargo bench -p testkit --bench kafka_wire`. Under `cargo test` every case
//! runs once, so that none rots.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use client::wire::kafka::messages::{
    FetchRequest, HeartbeatRequest, MetadataResponse, ProduceRequest, fetch, metadata, produce,
};
use client::wire::kafka::writer::join;
use client::wire::kafka::{Message, Records, Writer};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};

/// Nanoseconds per call: the best of several rounds, since the machine may be busy with something else.
fn time(rounds: u32, calls: u32, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..rounds).map(round).fold(f64::INFINITY, f64::min)
}

fn compare<M: Message, T: Encodable + Decodable>(measure: bool, name: &str, message: &M, version: i16) {
    let encode = || {
        let mut writer = Writer::new();
        message.encode(&mut writer, version);
        writer.finish().expect("the message fits")
    };
    let bytes = join(&encode());
    let their_message = T::decode(&mut bytes.clone(), version).expect("the other codec understands");
    let calls = (40_000_000 / (bytes.len() as u32 + 1000)).clamp(20, 20_000);
    let (rounds, calls) = if measure { (20, calls) } else { (1, 1) };
    let ours = [
        time(rounds, calls, || drop(black_box(encode()))),
        time(rounds, calls, || drop(black_box(M::decode_all(bytes.clone(), version)))),
    ];
    let theirs = [
        time(rounds, calls, || {
            let mut out = BytesMut::new();
            their_message.encode(&mut out, version).expect("it did before");
            black_box(out);
        }),
        time(rounds, calls, || drop(black_box(T::decode(&mut bytes.clone(), version)))),
    ];
    println!(
        "{name:<36} {:>7} bytes   encode {:>8.0} ns ({:>8.0})   decode {:>8.0} ns ({:>8.0})",
        bytes.len(),
        ours[0],
        theirs[0],
        ours[1],
        theirs[1],
    );
}

fn main() {
    let measure = std::env::args().any(|argument| argument == "--bench");
    println!("in brackets: kafka-protocol 0.15.1");

    let heartbeat = HeartbeatRequest {
        group_id: "a-group".into(),
        generation_id: 7,
        member_id: "consumer-1-0b1f2c3d-4e5f-6789-abcd-ef0123456789".into(),
        ..Default::default()
    };
    compare::<_, theirs::HeartbeatRequest>(measure, "Heartbeat v4", &heartbeat, 4);

    let partition = |index| produce::PartitionProduceData {
        index,
        records: Some(Records::Bytes(Bytes::from(vec![7; 16 << 10]))),
    };
    let topic =
        produce::TopicProduceData { name: "topic".into(), partition_data: (0..10).map(partition).collect() };
    let produce =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    compare::<_, theirs::ProduceRequest>(measure, "Produce v9, 10 × 16 KiB", &produce, 9);

    let partition = |partition| fetch::FetchPartition {
        partition,
        fetch_offset: 1 << 40,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = fetch::FetchTopic {
        topic: "topic".into(),
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    let fetch = FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..Default::default() };
    compare::<_, theirs::FetchRequest>(measure, "Fetch v12, 100 partitions", &fetch, 12);

    let partition = |partition_index| metadata::MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    let topic = |number| metadata::MetadataResponseTopic {
        name: Some(format!("topic-{number}").into()),
        partitions: (0..10).map(partition).collect(),
        ..Default::default()
    };
    let metadata = MetadataResponse { topics: (0..1000).map(topic).collect(), ..Default::default() };
    compare::<_, theirs::MetadataResponse>(measure, "Metadata v12, 1000 × 10 partitions", &metadata, 12);
}
