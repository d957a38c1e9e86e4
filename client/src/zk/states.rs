//! The states of a session, for whoever follows them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::state::SessionState;

/// The current state, and how often the connection was lost.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) state: SessionState,
    pub(crate) losses: u64,
    /// Why the last connection, or attempt to make one, failed.
    pub(crate) trouble: String,
}

impl Current {
    pub(crate) fn new() -> Current {
        Current { state: SessionState::Connecting, losses: 0, trouble: String::new() }
    }
}

/// What stands about a session, for all to read. Those who wait hear of a change in the order in which they came, not in a
/// random one as those of a watch channel: a simulated life must be repeatable.
#[derive(Debug)]
pub(crate) struct Board {
    inside: Mutex<Inside>,
    changed: Notify,
}

#[derive(Debug)]
struct Inside {
    current: Current,
    changes: u64,
    /// Nobody will write any more.
    is_final: bool,
}

impl Board {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn current(&self) -> Current {
        self.inside().current.clone()
    }
}

/// The one who writes on a board.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Board>);

impl Writer {
    /// A new board, and who writes on it.
    pub(crate) fn new() -> (Writer, Arc<Board>) {
        let inside = Inside { current: Current::new(), changes: 0, is_final: false };
        let board = Arc::new(Board { inside: Mutex::new(inside), changed: Notify::new() });
        (Writer(Arc::clone(&board)), board)
    }

    /// Something to read for whoever asks, but no new state.
    pub(crate) fn note_trouble(&self, trouble: String) {
        self.0.inside().current.trouble = trouble;
    }

    pub(crate) fn tell(&self, state: SessionState) {
        let mut inside = self.0.inside();
        inside.current.losses += u64::from(state == SessionState::Suspended);
        inside.current.state = state;
        inside.changes += 1;
        drop(inside);
        self.0.changed.notify_waiters();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.inside().is_final = true;
        self.0.changed.notify_waiters();
    }
}

/// The states of a session, one after the other. See [`Coordinator::states`](super::Coordinator::states).
#[derive(Debug, Clone)]
pub struct States {
    board: Arc<Board>,
    /// Changes that were seen.
    seen: u64,
    losses_told: u64,
    is_over: bool,
}

impl States {
    /// Those that come after the current one.
    pub(crate) fn new(board: Arc<Board>) -> States {
        let inside = board.inside();
        let (seen, losses_told) = (inside.changes, inside.current.losses);
        let is_over = inside.current.state.is_final();
        drop(inside);
        States { board, seen, losses_told, is_over }
    }

    /// The next state, or `None` after the last.
    ///
    /// A slow reader may find several losses of the connection told as one, but never a loss left out: between two
    /// `Connected` there is always a `Suspended`.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<SessionState> {
        if self.is_over {
            return None;
        }
        let now = loop {
            // Before the look, so that no change falls between the two.
            let changed = self.board.changed.notified();
            {
                let inside = self.board.inside();
                if inside.changes > self.seen {
                    self.seen = inside.changes;
                    break inside.current.clone();
                }
                if inside.is_final {
                    return None;
                }
            }
            changed.await;
        };
        let missed_a_loss = now.losses > self.losses_told && now.state.is_connected();
        self.losses_told = now.losses;
        if missed_a_loss {
            // It has come back since, which is told next.
            self.seen -= 1;
            return Some(SessionState::Suspended);
        }
        self.is_over = now.state.is_final();
        Some(now.state)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::zk::SessionId;

    #[test]
    fn no_loss_is_left_out_and_the_last_state_is_the_last() {
        let connected = SessionState::Connected {
            session: SessionId(1),
            timeout: Duration::from_secs(1),
            read_only: false,
        };
        let (writer, board) = Writer::new();
        let tell = |state: &SessionState| writer.tell(state.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tell(&connected);
            let mut states = States::new(Arc::clone(&board));
            for state in [&SessionState::Suspended, &connected, &SessionState::Suspended, &connected] {
                tell(state);
            }
            assert_eq!(states.next().await, Some(SessionState::Suspended));
            assert_eq!(states.next().await, Some(connected.clone()));
            tell(&SessionState::Suspended);
            assert_eq!(states.next().await, Some(SessionState::Suspended));
            tell(&SessionState::Overdue);
            assert_eq!(states.next().await, Some(SessionState::Overdue));
            tell(&SessionState::Expired);
            assert_eq!(states.next().await, Some(SessionState::Expired));
            assert_eq!(states.next().await, None);
            assert_eq!(States::new(board).next().await, None);
        });
    }
}
