//! What a session tells about itself and about what it watches.

use std::time::Duration;

use crate::wire::zk::event::EventType;
use crate::wire::zk::{SessionId, Zxid};

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// No server has been reached yet.
    Connecting,
    /// Requests are answered.
    Connected {
        /// The session's id; ephemerals carry it as their owner.
        session: SessionId,
        /// What was agreed with the server.
        timeout: Duration,
        /// The server has no quorum and answers reads only.
        read_only: bool,
    },
    /// The connection is lost, the session may live on: its ephemerals are still there.
    Suspended,
    /// The connection has been lost for as long as the session's timeout: the servers have expired the session, or will
    /// do so any moment. Only they can say; if they have not, the session becomes `Connected` again.
    Overdue,
    /// A server said that the session has expired. This is the last state.
    Expired,
    /// The servers do not accept our credentials. This is the last state.
    AuthFailed,
    /// Closed on this side. This is the last state.
    Closed,
}

impl SessionState {
    /// Whether nothing comes after it.
    pub fn is_final(&self) -> bool {
        matches!(self, SessionState::Expired | SessionState::AuthFailed | SessionState::Closed)
    }

    /// Whether requests are answered now.
    pub fn is_connected(&self) -> bool {
        matches!(self, SessionState::Connected { .. })
    }
}

/// A change that a watch saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventType,
    /// To which znode.
    pub path: String,
    /// The write that did it. `None` for what happened while the connection was down, and from servers before 3.9.
    pub zxid: Option<Zxid>,
}

/// What a [`Watch`](super::Watch) yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Something changed.
    Changed(Event),
    /// The connection is lost. Changes from here on are not seen until [`Notice::Resumed`].
    Suspended,
    /// The watch is in place again. A one-shot watch that missed its change has told by now; a persistent one has missed
    /// what happened since [`Notice::Suspended`]: read again what depends on it.
    Resumed,
    /// The reader was so slow that so many notices were dropped: read again what depends on them.
    Lagged(u64),
    /// `remove_watches` has removed the watch. This is the last notice.
    Removed,
    /// The session is over, and not by our wish. This is the last notice.
    Expired,
    /// The session was closed. This is the last notice.
    Closed,
}
