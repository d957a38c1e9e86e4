//! Members come and go while everything else goes on.

use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;
use coordinator::member::KnownMembers;
use coordinator::zab::{Input, MemberId, Membership, Voter, epoch_of};

use super::World;
use super::agenda::{At, Happening};
use super::state::{State, identity};
use crate::check::service::Violation;
use crate::check::zab::Proposal;

impl World {
    pub(super) fn plan_change(&mut self) {
        if self.configuration.change_us > 0 {
            let after_us = self.changing.below(self.configuration.change_us * 2);
            self.agenda.after(after_us, Happening::Change);
        }
    }

    /// Who the members are by what a state holds, where that was decided, and a change that may not be committed. A leader
    /// of a later epoch has everything before committed, before it gives out the first place of its own.
    pub(super) fn members_of(&self, at: At, state: &State) -> KnownMembers {
        let (since, configured) = &self.members[at].configured;
        if *since > state.zxid() {
            return KnownMembers::unchanged(Membership::clone(configured));
        }
        let mut changes = state.applied().iter().rev().filter_map(|applied| {
            self.changes.get(&applied.identity).map(|members| (applied.zxid, Membership::clone(members)))
        });
        let configured = || (Zxid::ZERO, self.configuration.membership.clone());
        let (changed_at, last) = changes.next().unwrap_or_else(configured);
        if changed_at == Zxid::ZERO || epoch_of(state.zxid()) > epoch_of(changed_at) {
            return KnownMembers { membership: last, at: changed_at, next: None };
        }
        let (at, before) = changes.next().unwrap_or_else(configured);
        KnownMembers { membership: before, at, next: Some((changed_at, last)) }
    }

    /// The state was built anew, and with it what it says about members.
    pub(super) fn tell_members(&mut self, at: At) {
        let Some(process) = &self.members[at].process else { return };
        if process.server().is_some() {
            // It tells its replica itself, with its tree.
            return;
        }
        if process.state.applied().iter().any(|applied| self.changes.contains_key(&applied.identity)) {
            let KnownMembers { membership, at: since, next } = self.members_of(at, &process.state);
            self.give(at, Input::Members { membership, at: since, next });
        }
    }

    pub(super) fn is_member(&self, id: MemberId) -> bool {
        self.members_now.contains(id)
    }

    /// Everybody's view of who the members are.
    pub(super) fn possible_members(&self) -> Vec<Membership> {
        let mut sets = vec![Membership::clone(&self.members_now)];
        if self.changes.is_empty() {
            return sets;
        }
        for (at, member) in self.members.iter().enumerate() {
            let known = self.members_of(at, &member.device.state());
            sets.push(known.membership);
            sets.extend(known.next.map(|(_, members)| members));
        }
        sets
    }

    /// Other members are proposed: by a client where there are some, else by the leader, if enough of them are in step already.
    pub(super) fn change(&mut self) -> Result<(), Violation> {
        self.plan_change();
        let (kind, pick) = (self.changing.below(6), self.changing.next_u64() as usize);
        if self.servers.is_some() {
            self.ask_for_members(kind, pick);
            return Ok(());
        }
        let now_us = self.agenda.now_us();
        let leader = self.members.iter().position(|member| {
            member.frozen_until_us <= now_us && member.process.as_ref().is_some_and(|process| process.leads())
        });
        let Some(at) = leader else { return Ok(()) };
        let (id, local_us) = (self.members[at].id, self.members[at].local_us(now_us));
        let Some(process) = &self.members[at].process else { return Ok(()) };
        if process.replica().is_changing_members() {
            return Ok(());
        }
        let Some(next) = self.others(process.replica().membership(), kind, pick) else { return Ok(()) };
        let learners = process.replica().learners();
        let in_step = |voter| voter == id || learners.iter().any(|(of, in_step, _)| *of == voter && *in_step);
        if !next.ids().any(|id| next.may_lead(id)) || !next.is_quorum(in_step) {
            return Ok(());
        }
        self.propose_change(at, local_us, next)
    }

    /// Members that differ from those of now in this way, if that is possible.
    pub(super) fn others(&self, now: &Membership, kind: u64, pick: usize) -> Option<Membership> {
        let mut next = now.clone();
        let all = self.members.iter().map(|member| member.id);
        let any = |of: Vec<MemberId>| (!of.is_empty()).then(|| of[pick % of.len()]);
        let stranger = any(all.filter(|id| !next.contains(*id)).collect());
        let voter = any(next.voters.keys().copied().collect());
        let observer = any(next.observers.iter().copied().collect());
        match (kind, stranger, voter, observer) {
            (0, Some(stranger), ..) => drop(next.voters.insert(stranger, Voter::default())),
            (1, _, Some(voter), _) => drop(next.voters.remove(&voter)),
            (2, Some(stranger), Some(voter), _) => {
                next.voters.remove(&voter);
                next.voters.insert(stranger, Voter::default());
            }
            (3, _, Some(voter), _) => {
                next.voters.remove(&voter);
                next.observers.insert(voter);
            }
            (4, _, _, Some(observer)) => {
                next.observers.remove(&observer);
                next.voters.insert(observer, Voter::default());
            }
            (5, Some(stranger), ..) => drop(next.observers.insert(stranger)),
            _ => return None,
        }
        Some(next)
    }

    /// A leader proposes other members, whatever comes of it.
    pub(super) fn propose_change(
        &mut self,
        at: At,
        local_us: u64,
        next: Membership,
    ) -> Result<(), Violation> {
        let member = &mut self.members[at];
        // No client waits for it.
        let (origin, serial) = (member.id, 0);
        let Some(process) = &mut member.process else { return Ok(()) };
        let bytes = Bytes::from(format!("members of {origin} in {}: {next:?}", self.events));
        let identity = identity(&bytes);
        self.changes.insert(identity, Arc::new(next.clone()));
        let mut effects = Vec::new();
        let Some(replica) = process.bare_replica() else { return Ok(()) };
        let asked = (origin, serial);
        if let Some(zxid) =
            replica.propose_with_members(local_us, asked, bytes, Some(next.clone()), &mut effects)
        {
            self.ledger.proposed(zxid, Proposal { identity, leader: origin, origin, serial })?;
            self.trace.mark("other members were proposed");
            self.note(at, "change", zxid.0, || format!("{zxid}: {next:?}"));
        }
        self.carry_out(at, local_us, &mut effects)?;
        self.plan_turn(at);
        Ok(())
    }
}
