//! Wiring: one thread owns the tree and the sockets, the log and snapshots have theirs.
//!
//! [`Core`] is what that one thread shares among its tasks. Everything that happens calls into the pure
//! [`Service`], then [`Core::pump`] carries out what it wishes: proposals go to the log, connections that have something
//! to send are woken.

mod auditing;
mod queries;
mod streams;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::Bytes;
use client::wire::zk::{Identity, Zxid};
use hashbrown::HashMap;
use tokio::sync::Notify;

use crate::audit::{self, Audit, Operation, Record};
use crate::config::Config;
use crate::limits;
use crate::logging::{Complaints, Stages, slow_operation};
use crate::net::admin;
use crate::net::listener::{self, Doorkeeper, Kind};
use crate::net::tls::TlsGate;
use crate::request::{Now, Service, Settings};
use crate::store::{
    Disk, LogEvent, LogHandle, LogOptions, RealDisk, Recovery, Retention, SnapshotEvent, SnapshotHandle,
};
use crate::tree::Tree;
use crate::tree::snapshot::Loader;
use crate::tree::watches::ConnectionId;
use crate::view::{Ask, Query};

/// How often sessions, containers and nodes with a time to live are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Between two steps of a snapshot's walk, clients come first.
const WALK_PAUSE: Duration = Duration::from_millis(1);

/// A planned stop waits this long for what is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What the log and snapshot threads report, on its way to the core thread.
#[derive(Debug, Default)]
struct Mailbox {
    log: Mutex<Vec<LogEvent>>,
    snapshots: Mutex<Vec<SnapshotEvent>>,
    log_wake: Notify,
    snapshot_wake: Notify,
}

impl Mailbox {
    fn take<T>(queue: &Mutex<Vec<T>>) -> Vec<T> {
        std::mem::take(&mut queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put<T>(queue: &Mutex<Vec<T>>, wake: &Notify, event: T) {
        queue.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        wake.notify_one();
    }
}

/// A command on its way through the log.
#[derive(Debug)]
struct InFlight {
    zxid: Zxid,
    serial: u64,
    bytes: Bytes,
}

/// When the next snapshot is due.
#[derive(Debug)]
struct SnapshotSchedule {
    commands: u64,
    bytes: u64,
    commands_since: u64,
    bytes_since: u64,
    failed_at: Option<Instant>,
}

/// What the tasks of the core thread share.
#[derive(Debug)]
pub struct Core {
    service: Service,
    log: Option<LogHandle>,
    snapshots: SnapshotHandle,
    /// Proposed and not yet durable, in order.
    in_flight: VecDeque<InFlight>,
    /// How many of them, from the front, the log has taken.
    handed_over: usize,
    last_proposed: Zxid,
    wakes: HashMap<ConnectionId, Rc<Notify>, foldhash::fast::FixedState>,
    next_connection: u64,
    started: Instant,
    schedule: SnapshotSchedule,
    snapshot_wake: Rc<Notify>,
    mailbox: Arc<Mailbox>,
    memory_bytes_max: u64,
    sync_warning: Duration,
    last_snapshot: Option<(Zxid, i64)>,
    snapshot_began: Option<Instant>,
    complaints: Complaints,
    slow_operation: Option<Duration>,
    /// The walk in progress feeds a stream, not the snapshot thread.
    streaming: bool,
    audit: Option<Audit>,
    fatal: Option<anyhow::Error>,
    stop: Rc<Notify>,
}

impl Core {
    pub fn service(&self) -> &Service {
        &self.service
    }

    pub fn service_mut(&mut self) -> &mut Service {
        &mut self.service
    }

    /// The clocks, read once for everything a wake-up does.
    pub fn now(&self) -> Now {
        now(self.started)
    }

    /// Lets a client in.
    pub fn connect(
        &mut self,
        peer: SocketAddr,
        secure: bool,
        identities: Vec<Identity<'static>>,
    ) -> (ConnectionId, Rc<Notify>) {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let now = self.now();
        self.service.connect(id, (peer.ip(), peer.port()), secure, identities, now);
        let wake = Rc::new(Notify::new());
        self.wakes.insert(id, Rc::clone(&wake));
        (id, wake)
    }

    pub fn disconnect(&mut self, id: ConnectionId) {
        self.service.disconnect(id);
        self.wakes.remove(&id);
    }

    /// A connection was turned away.
    pub fn count_rejected(&mut self) {
        self.service.metrics_mut().connection_rejected += 1;
    }

    /// Carries out what the service wishes.
    pub fn pump(&mut self) {
        for proposal in self.service.take_proposals() {
            self.last_proposed = self.last_proposed.next();
            let zxid = self.last_proposed;
            self.in_flight.push_back(InFlight { zxid, serial: proposal.serial, bytes: proposal.bytes });
        }
        self.hand_over();
        self.report_slow();
        for id in self.service.take_noted() {
            if let Some(wake) = self.wakes.get(&id) {
                wake.notify_one();
            }
        }
    }

    /// Says which operations took too long, and where the time went.
    fn report_slow(&mut self) {
        for slow in self.service.take_slow() {
            let at = |us: u64| self.started + Duration::from_micros(us);
            let stages = Stages {
                received: at(slow.received_us),
                proposed: slow.durable_us.map(|_| at(slow.received_us)),
                durable: slow.durable_us.map(at),
                executed: slow.durable_us.map(at),
                answered: Instant::now(),
            };
            let threshold = self.slow_operation;
            slow_operation(threshold, &mut self.complaints, &stages, slow.session.0, slow.op, &slow.path);
        }
    }

    /// Gives the log what it has room for; the rest when it has made some of it durable.
    fn hand_over(&mut self) {
        let Some(log) = &self.log else { return };
        while let Some(next) = self.in_flight.get(self.handed_over) {
            if log.append(next.zxid.0, next.bytes.clone()).is_err() {
                break;
            }
            self.handed_over += 1;
        }
    }

    fn handle_log_events(&mut self) {
        for event in Mailbox::take(&self.mailbox.log) {
            match event {
                LogEvent::Durable(flushed) => {
                    self.schedule.bytes_since += flushed.bytes;
                    let metrics = self.service.metrics_mut();
                    metrics.fsynctime.record(flushed.sync_time);
                    metrics.sync_processor_batch_size.record_count(flushed.records as u64);
                    if flushed.sync_time >= self.sync_warning {
                        metrics.fsync_threshold_exceed_count += 1;
                        tracing::warn!(
                            milliseconds = flushed.sync_time.as_millis() as u64,
                            "the log's disk was slow: writes of all clients waited for it"
                        );
                    }
                    self.commit_until(Zxid(flushed.zxid));
                }
                LogEvent::Full(_) => self.service.set_disk_full(true),
                LogEvent::Recovered => self.service.set_disk_full(false),
                LogEvent::Failed(error) => {
                    self.fail(anyhow::Error::new(error).context("the log failed"));
                }
            }
        }
        self.pump();
        if let Some(audit) = &self.audit {
            for audited in self.service.take_audited() {
                auditing::record(audit, &audited);
            }
        }
        self.snapshot_if_due();
    }

    /// Executes everything that is durable, in order.
    fn commit_until(&mut self, durable: Zxid) {
        let now = self.now();
        while self.in_flight.front().is_some_and(|next| next.zxid <= durable) {
            let Some(InFlight { zxid, serial, bytes }) = self.in_flight.pop_front() else { break };
            self.handed_over -= 1;
            self.schedule.commands_since += 1;
            if let Err(error) = self.service.committed(zxid, Some(serial), &bytes, now) {
                self.fail(anyhow::Error::new(error).context(format!("cannot execute the command at {zxid}")));
                return;
            }
        }
    }

    fn fail(&mut self, error: anyhow::Error) {
        self.fatal.get_or_insert(error);
        self.stop.notify_one();
    }

    fn snapshot_if_due(&mut self) {
        let schedule = &mut self.schedule;
        let due = schedule.commands_since >= schedule.commands || schedule.bytes_since >= schedule.bytes;
        // After a failure (a full disk, most likely) it takes a while before the next attempt makes sense.
        let patient = schedule.failed_at.is_none_or(|at| at.elapsed() > Duration::from_secs(30));
        if due && patient && !self.service.tree().snapshot_in_progress() {
            self.begin_snapshot();
        }
    }

    /// Begins a snapshot of the tree as it is now. False if one is being written.
    pub fn begin_snapshot(&mut self) -> bool {
        let zxid = self.service.tree().zxid();
        if self.service.tree().snapshot_in_progress() || !self.snapshots.begin(zxid.0, Vec::new()) {
            return false;
        }
        if let Some(log) = &self.log {
            log.roll();
        }
        self.schedule.commands_since = 0;
        self.schedule.bytes_since = 0;
        self.service.tree_mut().begin_snapshot();
        self.snapshot_began = Some(Instant::now());
        self.snapshot_wake.notify_one();
        true
    }

    /// Takes the walk one step further; says how to go on.
    fn advance_snapshot(&mut self, kept: &mut Option<Vec<u8>>) -> WalkNext {
        let tree = self.service.tree_mut();
        if self.streaming || (kept.is_none() && !tree.snapshot_in_progress()) {
            return WalkNext::Idle;
        }
        if kept.is_none() && tree.snapshot_backlog() == 0 {
            tree.advance_snapshot(limits::SNAPSHOT_SLICE_NODES as u32);
        }
        loop {
            let Some(chunk) = kept.take().or_else(|| tree.next_snapshot_chunk()) else {
                return WalkNext::Pause;
            };
            match self.snapshots.chunk(chunk) {
                Ok(()) if !tree.snapshot_in_progress() => {
                    self.snapshots.finish(Vec::new());
                    return WalkNext::Idle;
                }
                Ok(()) => {}
                Err(chunk) => {
                    *kept = Some(chunk);
                    return WalkNext::Full;
                }
            }
        }
    }

    fn handle_snapshot_events(&mut self) {
        for event in Mailbox::take(&self.mailbox.snapshots) {
            match event {
                SnapshotEvent::Room => self.snapshot_wake.notify_one(),
                SnapshotEvent::Done { summary, removed } => {
                    self.schedule.failed_at = None;
                    self.last_snapshot = Some((Zxid(summary.zxid), self.now().wall_ms / 1000));
                    if let Some(began) = self.snapshot_began.take() {
                        self.service.metrics_mut().snapshottime.record(began.elapsed());
                    }
                    tracing::info!(zxid = %Zxid(summary.zxid), removed = removed.len(), "snapshot written");
                }
                SnapshotEvent::Failed { .. } => {
                    self.schedule.failed_at = Some(Instant::now());
                    self.service.metrics_mut().snapshot_error_count += 1;
                    self.service.tree_mut().abandon_snapshot();
                }
            }
        }
    }
}

/// What the walk of a snapshot does next.
#[derive(Debug, PartialEq, Eq)]
enum WalkNext {
    /// Go on after clients had their turn.
    Pause,
    /// Wait until the snapshot thread has room.
    Full,
    /// There is nothing to walk.
    Idle,
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic_us: started.elapsed().as_micros() as u64, wall_ms: wall.as_millis() as i64 }
}

/// Runs the server until it is asked to stop, or cannot go on.
pub fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(serve(config)))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let started = Instant::now();
    // Ports first: a second server on this machine should say so before it looks at any data.
    let plain = if config.listen.unified { Kind::Either } else { Kind::Plain };
    let ports = [(config.listen.client, plain), (config.listen.secure, Kind::Tls)];
    let mut listeners = Vec::new();
    for (address, kind) in ports.into_iter().filter_map(|(address, kind)| Some((address?, kind))) {
        let listener = listener::bind(address, config.listen.backlog)
            .with_context(|| format!("cannot listen on {address} for clients"))?;
        listeners.push((listener, kind));
    }
    let (established, mut handshakes) = tokio::sync::mpsc::channel(limits::HANDSHAKE_QUEUE_MAX);
    let gate = match &config.tls {
        // As many wait here at most as are let in at the door.
        Some(tls) => Some(TlsGate::spawn(tls.clone(), move |done| drop(established.try_send(done)))?),
        None => None,
    };
    let stop = Rc::new(Notify::new());
    let core = open(&config, started, Rc::clone(&stop))?;
    let mailbox = Arc::clone(&core.borrow().mailbox);
    let audit = Audit::open(config.audit.as_ref()).context("cannot open the audit log")?;
    let user = std::env::var("USER").unwrap_or_default();
    audit.record(&Record::server(&user, Operation::ServerStart, audit::Outcome::Success));
    if audit.enabled() {
        let mut core = core.borrow_mut();
        core.service.keep_audit();
        core.audit = Some(audit);
    }
    let (asks, questions) = tokio::sync::mpsc::channel(limits::QUERY_QUEUE_MAX);
    let operations = admin::spawn(Arc::clone(&config), asks)?;
    tokio::task::spawn_local(answer_questions(Rc::clone(&core), questions));

    let tasks = [
        tokio::task::spawn_local(log_events(Rc::clone(&core), Arc::clone(&mailbox))),
        tokio::task::spawn_local(snapshot_events(Rc::clone(&core), mailbox)),
        tokio::task::spawn_local(walk_snapshots(Rc::clone(&core))),
        tokio::task::spawn_local(ticks(Rc::clone(&core))),
    ];
    {
        let mut core = core.borrow_mut();
        let now = core.now();
        core.service.start(now);
        core.pump();
    }
    while !core.borrow().service.is_serving() {
        tokio::task::yield_now().await;
        if core.borrow().fatal.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    let doorkeeper = Doorkeeper::new(Rc::clone(&core), Arc::clone(&config), gate);
    {
        let doorkeeper = doorkeeper.clone();
        tokio::task::spawn_local(async move {
            while let Some(done) = handshakes.recv().await {
                doorkeeper.established(done);
            }
        });
    }
    for (listener, kind) in listeners {
        let doorkeeper = doorkeeper.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = doorkeeper.accept(listener, kind).await {
                tracing::error!(%error, "cannot accept connections any more");
            }
        });
    }
    announce(&config, operations);

    asked_to_stop(&stop).await?;
    let failure = core.borrow_mut().fatal.take();
    if failure.is_none() {
        finish(&core).await?;
    }
    if let Some(audit) = core.borrow_mut().audit.take() {
        audit.record(&Record::server(&user, Operation::ServerStop, audit::Outcome::Success));
        audit.close();
    }
    for task in tasks {
        task.abort();
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Opens the data directory and rebuilds the tree.
fn open(config: &Config, started: Instant, stop: Rc<Notify>) -> anyhow::Result<Rc<RefCell<Core>>> {
    let storage = &config.storage;
    let data_disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&storage.data_dir)?);
    let log_disk: Arc<dyn Disk> = match storage.log_dir == storage.data_dir {
        true => Arc::clone(&data_disk),
        false => Arc::new(RealDisk::open(&storage.log_dir)?),
    };
    let options = LogOptions {
        segment_bytes_max: storage.segment_bytes_max.unwrap_or(LogOptions::default().segment_bytes_max),
        growth_bytes_max: storage.preallocate_bytes,
        sync: storage.force_sync,
        ..LogOptions::default()
    };
    let seed = random_seed()?;
    let hash_seed = u64::from_le_bytes(*seed.first_chunk().expect("a seed has 32 bytes"));
    let mut recovery = Recovery::open(Arc::clone(&log_disk), Arc::clone(&data_disk), options)?;
    let tree = rebuild(&mut recovery, hash_seed)?;
    let (log, report) = recovery.finish()?;
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(bytes) = report.torn_bytes {
        tracing::warn!(
            bytes,
            "a crash left an unfinished batch at the end of the log; nobody was told it was done"
        );
    }
    tracing::info!(
        zxid = %tree.zxid(),
        znodes = tree.node_count(),
        sessions = tree.sessions().count(),
        snapshot = report.snapshot_zxid.map(|zxid| Zxid(zxid).to_string()),
        records = report.records,
        milliseconds = started.elapsed().as_millis() as u64,
        "data read"
    );

    let mailbox = Arc::new(Mailbox::default());
    let to_core = Arc::clone(&mailbox);
    let log = LogHandle::spawn(log, move |event| Mailbox::put(&to_core.log, &to_core.log_wake, event))?;
    let to_core = Arc::clone(&mailbox);
    let retention = storage
        .retain_snapshots
        .map(|count| Retention::new(log_disk, Arc::clone(&data_disk), count as usize));
    let snapshots = SnapshotHandle::spawn(data_disk, retention, move |event| {
        Mailbox::put(&to_core.snapshots, &to_core.snapshot_wake, event);
    })?;

    let settings = Settings {
        server_id: config.server_id,
        session: config.session.clone(),
        limits: config.limits.clone(),
        tree: config.tree.clone(),
        auth: config.auth.clone(),
        reconfig_enabled: config.reconfig_enabled,
    };
    let last_proposed = tree.zxid();
    Ok(Rc::new(RefCell::new(Core {
        service: Service::new(settings, tree, seed, now(started)),
        log: Some(log),
        snapshots,
        in_flight: VecDeque::new(),
        handed_over: 0,
        last_proposed,
        wakes: HashMap::default(),
        next_connection: 1,
        started,
        schedule: SnapshotSchedule {
            commands: storage.snap_count,
            bytes: storage.snap_size_limit_bytes.unwrap_or(u64::MAX),
            commands_since: report.records,
            bytes_since: 0,
            failed_at: None,
        },
        snapshot_wake: Rc::new(Notify::new()),
        mailbox,
        memory_bytes_max: config.limits.memory_bytes_max,
        sync_warning: storage.sync_warning,
        last_snapshot: None,
        snapshot_began: None,
        complaints: Complaints::new(limits::COMPLAINTS_PER_SECOND_MAX),
        slow_operation: config.limits.slow_operation,
        streaming: false,
        audit: None,
        fatal: None,
        stop,
    })))
}

/// The newest snapshot, and every command after it executed again.
fn rebuild(recovery: &mut Recovery, hash_seed: u64) -> anyhow::Result<Tree> {
    let mut tree = match recovery.snapshot() {
        None => Tree::new(hash_seed),
        Some(snapshot) => {
            let zxid = Zxid(snapshot.zxid());
            let mut loader = Loader::new(hash_seed);
            while let Some(chunk) = snapshot.next_chunk()? {
                loader.chunk(&chunk).with_context(|| format!("the snapshot at {zxid} cannot be used"))?;
            }
            let tree = loader.finish().with_context(|| format!("the snapshot at {zxid} cannot be used"))?;
            if tree.zxid() != zxid {
                bail!("the snapshot at {zxid} holds the state at {}", tree.zxid());
            }
            tree
        }
    };
    let mut changes = Vec::new();
    while let Some((zxid, bytes)) = recovery.next_record()? {
        tree.execute(Zxid(zxid), &bytes, &mut changes)
            .with_context(|| format!("cannot execute the command at {}", Zxid(zxid)))?;
        changes.clear();
    }
    Ok(tree)
}

fn random_seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut seed))
        .context("cannot read random bytes from /dev/urandom")?;
    Ok(seed)
}

async fn log_events(core: Rc<RefCell<Core>>, mailbox: Arc<Mailbox>) {
    loop {
        mailbox.log_wake.notified().await;
        core.borrow_mut().handle_log_events();
    }
}

async fn snapshot_events(core: Rc<RefCell<Core>>, mailbox: Arc<Mailbox>) {
    loop {
        mailbox.snapshot_wake.notified().await;
        core.borrow_mut().handle_snapshot_events();
    }
}

async fn walk_snapshots(core: Rc<RefCell<Core>>) {
    let wake = Rc::clone(&core.borrow().snapshot_wake);
    let mut kept = None;
    loop {
        let next = core.borrow_mut().advance_snapshot(&mut kept);
        match next {
            WalkNext::Pause => tokio::time::sleep(WALK_PAUSE).await,
            WalkNext::Full | WalkNext::Idle => wake.notified().await,
        }
    }
}

async fn ticks(core: Rc<RefCell<Core>>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // What clients sent while we were busy is read first: nobody expires because we were.
        tokio::task::yield_now().await;
        let mut core = core.borrow_mut();
        let now = core.now();
        core.service.tick(now);
        core.pump();
    }
}

/// Says what listens, where the data is, and what to do next.
fn announce(config: &Config, operations: admin::Listening) {
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    tracing::info!(
        clients = text(config.listen.client),
        tls_clients = text(config.listen.secure),
        operations = text(operations.admin),
        metrics = text(operations.metrics),
        data = %config.storage.data_dir.display(),
        "serving"
    );
    if let Some(client) = config.listen.client
        && std::io::IsTerminal::is_terminal(&std::io::stdout())
    {
        println!("try: coordinator healthcheck --server {client}    or any ZooKeeper client at {client}");
    }
}

/// Answers the operations port.
async fn answer_questions(core: Rc<RefCell<Core>>, mut questions: tokio::sync::mpsc::Receiver<Ask>) {
    while let Some(Ask { query, answer }) = questions.recv().await {
        match query {
            Query::Snapshot(caller) => drop(answer.send(streams::snapshot(&core, &caller))),
            Query::Restore(caller, stream) => {
                let core = Rc::clone(&core);
                tokio::task::spawn_local(async move {
                    drop(answer.send(streams::restore(&core, &caller, stream).await));
                });
            }
            query => drop(answer.send(core.borrow_mut().answer(query))),
        }
    }
}

async fn asked_to_stop(stop: &Notify) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = stop.notified() => {}
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    Ok(())
}

/// A planned stop: what is under way is finished and answered, then the log is closed.
async fn finish(core: &Rc<RefCell<Core>>) -> anyhow::Result<()> {
    core.borrow_mut().service.stop();
    let deadline = Instant::now() + STOP_PATIENCE;
    while !core.borrow().in_flight.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // One more turn for the connections to send their replies.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let log = core.borrow_mut().log.take();
    if let Some(log) = log {
        log.shutdown().context("the log was not closed cleanly")?;
    }
    tracing::info!("stopped");
    Ok(())
}
