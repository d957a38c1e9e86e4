//! Snapshots on their way from member to member: one thread per process reads, writes and checks them, in order.

use bytes::Bytes;
use client::wire::zk::Zxid;
use coordinator::zab::{Input, MemberId, SnapshotRef};

use super::World;
use super::agenda::{At, Happening};
use super::member::{Incoming, OpenLog, Outgoing};
use super::state::{Snapshot, identity};

impl World {
    pub(super) fn open_snapshot(&mut self, at: At, learner: MemberId, attempt: u64, at_least: Zxid) {
        let kept = self.configuration.snapshots_kept;
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        let mut snapshot = member.device.snapshot_at_least(at_least);
        if snapshot.is_none() && process.state.zxid() >= at_least {
            let made = Snapshot::of(process.state.clone());
            if member.device.synced() >= made.zxid() {
                member.device.keep(made.clone(), kept);
            }
            snapshot = Some(made);
        }
        if self.bad_pieces > 0 && self.faults.one_in(8) {
            self.bad_pieces -= 1;
            snapshot = None;
        }
        let id = snapshot.as_ref().map(|snapshot| snapshot.id());
        if let Some(snapshot) = snapshot {
            process.outgoing.insert(learner, Outgoing { attempt, snapshot });
        }
        self.later(at, Input::SnapshotOpened { learner, attempt, snapshot: id });
    }

    pub(super) fn read_piece(&mut self, at: At, learner: MemberId, attempt: u64, index: u64) {
        let Some(process) = &mut self.members[at].process else { return };
        let outgoing = process.outgoing.get(&learner).filter(|outgoing| outgoing.attempt == attempt);
        let mut bytes =
            outgoing.and_then(|outgoing| outgoing.snapshot.piece(index, self.configuration.pieces));
        if self.bad_pieces > 0 {
            self.bad_pieces -= 1;
            bytes = bytes.filter(|_| self.faults.coin()).map(|bytes| {
                let mut bytes = bytes.to_vec();
                if let Some(byte) = bytes.last_mut() {
                    *byte ^= 1;
                }
                bytes.into()
            });
        }
        self.later(at, Input::PieceRead { learner, attempt, index, bytes });
    }

    pub(super) fn close_source(&mut self, at: At, learner: MemberId) {
        if let Some(process) = &mut self.members[at].process {
            process.outgoing.remove(&learner);
            process.open_logs.remove(&learner);
        }
    }

    /// Finds the place in the log where a learner is. Now and then the log is too long to be worth it.
    pub(super) fn open_log(&mut self, at: At, learner: MemberId, attempt: u64, after: Zxid) {
        let worth_it = self.configuration.log_odds > 0 && self.disks.below(4) < self.configuration.log_odds;
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        let after = member.device.log_goes_on_from(after).filter(|_| worth_it);
        if let Some(at) = after {
            process.open_logs.insert(learner, OpenLog { attempt, at });
        }
        self.later(at, Input::LogOpened { learner, attempt, after });
    }

    pub(super) fn read_log(&mut self, at: At, learner: MemberId, attempt: u64, up_to: Zxid) {
        let count = self.disks.between(1, 40) as usize;
        let unreadable = self.bad_pieces > 0 && self.faults.coin();
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        let open = process.open_logs.get_mut(&learner).filter(|open| open.attempt == attempt);
        let entries = open.and_then(|open| {
            // Its beginning may have gone with an old snapshot since.
            member.device.log_goes_on_from(open.at).filter(|from| *from == open.at)?;
            let mut entries = member.device.log_after(open.at, up_to, count);
            open.at = entries.last()?.zxid;
            for entry in &mut entries {
                entry.members = self.changes.get(&identity(&entry.bytes)).cloned();
            }
            Some(entries)
        });
        if unreadable {
            self.bad_pieces -= 1;
        }
        let entries = entries.filter(|_| !unreadable);
        self.trace.mark(if entries.is_some() { "DIFF from the log" } else { "a log could not be read" });
        self.later(at, Input::LogRead { learner, attempt, entries });
    }

    /// Begins to receive a snapshot, or goes on with the same file.
    pub(super) fn receive(&mut self, at: At, id: SnapshotRef) {
        let Some(process) = &mut self.members[at].process else { return };
        if process.incoming.as_ref().is_none_or(|incoming| incoming.id != id) {
            process.incoming = Some(Incoming { id, pieces: Vec::new(), whole: None });
        }
        let incoming = process.incoming.as_ref().expect("just made");
        let input = match incoming.whole {
            Some(_) => Input::Received { snapshot: id, done: true },
            None => Input::Receiving { snapshot: id, next: incoming.pieces.len() as u64 },
        };
        self.later(at, input);
    }

    pub(super) fn write_piece(&mut self, at: At, id: SnapshotRef, index: u64, bytes: Bytes) {
        let Some(process) = &mut self.members[at].process else { return };
        let incoming = process.incoming.as_mut().filter(|incoming| incoming.id == id);
        let Some(incoming) = incoming.filter(|incoming| index <= incoming.pieces.len() as u64) else {
            process.incoming = None;
            return self.later(at, Input::Received { snapshot: id, done: false });
        };
        if index == incoming.pieces.len() as u64 {
            incoming.pieces.push(bytes);
        }
        let next = incoming.pieces.len() as u64;
        if next < self.configuration.pieces {
            return self.later(at, Input::Receiving { snapshot: id, next });
        }
        incoming.whole = Snapshot::join(id, &incoming.pieces);
        let done = incoming.whole.is_some();
        if !done {
            process.incoming = None;
            self.trace.mark("a received snapshot was damaged");
        }
        self.later(at, Input::Received { snapshot: id, done });
    }

    /// The thread that carries snapshots reports in the order in which it was asked.
    fn later(&mut self, at: At, input: Input) {
        let us = self.disks.between(100, 30_000);
        let life = self.members[at].life;
        let Some(process) = &mut self.members[at].process else { return };
        process.courier_us = process.courier_us.max(self.agenda.now_us()) + us;
        self.agenda.at(process.courier_us, Happening::Later { at, life, input: Box::new(input) });
    }
}
