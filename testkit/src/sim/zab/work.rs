//! Clients: they ask some member for something, and that member has the leader give it a place in the order.

use bytes::{BufMut, Bytes};
use coordinator::zab::{Input, MemberId};

use super::World;
use super::agenda::{At, Happening};
use super::member::Request;
use super::state::identity;
use crate::check::service::Violation;
use crate::check::zab::Proposal;

impl World {
    pub(super) fn plan_work(&mut self) {
        let after_us = self.work.below(self.configuration.work_us * 2);
        self.agenda.after(after_us, Happening::Work);
    }

    /// A burst of requests at some member, and now and then a question whether it leads.
    pub(super) fn work(&mut self) {
        let at = self.work.below(self.members.len() as u64) as At;
        let count = self.work.between(1, self.configuration.burst);
        let asks = self.work.one_in(4);
        self.plan_work();
        for _ in 0..count {
            self.ask(at);
        }
        if asks {
            // Whoever asks does not know who leads.
            for at in 0..self.members.len() {
                self.ask_whether_it_leads(at);
            }
        }
    }

    /// One request at a member; the number of its payload, if it was taken.
    pub(super) fn ask(&mut self, at: At) -> Option<u64> {
        let member = &mut self.members[at];
        let process = member.process.as_mut().filter(|process| process.serves())?;
        let number = self.next_payload;
        self.next_payload += 1;
        let filler = self.work.below(self.configuration.payload_bytes) as usize;
        let mut payload = Vec::with_capacity(8 + filler);
        payload.put_u64(number);
        payload.resize(8 + filler, number as u8);
        let (origin, serial) = (member.id, member.next_serial);
        member.next_serial += 1;
        process.pending.insert(serial);
        process.requests.push_back(Request { origin, serial, bytes: payload.into() });
        let identity = process.requests.back().map(|request| identity(&request.bytes));
        self.plan_turn(at);
        identity
    }

    pub(super) fn ask_whether_it_leads(&mut self, at: At) {
        let agreed = self.ledger.agreed_count();
        let Some(process) = self.members[at].process.as_mut().filter(|process| process.leads()) else {
            return;
        };
        let ticket = process.next_ticket;
        process.next_ticket += 1;
        process.tickets.push_back((ticket, agreed));
        self.give(at, Input::Confirm { ticket });
    }

    /// What came in from clients, here or through other members.
    pub(super) fn propose_requests(&mut self, at: At, local_us: u64) -> Result<(), Violation> {
        let mut effects = Vec::new();
        while let Some(process) = &mut self.members[at].process
            && let Some(Request { origin, serial, bytes }) = process.requests.pop_front()
        {
            let id = self.members[at].id;
            let Some(process) = &mut self.members[at].process else { break };
            let leader = process.standing.leader(id);
            let Some(replica) = process.bare_replica() else { break };
            let proposed = replica.propose(local_us, origin, serial, bytes.clone(), &mut effects);
            if let Some(zxid) = proposed {
                let identity = identity(&bytes);
                self.ledger.proposed(zxid, Proposal { identity, leader: id, origin, serial })?;
                self.note(at, "propose", zxid.0, || format!("{zxid} for {origin}/{serial}"));
            } else if origin == id
                && let Some(leader) = leader
                && leader != id
            {
                let mut body = Vec::with_capacity(8 + bytes.len());
                body.put_u64(serial);
                body.put_slice(&bytes);
                let input = Input::Letter { to: leader, body: body.into() };
                replica.step(local_us, input, &mut effects);
            }
            self.carry_out(at, local_us, &mut effects)?;
        }
        Ok(())
    }

    /// From another member's server: a request, or the leader's word that it was proposed.
    pub(super) fn letter(&mut self, at: At, from: MemberId, body: &Bytes) {
        let id = self.members[at].id;
        let Some(process) = &mut self.members[at].process else { return };
        let Some((serial, bytes)) = body.split_first_chunk::<8>() else {
            self.trace.mark("a letter came back");
            return;
        };
        let serial = u64::from_be_bytes(*serial);
        let bytes = body.slice_ref(bytes);
        if process.leads() {
            process.requests.push_back(Request { origin: from, serial, bytes });
            if serial.is_multiple_of(16) {
                let body = Bytes::from_static(b"taken");
                process.inbox.push_back(Input::Letter { to: from, body });
                self.plan_turn(at);
            }
        } else {
            self.note(at, "refuse", serial, || format!("{from}/{serial}, {id} does not lead"));
        }
    }

    /// A member is asked to stop: it lets somebody else lead, and is gone soon.
    pub(super) fn hand_over(&mut self, at: At) -> Result<(), Violation> {
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return Ok(()) };
        process.retiring = true;
        if let Some(server) = process.server_mut() {
            server.member.service.stop();
        }
        if member.crash_in.is_none() {
            member.crash_in = Some((40 + self.faults.below(200), false));
        }
        self.give(at, Input::HandOver);
        Ok(())
    }
}
