//! Our broker on our coordinator beside Apache Kafka on Apache ZooKeeper, under the same load.
//!
//! Both get the same settings, the same topics and the same bytes, from the load generator of [`super::load`]. What is
//! compared is the broker's process; the coordination service beside it does nothing while records flow.

mod consume;
mod end_to_end;
mod produce;
mod report;
mod side;
mod standing;
mod wire;

use std::path::PathBuf;

use anyhow::{Context, Result};
use client::wire::kafka::compression::Codec;

pub use self::report::BrokerReport;
pub use self::side::Maker;
use self::side::Side;

/// Names of all cases, in the order in which they run.
pub const BROKER_CASES: &[&str] =
    &["produce", "consume", "cold", "end-to-end", "tools", "start", "partitions", "recovery"];

/// What to run, and for how long.
#[derive(Debug, Clone)]
pub struct BrokerPlan {
    /// In the order in which one round visits them.
    pub makers: Vec<Maker>,
    pub rounds: usize,
    /// Of [`BROKER_CASES`].
    pub cases: Vec<String>,
    /// Measured seconds of each throughput case.
    pub seconds: f64,
    pub produce: Vec<ProduceShape>,
    /// Bytes of the topic that is consumed.
    pub topic_bytes: u64,
    /// Records a second of the case `end-to-end`.
    pub rates: Vec<u32>,
    pub starts: usize,
    /// Partitions of the case `partitions`.
    pub partitions: usize,
    /// Bytes of the log that is recovered.
    pub recovery_bytes: u64,
    pub directory: PathBuf,
}

/// One way to produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceShape {
    pub record_bytes: usize,
    /// Bytes of records in one batch, before they are packed.
    pub batch_bytes: usize,
    pub acks: i16,
    pub codec: Codec,
    pub partitions: i32,
}

impl ProduceShape {
    /// What its rows are called.
    pub fn name(&self) -> String {
        let ProduceShape { record_bytes, batch_bytes, acks, codec, partitions } = self;
        let acks = if *acks < 0 { "all".to_owned() } else { acks.to_string() };
        let codec = format!("{codec:?}").to_lowercase();
        format!("produce {record_bytes} B in {} KiB, acks {acks}, {codec}, {partitions} p", batch_bytes >> 10)
    }
}

impl BrokerPlan {
    /// Everything at full size.
    pub fn full(directory: PathBuf) -> BrokerPlan {
        let mut produce = Vec::new();
        for partitions in [1, 12] {
            for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
                for acks in [1, -1] {
                    for record_bytes in [100, 1 << 10, 10 << 10] {
                        let batch_bytes = 16 << 10;
                        produce.push(ProduceShape { record_bytes, batch_bytes, acks, codec, partitions });
                    }
                }
            }
        }
        // Big and small batches, where the work per byte and the work per request stand out.
        for batch_bytes in [64 << 10, 4 << 10] {
            let shape = ProduceShape {
                record_bytes: 1 << 10,
                batch_bytes,
                acks: 1,
                codec: Codec::None,
                partitions: 1,
            };
            produce.push(shape);
        }
        BrokerPlan {
            makers: vec![Maker::Ours],
            rounds: 2,
            cases: BROKER_CASES.iter().map(|&name| name.to_owned()).collect(),
            seconds: 2.0,
            produce,
            topic_bytes: 2 << 30,
            rates: vec![500, 2000],
            starts: 3,
            partitions: 10_000,
            recovery_bytes: 10 << 30,
            directory,
        }
    }

    /// The same cases, smaller: minutes instead of half an hour.
    pub fn quick(directory: PathBuf) -> BrokerPlan {
        let full = BrokerPlan::full(directory);
        let wanted = |shape: &ProduceShape| {
            shape.codec == Codec::None && (shape.partitions == 1 || shape.acks == 1)
                || shape.partitions == 1 && shape.acks == 1 && shape.record_bytes == 1 << 10
        };
        BrokerPlan {
            rounds: 1,
            seconds: 1.0,
            produce: full.produce.iter().copied().filter(wanted).collect(),
            topic_bytes: 512 << 20,
            starts: 1,
            partitions: 1000,
            recovery_bytes: 1 << 30,
            ..full
        }
    }

    fn wants(&self, case: &str) -> bool {
        self.cases.iter().any(|name| name == case)
    }
}

/// Puts every broker of the plan through its cases and collects the figures.
pub fn run_brokers(plan: &BrokerPlan) -> Result<BrokerReport> {
    let mut report = BrokerReport::new(plan);
    produce::generator_alone(plan, &mut report)?;
    for round in 0..plan.rounds {
        for &maker in &plan.makers {
            println!("round {} of {}: {maker}", round + 1, plan.rounds);
            one_visit(plan, maker, round, &mut report).with_context(|| format!("{maker}"))?;
        }
    }
    Ok(report)
}

fn one_visit(plan: &BrokerPlan, maker: Maker, round: usize, report: &mut BrokerReport) -> Result<()> {
    if ["produce", "consume", "cold", "end-to-end", "tools"].iter().any(|case| plan.wants(case)) {
        let side = Side::start(maker, &plan.directory)?;
        report.figure(maker, "resident after the start, MiB", side.resident_mib()?);
        produce::warm_up(&side)?;
        if plan.wants("produce") {
            produce::all(plan, &side, report).context("produce")?;
        }
        if plan.wants("consume") || plan.wants("cold") {
            consume::all(plan, &side, report).context("consume")?;
        }
        if plan.wants("end-to-end") {
            end_to_end::all(plan, &side, report).context("end-to-end")?;
        }
        if plan.wants("tools") {
            standing::tools(&side, report).context("tools")?;
        }
    }
    if plan.wants("start") {
        standing::starts(plan, maker, report).context("start")?;
    }
    // The big ones are slow and vary little: once is enough.
    if round == 0 && plan.wants("partitions") {
        standing::partitions(plan, maker, report).context("partitions")?;
    }
    if round == 0 && plan.wants("recovery") {
        standing::recovery(plan, maker, report).context("recovery")?;
    }
    Ok(())
}
