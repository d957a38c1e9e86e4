//! A process wakes up, handles what has come in, and carries out what its replica wants done.

use std::cell::RefCell;
use std::sync::Arc;

use client::wire::zk::Zxid;
use coordinator::zab::message::Plan;
use coordinator::zab::{Effect, Entry, Input, MemberId, Message, Standing};

use super::World;
use super::agenda::{At, Happening};
use super::member::{Job, Process};
use super::state::identity;
use crate::check::service::{Violation, violation};
use crate::check::zab::Applied;

/// A member says how it votes when something changes, and a few times a second otherwise. More is a storm.
const NOTICES_PER_SECOND_MAX: u64 = 2_000;

impl World {
    pub(super) fn turn(&mut self, at: At) -> Result<(), Violation> {
        let now_us = self.agenda.now_us();
        let member = &mut self.members[at];
        let (life, local_us) = (member.life, member.local_us(now_us));
        let Some(process) = &mut member.process else { return Ok(()) };
        if member.frozen_until_us > now_us {
            self.agenda.at(member.frozen_until_us, Happening::Turn { at, life });
            return Ok(());
        }
        process.turn_planned = false;
        let count = process.inbox.len().min(self.configuration.turn_inputs as usize);
        if process.server().is_some() {
            return self.serve(at, local_us);
        }
        let mut effects = Vec::new();
        for _ in 0..count {
            let Some(process) = &mut self.members[at].process else { return Ok(()) };
            let Some(input) = process.inbox.pop_front() else { break };
            let Some(replica) = process.bare_replica() else { break };
            replica.step(local_us, input, &mut effects);
            self.carry_out(at, local_us, &mut effects)?;
        }
        self.propose_requests(at, local_us)?;
        let process = self.members[at].process.as_mut();
        let Some(replica) = process.and_then(Process::bare_replica) else { return Ok(()) };
        replica.flush(local_us, &mut effects);
        self.carry_out(at, local_us, &mut effects)?;
        if let Some(process) = &self.members[at].process
            && !process.inbox.is_empty()
        {
            self.plan_turn(at);
        }
        Ok(())
    }

    /// Does what the replica wants, and tells it what it executed. The process may die on the way.
    pub(super) fn carry_out(
        &mut self,
        at: At,
        local_us: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        while !effects.is_empty() {
            for effect in effects.drain(..) {
                match &mut self.members[at].crash_in {
                    Some((0, power)) => {
                        let power = *power;
                        return self.crash(at, power);
                    }
                    Some((more, _)) => *more -= 1,
                    None => {}
                }
                self.effect(at, effect)?;
            }
            let Some(process) = &mut self.members[at].process else { return Ok(()) };
            if let Some((zxid, digest)) = process.executed.take() {
                let input = Input::Executed { zxid, digest };
                match process.bare_replica() {
                    Some(replica) if self.configuration.executed_at_once => {
                        replica.step(local_us, input, effects);
                    }
                    _ => self.give(at, input),
                }
            }
        }
        Ok(())
    }

    fn effect(&mut self, at: At, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::Send(to, message) => self.send(at, to, message)?,
            Effect::Append(entry) => self.ask_log(at, Job::Append(entry)),
            Effect::SaveEpochs(epochs) => self.ask_log(at, Job::SaveEpochs(epochs)),
            Effect::Truncate(zxid) => self.ask_log(at, Job::Truncate(zxid)),
            Effect::Receive(snapshot) => self.receive(at, snapshot),
            Effect::WritePiece { snapshot, index, bytes } => self.write_piece(at, snapshot, index, bytes),
            Effect::Replace(zxid) => self.ask_log(at, Job::Replace(zxid)),
            Effect::OpenSnapshot { learner, attempt, at_least } => {
                self.open_snapshot(at, learner, attempt, at_least);
            }
            Effect::ReadPiece { learner, attempt, index } => self.read_piece(at, learner, attempt, index),
            Effect::OpenLog { learner, attempt, after } => self.open_log(at, learner, attempt, after),
            Effect::ReadLog { learner, attempt, up_to } => self.read_log(at, learner, attempt, up_to),
            Effect::CloseSource { learner } => self.close_source(at, learner),
            Effect::Deliver(entry) => self.deliver(at, &entry)?,
            Effect::Stand(standing) => self.stand(at, standing)?,
            Effect::Confirmed { ticket } => self.confirmed(at, ticket)?,
            Effect::Letter { from, body } => self.letter(at, from, &body),
            Effect::ResetLink(peer) => {
                let peer = self.at(peer);
                let notices_us = self.faults.below(5_000);
                self.network.reset(&mut self.agenda, at, peer, notices_us);
                self.note(at, "reset", peer as u64, || format!("member at {peer}"));
            }
            Effect::Diverged { .. } if self.members.iter().any(super::member::Member::is_spoiled) => {
                self.trace.mark("a member learned that it differs");
            }
            Effect::Diverged { zxid } => {
                return violation("C6", format!("{} is said to differ at {zxid}", self.members[at].id));
            }
        }
        Ok(())
    }

    fn send(&mut self, at: At, to: MemberId, message: Message) -> Result<(), Violation> {
        self.check_promise(at, &message)?;
        self.mark_message(at, &message);
        let peer = self.at(to);
        self.note(at, "send", peer as u64, || format!("to {to}: {message:?}"));
        let message = match self.configuration.encoded {
            false => message,
            true => match Message::decode(&message.encode()) {
                Ok(decoded) if decoded == message => decoded,
                other => return violation("codec", format!("{message:?} was read as {other:?}")),
            },
        };
        if self.network.send(&mut self.agenda, at, peer, message) {
            self.cut(at, peer);
        }
        Ok(())
    }

    /// What a member says about its disk must be true at that time.
    fn check_promise(&mut self, at: At, message: &Message) -> Result<(), Violation> {
        let member = &self.members[at];
        let (device, id) = (&member.device, member.id);
        match *message {
            Message::Ack { durable, .. } if Zxid(durable) > device.synced() => {
                violation("C3", format!("{id} acknowledges {}, synced is {}", Zxid(durable), device.synced()))
            }
            Message::InStep { epoch, .. } if device.epochs().current < epoch => violation(
                "C5",
                format!("{id} is in step with epoch {epoch}, on its disk is {:?}", device.epochs()),
            ),
            Message::Lead { epoch, .. } if device.epochs().accepted < epoch => {
                violation("C5", format!("{id} leads epoch {epoch}, on its disk is {:?}", device.epochs()))
            }
            Message::NewLeader { epoch, last, .. } => {
                self.ledger.begins(epoch, Zxid(last));
                Ok(())
            }
            Message::Notice { .. } => {
                let second = self.agenda.now_us() / 1_000_000;
                let (before, count) = member.notices;
                let count = if before == second { count + 1 } else { 1 };
                self.members[at].notices = (second, count);
                if count > NOTICES_PER_SECOND_MAX {
                    return violation("C15", format!("{id} said {count} times a second how it votes"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn mark_message(&mut self, at: At, message: &Message) {
        let name = match message {
            Message::Sync { plan: Plan::Diff, .. } => "DIFF",
            Message::Sync { plan: Plan::Truncate { .. }, .. } => "TRUNC",
            Message::Sync { plan: Plan::Snapshot { .. }, .. } => "SNAP",
            Message::Resign { .. } => "leadership handed over",
            Message::Rejoin { .. } => "a learner was told to begin anew",
            Message::Want { attempt, next, .. } => {
                let Some(process) = &mut self.members[at].process else { return };
                if process.receiving.replace(*attempt) == Some(*attempt) || *next == 0 {
                    return;
                }
                "SNAP resumed"
            }
            Message::Accept { counts: false, .. } => "an epoch was accepted twice",
            _ => return,
        };
        self.trace.mark(name);
    }

    pub(super) fn deliver(&mut self, at: At, entry: &Entry) -> Result<(), Violation> {
        let Entry { zxid, origin, serial, bytes, .. } = entry;
        let member = &mut self.members[at];
        let id = member.id;
        let Some(process) = &mut member.process else { return Ok(()) };
        process.state.execute(*zxid, identity(bytes));
        // A server tells its replica itself.
        let told = process.server().is_some();
        process.executed = (!told).then(|| (*zxid, process.state.digest() ^ u64::from(process.spoiled)));
        let answers = *origin == id && process.pending.remove(serial);
        let leads = process.leads();
        if member.device.synced() < *zxid {
            self.trace.mark(if leads {
                "committed before the leader's own sync"
            } else {
                "executed before the own sync"
            });
        }
        self.note(at, "deliver", zxid.0, || format!("{zxid} of {origin}/{serial}, answers: {answers}"));
        self.show(at)?;
        // A server's shell writes that down itself.
        if let Some(members) = self.changes.get(&identity(bytes)).filter(|_| !told) {
            self.members[at].configured = (*zxid, Arc::clone(members));
        }
        self.consider_snapshot(at);
        Ok(())
    }

    /// What this member executed may have been seen by anybody.
    fn show(&mut self, at: At) -> Result<(), Violation> {
        let Some(process) = &self.members[at].process else { return Ok(()) };
        let members_now = RefCell::new(Arc::clone(&self.members_now));
        let is_safe = |applied: &Applied| {
            let stored = |voter| {
                let mut members = self.members.iter();
                members.any(|member| member.id == voter && member.stored(applied.zxid, applied.identity))
            };
            let mut members_now = members_now.borrow_mut();
            // A change needs enough of those who were there, and of those who will be.
            let before = members_now.is_quorum(stored);
            match self.changes.get(&applied.identity) {
                None => before,
                Some(next) => {
                    *members_now = Arc::clone(next);
                    before && next.is_quorum(stored)
                }
            }
        };
        let mut known = process.known;
        let agreed = self.ledger.agreed_count();
        self.ledger.shown(self.members[at].id, process.state.applied(), &mut known, is_safe)?;
        self.members_now = members_now.into_inner();
        let Some(process) = &mut self.members[at].process else { return Ok(()) };
        process.known = known;
        if let Some(servers) = &mut self.servers {
            for applied in process.state.applied().iter().skip(agreed) {
                servers.agreed(applied.zxid, applied.identity)?;
            }
        }
        Ok(())
    }

    pub(super) fn stand(&mut self, at: At, standing: Standing) -> Result<(), Violation> {
        let member = &mut self.members[at];
        let (id, life) = (member.id, member.life);
        let Some(process) = &mut member.process else { return Ok(()) };
        let before = std::mem::replace(&mut process.standing, standing);
        let number = match standing {
            Standing::Looking => 0,
            Standing::Following { epoch, .. } | Standing::Observing { epoch, .. } => u64::from(epoch),
            Standing::Leading { epoch } => u64::from(epoch) << 32,
        };
        self.note(at, "stand", number, || format!("{standing:?}"));
        match (before, standing) {
            (_, Standing::Looking) => {
                let Some(process) = &mut self.members[at].process else { return Ok(()) };
                process.tickets.clear();
                process.pending.clear();
                if let Standing::Leading { .. } = before {
                    self.trace.mark("a leader was deposed");
                }
                return Ok(());
            }
            (Standing::Leading { .. }, Standing::Leading { .. }) => self.trace.mark("epoch rolled over"),
            (_, Standing::Leading { .. }) if self.ledger.agreed_count() == 0 => {
                self.trace.mark("empty members began");
            }
            _ => {}
        }
        self.show(at)?;
        if let Standing::Leading { epoch } = standing {
            let Some(process) = &self.members[at].process else { return Ok(()) };
            self.ledger.leads(id, life, epoch, process.state.applied())?;
            self.trace.mark("a leader was established");
        }
        Ok(())
    }

    /// The leader is sure that it led when it was asked: so it knows everything that was agreed on by then.
    fn confirmed(&mut self, at: At, ticket: u64) -> Result<(), Violation> {
        let id = self.members[at].id;
        let Some(process) = &mut self.members[at].process else { return Ok(()) };
        if ticket >= process.next_ticket {
            return violation("C8", format!("{id}: ticket {ticket} was never given"));
        }
        while let Some((asked, agreed)) = process.tickets.front().copied()
            && asked <= ticket
        {
            process.tickets.pop_front();
            if process.known < agreed {
                let known = process.known;
                return violation(
                    "C8",
                    format!(
                        "{id} confirms ticket {asked}, has {known} of {agreed} entries that were agreed on"
                    ),
                );
            }
            self.trace.mark("leadership confirmed");
        }
        self.note(at, "confirmed", ticket, || ticket.to_string());
        Ok(())
    }
}
