//! What a session tells about itself and about what it watches.

use std::time::Duration;

use tokio::sync::watch;

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

/// The current state, and how often the connection was lost.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) state: SessionState,
    pub(crate) losses: u64,
}

/// The states of a session, one after the other. See [`Coordinator::states`](super::Coordinator::states).
#[derive(Debug)]
pub struct States {
    current: watch::Receiver<Current>,
    losses_told: u64,
}

impl States {
    pub(crate) fn new(current: watch::Receiver<Current>) -> States {
        let losses_told = current.borrow().losses;
        States { current, losses_told }
    }

    /// The next state, or `None` after the last.
    ///
    /// A slow reader may find several losses of the connection told as one, but never a loss left out: between two
    /// `Connected` there is always a `Suspended`.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<SessionState> {
        if self.losses_told == self.current.borrow().losses || !self.current.borrow().state.is_connected() {
            self.current.changed().await.ok()?;
        }
        let current = self.current.borrow().clone();
        if current.losses > self.losses_told && current.state.is_connected() {
            self.losses_told = current.losses;
            self.current.mark_changed();
            return Some(SessionState::Suspended);
        }
        self.losses_told = current.losses;
        self.current.mark_unchanged();
        Some(current.state)
    }
}
