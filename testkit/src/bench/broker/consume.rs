//! Consuming what is there already: from the page cache, and from the disk.

use std::net::TcpStream;
use std::path::Path;

use anyhow::{Result, ensure};
use client::wire::kafka::batch::batches;
use client::wire::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use client::wire::kafka::{ErrorCode, Records};

use super::BrokerPlan;
use super::produce::{connect, fill};
use super::report::BrokerReport;
use super::side::Side;
use super::wire::{CORRELATION, answer, request_frame};
use crate::bench::Tally;
use crate::bench::load::{Heard, Pace, Shape, Talk, converse};

pub(super) const VERSION: i16 = 11;
/// What a consumer with default settings asks for at once, of one partition and in all.
const PARTITION_BYTES: i32 = 1 << 20;
const FETCH_BYTES: i32 = 50 << 20;

/// A request for what follows an offset.
pub(super) fn fetch(topic: &str, fetch_offset: i64) -> FetchRequest {
    let partition =
        FetchPartition { fetch_offset, partition_max_bytes: PARTITION_BYTES, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        topics: vec![topic],
        ..Default::default()
    }
}

/// Reads a topic of one partition from its begin to its end, and begins again.
struct Consumer {
    topic: String,
    offset: i64,
    end: i64,
}

impl Talk for Consumer {
    fn ask(&mut self, number: i32, out: &mut Vec<u8>) {
        let mut frame =
            request_frame(&fetch(&self.topic, self.offset), VERSION).expect("a request can be written");
        frame[CORRELATION].copy_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&frame);
    }

    fn hear(&mut self, frame: &[u8]) -> Result<Heard> {
        let answer = answer::<FetchRequest>(frame, VERSION)?;
        let partition = &answer.responses[0].partitions[0];
        ensure!(partition.error_code == ErrorCode::NONE, "fetch: {:?}", partition.error_code);
        let mut heard = Heard { answers: true, ..Heard::default() };
        let Some(Records::Bytes(bytes)) = partition.records.clone() else { return Ok(heard) };
        heard.bytes = bytes.len() as u64;
        for batch in batches(bytes) {
            // The last one may be cut off.
            let Ok(batch) = batch else { break };
            heard.operations += (batch.header().next_offset() - batch.header().base_offset) as u64;
            self.offset = batch.header().next_offset();
        }
        if self.offset >= self.end {
            self.offset = 0;
        }
        Ok(heard)
    }
}

fn measure(side: &Side, topic: &str, end: i64, connections: usize, seconds: f64) -> Result<Tally> {
    let mut open = |index: usize| -> Result<(TcpStream, Box<dyn Talk>)> {
        // Each begins elsewhere.
        let offset = end / 1000 * index as i64 / connections as i64 * 1000;
        Ok((connect(side.address())?, Box::new(Consumer { topic: topic.to_owned(), offset, end })))
    };
    let shape = Shape { connections, depth: 1 };
    Ok(converse(shape, Pace::Closed, seconds, &mut open, &|| side.usage())?.0)
}

pub(super) fn all(plan: &BrokerPlan, side: &Side, report: &mut BrokerReport) -> Result<()> {
    let topic = "consumed";
    let end = fill(side, topic, plan.topic_bytes)?;
    if plan.wants("consume") {
        for connections in [1, 4] {
            measure(side, topic, end, connections, 1.0)?;
            let tally = measure(side, topic, end, connections, plan.seconds)?;
            report.throughput(side.maker, &format!("consume, warm, {connections} connections"), &tally);
        }
    }
    if plan.wants("cold") {
        forget(&side.log_directory().join(format!("{topic}-0")))?;
        let tally = measure(side, topic, end, 1, plan.seconds)?;
        report.throughput(side.maker, "consume, cold, 1 connection", &tally);
    }
    side.wire()?.delete(topic)
}

/// Has the kernel drop what it keeps of these files.
fn forget(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let file = std::fs::File::open(entry?.path())?;
        if file.metadata()?.is_file() {
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
