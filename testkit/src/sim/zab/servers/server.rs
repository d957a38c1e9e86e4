//! A whole server in a process: its turn, what it executes, and what its clients are sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use client::wire::zk::Zxid;
use client::wire::zk::reply::XID_NOTIFICATION;
use coordinator::member;
use coordinator::request::letter::{self, Letter};
use coordinator::request::{Duty, Now, Service};
use coordinator::tree::Tree;
use coordinator::tree::command::{Command, Op};
use coordinator::tree::watches::ConnectionId;
use coordinator::zab::{Effect, Entry, MemberId, Message, Replica};

use super::super::agenda::At;
use super::super::{Proposal, World};
use super::promises::is_expiry;
use super::workload::ADDRESS;
use super::{Planted, membership};
use crate::check::service::{Violation, answer, violation};
use crate::sim::random::Random;
use crate::sim::solo::Configuration as Solo;

/// As in the real server: how often sessions are looked at.
const TICK_US: u64 = 50_000;

/// Deadlines of sessions come in such steps.
const SESSION_TICK_MS: u64 = 200;

/// One server.
#[derive(Debug)]
pub(in crate::sim::zab) struct Server {
    pub(in crate::sim::zab) member: member::Member,
    /// Whom it connects to.
    pub(super) links: BTreeSet<MemberId>,
    /// Appended in this life and not executed yet.
    unexecuted: VecDeque<Entry>,
    /// What reached the machine and was not read yet: frames, and ends of connections.
    pub(super) arrived: VecDeque<(u64, Option<Vec<u8>>)>,
    /// Connections of this life, with the frames that have to wait; for ever, if it was closed.
    doors: BTreeMap<u64, VecDeque<Vec<u8>>>,
    ticks_us: u64,
    /// With a mistake built in: requests that have their answers.
    answered: Vec<(u64, i32)>,
    /// With a mistake built in: what the config node said when it was read first.
    config_shown: Option<Vec<u8>>,
}

fn now(local_us: u64) -> Now {
    Now { monotonic_us: local_us, wall_ms: 1_000_000 + local_us as i64 / 1000 }
}

/// The frames in what a server sends.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some((length, _)) = bytes.split_first_chunk::<4>() {
        let (frame, rest) = bytes.split_at(4 + u32::from_be_bytes(*length) as usize);
        all.push(frame.to_vec());
        bytes = rest;
    }
    all
}

fn xid_of(frame: &[u8]) -> Option<i32> {
    frame.get(4..)?.first_chunk().map(|xid| i32::from_be_bytes(*xid))
}

/// With a mistake built in: an answer that shows the config node shows what the first one did.
fn show_first_config(first: &mut Option<Vec<u8>>, frame: &mut [u8]) {
    // Behind the lengths of frame and data, and a reply's header.
    const DATA_AT: usize = 4 + 16 + 4;
    let is_config = frame.get(DATA_AT..).is_some_and(|data| data.starts_with(b"server."));
    if !is_config {
        return;
    }
    let first = first.get_or_insert_with(|| frame[DATA_AT..].to_vec());
    if first.len() == frame.len() - DATA_AT {
        frame[DATA_AT..].copy_from_slice(first);
    }
}

impl World {
    /// What runs in a process whose replica and tree are these.
    pub(in crate::sim::zab) fn server(&mut self, at: At, replica: Replica, tree: Tree) -> Server {
        let (id, local_us) = (self.members[at].id, self.members[at].local_us(self.agenda.now_us()));
        let (links, files) = (self.links_of(at, &tree), membership::text(&self.members[at].configured.1));
        let servers = self.servers.as_mut().expect("only asked where whole servers run");
        let mut settings = Solo::draw(&mut Random::new(self.seed)).settings();
        settings.server_id = id.0;
        settings.session.tick = Duration::from_millis(SESSION_TICK_MS);
        settings.session.timeout_min = Duration::from_millis(servers.serving.session_ms);
        settings.session.timeout_max = settings.session.timeout_min;
        settings.tree.enforce_quota = false;
        (settings.session.local, settings.session.upgrade_local) =
            (servers.serving.local, servers.serving.local);
        (settings.reconfig_enabled, settings.auth.skip_acl) = (true, !servers.serving.secrets);
        settings.members_text = Some(files);
        let seed = std::array::from_fn(|_| servers.seeds.next_u64() as u8);
        let service = Service::new(settings, tree, seed, now(local_us));
        Server {
            member: member::Member::new(service, replica),
            links,
            unexecuted: VecDeque::new(),
            arrived: VecDeque::new(),
            doors: BTreeMap::new(),
            ticks_us: local_us,
            answered: Vec::new(),
            config_shown: None,
        }
    }

    /// A server handles what has come in, in the order of the real one: members and disk, clients, time, and what follows.
    pub(in crate::sim::zab) fn serve(&mut self, at: At, local_us: u64) -> Result<(), Violation> {
        let mut effects = Vec::new();
        for _ in 0..self.configuration.turn_inputs {
            let Some(process) = &mut self.members[at].process else { return Ok(()) };
            let Some(input) = process.inbox.pop_front() else { break };
            let Some(server) = process.server_mut() else { return Ok(()) };
            server.member.input(now(local_us), input, &mut effects);
            self.follow(at, local_us, &mut effects)?;
        }
        let most = self.configuration.turn_inputs;
        let Some(server) = self.server_at(at) else { return Ok(()) };
        server.take_arrived(local_us);
        server.read(local_us, most);
        self.let_time_pass(at, local_us);
        let Some(server) = self.server_at(at) else { return Ok(()) };
        server.member.pump(now(local_us), &mut effects);
        self.lose_identities(&mut effects);
        self.follow(at, local_us, &mut effects)?;
        self.note_members(at)?;
        self.send_replies(at)?;
        let Some(process) = &self.members[at].process else { return Ok(()) };
        let waits = process.server().is_some_and(Server::has_to_read);
        if waits || !process.inbox.is_empty() {
            self.plan_turn(at);
        }
        Ok(())
    }

    pub(super) fn server_at(&mut self, at: At) -> Option<&mut Server> {
        self.members[at].process.as_mut()?.server_mut()
    }

    fn let_time_pass(&mut self, at: At, local_us: u64) {
        let Some(mistake) = self.servers.as_ref().map(|servers| servers.mistake) else { return };
        let Some(server) = self.server_at(at) else { return };
        let service = &mut server.member.service;
        if mistake == Some(Planted::SyncUnconfirmed)
            && let Some(ticket) = service.take_confirm()
        {
            service.confirmed(ticket, now(local_us));
        }
        if server.ticks_us > local_us {
            return;
        }
        server.ticks_us = local_us + TICK_US;
        let skipped = match mistake {
            Some(Planted::TouchesLost) => service.duty() == Duty::Following,
            Some(Planted::NoExpiry) => service.duty() == Duty::Leading,
            _ => false,
        };
        if !skipped {
            service.tick(now(local_us));
        }
    }

    /// Sees what a member did, and carries out what it wants.
    fn follow(&mut self, at: At, local_us: u64, effects: &mut Vec<Effect>) -> Result<(), Violation> {
        for effect in effects.iter() {
            match effect {
                Effect::Append(entry) => self.see_appended(at, entry)?,
                Effect::Truncate(zxid) => {
                    if let Some(server) = self.server_at(at) {
                        server.unexecuted.retain(|entry| entry.zxid <= *zxid);
                    }
                }
                Effect::Replace(_) => {
                    if let Some(server) = self.server_at(at) {
                        server.unexecuted.clear();
                    }
                }
                _ => {}
            }
        }
        self.answer_syncs_alone(at, local_us, effects);
        self.see_executed(at)?;
        self.carry_out(at, local_us, effects)
    }

    fn see_appended(&mut self, at: At, entry: &Entry) -> Result<(), Violation> {
        let identity = self.learn(&entry.bytes);
        let id = self.members[at].id;
        // The numbers of a server's requests begin anew with its process; clients check their order.
        let proposal = Proposal { identity, leader: id, origin: entry.origin, serial: 0 };
        let is_new = self.ledger.appended(entry.zxid, proposal)?;
        if let Some(server) = self.server_at(at) {
            server.unexecuted.push_back(entry.clone());
        }
        let Ok(command) = Command::decode(&entry.bytes) else { return Ok(()) };
        let said = match command.op {
            Op::Members { text, dynamic: true } => Some(membership::read(text)?),
            _ => None,
        };
        if entry.members.as_deref() != said.as_ref() {
            let what =
                format!("{id} takes {:?} for the members of {}, not {said:?}", entry.members, entry.zxid);
            return violation("C14", what);
        }
        if let Some(members) = &entry.members {
            self.changes.insert(identity, Arc::clone(members));
        }
        match is_new && command.op == Op::CloseSession {
            true => self.see_ending(&command),
            false => Ok(()),
        }
    }

    /// A leader wants to end a session: because its client asked for that, or was silent for so long.
    fn see_ending(&mut self, command: &Command<'_>) -> Result<(), Violation> {
        let (id, now_us) = (command.session, self.agenda.now_us());
        let Some(servers) = &mut self.servers else { return Ok(()) };
        let timeout_us = servers.serving.session_ms * 1000;
        let Some(session) = servers.promises.session(id) else { return Ok(()) };
        session.ending = true;
        if !is_expiry(command) {
            return Ok(());
        }
        let on = servers.clients.iter().find_map(|client| client.is_on_since(id));
        if let (Some(calm_us), Some((member, on_us))) = (servers.calm_us, on)
            && !self.members[member].abandoned
            // Others may be without a leader.
            && self.members_now.contains(self.members[member].id)
            && now_us > calm_us.max(on_us) + timeout_us
        {
            let since_s = (now_us - calm_us.max(on_us)) as f64 / 1e6;
            return violation(
                "C10",
                format!(
                    "session {id:#x} expires, and its client pinged without hindrance for {since_s:.1} s"
                ),
            );
        }
        self.trace.mark("a session expired");
        Ok(())
    }

    fn see_executed(&mut self, at: At) -> Result<(), Violation> {
        loop {
            let Some(server) = self.server_at(at) else { return Ok(()) };
            let zxid = server.member.service.tree().zxid();
            let Some(entry) = server.unexecuted.pop_front_if(|entry| entry.zxid <= zxid) else { break };
            self.deliver(at, &entry)?;
            self.answer_early(at, entry.zxid);
        }
        let id = self.members[at].id;
        let Some(process) = &mut self.members[at].process else { return Ok(()) };
        let (applied, before) = (process.state.zxid(), process.standing);
        let Some(server) = process.server_mut() else { return Ok(()) };
        let tree = server.member.service.tree();
        let (zxid, digest) = (tree.zxid(), tree.digest());
        if let Some((zxid, error)) = server.member.take_failure() {
            return violation("C7", format!("{id} cannot execute what is at {zxid}: {error}"));
        }
        if zxid != applied {
            return violation("C1", format!("{id} has executed {zxid}, its log leads to {applied}"));
        }
        server.member.take_delivered();
        let standing = server.member.replica().standing();
        if let Some(servers) = &mut self.servers
            && servers.promises.at(zxid).is_some()
            && self.ledger.is_agreed(zxid)
        {
            servers.promises.compare_digest(zxid, digest)?;
        }
        match standing == before {
            true => Ok(()),
            false => self.stand(at, standing),
        }
    }

    /// The state was built anew from the disk, and with it the tree.
    pub(in crate::sim::zab) fn rebuild_tree(&mut self, at: At) -> Result<(), Violation> {
        let local_us = self.members[at].local_us(self.agenda.now_us());
        let Some(servers) = &self.servers else { return Ok(()) };
        let Some(process) = &mut self.members[at].process else { return Ok(()) };
        let tree = servers.tree_of(&process.state)?;
        let zxid = process.state.zxid();
        let Some(server) = process.server_mut() else { return Ok(()) };
        server.member.service.replace_tree(tree, now(local_us));
        let mut effects = Vec::new();
        server.member.tree_replaced(now(local_us), zxid, &mut effects);
        self.trace.mark("a tree was built anew");
        self.follow(at, local_us, &mut effects)
    }

    /// Everything that clients are to be sent is on its way.
    fn send_replies(&mut self, at: At) -> Result<(), Violation> {
        let plants = |planted| self.servers.as_ref().is_some_and(|servers| servers.plants(planted));
        let (late_events, old_config) = (plants(Planted::EventAfterReply), plants(Planted::ConfigReadOnce));
        let Some(server) = self.server_at(at) else { return Ok(()) };
        let mut out = Vec::new();
        let mut all = Vec::new();
        for ConnectionId(id) in server.member.service.take_noted() {
            let service = &mut server.member.service;
            service.take_output(ConnectionId(id), &mut out);
            service.sent(out.len());
            let mut frames = frames(&out);
            if late_events {
                frames.sort_by_key(|frame| xid_of(frame) == Some(XID_NOTIFICATION));
            }
            frames.retain(|frame| !xid_of(frame).is_some_and(|xid| server.answered.contains(&(id, xid))));
            if old_config {
                frames.iter_mut().for_each(|frame| show_first_config(&mut server.config_shown, frame));
            }
            let closing = service.is_closing(ConnectionId(id));
            if closing {
                service.disconnect(ConnectionId(id));
            }
            all.push((id, frames, closing));
        }
        for (id, frames, closing) in all {
            for frame in frames {
                self.send_to_client(id, Some(frame));
            }
            if closing {
                self.send_to_client(id, None);
            }
        }
        Ok(())
    }

    /// With a mistake built in: what a follower asks its leader for a `sync` is answered by itself.
    fn answer_syncs_alone(&mut self, at: At, local_us: u64, effects: &[Effect]) {
        if !self.servers.as_ref().is_some_and(|servers| servers.plants(Planted::SyncUnconfirmed)) {
            return;
        }
        let Some(server) = self.server_at(at) else { return };
        let service = &mut server.member.service;
        for effect in effects {
            let Effect::Send(leader, Message::Letter { body, .. }) = effect else { continue };
            for letter in letter::decode(&body.0).into_iter().flatten() {
                if let Letter::Sync { serial } = letter {
                    let synced = Letter::Synced { serial, zxid: service.tree().zxid().0 };
                    service.letter(leader.0, &letter::encode(&[synced]), now(local_us));
                }
            }
        }
    }

    /// With a mistake built in: the leader is told where clients are, but not who.
    fn lose_identities(&self, effects: &mut [Effect]) {
        if !self.servers.as_ref().is_some_and(|servers| servers.plants(Planted::IdentitiesLost)) {
            return;
        }
        for effect in effects {
            let Effect::Send(_, Message::Letter { body, .. }) = effect else { continue };
            let Some(mut letters) = letter::decode(&body.0) else { continue };
            for letter in &mut letters {
                if let Letter::Forward { command: bytes, .. } = letter
                    && let Ok(mut command) = Command::decode(bytes)
                {
                    command.identities.retain(|identity| identity.scheme == "ip");
                    let less = command.encode();
                    *bytes = less;
                }
            }
            body.0 = letter::encode(&letters).into();
        }
    }

    /// With a mistake built in: whoever waits at another member for what was executed here has its answer at once.
    pub(in crate::sim::zab) fn answer_early(&mut self, at: At, zxid: Zxid) {
        let Some(servers) =
            self.servers.as_mut().filter(|servers| servers.plants(Planted::AnswerBeforeExecuted))
        else {
            return;
        };
        let Some((session, link, index)) = servers.promises.asker(zxid.0) else { return };
        let Some(member) = servers.links.get(&link).map(|link| link.at).filter(|member| *member != at) else {
            return;
        };
        let mut clients = servers.clients.iter();
        let waiting = clients.find_map(|client| client.waits_for(link, session, index));
        if let (Some((xid, request)), Some(outcome)) = (waiting, servers.promises.outcome(zxid.0)) {
            let frame = answer(xid, zxid.0 as i64, request, outcome);
            if let Some(server) = self.server_at(member)
                && server.member.service.tree().zxid() < zxid
                && !server.answered.contains(&(link, xid))
            {
                server.answered.push((link, xid));
                self.send_to_client(link, Some(frame));
            }
        }
    }
}

impl Server {
    /// Connections begin and end, and frames queue up behind them.
    fn take_arrived(&mut self, local_us: u64) {
        while let Some((id, frame)) = self.arrived.pop_front() {
            let service = &mut self.member.service;
            match frame {
                Some(frame) => {
                    if !self.doors.contains_key(&id) {
                        service.connect(ConnectionId(id), (ADDRESS, 1), false, Vec::new(), now(local_us));
                    }
                    self.doors.entry(id).or_default().push_back(frame);
                }
                None => {
                    if self.doors.remove(&id).is_some() {
                        service.disconnect(ConnectionId(id));
                    }
                }
            }
        }
    }

    /// Reads some frames of everybody from whom more may be read.
    fn read(&mut self, local_us: u64, most: u64) {
        let service = &mut self.member.service;
        for (id, frames) in &mut self.doors {
            for _ in 0..most {
                if !service.may_read(ConnectionId(*id)) {
                    break;
                }
                let Some(frame) = frames.pop_front() else { break };
                service.frame(ConnectionId(*id), &frame, now(local_us));
            }
        }
    }

    fn has_to_read(&self) -> bool {
        let mut doors = self.doors.iter();
        doors.any(|(id, frames)| !frames.is_empty() && self.member.service.may_read(ConnectionId(*id)))
    }
}
