//! Lets simulated worlds live and says what broke.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use testkit::sim::world::{Planted, World};

/// Runs seeds of a simulated world.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// One server, some clients, a bad disk.
    Solo(Solo),
}

#[derive(Debug, clap::Args)]
struct Solo {
    /// The only seed, or the first of `--seeds`; decimal, or hexadecimal after 0x.
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// How many seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// Seeds until so much time has passed.
    #[arg(long)]
    seconds: Option<u64>,
    /// One line per event.
    #[arg(long)]
    trace: bool,
    /// Builds in a mistake: ack-before-sync, no-sync, event-after-reply, event-lost, early-expiry, short-recovery.
    #[arg(long, value_parser = planted)]
    plant: Option<Planted>,
}

fn seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn planted(text: &str) -> Result<Planted, String> {
    let found = Planted::ALL.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, planted)| planted).ok_or_else(|| format!("there is no mistake called {text}"))
}

fn main() -> ExitCode {
    let Args { scenario: Scenario::Solo(args) } = Args::parse();
    let started = Instant::now();
    let fresh = || {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one("seed")
    };
    let first = args.seed.unwrap_or_else(fresh);
    let count =
        args.seeds.unwrap_or(if args.seed.is_some() && args.seconds.is_none() { 1 } else { u64::MAX });
    let time = Duration::from_secs(args.seconds.unwrap_or(if args.seeds.is_some() { u64::MAX } else { 60 }));
    let (mut seeds, mut events) = (0u64, std::collections::BTreeMap::<&str, u64>::new());
    while seeds < count && started.elapsed() < time {
        let seed = first.wrapping_add(seeds);
        let summary = match World::run(seed, args.plant, args.trace) {
            Ok(summary) => summary,
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        };
        // Every fiftieth lives twice: what cannot be repeated cannot be debugged.
        if seeds.is_multiple_of(50) && World::run(seed, args.plant, false).ok().as_ref() != Some(&summary) {
            println!("SIM FAIL scenario=solo seed={seed:#x} invariant=determinism two runs differ");
            return ExitCode::FAILURE;
        }
        seeds += 1;
        summary.counts.into_iter().for_each(|(what, count)| *events.entry(what).or_default() += count);
    }
    println!(
        "solo: {seeds} seeds from {first:#x} in {:.1} s, nothing broke",
        started.elapsed().as_secs_f64()
    );
    events.into_iter().for_each(|(what, count)| println!("{count:>12} {what}"));
    ExitCode::SUCCESS
}
