//! One member, decisions only: what its clients ask, and its part in the agreed order, tied together.
//!
//! [`Service`] knows clients and the tree, [`Replica`] knows the other members; neither knows the other. What the service
//! proposes gets its place from the replica, or from the leader's; what the replica delivers is executed by the service.
//! A server alone is a member of an ensemble of one.

use std::collections::VecDeque;

use client::wire::zk::Zxid;

use crate::request::{Duty, Now, Proposal, Service};
use crate::tree::command::CommandError;
use crate::zab::{Effect, Entry, Input, MemberId, Replica, Standing};

/// One member.
///
/// Call order: `input` for what happens at the disk and at the links, the service's own methods for what clients do, and
/// `pump` at the end of each turn. What is left for the shell to do comes out in order.
#[derive(Debug)]
pub struct Member {
    pub service: Service,
    replica: Replica,
    alone: bool,
    /// What has to wait until the leader gives out places again.
    held: VecDeque<Proposal>,
    effects: Vec<Effect>,
    /// What executing led to, behind everything that led to executing.
    late: Vec<Effect>,
    delivered: u64,
    failure: Option<(Zxid, CommandError)>,
}

impl Member {
    pub fn new(service: Service, replica: Replica) -> Member {
        let membership = replica.membership();
        let alone = membership.ids().eq([replica.id()]);
        Member {
            service,
            replica,
            alone,
            held: VecDeque::new(),
            effects: Vec::new(),
            late: Vec::new(),
            delivered: 0,
            failure: None,
        }
    }

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Whether there are no other members.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Something happened at the disk, at a link, or time has passed.
    pub fn input(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.replica.step(now.monotonic_us, input, &mut effects);
        self.absorb(now, effects, out);
    }

    /// Ends a turn: what the service wants gets its way, and everybody is told what there is to tell.
    pub fn pump(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.held.extend(self.service.take_proposals());
        while let Some(proposal) = self.held.pop_front() {
            let Proposal { origin, serial, bytes } = proposal;
            let at = now.monotonic_us;
            let (origin, copy) = (MemberId(origin), bytes.clone());
            if self.replica.propose(at, origin, serial, bytes, &mut effects).is_none() {
                self.held.push_front(Proposal { origin: origin.0, serial, bytes: copy });
                break;
            }
        }
        let own = self.replica.id();
        let leader = self.replica.standing().leader(own);
        for (to, body) in self.service.take_letters() {
            if let Some(to) = to.map(MemberId).or(leader) {
                self.replica.step(now.monotonic_us, Input::Letter { to, body: body.into() }, &mut effects);
            }
        }
        if let Some(ticket) = self.service.take_confirm() {
            self.replica.step(now.monotonic_us, Input::Confirm { ticket }, &mut effects);
        }
        self.replica.flush(now.monotonic_us, &mut effects);
        self.absorb(now, effects, out);
    }

    /// Commands executed since the last call.
    pub fn take_delivered(&mut self) -> u64 {
        std::mem::take(&mut self.delivered)
    }

    /// A committed command that cannot be executed: this server must stop.
    pub fn take_failure(&mut self) -> Option<(Zxid, CommandError)> {
        self.failure.take()
    }

    fn absorb(&mut self, now: Now, mut effects: Vec<Effect>, out: &mut Vec<Effect>) {
        while !effects.is_empty() {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Deliver(entry) => self.execute(now, entry),
                    Effect::Stand(standing) => self.stand(now, standing),
                    Effect::Letter { from, body } => self.service.letter(from.0, &body, now),
                    Effect::Confirmed { ticket } => self.service.confirmed(ticket, now),
                    effect => out.push(effect),
                }
            }
            effects.append(&mut self.late);
        }
        self.effects = effects;
    }

    fn execute(&mut self, now: Now, entry: Entry) {
        let Entry { zxid, origin, serial, bytes, .. } = entry;
        let serial = (origin == self.replica.id()).then_some(serial);
        self.delivered += 1;
        if let Err(error) = self.service.committed(zxid, serial, &bytes, now) {
            self.failure.get_or_insert((zxid, error));
        }
        if !self.alone {
            let digest = self.service.tree().digest();
            // A leader may learn here that it is the one who is wrong.
            self.replica.step(now.monotonic_us, Input::Executed { zxid, digest }, &mut self.late);
        }
    }

    fn stand(&mut self, now: Now, standing: Standing) {
        let duty = match standing {
            Standing::Looking => Duty::Idle,
            Standing::Following { .. } | Standing::Observing { .. } => Duty::Following,
            Standing::Leading { .. } if self.alone => Duty::Alone,
            Standing::Leading { .. } => Duty::Leading,
        };
        if duty == Duty::Idle {
            self.held.clear();
        }
        self.service.stand(duty, now);
    }
}
