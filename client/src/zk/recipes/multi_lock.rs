//! Several locks as one.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use super::lock::{Lock, LockGuard, within};
use crate::zk::Error;

/// Several locks that are held together or not at all.
///
/// **It promises** that they are taken one after the other in the order of their paths, so that two programs that want the
/// same ones never wait for each other in a circle, and that none is kept if not all are got. **It does not promise** that all
/// are lost together: see [`Lock`](super::Lock) for each, and [`MultiLockGuard::lost`] for the first.
///
/// **Znodes**: those of each [`Lock`](super::Lock). Curator's `InterProcessMultiLock` over `InterProcessMutex` does the same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// use client::zk::recipes::MultiLock;
/// let both = MultiLock::new([zk.lock("/accounts/1"), zk.lock("/accounts/2")]).acquire().await?;
/// both.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MultiLock {
    locks: Vec<Lock>,
}

impl MultiLock {
    /// These locks. A path that occurs twice counts once.
    pub fn new(locks: impl IntoIterator<Item = Lock>) -> MultiLock {
        let mut locks: Vec<Lock> = locks.into_iter().collect();
        locks.sort_by(|one, other| one.path().cmp(other.path()));
        locks.dedup_by(|one, other| one.path() == other.path());
        MultiLock { locks }
    }

    /// Waits until all are held.
    ///
    /// # Cancel safety
    /// Dropping the future releases those that were taken.
    pub async fn acquire(&self) -> Result<MultiLockGuard, Error> {
        let mut guards = Vec::with_capacity(self.locks.len());
        for lock in &self.locks {
            guards.push(lock.acquire().await?);
        }
        Ok(MultiLockGuard { guards })
    }

    /// The same, for at most so long; `None` if they were not all free in time.
    ///
    /// # Cancel safety
    /// Dropping the future releases those that were taken.
    pub async fn acquire_within(&self, patience: Duration) -> Result<Option<MultiLockGuard>, Error> {
        within(patience, self.acquire()).await
    }

    /// Takes all if all are free.
    pub async fn try_acquire(&self) -> Result<Option<MultiLockGuard>, Error> {
        let mut taken = MultiLockGuard { guards: Vec::with_capacity(self.locks.len()) };
        for lock in &self.locks {
            match lock.try_acquire().await? {
                Some(guard) => taken.guards.push(guard),
                None => return taken.release().await.map(|()| None),
            }
        }
        Ok(Some(taken))
    }
}

/// Locks that are held together, in the order of their paths.
#[derive(Debug)]
#[must_use = "the locks are released when this is dropped"]
pub struct MultiLockGuard {
    guards: Vec<LockGuard>,
}

impl MultiLockGuard {
    /// Each single one, in the order of the paths.
    pub fn guards(&self) -> &[LockGuard] {
        &self.guards
    }

    /// Waits until one of them is lost.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn lost(&self) {
        any_lost(&self.guards).await;
    }

    /// Releases all, the last one first, and waits until they are free.
    pub async fn release(mut self) -> Result<(), Error> {
        let mut first_error = Ok(());
        while let Some(guard) = self.guards.pop() {
            let result = guard.release().await;
            if first_error.is_ok() {
                first_error = result;
            }
        }
        first_error
    }
}

/// Waits until one of them is lost; for ever if there are none.
pub(crate) async fn any_lost<'g>(guards: impl IntoIterator<Item = &'g LockGuard>) {
    let mut waits: Vec<_> = guards.into_iter().map(|guard| Box::pin(guard.lost())).collect();
    poll_fn(|context| {
        let is_lost = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
        if is_lost { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
