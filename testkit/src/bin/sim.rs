//! Lets simulated worlds live and says what broke.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use testkit::sim::life::{Mistakes, Outcome};
use testkit::sim::trace::Detail;
use testkit::sim::{client, controller, groups, logs, partition, solo, zab};

/// Runs seeds of a simulated world.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// One server, some clients, a bad disk.
    Solo(Plain<solo::Planted>),
    /// Several members that agree on an order, everything around them bad.
    Zab(Members<zab::Planted>),
    /// Several whole servers, and clients that go from one to another, in the same bad world.
    Ensemble(Members<zab::servers::Planted>),
    /// Consumers of one group, and two brokers that take turns in coordinating them.
    Groups(Plain<groups::Planted>),
    /// One partition, its producers and a consumer, on a machine that stops in the middle of anything.
    Partition(Plain<partition::Planted>),
    /// Compacted logs that are cleaned and moved between data directories, on a machine that stops in the middle of anything.
    Logs(Plain<logs::Planted>),
    /// Brokers that take turns in being the controller, on the real coordinator.
    Controller(Plain<controller::Planted>),
    /// Clients that lock, lead, count, watch and queue, on the real coordinator.
    Client(Plain<client::Planted>),
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

/// A world that has nothing to set but its seeds and a mistake.
#[derive(Debug, clap::Args)]
struct Plain<M: Mistakes + Send + Sync> {
    #[command(flatten)]
    seeds: Seeds,
    /// Builds in a mistake; any wrong name lists them.
    #[arg(long, value_parser = planted::<M>)]
    plant: Option<M>,
}

/// A world of members, which can be made smaller.
#[derive(Debug, clap::Args)]
struct Members<M: Mistakes + Send + Sync> {
    #[command(flatten)]
    seeds: Seeds,
    /// Builds in a mistake; any wrong name lists them.
    #[arg(long, value_parser = planted::<M>)]
    plant: Option<M>,
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

fn seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn planted<M: Mistakes>(text: &str) -> Result<M, String> {
    let found = M::ALL.iter().find(|(name, _)| *name == text).map(|(_, mistake)| *mistake);
    let names = || M::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("there is no mistake called {text}, but: {}", names()))
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
        Scenario::Solo(args) => run_plain("solo", &args, solo::World::run),
        Scenario::Zab(args) => {
            let options = zab::Options { planted: args.plant, ..zab::Options::default() };
            run_members("zab", &args, zab::World::configuration, options)
        }
        Scenario::Ensemble(args) => {
            let options = zab::Options { mistake: args.plant, ..zab::Options::default() };
            run_members("ensemble", &args, zab::servers::configuration, options)
        }
        Scenario::Groups(args) => run_plain("groups", &args, groups::World::run),
        Scenario::Partition(args) => run_plain("partition", &args, partition::World::run),
        Scenario::Logs(args) => run_plain("logs", &args, logs::World::run),
        Scenario::Client(args) => run_plain("client", &args, client::run),
        Scenario::Controller(args) => run_plain("controller", &args, controller::run),
    }
}

fn run_plain<M: Mistakes + Send + Sync, C: Debug>(
    name: &str,
    args: &Plain<M>,
    run: fn(u64, Option<M>, Detail) -> Outcome<C>,
) -> ExitCode {
    let live = |seed, detail| run(seed, args.plant, detail);
    let report = |seed| live(seed, Detail::Last).report(name, seed, args.plant);
    run_worlds(name, &args.seeds, false, live, report)
}

fn run_members<M: Mistakes + Send + Sync>(
    name: &str,
    args: &Members<M>,
    draw: fn(u64) -> zab::Configuration,
    options: zab::Options,
) -> ExitCode {
    let configuration = |seed| {
        let mut configuration = draw(seed);
        if args.without_changes {
            configuration.change_us = 0;
        }
        configuration
    };
    let options = zab::Options { until: args.until, ..options };
    let live = |seed, detail| zab::World::run(seed, &configuration(seed), zab::Options { detail, ..options });
    let report = |seed| match zab::Failure::of(seed, &configuration(seed), options) {
        Some(failure) if args.shrink => failure.shrink().report(),
        Some(failure) => failure.report(),
        None => format!("SIM FAIL scenario={name} seed={seed:#x} once, and not again"),
    };
    run_worlds(name, &args.seeds, args.keep_going, live, report)
}

/// Lets worlds live, and tells what happened in all of them together. A failure is reported at once; it is the last
/// unless `keep_going`.
fn run_worlds<C>(
    name: &str,
    seeds: &Seeds,
    keep_going: bool,
    live: impl Fn(u64, Detail) -> Outcome<C>,
    report: impl Fn(u64) -> String,
) -> ExitCode {
    let started = Instant::now();
    let detail = if seeds.trace { Detail::All } else { Detail::None };
    let (mut events, mut time_us, mut failures) = (0, 0, 0);
    let (mut faults, mut marks) = (Counts::new(), Counts::new());
    // A panic of a core is a finding, and reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let (count, first) = seeds.each(|seed, index| {
        let outcome = live(seed, detail);
        if index.is_multiple_of(TWICE_EVERY) && live(seed, Detail::None).trace.hash() != outcome.trace.hash()
        {
            println!("SIM FAIL scenario={name} seed={seed:#x} invariant=determinism two runs differ");
            failures += 1;
        }
        if outcome.violation.is_some() {
            println!("{}", report(seed));
            failures += 1;
        }
        events += outcome.events;
        time_us += outcome.time_us;
        add(&mut faults, outcome.trace.counts());
        add(&mut marks, outcome.trace.marks());
        failures == 0 || keep_going
    });
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{name}: {count} seeds from {first:#x} in {seconds:.1} s, {failures} failed; {:.1} simulated hours, {events} \
         events, {:.0} events per second",
        time_us as f64 / 3.6e9,
        events as f64 / seconds
    );
    println!("happened:");
    print(&faults);
    println!("reached:");
    print(&marks);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
