//! Measures our servers, beside the ones they replace.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
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
    let What::Coordinator(flags) = Flags::parse().what;
    let directory = match flags.directory {
        Some(directory) => directory,
        None => scratch("bench")?,
    };
    let mut plan = if flags.quick { Plan::quick(directory) } else { Plan::full(directory) };
    for case in &flags.cases {
        ensure!(CASES.contains(&case.as_str()), "unknown case {case:?}; there are {}", CASES.join(", "));
    }
    if !flags.cases.is_empty() {
        plan.cases = flags.cases;
    }
    plan.members = flags.members;
    if let Some(seconds) = flags.seconds {
        plan.seconds = seconds;
    }
    if let Some(rounds) = flags.rounds {
        plan.rounds = rounds;
    }
    if let Some(jvm) = flags.jvm {
        plan.jvm_flags = jvm.split_whitespace().map(str::to_owned).collect();
    }
    if flags.only_against {
        plan.servers.clear();
    }
    plan.servers.extend(flags.against);
    let report = bench::run(&plan)?;
    let text = report.markdown();
    println!("\n{text}");
    if let Some(path) = flags.out {
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
