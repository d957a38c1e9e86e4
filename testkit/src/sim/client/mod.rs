//! Clients that lock, lead, meet, count, watch, copy, offer and queue, on the real coordinator.
//!
//! The client library runs as it is, sessions, watches and recipes. Connections break with requests and replies under
//! way, sessions expire while their owners are frozen and believe otherwise, processes are killed, and the coordinator
//! loses its power. What every client is told is compared with what the coordinator's state says at that moment.
//!
//! A seed lives twice: in the end nothing goes wrong any more, and nobody may be left waiting, nothing may be left over.

mod actors;
mod ledger;
mod meetings;
mod mirrors;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coordinator::tree::Tree;

use self::actors::{Actor, SharedLedger, lock};
use super::host::{Committed, Main, Stage, Surroundings, Troupe, Weather};
use super::life::{Mistakes, Outcome, broken_in};
use super::random::Random;
use super::trace::{Detail, Trace};
use crate::check::service::Violation;

const LOCK: &str = "/lock";
const LEADER: &str = "/leader";
const READERS_AND_WRITERS: &str = "/readers-and-writers";
const LEASES: &str = "/leases";
const LEASE_COUNT: usize = 2;
const SELECTOR: &str = "/selector";
const GATE: &str = "/gate";
const MEETINGS: &str = "/meetings";
const GARDEN: &str = "/garden";
const SERVICES: &str = "/services";
const COUNT: &str = "/count";
const COUNTER: &str = "/counter";
const LETTERS: &str = "/letters";
const JOBS: &str = "/jobs";

/// A mistake built into the world, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Numbers are added without looking whether somebody else was faster.
    BlindAddition,
    /// The same, with a count.
    BlindCount,
    /// Some events never leave the server.
    EventsLost,
    /// Whoever may read writes.
    WritesAsReader,
    /// Some believe that there is one lease more.
    OneLeaseMore,
    /// Whoever stands in the line believes that it leads.
    HastyLeader,
    /// Whoever has waited long at the gate goes on.
    Impatient,
    /// Whoever comes to a meeting begins it.
    LonelyMeetings,
    /// A reader of a cache's events does not look at deletions.
    ForgetsDeletions,
    /// Not all services that are found are kept.
    ForgetsServices,
}

impl Mistakes for Planted {
    const ALL: &[(&str, Planted)] = &[
        ("blind-addition", Planted::BlindAddition),
        ("blind-count", Planted::BlindCount),
        ("events-lost", Planted::EventsLost),
        ("writes-as-reader", Planted::WritesAsReader),
        ("one-lease-more", Planted::OneLeaseMore),
        ("hasty-leader", Planted::HastyLeader),
        ("impatient", Planted::Impatient),
        ("lonely-meetings", Planted::LonelyMeetings),
        ("forgets-deletions", Planted::ForgetsDeletions),
        ("forgets-services", Planted::ForgetsServices),
    ];
}

/// What the seed draws before anything happens.
#[derive(Debug, Clone)]
pub struct Configuration {
    clients: usize,
    /// The most that anybody does nothing between two things.
    pause_ms: u64,
    weather: Weather,
}

impl Configuration {
    fn draw(random: &mut Random) -> Configuration {
        Configuration {
            clients: random.between(1, 4) as usize,
            pause_ms: random.one_of(&[100, 500, 2_000]),
            weather: Weather::draw(random),
        }
    }
}

/// Runs a seed from beginning to end.
pub fn run(seed: u64, planted: Option<Planted>, detail: Detail) -> Outcome<Configuration> {
    let configuration = Configuration::draw(&mut Random::stream(seed, 1));
    let Configuration { clients, pause_ms, weather } = &configuration;
    let mut stage = Stage::new(seed, *clients, weather.clone(), detail);
    if planted == Some(Planted::EventsLost) {
        stage.lose_events();
    }
    let mut company = Company {
        planted,
        clients: *clients,
        pause_ms: *pause_ms,
        ledger: SharedLedger::default(),
        quiet: Arc::default(),
    };
    let violation = broken_in(|| stage.play(&mut company));
    let Stage { events, now_ms, trace, .. } = stage;
    Outcome { violation, configuration, events, time_us: now_ms * 1000, trace }
}

/// The clients.
#[derive(Debug)]
struct Company {
    planted: Option<Planted>,
    clients: usize,
    pause_ms: u64,
    ledger: SharedLedger,
    quiet: Arc<AtomicBool>,
}

impl Troupe for Company {
    fn start(&mut self, at: usize, _: u64, mut surroundings: Surroundings) -> Main {
        let Company { planted, pause_ms, ref ledger, ref quiet, .. } = *self;
        let (ledger, quiet) = (Arc::clone(ledger), Arc::clone(quiet));
        let random = surroundings.random.split();
        Box::pin(actors::run(Actor { at, planted, ledger, quiet, random, pause_ms }, surroundings))
    }

    fn killed(&mut self, at: usize) {
        lock(&self.ledger).killed(at);
    }

    fn committed(&mut self, tree: &Tree, committed: &Committed, _: &mut Trace) -> Result<(), Violation> {
        let counter = tree.lookup(COUNTER).map(|id| tree.node(id).mzxid.0);
        if counter == Some(committed.zxid) {
            lock(&self.ledger).counter_changed(committed.zxid);
        }
        lock(&self.ledger).gate.committed(tree);
        Ok(())
    }

    fn passed(&mut self, _: u64, tree: Option<&Tree>, trace: &mut Trace) -> Result<(), Violation> {
        let mut ledger = lock(&self.ledger);
        ledger.reached.drain(..).for_each(|what| trace.mark(what));
        if let Some(broken) = ledger.broken.take() {
            return Err(broken);
        }
        let Some(tree) = tree else { return Ok(()) };
        ledger.turns.check(tree)?;
        ledger.meetings.check(tree)
    }

    fn heal(&mut self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    fn unsettled(&self, tree: &Tree) -> Result<(), String> {
        lock(&self.ledger).unsettled(tree, self.clients)
    }
}
