//! How sessions begin, go on elsewhere, and end.

use client::wire::zk::{ConnectRequest, ConnectResponse, SessionId, Zxid};

use super::auth::{is_session_password, session_password};
use super::connection::Phase;
use super::duty::Asker;
use super::{Duty, Now, Service};
use crate::tree::Outcome;
use crate::tree::command::Op;
use crate::tree::watches::ConnectionId;

impl Service {
    pub(super) fn handshake(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        let Ok(request) = ConnectRequest::decode(frame) else {
            self.clients.metrics.connection_drop_count += 1;
            self.clients.close(id);
            return;
        };
        self.clients.metrics.connection_request_count += 1;
        // A client that has seen more than we have must not be taken back in time.
        if self.may_read_only(&request) {
            return self.open_read_only(id, &request);
        }
        let turned_away = self.duty() == Duty::Leading && !self.settings.leader_serves;
        if turned_away || !self.serving || request.last_zxid_seen > self.tree.zxid().to_wire() {
            self.clients.close(id);
            return;
        }
        let timeout_ms = self.negotiate(request.timeout_ms);
        let connection = self.clients.get_mut(id).expect("the caller looked it up");
        connection.greet(&request);
        connection.timeout_ms = timeout_ms;
        if request.session == SessionId::NONE {
            self.open_session(id, timeout_ms, now);
        } else {
            self.take_up_session(id, &request, timeout_ms);
        }
    }

    pub(super) fn negotiate(&self, wanted_ms: i32) -> u32 {
        let session = &self.settings.session;
        let (min, max) = (session.timeout_min.as_millis() as i64, session.timeout_max.as_millis() as i64);
        i64::from(wanted_ms).max(min).min(max) as u32
    }

    fn open_session(&mut self, id: ConnectionId, timeout_ms: u32, now: Now) {
        let limits = &self.settings.limits;
        let sessions = self.tree.sessions().count() + self.local.count() + self.pending.len();
        let full = sessions >= limits.sessions_max as usize
            || self.disk_full
            || self.memory_bytes() >= limits.memory_bytes_max;
        if full {
            self.clients.close(id);
            return;
        }
        let session = self.new_session_id();
        if self.opens_local_sessions() {
            self.local.add(session, timeout_ms);
            return self.attach(id, session);
        }
        self.ties.owners.insert(session, self.settings.server_id);
        let connection = self.clients.get_mut(id).expect("the caller looked it up");
        connection.phase = Phase::Opening;
        connection.session = session;
        self.propose_for(id, session, Op::CreateSession { timeout_ms }, now);
    }

    /// Server, how often it started, and a count: never the same twice, and nothing to guess a clock from.
    fn new_session_id(&mut self) -> SessionId {
        let server = self.settings.server_id;
        let starts = self.tree.starts(server) & 0xff_ffff;
        self.next_session += 1;
        assert!(self.next_session != u32::MAX, "four thousand million sessions since the start");
        SessionId(
            ((u64::from(server) << 56) | (u64::from(starts) << 32) | u64::from(self.next_session)) as i64,
        )
    }

    fn take_up_session(&mut self, id: ConnectionId, request: &ConnectRequest<'_>, timeout_ms: u32) {
        let session = request.session;
        if !is_session_password(self.tree.secret(), session, request.password) {
            return self.tell_expired(id);
        }
        self.clients.metrics.connection_revalidate_count += 1;
        if self.local.contains(session) {
            self.local.set_timeout(session, timeout_ms);
            return self.replace_connection(id, session);
        }
        if self.duty() == Duty::Following {
            return self.revalidate(id, session, timeout_ms);
        }
        if self.may_go_on(session, timeout_ms, Asker::Connection(id)) {
            self.ties.owners.insert(session, self.settings.server_id);
            self.replace_connection(id, session);
        }
    }

    /// The session is on this connection from now on.
    pub(super) fn replace_connection(&mut self, id: ConnectionId, session: SessionId) {
        // The session has one connection: whoever was on it before is sent away first. Not before the password is
        // checked, or knowing a number would be enough to disconnect somebody.
        if let Some(before) = self.attached.remove(&session) {
            self.clients.close(before);
        }
        self.attach(id, session);
    }

    /// The session is this connection's: say so, and serve it.
    pub(super) fn attach(&mut self, id: ConnectionId, session: SessionId) {
        let password = session_password(self.tree.secret(), session);
        let Some(connection) = self.clients.get_mut(id) else { return };
        connection.phase = Phase::Open;
        connection.session = session;
        let response = ConnectResponse {
            timeout_ms: connection.timeout_ms as i32,
            session,
            password,
            read_only: connection.read_only,
        };
        self.attached.insert(session, id);
        self.clients.send(id, |out| response.write(out));
    }

    pub(super) fn session_created(
        &mut self,
        session: SessionId,
        connection: Option<ConnectionId>,
        _now: Now,
    ) {
        let timeout_ms = self.tree.sessions().get(session).map_or(0, |session| session.timeout_ms);
        self.ties.beginning.remove(&session);
        // A client that left meanwhile has a session all the same, until it is silent for too long.
        if self.keeps_time() {
            self.clock.add(session, timeout_ms);
        }
        if let Some(id) = connection
            && self.clients.get(id).is_some_and(|connection| connection.phase == Phase::Opening)
        {
            self.attach(id, session);
        }
    }

    pub(super) fn session_closed(
        &mut self,
        session: SessionId,
        asked_by: Option<ConnectionId>,
        serial: Option<u64>,
        zxid: Zxid,
        now: Now,
    ) {
        self.clock.remove(session);
        self.ending.remove(&session);
        self.ties.owners.remove(&session);
        self.ties.refused.remove(&session);
        self.tell_who_waits_for_end(session);
        if let Some(id) = asked_by {
            self.answer_write(id, serial, zxid, &Outcome::SessionClosed, now);
        }
        if let Some(id) = self.attached.remove(&session) {
            self.clients.close(id);
        }
    }
}
