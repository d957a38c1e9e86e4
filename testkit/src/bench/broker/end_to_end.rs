//! From the producer to a consumer that waits: how long a record is on its way, at a fixed rate.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, batches};
use client::wire::kafka::messages::fetch::FetchRequest;
use client::wire::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use client::wire::kafka::{ErrorCode, Records};

use super::BrokerPlan;
use super::consume::{VERSION, fetch};
use super::produce::connect;
use super::report::BrokerReport;
use super::side::Side;
use super::wire::{CORRELATION, Wire, answer, request_frame};
use crate::bench::Histogram;
use crate::bench::load::{Heard, Pace, Shape, Talk, converse};

const TOPIC: &str = "on-its-way";
const PRODUCE_VERSION: i16 = 9;
const RECORD_BYTES: usize = 1 << 10;

/// One record a request; each says when it was sent.
struct Sender {
    epoch: Instant,
}

impl Talk for Sender {
    fn ask(&mut self, number: i32, out: &mut Vec<u8>) {
        let mut value = vec![b'x'; RECORD_BYTES];
        value[..8].copy_from_slice(&(self.epoch.elapsed().as_nanos() as u64).to_be_bytes());
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as i64;
        builder.push(now, None, Some(&value));
        let records = Some(Records::Bytes(builder.build().expect("nothing is packed")));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic_data = vec![TopicProduceData { name: TOPIC.into(), partition_data }];
        let request = ProduceRequest { acks: 1, timeout_ms: 30_000, topic_data, ..Default::default() };
        let mut frame = request_frame(&request, PRODUCE_VERSION).expect("a request can be written");
        frame[CORRELATION].copy_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&frame);
    }

    fn hear(&mut self, frame: &[u8]) -> Result<Heard> {
        let answer = answer::<ProduceRequest>(frame, PRODUCE_VERSION)?;
        let failed = answer.responses[0].partition_responses[0].error_code != ErrorCode::NONE;
        Ok(Heard { answers: true, failed, operations: 1, bytes: RECORD_BYTES as u64 })
    }
}

/// Reads until told to stop; counts those sent after the warm-up.
fn receive(mut wire: Wire, epoch: Instant, warm: Duration, stop: &AtomicBool) -> Result<Histogram> {
    let (mut offset, mut times) = (0, Histogram::default());
    while !stop.load(Ordering::Relaxed) {
        let answer = wire.ask::<FetchRequest>(&fetch(TOPIC, offset), VERSION)?;
        let now = epoch.elapsed();
        let partition = &answer.responses[0].partitions[0];
        ensure!(partition.error_code == ErrorCode::NONE, "fetch: {:?}", partition.error_code);
        let Some(Records::Bytes(bytes)) = partition.records.clone() else { continue };
        for batch in batches(bytes) {
            let Ok(batch) = batch else { break };
            for record in batch.records(2 * RECORD_BYTES)? {
                let value = record?.value.unwrap_or_default();
                let sent = value.first_chunk::<8>().ok_or_else(|| anyhow!("a record without a time"))?;
                let sent = Duration::from_nanos(u64::from_be_bytes(*sent));
                if sent > warm {
                    times.add(now.saturating_sub(sent));
                }
            }
            offset = batch.header().next_offset();
        }
    }
    Ok(times)
}

pub(super) fn all(plan: &BrokerPlan, side: &Side, report: &mut BrokerReport) -> Result<()> {
    for &rate in &plan.rates {
        let mut wire = side.wire()?;
        wire.create(&[TOPIC.to_owned()], 1)?;
        let (epoch, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let seconds = plan.seconds.max(1.0) * 5.0;
        let warm = Duration::from_secs_f64((seconds / 4.0).min(1.0));
        let receiver = {
            let (wire, stop) = (Wire::new(connect(side.address())?), Arc::clone(&stop));
            std::thread::spawn(move || receive(wire, epoch, warm, &stop))
        };
        let mut open = |_| -> Result<(TcpStream, Box<dyn Talk>)> {
            Ok((connect(side.address())?, Box::new(Sender { epoch })))
        };
        let shape = Shape { connections: 4, depth: 1 };
        let (mut tally, _) = converse(shape, Pace::PerSecond(rate), seconds, &mut open, &|| side.usage())?;
        stop.store(true, Ordering::Relaxed);
        tally.latencies = receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
        ensure!(tally.errors == 0 && tally.latencies.count() > 0, "{} refused", tally.errors);
        report.throughput(side.maker, &format!("end to end, 1 KiB, {rate} a second"), &tally);
        wire.delete(TOPIC)?;
        std::thread::sleep(Duration::from_millis(1500));
    }
    Ok(())
}
