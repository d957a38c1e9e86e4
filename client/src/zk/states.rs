//! The states of a session, for whoever follows them.

use tokio::sync::watch;

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

/// The states of a session, one after the other. See [`Coordinator::states`](super::Coordinator::states).
#[derive(Debug, Clone)]
pub struct States {
    current: watch::Receiver<Current>,
    losses_told: u64,
    is_over: bool,
}

impl States {
    /// Those that come after the current one.
    pub(crate) fn new(mut current: watch::Receiver<Current>) -> States {
        let now = current.borrow_and_update().clone();
        States { current, losses_told: now.losses, is_over: now.state.is_final() }
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
        self.current.changed().await.ok()?;
        let now = self.current.borrow_and_update().clone();
        let missed_a_loss = now.losses > self.losses_told && now.state.is_connected();
        self.losses_told = now.losses;
        if missed_a_loss {
            // It has come back since, which is told next.
            self.current.mark_changed();
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
        let (sender, receiver) = watch::channel(Current::new());
        let tell = |state: &SessionState| {
            sender.send_modify(|current| {
                current.losses += u64::from(*state == SessionState::Suspended);
                current.state = state.clone();
            });
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tell(&connected);
            let mut states = States::new(receiver.clone());
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
            assert_eq!(States::new(receiver).next().await, None);
        });
    }
}
