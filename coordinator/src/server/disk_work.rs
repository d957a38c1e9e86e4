//! What a member wants done at its disk and at its links, and how it hears that it is done.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use client::wire::zk::Zxid;

use super::auditing;
use super::core::{Core, Mailbox};
use super::opening::rebuild;
use crate::config;
use crate::member::membership;
use crate::net::peers::PeerEvent;
use crate::store::{CourierEvent, CourierHandle, Disk, Epochs, LogEvent, LogHandle, SnapshotId, reread};
use crate::tree::command::{Command, Op};
use crate::zab::{self, Effect, Entry, Input, MemberId, Message, SnapshotRef};

/// Something for the log thread, in order.
#[derive(Debug)]
enum Job {
    Append(Entry),
    SaveEpochs(zab::Epochs),
    Truncate(Zxid),
    Replace(Zxid),
}

/// The log thread and the courier thread, and what waits for them.
#[derive(Debug)]
pub(super) struct DiskWork {
    log: Option<LogHandle>,
    courier: CourierHandle,
    log_disk: Arc<dyn Disk>,
    snapshot_disk: Arc<dyn Disk>,
    /// What the log has no room for yet.
    jobs: VecDeque<Job>,
    /// Handed to the log and not reported durable: the zxid and when.
    under_way: VecDeque<(Zxid, u64)>,
    /// Learners for which a snapshot is being looked for or made.
    openings: BTreeMap<MemberId, Opening>,
    /// For which attempt of a learner something is read.
    attempts: BTreeMap<MemberId, u64>,
    /// How much of the log, in thousandths of a snapshot, is worth reading for a learner; nothing if none is.
    log_permille: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Opening {
    attempt: u64,
    at_least: Zxid,
    /// A snapshot is being made for it.
    making: bool,
}

impl DiskWork {
    pub(super) fn new(
        log: LogHandle,
        courier: CourierHandle,
        log_disk: Arc<dyn Disk>,
        snapshot_disk: Arc<dyn Disk>,
        log_permille: Option<u64>,
    ) -> DiskWork {
        DiskWork {
            log: Some(log),
            courier,
            log_disk,
            snapshot_disk,
            jobs: VecDeque::new(),
            under_way: VecDeque::new(),
            openings: BTreeMap::new(),
            attempts: BTreeMap::new(),
            log_permille,
        }
    }

    pub(super) fn roll(&self) {
        if let Some(log) = &self.log {
            log.roll();
        }
    }

    /// Whether everything that was wanted of the log is done.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.under_way.is_empty()
    }

    /// The log goes on after a snapshot that was written beside it.
    pub(super) fn restart_after(&self, zxid: Zxid) {
        if let Some(log) = &self.log {
            log.restart_after(zxid.0);
        }
    }

    /// For whom the courier reads; `None` if that one wants nothing more.
    fn read_for(&self, number: u64) -> Option<(MemberId, u64)> {
        let learner = MemberId((number & 0xff) as u8);
        let attempt = self.attempts.get(&learner).copied()?;
        (reader(learner, attempt) == number).then_some((learner, attempt))
    }

    pub(super) fn take_log(&mut self) -> Option<LogHandle> {
        self.log.take()
    }

    /// Gives the log what it has room for; the rest when it has made some of it durable.
    fn hand_over(&mut self, now_us: u64) -> u64 {
        let Some(log) = &self.log else { return 0 };
        let mut count = 0;
        while let Some(job) = self.jobs.pop_front() {
            match job {
                Job::Append(entry) => {
                    if log.append(entry.zxid.0, entry.bytes.clone()).is_err() {
                        self.jobs.push_front(Job::Append(entry));
                        break;
                    }
                    self.under_way.push_back((entry.zxid, now_us));
                    count += 1;
                }
                Job::SaveEpochs(zab::Epochs { accepted, current, complete }) => {
                    log.save_epochs(Epochs { accepted, current, complete });
                }
                Job::Truncate(zxid) => log.truncate_after(zxid.0),
                Job::Replace(zxid) => log.replace_with_snapshot(zxid.0),
            }
        }
        count
    }
}

/// The courier's number for a learner's attempt: what belongs to an earlier one is told from what belongs to this one.
fn reader(learner: MemberId, attempt: u64) -> u64 {
    attempt << 8 | u64::from(learner.0)
}

fn snapshot_ref(id: SnapshotId) -> SnapshotRef {
    SnapshotRef { zxid: id.zxid, file_bytes: id.file_bytes, crc: id.crc }
}

fn snapshot_id(snapshot: SnapshotRef) -> SnapshotId {
    SnapshotId { zxid: snapshot.zxid, file_bytes: snapshot.file_bytes, crc: snapshot.crc }
}

/// An entry that comes from the log. `members`: who they are from there on, if it changes that.
pub(super) fn logged(zxid: u64, bytes: Bytes, members: Option<&str>) -> Entry {
    let members = members.and_then(|text| config::Membership::parse(text).ok());
    let members = members.map(|members| Arc::new(membership(&members)));
    Entry { zxid: Zxid(zxid), origin: MemberId(0), serial: 0, bytes, members }
}

/// The same for one that is not executed now, so that it has to say itself what it does about members.
fn logged_unread((zxid, bytes): (u64, Bytes)) -> Entry {
    // What the text is borrowed from goes into the entry.
    let read = bytes.clone();
    let members = match Command::decode(&read) {
        Ok(Command { op: Op::Members { text, dynamic: true }, .. }) => Some(text),
        _ => None,
    };
    logged(zxid, bytes, members)
}

impl Core {
    /// Does what the member wants done.
    pub(super) fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        let mut wants_log = false;
        for effect in effects.drain(..) {
            let disk = &mut self.disk;
            match effect {
                Effect::Send(to, message) => {
                    if let Some(peers) = &self.peers {
                        peers.send(to, message.encode().into());
                    }
                }
                Effect::Append(entry) => {
                    disk.jobs.push_back(Job::Append(entry));
                    wants_log = true;
                }
                Effect::SaveEpochs(epochs) => {
                    disk.jobs.push_back(Job::SaveEpochs(epochs));
                    wants_log = true;
                }
                Effect::Truncate(zxid) => {
                    disk.jobs.push_back(Job::Truncate(zxid));
                    wants_log = true;
                    self.abandon_snapshot();
                }
                Effect::Replace(zxid) => {
                    disk.jobs.push_back(Job::Replace(zxid));
                    wants_log = true;
                    self.abandon_snapshot();
                }
                Effect::OpenSnapshot { learner, attempt, at_least } => {
                    disk.openings.insert(learner, Opening { attempt, at_least, making: false });
                    disk.attempts.insert(learner, attempt);
                    self.offer(learner);
                }
                Effect::ReadPiece { learner, attempt, index } => {
                    if disk.courier.piece(reader(learner, attempt), index).is_err() {
                        self.late.push(Input::PieceRead { learner, attempt, index, bytes: None });
                    }
                }
                Effect::OpenLog { learner, attempt, after } => {
                    disk.attempts.insert(learner, attempt);
                    let up_to = self.member.replica().durable();
                    let asked = disk.log_permille.is_some_and(|permille| {
                        disk.courier.open_log(reader(learner, attempt), after.0, up_to.0, permille).is_ok()
                    });
                    if !asked {
                        self.late.push(Input::LogOpened { learner, attempt, after: None });
                    }
                }
                Effect::ReadLog { learner, attempt, up_to } => {
                    if disk.courier.records(reader(learner, attempt), up_to.0).is_err() {
                        self.late.push(Input::LogRead { learner, attempt, entries: None });
                    }
                }
                Effect::CloseSource { learner } => {
                    disk.openings.remove(&learner);
                    if let Some(attempt) = disk.attempts.remove(&learner) {
                        disk.courier.close(reader(learner, attempt));
                    }
                }
                Effect::Receive(snapshot) => {
                    if disk.courier.receive(snapshot_id(snapshot)).is_err() {
                        self.late.push(Input::Received { snapshot, done: false });
                    }
                }
                Effect::WritePiece { snapshot, index, bytes } => {
                    if disk.courier.take(snapshot_id(snapshot), index, bytes).is_err() {
                        self.late.push(Input::Received { snapshot, done: false });
                    }
                }
                Effect::ResetLink(peer) => {
                    if let Some(peers) = &self.peers {
                        peers.reset(peer);
                    }
                }
                Effect::Diverged { zxid } => {
                    tracing::error!(
                        %zxid,
                        "this member's state differs from what the others agreed on; it serves no more. Keep its files \
                         for inspection, then empty its data directory and start it again: it gets everything anew"
                    );
                    self.diverged = Some(zxid);
                }
                Effect::Deliver(_) | Effect::Stand(_) | Effect::Letter { .. } | Effect::Confirmed { .. } => {
                    unreachable!("the member sees to these itself")
                }
            }
        }
        if wants_log {
            self.hand_over();
        }
        if !self.late.is_empty() {
            self.pump_soon();
        }
    }

    pub(super) fn hand_over(&mut self) {
        let now_us = self.now().monotonic_us;
        let handed_over = self.disk.hand_over(now_us);
        if handed_over > 0 {
            let waiting = self.disk.under_way.len() as u64;
            let metrics = self.member.service.metrics_mut();
            metrics.sync_processor_request_queued += handed_over;
            metrics.sync_processor_queue_size.record_count(waiting);
        }
    }

    pub(super) fn handle_log_events(&mut self) {
        for event in Mailbox::take(&self.mailbox.log) {
            match event {
                LogEvent::Durable(flushed) => {
                    self.schedule.bytes_since += flushed.bytes;
                    let now_us = self.now().monotonic_us;
                    let metrics = self.member.service.metrics_mut();
                    metrics.fsynctime.record(flushed.sync_time);
                    metrics.sync_process_time.record(flushed.sync_time);
                    metrics.sync_processor_batch_size.record_count(flushed.records as u64);
                    let durable = Zxid(flushed.zxid);
                    while let Some((_, since_us)) =
                        self.disk.under_way.pop_front_if(|(zxid, _)| *zxid <= durable)
                    {
                        let waited = Duration::from_micros(now_us.saturating_sub(since_us));
                        metrics.propagation_latency.record(waited);
                        metrics.sync_processor_queue_and_flush_time_ms.record(waited);
                    }
                    if flushed.sync_time >= self.sync_warning {
                        metrics.fsync_threshold_exceed_count += 1;
                        tracing::warn!(
                            milliseconds = flushed.sync_time.as_millis() as u64,
                            "the log's disk was slow: writes of all clients waited for it"
                        );
                    }
                    self.hand_over();
                    self.input(Input::Durable(durable));
                }
                LogEvent::EpochsSaved(Epochs { accepted, current, complete }) => {
                    self.input(Input::EpochsSaved(zab::Epochs { accepted, current, complete }));
                }
                LogEvent::Truncated { zxid, done } => {
                    self.disk.under_way.clear();
                    if done {
                        self.take_back_to(Zxid(zxid));
                    }
                    self.input(Input::Truncated { zxid: Zxid(zxid), done });
                }
                LogEvent::Replaced { zxid } => {
                    self.disk.under_way.clear();
                    self.reload(Zxid(zxid));
                    self.input(Input::Replaced { zxid: Zxid(zxid) });
                }
                LogEvent::Full(_) => self.member.service.set_disk_full(true),
                LogEvent::Recovered => self.member.service.set_disk_full(false),
                LogEvent::Failed(error) => {
                    self.fail(anyhow::Error::new(error).context("the log failed"));
                }
            }
        }
        self.pump();
        if let Some(audit) = &self.audit {
            for audited in self.member.service.take_audited() {
                auditing::record(audit, &audited);
            }
        }
        self.snapshot_if_due();
    }

    /// The log was cut. If something behind the cut was executed when the log was read, the tree is built anew.
    fn take_back_to(&mut self, zxid: Zxid) {
        if self.member.service.tree().zxid() > zxid {
            self.reload(zxid);
        }
    }

    /// Builds the tree anew from the files. Its clients have to connect again: they may have watched what was there.
    fn reload(&mut self, zxid: Zxid) {
        let hash_seed = self.hash_seed;
        let tree = reread(&self.disk.log_disk, &self.disk.snapshot_disk, zxid.0)
            .map_err(anyhow::Error::new)
            .and_then(|(snapshot, records)| rebuild(snapshot, records, hash_seed))
            .and_then(|tree| {
                anyhow::ensure!(tree.zxid() == zxid, "the files lead to {} instead", tree.zxid());
                Ok(tree)
            });
        match tree {
            Ok(tree) => {
                let now = self.now();
                tracing::info!(%zxid, znodes = tree.node_count(), "the tree was built anew to match the leader's");
                self.member.service.replace_tree(tree, now);
                let mut effects = Vec::new();
                self.member.tree_replaced(now, zxid, &mut effects);
                self.carry_out(&mut effects);
            }
            Err(error) => self.fail(error.context(format!("cannot rebuild the state at {zxid}"))),
        }
    }

    /// A snapshot of a state that is about to be replaced is of no use.
    fn abandon_snapshot(&mut self) {
        if self.member.service.tree().snapshot_in_progress() {
            self.member.service.tree_mut().abandon_snapshot();
            self.snapshots.abort();
        }
        self.give_up_offers();
    }

    // ---- Snapshots for learners ----

    fn offer(&mut self, learner: MemberId) {
        let Some(opening) = self.disk.openings.get(&learner) else { return };
        let (attempt, at_least) = (opening.attempt, opening.at_least);
        if self.disk.courier.offer(reader(learner, attempt), at_least.0).is_err() {
            self.disk.openings.remove(&learner);
            self.late.push(Input::SnapshotOpened { learner, attempt, snapshot: None });
        }
    }

    /// A snapshot was written; perhaps somebody waited for it.
    pub(super) fn offer_again(&mut self) {
        let making = self.disk.openings.iter_mut().filter(|(_, opening)| opening.making);
        let learners: Vec<MemberId> = making
            .map(|(id, opening)| {
                opening.making = false;
                *id
            })
            .collect();
        learners.into_iter().for_each(|learner| self.offer(learner));
    }

    /// No snapshot will be written.
    pub(super) fn give_up_offers(&mut self) {
        let making: Vec<(MemberId, u64)> = self
            .disk
            .openings
            .iter()
            .filter(|(_, opening)| opening.making)
            .map(|(id, opening)| (*id, opening.attempt))
            .collect();
        for (learner, attempt) in making {
            self.disk.openings.remove(&learner);
            self.late.push(Input::SnapshotOpened { learner, attempt, snapshot: None });
            self.pump_soon();
        }
    }

    pub(super) fn handle_courier_events(&mut self) {
        for event in Mailbox::take(&self.mailbox.couriers) {
            match event {
                CourierEvent::Offered { reader, snapshot } => {
                    if let Some((learner, _)) = self.disk.read_for(reader) {
                        self.offered(learner, snapshot);
                    }
                }
                CourierEvent::Piece { reader, index, bytes, .. } => {
                    if let Some((learner, attempt)) = self.disk.read_for(reader) {
                        self.input(Input::PieceRead { learner, attempt, index, bytes: Some(bytes) });
                    }
                }
                CourierEvent::ReadFailed { reader, error } => {
                    if let Some((learner, attempt)) = self.disk.read_for(reader) {
                        tracing::warn!(member = %learner, %error, "cannot read what another member lacks");
                        // It was one of these; the others mean nothing to who did not ask.
                        self.input(Input::PieceRead { learner, attempt, index: 0, bytes: None });
                        self.input(Input::LogOpened { learner, attempt, after: None });
                        self.input(Input::LogRead { learner, attempt, entries: None });
                    }
                }
                CourierEvent::Receiving { snapshot, next } => {
                    self.input(Input::Receiving { snapshot: snapshot_ref(snapshot), next });
                }
                CourierEvent::Received { snapshot } => {
                    self.input(Input::Received { snapshot: snapshot_ref(snapshot), done: true });
                }
                CourierEvent::ReceiveFailed { snapshot, error } => {
                    tracing::warn!(%error, "cannot receive the leader's snapshot");
                    self.input(Input::Received { snapshot: snapshot_ref(snapshot), done: false });
                }
                CourierEvent::Opened { reader, after } => {
                    if let Some((learner, attempt)) = self.disk.read_for(reader) {
                        if after.is_some() {
                            tracing::info!(member = %learner, "what a member lacks is read from the log");
                        }
                        self.input(Input::LogOpened { learner, attempt, after: after.map(Zxid) });
                    }
                }
                CourierEvent::Records { reader, records } => {
                    if let Some((learner, attempt)) = self.disk.read_for(reader) {
                        let entries = Some(records.into_iter().map(logged_unread).collect());
                        self.input(Input::LogRead { learner, attempt, entries });
                    }
                }
            }
        }
    }

    fn offered(&mut self, learner: MemberId, snapshot: Option<SnapshotId>) {
        let Some(opening) = self.disk.openings.get_mut(&learner) else { return };
        let attempt = opening.attempt;
        if snapshot.is_none() && self.member.service.is_serving() {
            // None is recent enough, so one is made; all who wait can have it.
            opening.making = true;
            if self.member.service.tree().snapshot_in_progress() || self.begin_snapshot() {
                return;
            }
        }
        self.disk.openings.remove(&learner);
        if let Some(snapshot) = snapshot {
            tracing::info!(member = %learner, bytes = snapshot.file_bytes, "a member is sent a snapshot");
        }
        self.input(Input::SnapshotOpened { learner, attempt, snapshot: snapshot.map(snapshot_ref) });
    }

    /// What was put aside because it happened in the middle of something else.
    pub(super) fn handle_late(&mut self) {
        for input in std::mem::take(&mut self.late) {
            self.input(input);
        }
    }

    pub(super) fn handle_peer_event(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Up(peer) => self.input(Input::LinkUp(peer)),
            PeerEvent::Down(peer) => self.input(Input::LinkDown(peer)),
            PeerEvent::Frame(from, frame) => self.heard(from, &frame),
        }
    }

    /// A message from another member has come.
    fn heard(&mut self, from: MemberId, frame: &[u8]) {
        match Message::decode(frame) {
            Ok(message) => self.input(Input::Heard(from, message)),
            Err(error) => {
                if let Some(withheld) = self.complaints.admit(std::time::Instant::now()) {
                    tracing::warn!(member = %from, %error, withheld, "a message from another member cannot be read");
                }
            }
        }
    }
}

pub(super) async fn courier_events(core: Rc<RefCell<Core>>, mailbox: Arc<Mailbox>) {
    loop {
        mailbox.courier_wake.notified().await;
        core.borrow_mut().handle_courier_events();
    }
}

/// Closes the log after everything that was wanted of it is done.
pub(super) fn close(log: LogHandle) -> anyhow::Result<()> {
    log.shutdown().context("the log was not closed cleanly")
}
