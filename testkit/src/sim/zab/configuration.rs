//! What a seed draws before anything happens. Small limits make rare paths common.

use coordinator::tree::command::LEVEL_OF_LOCAL_SESSIONS;
use coordinator::zab::{MemberId, Membership, Settings, Timing, Voter};

use super::faults::{Fault, FaultSet};
use super::servers::Serving;
use crate::sim::random::Random;

/// Where the history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Empty disks.
    Empty,
    /// All have the same snapshot.
    Snapshot { epoch: u32, counter: u32 },
}

/// How a world is.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    pub membership: Membership,
    pub timing: Timing,
    pub window_entries: usize,
    pub window_bytes: usize,
    pub flight_bytes: usize,
    pub counter_max: u32,
    pub beginning: Beginning,
    /// How long things go wrong.
    pub safety_us: u64,
    /// How long a message takes, and what a slow one takes on top.
    pub delay_us: (u64, u64),
    pub hiccup_us: u64,
    /// From an input to the turn that handles it.
    pub turn_us: u64,
    /// Inputs handled in one turn.
    pub turn_inputs: u64,
    pub sync_us: (u64, u64),
    /// Between two bursts of requests, and how many one has at most.
    pub work_us: u64,
    pub burst: u64,
    pub payload_bytes: u64,
    pub snapshot_every: u64,
    pub snapshots_kept: usize,
    pub pieces: u64,
    /// Messages are encoded and decoded on their way.
    pub encoded: bool,
    /// What was executed is reported at once, or with the next turn.
    pub executed_at_once: bool,
    /// Clocks are wrong by so many millionths.
    pub drift: i64,
    /// Between two faults.
    pub fault_us: u64,
    pub faults: FaultSet,
    /// Between two changes of the members; zero: there are none.
    pub change_us: u64,
    /// Processes that are no members at first.
    pub spares: u64,
    /// In so many of four cases the log on disk is worth reading for a learner that is too far behind for memory.
    pub log_odds: u64,
    /// Whole servers run, and these clients; replicas with made-up requests if there are none.
    pub servers: Option<Serving>,
}

impl Configuration {
    pub fn draw(random: &mut Random) -> Configuration {
        let calm = random.one_in(16);
        let mut drawn = Configuration {
            membership: membership(random),
            timing: timing(random),
            window_entries: random.power_of_two(0, 10) as usize,
            window_bytes: random.power_of_two(8, 22) as usize,
            flight_bytes: random.power_of_two(7, 22) as usize,
            counter_max: if random.one_in(4) { random.between(20, 400) as u32 } else { u32::MAX },
            beginning: match random.below(3) {
                0 => Beginning::Empty,
                _ => Beginning::Snapshot {
                    epoch: random.between(1, 5) as u32,
                    counter: random.between(1, 15) as u32,
                },
            },
            safety_us: random.between(3_000_000, 20_000_000),
            delay_us: {
                let least = random.between(20, 1000);
                (least, least + random.between(10, 2000))
            },
            hiccup_us: if random.coin() { random.between(1_000, 400_000) } else { 0 },
            turn_us: random.between(1, 500),
            turn_inputs: random.between(1, 60),
            sync_us: {
                let least = random.between(50, 2_000);
                (least, least + random.between(100, 10_000))
            },
            work_us: random.between(5_000, 120_000),
            burst: random.power_of_two(0, 6),
            payload_bytes: random.power_of_two(0, 10),
            snapshot_every: random.between(5, 200),
            snapshots_kept: random.between(1, 3) as usize,
            pieces: random.between(1, 9),
            encoded: random.one_in(8),
            executed_at_once: random.coin(),
            drift: if random.coin() { 50_000 } else { 0 },
            fault_us: random.between(50_000, 1_500_000),
            faults: if calm { FaultSet::default() } else { FaultSet::draw(random) },
            change_us: 0,
            spares: 0,
            log_odds: 0,
            servers: None,
        };
        if random.one_in(4) {
            drawn.change_us = random.between(100_000, 3_000_000);
            drawn.spares = random.below(3);
        }
        drawn.log_odds = random.one_of(&[0, 2, 4]);
        // Members that change keep their disks in half of the worlds.
        if drawn.change_us > 0 && random.coin() {
            drawn.faults.remove(Fault::Wipe);
        }
        drawn
    }

    /// What a member's replica is configured with.
    pub fn settings(&self, id: MemberId, membership: Membership) -> Settings {
        Settings {
            id,
            membership,
            timing: self.timing,
            window_entries: self.window_entries,
            window_bytes: self.window_bytes,
            flight_bytes: self.flight_bytes,
            counter_max: self.counter_max,
            level: match &self.servers {
                Some(serving) if serving.local => LEVEL_OF_LOCAL_SESSIONS,
                _ => 0,
            },
        }
    }

    /// Who the members are by the files of one of them at first. A server that is to join names itself, without a voice.
    pub fn files_of(&self, id: MemberId) -> Membership {
        let mut membership = self.membership.clone();
        if self.servers.is_some() && !membership.contains(id) {
            membership.observers.insert(id);
        }
        membership
    }

    /// When a healed ensemble must be well at the latest.
    pub fn healing_us(&self) -> u64 {
        let alone_us = 10_000_000 + self.timing.bootstrap_us + 2 * self.timing.silence_us;
        alone_us + self.servers.as_ref().map_or(0, |serving| 2 * serving.patience_us())
    }

    /// Simpler versions of this, the most drastic first: for whoever looks for the smallest world that still fails.
    pub fn simpler(&self) -> Vec<(String, Configuration)> {
        let mut all = Vec::new();
        for fault in Fault::ALL {
            if self.faults.contains(fault) {
                let mut faults = self.faults.clone();
                faults.remove(fault);
                all.push((format!("without {}", fault.name()), Configuration { faults, ..self.clone() }));
            }
        }
        for id in self.membership.observers.iter().chain(self.membership.voters.keys()) {
            let mut membership = self.membership.clone();
            membership.observers.remove(id);
            membership.voters.remove(id);
            let least = if self.servers.is_some() { 2 } else { 1 };
            if membership.voters.len() >= least {
                all.push((format!("without member {id}"), Configuration { membership, ..self.clone() }));
            }
        }
        let mut with = |what: &str, configuration: Configuration| all.push((what.to_owned(), configuration));
        let safety_us = self.safety_us;
        with("half the time", Configuration { safety_us: safety_us / 2, ..self.clone() });
        for (what, serving) in self.servers.iter().flat_map(Serving::simpler) {
            with(what, Configuration { servers: Some(serving), ..self.clone() });
        }
        if self.servers.is_none() {
            with(
                "half the requests",
                Configuration { work_us: safety_us.min(self.work_us * 2), ..self.clone() },
            );
            with("one request at a time", Configuration { burst: 1, ..self.clone() });
        }
        with("fewer faults", Configuration { fault_us: safety_us.min(self.fault_us * 2), ..self.clone() });
        with("no changes of members", Configuration { change_us: 0, ..self.clone() });
        with("no spare", Configuration { spares: 0, ..self.clone() });
        with("right clocks", Configuration { drift: 0, ..self.clone() });
        with("no slow messages", Configuration { hiccup_us: 0, ..self.clone() });
        with("long epochs", Configuration { counter_max: u32::MAX, ..self.clone() });
        with("never a DIFF from the log", Configuration { log_odds: 0, ..self.clone() });
        with("one piece", Configuration { pieces: 1, ..self.clone() });
        all.retain(|(_, simpler)| simpler != self);
        all
    }
}

fn membership(random: &mut Random) -> Membership {
    let voters = match random.below(12) {
        0 => 1,
        1 => 2,
        2 => 4,
        3..=4 => 5,
        _ => 3,
    };
    let observers = if random.one_in(3) { random.between(1, 2) } else { 0 };
    // Observers may have any number.
    let mut ids: Vec<u8> = (1..=(voters + observers) as u8).collect();
    for at in (1..ids.len()).rev() {
        ids.swap(at, random.below(at as u64 + 1) as usize);
    }
    let observers = ids.split_off(voters as usize);
    let mut membership = Membership::of_voters(ids.iter().copied().map(MemberId));
    membership.observers = observers.into_iter().map(MemberId).collect();
    match random.below(8) {
        0 => {
            for voter in membership.voters.values_mut() {
                voter.weight = random.below(4) as u32;
            }
        }
        1 => {
            for voter in membership.voters.values_mut() {
                *voter = Voter { weight: 1, group: Some(random.below(3) as u32) };
            }
        }
        _ => {}
    }
    if membership.voters.values().all(|voter| voter.weight == 0) {
        membership.voters.values_mut().for_each(|voter| voter.weight = 1);
    }
    membership
}

fn timing(random: &mut Random) -> Timing {
    if random.coin() {
        return Timing::default();
    }
    let ping_us = random.between(30_000, 250_000);
    Timing {
        ping_us,
        silence_us: ping_us * random.between(5, 12),
        gather_us: random.between(1_000, 100_000),
        join_us: random.between(300_000, 1_000_000),
        init_us: random.between(4_000_000, 20_000_000),
        bootstrap_us: random.between(500_000, 4_000_000),
    }
}
