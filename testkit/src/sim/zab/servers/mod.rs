//! Whole servers in the place of replicas, and clients that are on any of them.
//!
//! In every member the real [`coordinator::member::Member`] runs: replica, tree, sessions and requests as the server wires
//! them. Network, disks, clocks and everything that goes wrong are those of the world of replicas, whose promises are all
//! checked here, too. On top come clients, which know nothing but what they are sent, and [`Promises`] about that. In some
//! worlds they change the members.

mod changes;
mod clients;
mod links;
mod membership;
mod promises;
mod server;
mod sessions;
#[cfg(test)]
mod tests;
mod workload;

use std::collections::BTreeMap;

use bytes::Bytes;
use client::wire::zk::Zxid;
use coordinator::tree::Tree;
use coordinator::tree::command::{Command, Op, Rules};
use coordinator::zab::{MemberId, Membership};

use self::clients::Client;
use self::links::Link;
pub(super) use self::links::Passing;
use self::promises::Promises;
pub(super) use self::server::Server;
use super::state::{State, identity};
use super::{Beginning, Configuration, Fault, FaultSet, Options, World};
use crate::check::service::{Violation, violation};
use crate::sim::life::{Mistakes, Outcome};
use crate::sim::random::Random;
use crate::sim::trace::Detail;

/// A mistake built into servers or clients on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A member answers a write of its client as soon as anybody has executed it.
    AnswerBeforeExecuted,
    /// Watches that a client brings along to another member are forgotten.
    WatchesLost,
    /// Followers do not tell the leader of signs of life.
    TouchesLost,
    /// A member answers a `sync` from what it knows itself: the leader has no quorum confirm it, the others ask nobody.
    SyncUnconfirmed,
    /// The event comes after the reply that shows its change.
    EventAfterReply,
    /// Nobody keeps time for sessions.
    NoExpiry,
    /// A member that starts takes the members of long ago for those of now, whatever its data say.
    MembersByFiles,
    /// A member goes on showing the members that were there when they were first asked for.
    ConfigReadOnce,
    /// A member does not tell the leader who its clients are.
    IdentitiesLost,
}

impl Mistakes for Planted {
    const ALL: &[(&str, Planted)] = &[
        ("answer-before-executed", Planted::AnswerBeforeExecuted),
        ("watches-lost", Planted::WatchesLost),
        ("touches-lost", Planted::TouchesLost),
        ("sync-unconfirmed", Planted::SyncUnconfirmed),
        ("event-after-reply", Planted::EventAfterReply),
        ("no-expiry", Planted::NoExpiry),
        ("members-by-files", Planted::MembersByFiles),
        ("config-read-once", Planted::ConfigReadOnce),
        ("identities-lost", Planted::IdentitiesLost),
    ];
}

/// An epoch that ends in line is everybody's within this time.
const EPOCH_TURN_US: u64 = 1_000_000;

/// How clients are.
#[derive(Debug, Clone, PartialEq)]
pub struct Serving {
    pub clients: u64,
    pub session_ms: u64,
    /// Between two things that a client does.
    pub think_us: u64,
    /// Registers that they share.
    pub registers: u64,
    /// Requests under way at a time.
    pub window: u64,
    /// Something befalls a client once in so many times that it does something.
    pub mishaps: u64,
    /// Sessions are local until they need an ephemeral.
    pub local: bool,
    /// Changes of the members are written into the files that say who they are.
    pub members_in_files: bool,
    /// Some znodes are not for everybody.
    pub secrets: bool,
}

impl Serving {
    fn draw(random: &mut Random) -> Serving {
        Serving {
            clients: random.between(2, 6),
            session_ms: random.between(2_000, 5_000),
            think_us: random.between(5_000, 60_000),
            registers: random.between(1, 6),
            window: random.between(1, 6),
            mishaps: random.between(20, 400),
            local: random.one_in(4),
            members_in_files: !random.one_in(4),
            secrets: true,
        }
    }

    /// Simpler versions of this, the most drastic first.
    pub(super) fn simpler(&self) -> [(&'static str, Serving); 7] {
        let one_less = self.clients.saturating_sub(1).max(1);
        [
            ("one client", Serving { clients: 1, ..self.clone() }),
            ("one client less", Serving { clients: one_less, ..self.clone() }),
            ("nothing befalls clients", Serving { mishaps: u64::MAX, ..self.clone() }),
            ("one request under way", Serving { window: 1, ..self.clone() }),
            ("no local sessions", Serving { local: false, ..self.clone() }),
            ("no secrets", Serving { secrets: false, ..self.clone() }),
            ("members in files", Serving { members_in_files: true, ..self.clone() }),
        ]
    }

    /// How long everything has to be well before the last session without a client must be gone.
    pub(super) fn patience_us(&self) -> u64 {
        self.session_ms * 2_000 + 3_000_000
    }
}

/// What a seed draws.
pub fn configuration(seed: u64) -> Configuration {
    let mut configuration = World::configuration(seed);
    let mut random = Random::stream(seed, 10);
    let mut serving = Serving::draw(&mut random);
    // What servers agree on is larger than what the world makes up for replicas; no server remembers as little as these may.
    configuration.window_entries = configuration.window_entries.max(32);
    configuration.window_bytes = configuration.window_bytes.max(1 << 14);
    configuration.flight_bytes = configuration.flight_bytes.max(1 << 14);
    // Or some ensembles would never stay together for as long as sessions last.
    configuration.hiccup_us = configuration.hiccup_us.min(configuration.timing.silence_us / 4);
    if random.coin() {
        // Leaders that do not know yet that they are deposed.
        while ![Fault::Freeze, Fault::Partition].iter().all(|fault| configuration.faults.contains(*fault)) {
            configuration.faults = FaultSet::draw(&mut random);
        }
        configuration.fault_us = random.between(150_000, 600_000);
    }
    (configuration.change_us, configuration.spares) = (0, 0);
    if random.coin() {
        configuration.change_us = random.between(100_000, 2_000_000);
        configuration.spares = random.below(3);
        // Whoever asks for other members may have them, and everything else.
        serving.secrets = false;
        if !random.coin() {
            configuration.faults.remove(Fault::Wipe);
        }
    }
    configuration.servers = Some(serving);
    let voters = configuration.membership.voters.len();
    // No client can ask for less than two.
    if configuration.membership.ids().count() < 2 || (configuration.change_us > 0 && voters < 2) {
        configuration.membership = Membership::of_voters((1..=3).map(MemberId));
    }
    configuration
}

/// Runs a seed from beginning to end.
pub fn run(seed: u64, mistake: Option<Planted>, detail: Detail) -> Outcome<Configuration> {
    World::run(seed, &configuration(seed), Options { mistake, detail, ..Options::default() })
}

/// Everything that is above the replicas.
#[derive(Debug)]
pub(super) struct Servers {
    serving: Serving,
    mistake: Option<Planted>,
    clients: Vec<Client>,
    links: BTreeMap<u64, Link>,
    links_count: u64,
    promises: Promises,
    /// What clients do, and what befalls them.
    work: Random,
    /// How long frames take.
    network: Random,
    seeds: Random,
    /// After the faults: since when one leader is followed by everybody who is to be well.
    calm_us: Option<u64>,
    /// When that was so last. An epoch that ends in line is taken over by one member after the other.
    united_us: u64,
    /// Clients ask for nothing any more.
    quiet: bool,
    /// After the faults: a client asked for other members and got them, if any ever does.
    changed_members: bool,
}

/// What an ensemble has behind it that does not begin empty: its first start.
pub(super) fn prehistory() -> Bytes {
    let op = Op::Start { server: 1, secret: &[7; 32] };
    Command { session: 0, time_ms: 0, identities: Vec::new(), rules: Rules::default(), op }.encode().into()
}

impl Servers {
    pub(super) fn new(seed: u64, configuration: &Configuration, options: Options) -> Option<Box<Servers>> {
        let serving = configuration.servers.clone()?;
        let mut promises = Promises::of(membership::text(&configuration.membership));
        if let Beginning::Snapshot { epoch, counter } = configuration.beginning {
            promises.learn(&prehistory());
            let zxid = Zxid(u64::from(epoch) << 32 | u64::from(counter));
            promises.agreed(zxid, &prehistory()).expect("a start is always possible");
        }
        Some(Box::new(Servers {
            mistake: options.mistake,
            clients: (0..serving.clients).map(|_| Client::default()).collect(),
            links: BTreeMap::new(),
            links_count: 0,
            promises,
            work: Random::stream(seed, 11),
            network: Random::stream(seed, 12),
            seeds: Random::stream(seed, 13),
            calm_us: None,
            united_us: 0,
            quiet: false,
            changed_members: configuration.change_us == 0,
            serving,
        }))
    }

    fn plants(&self, planted: Planted) -> bool {
        self.mistake == Some(planted)
    }

    /// The tree that a state leads to.
    pub(super) fn tree_of(&self, state: &State) -> Result<Tree, Violation> {
        let mut tree = Tree::new(1);
        for applied in state.applied() {
            let Some(bytes) = self.promises.command(applied.identity) else {
                return violation("C2", format!("nobody ever proposed what is at {}", applied.zxid));
            };
            if let Err(error) = tree.execute(applied.zxid, bytes, &mut Vec::new()) {
                return violation("C13", format!("what is at {} cannot be executed: {error}", applied.zxid));
            }
        }
        Ok(tree)
    }

    /// Who is served, for a report.
    pub(super) fn describe(&self) -> String {
        let calm_us = self.calm_us.unwrap_or(u64::MAX);
        let served = self.clients.iter().filter(|client| client.is_served_since(calm_us)).count();
        let changed = if self.changed_members { "" } else { ", and nobody can change the members" };
        format!("; {served} of {} clients are served{changed}", self.clients.len())
    }

    /// A command was executed that nobody had executed before.
    pub(super) fn agreed(&mut self, zxid: Zxid, identity: u64) -> Result<(), Violation> {
        let Some(bytes) = self.promises.command(identity).cloned() else {
            return violation("C2", format!("nobody ever proposed what is at {zxid}"));
        };
        self.promises.agreed(zxid, &bytes)
    }
}

impl World {
    /// Clients begin.
    pub(super) fn begin_serving(&mut self) {
        let Some(servers) = &mut self.servers else { return };
        for client in 0..servers.clients.len() {
            let after_us = servers.work.below(1_000_000);
            self.agenda.after(after_us, super::Happening::Client(Passing::Wake { client }));
        }
    }

    /// After the faults: whether every client is served again, everything is agreed on by all, and nothing is left of
    /// sessions without clients.
    pub(super) fn is_serving_again(&mut self, united: bool, converged: bool) -> Result<bool, Violation> {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return Ok(true) };
        if united {
            servers.united_us = now_us;
        } else if now_us < servers.united_us + EPOCH_TURN_US {
            return Ok(false);
        } else {
            // Whoever remembers little may never be brought up to date while others write, nor stay so if they write as much
            // again.
            if !std::mem::replace(&mut servers.quiet, true) {
                servers.serving.think_us *= 2;
            }
            servers.calm_us = None;
            return Ok(false);
        }
        let calm_us = *servers.calm_us.get_or_insert(now_us);
        let patience_us = servers.serving.patience_us();
        servers.quiet = now_us > calm_us + patience_us * 2 / 3;
        if now_us < calm_us + patience_us {
            return Ok(false);
        }
        if !servers.clients.iter().all(|client| client.is_served_since(calm_us)) {
            // One may be getting a session just now.
            return Ok(false);
        }
        let held = |session| servers.clients.iter().any(|client| client.session == session);
        if let Some(session) = servers.promises.live_sessions().find(|session| !held(*session)) {
            return violation("C10", format!("session {session:#x} outlives its client"));
        }
        Ok(converged && servers.changed_members)
    }

    /// In the end every tree is what the model says.
    pub(super) fn compare_trees(&self) -> Result<(), Violation> {
        let Some(servers) = &self.servers else { return Ok(()) };
        for member in &self.members {
            let Some(server) = member.process.as_ref().and_then(|process| process.server()) else { continue };
            let tree = server.member.service.tree();
            tree.check_invariants();
            if let Some(model) = servers.promises.at(tree.zxid())
                && let Some(difference) = model.difference(tree)
            {
                return violation("C6", format!("{}: {difference}", member.id));
            }
        }
        Ok(())
    }

    /// What a member wants in its log has become known.
    pub(super) fn learn(&mut self, bytes: &Bytes) -> u64 {
        if let Some(servers) = &mut self.servers {
            servers.promises.learn(bytes);
        }
        identity(bytes)
    }
}
