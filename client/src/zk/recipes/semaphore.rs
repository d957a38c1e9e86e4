//! So many at a time.

use std::time::Duration;

use super::line::{Place, child};
use super::lock::{Lock, LockGuard, within};
use crate::zk::{Coordinator, CreateMode, Error};

/// So many leases, and no more, to whoever knows the path.
///
/// **It promises** that there are never more leases than the number, on which all parties must agree, as far as the servers
/// know; that they are given in the order in which they were asked for; and that a lease is free again when it is released or
/// its holder's session ends. **It does not promise** that a holder notices that in time: [`Lock`](super::Lock) says why.
///
/// **Znodes**: `PATH/leases/_c_UUID-lease-0000000007`, ephemeral, one for each lease, and a lock at `PATH/locks` that is held
/// while a lease is waited for. Curator's `InterProcessSemaphoreV2` does the same, and with one
/// lease its `InterProcessSemaphoreMutex`.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let lease = zk.semaphore("/limits/exports", 3).acquire().await?;
/// // ... at most three of us at a time ...
/// lease.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore {
    zk: Coordinator,
    path: String,
    leases: usize,
    data: Vec<u8>,
}

impl Coordinator {
    /// The semaphore at this path.
    pub fn semaphore(&self, path: &str, leases: usize) -> Semaphore {
        Semaphore { zk: self.clone(), path: path.to_owned(), leases, data: Vec::new() }
    }
}

impl Semaphore {
    /// What others see of our leases, usually a name.
    #[must_use]
    pub fn data(self, data: impl Into<Vec<u8>>) -> Semaphore {
        Semaphore { data: data.into(), ..self }
    }

    /// Waits for a lease.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn acquire(&self) -> Result<LockGuard, Error> {
        let turn = self.turn().acquire().await?;
        let lease = self.next_lease().await?;
        turn.release().await?;
        Ok(lease)
    }

    /// Waits for so many leases. Nobody else gets one meanwhile, so no two wait for each other's.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line, and the leases that were got by then.
    pub async fn acquire_many(&self, count: usize) -> Result<Vec<LockGuard>, Error> {
        if count > self.leases {
            return Err(Error::BadOption(format!("{count} leases of {} will never be free", self.leases)));
        }
        let turn = self.turn().acquire().await?;
        let mut got = Vec::with_capacity(count);
        for _ in 0..count {
            got.push(self.next_lease().await?);
        }
        turn.release().await?;
        Ok(got)
    }

    /// The right to wait for leases.
    fn turn(&self) -> Lock {
        self.zk.lock(&child(&self.path, "locks"))
    }

    /// For whoever has the turn.
    async fn next_lease(&self) -> Result<LockGuard, Error> {
        let leases = child(&self.path, "leases");
        loop {
            let place =
                Place::take(&self.zk, &leases, "lease-", &self.data, CreateMode::EphemeralSequential).await?;
            if self.await_lease(&place, &leases).await? {
                return Ok(LockGuard::new(place));
            }
        }
    }

    /// The same, for at most so long.
    pub async fn acquire_within(&self, patience: Duration) -> Result<Option<LockGuard>, Error> {
        within(patience, self.acquire()).await
    }

    /// `false` if somebody has deleted our znode meanwhile.
    async fn await_lease(&self, place: &Place, leases: &str) -> Result<bool, Error> {
        loop {
            match self.zk.children_and_watch(leases).await {
                Ok((names, _, _)) if !names.iter().any(|name| name == place.name()) => return Ok(false),
                Ok((names, _, _)) if names.len() <= self.leases => return Ok(true),
                Ok((_, _, mut watch)) => drop(watch.changed().await),
                Err(Error::ConnectionLoss) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Who has a lease or is next: their data, in no order.
    pub async fn holders(&self) -> Result<Vec<Vec<u8>>, Error> {
        super::lock::data_of_line(&self.zk, &child(&self.path, "leases"), &["lease-"]).await
    }
}
