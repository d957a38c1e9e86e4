//! Leadership for the time of one task.

use std::future::Future;

use super::lock::Lock;
use crate::zk::{Coordinator, Error, Zxid};

/// One of several participants, of which one at a time runs its task.
///
/// **It promises** that a task runs only after it was first in the line, and is dropped at its next await once leadership is
/// known to be lost. **It does not promise** that no other task runs in the meantime, as [`Lock`](super::Lock) does not: what
/// the task changes elsewhere must carry the fence that it is given.
///
/// **Znodes**: those of [`Lock`](super::Lock), on which it stands, with the participant's id as data. Curator's
/// `LeaderSelector` does the same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let selector = zk.leader_selector("/leader", "worker-1");
/// loop {
///     // As soon as leadership is lost the task is dropped at its next await.
///     selector.lead(async |fence| println!("we lead, with fence {fence}")).await?;
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LeaderSelector {
    lock: Lock,
}

/// How a turn at leading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Led<T> {
    /// The task came to its end, with this result.
    Finished(T),
    /// Leadership was lost, and the task was dropped where it waited.
    Interrupted,
}

impl Coordinator {
    /// Takes part in the election at this path, under an id that others can read. Nothing happens before
    /// [`LeaderSelector::lead`].
    pub fn leader_selector(&self, path: &str, id: &str) -> LeaderSelector {
        LeaderSelector { lock: self.lock(path).data(id) }
    }
}

impl LeaderSelector {
    /// Waits for leadership, runs the task with its fence (see [`LockGuard::fence`](super::LockGuard::fence)), and gives leadership up. Call it again to stand in line again.
    ///
    /// # Cancel safety
    /// Dropping the future drops the task, and gives up leadership or the place in the line. That is also how to interrupt
    /// it from outside.
    pub async fn lead<T, F: Future<Output = T>>(
        &self,
        task: impl FnOnce(Zxid) -> F,
    ) -> Result<Led<T>, Error> {
        let guard = self.lock.acquire().await?;
        let led = tokio::select! {
            biased;
            () = guard.lost() => Led::Interrupted,
            result = task(guard.fence()) => Led::Finished(result),
        };
        guard.release().await?;
        Ok(led)
    }

    /// Leads again and again: as soon as a turn is over, however it ended, it stands in line for the next. Ends only with the
    /// session, or when the servers refuse.
    ///
    /// # Cancel safety
    /// As [`LeaderSelector::lead`].
    pub async fn lead_repeatedly<T, F: Future<Output = T>>(&self, mut task: impl FnMut(Zxid) -> F) -> Error {
        loop {
            if let Err(error) = self.lead(&mut task).await {
                return error;
            }
        }
    }

    /// Everybody who takes part, the leader first: their ids.
    pub async fn participants(&self) -> Result<Vec<String>, Error> {
        let ids = self.lock.contenders().await?;
        Ok(ids.iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect())
    }

    /// The leader's id, if there is one.
    pub async fn leader(&self) -> Result<Option<String>, Error> {
        Ok(self.participants().await?.into_iter().next())
    }
}
