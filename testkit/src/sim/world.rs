//! One server, its clients, its disk and its clock, in one thread and from one seed.
//!
//! The real `Service`, tree, log, recovery and snapshots run; sockets, disk and time are simulated. Every step is one
//! small thing: a frame arrives, a batch reaches the disk, one command is executed, a connection breaks, the power goes.
//! After each, everything the server sent is compared with [`Oracle`], and promises that outlive a connection or the
//! server itself are checked here.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::wire::codec::Reader;
use client::wire::zk::reply::{XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES};
use client::wire::zk::{ConnectRequest, ConnectResponse, ReplyHeader, Request, SessionId, Zxid};
use coordinator::config::{
    AuthConfig, DigestAlgorithm, DigestConfig, LimitsConfig, SessionConfig, TreeConfig,
};
use coordinator::request::auth::digest_id;
use coordinator::request::{Duty, Now, Service, Settings};
use coordinator::store::{Disk, Log, LogOptions, Recovery, Retention, SnapshotWriter, StoreError};
use coordinator::tree::Tree;
use coordinator::tree::command::{Command, Op};
use coordinator::tree::snapshot::Loader;
use coordinator::tree::watches::ConnectionId;
use coordinator::tree::znode::Ownership;

use super::disk::SimDisk;
use super::random::Random;
use super::workload;
use crate::check::service::{Asked, Consequence, Oracle, Violation, show, violation};

/// What a seed draws before anything happens. Small limits make rare paths common.
#[derive(Debug, Clone)]
pub struct Configuration {
    steps: u64,
    clients: u64,
    tick_ms: u64,
    timeout_ms: u64,
    segment_bytes_max: u64,
    snapshot_every: u64,
    snapshots_kept: usize,
    outstanding_per_connection_max: u32,
    enforce_quota: bool,
    /// How often each fault happens in ten thousand steps.
    cuts: u64,
    crashes: u64,
    freezes: u64,
    full_disks: u64,
    failing_syncs: u64,
}

impl Configuration {
    pub(crate) fn draw(random: &mut Random) -> Configuration {
        let mut rate = |most: u64| if random.below(3) == 0 { 0 } else { random.below(most) };
        let (cuts, crashes, freezes, full_disks, failing_syncs) =
            (rate(300), rate(120), rate(60), rate(60), rate(30));
        let random_steps = random.below(1500);
        let tick_ms = 100 + random.below(300);
        Configuration {
            steps: 300 + random_steps,
            clients: 1 + random.below(5),
            tick_ms,
            timeout_ms: tick_ms * (2 + random.below(10)),
            segment_bytes_max: 2000 + random.below(60_000),
            snapshot_every: 3 + random.below(40),
            snapshots_kept: 1 + random.below(3) as usize,
            outstanding_per_connection_max: 1 + random.below(12) as u32,
            enforce_quota: random.coin(),
            cuts,
            crashes,
            freezes,
            full_disks,
            failing_syncs,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            server_id: 1,
            session: SessionConfig {
                tick: Duration::from_millis(self.tick_ms),
                timeout_min: Duration::from_millis(self.timeout_ms),
                timeout_max: Duration::from_millis(self.timeout_ms * 2),
                handshake_timeout: Duration::from_secs(10),
            },
            limits: LimitsConfig {
                frame_bytes_max: 1 << 20,
                connections_per_address: None,
                connections_max: 1000,
                outstanding_max: 1000,
                outstanding_per_connection_max: self.outstanding_per_connection_max,
                large_request_threshold: None,
                large_request_bytes_max: 1 << 20,
                memory_bytes_max: 1 << 30,
                sessions_max: 10_000,
                watches_max: 100_000,
                watches_per_connection_max: 10_000,
                slow_operation: None,
            },
            tree: TreeConfig {
                extended_types: true,
                enforce_quota: self.enforce_quota,
                digest: true,
                container_never_used_max: None,
            },
            auth: AuthConfig {
                skip_acl: false,
                digest: Some(DigestConfig { algorithm: DigestAlgorithm::Sha1, super_digest: None }),
                x509_super_user: None,
                sasl: None,
                require_sasl: false,
                allow_sasl_failed: false,
                required_schemes: Vec::new(),
                ensemble_names: None,
            },
            reconfig_enabled: false,
            read_only_mode: false,
            leader_serves: true,
            members_text: None,
        }
    }
}

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

impl Planted {
    /// All of them, by the names of the command line.
    pub const ALL: [(&str, Planted); 6] = [
        ("ack-before-sync", Planted::AckBeforeSync),
        ("no-sync", Planted::NoSync),
        ("event-after-reply", Planted::EventAfterReply),
        ("event-lost", Planted::EventLost),
        ("early-expiry", Planted::EarlyExpiry),
        ("short-recovery", Planted::ShortRecovery),
    ];
}

/// What a seed came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The same for the same seed.
    pub trace_hash: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A promise was broken.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// In which step.
    pub step: u64,
    /// When.
    pub time_ms: u64,
    /// What was broken.
    pub violation: Violation,
    /// What the seed drew.
    pub configuration: Configuration,
    /// What happened before, the last last.
    pub events: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failure { seed, step, time_ms, violation, configuration, events } = self;
        let Violation { invariant, what } = violation;
        writeln!(
            f,
            "SIM FAIL scenario=solo seed={seed:#x} step={step} t={time_ms}ms invariant={invariant} {what}"
        )?;
        writeln!(f, "{configuration:?}")?;
        events.iter().try_for_each(|event| writeln!(f, "  {event}"))?;
        write!(f, "replay: cargo run -p testkit --bin sim -- solo --seed {seed:#x} --trace")
    }
}

/// What is on its way to the server.
#[derive(Debug, Clone)]
enum Sent {
    Hello { session: i64, password: [u8; 16], last_zxid: u64 },
    Request { xid: i32, request: Request<'static> },
}

/// A client, which outlives its connections and sessions.
#[derive(Debug, Default)]
struct Client {
    /// The world's number of its connection; zero is none.
    connection: u64,
    welcomed: bool,
    to_server: VecDeque<Sent>,
    to_client: VecDeque<Vec<u8>>,
    session: i64,
    password: [u8; 16],
    last_zxid: u64,
    next_xid: i32,
    /// Sent and not answered, in order: xid and whether it is a write.
    unanswered: VecDeque<(i32, bool)>,
    silent_until_ms: u64,
}

#[derive(Debug)]
struct InFlight {
    zxid: u64,
    serial: u64,
    bytes: Bytes,
}

/// Everything that dies with the server's process.
#[derive(Debug)]
struct Server {
    service: Service,
    log: Log,
    in_flight: VecDeque<InFlight>,
    /// How many of them the log has.
    appended: usize,
    durable: u64,
    snapshot: Option<SnapshotWriter>,
    snapshot_zxid: u64,
    retention: Retention,
    commands_since_snapshot: u64,
    waiting_for_space: bool,
    served_ms: u64,
    last_tick_ms: u64,
    /// By session: when it was last heard, in served time, and when it must be gone at the latest.
    heard: BTreeMap<i64, (u64, u64)>,
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
    events: VecDeque<String>,
    print: bool,
    summary: Summary,
}

const EVENTS_KEPT: usize = 40;

fn io(what: &str, error: &StoreError) -> Violation {
    Violation { invariant: "C13", what: format!("{what}: {error}") }
}

fn rebuild(recovery: &mut Recovery, planted: Option<Planted>) -> Result<Result<Tree, Violation>, StoreError> {
    let mut tree = Tree::new(1);
    if let Some(snapshot) = recovery.snapshot() {
        let mut loader = Loader::new(1);
        while let Some(chunk) = snapshot.next_chunk()? {
            if let Err(error) = loader.chunk(&chunk) {
                return Ok(violation("C13", format!("a snapshot cannot be loaded: {error}")));
            }
        }
        tree = match loader.finish() {
            Ok(tree) => tree,
            Err(error) => return Ok(violation("C13", format!("a snapshot cannot be loaded: {error}"))),
        };
    }
    let mut kept: Option<(u64, Bytes)> = None;
    while let Some(record) = recovery.next_record()? {
        if let Some((zxid, bytes)) = kept.replace(record)
            && let Err(error) = tree.execute(Zxid(zxid), &bytes, &mut Vec::new())
        {
            return Ok(violation("C13", format!("a record cannot be executed: {error}")));
        }
    }
    if let Some((zxid, bytes)) = kept.filter(|_| planted != Some(Planted::ShortRecovery))
        && let Err(error) = tree.execute(Zxid(zxid), &bytes, &mut Vec::new())
    {
        return Ok(violation("C13", format!("a record cannot be executed: {error}")));
    }
    Ok(Ok(tree))
}

impl World {
    /// Runs a seed from beginning to end.
    pub fn run(seed: u64, planted: Option<Planted>, print: bool) -> Result<Summary, Box<Failure>> {
        let mut world = World::new(seed, planted, print);
        let outcome = match catch_unwind(AssertUnwindSafe(|| world.play())) {
            Ok(outcome) => outcome,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                violation("assertion", text.unwrap_or_default())
            }
        };
        match outcome {
            Ok(()) => Ok(world.summary),
            Err(violation) => Err(Box::new(Failure {
                seed,
                step: world.step,
                time_ms: world.now_ms,
                violation,
                configuration: world.configuration,
                events: world.events.into(),
            })),
        }
    }

    fn new(seed: u64, planted: Option<Planted>, print: bool) -> World {
        let stream = |number: u64| Random::new(Random::new(seed ^ (number << 56)).next_u64());
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
            events: VecDeque::new(),
            print,
            summary: Summary::default(),
        }
    }

    fn boot(
        disk: &SimDisk,
        configuration: &Configuration,
        seed: u64,
        planted: Option<Planted>,
        now_ms: u64,
    ) -> Result<Result<Server, Violation>, StoreError> {
        let options = LogOptions {
            segment_bytes_max: configuration.segment_bytes_max,
            salt_seed: seed ^ now_ms,
            sync: planted != Some(Planted::NoSync),
            ..LogOptions::default()
        };
        let shared: Arc<dyn Disk> = disk.as_disk();
        let mut recovery = Recovery::open(Arc::clone(&shared), Arc::clone(&shared), options)?;
        let tree = match rebuild(&mut recovery, planted)? {
            Ok(tree) => tree,
            Err(violation) => return Ok(Err(violation)),
        };
        let (log, _) = recovery.finish()?;
        let heard = tree.sessions().iter().map(|(id, session)| {
            let timeout = u64::from(session.timeout_ms);
            (id.0, (0, timeout + configuration.tick_ms))
        });
        let now = Now { monotonic_us: now_ms * 1000, wall_ms: 1_000_000 + now_ms as i64 };
        Ok(Ok(Server {
            heard: heard.collect(),
            durable: log.last_zxid(),
            service: Service::new(configuration.settings(), tree, [seed as u8; 32], now),
            log,
            in_flight: VecDeque::new(),
            appended: 0,
            snapshot: None,
            snapshot_zxid: 0,
            retention: Retention::new(Arc::clone(&shared), shared, configuration.snapshots_kept),
            commands_since_snapshot: 0,
            waiting_for_space: false,
            served_ms: 0,
            last_tick_ms: now_ms,
        }))
    }

    fn now(&self) -> Now {
        // The wall clock is not the monotonic one.
        Now { monotonic_us: self.now_ms * 1000, wall_ms: 1_000_000 + self.now_ms as i64 }
    }

    fn note(&mut self, what: &'static str, line: impl FnOnce() -> String) {
        *self.summary.counts.entry(what).or_default() += 1;
        let line = format!("{:>6} {:>7}ms {what:<12} {}", self.step, self.now_ms, line());
        for byte in line.bytes() {
            self.summary.trace_hash =
                (self.summary.trace_hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // Data is often long and never interesting.
        let line: String = line.chars().take(240).collect();
        if self.print {
            println!("{line}");
        }
        if self.events.len() == EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(line);
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
        self.flush()?;
        while self.commit_one()? {}
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

    // ---- clients ----

    fn client_sends(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.silent_until_ms > self.now_ms {
            return;
        }
        if self.work.below(60) == 0 {
            client.silent_until_ms = self.now_ms + self.work.below(self.configuration.timeout_ms * 3);
        }
        if client.connection == 0 {
            return self.client_connects(at);
        }
        if !client.welcomed || client.unanswered.len() > 20 {
            return;
        }
        let request = workload::request(&mut self.work);
        self.send(at, request);
    }

    fn client_connects(&mut self, at: usize) {
        let id = self.next_connection;
        self.next_connection += 1;
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, at as u8));
        let now = self.now();
        self.server.service.connect(ConnectionId(id), (address, 1), false, Vec::new(), now);
        self.oracle.connect(id, &address.to_string());
        let client = &mut self.clients[at];
        let mut password = client.password;
        if client.session != 0 && self.work.below(30) == 0 {
            password[3] ^= 1;
        }
        let last_zxid = client.last_zxid;
        *client = Client {
            connection: id,
            session: client.session,
            password: client.password,
            last_zxid,
            silent_until_ms: client.silent_until_ms,
            ..Client::default()
        };
        let session = client.session;
        client.to_server.push_back(Sent::Hello { session, password, last_zxid });
        self.note("connect", || format!("client {at} on connection {id}, session {session:#x}"));
    }

    fn send(&mut self, at: usize, request: Request<'static>) {
        let client = &mut self.clients[at];
        let xid = match request {
            Request::Ping => XID_PING,
            Request::Auth { .. } => XID_AUTH,
            Request::SetWatches2(_) => XID_SET_WATCHES,
            _ => {
                client.next_xid += 1;
                client.next_xid
            }
        };
        if !matches!(xid, XID_PING | XID_AUTH) {
            client.unanswered.push_back((xid, crate::check::service::is_write(&request)));
        }
        let line = format!("client {at} xid {xid} {request:?}");
        client.to_server.push_back(Sent::Request { xid, request });
        self.note("send", || line);
    }

    /// The connection breaks: the server may have got some of what was under way, and so may the client.
    fn cut(&mut self, at: usize) -> Result<(), Violation> {
        let id = self.clients[at].connection;
        if id == 0 {
            return Ok(());
        }
        for _ in 0..self.network.below(4) {
            self.server_reads(at)?;
        }
        for _ in 0..self.network.below(4) {
            self.client_reads(at)?;
        }
        if self.clients[at].connection == id {
            self.note("cut", || format!("client {at} loses connection {id}"));
            self.server.service.disconnect(ConnectionId(id));
            self.oracle.disconnect(id);
            self.lose(at);
        }
        Ok(())
    }

    fn lose(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.connection = 0;
        client.to_server.clear();
        client.to_client.clear();
    }

    /// A frame of the server reaches the client.
    fn client_reads(&mut self, at: usize) -> Result<(), Violation> {
        let client = &mut self.clients[at];
        let Some(frame) = client.to_client.pop_front() else {
            // The server closed the connection behind its last frame.
            if client.connection != 0 && !self.oracle.connections.contains_key(&client.connection) {
                self.lose(at);
            }
            return Ok(());
        };
        if !client.welcomed {
            client.welcomed = true;
            let Ok(response) = ConnectResponse::decode(&frame[4..]) else {
                return violation("C10", "the answer to a handshake cannot be read");
            };
            let had = client.session;
            (client.session, client.password) = (response.session.0, response.password);
            if response.session == SessionId::NONE {
                // Told that it is over; what comes next is a new beginning.
                client.last_zxid = 0;
                self.lose(at);
            } else if had != 0 && had != response.session.0 {
                return violation("C10", format!("client {at} got another session without being told"));
            } else if had != 0 {
                let since = client.last_zxid as i64;
                let request = workload::watches(&mut self.work, since);
                self.send(at, request);
            }
            return Ok(());
        }
        let Ok(header) = ReplyHeader::decode(&mut Reader::new(&frame[4..])) else {
            return violation("C9", "a reply has no header");
        };
        match header.xid {
            XID_NOTIFICATION | XID_PING | XID_AUTH => {}
            xid => {
                let Some((expected, write)) = client.unanswered.pop_front() else {
                    return violation("C9", format!("client {at} asked nothing and got {}", show(&frame)));
                };
                if xid != expected {
                    return violation(
                        "C9",
                        format!("client {at} waits for {expected} and got {}", show(&frame)),
                    );
                }
                let zxid = header.zxid as u64;
                if zxid < client.last_zxid {
                    let last = client.last_zxid;
                    return violation("C8", format!("client {at} saw {last:#x} and now {}", show(&frame)));
                }
                client.last_zxid = zxid;
                if write {
                    // Acknowledged: it must be in every later history. See `restart`.
                    self.executed = self.executed.max(zxid);
                }
            }
        }
        Ok(())
    }

    // ---- the server's shell ----

    fn start(&mut self) -> Result<(), Violation> {
        let now = self.now();
        self.server.service.stand(Duty::Alone, now);
        self.pump(None)
    }

    /// A frame of a client reaches the server, if it reads.
    fn server_reads(&mut self, at: usize) -> Result<(), Violation> {
        let id = self.clients[at].connection;
        if id == 0 || !self.server.service.may_read(ConnectionId(id)) {
            return Ok(());
        }
        let Some(sent) = self.clients[at].to_server.pop_front() else { return Ok(()) };
        if !self.oracle.is_read(id) {
            return violation("C9", format!("connection {id} is read although it is over"));
        }
        let mut frame = Vec::new();
        let consequence = match sent {
            Sent::Hello { session, password, last_zxid } => {
                let timeout_ms = self.configuration.timeout_ms as u32 * 2;
                ConnectRequest {
                    protocol_version: 0,
                    last_zxid_seen: last_zxid as i64,
                    timeout_ms: timeout_ms as i32,
                    session: SessionId(session),
                    password: &password,
                    read_only: Some(false),
                }
                .write(&mut frame);
                let consequence = self.oracle.hello(id, session, &password, last_zxid, timeout_ms);
                if self.oracle.attached.get(&session) == Some(&id) {
                    self.hear(session, u64::from(timeout_ms));
                }
                consequence
            }
            Sent::Request { xid, request } => {
                request.write(xid, &mut frame);
                let digest = match &request {
                    Request::Auth { token, .. } => {
                        digest_id(DigestAlgorithm::Sha1, token.unwrap_or_default())
                    }
                    _ => String::new(),
                };
                let connection = &self.oracle.connections[&id];
                let (session, timeout_ms) = (connection.session, connection.timeout_ms);
                self.hear(session, u64::from(timeout_ms));
                self.oracle.frame(id, xid, &request, &digest)
            }
        };
        let now = self.now();
        self.server.service.frame(ConnectionId(id), &frame[4..], now);
        self.note("read", || format!("the server reads {} bytes on {id}", frame.len()));
        match consequence {
            Consequence::Proposal(asked) => self.pump(Some(asked)),
            Consequence::Nothing => self.pump(None),
        }
    }

    fn hear(&mut self, session: i64, timeout_ms: u64) {
        let served = self.server.served_ms;
        let latest = served + timeout_ms + self.configuration.tick_ms;
        if let Some(heard) = self.server.heard.get_mut(&session) {
            *heard = (served, heard.1.max(latest));
        }
    }

    /// Carries out what the service wishes and compares what it sends. `asked` must become exactly one command.
    fn pump(&mut self, mut asked: Option<Asked>) -> Result<(), Violation> {
        for proposal in self.server.service.take_proposals() {
            let zxid = self.history.len() as u64 + 1;
            let command = Command::decode(&proposal.bytes).expect("just encoded");
            let wanted = match &command.op {
                Op::Start { .. } => None,
                Op::Reap { path, .. } => {
                    self.check_reap(path, command.time_ms)?;
                    None
                }
                Op::CloseSession if asked.is_none() => {
                    self.check_expiry(command.session)?;
                    None
                }
                _ => match asked.take() {
                    Some(asked) if asked.request.is_none() || asked.session == command.session => Some(asked),
                    other => {
                        return violation("C2", format!("{command:?} was proposed, asked was {other:?}"));
                    }
                },
            };
            let bytes = proposal.bytes;
            self.history.push((bytes.clone(), wanted));
            self.server.in_flight.push_back(InFlight { zxid, serial: proposal.serial, bytes });
        }
        if let Some(asked) = asked {
            return violation("C9", format!("{asked:?} was not proposed"));
        }
        let mut noted = self.server.service.take_noted();
        noted.extend(self.oracle.expecting().into_iter().map(ConnectionId));
        let mut out = Vec::new();
        for ConnectionId(id) in noted {
            if !self.oracle.connections.contains_key(&id) {
                continue;
            }
            self.server.service.take_output(ConnectionId(id), &mut out);
            self.spoil(&mut out);
            let frames = self.oracle.check(id, &out)?;
            let closing = self.server.service.is_closing(ConnectionId(id));
            if closing != self.oracle.is_over(id) {
                return violation(
                    "C10",
                    format!("connection {id} is closed: {closing}, and should be the opposite"),
                );
            }
            if let Some(client) = self.clients.iter_mut().find(|client| client.connection == id) {
                client.to_client.extend(frames);
            }
            if closing {
                self.server.service.disconnect(ConnectionId(id));
                self.oracle.disconnect(id);
            }
        }
        Ok(())
    }

    /// Planted mistakes in what is sent.
    fn spoil(&mut self, out: &mut Vec<u8>) {
        let Some(planted @ (Planted::EventAfterReply | Planted::EventLost)) = self.planted else { return };
        let Some(length) = out.first_chunk::<4>() else { return };
        let size = 4 + u32::from_be_bytes(*length) as usize;
        if out.len() > 8 && out[4..8] == XID_NOTIFICATION.to_be_bytes() {
            match planted {
                Planted::EventLost => drop(out.drain(..size)),
                _ => out.rotate_left(size),
            }
        }
    }

    fn check_reap(&self, path: &str, time_ms: i64) -> Result<(), Violation> {
        let due = self.oracle.model.get(path).is_some_and(|node| {
            self.oracle.model.children(path).is_empty()
                && match node.owner {
                    Ownership::Container => node.children[0] > 0,
                    Ownership::Ttl { ms } => node.times[1] + ms < time_ms,
                    _ => false,
                }
        });
        if due { Ok(()) } else { violation("C12", format!("{path} is reaped too early")) }
    }

    fn check_expiry(&mut self, session: i64) -> Result<(), Violation> {
        let served = self.server.served_ms;
        let timeout = self.oracle.model.sessions.get(&session).copied().unwrap_or_default();
        let heard = self.server.heard.remove(&session).map(|(heard, _)| heard);
        self.oracle.expires(session);
        self.note("expire", || format!("session {session:#x}"));
        // A client that came back may have been granted less than at first, never more.
        match heard {
            Some(heard) if served >= heard + u64::from(timeout) => Ok(()),
            heard => violation(
                "C10",
                format!("session {session:#x} expires at {served}, was heard at {heard:?}, has {timeout} ms"),
            ),
        }
    }

    fn tick(&mut self) -> Result<(), Violation> {
        self.now_ms += self.schedule.below(self.configuration.tick_ms);
        let step = self.now_ms - self.server.last_tick_ms;
        self.server.last_tick_ms = self.now_ms;
        self.server.served_ms += step.min(1000);
        let mut now = self.now();
        if self.planted == Some(Planted::EarlyExpiry) {
            now.monotonic_us *= 2;
        }
        self.server.service.tick(now);
        self.note("tick", String::new);
        self.pump(None)?;
        let served = self.server.served_ms;
        let ending = &self.oracle.ending;
        let overdue =
            |(session, (_, latest)): &(&i64, &(u64, u64))| *latest < served && !ending.contains(session);
        match self.server.heard.iter().find(overdue) {
            Some((session, _)) => violation("C10", format!("session {session:#x} does not expire")),
            None => Ok(()),
        }
    }

    /// The log's thread takes some of what waits and makes it durable.
    fn flush(&mut self) -> Result<(), Violation> {
        let server = &mut self.server;
        if !server.waiting_for_space {
            let more = server.in_flight.len() - server.appended;
            let count = if more == 0 { 0 } else { 1 + self.schedule.below(more as u64) as usize };
            for next in server.in_flight.iter().skip(server.appended).take(count) {
                server.log.append(next.zxid, next.bytes.clone());
            }
            server.appended += count;
        }
        match server.log.flush() {
            Ok(Some(flushed)) => {
                server.durable = flushed.zxid;
                self.note("durable", || format!("{:#x}", flushed.zxid));
                self.set_full(false);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.is_full() => {
                self.note("no-space", || error.to_string());
                self.set_full(true);
                Ok(())
            }
            Err(error) => {
                self.note("log-failed", || error.to_string());
                self.restart(true)
            }
        }
    }

    fn set_full(&mut self, full: bool) {
        self.server.waiting_for_space = full;
        self.server.service.set_disk_full(full);
        self.oracle.disk_full = full;
    }

    /// Executes the next durable command.
    fn commit_one(&mut self) -> Result<bool, Violation> {
        let early = self.planted == Some(Planted::AckBeforeSync);
        let next = self.server.in_flight.front().filter(|next| early || next.zxid <= self.server.durable);
        let Some(InFlight { zxid, serial, bytes }) = next else { return Ok(false) };
        let (zxid, serial, bytes) = (*zxid, *serial, bytes.clone());
        if self.server.appended == 0 {
            // Only with a planted mistake: the log gets it, and nobody waits for the disk.
            self.server.log.append(zxid, bytes.clone());
            self.server.appended += 1;
        }
        self.server.appended -= 1;
        self.server.in_flight.pop_front();
        let command = Command::decode(&bytes).expect("it was decoded before");
        let asked = self.history[zxid as usize - 1].1.clone();
        self.oracle.committed(zxid, &command, asked.as_ref());
        let now = self.now();
        if let Err(error) = self.server.service.committed(Zxid(zxid), Some(serial), &bytes, now) {
            return violation("C7", format!("{zxid:#x} cannot be executed: {error}"));
        }
        self.server.commands_since_snapshot += 1;
        match command.op {
            Op::CreateSession { timeout_ms } => {
                let timeout = u64::from(timeout_ms);
                let latest = self.server.served_ms + timeout + self.configuration.tick_ms;
                self.server.heard.insert(command.session, (self.server.served_ms, latest));
            }
            Op::CloseSession => drop(self.server.heard.remove(&command.session)),
            _ => {}
        }
        self.digests.insert(zxid, self.server.service.tree().digest());
        // What was executed was shown to somebody, or could have been.
        self.executed = self.executed.max(zxid);
        self.note("commit", || format!("{zxid:#x} {command:?}"));
        self.pump(None)?;
        Ok(true)
    }

    /// Begins a snapshot, or takes it one step further.
    fn snapshot(&mut self) -> Result<(), Violation> {
        match self.try_snapshot() {
            Ok(()) => Ok(()),
            Err(error) if error.is_full() => {
                self.note("no-space", || error.to_string());
                self.server.snapshot = None;
                self.server.service.tree_mut().abandon_snapshot();
                Ok(())
            }
            Err(error) => {
                self.note("snapshot-failed", || error.to_string());
                self.restart(true)
            }
        }
    }

    fn try_snapshot(&mut self) -> Result<(), StoreError> {
        let server = &mut self.server;
        let Some(writer) = &mut server.snapshot else {
            if server.commands_since_snapshot >= self.configuration.snapshot_every {
                let zxid = server.service.tree().zxid().0;
                server.snapshot = Some(SnapshotWriter::create(self.disk.as_disk(), zxid, &[])?);
                server.snapshot_zxid = zxid;
                server.commands_since_snapshot = 0;
                server.log.roll();
                server.service.tree_mut().begin_snapshot();
                self.note("snapshot", || format!("at {zxid:#x}"));
            }
            return Ok(());
        };
        let tree = server.service.tree_mut();
        tree.advance_snapshot(1 + self.schedule.below(8) as u32);
        while let Some(chunk) = tree.next_snapshot_chunk() {
            writer.chunk(&chunk)?;
        }
        if !tree.snapshot_in_progress()
            && let Some(writer) = server.snapshot.take()
        {
            writer.finish(&[])?;
            server.retention.purge(server.snapshot_zxid)?;
            self.note("snapshot-end", String::new);
        }
        Ok(())
    }

    /// The machine or the process stops, and starts again from the disk.
    fn restart(&mut self, power: bool) -> Result<(), Violation> {
        for at in 0..self.clients.len() {
            for _ in 0..self.network.below(6) {
                self.client_reads(at)?;
            }
            self.lose(at);
        }
        let mut power = power;
        let mut attempts = 0;
        self.server = loop {
            let seed = self.faults.next_u64();
            self.disk = if power { self.disk.after_power_cut(seed) } else { self.disk.after_kill() };
            self.disk.set_capacity(None);
            self.note("restart", || format!("power cut: {power}"));
            // A start may be interrupted too.
            attempts += 1;
            if attempts < 3 && self.faults.below(4) == 0 {
                self.disk.stop_at(self.faults.below(6));
            }
            match Self::boot(&self.disk, &self.configuration, self.seed, self.planted, self.now_ms) {
                Ok(Ok(server)) => break server,
                Ok(Err(violation)) => return Err(violation),
                Err(_) if self.disk.is_stopped() => power = true,
                Err(error) => return Err(io("the server does not start", &error)),
            }
        };
        self.check_recovered()?;
        self.start()
    }

    /// What was recovered must be a beginning of the history, and no shorter than what anybody was shown.
    fn check_recovered(&mut self) -> Result<(), Violation> {
        let tree = self.server.service.tree();
        let last = tree.zxid().0;
        if last < self.executed || last > self.history.len() as u64 {
            let (executed, proposed) = (self.executed, self.history.len());
            return violation(
                "C13",
                format!("recovered up to {last:#x} of {executed:#x} shown, {proposed:#x} proposed"),
            );
        }
        self.history.truncate(last as usize);
        if let Some(digest) = self.digests.get(&last)
            && *digest != tree.digest()
        {
            return violation("C6", format!("the digest at {last:#x} was another before the restart"));
        }
        let model = std::mem::take(&mut self.oracle.model);
        let passwords = std::mem::take(&mut self.oracle.passwords);
        self.oracle = Oracle { model, passwords, ..Oracle::default() };
        for zxid in self.oracle.model.zxid + 1..=last {
            let (bytes, asked) = self.history[zxid as usize - 1].clone();
            let command = Command::decode(&bytes).expect("it was decoded before");
            self.oracle.execute(zxid, &command, asked.as_ref());
        }
        self.executed = last;
        self.note("recovered", || format!("{last:#x}"));
        match self.oracle.model.difference(self.server.service.tree()) {
            None => Ok(()),
            Some(difference) => violation("C13", difference),
        }
    }
}
