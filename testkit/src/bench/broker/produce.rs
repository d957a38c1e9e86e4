//! Producing as fast as the broker acknowledges: prebuilt requests, five under way on each of four connections, which is
//! what a producer with default settings keeps under way.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use client::wire::kafka::batch::{BatchBuilder, BatchOptions};
use client::wire::kafka::compression::Codec;
use client::wire::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use client::wire::kafka::{ErrorCode, Records, Request};

use super::report::BrokerReport;
use super::side::Side;
use super::wire::{CORRELATION, answer, request_frame};
use super::{BrokerPlan, ProduceShape};
use crate::bench::load::{Heard, Pace, Shape, Talk, converse};
use crate::process::Usage;
use crate::sim::random::Random;

/// Connections and requests under way.
const SHAPE: Shape = Shape { connections: 4, depth: 5 };
const VERSION: i16 = 9;

/// Sends the same request again and again.
struct Producer {
    frame: Vec<u8>,
    records: u64,
    bytes: u64,
}

impl Producer {
    fn new(topic: &str, shape: ProduceShape) -> Result<Producer> {
        let per_batch = (shape.batch_bytes / shape.record_bytes).max(1);
        let mut partition_data = Vec::new();
        for index in 0..shape.partitions {
            let batch = batch(shape.codec, shape.record_bytes, per_batch, index as u64)?;
            partition_data.push(PartitionProduceData { index, records: Some(Records::Bytes(batch)) });
        }
        let topic_data = vec![TopicProduceData { name: topic.into(), partition_data }];
        let request =
            ProduceRequest { acks: shape.acks, timeout_ms: 30_000, topic_data, ..Default::default() };
        let records = per_batch as u64 * shape.partitions as u64;
        let frame = request_frame(&request, VERSION)?;
        Ok(Producer { frame, records, bytes: records * shape.record_bytes as u64 })
    }
}

impl Talk for Producer {
    fn ask(&mut self, number: i32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        out[start..][CORRELATION].copy_from_slice(&number.to_be_bytes());
    }

    fn hear(&mut self, frame: &[u8]) -> Result<Heard> {
        let answer = answer::<ProduceRequest>(frame, VERSION)?;
        let mut partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        let failed = partitions.any(|partition| partition.error_code != ErrorCode::NONE);
        Ok(Heard { answers: true, failed, operations: self.records, bytes: self.bytes })
    }
}

/// A batch of records of words from a small dictionary, which packs about as well as logs and JSON do.
pub(super) fn batch(codec: Codec, record_bytes: usize, count: usize, seed: u64) -> Result<Bytes> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let mut random = Random::stream(seed, 1);
    let words: Vec<[u8; 8]> = (0..512).map(|_| random.next_u64().to_le_bytes()).collect();
    let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
    for _ in 0..count {
        let mut value = Vec::with_capacity(record_bytes + 8);
        while value.len() < record_bytes {
            value.extend_from_slice(&words[random.below(512) as usize]);
        }
        value.truncate(record_bytes);
        builder.push(now_ms, None, Some(&value));
    }
    builder.build().context("a batch")
}

/// Fills a topic of one partition with so many bytes of records of 1 KiB; returns its end.
pub(super) fn fill(side: &Side, topic: &str, bytes: u64) -> Result<i64> {
    let mut wire = side.wire()?;
    wire.create(&[topic.to_owned()], 1)?;
    let (count, record_bytes) = (1000, 1 << 10);
    let records = Some(Records::Bytes(batch(Codec::None, record_bytes, count, 7)?));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: topic.into(), partition_data }];
    let request = ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() };
    let times = bytes / (count * record_bytes) as u64;
    for _ in 0..times {
        let answer = wire.ask(&request, VERSION)?;
        anyhow::ensure!(
            answer.responses[0].partition_responses[0].error_code == ErrorCode::NONE,
            "{answer:?}"
        );
    }
    Ok((times * count as u64) as i64)
}

/// Work that is not counted, so that a virtual machine has compiled its hot paths before anything is.
pub(super) fn warm_up(side: &Side) -> Result<()> {
    for (codec, partitions) in [(Codec::None, 1), (Codec::Lz4, 12)] {
        let shape = ProduceShape { record_bytes: 1 << 10, batch_bytes: 16 << 10, acks: 1, codec, partitions };
        measure(side, shape, 3.0)?;
    }
    Ok(())
}

fn measure(side: &Side, shape: ProduceShape, seconds: f64) -> Result<crate::bench::Tally> {
    let topic = "produced".to_owned();
    let mut wire = side.wire()?;
    wire.create(std::slice::from_ref(&topic), shape.partitions)?;
    let mut open = |_| -> Result<(TcpStream, Box<dyn Talk>)> {
        Ok((connect(side.address())?, Box::new(Producer::new(&topic, shape)?)))
    };
    let (tally, _) = converse(SHAPE, Pace::Closed, seconds, &mut open, &|| side.usage())?;
    wire.delete(&topic)?;
    // Files go a second after their topic; what they held must not be written during the next case.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    anyhow::ensure!(tally.errors == 0, "{} requests of {} were refused", tally.errors, shape.name());
    Ok(tally)
}

pub(super) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Every shape of the plan.
pub(super) fn all(plan: &BrokerPlan, side: &Side, report: &mut BrokerReport) -> Result<()> {
    for &shape in &plan.produce {
        let tally = measure(side, shape, plan.seconds)?;
        report.throughput(side.maker, &shape.name(), &tally);
    }
    Ok(())
}

/// What the generator could reach at most: against a responder that reads requests and answers each with the same bytes.
pub(super) fn generator_alone(plan: &BrokerPlan, report: &mut BrokerReport) -> Result<()> {
    if !plan.wants("produce") {
        return Ok(());
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || acknowledge(socket));
        }
    });
    let none = || Ok(Usage::default());
    for batch_bytes in [4 << 10, 16 << 10, 64 << 10] {
        let (acks, codec, partitions) = (1, Codec::None, 1);
        let shape = ProduceShape { record_bytes: 1 << 10, batch_bytes, acks, codec, partitions };
        let mut open = |_| -> Result<(TcpStream, Box<dyn Talk>)> {
            Ok((connect(address)?, Box::new(Producer::new("produced", shape)?)))
        };
        let (tally, _) = converse(SHAPE, Pace::Closed, plan.seconds.min(1.0), &mut open, &none)?;
        report.generator(batch_bytes, &tally);
    }
    Ok(())
}

fn acknowledge(mut socket: TcpStream) -> Result<()> {
    use client::wire::kafka::messages::produce::{
        PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };
    let partition = PartitionProduceResponse::default();
    let topic = TopicProduceResponse { name: "produced".into(), partition_responses: vec![partition] };
    let response = ProduceResponse { responses: vec![topic], ..Default::default() };
    let frame = client::wire::kafka::frame::response(&response, ProduceRequest::KEY, VERSION, 0)?;
    let reply = client::wire::kafka::writer::join(&frame.parts);
    let mut buffer = vec![0; 1 << 20];
    let (mut skip, mut out) = (0usize, Vec::new());
    let mut head: Vec<u8> = Vec::new();
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            if skip > 0 {
                let used = skip.min(rest.len());
                (skip, rest) = (skip - used, &rest[used..]);
                continue;
            }
            let used = (CORRELATION.end - head.len()).min(rest.len());
            head.extend_from_slice(&rest[..used]);
            rest = &rest[used..];
            if head.len() == CORRELATION.end {
                skip = u32::from_be_bytes(head[..4].try_into()?) as usize - (CORRELATION.end - 4);
                let start = out.len();
                out.extend_from_slice(&reply);
                out[start + 4..start + 8].copy_from_slice(&head[CORRELATION]);
                head.clear();
            }
        }
        socket.write_all(&out)?;
        out.clear();
    }
}
