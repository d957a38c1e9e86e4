//! A new leader: agreeing on an epoch, then bringing everybody to one history.
//!
//! Discovery: a quorum says how far it is and which epochs it has promised; the leader picks a later one, keeps it, and
//! has it promised. Whoever promises says again how far it is, and if that is further than the leader, the leader was the
//! wrong choice. Synchronisation: each learner gets what it lacks, and loses what the leader does not have; when a quorum
//! has all of the leader's history on disk, that history is committed.

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::broadcast::{Leading, Stage, Turning};
use super::common::Common;
use super::history::Place;
use super::message::{Blob, Carried, Message, Plan, SnapshotRef, Stance};
use super::planted::{self, Mistake};
use super::replica::{EPOCH_MAX, Next};
use super::{Effect, Entry, MemberId, epoch_of};

/// What a leader knows of one that joined.
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) attempt: u64,
    pub(super) accepted: u32,
    pub(super) last: Zxid,
    pub(super) complete: bool,
    pub(super) empty: bool,
    pub(super) need_snapshot: bool,
    pub(super) level: u16,
    /// Whether it has promised the epoch, and whether that promise counts.
    pub(super) promise: Option<bool>,
    pub(super) sync: Sync,
    /// The last entry sent.
    pub(super) sent: Zxid,
    /// Sent and not yet on its disk: the last zxid and the bytes of each message.
    pub(super) flight: std::collections::VecDeque<(Zxid, usize)>,
    pub(super) flight_bytes: usize,
    /// The commit it was last told.
    pub(super) told: Zxid,
    pub(super) durable: Zxid,
    /// The epoch it was told to make its own.
    pub(super) ordered: Option<u32>,
    /// The epoch it has on disk, with the history that belongs to it.
    pub(super) in_step: Option<u32>,
    pub(super) serving: bool,
    pub(super) heard_us: u64,
    pub(super) round: u64,
    /// What it says it executed.
    pub(super) claim: Option<(Zxid, u64)>,
    /// Whether that was what the leader executed, when it could last be told.
    pub(super) agrees: Option<(Zxid, bool)>,
}

/// How a learner gets the leader's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// It has no plan yet.
    None,
    Truncating,
    /// The log is asked whether it leads from where the learner is to what memory has. `planned`: the learner waits for
    /// entries already.
    OpeningLog {
        planned: bool,
    },
    /// It gets entries out of the log on disk; `reading` while some are being read.
    Log {
        reading: bool,
    },
    /// A snapshot is being opened for it.
    Opening,
    Snapshot(SnapshotRef),
    /// It gets entries out of memory.
    Streaming,
}

impl Sync {
    /// Whether the shell has something open for it.
    fn has_source(self) -> bool {
        match self {
            Sync::None | Sync::Truncating | Sync::Streaming => false,
            Sync::OpeningLog { .. } | Sync::Log { .. } | Sync::Opening | Sync::Snapshot(_) => true,
        }
    }
}

impl Learner {
    /// The message with the entries that follow what it was sent; the place that is behind them is sent from now on.
    pub(super) fn append(
        &mut self,
        to: MemberId,
        entries: Vec<Carried>,
        bytes: usize,
        commit: Zxid,
    ) -> Option<Effect> {
        let last = entries.last().map(Carried::zxid)?;
        let (attempt, prev) = (self.attempt, self.sent.0);
        self.sent = last;
        self.told = commit;
        self.flight.push_back((last, bytes));
        self.flight_bytes += bytes;
        Some(Effect::Send(to, Message::Append { attempt, prev, entries, commit: commit.0 }))
    }
}

impl Leading {
    pub(super) fn on_join(
        &mut self,
        common: &mut Common,
        from: MemberId,
        learner: Learner,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        if learner.accepted >= EPOCH_MAX {
            return Next::Stay;
        }
        match self.learners.get(&from) {
            Some(known) if known.attempt == learner.attempt => {
                // It was not answered yet, or the answer is on its way.
                let known = self.learners.get_mut(&from).expect("just found");
                known.heard_us = learner.heard_us;
                return Next::Stay;
            }
            Some(_) => drop(self.remove_learner(common, from, out)),
            None => {}
        }
        let accepted = learner.accepted;
        self.learners.insert(from, learner);
        match self.stage {
            Stage::Discovering => self.choose_epoch(common, out),
            Stage::Choosing => {}
            Stage::Accepting | Stage::Syncing if accepted > self.epoch && common.is_voter_id(from) => {
                // It promised a later epoch to somebody who did not make it.
                self.discover_again(common, from, out);
            }
            Stage::Established if accepted > self.epoch && self.turning.is_none() => {
                self.turn_epoch(common, accepted + 1, now, out);
                self.send_lead(from, out);
            }
            _ => self.send_lead(from, out),
        }
        Next::Stay
    }

    fn send_lead(&self, to: MemberId, out: &mut Vec<Effect>) {
        // While the epoch turns, whoever joins helps: to commit what is left of the old one, or to make the new one.
        let epoch = match self.turning {
            Some(Turning { epoch, ordered: true, .. }) => epoch,
            _ => self.epoch,
        };
        let saved = self.turning.is_none_or(|turning| !turning.ordered || self.own_in_step == Some(epoch));
        if let Some(learner) = self.learners.get(&to).filter(|_| saved) {
            out.push(Effect::Send(to, Message::Lead { attempt: learner.attempt, epoch }));
        }
    }

    pub(super) fn send_lead_to_all(&self, out: &mut Vec<Effect>) {
        for id in self.learners.keys().filter(|id| self.learners[id].promise.is_none()) {
            self.send_lead(*id, out);
        }
    }

    /// Looks for a later epoch. Everybody but `fresh`, which has just joined, joins again: a promise that is on its way is for
    /// the epoch that is given up.
    fn discover_again(&mut self, common: &mut Common, fresh: MemberId, out: &mut Vec<Effect>) {
        self.stage = Stage::Discovering;
        let others: Vec<MemberId> = self.learners.keys().copied().filter(|id| *id != fresh).collect();
        for id in others {
            self.dismiss(common, id, out);
        }
        self.choose_epoch(common, out);
    }

    /// As long as no quorum has joined, a candidate makes way for a better one that asks for votes. Or two could take turns for
    /// ever, each with the vote of a third that can follow neither alone, as it has a change of the members that they have not.
    pub(super) fn hear_notice(&self, common: &Common, from: MemberId, notice: &Message) -> Next {
        match notice {
            Message::Notice { vote: Some(vote), stance: Stance::Looking, .. }
                if self.stage == Stage::Discovering
                    && vote.leader == from
                    && common.may_lead(from)
                    && common.own_vote() < Some(*vote) =>
            {
                Next::Look(Some(*vote))
            }
            _ => Next::Stay,
        }
    }

    /// Picks the epoch when enough have joined.
    pub(super) fn choose_epoch(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let voice = |id: MemberId| {
            if id == common.id {
                return Some(common.voice());
            }
            self.learners.get(&id).map(|learner| (learner.complete, learner.empty))
        };
        if !common.is_enough(self.candidacy_complete, u64::MAX, voice) {
            return;
        }
        let voters = self.learners.iter().filter(|(id, _)| common.is_voter_id(**id));
        let promised = voters.map(|(_, learner)| learner.accepted).max().unwrap_or(0);
        let promised = promised.max(common.intended().accepted).max(epoch_of(common.history.last()));
        self.epoch = promised + 1;
        self.stage = Stage::Choosing;
        common.save_epochs(self.epoch, None, out);
    }

    pub(super) fn on_accept(
        &mut self,
        common: &mut Common,
        from: MemberId,
        (current, last, counts): (u32, Zxid, bool),
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        let Some(learner) = self.learners.get_mut(&from) else { return Next::Stay };
        if learner.promise.is_some() {
            return Next::Stay;
        }
        learner.promise = Some(counts);
        learner.last = last;
        match self.stage {
            Stage::Discovering | Stage::Choosing => Next::Stay,
            Stage::Accepting => {
                let own = (common.epochs.current, common.history.last());
                if counts && learner.complete && common.may_lead(from) && (current, last) > own {
                    // Not without it: a quorum that knows no more than the leader is enough to say that the rest of what
                    // this one has was never committed.
                    learner.promise = Some(false);
                    self.outrun_us.get_or_insert(now);
                }
                let next = self.begin_sync_if_enough(common, out);
                if !counts && self.stage == Stage::Accepting && common.is_voter_id(from) {
                    // It accepted this epoch before it can remember, perhaps from somebody else; the next one is nobody's.
                    self.dismiss(common, from, out);
                    self.discover_again(common, from, out);
                }
                next
            }
            Stage::Syncing | Stage::Established => {
                self.begin_sync(common, from, out);
                Next::Stay
            }
        }
    }

    /// Goes on to synchronisation when enough have promised.
    pub(super) fn begin_sync_if_enough(&mut self, common: &mut Common, out: &mut Vec<Effect>) -> Next {
        let voice = |id: MemberId| {
            if id == common.id {
                return Some(common.voice());
            }
            let learner = self.learners.get(&id).filter(|learner| learner.promise == Some(true));
            learner.map(|learner| (learner.complete, learner.empty))
        };
        if !common.is_enough(self.candidacy_complete, u64::MAX, voice) {
            return Next::Stay;
        }
        self.stage = Stage::Syncing;
        self.base = common.history.last();
        self.own_ordered = false;
        let learners: Vec<MemberId> = self.learners.keys().copied().collect();
        for id in learners {
            if self.learners[&id].promise.is_some() {
                self.begin_sync(common, id, out);
            }
        }
        self.keep_own_epoch(common, out);
        self.establish_if_enough(common, out);
        Next::Stay
    }

    /// The leader's own part: its history is durable, then its epoch is.
    pub(super) fn keep_own_epoch(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let ready = matches!(self.stage, Stage::Syncing) && common.history.durable() >= self.base;
        if ready && !self.own_ordered {
            self.own_ordered = true;
            common.save_epochs(self.epoch, Some(self.epoch), out);
        }
    }

    /// Finds out what a learner lacks, and sends it or asks for it.
    pub(super) fn begin_sync(&mut self, common: &mut Common, to: MemberId, out: &mut Vec<Effect>) {
        let voter = common.is_voter_id(to);
        if !voter && self.stage != Stage::Established {
            // Observers get what is committed, and nothing is yet.
            return;
        }
        let Some(learner) = self.learners.get_mut(&to) else { return };
        let attempt = learner.attempt;
        let plan = if learner.need_snapshot { Place::Beyond } else { common.history.place(learner.last) };
        match plan {
            Place::Here => {
                learner.sync = Sync::Streaming;
                learner.sent = learner.last;
                out.push(Effect::Send(to, Message::Sync { attempt, plan: Plan::Diff }));
            }
            Place::Fork(floor) => {
                learner.sync = Sync::Truncating;
                out.push(Effect::Send(to, Message::Sync { attempt, plan: Plan::Truncate { to: floor.0 } }));
            }
            Place::Beyond if learner.need_snapshot || self.log_unreadable.contains(&to) => {
                self.begin_snapshot(common, to, out);
            }
            Place::Beyond => self.open_log(common, to, false, out),
        }
    }

    fn begin_snapshot(&mut self, common: &mut Common, to: MemberId, out: &mut Vec<Effect>) {
        let Some(learner) = self.learners.get_mut(&to) else { return };
        learner.sync = Sync::Opening;
        let (attempt, at_least) = (learner.attempt, common.history.before());
        out.push(Effect::OpenSnapshot { learner: to, attempt, at_least });
        self.pin(common);
    }

    /// What memory does not have any more may still be in the log.
    fn open_log(&mut self, common: &mut Common, to: MemberId, planned: bool, out: &mut Vec<Effect>) {
        let Some(learner) = self.learners.get_mut(&to) else { return };
        learner.sync = Sync::OpeningLog { planned };
        out.push(Effect::OpenLog { learner: to, attempt: learner.attempt, after: learner.last });
        self.pin(common);
    }

    pub(super) fn log_opened(
        &mut self,
        common: &mut Common,
        to: MemberId,
        attempt: u64,
        after: Option<Zxid>,
        out: &mut Vec<Effect>,
    ) {
        let learner = self.learners.get_mut(&to).filter(|learner| learner.attempt == attempt);
        let Some(learner) = learner else { return };
        let Sync::OpeningLog { planned } = learner.sync else { return };
        match after {
            Some(after) if after == learner.last => {
                learner.sync = Sync::Log { reading: false };
                learner.sent = after;
                if !planned {
                    out.push(Effect::Send(to, Message::Sync { attempt, plan: Plan::Diff }));
                }
            }
            Some(after) if !planned => {
                learner.sync = Sync::Truncating;
                out.push(Effect::CloseSource { learner: to });
                out.push(Effect::Send(to, Message::Sync { attempt, plan: Plan::Truncate { to: after.0 } }));
                self.pin(common);
            }
            None if !planned => self.begin_snapshot(common, to, out),
            // It has begun already, and what it waits for is not there: it has to begin anew, with a snapshot.
            _ => {
                self.log_unreadable.insert(to);
                self.dismiss(common, to, out);
            }
        }
    }

    pub(super) fn log_read(
        &mut self,
        common: &mut Common,
        to: MemberId,
        attempt: u64,
        entries: Option<Vec<Entry>>,
        out: &mut Vec<Effect>,
    ) {
        let learner = self.learners.get_mut(&to).filter(|learner| learner.attempt == attempt);
        let Some(learner) = learner.filter(|learner| learner.sync == Sync::Log { reading: true }) else {
            return;
        };
        match entries.filter(|entries| !entries.is_empty()) {
            Some(entries) => {
                learner.sync = Sync::Log { reading: false };
                let commit = self.told_commit(common);
                let Some(learner) = self.learners.get_mut(&to) else { return };
                let bytes = entries.iter().map(Entry::size).sum();
                out.extend(learner.append(to, entries.iter().map(Carried::from).collect(), bytes, commit));
            }
            None => {
                self.log_unreadable.insert(to);
                self.dismiss(common, to, out);
            }
        }
    }

    /// What comes after the snapshots under way stays in memory.
    pub(super) fn pin(&self, common: &mut Common) {
        let snapshots = self.learners.values().filter_map(|learner| match learner.sync {
            Sync::OpeningLog { .. } | Sync::Log { .. } | Sync::Opening => Some(common.history.before()),
            Sync::Snapshot(snapshot) => Some(Zxid(snapshot.zxid)),
            _ => None,
        });
        let oldest = snapshots.min();
        common.history.pin(oldest);
    }

    pub(super) fn snapshot_opened(
        &mut self,
        common: &mut Common,
        to: MemberId,
        attempt: u64,
        snapshot: Option<SnapshotRef>,
        out: &mut Vec<Effect>,
    ) {
        let learner = self.learners.get_mut(&to).filter(|learner| learner.attempt == attempt);
        // One that was meant for an earlier attempt was closed when that ended.
        let Some(learner) = learner.filter(|learner| learner.sync == Sync::Opening) else { return };
        match snapshot {
            Some(snapshot) if Zxid(snapshot.zxid) >= common.history.before() => {
                learner.sync = Sync::Snapshot(snapshot);
                let plan = Plan::Snapshot { snapshot };
                out.push(Effect::Send(to, Message::Sync { attempt, plan }));
                self.pin(common);
            }
            // Too old already, or there is none.
            _ => self.dismiss(common, to, out),
        }
    }

    pub(super) fn on_want(&self, from: MemberId, snapshot: SnapshotRef, next: u64, out: &mut Vec<Effect>) {
        let Some(learner) = self.learners.get(&from) else { return };
        if learner.sync == Sync::Snapshot(snapshot) {
            out.push(Effect::ReadPiece { learner: from, attempt: learner.attempt, index: next });
        }
    }

    pub(super) fn piece_read(
        &mut self,
        common: &mut Common,
        to: MemberId,
        attempt: u64,
        index: u64,
        bytes: Option<Bytes>,
        out: &mut Vec<Effect>,
    ) -> Next {
        let learner = self.learners.get(&to).filter(|learner| learner.attempt == attempt);
        let Some(Sync::Snapshot(snapshot)) = learner.map(|learner| learner.sync) else { return Next::Stay };
        match bytes {
            Some(bytes) => {
                let piece = Message::Piece { attempt, snapshot, index, bytes: Blob(bytes) };
                out.push(Effect::Send(to, piece));
            }
            None => self.dismiss(common, to, out),
        }
        Next::Stay
    }

    /// A learner has cut its log, or taken a snapshot, and can go on from there.
    pub(super) fn on_ready(
        &mut self,
        common: &mut Common,
        from: MemberId,
        last: Zxid,
        out: &mut Vec<Effect>,
    ) {
        let Some(learner) = self.learners.get_mut(&from) else { return };
        match learner.sync {
            Sync::Truncating => {}
            Sync::Snapshot(_) => out.push(Effect::CloseSource { learner: from }),
            _ => return,
        }
        learner.last = last;
        learner.need_snapshot = false;
        match common.history.place(last) {
            Place::Here => {
                learner.sync = Sync::Streaming;
                learner.sent = last;
                self.pin(common);
            }
            Place::Beyond if !self.log_unreadable.contains(&from) => self.open_log(common, from, true, out),
            Place::Beyond | Place::Fork(_) => self.dismiss(common, from, out),
        }
    }

    /// Lets a learner begin anew.
    pub(super) fn dismiss(&mut self, common: &mut Common, id: MemberId, out: &mut Vec<Effect>) {
        if let Some(learner) = self.remove_learner(common, id, out) {
            out.push(Effect::Send(id, Message::Rejoin { attempt: learner.attempt }));
        }
    }

    pub(super) fn remove_learner(
        &mut self,
        common: &mut Common,
        id: MemberId,
        out: &mut Vec<Effect>,
    ) -> Option<Learner> {
        let learner = self.learners.remove(&id)?;
        if learner.sync.has_source() {
            out.push(Effect::CloseSource { learner: id });
        }
        self.pin(common);
        Some(learner)
    }

    pub(super) fn on_in_step(
        &mut self,
        common: &mut Common,
        from: MemberId,
        epoch: u32,
        out: &mut Vec<Effect>,
    ) {
        let Some(learner) = self.learners.get_mut(&from) else { return };
        if learner.ordered != Some(epoch) {
            return;
        }
        learner.in_step = Some(epoch);
        if self.turning.is_some() {
            self.turn_if_enough(common, out);
        } else if self.stage == Stage::Established {
            self.let_serve(common, from, out);
            self.advance_commit(common, out);
        } else {
            self.establish_if_enough(common, out);
        }
    }

    /// Tells a learner that is in step to serve.
    pub(super) fn let_serve(&mut self, common: &Common, to: MemberId, out: &mut Vec<Effect>) {
        let Some(learner) = self.learners.get_mut(&to) else { return };
        if learner.in_step == Some(self.epoch) {
            learner.serving = true;
            self.log_unreadable.remove(&to);
            learner.told = common.history.committed();
            let (attempt, commit) = (learner.attempt, learner.told.0);
            out.push(Effect::Send(to, Message::UpToDate { attempt, commit }));
        }
    }

    /// The leader leads when a quorum, perhaps without itself, has its history and its epoch on disk.
    pub(super) fn establish_if_enough(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let enough = self.is_in_step_quorum(common, self.epoch) || planted::is(Mistake::ProposeBeforeSync);
        if self.stage != Stage::Syncing || !enough {
            return;
        }
        self.stage = Stage::Established;
        common.history.commit(self.base);
        common.deliver(out);
        let learners: Vec<MemberId> = self.learners.keys().copied().collect();
        for id in learners {
            let learner = &self.learners[&id];
            if learner.in_step.is_some() {
                self.let_serve(common, id, out);
            } else if learner.promise.is_some() && learner.sync == Sync::None {
                // An observer; but not one that was a voter until a moment ago and is being brought up already.
                self.begin_sync(common, id, out);
            }
        }
    }

    /// Whether a quorum has this epoch on disk, and all that was there when it began.
    pub(super) fn is_in_step_quorum(&self, common: &Common, epoch: u32) -> bool {
        common.is_quorum(|id| {
            if id == common.id {
                return self.own_in_step == Some(epoch);
            }
            self.learners.get(&id).is_some_and(|learner| learner.in_step == Some(epoch))
        })
    }
}
