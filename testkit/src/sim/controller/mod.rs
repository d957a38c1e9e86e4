//! Several brokers, of which one is the controller, on the real coordinator.
//!
//! In each broker's process run the real session, registry, elections and controller; what is left out are logs and the
//! connections between brokers, which here carry orders in order while both ends live. People make, grow and delete
//! topics meanwhile, some with tools that write znodes directly and know no topic ids. Connections break with requests
//! and replies under way, processes freeze past their sessions and go on as if nothing had happened, or are killed; the
//! coordinator loses its power; somebody deletes `/controller`.
//!
//! A seed lives twice: in the end nothing goes wrong any more, and every topic must become what was asked for.

mod broker;
mod ledger;
mod tool;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coordinator::tree::Tree;
use tokio::sync::mpsc;

use self::broker::{Message, SharedDisk, lock};
use self::ledger::Ledger;
use self::tool::Tool;
use super::host::{Committed, Main, Stage, Surroundings, Troupe, Weather};
use super::life::{Mistakes, Outcome, broken_in};
use super::random::Random;
use super::trace::{Detail, Trace};
use crate::check::service::Violation;

/// A mistake built into the world, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// P14: a controller writes whether or not there is a later one.
    #[cfg(feature = "planted")]
    ControllerUnfenced,
    /// One order in ten is lost, and the broker lives on.
    OrdersLost,
}

impl Mistakes for Planted {
    const ALL: &[(&str, Planted)] = &[
        #[cfg(feature = "planted")]
        ("p14-controller-unfenced", Planted::ControllerUnfenced),
        ("orders-lost", Planted::OrdersLost),
    ];
}

/// What the seed draws before anything happens.
#[derive(Debug, Clone)]
pub struct Configuration {
    brokers: usize,
    tools: usize,
    /// The most that tools do nothing between two things.
    pause_ms: u64,
    weather: Weather,
}

impl Configuration {
    fn draw(random: &mut Random) -> Configuration {
        Configuration {
            brokers: random.between(1, 4) as usize,
            tools: random.between(1, 2) as usize,
            pause_ms: random.one_of(&[50, 300, 1_500]),
            weather: Weather::draw(random),
        }
    }
}

/// Runs a seed from beginning to end.
pub fn run(seed: u64, planted: Option<Planted>, detail: Detail) -> Outcome<Configuration> {
    #[cfg(feature = "planted")]
    ::broker::planted::plant(
        (planted == Some(Planted::ControllerUnfenced))
            .then_some(::broker::planted::Mistake::ControllerUnfenced),
    );
    let configuration = Configuration::draw(&mut Random::stream(seed, 1));
    let Configuration { brokers, tools, pause_ms, weather } = &configuration;
    let mut stage = Stage::new(seed, brokers + tools, weather.clone(), detail);
    let mut cluster = Cluster {
        planted,
        pause_ms: *pause_ms,
        network: Random::stream(seed, 6),
        disks: (0..*brokers).map(|_| SharedDisk::default()).collect(),
        hears: vec![None; *brokers],
        lives: vec![0; *brokers],
        ways: BTreeMap::new(),
        quiet: Arc::default(),
        ledger: Ledger::default(),
    };
    let violation = broken_in(|| stage.play(&mut cluster));
    let Stage { events, now_ms, trace, .. } = stage;
    Outcome { violation, configuration, events, time_us: now_ms * 1000, trace }
}

/// A message between brokers on its way.
#[derive(Debug)]
struct Sent {
    at_ms: u64,
    /// It is lost with the process that it is for.
    life: u64,
    message: Message,
}

/// The brokers, and the people.
#[derive(Debug)]
struct Cluster {
    planted: Option<Planted>,
    pause_ms: u64,
    network: Random,
    disks: Vec<SharedDisk>,
    /// How each broker's process hears the others, and how many processes there were.
    hears: Vec<Option<mpsc::UnboundedSender<Message>>>,
    lives: Vec<u64>,
    /// By who says it and who is to hear it.
    ways: BTreeMap<(usize, usize), VecDeque<Sent>>,
    quiet: Arc<AtomicBool>,
    ledger: Ledger,
}

impl Troupe for Cluster {
    fn start(&mut self, at: usize, life: u64, surroundings: Surroundings) -> Main {
        let brokers = self.disks.len();
        if at < brokers {
            let (hear, heard) = mpsc::unbounded_channel();
            (self.hears[at], self.lives[at]) = (Some(hear), life);
            return Box::pin(broker::run(at as i32 + 1, surroundings, Arc::clone(&self.disks[at]), heard));
        }
        let (pause_ms, quiet) = (self.pause_ms, Arc::clone(&self.quiet));
        Box::pin(tool::run(Tool { surroundings, brokers: brokers as i32, pause_ms, quiet }))
    }

    fn killed(&mut self, at: usize) {
        if let Some(hear) = self.hears.get_mut(at) {
            *hear = None;
        }
    }

    fn committed(&mut self, tree: &Tree, committed: &Committed, trace: &mut Trace) -> Result<(), Violation> {
        let disks = &self.disks;
        let held = |topic: &str| {
            let holds = |disk: &SharedDisk| lock(disk).replicas.keys().any(|(name, _)| name == topic);
            disks.iter().position(holds).map(|at| at as i32 + 1)
        };
        self.ledger.committed(tree, committed, trace, &held)
    }

    /// Brokers hear what other brokers have said.
    fn passed(&mut self, now_ms: u64, _: Option<&Tree>, trace: &mut Trace) -> Result<(), Violation> {
        for from in 0..self.disks.len() {
            let (said, refused) = {
                let mut disk = lock(&self.disks[from]);
                (std::mem::take(&mut disk.said), std::mem::take(&mut disk.refused))
            };
            if refused > 0 {
                trace.marks_of("an order of an earlier controller was refused", refused);
            }
            for message in said {
                let to = message.to() as usize - 1;
                if self.planted == Some(Planted::OrdersLost) && self.network.one_in(10) {
                    continue;
                }
                let way = self.ways.entry((from, to)).or_default();
                let usual = now_ms + self.network.between(1, 30);
                let at_ms = way.back().map_or(usual, |last| last.at_ms.max(usual));
                way.push_back(Sent { at_ms, life: self.lives[to], message });
            }
        }
        for ((_, to), way) in &mut self.ways {
            while let Some(sent) = way.pop_front_if(|sent| sent.at_ms <= now_ms) {
                if let Some(hear) = self.hears[*to].as_ref().filter(|_| self.lives[*to] == sent.life) {
                    // A process that has ended hears nothing.
                    let _ = hear.send(sent.message);
                }
            }
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    fn unsettled(&self, tree: &Tree) -> Result<(), String> {
        self.ledger.unsettled(tree, &|broker, topic, partition| {
            let disk = lock(&self.disks[broker as usize - 1]);
            disk.replicas.get(&(topic.to_owned(), partition)).cloned()
        })
    }
}
