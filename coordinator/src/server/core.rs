//! What the tasks of the core thread share, and how the log and snapshot threads reach it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use client::wire::zk::{Identity, Zxid};
use hashbrown::HashMap;
use tokio::sync::Notify;

use super::auditing;
use crate::audit::Audit;
use crate::limits;
use crate::logging::{Complaints, Stages, slow_operation};
use crate::net::tls::TlsGate;
use crate::request::{Now, Service};
use crate::store::{LogEvent, LogHandle, SnapshotEvent, SnapshotHandle};
use crate::tree::watches::ConnectionId;

/// Percentiles cover between one and two of these.
const METRICS_WINDOW: Duration = Duration::from_secs(60);

/// What the log and snapshot threads report, on its way to the core thread.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) log: Mutex<Vec<LogEvent>>,
    pub(super) snapshots: Mutex<Vec<SnapshotEvent>>,
    pub(super) log_wake: Notify,
    pub(super) snapshot_wake: Notify,
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

/// A command on its way through the log.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) zxid: Zxid,
    pub(super) serial: u64,
    pub(super) bytes: Bytes,
    /// When it was proposed, by [`Now::monotonic_us`].
    pub(super) since_us: u64,
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
    pub(super) service: Service,
    pub(super) log: Option<LogHandle>,
    pub(super) snapshots: SnapshotHandle,
    /// Proposed and not yet durable, in order.
    pub(super) in_flight: VecDeque<InFlight>,
    /// How many of them, from the front, the log has taken.
    pub(super) handed_over: usize,
    pub(super) last_proposed: Zxid,
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
        let proposals = self.service.take_proposals();
        let since_us = if proposals.is_empty() { 0 } else { self.now().monotonic_us };
        for proposal in proposals {
            self.last_proposed = self.last_proposed.next();
            let zxid = self.last_proposed;
            self.in_flight.push_back(InFlight {
                zxid,
                serial: proposal.serial,
                bytes: proposal.bytes,
                since_us,
            });
        }
        self.hand_over();
        self.report_slow();
        for id in self.service.take_noted() {
            if let Some(wake) = self.wakes.get(&id) {
                wake.notify_one();
            }
        }
    }

    /// Lets percentiles speak of the recent past.
    pub(super) fn rotate_metrics(&mut self) {
        if self.rotated.elapsed() >= METRICS_WINDOW {
            self.rotated = Instant::now();
            self.service.metrics_mut().rotate();
        }
    }

    /// Says which operations took too long, and where the time went.
    pub(super) fn report_slow(&mut self) {
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
    pub(super) fn hand_over(&mut self) {
        let Some(log) = &self.log else { return };
        let before = self.handed_over;
        while let Some(next) = self.in_flight.get(self.handed_over) {
            if log.append(next.zxid.0, next.bytes.clone()).is_err() {
                break;
            }
            self.handed_over += 1;
        }
        let metrics = self.service.metrics_mut();
        if self.handed_over > before {
            metrics.sync_processor_request_queued += (self.handed_over - before) as u64;
            metrics.sync_processor_queue_size.record_count(self.handed_over as u64);
        }
    }

    pub(super) fn handle_log_events(&mut self) {
        for event in Mailbox::take(&self.mailbox.log) {
            match event {
                LogEvent::Durable(flushed) => {
                    self.schedule.bytes_since += flushed.bytes;
                    let metrics = self.service.metrics_mut();
                    metrics.fsynctime.record(flushed.sync_time);
                    metrics.sync_process_time.record(flushed.sync_time);
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
                // A server that is alone asks for none of these.
                LogEvent::EpochsSaved(_) | LogEvent::Truncated { .. } | LogEvent::Replaced { .. } => {}
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
    pub(super) fn commit_until(&mut self, durable: Zxid) {
        let now = self.now();
        while self.in_flight.front().is_some_and(|next| next.zxid <= durable) {
            let Some(InFlight { zxid, serial, bytes, since_us }) = self.in_flight.pop_front() else { break };
            self.handed_over -= 1;
            self.schedule.commands_since += 1;
            if let Err(error) = self.service.committed(zxid, Some(serial), &bytes, now) {
                self.fail(anyhow::Error::new(error).context(format!("cannot execute the command at {zxid}")));
                return;
            }
            if let Some(path) = self.service.tree_mut().take_over_quota()
                && let Some(withheld) = self.complaints.admit(Instant::now())
            {
                tracing::warn!(%path, withheld, "the soft quota of this path is exceeded");
            }
            let waited = Duration::from_micros(now.monotonic_us.saturating_sub(since_us));
            let metrics = self.service.metrics_mut();
            metrics.propagation_latency.record(waited);
            metrics.sync_processor_queue_and_flush_time_ms.record(waited);
        }
    }

    pub(super) fn fail(&mut self, error: anyhow::Error) {
        self.fatal.get_or_insert(error);
        self.stop.notify_one();
    }

    pub(super) fn snapshot_if_due(&mut self) {
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
    pub(super) fn advance_snapshot(&mut self, kept: &mut Option<Vec<u8>>) -> WalkNext {
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

    pub(super) fn handle_snapshot_events(&mut self) {
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
