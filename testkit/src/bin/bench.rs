//! Measures our servers, beside the ones they replace.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use testkit::bench::broker::{BROKER_CASES, BrokerPlan, Maker, run_brokers};
use testkit::bench::clients::{ClientPlan, Library, run_clients};
use testkit::bench::{self, CASES, Plan};
use testkit::process::{Kind, scratch};

/// Benchmarks against the originals, on this machine, under the same load.
#[derive(Debug, Parser)]
struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Our coordinator, perhaps beside Apache ZooKeeper.
    Coordinator(CoordinatorFlags),
    /// Our broker on our coordinator, perhaps beside Apache Kafka on Apache ZooKeeper.
    Broker(BrokerFlags),
    /// Our client library, perhaps beside others, all on our coordinator.
    Client(ClientFlags),
}

/// What every benchmark can be told.
#[derive(Debug, Args)]
struct Common {
    /// Measured seconds per throughput case.
    #[arg(long)]
    seconds: Option<f64>,
    /// How often each side is visited, in turn.
    #[arg(long)]
    rounds: Option<usize>,
    /// Fewer shapes, smaller sizes, less time.
    #[arg(long)]
    quick: bool,
    /// Where servers keep their data; all sides on the same file system.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Writes the tables to this file, too.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What is asked of servers.
#[derive(Debug, Args)]
struct Cases {
    /// Cases to run, comma-separated; all if none is named.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Leave our own side out.
    #[arg(long, requires = "against")]
    only_against: bool,
}

#[derive(Debug, Args)]
struct BrokerFlags {
    /// The other side: kafka, fetched from Maven Central.
    #[arg(long)]
    against: Option<Maker>,
    /// Of the case produce only what has this in its name, as in "lz4, 12 p".
    #[arg(long, default_value = "")]
    shapes: String,
    #[command(flatten)]
    cases: Cases,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct CoordinatorFlags {
    /// The other side: zookeeper, fetched from Maven Central.
    #[arg(long)]
    against: Option<Kind>,
    /// Ensembles of so many members instead of one server alone.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Flags for ZooKeeper's Java virtual machine, separated by spaces.
    #[arg(long)]
    jvm: Option<String>,
    #[command(flatten)]
    cases: Cases,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct ClientFlags {
    /// The other sides, comma-separated: java, fetched from Maven Central, and kazoo, fetched from PyPI.
    #[arg(long, value_delimiter = ',')]
    against: Vec<Library>,
    /// How many requests are under way, comma-separated.
    #[arg(long, value_delimiter = ',')]
    depths: Vec<usize>,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    match Flags::parse().what {
        What::Coordinator(flags) => coordinator(flags),
        What::Broker(flags) => broker(flags),
        What::Client(flags) => client(flags),
    }
}

fn coordinator(flags: CoordinatorFlags) -> Result<()> {
    let CoordinatorFlags { against, members, jvm, cases, common } = flags;
    let directory = common.directory.map_or_else(|| scratch("bench"), Ok)?;
    let mut plan = if common.quick { Plan::quick(directory) } else { Plan::full(directory) };
    plan.cases = chosen(cases.cases, CASES)?;
    plan.members = members;
    plan.seconds = common.seconds.unwrap_or(plan.seconds);
    plan.rounds = common.rounds.unwrap_or(plan.rounds);
    if let Some(jvm) = jvm {
        plan.jvm_flags = jvm.split_whitespace().map(str::to_owned).collect();
    }
    if cases.only_against {
        plan.servers.clear();
    }
    plan.servers.extend(against);
    publish(&bench::run(&plan)?.markdown(), common.out)
}

fn broker(flags: BrokerFlags) -> Result<()> {
    let BrokerFlags { against, shapes, cases, common } = flags;
    let directory = common.directory.map_or_else(|| scratch("bench"), Ok)?;
    let mut plan = if common.quick { BrokerPlan::quick(directory) } else { BrokerPlan::full(directory) };
    plan.produce.retain(|shape| shape.name().contains(&shapes));
    plan.cases = chosen(cases.cases, BROKER_CASES)?;
    plan.seconds = common.seconds.unwrap_or(plan.seconds);
    plan.rounds = common.rounds.unwrap_or(plan.rounds);
    if cases.only_against {
        plan.makers.clear();
    }
    plan.makers.extend(against);
    publish(&run_brokers(&plan)?.markdown(), common.out)
}

fn client(flags: ClientFlags) -> Result<()> {
    let ClientFlags { against, depths, common } = flags;
    let directory = common.directory.map_or_else(|| scratch("bench"), Ok)?;
    let mut plan = if common.quick { ClientPlan::quick(directory) } else { ClientPlan::full(directory) };
    plan.seconds = common.seconds.unwrap_or(plan.seconds);
    plan.rounds = common.rounds.unwrap_or(plan.rounds);
    if !depths.is_empty() {
        plan.depths = depths;
    }
    plan.libraries.extend(against);
    publish(&run_clients(&plan)?.markdown(), common.out)
}

/// The cases that were named, or all.
fn chosen(named: Vec<String>, all: &[&str]) -> Result<Vec<String>> {
    for case in &named {
        ensure!(all.contains(&case.as_str()), "unknown case {case:?}; there are {}", all.join(", "));
    }
    Ok(if named.is_empty() { all.iter().map(|&case| case.to_owned()).collect() } else { named })
}

fn publish(text: &str, out: Option<PathBuf>) -> Result<()> {
    println!("\n{text}");
    if let Some(path) = out {
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
