//! Real ensembles under faults, with workloads whose clients can tell when a promise was broken.
//!
//! Workloads run all the time while one fault follows another, in an order that the seed draws. Everybody's answers are
//! checked at the end; see each workload for how. The same runs against Apache ZooKeeper, so every result is a pair.

mod client;
mod clocks;
mod counter;
mod field;
mod items;
mod lock;
mod nemesis;
mod pulse;
mod register;
mod watch_log;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::client::{Answer, Roamer};
use self::clocks::CLOCK_FAULTS;
use self::field::Field;
use self::nemesis::{Arena, DISK_FAULTS, FAULTS, Fault, UPGRADE};
use self::pulse::Pulse;
use super::disks::Disks;
use super::ensemble::Ensemble;
use super::server::{Kind, Options};
use super::tools::{Need, everything_is_required};
use crate::raw::{Body, op};
use crate::sim::random::Random;

/// What to do to whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which implementation.
    pub kind: Kind,
    /// Everything random follows from it, except what the machine does.
    pub seed: u64,
    /// Faults begin for so long; each kind at least once if `every_kind` says so.
    pub time: Duration,
    /// Goes on after `time` until each kind happened once.
    pub every_kind: bool,
    /// Names of the faults to choose from; all if empty.
    pub faults: Vec<String>,
    /// Voting members.
    pub members: usize,
    /// A binary of an earlier version that the ensemble begins with. The run is then a rolling upgrade to this tree's
    /// binary, and nothing else.
    pub previous: Option<PathBuf>,
    /// Gives each member a disk of its own, which needs root, and adds the faults of disks.
    pub disks: bool,
}

impl Settings {
    /// Each of these faults once, in an order that the seed draws.
    pub fn once(kind: Kind, seed: u64, faults: &[&str]) -> Settings {
        Settings {
            kind,
            seed,
            time: Duration::ZERO,
            every_kind: true,
            faults: faults.iter().map(|&name| name.to_owned()).collect(),
            members: 3,
            previous: None,
            disks: false,
        }
    }
}

/// The names of all faults.
pub fn fault_names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().chain(CLOCK_FAULTS).chain(DISK_FAULTS).map(|fault| fault.name)
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    kind: Kind,
    seed: u64,
    took: Duration,
    /// Per fault: the time without acknowledged writes, each time it happened.
    gaps: BTreeMap<&'static str, Vec<Duration>>,
    counts: Vec<(&'static str, u64)>,
    /// Broken promises.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Requests that were answered.
    pub fn operations(&self) -> u64 {
        self.counts.first().map_or(0, |(_, count)| *count)
    }

    /// The longest time without an acknowledged write under this fault.
    pub fn longest_gap(&self, fault: &str) -> Option<Duration> {
        self.gaps.get(fault)?.iter().max().copied()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seed={:#x}, {:.0} s", self.kind, self.seed, self.took.as_secs_f64())?;
        for (what, count) in &self.counts {
            writeln!(f, "{count:>10} {what}")?;
        }
        writeln!(f, "longest time without an acknowledged write, by fault (times, longest):")?;
        for fault in fault_names().chain([UPGRADE.name]) {
            if let Some(gaps) = self.gaps.get(fault) {
                let longest = gaps.iter().max().copied().unwrap_or_default().as_secs_f64();
                writeln!(f, "{:>10} {longest:>8.3} s  {fault}", gaps.len())?;
            }
        }
        writeln!(f, "{} broken promises", self.violations.len())?;
        self.violations.iter().take(30).try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The faults that the settings name and this machine can do.
fn chosen(settings: &Settings) -> Result<Vec<&'static Fault>> {
    if settings.previous.is_some() {
        return Ok(vec![UPGRADE]);
    }
    for name in &settings.faults {
        ensure!(fault_names().any(|known| known == name), "unknown fault {name:?}");
    }
    let is_named =
        |fault: &&Fault| settings.faults.is_empty() || settings.faults.iter().any(|name| name == fault.name);
    let mut chosen: Vec<&Fault> = FAULTS.iter().filter(is_named).collect();
    let clocks: Vec<&Fault> = CLOCK_FAULTS.iter().filter(is_named).collect();
    if Need::Faketime.present() {
        chosen.extend(clocks);
    } else if !clocks.is_empty() {
        let need = Need::Faketime;
        ensure!(!everything_is_required(), "wall clocks cannot jump without {need}");
        println!("SKIPPED wall clocks that jump: needs {need}");
    }
    if settings.disks {
        chosen.extend(DISK_FAULTS.iter().filter(is_named));
    }
    ensure!(!chosen.is_empty(), "none of these faults can be done here");
    Ok(chosen)
}

/// Runs workloads and faults, and checks what everybody was told.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let chosen = chosen(settings)?;
    // ZooKeeper's own sample settings, but with proxied addresses that must not be told to anybody.
    let mut options = Options::default()
        .key("tickTime", 2000)
        .key("maxClientCnxns", 0)
        .key("4lw.commands.whitelist", "*")
        .key("reconfigEnabled", false);
    options.binary.clone_from(&settings.previous);
    options.own_clock = chosen.iter().any(|fault| CLOCK_FAULTS.iter().any(|clock| clock.name == fault.name));
    // Before the ensemble, so that it is dropped behind it.
    let disks = if settings.disks { Some(Arc::new(Disks::mount(settings.members)?)) } else { None };
    if let Some(disks) = &disks {
        // A log that has its space already does not notice that there is none.
        options = options.key("preAllocSize", 64).directory(disks.home());
    }
    let mut ensemble = Ensemble::prepare(settings.kind, settings.members, 0, options, Some(settings.seed))?;
    ensemble.start()?;
    let field = Arc::new(Field::new(ensemble.addresses(), settings.seed));
    let mut first = field.client("first", 0);
    let prepare = [
        register::prepare,
        counter::prepare,
        items::prepare,
        watch_log::prepare,
        lock::prepare,
        pulse::prepare,
    ];
    ensure!(prepare.iter().all(|prepare| prepare(&field, &mut first)), "cannot prepare the workloads");
    let pulse = Arc::new(Pulse::default());
    let random = Random::new(settings.seed.rotate_left(17));
    let (arena_field, arena_pulse) = (Arc::clone(&field), Arc::clone(&pulse));
    let arena = Arena { ensemble, field: arena_field, pulse: arena_pulse, random, disks: disks.clone() };
    let started = Instant::now();
    let (mut outcome, ensemble) =
        workloads(&field, &pulse, &mut first, || afflict(settings, &chosen, arena))?;
    outcome.violations.extend(same_everywhere(&field, &ensemble));
    outcome.violations.sort();
    outcome.violations.dedup();
    outcome.kind = settings.kind;
    outcome.seed = settings.seed;
    outcome.took = started.elapsed();
    Ok(outcome)
}

/// The faults whose gaps are measured without proxies, and the one that needs them.
const MEASURED: &[(&str, bool)] = &[
    ("leader killed", false),
    ("leader frozen", false),
    ("leader stopped", false),
    ("follower killed", false),
    ("leader cut off", true),
];

/// How long nobody's writes are answered when a fault strikes: one steady writer at each member and nothing else.
/// Members talk to each other directly, except where a link has to be cut.
pub fn write_gaps(
    kind: Kind,
    members: usize,
    options: &Options,
    directory: &Path,
    times: usize,
) -> Result<Vec<(&'static str, Vec<Duration>)>> {
    let mut all = Vec::new();
    for through_proxies in [false, true] {
        let home = tempfile::TempDir::with_prefix_in(format!("{kind}-gaps-"), directory)?;
        let options = options.clone().key("reconfigEnabled", false).directory(home.path());
        let mut ensemble = Ensemble::prepare(kind, members, 0, options, through_proxies.then_some(1))?;
        ensemble.start()?;
        let (field, pulse) = (Arc::new(Field::new(ensemble.addresses(), 1)), Arc::new(Pulse::default()));
        ensure!(pulse::prepare(&field, &mut field.client("first", 0)), "cannot prepare the writers");
        let (arena_field, arena_pulse) = (Arc::clone(&field), Arc::clone(&pulse));
        let mut arena =
            Arena { ensemble, field: arena_field, pulse: arena_pulse, random: Random::new(1), disks: None };
        std::thread::scope(|scope| -> Result<()> {
            for member in 0..members {
                let (field, pulse) = (&field, &pulse);
                scope.spawn(move || pulse::work(field, member, pulse));
            }
            let mut strike_all = || -> Result<()> {
                for (name, _) in MEASURED.iter().filter(|(_, proxies)| *proxies == through_proxies) {
                    let fault = FAULTS.iter().find(|fault| fault.name == *name);
                    let fault = fault.context("every measured fault has its name from the list")?;
                    let gaps: Result<Vec<Duration>> = (0..times).map(|_| fault.strike(&mut arena)).collect();
                    all.push((fault.name, gaps.with_context(|| format!("after {name:?}"))?));
                }
                Ok(())
            };
            let result = strike_all();
            // The writers end even when something could not be put right.
            field.end();
            result
        })?;
    }
    Ok(all)
}

type Gaps = BTreeMap<&'static str, Vec<Duration>>;

/// One fault after the other. What cannot be put right is a broken promise, and ends it.
fn afflict(settings: &Settings, chosen: &[&Fault], mut arena: Arena) -> (Gaps, Vec<String>, Ensemble) {
    let (mut gaps, mut violations) = (Gaps::new(), Vec::new());
    let deadline = Instant::now() + settings.time;
    let mut order: Vec<&Fault> = Vec::new();
    let mut rounds = 0;
    loop {
        if order.is_empty() {
            if rounds > 0 && Instant::now() >= deadline {
                break;
            }
            rounds += 1;
            order = chosen.to_vec();
            for at in (1..order.len()).rev() {
                order.swap(at, arena.random.below(at as u64 + 1) as usize);
            }
        }
        if Instant::now() >= deadline && !(settings.every_kind && rounds == 1) {
            break;
        }
        let Some(fault) = order.pop() else { break };
        let at = arena.field.now_us() as f64 / 1e6;
        match fault.strike(&mut arena) {
            Ok(gap) => {
                println!("{at:>8.1} s  {:<45} {:>7.3} s without writes", fault.name, gap.as_secs_f64());
                gaps.entry(fault.name).or_default().push(gap);
            }
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                println!("{at:>8.1} s  {:<45} not put right: {why}", fault.name);
                violations.push(format!("C15 after {:?}: {why}", fault.name));
                // Ours has failed. The control is known to need hands then, and gets them.
                if settings.kind == Kind::Zookeeper && arena.start_over().is_ok() {
                    continue;
                }
                println!("{}", arena.ensemble.log_tails());
                break;
            }
        }
    }
    (gaps, violations, arena.ensemble)
}

/// Runs every workload while `faults` runs, then checks all of them.
fn workloads(
    field: &Field,
    pulse: &Pulse,
    first: &mut Roamer,
    faults: impl FnOnce() -> (Gaps, Vec<String>, Ensemble),
) -> Result<(Outcome, Ensemble)> {
    let resource = lock::Resource::default();
    let last_written = OnceLock::new();
    let mut violations = Vec::new();
    let mut clients: Vec<Roamer> = Vec::new();
    let (mut steps, mut counters, mut grants) = (Vec::new(), Vec::new(), Vec::new());
    let (mut set, mut queue) = (Vec::new(), Vec::new());
    let (mut events, mut gaps, mut ensemble) = (0, Gaps::new(), None);
    let (resource, last_written) = (&resource, &last_written);
    std::thread::scope(|scope| -> Result<()> {
        let registers: Vec<_> =
            (0..register::CLIENTS).map(|number| scope.spawn(move || register::work(field, number))).collect();
        let raisers: Vec<_> =
            (0..counter::CLIENTS).map(|number| scope.spawn(move || counter::work(field, number))).collect();
        let adders: Vec<_> =
            (0..2).map(|number| scope.spawn(move || items::work_set(field, number))).collect();
        let queuers: Vec<_> =
            (0..items::CLIENTS).map(|number| scope.spawn(move || items::work_queue(field, number))).collect();
        let lockers: Vec<_> = (0..lock::CLIENTS)
            .map(|number| scope.spawn(move || lock::work(field, number, resource)))
            .collect();
        let watchers: Vec<_> = (0..watch_log::WATCHERS)
            .map(|number| scope.spawn(move || watch_log::watch(field, number, last_written)))
            .collect();
        let writer = scope.spawn(move || watch_log::write(field));
        let pulses: Vec<_> = (0..field.addresses.len())
            .map(|member| scope.spawn(move || pulse::work(field, member, pulse)))
            .collect();

        let (found, wrong, survivors) = faults();
        gaps = found;
        violations.extend(wrong);
        ensemble = Some(survivors);
        field.end();

        let (last, client) = join(writer)?;
        let _ = last_written.set(last);
        clients.push(client);
        for worker in registers {
            let (told, client) = join(worker)?;
            steps.extend(told);
            clients.push(client);
        }
        for worker in raisers {
            let (known, client) = join(worker)?;
            counters.push(known);
            clients.push(client);
        }
        for (workers, known) in [(adders, &mut set), (queuers, &mut queue)] {
            for worker in workers {
                let (told, client) = join(worker)?;
                known.push(told);
                clients.push(client);
            }
        }
        for worker in lockers {
            let (told, client) = join(worker)?;
            grants.extend(told);
            clients.push(client);
        }
        for worker in watchers {
            let (count, wrong, client) = join(worker)?;
            events += count;
            violations.extend(wrong);
            clients.push(client);
        }
        for worker in pulses {
            clients.push(join(worker)?);
        }
        Ok(())
    })?;
    // What is read at the end must be everything that was acknowledged anywhere.
    let synced = field.insist(first, op::SYNC, &Body::new().bytes("/"));
    if !matches!(synced, Some(Answer::Done { .. })) {
        violations.push("C15 no sync at the end".to_owned());
    }
    let left = items::last(field, first);
    violations.extend(register::check(&steps));
    violations.extend(counter::check(&counters, counter::last(field, first)));
    violations.extend(items::check("set", &set, left.as_ref().map(|left| &left[0])));
    violations.extend(items::check("queue", &queue, left.as_ref().map(|left| &left[1])));
    violations.extend(lock::check(&grants));
    let sum = |count: fn(&Roamer) -> u64| clients.iter().map(count).sum::<u64>();
    let counts = vec![
        ("requests answered", field.operations.load(Ordering::Relaxed)),
        ("requests with unknown outcome", field.unknown.load(Ordering::Relaxed)),
        ("connections", sum(|client| client.connections)),
        ("sessions", sum(|client| client.sessions)),
        ("steps on registers", steps.len() as u64),
        ("watch events", events),
        ("locks granted", resource.counts().granted),
        ("locks held by two at once", resource.counts().overlaps),
        ("writes of late holders refused", resource.counts().refused),
    ];
    violations.extend(clients.into_iter().flat_map(|client| client.violations));
    let ensemble = ensemble.context("the faults ended")?;
    let (kind, seed, took) = (ensemble.kind(), field.seed, Duration::ZERO);
    Ok((Outcome { kind, seed, took, gaps, counts, violations }, ensemble))
}

fn join<T>(worker: std::thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))
}

/// Every member must show the same tree.
fn same_everywhere(field: &Field, ensemble: &Ensemble) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
    for member in 0..ensemble.size() {
        let address = ensemble.member(member).address();
        let mut client = Roamer::new(&[address], Duration::from_secs(20), field.seed);
        match tree(field, &mut client) {
            Err(error) => {
                wrong.push(format!("C15 member {} cannot be read at the end: {error:#}", member + 1))
            }
            Ok(nodes) => match &first {
                None => first = Some(nodes),
                Some(first) => {
                    let paths = first.keys().chain(nodes.keys());
                    let differs = paths.into_iter().find(|path| first.get(*path) != nodes.get(*path));
                    if let Some(path) = differs {
                        wrong.push(format!("C6 members 1 and {} differ at {path}", member + 1));
                    }
                }
            },
        }
    }
    wrong
}

/// All nodes that the workloads made, with data and stat as one member tells them; locks are left out, as their
/// sessions still expire.
fn tree(field: &Field, client: &mut Roamer) -> Result<BTreeMap<String, Vec<u8>>> {
    let sync = field.insist(client, op::SYNC, &Body::new().bytes("/"));
    ensure!(matches!(sync, Some(Answer::Done { .. })), "no sync");
    let mut nodes = BTreeMap::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        if path == "/zookeeper" || path == "/lock" {
            continue;
        }
        let answer = field.insist(client, op::GET_CHILDREN, &Body::new().bytes(&path).bool(false));
        let Some(Answer::Done { body, .. }) = answer else { bail!("cannot list {path}") };
        for name in client::names(&body).context("a list of names")? {
            open.push(format!("{}/{name}", path.trim_end_matches('/')));
        }
        let answer = field.insist(client, op::GET_DATA, &Body::new().bytes(&path).bool(false));
        let Some(Answer::Done { body, .. }) = answer else { bail!("cannot read {path}") };
        nodes.insert(path, body);
    }
    Ok(nodes)
}
