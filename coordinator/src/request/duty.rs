//! What a server is to the others: it leads, follows, or is alone; and what it does then for their clients and its own.
//!
//! A follower answers reads itself. Writes, sessions that come from elsewhere and `sync` go to the leader. When a server
//! is out of step, nothing is read from its clients; whoever waits for an answer that may never come is sent away at once,
//! the others only if it takes long.

use std::collections::{BTreeMap, BTreeSet};

use client::wire::zk::{ConnectRequest, ConnectResponse, ErrorCode, Request, SessionId, Zxid};

use super::auth::is_session_password;
use super::command;
use super::connection::{Phase, Waiting};
use super::letter::{self, Letter};
use super::session_clock::SessionClock;
use super::{MembersChange, Now, Proposal, Rules, Service};
use crate::tree::command::{Command, Op};
use crate::tree::watches::ConnectionId;

/// What a server is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duty {
    /// It is not in step with a leader: it serves nobody.
    #[default]
    Idle,
    /// There are no others.
    Alone,
    Leading,
    Following,
}

/// A server that finds no leader keeps idle connections for so long.
const IDLE_PATIENCE_US: u64 = 2_000_000;

/// Sessions in one message that tells the leader of signs of life.
const TOUCHES_MAX: usize = 50_000;

/// Somebody who waits until this leader knows that it still leads.
#[derive(Debug)]
pub(super) struct Doubt {
    ticket: u64,
    /// The server that asked; `None` is this one.
    server: Option<u8>,
    serial: u64,
    zxid: Zxid,
}

/// Who wants to take up a session.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    Connection(ConnectionId),
    /// Another server, for a connection of its own.
    Server {
        id: u8,
        serial: u64,
    },
}

/// What ties a server to the others.
#[derive(Debug, Default)]
pub(super) struct Ties {
    pub(super) duty: Duty,
    /// Whether this process has made itself known in the log.
    pub(super) registered: bool,
    idle_since_us: u64,
    /// There was no leader for so long that clients were sent away.
    given_up: bool,
    /// To a server, or to the leader.
    letters: BTreeMap<Option<u8>, Vec<Letter>>,
    /// Which server a session is on. Only the leader knows for certain; the others, who may be leaders next, know from where
    /// its last write came.
    pub(super) owners: BTreeMap<SessionId, u8>,
    /// As leader: from which servers writes of a session were refused. What their connections sent behind those is refused, too.
    pub(super) refused: BTreeMap<SessionId, BTreeSet<u8>>,
    /// As leader: sessions whose beginning is on its way through the log.
    pub(super) beginning: BTreeSet<SessionId>,
    /// As follower: sessions that gave a sign of life.
    touched: BTreeSet<SessionId>,
    /// Connections whose session the leader has to know.
    reattaching: BTreeMap<u64, (ConnectionId, SessionId)>,
    /// As leader: who wants to take up a session whose end is on its way through the log.
    waiting_for_ends: Vec<(SessionId, Asker)>,
    doubts: std::collections::VecDeque<Doubt>,
    next_ticket: u64,
    /// As leader: a change of the members is on its way.
    pub(super) changing_members: bool,
    /// As leader: the feature level that is on its way.
    raising: u16,
    confirm: Option<u64>,
    /// Connections that wait for a `sync`, in the order of their serials.
    syncs: std::collections::VecDeque<(u64, ConnectionId)>,
    /// Answers that wait until this server is that far.
    synced: std::collections::VecDeque<(Zxid, u64)>,
}

impl Service {
    /// Whether this server is configured as a member of an ensemble.
    pub fn is_member(&self) -> bool {
        self.settings.members_text.is_some()
    }

    pub fn duty(&self) -> Duty {
        self.ties.duty
    }

    /// What this server is to the others has changed.
    pub fn stand(&mut self, duty: Duty, now: Now) {
        if duty == self.ties.duty {
            return;
        }
        self.let_go(now);
        self.ties.duty = duty;
        let tick_ms = self.settings.session.tick.as_millis() as u64;
        self.clock = SessionClock::new(tick_ms, now.monotonic_ms());
        self.local.renew();
        match duty {
            Duty::Idle => return,
            Duty::Following => {}
            Duty::Alone | Duty::Leading => {
                // Whoever lived under the leader before gets all of its time again.
                for (id, session) in self.tree.sessions().iter() {
                    self.clock.add(id, session.timeout_ms);
                }
            }
        }
        if self.ties.registered {
            self.serving = true;
            self.go_on();
        } else {
            self.start(now);
        }
        if duty == Duty::Leading {
            self.write_down_members(now);
            if !self.settings.leader_serves {
                self.clients.close_all();
            }
        }
    }

    /// Nobody's wishes go on: what was asked may have happened or not, and only a new connection can find out.
    fn let_go(&mut self, now: Now) {
        self.serving = false;
        let waits = |waiting: &Waiting| !matches!(waiting, Waiting::Behind { .. } | Waiting::Held { .. });
        let uncertain: Vec<ConnectionId> = self
            .clients
            .map
            .iter()
            .filter(|(_, connection)| {
                connection.is_read_only()
                    || matches!(connection.phase, Phase::Opening | Phase::Leaving)
                    || connection.waiting.iter().any(waits)
            })
            .map(|(id, _)| *id)
            .collect();
        uncertain.into_iter().for_each(|id| self.clients.close(id));
        self.pending.clear();
        self.proposals.clear();
        self.ending.clear();
        self.reaping.clear();
        let Ties { registered, next_ticket, owners, .. } = std::mem::take(&mut self.ties);
        let idle_since_us = now.monotonic_us;
        self.ties = Ties { registered, next_ticket, owners, idle_since_us, ..Ties::default() };
    }

    /// Sends idle clients away when it takes too long; they may find a better server.
    pub(super) fn lose_patience(&mut self, now: Now) {
        let waited_us = now.monotonic_us.saturating_sub(self.ties.idle_since_us);
        let patience_us = IDLE_PATIENCE_US.max(self.settings.session.tick.as_micros() as u64);
        if self.ties.duty == Duty::Idle && waited_us > patience_us && !self.ties.given_up {
            self.ties.given_up = true;
            self.clients.close_all();
        }
    }

    // ---- Old data, for those who ask for it ----

    /// Whether old data is served to clients that accept it: there was no leader for some time.
    pub fn is_read_only(&self) -> bool {
        self.settings.read_only_mode && self.ties.given_up
    }

    /// Whether a client can be served old data.
    pub(super) fn may_read_only(&self, request: &ConnectRequest<'_>) -> bool {
        self.is_read_only()
            && request.read_only == Some(true)
            && request.last_zxid_seen <= self.tree.zxid().to_wire()
    }

    /// Serves a session that everybody knows, without keeping it alive; or opens one that only this server knows, as long as
    /// the connection lasts.
    pub(super) fn open_read_only(&mut self, id: ConnectionId, request: &ConnectRequest<'_>) {
        let timeout_ms = self.negotiate(request.timeout_ms);
        if let Some(connection) = self.clients.get_mut(id) {
            connection.timeout_ms = timeout_ms;
            connection.read_only = Some(true);
        }
        let server = u64::from(self.settings.server_id) << 56;
        let session = request.session;
        if session == SessionId::NONE {
            self.next_session += 1;
            let session = SessionId((server | 0xff_ffff << 32 | u64::from(self.next_session)) as i64);
            self.attach(id, session);
        } else if !is_session_password(self.tree.secret(), session, request.password) {
            self.tell_expired(id);
        } else if self.tree.sessions().get(session).is_some() {
            self.replace_connection(id, session);
        } else if session.0 as u64 >> 56 == server >> 56 {
            // It began here, and is over: it was local, and went with the leader.
            self.tell_expired(id);
        } else {
            // It may have begun after the last that this server heard.
            self.clients.close(id);
        }
    }

    /// Whether everybody knows this connection's session.
    fn is_known(&self, id: ConnectionId) -> bool {
        self.clients.get(id).is_some_and(|connection| self.tree.sessions().get(connection.session).is_some())
    }

    /// Reads are answered from what there is; everything else has to wait for a quorum.
    pub(super) fn read_only_request(
        &mut self,
        id: ConnectionId,
        xid: i32,
        request: Option<&Request<'_>>,
        frame: &[u8],
        now: Now,
    ) {
        match request {
            Some(Request::CloseSession) if !self.is_known(id) => {
                self.clients.reply(id, xid, self.tree.zxid().to_wire(), |_| {});
                self.clients.close(id);
            }
            Some(request)
                if command::is_write(request)
                    || matches!(
                        request,
                        Request::Sync { .. } | Request::Reconfig { .. } | Request::CloseSession
                    ) =>
            {
                self.clients.reply_error(id, xid, self.tree.zxid().to_wire(), ErrorCode::NotReadOnly);
            }
            _ => self.answer_in_turn(id, frame, now),
        }
    }

    /// Whether deadlines of sessions are this server's business.
    pub(super) fn keeps_time(&self) -> bool {
        matches!(self.ties.duty, Duty::Alone | Duty::Leading)
    }

    pub(super) fn touch(&mut self, session: SessionId) {
        if self.local.contains(session) {
            self.local.touch(session);
        } else if self.ties.duty == Duty::Following {
            self.ties.touched.insert(session);
        } else {
            self.clock.touch(session);
        }
    }

    /// Tells the leader of signs of life.
    pub(super) fn report_touches(&mut self) {
        if self.ties.duty != Duty::Following || self.ties.touched.is_empty() {
            return;
        }
        let touched = std::mem::take(&mut self.ties.touched);
        let sessions: Vec<i64> = touched.into_iter().map(|session| session.0).collect();
        for sessions in sessions.chunks(TOUCHES_MAX) {
            self.send_letter(None, Letter::Touch { sessions: sessions.to_vec() });
        }
    }

    pub(super) fn send_letter(&mut self, to: Option<u8>, letter: Letter) {
        self.ties.letters.entry(to).or_default().push(letter);
    }

    /// Messages for other servers; to the leader, where no server is named.
    pub fn take_letters(&mut self) -> Vec<(Option<u8>, Vec<u8>)> {
        if self.ties.letters.is_empty() {
            return Vec::new();
        }
        let letters = std::mem::take(&mut self.ties.letters);
        letters.into_iter().map(|(to, letters)| (to, letter::encode(&letters))).collect()
    }

    /// The highest ticket that wants this server's leadership confirmed, see [`Service::confirmed`].
    pub fn take_confirm(&mut self) -> Option<u64> {
        self.ties.confirm.take()
    }

    /// Another server's message has come.
    pub fn letter(&mut self, from: u8, bytes: &[u8], now: Now) {
        let Some(letters) = letter::decode(bytes) else {
            tracing::warn!(server = from, "a message from another server cannot be read");
            return;
        };
        for letter in letters {
            match (self.ties.duty, letter) {
                (Duty::Leading, Letter::Forward { serial, command }) => {
                    self.forwarded(from, serial, &command, now);
                }
                (Duty::Leading, Letter::Revalidate { serial, session, timeout_ms }) => {
                    let session = SessionId(session);
                    let asker = Asker::Server { id: from, serial };
                    if self.may_go_on(session, timeout_ms, asker) {
                        self.ties.owners.insert(session, from);
                        if let Some(servers) = self.ties.refused.get_mut(&session) {
                            servers.remove(&from);
                        }
                        self.send_letter(Some(from), Letter::Revalidated { serial, alive: true });
                    }
                }
                (Duty::Leading, Letter::Touch { sessions }) => {
                    sessions.into_iter().for_each(|session| self.clock.touch(SessionId(session)));
                }
                (Duty::Leading, Letter::Sync { serial }) => self.doubt(Some(from), serial),
                (Duty::Following, Letter::Refused { serial }) => self.refused(serial),
                (Duty::Following, Letter::Revalidated { serial, alive }) => {
                    self.revalidated(serial, alive);
                }
                (Duty::Following, Letter::Synced { serial, zxid }) => {
                    self.ties.synced.push_back((Zxid(zxid), serial));
                    self.answer_syncs(now);
                }
                // From before this server's duty changed.
                _ => {}
            }
        }
    }

    /// Proposes what another server's client wants, as of this leader's clock.
    fn forwarded(&mut self, from: u8, serial: u64, bytes: &[u8], now: Now) {
        let Ok(mut command) = Command::decode(bytes) else {
            tracing::warn!(server = from, "another server forwards a command that cannot be read");
            return self.send_letter(Some(from), Letter::Refused { serial });
        };
        let session = SessionId(command.session);
        match command.op {
            Op::Start { .. } => {}
            Op::CreateSession { .. } => {
                self.ties.owners.insert(session, from);
            }
            // Whoever knows the password may end a session, wherever it lives by now; but not in place of what was asked before.
            Op::CloseSession if self.is_refused(session, from) => {
                return self.send_letter(Some(from), Letter::Refused { serial });
            }
            Op::CloseSession => {
                self.ending.insert(session);
            }
            _ if command.rules.local_session => {}
            _ if !self.is_on(session, from) => {
                if self.tree.sessions().contains(session) {
                    self.ties.refused.entry(session).or_default().insert(from);
                }
                return self.send_letter(Some(from), Letter::Refused { serial });
            }
            _ => self.clock.touch(session),
        }
        command.time_ms = now.wall_ms;
        command.rules = Rules {
            skip_acl: self.settings.auth.skip_acl,
            enforce_quota: self.settings.tree.enforce_quota,
            ..command.rules
        };
        self.give_order(from, serial, command);
    }

    /// As leader, or alone: proposes a command. What it takes to change the members is decided here.
    pub(super) fn give_order(&mut self, origin: u8, serial: u64, mut command: Command<'_>) {
        if let Op::CreateSession { .. } = command.op {
            self.ties.beginning.insert(SessionId(command.session));
        }
        if let Op::Reconfig { .. } = command.op {
            match self.change_members(&command) {
                Ok(membership) => {
                    self.ties.changing_members = true;
                    let text = membership.text();
                    command.op = Op::Refused { code: ErrorCode::NewConfigNoQuorum.to_wire() };
                    let otherwise = command.encode().into();
                    let command = Command { op: Op::Members { text: &text, dynamic: true }, ..command };
                    let members = Some(MembersChange { membership, otherwise });
                    self.proposals.push(Proposal { origin, serial, bytes: command.encode().into(), members });
                    return;
                }
                Err(code) => command.op = Op::Refused { code: code.to_wire() },
            }
        }
        self.proposals.push(Proposal { origin, serial, bytes: command.encode().into(), members: None });
    }

    /// As leader: a command of so many bytes was given a place.
    pub fn note_proposed(&mut self, bytes: usize) {
        let metrics = self.metrics_mut();
        metrics.proposal_count += 1;
        metrics.proposal_size.record(bytes);
    }

    /// As leader: requests for `sync` that wait until it is sure that it leads.
    pub fn pending_syncs(&self) -> usize {
        self.ties.doubts.len()
    }

    /// As leader: every member supports this feature level.
    pub fn raise(&mut self, level: u16, now: Now) {
        if self.ties.duty == Duty::Leading && level > self.ties.raising {
            self.ties.raising = level;
            self.propose(None, SessionId::NONE, &[], Op::Raise { level }, now);
        }
    }

    /// Whether a client may ask for other members at all.
    pub(super) fn may_reconfigure(&self) -> bool {
        self.settings.reconfig_enabled && self.ties.duty != Duty::Alone
    }

    /// As leader: nothing came of a change of the members.
    pub fn forget_members_change(&mut self) {
        self.ties.changing_members = false;
    }

    /// The members have changed; now the ones before have no say any more.
    pub(super) fn members_set(&mut self, now: Now) {
        self.ties.changing_members = false;
        if self.ties.duty == Duty::Leading && self.tree.members().before.is_some() {
            self.propose(None, SessionId::NONE, &[], Op::MembersSettled, now);
        }
    }

    /// As leader: writes down who the members are, if that has not changed since files said it and they say otherwise now.
    fn write_down_members(&mut self, now: Now) {
        let Some(text) = self.settings.members_text.clone() else { return };
        if self.tree.members().before.is_some() {
            self.propose(None, SessionId::NONE, &[], Op::MembersSettled, now);
        } else if self.tree.members().version == 0
            && self.tree.members_text().strip_suffix("\nversion=0") != Some(&text)
        {
            self.propose(None, SessionId::NONE, &[], Op::Members { text: &text, dynamic: false }, now);
        }
    }

    /// The leader gives a command of ours no place: the session is on another server now.
    fn refused(&mut self, serial: u64) {
        let index = self.pending.partition_point(|pending| pending.serial < serial);
        if let Some(pending) = self.pending.get_mut(index).filter(|pending| pending.serial == serial)
            && let Some(id) = pending.connection.take()
        {
            if let Some(connection) = self.clients.get(id) {
                self.ending.remove(&connection.session);
            }
            self.clients.close(id);
        }
    }

    /// As leader: whether a session of one of our own clients has moved away.
    pub(super) fn has_moved(&mut self, session: SessionId) -> bool {
        let own = self.settings.server_id;
        self.ties.duty == Duty::Leading && !self.local.contains(session) && !self.is_on(session, own)
    }

    /// As leader: whether a connection that its session had on a server has lost a write.
    fn is_refused(&self, session: SessionId, server: u8) -> bool {
        self.ties.refused.get(&session).is_some_and(|servers| servers.contains(&server))
    }

    /// As leader: whether a session is on a server. If nobody has said where it is, it is there from now on; one that is over
    /// is nowhere.
    fn is_on(&mut self, session: SessionId, server: u8) -> bool {
        match self.ties.owners.get(&session).copied() {
            Some(owner) => owner == server,
            None if self.is_alive(session) => {
                self.ties.owners.insert(session, server);
                true
            }
            None => false,
        }
    }

    /// A write of a session came from a server. A write that it sent before, on a connection that it has left, must find no
    /// leader that takes it from another.
    pub(super) fn note_owner(&mut self, session: SessionId, server: u8) {
        let learns = matches!(self.ties.duty, Duty::Idle | Duty::Following);
        if learns && self.ties.owners.get(&session) != Some(&server) && self.tree.sessions().contains(session)
        {
            self.ties.owners.insert(session, server);
        }
    }

    pub(super) fn is_alive(&self, session: SessionId) -> bool {
        let begun = self.tree.sessions().contains(session) || self.ties.beginning.contains(&session);
        begun && !self.ending.contains(&session)
    }

    // ---- Sessions that come from elsewhere ----

    /// As leader, or alone: whether a session can be taken up. If not, the asker is told so, but not before it is agreed: a
    /// leader that wants to end a session may itself be deposed first.
    pub(super) fn may_go_on(&mut self, session: SessionId, timeout_ms: u32, asker: Asker) -> bool {
        if self.is_alive(session) {
            self.clock.set_timeout(session, timeout_ms);
            return true;
        }
        if self.ending.contains(&session) && self.tree.sessions().contains(session) {
            if let Asker::Connection(id) = asker
                && let Some(connection) = self.clients.get_mut(id)
            {
                connection.phase = Phase::Opening;
            }
            self.ties.waiting_for_ends.push((session, asker));
        } else {
            self.tell_over(asker);
        }
        false
    }

    /// A session is over: whoever wanted to take it up is told.
    pub(super) fn tell_who_waits_for_end(&mut self, session: SessionId) {
        if self.ties.waiting_for_ends.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.ties.waiting_for_ends);
        let (told, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|(of, _)| *of == session);
        self.ties.waiting_for_ends = kept;
        told.into_iter().for_each(|(_, asker)| self.tell_over(asker));
    }

    fn tell_over(&mut self, asker: Asker) {
        match asker {
            Asker::Connection(id) => self.tell_expired(id),
            Asker::Server { id, serial } => {
                self.send_letter(Some(id), Letter::Revalidated { serial, alive: false });
            }
        }
    }

    /// Asks the leader about a session that a client brought along.
    pub(super) fn revalidate(&mut self, id: ConnectionId, session: SessionId, timeout_ms: u32) {
        let serial = self.next_serial;
        self.next_serial += 1;
        if let Some(connection) = self.clients.get_mut(id) {
            connection.phase = Phase::Opening;
        }
        self.ties.reattaching.insert(serial, (id, session));
        self.send_letter(None, Letter::Revalidate { serial, session: session.0, timeout_ms });
    }

    fn revalidated(&mut self, serial: u64, alive: bool) {
        let Some((id, session)) = self.ties.reattaching.remove(&serial) else { return };
        if self.clients.get(id).is_none_or(|connection| connection.phase != Phase::Opening) {
            return;
        }
        if alive {
            self.replace_connection(id, session);
        } else {
            self.tell_expired(id);
        }
    }

    pub(super) fn tell_expired(&mut self, id: ConnectionId) {
        let response = ConnectResponse::expired(self.clients.get(id).and_then(|c| c.read_only));
        self.clients.send(id, |out| response.write(out));
        self.clients.close(id);
    }

    // ---- Sync ----

    /// A client wants to see everything that anybody was told before now.
    pub(super) fn sync(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let Some(connection) = self.clients.get_mut(id) else { return };
        connection.syncs += 1;
        let waiting =
            Waiting::Sync { serial, frame: frame.into(), received_us: now.monotonic_us, ready: false };
        self.wait(id, waiting, frame.len());
        self.ties.syncs.push_back((serial, id));
        if self.ties.duty == Duty::Leading {
            self.doubt(None, serial);
            return;
        }
        let letters = self.ties.letters.entry(None).or_default();
        match letters.last_mut() {
            // One question for many clients.
            Some(Letter::Sync { serial: last }) => *last = serial,
            _ => letters.push(Letter::Sync { serial }),
        }
    }

    /// As leader: everything that anybody was told is executed here. But does it still lead?
    fn doubt(&mut self, server: Option<u8>, serial: u64) {
        self.ties.next_ticket += 1;
        let ticket = self.ties.next_ticket;
        self.ties.doubts.push_back(Doubt { ticket, server, serial, zxid: self.tree.zxid() });
        self.ties.confirm = Some(ticket);
    }

    /// A quorum has confirmed that this server led after the ticket was given.
    pub fn confirmed(&mut self, ticket: u64, now: Now) {
        while let Some(doubt) = self.ties.doubts.pop_front_if(|doubt| doubt.ticket <= ticket) {
            let Doubt { server, serial, zxid, .. } = doubt;
            match server {
                Some(_) => self.send_letter(server, Letter::Synced { serial, zxid: zxid.0 }),
                None => self.ties.synced.push_back((zxid, serial)),
            }
        }
        self.answer_syncs(now);
    }

    /// Answers every `sync` for which this server is far enough.
    pub(super) fn answer_syncs(&mut self, now: Now) {
        while let Some((zxid, answered)) = self.ties.synced.front().copied() {
            if zxid > self.tree.zxid() {
                break;
            }
            self.ties.synced.pop_front();
            while let Some((serial, id)) = self.ties.syncs.pop_front_if(|(serial, _)| *serial <= answered) {
                let Some(connection) = self.clients.get_mut(id) else { continue };
                for waiting in &mut connection.waiting {
                    if let Waiting::Sync { serial: of, ready, .. } = waiting
                        && *of == serial
                    {
                        *ready = true;
                    }
                }
                self.answer_behind(id, now);
            }
        }
    }
}
