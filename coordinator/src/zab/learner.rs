//! The other end: joining a leader, taking over its history, following it.
//!
//! The order of what is made durable is the heart of it. History first, then the epoch, then the word that this member
//! is in step: each waits until the disk has confirmed the one before.

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::common::Common;
use super::message::{Carried, Message, Plan, SnapshotRef, Stance, Vote};
use super::planted::{self, Mistake};
use super::replica::{EPOCH_MAX, Next, letter};
use super::{Effect, Entry, Epochs, MemberId, Standing};

/// How far a learner has come with its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has asked to join.
    Joining,
    /// The new epoch is being saved.
    Accepting {
        epoch: u32,
    },
    /// It waits for a plan.
    Accepted,
    /// What the leader does not have is being removed.
    Truncating,
    /// Pieces are coming in; then the snapshot takes the place of what was there.
    Receiving {
        snapshot: SnapshotRef,
    },
    Replacing,
    /// Entries are coming in.
    Streaming,
}

/// The end of taking over: what has to be durable before which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pledge {
    epoch: u32,
    last: Zxid,
    saving: bool,
}

/// A learner's side.
#[derive(Debug)]
pub struct Learning {
    leader: MemberId,
    attempt: u64,
    stage: Stage,
    epoch: u32,
    pledge: Option<Pledge>,
    /// The epoch it said that it is in step with.
    in_step: Option<u32>,
    /// The leader leads, and lets this member serve.
    up_to_date: bool,
    serving: bool,
    need_snapshot: bool,
    heard_us: u64,
    /// Whether the leader has said anything.
    answered: bool,
    began_us: u64,
    rejoin_us: u64,
    acked: (Zxid, Zxid),
}

const REJOIN_US: u64 = 60_000;

impl Learning {
    pub(super) fn begin(common: &mut Common, leader: MemberId, now: u64, out: &mut Vec<Effect>) -> Learning {
        let mut learning = Learning {
            leader,
            attempt: 0,
            stage: Stage::Joining,
            epoch: 0,
            pledge: None,
            in_step: None,
            up_to_date: false,
            serving: false,
            need_snapshot: false,
            heard_us: now,
            answered: false,
            began_us: now,
            rejoin_us: now,
            acked: (Zxid::ZERO, Zxid::ZERO),
        };
        // Followers tell everybody, so that others that look can see who has a quorum.
        let notice = learning.notice(common);
        out.extend(
            common.peers().filter(|peer| *peer != leader).map(|peer| Effect::Send(peer, notice.clone())),
        );
        learning.join(common, false, now, out);
        learning
    }

    pub(super) fn leader(&self) -> MemberId {
        self.leader
    }

    pub(super) fn standing(&self, common: &Common) -> Standing {
        let (leader, epoch) = (self.leader, self.epoch);
        match (self.serving, common.is_voter()) {
            (false, _) => Standing::Looking,
            (true, true) => Standing::Following { leader, epoch },
            (true, false) => Standing::Observing { leader, epoch },
        }
    }

    pub(super) fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Joining | Stage::Accepting { .. } | Stage::Accepted => "DISCOVERY",
            _ if self.serving => "BROADCAST",
            _ => "SYNCHRONIZATION",
        }
    }

    pub(super) fn notice(&self, common: &Common) -> Message {
        let vote = Vote { complete: true, epoch: self.epoch, zxid: 0, settled: true, leader: self.leader };
        common.notice(Some(vote), Stance::Following, false)
    }

    /// Begins with this leader (again).
    fn join(&mut self, common: &mut Common, need_snapshot: bool, now: u64, out: &mut Vec<Effect>) {
        self.attempt = common.next_attempt();
        self.stage = Stage::Joining;
        self.pledge = None;
        self.in_step = None;
        self.up_to_date = false;
        self.serving = false;
        self.need_snapshot = need_snapshot;
        self.acked = (Zxid::ZERO, Zxid::ZERO);
        self.send_join(common, now, out);
    }

    fn send_join(&mut self, common: &Common, now: u64, out: &mut Vec<Effect>) {
        self.rejoin_us = now + REJOIN_US;
        if common.settling {
            return;
        }
        let Epochs { accepted, current, complete } = common.epochs;
        let (attempt, last, need_snapshot) = (self.attempt, common.history.last().0, self.need_snapshot);
        let level = common.level;
        let join = Message::Join { attempt, accepted, current, last, complete, need_snapshot, level };
        out.push(Effect::Send(self.leader, join));
    }

    /// Whether the leader can still be believed in.
    pub(super) fn check(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) -> Next {
        let timing = &common.timing;
        let patience = if self.answered { timing.silence_us } else { timing.join_us };
        // While its own log is being replaced, a member cannot even ask.
        let silent = !common.settling && now > self.heard_us + patience;
        let late = !self.serving && now > self.began_us + timing.init_us && !self.is_receiving();
        if silent && self.answered {
            out.push(Effect::ResetLink(self.leader));
        }
        if silent || late { Next::Look(None) } else { Next::Stay }
    }

    fn is_receiving(&self) -> bool {
        matches!(self.stage, Stage::Receiving { .. } | Stage::Replacing | Stage::Truncating)
    }

    pub(super) fn tick(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) -> Next {
        if self.stage == Stage::Joining && now >= self.rejoin_us {
            self.send_join(common, now, out);
        }
        Next::Stay
    }

    /// Others look for a leader; this one has one. Unless that one looks itself.
    pub(super) fn hear_notice(
        &mut self,
        common: &Common,
        from: MemberId,
        message: &Message,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        let Message::Notice { stance, vote, round, asks, .. } = message else { return Next::Stay };
        if *asks && *stance == Stance::Looking {
            out.push(Effect::Send(from, self.notice(common)));
        }
        if from == self.leader {
            // It may be about to conclude that it leads; but not if it votes for somebody else.
            let looks = *stance == Stance::Looking && (self.answered || *round > common.round);
            let follows = *stance == Stance::Following
                || vote.is_some_and(|vote| vote.leader != from && *round >= common.round);
            let patient = !self.answered && now < self.began_us + common.timing.gather_us * 2;
            return if (looks || follows) && !patient { Next::Look(None) } else { Next::Stay };
        }
        Next::Stay
    }

    pub(super) fn receive(
        &mut self,
        common: &mut Common,
        message: Message,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        let next = match message {
            Message::Resign { successor } => {
                let known = common.may_lead(successor.leader);
                return Next::Look(Some(successor).filter(|_| known));
            }
            Message::Lead { attempt, epoch } if attempt == self.attempt => self.lead(common, epoch, out),
            Message::Sync { attempt, plan } if attempt == self.attempt => self.sync(common, plan, out),
            Message::Piece { attempt, snapshot, index, bytes } if attempt == self.attempt => {
                if self.stage == (Stage::Receiving { snapshot }) {
                    out.push(Effect::WritePiece { snapshot, index, bytes: bytes.0 });
                }
                Next::Stay
            }
            Message::Append { attempt, prev, entries, commit } if attempt == self.attempt => {
                self.append(common, Zxid(prev), entries, Zxid(commit), now, out)
            }
            Message::NewLeader { attempt, epoch, last } if attempt == self.attempt => {
                self.new_leader(common, epoch, Zxid(last), now, out)
            }
            Message::UpToDate { attempt, commit } if attempt == self.attempt => {
                if let Some(epoch) = self.in_step {
                    self.epoch = epoch;
                    self.up_to_date = true;
                    self.commit(common, Zxid(commit), out);
                }
                Next::Stay
            }
            Message::Ping { attempt, round, commit } if attempt == self.attempt => {
                out.push(Effect::Send(self.leader, Message::Pong { attempt, round }));
                if self.stage == Stage::Streaming {
                    self.commit(common, Zxid(commit), out);
                }
                Next::Stay
            }
            Message::Rejoin { attempt } if attempt == self.attempt => {
                if self.stage != Stage::Joining {
                    self.join(common, false, now, out);
                }
                Next::Stay
            }
            Message::Diverged { attempt, zxid } if attempt == self.attempt => {
                common.diverged = true;
                out.push(Effect::Diverged { zxid: Zxid(zxid) });
                Next::Look(None)
            }
            Message::Letter { attempt, body } if attempt == self.attempt => {
                out.push(Effect::Letter { from: self.leader, body: body.0 });
                Next::Stay
            }
            // Of an earlier attempt, or not for learners.
            _ => return Next::Stay,
        };
        self.heard_us = now;
        self.answered = true;
        common.note_leader();
        next
    }

    fn lead(&mut self, common: &mut Common, epoch: u32, out: &mut Vec<Effect>) -> Next {
        if epoch < common.epochs.accepted || epoch > EPOCH_MAX {
            return Next::Look(None);
        }
        if !matches!(self.stage, Stage::Joining | Stage::Accepted) || epoch < self.epoch {
            return Next::Stay;
        }
        self.epoch = epoch;
        if epoch > common.epochs.accepted {
            self.stage = Stage::Accepting { epoch };
            common.save_epochs(epoch, None, out);
            return Next::Stay;
        }
        // Accepted before. From this leader, if this process remembers; else perhaps from another one.
        let counts = common.promised == Some((self.leader, epoch));
        self.accept(common, counts, out);
        Next::Stay
    }

    fn accept(&mut self, common: &Common, counts: bool, out: &mut Vec<Effect>) {
        self.stage = Stage::Accepted;
        let (attempt, current, last) = (self.attempt, common.epochs.current, common.history.last().0);
        out.push(Effect::Send(self.leader, Message::Accept { attempt, current, last, counts }));
    }

    pub(super) fn epochs_saved(&mut self, common: &mut Common, out: &mut Vec<Effect>) -> Next {
        if let Stage::Accepting { epoch } = self.stage
            && common.epochs.accepted == epoch
        {
            common.promised = Some((self.leader, epoch));
            self.accept(common, true, out);
        }
        if let Some(pledge) = self.pledge.filter(|pledge| pledge.saving)
            && common.epochs.current == pledge.epoch
        {
            self.pledge = None;
            self.in_step = Some(pledge.epoch);
            let (attempt, epoch) = (self.attempt, pledge.epoch);
            out.push(Effect::Send(self.leader, Message::InStep { attempt, epoch }));
        }
        Next::Stay
    }

    fn sync(&mut self, common: &mut Common, plan: Plan, out: &mut Vec<Effect>) -> Next {
        // A leader whose epoch turned asked for the next one, too, and then heard that the one before is accepted. That is enough
        // for it, so it waits for no second word.
        if !matches!(self.stage, Stage::Accepted | Stage::Accepting { .. }) {
            return Next::Stay;
        }
        match plan {
            Plan::Diff => self.stage = Stage::Streaming,
            Plan::Truncate { to } => {
                self.stage = Stage::Truncating;
                common.settling = true;
                out.push(Effect::Truncate(Zxid(to)));
            }
            Plan::Snapshot { snapshot } => {
                self.stage = Stage::Receiving { snapshot };
                out.push(Effect::Receive(snapshot));
            }
        }
        Next::Stay
    }

    pub(super) fn receiving(&self, snapshot: SnapshotRef, next: u64, out: &mut Vec<Effect>) -> Next {
        if self.stage == (Stage::Receiving { snapshot }) {
            let want = Message::Want { attempt: self.attempt, snapshot, next };
            out.push(Effect::Send(self.leader, want));
        }
        Next::Stay
    }

    pub(super) fn truncated(
        &mut self,
        common: &mut Common,
        done: bool,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        self.heard_us = now;
        if self.stage != Stage::Truncating {
            return Next::Stay;
        }
        if done {
            self.ready(common, out);
        } else {
            self.join(common, true, now, out);
        }
        Next::Stay
    }

    /// The first part of the plan is done; entries may come.
    fn ready(&mut self, common: &Common, out: &mut Vec<Effect>) {
        self.stage = Stage::Streaming;
        let (attempt, last) = (self.attempt, common.history.last().0);
        out.push(Effect::Send(self.leader, Message::Ready { attempt, last }));
    }

    pub(super) fn received(
        &mut self,
        common: &mut Common,
        snapshot: SnapshotRef,
        done: bool,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        if self.stage != (Stage::Receiving { snapshot }) {
            return Next::Stay;
        }
        if done {
            self.stage = Stage::Replacing;
            common.settling = true;
            // A change that is pending here may not be in the snapshot; what that says will be told.
            common.next = None;
            out.push(Effect::Replace(Zxid(snapshot.zxid)));
        } else {
            self.join(common, true, now, out);
        }
        Next::Stay
    }

    pub(super) fn replaced(&mut self, common: &Common, now: u64, out: &mut Vec<Effect>) -> Next {
        self.heard_us = now;
        if self.stage == Stage::Replacing {
            self.ready(common, out);
        }
        Next::Stay
    }

    fn append(
        &mut self,
        common: &mut Common,
        prev: Zxid,
        entries: Vec<Carried>,
        commit: Zxid,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        if self.stage != Stage::Streaming {
            return Next::Stay;
        }
        if prev != common.history.last() {
            // Something between was lost. Nothing is ever put behind a hole.
            self.join(common, false, now, out);
            return Next::Stay;
        }
        if !self.serving && !entries.is_empty() {
            // A long history may take longer than members have to find each other, as long as it goes on.
            self.began_us = now;
        }
        for carried in entries {
            let entry = Entry::from(carried);
            if !common.history.is_followed_by(entry.zxid) {
                self.join(common, false, now, out);
                return Next::Stay;
            }
            common.note_members(&entry);
            common.history.append(entry.clone());
            if entry.zxid > commit || self.in_step.is_some() || !planted::is(Mistake::CommitsSkipLog) {
                out.push(Effect::Append(entry));
            }
        }
        self.commit(common, commit, out);
        Next::Stay
    }

    fn commit(&mut self, common: &mut Common, commit: Zxid, out: &mut Vec<Effect>) {
        if common.history.commit(commit) {
            common.deliver(out);
        }
        // What was executed when the log was read may not be committed yet; nobody must see it before it is.
        self.serving |= self.up_to_date && common.history.committed() >= common.history.delivered();
    }

    fn new_leader(
        &mut self,
        common: &mut Common,
        epoch: u32,
        last: Zxid,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        if self.stage != Stage::Streaming || epoch > EPOCH_MAX {
            return Next::Stay;
        }
        if epoch < common.epochs.accepted {
            return Next::Look(None);
        }
        if last != common.history.last() {
            self.join(common, false, now, out);
            return Next::Stay;
        }
        self.pledge = Some(Pledge { epoch, last, saving: false });
        self.redeem(common, out);
        Next::Stay
    }

    /// Saves the epoch once the history that belongs to it is durable.
    fn redeem(&mut self, common: &mut Common, out: &mut Vec<Effect>) {
        let Some(pledge) = &mut self.pledge else { return };
        let ready = common.history.durable() >= pledge.last || planted::is(Mistake::EpochBeforeHistory);
        if !pledge.saving && ready {
            pledge.saving = true;
            common.save_epochs(pledge.epoch, Some(pledge.epoch), out);
        }
    }

    pub(super) fn durable(&mut self, common: &mut Common, out: &mut Vec<Effect>) -> Next {
        self.redeem(common, out);
        Next::Stay
    }

    pub(super) fn send_letter(&self, to: MemberId, body: Bytes, out: &mut Vec<Effect>) {
        if to == self.leader && self.serving {
            out.push(Effect::Send(to, letter(self.attempt, body)));
        }
    }

    /// Says how far the disk is.
    pub(super) fn flush(&mut self, common: &Common, out: &mut Vec<Effect>) {
        if self.stage != Stage::Streaming {
            return;
        }
        let (executed, digest) = common.executed();
        let state = (common.history.durable(), executed);
        if state != self.acked {
            self.acked = state;
            let (attempt, durable, executed) = (self.attempt, state.0.0, executed.0);
            out.push(Effect::Send(self.leader, Message::Ack { attempt, durable, executed, digest }));
        }
    }
}
