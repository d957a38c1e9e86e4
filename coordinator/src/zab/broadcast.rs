//! Leading: giving out places in the order, and committing them when a quorum has them on disk.
//!
//! Entries are sent from the window of recent ones, to each learner from where it is; so one that is slow or new costs
//! the others nothing, and what is on the way to it is bounded. The leader is a member like any other: it may commit
//! before its own disk has an entry, if a quorum of others has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::common::Common;
use super::handshake::{Learner, Sync};
use super::message::{Carried, Message, Stance, Vote};
use super::replica::{EPOCH_MAX, Next, letter};
use super::{Effect, Entry, MemberId, Membership, Standing, epoch_of, first_of};

/// How far a leader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Learners say how far they are.
    Discovering,
    /// The epoch is chosen and being saved.
    Choosing,
    /// Learners promise the epoch.
    Accepting,
    /// A quorum is being brought to one history.
    Syncing,
    Established,
}

/// A leader.
#[derive(Debug)]
pub struct Leading {
    pub(super) stage: Stage,
    /// The epoch; before one is chosen, the member's own.
    pub(super) epoch: u32,
    /// Whether it was elected for what it knows, or because nobody knows anything.
    pub(super) candidacy_complete: bool,
    pub(super) learners: BTreeMap<MemberId, Learner>,
    /// The end of the history that its epoch began with.
    pub(super) base: Zxid,
    pub(super) own_ordered: bool,
    pub(super) own_in_step: Option<u32>,
    /// The next epoch, when the leader is on its way there without an election.
    pub(super) turning: Option<Turning>,
    /// When each member was last heard as a learner, whatever has become of its connection since.
    heard_us: BTreeMap<MemberId, u64>,
    /// Since when somebody is known to have a longer history.
    pub(super) outrun_us: Option<u64>,
    began_us: u64,
    ping_us: u64,
    round: u64,
    confirm_asked: u64,
    confirm_told: u64,
    confirm_rounds: VecDeque<(u64, u64)>,
    /// Learners for whom the log could not be read to the end, until they serve.
    pub(super) log_unreadable: BTreeSet<MemberId>,
    /// Since when it wants to hand over.
    handing_over: Option<u64>,
}

/// A change of epoch under the same leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turning {
    pub(super) epoch: u32,
    /// Everything before is committed, and the leader makes the epoch its own.
    pub(super) ordered: bool,
    pub(super) since_us: u64,
}

/// Bytes of entries in one message, at most; a larger entry travels alone.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// A leader that wants to stop waits so long for a successor to have everything.
const HAND_OVER_US: u64 = 1_000_000;

impl Leading {
    pub(super) fn begin(common: &mut Common, vote: Vote, now: u64, out: &mut Vec<Effect>) -> Leading {
        let mut leading = Leading {
            stage: Stage::Discovering,
            epoch: common.epochs.current,
            candidacy_complete: vote.complete,
            learners: BTreeMap::new(),
            base: common.history.last(),
            own_ordered: false,
            own_in_step: None,
            turning: None,
            heard_us: BTreeMap::new(),
            outrun_us: None,
            began_us: now,
            ping_us: now,
            round: 0,
            confirm_asked: 0,
            confirm_told: 0,
            confirm_rounds: VecDeque::new(),
            log_unreadable: BTreeSet::new(),
            handing_over: None,
        };
        let notice = leading.notice(common);
        out.extend(common.peers().map(|peer| Effect::Send(peer, notice.clone())));
        // A member that is a quorum by itself needs nobody.
        leading.choose_epoch(common, out);
        leading
    }

    /// The snapshots that were open for learners are not needed any more.
    pub(super) fn leave(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let learners: Vec<MemberId> = self.learners.keys().copied().collect();
        for id in learners {
            self.remove_learner(common, id, out);
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self.stage {
            Stage::Established => Standing::Leading { epoch: self.epoch },
            _ => Standing::Looking,
        }
    }

    pub(super) fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Discovering | Stage::Choosing | Stage::Accepting => "DISCOVERY",
            Stage::Syncing => "SYNCHRONIZATION",
            Stage::Established => "BROADCAST",
        }
    }

    pub(super) fn notice(&self, common: &Common) -> Message {
        let vote = Vote { complete: true, epoch: self.epoch, zxid: 0, settled: true, leader: common.id };
        common.notice(Some(vote), Stance::Leading, false)
    }

    pub(super) fn learners(&self) -> Vec<(MemberId, bool, Zxid)> {
        self.learners.iter().map(|(id, learner)| (*id, learner.serving, learner.durable)).collect()
    }

    pub(super) fn level_of_all(&self, common: &Common) -> Option<u16> {
        let level = |id: MemberId| match self.learners.get(&id) {
            _ if id == common.id => Some(common.level),
            Some(learner) if learner.serving => Some(learner.level),
            _ => None,
        };
        let levels: Option<Vec<u16>> = common.sets().flat_map(Membership::ids).map(level).collect();
        levels?.into_iter().min()
    }

    fn can_propose(&self, common: &Common) -> bool {
        self.stage == Stage::Established
            && self.turning.is_none()
            && self.handing_over.is_none()
            && self.next_zxid(common).0 & 0xffff_ffff <= u64::from(common.counter_max)
    }

    pub(super) fn propose(
        &mut self,
        common: &mut Common,
        now: u64,
        (origin, serial): (MemberId, u64),
        bytes: Bytes,
        members: Option<Arc<Membership>>,
        out: &mut Vec<Effect>,
    ) -> Option<Zxid> {
        if !self.heard_by_quorum(common, now) || !self.can_propose(common) {
            return None;
        }
        let zxid = self.next_zxid(common);
        let entry = Entry { zxid, origin, serial, bytes, members };
        common.note_members(&entry);
        common.history.append(entry.clone());
        out.push(Effect::Append(entry));
        if zxid.0 & 0xffff_ffff >= u64::from(common.counter_max) {
            self.turn_epoch(common, self.epoch + 1, now, out);
        }
        Some(zxid)
    }

    fn next_zxid(&self, common: &Common) -> Zxid {
        let last = common.history.last();
        if epoch_of(last) == self.epoch { last.next() } else { first_of(self.epoch) }
    }

    /// Begins to go on in a later epoch, without an election: what was proposed is committed first, then a quorum makes
    /// the epoch its own, as it did after the election.
    pub(super) fn turn_epoch(&mut self, common: &mut Common, epoch: u32, now: u64, out: &mut Vec<Effect>) {
        if epoch <= EPOCH_MAX && self.turning.is_none() {
            self.turning = Some(Turning { epoch, ordered: false, since_us: now });
            self.go_on_turning(common, out);
        }
    }

    /// An operator gave the ensemble of this one member another state.
    pub(super) fn replaced(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) -> Next {
        self.turn_epoch(common, epoch_of(common.history.last()).max(self.epoch + 1), now, out);
        Next::Stay
    }

    fn go_on_turning(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let Some(turning) = &mut self.turning else { return };
        let last = common.history.last();
        if turning.ordered || common.history.committed() < last || common.history.durable() < last {
            return;
        }
        turning.ordered = true;
        let epoch = turning.epoch;
        common.save_epochs(epoch, Some(epoch), out);
    }

    pub(super) fn turn_if_enough(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let Some(Turning { epoch, .. }) = self.turning else { return };
        if !self.is_in_step_quorum(common, epoch) {
            return;
        }
        self.turning = None;
        self.epoch = epoch;
        self.base = common.history.last();
        let learners: Vec<MemberId> = self.learners.keys().copied().collect();
        for id in learners {
            self.let_serve(common, id, out);
        }
        self.send_lead_to_all(out);
    }

    /// Whether this member still leads, as far as it can know.
    pub(super) fn check(&self, common: &Common, now: u64) -> Next {
        let late = self.stage != Stage::Established && now > self.began_us + common.timing.init_us;
        let deserted = now > self.began_us + common.timing.silence_us && !self.heard_by_quorum(common, now);
        let outrun = self.stage == Stage::Accepting
            && self.outrun_us.is_some_and(|since_us| now > since_us + common.timing.join_us);
        let stuck = outrun
            || self.turning.is_some_and(|turning| now > turning.since_us + common.timing.silence_us * 2);
        if late || deserted || stuck || common.diverged { Next::Look(None) } else { Next::Stay }
    }

    fn heard_by_quorum(&self, common: &Common, now: u64) -> bool {
        common.is_quorum(|id| {
            id == common.id
                || self.heard_us.get(&id).is_some_and(|heard_us| now <= heard_us + common.timing.silence_us)
        })
    }

    pub(super) fn tick(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) -> Next {
        let silent: Vec<MemberId> = self
            .learners
            .iter()
            .filter(|(_, learner)| now > learner.heard_us + common.timing.silence_us)
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.dismiss(common, id, out);
            out.push(Effect::ResetLink(id));
        }
        if self.stage == Stage::Discovering {
            self.choose_epoch(common, out);
        }
        if self.stage == Stage::Established && !common.may_lead(common.id) {
            // The members were changed, and this one is not to lead any more.
            self.handing_over.get_or_insert(now);
        }
        self.try_hand_over(common, now, out)
    }

    pub(super) fn receive(
        &mut self,
        common: &mut Common,
        from: MemberId,
        message: Message,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        let attempt = match message {
            Message::Join { attempt, accepted, current, last, complete, need_snapshot, level } => {
                let learner = Learner {
                    attempt,
                    accepted,
                    last: Zxid(last),
                    complete,
                    empty: last == 0 && current == 0 && !complete,
                    need_snapshot,
                    level,
                    promise: None,
                    sync: Sync::None,
                    sent: Zxid::ZERO,
                    flight: VecDeque::new(),
                    flight_bytes: 0,
                    told: Zxid::ZERO,
                    durable: Zxid::ZERO,
                    ordered: None,
                    in_step: None,
                    serving: false,
                    heard_us: now,
                    round: 0,
                    claim: None,
                    agrees: None,
                };
                self.heard_us.insert(from, now);
                return self.on_join(common, from, learner, now, out);
            }
            Message::Accept { attempt, .. }
            | Message::Ready { attempt, .. }
            | Message::Want { attempt, .. }
            | Message::InStep { attempt, .. }
            | Message::Ack { attempt, .. }
            | Message::Pong { attempt, .. }
            | Message::Letter { attempt, .. } => attempt,
            _ => return Next::Stay,
        };
        let Some(learner) = self.learners.get_mut(&from).filter(|learner| learner.attempt == attempt) else {
            if !self.learners.contains_key(&from) {
                out.push(Effect::Send(from, Message::Rejoin { attempt }));
            }
            return Next::Stay;
        };
        learner.heard_us = now;
        self.heard_us.insert(from, now);
        match message {
            Message::Accept { current, last, counts, .. } => {
                return self.on_accept(common, from, (current, Zxid(last), counts), now, out);
            }
            Message::Ready { last, .. } => self.on_ready(common, from, Zxid(last), out),
            Message::Want { snapshot, next, .. } => self.on_want(from, snapshot, next, out),
            Message::InStep { epoch, .. } => self.on_in_step(common, from, epoch, out),
            Message::Ack { durable, executed, digest, .. } => {
                learner.durable = learner.durable.max(Zxid(durable).min(common.history.last()));
                while learner.flight.front().is_some_and(|(last, _)| *last <= learner.durable) {
                    let (_, bytes) = learner.flight.pop_front().expect("just seen");
                    learner.flight_bytes -= bytes;
                }
                learner.claim = Some((Zxid(executed), digest));
                self.advance_commit(common, out);
                return self.compare_claim(common, from, out);
            }
            Message::Pong { round, .. } => {
                learner.round = learner.round.max(round.min(self.round));
                self.answer_confirms(common, out);
            }
            Message::Letter { body, .. } if learner.serving => {
                out.push(Effect::Letter { from, body: body.0 });
            }
            _ => {}
        }
        Next::Stay
    }

    pub(super) fn durable(&mut self, common: &mut Common, out: &mut Vec<Effect>) -> Next {
        self.keep_own_epoch(common, out);
        self.advance_commit(common, out);
        self.go_on_turning(common, out);
        Next::Stay
    }

    pub(super) fn epochs_saved(&mut self, common: &mut Common, out: &mut Vec<Effect>) -> Next {
        if self.stage == Stage::Choosing && common.epochs.accepted == self.epoch {
            self.stage = Stage::Accepting;
            common.promised = Some((common.id, self.epoch));
            self.send_lead_to_all(out);
            return self.begin_sync_if_enough(common, out);
        }
        if let Some(turning) = self.turning
            && common.epochs.current == turning.epoch
        {
            self.own_in_step = Some(turning.epoch);
            // Those in step get the order with the next flush.
            self.send_lead_to_all(out);
            self.turn_if_enough(common, out);
        } else if self.stage == Stage::Syncing && common.epochs.current == self.epoch {
            self.own_in_step = Some(self.epoch);
            self.establish_if_enough(common, out);
        } else if self.stage == Stage::Established && common.epochs.current == self.epoch {
            // The others were faster.
            self.own_in_step = Some(self.epoch);
            self.advance_commit(common, out);
        }
        Next::Stay
    }

    /// Commits what a quorum in step has on disk.
    pub(super) fn advance_commit(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        if self.stage != Stage::Established {
            return;
        }
        let durable = |id: MemberId| {
            if id == common.id {
                return (self.own_in_step == Some(self.epoch)).then(|| common.history.durable());
            }
            let learner = self.learners.get(&id)?;
            // Before a learner is in step, what it has on disk may be lost with the epoch that it has not yet.
            let turned = |epoch| self.turning.is_some_and(|turning| turning.epoch == epoch);
            learner
                .in_step
                .is_some_and(|epoch| epoch == self.epoch || turned(epoch))
                .then_some(learner.durable)
        };
        let mut places: Vec<Zxid> = common.voters().filter_map(durable).collect();
        places.sort_unstable_by(|one, other| other.cmp(one));
        places.dedup();
        let committed = common.history.committed();
        let place = places
            .into_iter()
            .take_while(|place| *place > committed)
            .find(|place| common.is_quorum(|id| durable(id).is_some_and(|durable| durable >= *place)));
        if let Some(place) = place
            && common.history.commit(place)
        {
            common.deliver(out);
            self.go_on_turning(common, out);
        }
    }

    // ---- Sending ----

    pub(super) fn flush(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) {
        let mut behind = Vec::new();
        let commit = self.told_commit(common);
        self.flush_logs(common, out);
        for (id, learner) in &mut self.learners {
            if learner.sync != Sync::Streaming {
                continue;
            }
            if learner.sent < common.history.before() {
                behind.push(*id);
                continue;
            }
            let until = if common.is_voter_id(*id) { common.history.last() } else { commit };
            while learner.sent < until && learner.flight_bytes < common.flight_bytes {
                let mut bytes = 0;
                let entries: Vec<Carried> = common
                    .history
                    .after(learner.sent, until, MESSAGE_BYTES_MAX)
                    .inspect(|entry| bytes += entry.size())
                    .map(Carried::from)
                    .collect();
                let Some(append) = learner.append(*id, entries, bytes, commit) else { break };
                out.push(append);
            }
            // The order to make an epoch its own comes behind all that was there when the epoch began.
            let order = match self.turning {
                Some(Turning { epoch, ordered: true, .. })
                    if self.own_in_step == Some(epoch) && learner.sent == common.history.last() =>
                {
                    Some(epoch)
                }
                _ => (learner.sent >= self.base).then_some(self.epoch),
            };
            if order > learner.ordered
                && let Some(epoch) = order
            {
                learner.ordered = order;
                let (attempt, last) = (learner.attempt, learner.sent.0);
                out.push(Effect::Send(*id, Message::NewLeader { attempt, epoch, last }));
            }
            if commit > learner.told && learner.serving {
                learner.told = commit;
                let (attempt, prev) = (learner.attempt, learner.sent.0);
                let append = Message::Append { attempt, prev, entries: Vec::new(), commit: commit.0 };
                out.push(Effect::Send(*id, append));
            }
        }
        for id in behind {
            self.dismiss(common, id, out);
        }
        let wanted = self.confirm_asked > self.confirm_rounds.back().map_or(self.confirm_told, |last| last.1);
        if wanted || now >= self.ping_us {
            self.ping(common, now, out);
        }
    }

    /// What a learner may be told is committed.
    pub(super) fn told_commit(&self, common: &Common) -> Zxid {
        if self.stage == Stage::Established { common.history.committed() } else { Zxid::ZERO }
    }

    /// Learners that get entries from disk have the next ones read, or have reached what is in memory.
    fn flush_logs(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let before = common.history.before();
        let mut arrived = false;
        for (id, learner) in &mut self.learners {
            if learner.sync != (Sync::Log { reading: false }) {
                continue;
            }
            if learner.sent >= before {
                learner.sync = Sync::Streaming;
                arrived = true;
                out.push(Effect::CloseSource { learner: *id });
            } else if learner.flight_bytes < common.flight_bytes {
                learner.sync = Sync::Log { reading: true };
                out.push(Effect::ReadLog { learner: *id, attempt: learner.attempt, up_to: before });
            }
        }
        if arrived {
            self.pin(common);
        }
    }

    fn ping(&mut self, common: &Common, now: u64, out: &mut Vec<Effect>) {
        self.ping_us = now + common.timing.ping_us;
        self.round += 1;
        if self.confirm_asked > self.confirm_rounds.back().map_or(self.confirm_told, |last| last.1) {
            self.confirm_rounds.push_back((self.round, self.confirm_asked));
        }
        let commit = self.told_commit(common).0;
        for (id, learner) in &self.learners {
            let (attempt, round) = (learner.attempt, self.round);
            out.push(Effect::Send(*id, Message::Ping { attempt, round, commit }));
        }
        self.answer_confirms(common, out);
    }

    // ---- Being sure ----

    pub(super) fn confirm(&mut self, ticket: u64) {
        self.confirm_asked = self.confirm_asked.max(ticket);
    }

    fn answer_confirms(&mut self, common: &Common, out: &mut Vec<Effect>) {
        if self.stage != Stage::Established {
            return;
        }
        let mut told = None;
        while let Some((round, ticket)) = self.confirm_rounds.front().copied() {
            let sure = common.is_quorum(|id| {
                id == common.id
                    || self.learners.get(&id).is_some_and(|learner| learner.serving && learner.round >= round)
            });
            if !sure {
                break;
            }
            self.confirm_rounds.pop_front();
            told = Some(ticket);
        }
        if let Some(ticket) = told {
            self.confirm_told = ticket;
            out.push(Effect::Confirmed { ticket });
        }
    }

    /// This leader executed an entry; learners may have claimed something about it before.
    pub(super) fn compare_digests(&mut self, common: &mut Common, zxid: Zxid, out: &mut Vec<Effect>) -> Next {
        let claims = self
            .learners
            .iter()
            .filter(|(_, learner)| learner.claim.is_some_and(|(claimed, _)| claimed == zxid));
        let learners: Vec<MemberId> = claims.map(|(id, _)| *id).collect();
        for id in learners {
            let next = self.compare_claim(common, id, out);
            if next != Next::Stay {
                return next;
            }
        }
        Next::Stay
    }

    /// Whether a learner executed what the leader did.
    fn compare_claim(&mut self, common: &mut Common, id: MemberId, out: &mut Vec<Effect>) -> Next {
        let Some(learner) = self.learners.get_mut(&id) else { return Next::Stay };
        let Some((zxid, digest)) = learner.claim else { return Next::Stay };
        if let Some(own) = common.digest_at(zxid) {
            learner.agrees = Some((zxid, own == digest));
        }
        if self.learners.values().any(|learner| learner.agrees.is_some_and(|(_, agrees)| !agrees)) {
            return self.judge(common, out);
        }
        Next::Stay
    }

    /// Somebody executed something else. Who is wrong is for most to say: those whom they do not agree with stop, be it the
    /// leader. If nobody has most on its side, everybody stops who cannot be trusted any more.
    fn judge(&mut self, common: &mut Common, out: &mut Vec<Effect>) -> Next {
        let verdict = |id: MemberId| self.learners.get(&id).and_then(|learner| learner.agrees);
        let differing = self.learners.keys().filter_map(|id| verdict(*id).filter(|(_, agrees)| !agrees));
        let Some((since, _)) = differing.min() else { return Next::Stay };
        let says = |id: MemberId| verdict(id).filter(|(zxid, _)| *zxid >= since).map(|(_, agrees)| agrees);
        let leader_is_right = common.is_quorum(|id| id == common.id || says(id) == Some(true));
        let leader_is_wrong = common.is_quorum(|id| id != common.id && says(id) == Some(false));
        let all_are_heard = common.voters().all(|id| id == common.id || says(id).is_some());
        if !leader_is_right && !leader_is_wrong && !all_are_heard {
            return Next::Stay;
        }
        if !leader_is_wrong {
            let wrong: Vec<MemberId> =
                self.learners.keys().copied().filter(|id| says(*id) == Some(false)).collect();
            for id in wrong {
                if let Some(learner) = self.remove_learner(common, id, out) {
                    let (attempt, zxid) = (learner.attempt, since.0);
                    out.push(Effect::Send(id, Message::Diverged { attempt, zxid }));
                }
            }
        }
        if leader_is_right {
            return Next::Stay;
        }
        common.diverged = true;
        out.push(Effect::Diverged { zxid: since });
        Next::Look(None)
    }

    // ---- Beside the protocol ----

    pub(super) fn send_letter(&self, to: MemberId, body: Bytes, out: &mut Vec<Effect>) {
        if let Some(learner) = self.learners.get(&to).filter(|learner| learner.serving) {
            out.push(Effect::Send(to, letter(learner.attempt, body)));
        }
    }

    /// The connection to a learner broke.
    pub(super) fn drop_learner(&mut self, common: &mut Common, id: MemberId, out: &mut Vec<Effect>) -> Next {
        // Learners come back quickly from a broken connection; the check for silence decides whether it leads on.
        self.remove_learner(common, id, out);
        Next::Stay
    }

    // ---- Handing over ----

    pub(super) fn hand_over(&mut self, now: u64) -> Next {
        if self.stage != Stage::Established {
            return Next::Look(None);
        }
        self.handing_over.get_or_insert(now);
        Next::Stay
    }

    /// Names a successor once it has everything.
    fn try_hand_over(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) -> Next {
        let Some(since) = self.handing_over else { return Next::Stay };
        let last = common.history.last();
        let candidates = self
            .learners
            .iter()
            .filter(|(id, learner)| learner.serving && common.may_lead(**id))
            .map(|(id, learner)| (learner.durable, common.membership.may_lead(*id), *id));
        let Some((durable, _, successor)) = candidates.max() else { return Next::Stay };
        let ready = durable >= last && common.history.committed() >= last;
        if !ready && now < since + HAND_OVER_US {
            return Next::Stay;
        }
        let vote =
            Vote { complete: true, epoch: self.epoch, zxid: durable.0, settled: true, leader: successor };
        // What was committed is told first, so that nobody has to find that out again.
        self.flush(common, now, out);
        for id in self.learners.keys() {
            out.push(Effect::Send(*id, Message::Resign { successor: vote }));
        }
        Next::Look(Some(vote))
    }
}
