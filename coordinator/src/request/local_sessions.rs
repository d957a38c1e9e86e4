//! Sessions that only this server knows (`localSessionsEnabled`).
//!
//! Nothing about them goes through the log, so clients that come and go in crowds cost the other members nothing. They read,
//! write and watch like any other, but own no ephemerals, and end where their client goes to another server. One that
//! creates an ephemeral znode becomes known to everybody first, if that is allowed (`localSessionsUpgradingEnabled`).

use client::wire::zk::SessionId;

use super::connection::Phase;
use super::{Duty, Now, Service};
use crate::tree::command::{LEVEL_OF_LOCAL_SESSIONS, Op};
use crate::tree::watches::ConnectionId;

impl Service {
    /// Whether a new session is this server's own; not before all members understand what such a session writes.
    pub(super) fn opens_local_sessions(&self) -> bool {
        self.settings.session.local
            && matches!(self.duty(), Duty::Leading | Duty::Following)
            && self.tree.feature_level() >= LEVEL_OF_LOCAL_SESSIONS
    }

    /// Whether this is something that the connection's session may not do because it is local.
    pub(super) fn is_not_for_local(&self, id: ConnectionId, op: &Op<'_>) -> bool {
        !self.settings.session.upgrade_local
            && op.makes_ephemeral()
            && self.clients.get(id).is_some_and(|connection| self.local.contains(connection.session))
    }

    /// Makes a session known to everybody, if it is local; what it asks next is proposed right behind that.
    pub(super) fn upgrade_local_session(&mut self, session: SessionId, now: Now) {
        let Some(timeout_ms) = self.local.timeout_ms(session) else { return };
        self.local.remove(session);
        self.ties.owners.insert(session, self.settings.server_id);
        self.propose(None, session, &[], Op::CreateSession { timeout_ms }, now);
    }

    /// A client wants to end its local session: it is answered after everything that it asked before.
    pub(super) fn leave_local_session(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        if let Some(connection) = self.clients.get_mut(id) {
            connection.phase = Phase::Leaving;
        }
        self.answer_in_turn(id, frame, now);
    }

    /// The turn of a client that ends its local session has come.
    pub(super) fn close_local_session(&mut self, id: ConnectionId, xid: i32) {
        let Some(session) = self.clients.get(id).map(|connection| connection.session) else { return };
        self.local.remove(session);
        self.attached.remove(&session);
        self.clients.reply(id, xid, self.tree.zxid().to_wire(), |_| {});
        self.clients.close(id);
    }

    /// Ends the local sessions that were silent for too long. Nobody can be heard while this server is out of step.
    pub(super) fn end_silent_local_sessions(&mut self, now: Now) {
        if self.duty() == Duty::Idle {
            return;
        }
        for session in self.local.advance(now.monotonic_ms()) {
            self.clients.metrics.stale_sessions_expired += 1;
            if let Some(id) = self.attached.remove(&session) {
                self.clients.close(id);
            }
        }
    }
}
