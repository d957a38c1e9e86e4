//! What goes wrong around processes that share a coordinator, and when.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use client::zk::{Builder, Coordinator};
use coordinator::tree::Tree;
use coordinator::tree::command::Command;

use super::pipe::Network;
use super::process::Process;
use super::server::{Committed, Server};
use crate::check::service::{Violation, violation};
use crate::sim::random::Random;
use crate::sim::trace::{Detail, Trace};

/// How bad things are, drawn by every seed.
#[derive(Debug, Clone)]
pub struct Weather {
    /// The most that a message takes, usually.
    pub(super) delay_ms: u64,
    /// One message in so many takes up to a second more; zero for none.
    pub(super) late: u64,
    /// The most that the log's disk takes.
    pub(super) sync_ms: u64,
    pub(super) session_ms: u64,
    /// The most that passes between two faults.
    fault_ms: u64,
    chaos_ms: u64,
}

impl Weather {
    pub fn draw(random: &mut Random) -> Weather {
        Weather {
            delay_ms: random.one_of(&[1, 5, 50]),
            late: random.one_of(&[0, 10, 50]),
            sync_ms: random.one_of(&[0, 5, 30]),
            session_ms: random.between(1_000, 4_000),
            fault_ms: random.one_of(&[200, 1_000, 5_000]),
            chaos_ms: random.one_of(&[5_000, 15_000, 30_000]),
        }
    }
}

/// What a process is started with.
#[derive(Debug)]
pub struct Surroundings {
    network: Arc<Network>,
    session: Duration,
    pub random: Random,
    pub now_ms: u64,
}

impl Surroundings {
    /// Options for a session with the coordinator.
    pub fn session(&mut self) -> Builder {
        Coordinator::builder("coordinator")
            .dialer(Arc::clone(&self.network) as Arc<_>)
            .session_timeout(self.session)
            .seed(self.random.next_u64())
    }
}

/// What a process does from its start on.
pub type Main = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Those who run in the processes, and what they must keep to.
pub trait Troupe {
    /// What the process at this place does.
    fn start(&mut self, at: usize, life: u64, surroundings: Surroundings) -> Main;
    /// The process at this place was killed.
    fn killed(&mut self, at: usize);
    /// A command was executed, and this is the state since.
    fn committed(&mut self, tree: &Tree, committed: &Committed, trace: &mut Trace) -> Result<(), Violation>;
    /// Some milliseconds have passed. There is no state while the coordinator has no power.
    fn passed(&mut self, now_ms: u64, tree: Option<&Tree>, trace: &mut Trace) -> Result<(), Violation>;
    /// From now on everything goes well.
    fn heal(&mut self);
    /// Why not everything is as it should be in the end.
    fn unsettled(&self, tree: &Tree) -> Result<(), String>;
}

/// A place where a process runs, is dead, or frozen.
#[derive(Debug, Default)]
struct Host {
    process: Option<Process>,
    /// How many processes there were.
    life: u64,
    frozen_until_ms: u64,
    starts_at_ms: u64,
}

/// The processes and their coordinator.
#[derive(Debug)]
pub struct Stage {
    weather: Weather,
    schedule: Random,
    faults: Random,
    seeds: Random,
    server: Server,
    hosts: Vec<Host>,
    pub now_ms: u64,
    pub events: u64,
    pub trace: Trace,
}

/// How long it may take until everything is as it should be, once nothing goes wrong any more.
const REST_MS: u64 = 30_000;

impl Stage {
    /// So many places for processes.
    pub fn new(seed: u64, hosts: usize, weather: Weather, detail: Detail) -> Stage {
        let mut schedule = Random::stream(seed, 2);
        let host = |_| Host { starts_at_ms: schedule.below(2_000), ..Host::default() };
        let hosts: Vec<Host> = (0..hosts).map(host).collect();
        Stage {
            server: Server::new(hosts.len(), weather.clone(), Random::stream(seed, 4)),
            weather,
            schedule,
            faults: Random::stream(seed, 3),
            seeds: Random::stream(seed, 5),
            hosts,
            now_ms: 0,
            events: 0,
            trace: Trace::new(detail),
        }
    }

    /// A mistake that can be built in: some events never leave the server.
    pub fn lose_events(&mut self) {
        self.server.loses_events = true;
    }

    /// A whole life: first everything goes wrong, then nothing does.
    pub fn play(&mut self, troupe: &mut impl Troupe) -> Result<(), Violation> {
        let mut fault_at_ms = self.faults.below(self.weather.fault_ms * 2);
        while self.now_ms < self.weather.chaos_ms {
            self.turn(troupe)?;
            if fault_at_ms <= self.now_ms {
                fault_at_ms = self.now_ms + self.faults.below(self.weather.fault_ms * 2);
                self.fault(troupe);
            }
        }
        self.note(|| "everything is well".to_owned());
        self.server.healed = true;
        for host in &mut self.hosts {
            (host.frozen_until_ms, host.starts_at_ms) = (0, self.now_ms);
        }
        troupe.heal();
        let deadline_ms = self.now_ms + REST_MS;
        loop {
            let look_at_ms = self.now_ms + 1_000;
            while self.now_ms < look_at_ms {
                self.turn(troupe)?;
            }
            let unsettled = match self.server.tree() {
                Some(tree) => troupe.unsettled(tree),
                None => Err("the coordinator is down".to_owned()),
            };
            match unsettled {
                Ok(()) => return Ok(()),
                Err(what) if self.now_ms >= deadline_ms => return violation("B14", what),
                Err(_) => {}
            }
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let (count, seconds) = (self.events, self.now_ms as f64 / 1e3);
        self.trace.line(|| format!("{count:>7} {seconds:>8.3} {}", line()));
    }

    /// A few milliseconds pass.
    fn turn(&mut self, troupe: &mut impl Troupe) -> Result<(), Violation> {
        self.now_ms += self.schedule.between(1, 10);
        self.events += 1;
        while let Some(committed) = self.server.step(self.now_ms, &mut self.trace)? {
            self.trace.fold(committed.zxid);
            self.note(|| {
                let command = Command::decode(&committed.bytes).expect("it was executed");
                format!("{:#x} by {:#x}: {:?}", committed.zxid, command.session, command.op)
            });
            if let Some(tree) = self.server.tree() {
                troupe.committed(tree, &committed, &mut self.trace)?;
            }
        }
        for at in 0..self.hosts.len() {
            if self.hosts[at].process.is_none() && self.hosts[at].starts_at_ms <= self.now_ms {
                self.start(at, troupe);
            }
            let host = &mut self.hosts[at];
            if let Some(process) = host.process.as_mut().filter(|_| host.frozen_until_ms <= self.now_ms) {
                process.run(self.now_ms)?;
            }
        }
        troupe.passed(self.now_ms, self.server.tree(), &mut self.trace)
    }

    fn start(&mut self, at: usize, troupe: &mut impl Troupe) {
        self.note(|| format!("process {at} starts"));
        let surroundings = Surroundings {
            network: self.server.network(at),
            session: Duration::from_millis(self.weather.session_ms),
            random: self.seeds.split(),
            now_ms: self.now_ms,
        };
        let host = &mut self.hosts[at];
        host.life += 1;
        host.process = Some(Process::start(self.now_ms, troupe.start(at, host.life, surroundings)));
    }

    fn fault(&mut self, troupe: &mut impl Troupe) {
        let at = self.faults.below(self.hosts.len() as u64) as usize;
        let while_ms = self.faults.below(self.weather.session_ms * 3);
        let until_ms = self.now_ms + while_ms;
        let what = match self.faults.below(10) {
            0..=3 if self.server.cut_all_of(at, self.now_ms) => "cut",
            0..=3 => return,
            4 | 5 => {
                self.server.stall(at, until_ms);
                "stall"
            }
            6 | 7 => {
                self.hosts[at].frozen_until_ms = until_ms;
                "freeze"
            }
            8 => {
                let host = &mut self.hosts[at];
                (host.process, host.starts_at_ms) = (None, until_ms);
                self.server.process_died(at, self.now_ms);
                troupe.killed(at);
                "kill"
            }
            _ => {
                self.server.power_cut(self.now_ms, until_ms);
                "power cut"
            }
        };
        self.trace.fault(what);
        self.note(|| format!("{what} at {at} for {while_ms} ms"));
    }
}
