//! Puts real ensembles through faults and says what broke.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use testkit::process::Kind;
use testkit::process::faults::{self, Settings};

/// Workloads on a real ensemble of coordinators while members are killed, frozen, cut off and wiped.
#[derive(Debug, Parser)]
struct Flags {
    /// Runs the same against this one, too: zookeeper, fetched from Maven Central.
    #[arg(long)]
    against: Option<Kind>,
    /// Leave our own server out.
    #[arg(long, requires = "against")]
    only_against: bool,
    /// How long faults follow each other.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Each kind of fault once, however long it takes.
    #[arg(long)]
    every_kind: bool,
    /// Draws the order of faults and what clients do; decimal, or hexadecimal after 0x.
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Voting members.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Faults to choose from, comma-separated; all if none is named.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// A binary of an earlier version: the run is a rolling upgrade from it, with a leader killed at every step.
    #[arg(long, conflicts_with = "against")]
    previous: Option<PathBuf>,
    /// Give each member a disk of its own that can stall and be full; needs root.
    #[arg(long)]
    disks: bool,
    /// Print the names of all faults.
    #[arg(long)]
    list: bool,
}

fn seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed")
}

fn main() -> Result<ExitCode> {
    let flags = Flags::parse();
    if flags.list {
        faults::fault_names().for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    let ours = (!flags.only_against).then_some(Kind::Coordinator);
    let seed = flags.seed.unwrap_or_else(fresh_seed);
    let time = Duration::from_secs_f64(flags.minutes * 60.0);
    let mut outcomes = Vec::new();
    for kind in ours.into_iter().chain(flags.against) {
        println!("--- {kind}, seed {seed:#x}");
        outcomes.push(faults::run(&Settings {
            kind,
            seed,
            time: if flags.previous.is_some() { Duration::ZERO } else { time },
            every_kind: flags.every_kind || flags.previous.is_some(),
            faults: flags.faults.clone(),
            members: flags.members,
            previous: flags.previous.clone(),
            disks: flags.disks,
        })?);
    }
    for outcome in &outcomes {
        println!("\n{outcome}");
    }
    // The control is there to be compared with; only our own broken promises fail the run.
    let is_clean = |outcome: &&faults::Outcome| outcome.violations.is_empty();
    let ours = outcomes.iter().take(usize::from(!flags.only_against));
    Ok(if ours.filter(|outcome| !is_clean(outcome)).count() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
