//! One server, its clients, its disk and its clock, in one thread and from one seed.
//!
//! The real `Service`, tree, log, recovery and snapshots run; sockets, disk and time are simulated. Every step is one
//! small thing: a frame arrives, a batch reaches the disk, one command is executed, a connection breaks, the power goes.
//! After each, everything the server sent is compared with [`Oracle`], and promises that outlive a connection or the
//! server itself are checked here.

mod clients;
mod configuration;
mod log;
mod recovery;
mod server;
pub mod workload;

use std::collections::BTreeMap;

use bytes::Bytes;
use coordinator::request::Now;

use self::clients::Client;
use self::server::Server;
use super::disk::SimDisk;
use super::life::{Mistakes, Outcome, broken_in};
use super::random::Random;
use super::trace::{Detail, Trace};
use crate::check::service::{Asked, Oracle, Violation, violation};

pub use self::configuration::{Configuration, SERVER};

/// The last start may be interrupted, and so may those that follow from that; the log takes few commands at once.
const FLUSHES_MAX: usize = 50;

/// A mistake built into the world on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Commands are executed before the log has them.
    AckBeforeSync,
    /// Syncs do nothing.
    NoSync,
    /// The event comes after the reply that shows its change.
    EventAfterReply,
    /// An event gets lost.
    EventLost,
    /// Sessions expire in half their time.
    EarlyExpiry,
    /// A restart forgets the log's last record.
    ShortRecovery,
}

impl Mistakes for Planted {
    const ALL: &[(&str, Planted)] = &[
        ("ack-before-sync", Planted::AckBeforeSync),
        ("no-sync", Planted::NoSync),
        ("event-after-reply", Planted::EventAfterReply),
        ("event-lost", Planted::EventLost),
        ("early-expiry", Planted::EarlyExpiry),
        ("short-recovery", Planted::ShortRecovery),
    ];
}

/// The world.
#[derive(Debug)]
pub struct World {
    seed: u64,
    planted: Option<Planted>,
    configuration: Configuration,
    schedule: Random,
    network: Random,
    faults: Random,
    work: Random,
    disk: SimDisk,
    server: Server,
    oracle: Oracle,
    clients: Vec<Client>,
    next_connection: u64,
    /// Every command by its zxid, from 1 on, with what a client asked for it.
    history: Vec<(Bytes, Option<Asked>)>,
    /// The tree's running digest after each executed command.
    digests: BTreeMap<u64, u64>,
    /// The last command that was executed before anybody's eyes.
    executed: u64,
    now_ms: u64,
    step: u64,
    trace: Trace,
}

impl World {
    /// Runs a seed from beginning to end.
    pub fn run(seed: u64, planted: Option<Planted>, detail: Detail) -> Outcome<Configuration> {
        let mut world = World::new(seed, planted, detail);
        let violation = broken_in(|| world.play());
        let World { configuration, step, now_ms, trace, .. } = world;
        Outcome { violation, configuration, events: step, time_us: now_ms * 1000, trace }
    }

    fn new(seed: u64, planted: Option<Planted>, detail: Detail) -> World {
        let stream = |number| Random::stream(seed, number);
        let configuration = Configuration::draw(&mut stream(1));
        let disk = SimDisk::new();
        let server = Self::boot(&disk, &configuration, seed, planted, 0)
            .map(|booted| booted.expect("an empty disk has no wrong snapshot"))
            .expect("an empty disk opens");
        let clients = (0..configuration.clients).map(|_| Client::default()).collect();
        World {
            seed,
            planted,
            configuration,
            schedule: stream(2),
            network: stream(3),
            faults: stream(4),
            work: stream(5),
            disk,
            server,
            oracle: Oracle::default(),
            clients,
            next_connection: 1,
            history: Vec::new(),
            digests: BTreeMap::new(),
            executed: 0,
            now_ms: 0,
            step: 0,
            trace: Trace::new(detail),
        }
    }

    fn now(&self) -> Now {
        // The wall clock is not the monotonic one.
        Now { monotonic_us: self.now_ms * 1000, wall_ms: 1_000_000 + self.now_ms as i64 }
    }

    fn note(&mut self, what: &'static str, line: impl FnOnce() -> String) {
        self.trace.fault(what);
        let line = format!("{:>6} {:>7}ms {what:<12} {}", self.step, self.now_ms, line());
        for bytes in line.as_bytes().chunks(8) {
            self.trace.fold(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
        self.trace.line(|| line);
    }

    fn play(&mut self) -> Result<(), Violation> {
        self.start()?;
        while self.step < self.configuration.steps {
            self.step += 1;
            self.now_ms += self.schedule.below(4);
            self.act()?;
            if self.step.is_multiple_of(50) {
                self.compare_states()?;
            }
        }
        // Whatever was promised must survive one last power cut, and everything must still go on.
        self.restart(true)?;
        for _ in 0..FLUSHES_MAX {
            self.flush()?;
            while self.commit_one()? {}
            if self.oracle.serving {
                break;
            }
        }
        match self.oracle.serving {
            true => self.compare_states(),
            false => violation("C15", "the server does not serve after a restart without faults"),
        }
    }

    fn compare_states(&self) -> Result<(), Violation> {
        let tree = self.server.service.tree();
        tree.check_invariants();
        match self.oracle.model.difference(tree) {
            None => Ok(()),
            Some(difference) => violation("C7", difference),
        }
    }

    fn act(&mut self) -> Result<(), Violation> {
        let fault = self.faults.below(10_000);
        let Configuration { cuts, crashes, freezes, full_disks, failing_syncs, .. } = self.configuration;
        if fault < cuts {
            let client = self.network.below(self.clients.len() as u64) as usize;
            return self.cut(client);
        }
        if fault < cuts + crashes {
            // Now, or during one of the next effects.
            match self.faults.below(3) {
                0 => return self.restart(self.faults.clone().coin()),
                _ => self.disk.stop_at(self.disk.effects() + self.faults.below(6)),
            }
        } else if fault < cuts + crashes + freezes {
            let ms = self.configuration.timeout_ms * (1 + self.faults.below(5));
            self.now_ms += ms;
            self.note("freeze", || format!("the server does not run for {ms} ms"));
        } else if fault < cuts + crashes + freezes + full_disks {
            let room = self.faults.below(3000);
            self.disk.set_capacity(Some(self.disk.used() + room));
            self.note("full", || format!("{room} bytes are left"));
        } else if fault < cuts + crashes + freezes + full_disks + failing_syncs {
            self.disk.fail_sync_at(self.disk.effects() + self.faults.below(4));
            self.note("bad-sync", || "a sync is going to fail".into());
        } else if fault > 9_800 {
            self.disk.set_capacity(None);
        }
        let client = self.schedule.below(self.clients.len() as u64) as usize;
        match self.schedule.below(20) {
            0..=5 => self.client_sends(client),
            6..=10 => self.server_reads(client)?,
            11..=12 => self.client_reads(client)?,
            13..=14 => self.flush()?,
            15..=17 => {
                self.commit_one()?;
            }
            18 => self.tick()?,
            _ => self.snapshot()?,
        }
        Ok(())
    }
}
