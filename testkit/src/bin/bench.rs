//! Measures our servers, beside the ones they replace.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use testkit::bench::broker::{BROKER_CASES, BrokerPlan, Maker, run_brokers};
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
}

#[derive(Debug, Args)]
struct BrokerFlags {
    /// The other side: kafka, fetched from Maven Central.
    #[arg(long)]
    against: Option<Maker>,
    /// Leave our own broker out.
    #[arg(long, requires = "against")]
    only_against: bool,
    /// Cases to run, comma-separated; all if none is named.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Measured seconds per throughput case.
    #[arg(long)]
    seconds: Option<f64>,
    /// How often each broker is visited, in turn.
    #[arg(long)]
    rounds: Option<usize>,
    /// Fewer shapes, smaller sizes, less time.
    #[arg(long)]
    quick: bool,
    /// Where brokers keep their data; both on the same file system.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Writes the tables to this file, too.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CoordinatorFlags {
    /// The other side: zookeeper, fetched from Maven Central.
    #[arg(long)]
    against: Option<Kind>,
    /// Ensembles of so many members instead of one server alone.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Leave our own server out.
    #[arg(long, requires = "against")]
    only_against: bool,
    /// Cases to run, comma-separated; all if none is named.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Measured seconds per throughput case.
    #[arg(long)]
    seconds: Option<f64>,
    /// How often each server is visited, in turn.
    #[arg(long)]
    rounds: Option<usize>,
    /// Fewer shapes, smaller sizes, less time.
    #[arg(long)]
    quick: bool,
    /// Where servers keep their data; both on the same file system.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Flags for ZooKeeper's Java virtual machine, separated by spaces.
    #[arg(long)]
    jvm: Option<String>,
    /// Writes the tables to this file, too.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Flags::parse().what {
        What::Coordinator(flags) => coordinator(flags),
        What::Broker(flags) => broker(flags),
    }
}

fn coordinator(flags: CoordinatorFlags) -> Result<()> {
    let directory = flags.directory.map_or_else(|| scratch("bench"), Ok)?;
    let mut plan = if flags.quick { Plan::quick(directory) } else { Plan::full(directory) };
    plan.cases = chosen(flags.cases, CASES)?;
    plan.members = flags.members;
    plan.seconds = flags.seconds.unwrap_or(plan.seconds);
    plan.rounds = flags.rounds.unwrap_or(plan.rounds);
    if let Some(jvm) = flags.jvm {
        plan.jvm_flags = jvm.split_whitespace().map(str::to_owned).collect();
    }
    if flags.only_against {
        plan.servers.clear();
    }
    plan.servers.extend(flags.against);
    publish(&bench::run(&plan)?.markdown(), flags.out)
}

fn broker(flags: BrokerFlags) -> Result<()> {
    let directory = flags.directory.map_or_else(|| scratch("bench"), Ok)?;
    let mut plan = if flags.quick { BrokerPlan::quick(directory) } else { BrokerPlan::full(directory) };
    plan.cases = chosen(flags.cases, BROKER_CASES)?;
    plan.seconds = flags.seconds.unwrap_or(plan.seconds);
    plan.rounds = flags.rounds.unwrap_or(plan.rounds);
    if flags.only_against {
        plan.makers.clear();
    }
    plan.makers.extend(flags.against);
    publish(&run_brokers(&plan)?.markdown(), flags.out)
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
