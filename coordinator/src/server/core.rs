//! What the tasks of the core thread share, and how the log and snapshot threads reach it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::wire::zk::{Identity, Zxid};
use hashbrown::HashMap;
use tokio::sync::Notify;

use super::disk_work::DiskWork;
use super::members_file::MembersFile;
use crate::audit::Audit;
use crate::config::Membership;
use crate::limits;
use crate::logging::{Complaints, Stages, slow_operation};
use crate::member::Member;
use crate::net::peers::Peers;
use crate::net::tls::TlsGate;
use crate::request::{Now, Service};
use crate::store::{CourierEvent, LogEvent, SnapshotEvent, SnapshotHandle};
use crate::tree::watches::ConnectionId;
use crate::zab::{Effect, Input, Standing};

/// Percentiles cover between one and two of these.
const METRICS_WINDOW: Duration = Duration::from_secs(60);

/// What the log and snapshot threads report, on its way to the core thread.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) log: Mutex<Vec<LogEvent>>,
    pub(super) snapshots: Mutex<Vec<SnapshotEvent>>,
    pub(super) couriers: Mutex<Vec<CourierEvent>>,
    pub(super) log_wake: Notify,
    pub(super) snapshot_wake: Notify,
    pub(super) courier_wake: Notify,
}

impl Mailbox {
    pub(super) fn take<T>(queue: &Mutex<Vec<T>>) -> Vec<T> {
        std::mem::take(&mut queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put<T>(queue: &Mutex<Vec<T>>, wake: &Notify, event: T) {
        queue.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        wake.notify_one();
    }
}

/// When the next snapshot is due.
#[derive(Debug)]
pub(super) struct SnapshotSchedule {
    pub(super) commands: u64,
    pub(super) bytes: u64,
    pub(super) commands_since: u64,
    pub(super) bytes_since: u64,
    pub(super) failed_at: Option<Instant>,
}

/// What the tasks of the core thread share.
#[derive(Debug)]
pub struct Core {
    pub(super) member: Member,
    /// This member's place among the others, as the log has it.
    pub(super) told: Standing,
    /// Since when it has had the leader that it has, or none.
    pub(super) standing_since: Instant,
    /// Kept between turns, to spare the allocation.
    pub(super) effects: Vec<Effect>,
    pub(super) disk: DiskWork,
    pub(super) snapshots: SnapshotHandle,
    pub(super) peers: Option<Peers>,
    /// Where changes of the members are written down.
    pub(super) members_file: Option<MembersFile>,
    /// What happened in the middle of carrying something out.
    pub(super) late: Vec<Input>,
    /// From where on this member's state is not that of the others.
    pub(super) diverged: Option<Zxid>,
    pub(super) hash_seed: u64,
    pub(super) pump_due: bool,
    pub(super) pump_wake: Rc<Notify>,
    pub(super) wakes: HashMap<ConnectionId, Rc<Notify>, foldhash::fast::FixedState>,
    pub(super) next_connection: u64,
    pub(super) started: Instant,
    pub(super) schedule: SnapshotSchedule,
    pub(super) snapshot_wake: Rc<Notify>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) memory_bytes_max: u64,
    pub(super) sync_warning: Duration,
    pub(super) last_snapshot: Option<(Zxid, i64)>,
    pub(super) snapshot_began: Option<Instant>,
    pub(super) complaints: Complaints,
    pub(super) slow_operation: Option<Duration>,
    /// The walk in progress feeds a stream, not the snapshot thread.
    pub(super) streaming: bool,
    pub(super) gate: Option<TlsGate>,
    pub(super) rotated: Instant,
    pub(super) audit: Option<Audit>,
    pub(super) fatal: Option<anyhow::Error>,
    pub(super) stop: Rc<Notify>,
}

impl Core {
    pub fn service(&self) -> &Service {
        &self.member.service
    }

    pub fn service_mut(&mut self) -> &mut Service {
        &mut self.member.service
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
        self.member.service.connect(id, (peer.ip(), peer.port()), secure, identities, now);
        let wake = Rc::new(Notify::new());
        self.wakes.insert(id, Rc::clone(&wake));
        (id, wake)
    }

    pub fn disconnect(&mut self, id: ConnectionId) {
        self.member.service.disconnect(id);
        self.wakes.remove(&id);
    }

    /// A connection was turned away.
    pub fn count_rejected(&mut self) {
        self.member.service.metrics_mut().connection_rejected += 1;
    }

    /// Ends this turn soon: when everything that is ready now was handled. What many connections want is then carried out
    /// together.
    pub fn pump_soon(&mut self) {
        if !std::mem::replace(&mut self.pump_due, true) {
            self.pump_wake.notify_one();
        }
    }

    /// Ends a turn: what clients, members and the disk led to is carried out.
    pub fn pump(&mut self) {
        self.pump_due = false;
        if !self.late.is_empty() {
            self.handle_late();
        }
        let now = self.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.member.pump(now, &mut effects);
        self.carry_out(&mut effects);
        self.effects = effects;
        self.note_delivered();
        self.tell_standing();
        self.report_slow();
        for id in self.member.service.take_noted() {
            if let Some(wake) = self.wakes.get(&id) {
                wake.notify_one();
            }
        }
    }

    /// Tells the member what happened; what follows from it is carried out at once, the rest when the turn ends.
    pub(super) fn input(&mut self, input: Input) {
        let now = self.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.member.input(now, input, &mut effects);
        self.carry_out(&mut effects);
        self.effects = effects;
        self.pump_soon();
    }

    /// Clients have changed who the members are.
    fn connect_members(&mut self, text: &str) {
        match Membership::parse(text) {
            Ok(membership) => {
                if let Some(file) = &self.members_file {
                    file.keep(membership.version, text);
                }
                tracing::info!(members = text.replace('\n', " "), "the members have changed");
                let own = self.member.replica().id();
                // One that was removed keeps its links, and looks for those who came: it has to hand over, if it leads, and
                // may be added again by a change that only part of them know yet.
                match &self.peers {
                    Some(peers) if membership.member(own.0).is_some() => {
                        peers.set_members(&membership.members)
                    }
                    Some(peers) => peers.add_members(&membership.members),
                    None => {}
                }
            }
            Err(error) => tracing::warn!(%error, "the config node cannot be read"),
        }
    }

    /// Says who leads whom when that has changed. One alone leads nobody.
    fn tell_standing(&mut self) {
        let standing = self.member.replica().standing();
        let before = std::mem::replace(&mut self.told, standing);
        if self.member.is_alone() || standing == before {
            return;
        }
        let own = self.member.replica().id();
        let (leader_before, leader) = (before.leader(own), standing.leader(own));
        // An epoch that ends in line is no election.
        if leader != leader_before {
            let lasted = std::mem::replace(&mut self.standing_since, Instant::now()).elapsed();
            let metrics = self.member.service.metrics_mut();
            match (leader_before, leader) {
                (_, None) => metrics.looking_count += 1,
                (None, Some(_)) => metrics.election_time.record(lasted),
                (Some(_), Some(_)) => {}
            }
        }
        match standing {
            Standing::Looking => tracing::info!("this member looks for a leader"),
            Standing::Following { leader, epoch } => {
                tracing::info!(%leader, epoch, "this member follows the leader");
            }
            Standing::Observing { leader, epoch } => {
                tracing::info!(%leader, epoch, "this member observes the leader");
            }
            Standing::Leading { epoch } => tracing::info!(epoch, "this member leads"),
        }
    }

    fn note_delivered(&mut self) {
        let delivered = self.member.take_delivered();
        if delivered > 0 {
            self.schedule.commands_since += delivered;
            if let Some(path) = self.member.service.tree_mut().take_over_quota()
                && let Some(withheld) = self.complaints.admit(Instant::now())
            {
                tracing::warn!(%path, withheld, "the soft quota of this path is exceeded");
            }
        }
        if let Some(text) = self.member.take_members() {
            self.connect_members(&text);
        }
        if let Some((zxid, error)) = self.member.take_failure() {
            self.fail(anyhow::Error::new(error).context(format!("cannot execute the command at {zxid}")));
        }
    }

    /// Lets percentiles speak of the recent past.
    pub(super) fn rotate_metrics(&mut self) {
        if self.rotated.elapsed() >= METRICS_WINDOW {
            self.rotated = Instant::now();
            self.member.service.metrics_mut().rotate();
        }
    }

    /// Says which operations took too long, and where the time went.
    pub(super) fn report_slow(&mut self) {
        for slow in self.member.service.take_slow() {
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

    pub(super) fn fail(&mut self, error: anyhow::Error) {
        self.fatal.get_or_insert(error);
        self.stop.notify_one();
    }

    pub(super) fn snapshot_if_due(&mut self) {
        let schedule = &mut self.schedule;
        if !self.member.service.is_serving() {
            // What is in the tree may have to be taken back.
            return;
        }
        let due = schedule.commands_since >= schedule.commands || schedule.bytes_since >= schedule.bytes;
        // After a failure (a full disk, most likely) it takes a while before the next attempt makes sense.
        let patient = schedule.failed_at.is_none_or(|at| at.elapsed() > Duration::from_secs(30));
        if due && patient && !self.member.service.tree().snapshot_in_progress() {
            self.begin_snapshot();
        }
    }

    /// Begins a snapshot of the tree as it is now. False if one is being written.
    pub fn begin_snapshot(&mut self) -> bool {
        let zxid = self.member.service.tree().zxid();
        if self.member.service.tree().snapshot_in_progress() || !self.snapshots.begin(zxid.0, Vec::new()) {
            return false;
        }
        self.disk.roll();
        self.schedule.commands_since = 0;
        self.schedule.bytes_since = 0;
        self.member.service.tree_mut().begin_snapshot();
        self.snapshot_began = Some(Instant::now());
        self.snapshot_wake.notify_one();
        true
    }

    /// Takes the walk one step further; says how to go on.
    pub(super) fn advance_snapshot(&mut self, kept: &mut Option<Vec<u8>>) -> WalkNext {
        let tree = self.member.service.tree_mut();
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

    pub(super) fn handle_snapshot_events(&mut self) {
        for event in Mailbox::take(&self.mailbox.snapshots) {
            match event {
                SnapshotEvent::Room => self.snapshot_wake.notify_one(),
                SnapshotEvent::Done { summary, removed } => {
                    self.schedule.failed_at = None;
                    self.last_snapshot = Some((Zxid(summary.zxid), self.now().wall_ms / 1000));
                    self.offer_again();
                    if let Some(began) = self.snapshot_began.take() {
                        self.member.service.metrics_mut().snapshottime.record(began.elapsed());
                    }
                    tracing::info!(zxid = %Zxid(summary.zxid), removed = removed.len(), "snapshot written");
                }
                SnapshotEvent::Failed { .. } => {
                    self.schedule.failed_at = Some(Instant::now());
                    self.member.service.metrics_mut().snapshot_error_count += 1;
                    self.member.service.tree_mut().abandon_snapshot();
                    self.give_up_offers();
                }
            }
        }
    }
}

/// What the walk of a snapshot does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WalkNext {
    /// Go on after clients had their turn.
    Pause,
    /// Wait until the snapshot thread has room.
    Full,
    /// There is nothing to walk.
    Idle,
}

pub(super) fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic_us: started.elapsed().as_micros() as u64, wall_ms: wall.as_millis() as i64 }
}
