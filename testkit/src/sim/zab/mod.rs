//! An ensemble in one thread and from one seed: several replicas, their network, their disks, their clocks.
//!
//! The real [`coordinator::zab::Replica`] runs in every member; what surrounds it is simulated and as bad as it may be.
//! What a replica wants done is done one by one, so that a process can die between any two. After every step what the
//! members executed, promised and stored is compared with the [`Ledger`].
//!
//! A world lives twice: first everything goes wrong that the seed allows, and no promise may be broken; then a part of the
//! ensemble that is enough is healed, and has to serve again soon.

mod agenda;
mod changes;
mod configuration;
mod device;
mod faults;
mod healing;
mod log;
mod member;
mod network;
mod report;
pub mod servers;
mod stage;
mod state;
mod transfer;
mod turn;
mod work;

use std::collections::HashMap;
use std::sync::Arc;

use client::wire::zk::Zxid;
use coordinator::member::KnownMembers;
use coordinator::zab::{Epochs, Input, MemberId, Membership, Persistent, Replica, Standing};

use self::agenda::{Agenda, At, Happening};
use self::faults::Partition;
use self::healing::Healing;
use self::member::{Doing, Incoming, Job, Member, Mind, Process};
use self::network::{Break, Item, Network};
use self::servers::Servers;
use self::state::{Snapshot, State, identity};
use super::life::{Mistakes, Outcome, broken_in};
use super::random::Random;
use super::trace::{Detail, Trace};
use crate::check::service::{Violation, violation};
use crate::check::zab::{Ledger, Proposal};

pub use self::configuration::{Beginning, Configuration};
pub use self::faults::{Fault, FaultSet};
pub use self::report::Failure;
pub use self::stage::Stage;

/// A mistake built into the world on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// P1: the log says that it is durable when it has only been written.
    AckBeforeSync,
    /// P3: epochs are said to be saved while the log's queue still holds what was before them.
    PledgeWhileQueued,
    /// P6: what was executed stays executed when the log is cut.
    MemoryAfterTruncate,
    /// P9: a record that was torn by a power cut is taken for a good one.
    TornTail,
    /// P10: a sync that failed is tried again, and succeeds.
    SyncRetried,
    /// P18: a received snapshot gets its name, and the directory is not synced.
    RenameWithoutSync,
    /// P2: epochs overtake the history before them on their way to the disk.
    #[cfg(feature = "planted")]
    EpochBeforeHistory,
    /// P4: what is committed while a learner is brought up to date does not reach its log.
    #[cfg(feature = "planted")]
    CommitsSkipLog,
    /// P5: a leader begins before a quorum has its history.
    #[cfg(feature = "planted")]
    ProposeBeforeSync,
    /// Who looks for a leader keeps connections from which nothing comes.
    #[cfg(feature = "planted")]
    SilentLinksStay,
}

impl Mistakes for Planted {
    /// Some are inside the replicas, and need the feature `planted`.
    const ALL: &[(&str, Planted)] = &[
        ("p1-ack-before-sync", Planted::AckBeforeSync),
        ("p3-pledge-while-queued", Planted::PledgeWhileQueued),
        ("p6-memory-after-truncate", Planted::MemoryAfterTruncate),
        ("p9-torn-tail", Planted::TornTail),
        ("p10-sync-retried", Planted::SyncRetried),
        ("p18-rename-without-sync", Planted::RenameWithoutSync),
        #[cfg(feature = "planted")]
        ("p2-epoch-before-history", Planted::EpochBeforeHistory),
        #[cfg(feature = "planted")]
        ("p4-commits-skip-log", Planted::CommitsSkipLog),
        #[cfg(feature = "planted")]
        ("p5-propose-before-sync", Planted::ProposeBeforeSync),
        #[cfg(feature = "planted")]
        ("silent-links-stay", Planted::SilentLinksStay),
    ];
}

#[cfg(feature = "planted")]
impl Planted {
    fn inside_replicas(self) -> Option<coordinator::zab::planted::Mistake> {
        use coordinator::zab::planted::Mistake;
        match self {
            Planted::EpochBeforeHistory => Some(Mistake::EpochBeforeHistory),
            Planted::CommitsSkipLog => Some(Mistake::CommitsSkipLog),
            Planted::ProposeBeforeSync => Some(Mistake::ProposeBeforeSync),
            Planted::SilentLinksStay => Some(Mistake::SilentLinksStay),
            _ => None,
        }
    }
}

/// How to run a seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub planted: Option<Planted>,
    /// One in the servers above the replicas.
    pub mistake: Option<servers::Planted>,
    pub detail: Detail,
    /// Stop after so many events.
    pub until: Option<u64>,
}

/// The world.
#[derive(Debug)]
pub struct World {
    seed: u64,
    options: Options,
    configuration: Configuration,
    agenda: Agenda,
    network: Network,
    schedule: Random,
    disks: Random,
    faults: Random,
    work: Random,
    changing: Random,
    servers: Option<Box<Servers>>,
    members: Vec<Member>,
    /// Entries that change the members, by what stands for their bytes.
    changes: HashMap<u64, Arc<Membership>>,
    /// Who the members are, by what was agreed on.
    members_now: Arc<Membership>,
    ledger: Ledger,
    trace: Trace,
    partitions: Vec<Partition>,
    bad_pieces: u64,
    /// Payloads are numbered.
    next_payload: u64,
    healing: Option<Healing>,
    events: u64,
}

/// Timers fire this often.
const TICK_US: u64 = 20_000;

impl World {
    /// What a seed draws.
    pub fn configuration(seed: u64) -> Configuration {
        Configuration::draw(&mut Random::stream(seed, 1))
    }

    /// Runs a seed from beginning to end.
    pub fn run(seed: u64, configuration: &Configuration, options: Options) -> Outcome<Configuration> {
        #[cfg(feature = "planted")]
        coordinator::zab::planted::plant(options.planted.and_then(Planted::inside_replicas));
        let mut world = World::new(seed, configuration.clone(), options);
        let violation = broken_in(|| world.play());
        let World { configuration, agenda, ledger, events, mut trace, .. } = world;
        trace.marks_of("entry agreed on", ledger.agreed_count() as u64);
        Outcome { violation, configuration, events, time_us: agenda.now_us(), trace }
    }

    fn new(seed: u64, configuration: Configuration, options: Options) -> World {
        let mut clocks = Random::stream(seed, 7);
        let mut ledger = Ledger::default();
        let mut snapshot = None;
        if let Beginning::Snapshot { epoch, counter } = configuration.beginning {
            let mut state = State::default();
            let before = match configuration.servers {
                None => identity(b"before the world"),
                Some(_) => identity(&servers::prehistory()),
            };
            state.execute(Zxid(u64::from(epoch) << 32 | u64::from(counter)), before);
            ledger = Ledger::with_history(state.applied());
            let epochs = Epochs { accepted: epoch, current: epoch, complete: true };
            snapshot = Some((Snapshot::of(state), epochs));
        }
        let first_spare = configuration.membership.ids().last().map_or(1, |id| id.0 + 1);
        let spares = (first_spare..).take(configuration.spares as usize).map(MemberId);
        let members: Vec<Member> = configuration
            .membership
            .ids()
            .chain(spares)
            .map(|id| Member {
                id,
                device: snapshot.clone().map_or_else(Default::default, |(snapshot, epochs)| {
                    device::Device::with_snapshot(snapshot, epochs)
                }),
                lost: None,
                process: None,
                life: 0,
                frozen_until_us: 0,
                slow_until_us: 0,
                sync_fails: false,
                jobs_left: None,
                crash_in: None,
                abandoned: false,
                drift: match configuration.drift {
                    0 => 0,
                    drift => clocks.below(drift as u64 * 2) as i64 - drift,
                },
                clock_us: clocks.below(1 << 40),
                configured: (Zxid::ZERO, Arc::new(configuration.files_of(id))),
                next_serial: 1,
                notices: (0, 0),
                promised: Zxid::ZERO,
            })
            .collect();
        let Configuration { delay_us, hiccup_us, .. } = configuration;
        World {
            seed,
            options,
            agenda: Agenda::default(),
            network: Network::new(members.len(), Random::stream(seed, 3), delay_us, hiccup_us),
            schedule: Random::stream(seed, 2),
            disks: Random::stream(seed, 4),
            faults: Random::stream(seed, 5),
            work: Random::stream(seed, 6),
            changing: Random::stream(seed, 9),
            servers: Servers::new(seed, &configuration, options),
            changes: HashMap::new(),
            members_now: Arc::new(configuration.membership.clone()),
            members,
            ledger,
            trace: Trace::new(options.detail),
            partitions: Vec::new(),
            bad_pieces: 0,
            next_payload: 1,
            healing: None,
            events: 0,
            configuration,
        }
    }

    fn plants(&self, planted: Planted) -> bool {
        self.options.planted == Some(planted)
    }

    fn at(&self, id: MemberId) -> At {
        self.members.binary_search_by_key(&id, |member| member.id).expect("replicas speak of members only")
    }

    fn note(&mut self, at: At, what: &'static str, detail: u64, line: impl FnOnce() -> String) {
        self.trace.fold(detail ^ (what.len() as u64) << 56 ^ (at as u64) << 48);
        let (step, time_us, id) = (self.events, self.agenda.now_us(), self.members[at].id);
        self.trace.line(|| {
            format!(
                "{step:>8} {:>5}.{:06} {id} {what:<11} {}",
                time_us / 1_000_000,
                time_us % 1_000_000,
                line()
            )
        });
    }

    fn play(&mut self) -> Result<(), Violation> {
        for at in 0..self.members.len() {
            let after_us = if self.schedule.coin() { 0 } else { self.schedule.below(3_000_000) };
            self.agenda.after(after_us, Happening::Start { at });
        }
        self.plan_fault();
        match self.servers {
            None => self.plan_work(),
            Some(_) => self.begin_serving(),
        }
        self.plan_change();
        while let Some(happening) = self.agenda.next() {
            self.events += 1;
            if self.options.until.is_some_and(|until| self.events > until) {
                return Ok(());
            }
            self.trace.fold(self.agenda.now_us());
            self.happen(happening)?;
            match &self.healing {
                None if self.agenda.now_us() >= self.configuration.safety_us => self.begin_healing()?,
                Some(healing) if healing.is_done() => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Turn { at, life } if self.is_alive(at, life) => self.turn(at),
            Happening::Tick { at, life } if self.is_alive(at, life) => {
                let member = &self.members[at];
                let frozen_us = member.frozen_until_us;
                self.agenda.at(frozen_us.max(self.agenda.now_us() + TICK_US), Happening::Tick { at, life });
                self.give(at, Input::Tick);
                Ok(())
            }
            Happening::LogDone { at, life } if self.is_alive(at, life) => self.log_done(at),
            Happening::SnapshotDone { at, life } if self.is_alive(at, life) => {
                self.snapshot_done(at);
                Ok(())
            }
            Happening::Later { at, life, input } if self.is_alive(at, life) => {
                self.give(at, *input);
                Ok(())
            }
            Happening::Arrive { from, to, token } => {
                self.arrive(from, to, token);
                Ok(())
            }
            Happening::Dial { low, high } => {
                let can = [low, high].into_iter().all(|at| self.is_awake(at)) && self.may_link(low, high);
                if self.network.connect(&mut self.agenda, high, low, can) {
                    self.note(high, "connect", low as u64, || format!("to member at {low}"));
                }
                Ok(())
            }
            Happening::Start { at } => self.start(at),
            Happening::Fault if self.healing.is_none() => self.fault(),
            Happening::Heal(partition) if self.healing.is_none() => {
                self.heal(&partition);
                Ok(())
            }
            Happening::Work if self.healing.is_none() => {
                self.work();
                Ok(())
            }
            Happening::Change if self.healing.is_none() => self.change(),
            Happening::Client(passing) => self.pass(passing),
            Happening::Probe => self.probe(),
            _ => Ok(()),
        }
    }

    fn is_alive(&self, at: At, life: u64) -> bool {
        let member = &self.members[at];
        member.life == life && member.process.is_some()
    }

    fn is_awake(&self, at: At) -> bool {
        let member = &self.members[at];
        member.process.is_some() && member.frozen_until_us <= self.agenda.now_us()
    }

    /// Something comes in.
    fn give(&mut self, at: At, input: Input) {
        if let Some(process) = &mut self.members[at].process {
            process.inbox.push_back(input);
            self.plan_turn(at);
        }
    }

    fn plan_turn(&mut self, at: At) {
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        if !std::mem::replace(&mut process.turn_planned, true) {
            let time_us = member.frozen_until_us.max(self.agenda.now_us() + self.configuration.turn_us);
            self.agenda.at(time_us, Happening::Turn { at, life: member.life });
        }
    }

    fn arrive(&mut self, from: At, to: At, token: u64) {
        let Some(item) = self.network.arrive(&mut self.agenda, from, to, token) else { return };
        let peer = self.members[from].id;
        let input = match item {
            Item::Up(_) => Input::LinkUp(peer),
            Item::Message(message) => Input::Heard(peer, message),
            Item::Down => {
                self.network.dial(&mut self.agenda, from, to);
                Input::LinkDown(peer)
            }
        };
        self.give(to, input);
    }

    /// A process starts from what its disk holds.
    fn start(&mut self, at: At) -> Result<(), Violation> {
        let member = &mut self.members[at];
        if member.process.is_some() || member.abandoned {
            return Ok(());
        }
        member.life += 1;
        let life = member.life;
        let state = member.device.recover();
        if state.zxid() < member.promised {
            let promised = member.promised;
            return violation(
                "C13",
                format!("{} recovered up to {}, {promised} was safe", member.id, state.zxid()),
            );
        }
        let (before, mut recent) = member.device.recent(self.configuration.window_entries);
        recent
            .iter_mut()
            .for_each(|entry| entry.members = self.changes.get(&identity(&entry.bytes)).cloned());
        let tree = self.servers.as_ref().map(|servers| servers.tree_of(&state)).transpose()?;
        let KnownMembers { membership, at: members_at, next } = match &tree {
            None => self.members_of(at, &state),
            Some(tree) => self.members_by(at, tree),
        };
        let member = &mut self.members[at];
        let settings = self.configuration.settings(member.id, membership);
        let epochs = member.device.epochs();
        let local_us = member.local_us(self.agenda.now_us());
        let seed = Random::stream(self.seed, 8).next_u64() ^ (life << 40 | (at as u64) << 32);
        let replica =
            Replica::new(settings, Persistent { epochs, before, recent, members_at, next }, seed, local_us);
        let zxid = state.zxid();
        let mind = match tree {
            Some(tree) => Mind::Server(Box::new(self.server(at, replica, tree))),
            None => Mind::Replica(Box::new(replica)),
        };
        let member = &mut self.members[at];
        member.process = Some(Process {
            mind,
            spoiled: false,
            retiring: false,
            inbox: Default::default(),
            turn_planned: false,
            state,
            known: 0,
            executed: None,
            standing: Standing::Looking,
            jobs: Default::default(),
            doing: None,
            incoming: None,
            receiving: None,
            courier_us: 0,
            outgoing: Default::default(),
            open_logs: Default::default(),
            writing_snapshot: None,
            commands_since_snapshot: 0,
            requests: Default::default(),
            pending: Default::default(),
            tickets: Default::default(),
            next_ticket: 1,
        });
        if zxid > self.ledger.last() {
            self.trace.mark("a restart executed what was not agreed on");
        }
        self.note(at, "start", zxid.0, || format!("at {zxid}, {epochs:?}"));
        self.network.forget(at);
        for other in (0..self.members.len()).filter(|other| *other != at) {
            self.network.dial(&mut self.agenda, at, other);
        }
        self.agenda.after(self.schedule.below(TICK_US), Happening::Tick { at, life });
        self.plan_turn(at);
        Ok(())
    }

    /// A process dies, or the whole machine, and starts again sooner or later.
    fn crash(&mut self, at: At, power: bool) -> Result<(), Violation> {
        if self.members[at].process.is_none() {
            return Ok(());
        }
        let after_us = match self.faults.below(4) {
            0 => self.faults.below(8_000_000),
            _ => self.faults.below(500_000),
        };
        self.agenda.after(after_us, Happening::Start { at });
        self.stop(at, power)
    }

    fn stop(&mut self, at: At, power: bool) -> Result<(), Violation> {
        let Some(process) = self.members[at].process.take() else { return Ok(()) };
        self.members[at].crash_in = None;
        self.members[at].frozen_until_us = 0;
        self.note(at, "crash", u64::from(power), || format!("power cut: {power}"));
        self.break_links_of(at);
        if let Some(Doing::Job(job)) = process.doing
            && self.disks.coin()
        {
            self.half_done(at, job, process.incoming)?;
        }
        let before = self.members[at].device.length();
        let torn = self.plants(Planted::TornTail);
        let member = &mut self.members[at];
        member.device.crash(power, &mut self.disks);
        if torn && power {
            member.device.tear();
        }
        if member.device.length() < before {
            self.trace.mark("a power cut tore the log");
        }
        for other in 0..self.members.len() {
            let most = if power { 4_000_000 } else { 5_000 };
            let notice_us = (0, self.faults.below(most));
            self.network.cut(&mut self.agenda, at, other, Break { notice_us });
        }
        self.network.forget(at);
        Ok(())
    }

    /// What the log's thread was doing when the process died was done all the same.
    fn half_done(&mut self, at: At, job: Job, incoming: Option<Incoming>) -> Result<(), Violation> {
        match job {
            Job::SaveEpochs(epochs) => self.save_epochs(at, epochs),
            Job::Truncate(zxid) => {
                self.members[at].device.truncate(zxid);
                let member = &mut self.members[at];
                member.promised = member.promised.min(zxid);
                Ok(())
            }
            Job::Replace(zxid) => {
                if let Some(snapshot) = incoming.and_then(|incoming| incoming.whole) {
                    let forgetful = self.plants(Planted::RenameWithoutSync);
                    let member = &mut self.members[at];
                    member.promised = zxid;
                    member.device.replace(snapshot, forgetful);
                }
                Ok(())
            }
            Job::Append(_) => Ok(()),
        }
    }
}
