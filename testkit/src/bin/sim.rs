//! Lets simulated worlds live and says what broke.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use testkit::sim::trace::{Detail, Trace};
use testkit::sim::{groups, partition, solo, zab};

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
    /// Several members that agree on an order, everything around them bad.
    Zab(Zab),
    /// Consumers of one group, and two brokers that take turns in coordinating them.
    Groups(Groups),
    /// One partition, its producers and a consumer, on a machine that stops in the middle of anything.
    Partition(Partition),
}

#[derive(Debug, clap::Args)]
struct Seeds {
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
}

#[derive(Debug, clap::Args)]
struct Solo {
    #[command(flatten)]
    seeds: Seeds,
    /// Builds in a mistake: ack-before-sync, no-sync, event-after-reply, event-lost, early-expiry, short-recovery.
    #[arg(long, value_parser = planted_in_solo)]
    plant: Option<solo::Planted>,
}

#[derive(Debug, clap::Args)]
struct Zab {
    #[command(flatten)]
    seeds: Seeds,
    /// Builds in a mistake; any wrong name lists them.
    #[arg(long, value_parser = planted_in_zab)]
    plant: Option<zab::Planted>,
    /// Stops after so many events of a seed.
    #[arg(long)]
    until: Option<u64>,
    /// Looks for the smallest world in which the failure is still there.
    #[arg(long)]
    shrink: bool,
    /// Goes on after a failure, and tells how many there were.
    #[arg(long)]
    keep_going: bool,
    /// Leaves out changes of the members, in which members still may fail to find each other for too long.
    #[arg(long)]
    without_changes: bool,
}

#[derive(Debug, clap::Args)]
struct Groups {
    #[command(flatten)]
    seeds: Seeds,
    /// Builds in a mistake; any wrong name lists them.
    #[arg(long, value_parser = planted_in_groups)]
    plant: Option<groups::Planted>,
}

#[derive(Debug, clap::Args)]
struct Partition {
    #[command(flatten)]
    seeds: Seeds,
    /// Builds in a mistake; any wrong name lists them.
    #[arg(long, value_parser = planted_in_partition)]
    plant: Option<partition::Planted>,
}

fn seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn planted<T: Copy>(all: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, planted)| *planted);
    let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("there is no mistake called {text}, but: {}", names()))
}

fn planted_in_solo(text: &str) -> Result<solo::Planted, String> {
    planted(&solo::Planted::ALL, text)
}

fn planted_in_zab(text: &str) -> Result<zab::Planted, String> {
    planted(zab::Planted::ALL, text)
}

fn planted_in_groups(text: &str) -> Result<groups::Planted, String> {
    planted(groups::Planted::ALL, text)
}

fn planted_in_partition(text: &str) -> Result<partition::Planted, String> {
    planted(partition::Planted::ALL, text)
}

/// Every fiftieth seed lives twice: what cannot be repeated cannot be debugged.
const TWICE_EVERY: u64 = 50;

impl Seeds {
    /// Calls `run` for each seed with its place in the sequence until that is false, the seeds are all done or the time
    /// is over. How many there were, and the first.
    fn each(&self, mut run: impl FnMut(u64, u64) -> bool) -> (u64, u64) {
        let started = Instant::now();
        let fresh = || {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one("seed")
        };
        let first = self.seed.unwrap_or_else(fresh);
        let single = self.seed.is_some() && self.seconds.is_none();
        let count = self.seeds.unwrap_or(if single { 1 } else { u64::MAX });
        let default_seconds = if self.seeds.is_some() { u64::MAX } else { 60 };
        let time = Duration::from_secs(self.seconds.unwrap_or(default_seconds));
        let mut done = 0;
        while done < count && started.elapsed() < time && run(first.wrapping_add(done), done) {
            done += 1;
        }
        (done, first)
    }
}

type Counts = BTreeMap<&'static str, u64>;

fn add(sum: &mut Counts, more: &Counts) {
    more.iter().for_each(|(what, count)| *sum.entry(what).or_default() += count);
}

fn print(counts: &Counts) {
    counts.iter().for_each(|(what, count)| println!("{count:>12} {what}"));
}

fn main() -> ExitCode {
    match Args::parse().scenario {
        Scenario::Solo(args) => run_solo(&args),
        Scenario::Zab(args) => run_zab(&args),
        Scenario::Groups(args) => run_groups(&args),
        Scenario::Partition(args) => run_partition(&args),
    }
}

fn run_solo(args: &Solo) -> ExitCode {
    let started = Instant::now();
    let mut events = Counts::new();
    let mut failed = false;
    let (seeds, first) = args.seeds.each(|seed, index| {
        let summary = match solo::World::run(seed, args.plant, args.seeds.trace) {
            Ok(summary) => summary,
            Err(failure) => {
                println!("{failure}");
                failed = true;
                return false;
            }
        };
        if index.is_multiple_of(TWICE_EVERY)
            && solo::World::run(seed, args.plant, false).ok().as_ref() != Some(&summary)
        {
            println!("SIM FAIL scenario=solo seed={seed:#x} invariant=determinism two runs differ");
            failed = true;
        }
        add(&mut events, &summary.counts);
        !failed
    });
    if failed {
        return ExitCode::FAILURE;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("solo: {seeds} seeds from {first:#x} in {seconds:.1} s, nothing broke");
    print(&events);
    ExitCode::SUCCESS
}

fn run_zab(args: &Zab) -> ExitCode {
    let started = Instant::now();
    let detail = if args.seeds.trace { Detail::All } else { Detail::None };
    let options = zab::Options { planted: args.plant, until: args.until, detail };
    let quiet = zab::Options { detail: Detail::None, ..options };
    let (mut events, mut agreed, mut simulated_us, mut failures) = (0, 0, 0, 0);
    let (mut faults, mut marks) = (Counts::new(), Counts::new());
    // A panic of a replica is a finding, and reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let (seeds, first) = args.seeds.each(|seed, index| {
        let mut configuration = zab::World::configuration(seed);
        if args.without_changes {
            configuration.change_us = 0;
        }
        let outcome = zab::World::run(seed, &configuration, options);
        let twice = index.is_multiple_of(TWICE_EVERY)
            && zab::World::run(seed, &configuration, quiet).trace.hash() != outcome.trace.hash();
        if twice {
            failures += 1;
            println!("SIM FAIL scenario=zab seed={seed:#x} invariant=determinism two runs differ");
        }
        if let Some(violation) = &outcome.violation {
            failures += 1;
            match zab::Failure::of(seed, configuration, quiet) {
                Some(failure) if args.shrink => println!("{}", failure.shrink(quiet)),
                Some(failure) => println!("{failure}"),
                None => println!("SIM FAIL scenario=zab seed={seed:#x} once, and not again: {violation:?}"),
            }
        }
        events += outcome.events;
        agreed += outcome.agreed;
        simulated_us += outcome.time_us;
        add(&mut faults, outcome.trace.counts());
        add(&mut marks, outcome.trace.marks());
        failures == 0 || args.keep_going
    });
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "zab: {seeds} seeds from {first:#x} in {seconds:.1} s, {failures} failed; {:.1} simulated hours, {agreed} \
         entries agreed on, {events} events, {:.0} events per second",
        simulated_us as f64 / 3.6e9,
        events as f64 / seconds
    );
    println!("faults:");
    print(&faults);
    println!("reached:");
    print(&marks);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_groups(args: &Groups) -> ExitCode {
    let live = |seed, detail| groups::World::run(seed, args.plant, detail);
    run_worlds("groups", &args.seeds, |seed, detail| {
        let outcome = live(seed, detail);
        let failure = outcome.violation.is_some().then(|| live(seed, Detail::Last).report(seed));
        (outcome.trace, outcome.events, failure)
    })
}

fn run_partition(args: &Partition) -> ExitCode {
    let live = |seed, detail| partition::World::run(seed, args.plant, detail);
    run_worlds("partition", &args.seeds, |seed, detail| {
        let outcome = live(seed, detail);
        let failure = outcome.violation.is_some().then(|| live(seed, Detail::Last).report(seed));
        (outcome.trace, outcome.events, failure)
    })
}

/// Lets worlds live until one fails: what happened in it, how much, and the report of a failure.
fn run_worlds(
    name: &str,
    seeds: &Seeds,
    live: impl Fn(u64, Detail) -> (Trace, u64, Option<String>),
) -> ExitCode {
    let started = Instant::now();
    let detail = if seeds.trace { Detail::All } else { Detail::None };
    let (mut events, mut failed) = (0, false);
    let (mut faults, mut marks) = (Counts::new(), Counts::new());
    // A panic of a core is a finding, and reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let (count, first) = seeds.each(|seed, index| {
        let (trace, happened, failure) = live(seed, detail);
        if index.is_multiple_of(TWICE_EVERY) && live(seed, Detail::None).0.hash() != trace.hash() {
            println!("SIM FAIL scenario={name} seed={seed:#x} invariant=determinism two runs differ");
            failed = true;
        }
        if let Some(failure) = failure {
            println!("{failure}");
            failed = true;
        }
        events += happened;
        add(&mut faults, trace.counts());
        add(&mut marks, trace.marks());
        !failed
    });
    let seconds = started.elapsed().as_secs_f64();
    let end = if failed { "the last failed" } else { "nothing broke" };
    println!("{name}: {count} seeds from {first:#x} in {seconds:.1} s, {events} events, {end}");
    println!("faults:");
    print(&faults);
    println!("reached:");
    print(&marks);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
