//! Many readers or one writer.

use std::time::Duration;

use super::line::Place;
use super::lock::{LockGuard, await_turn, data_of_line, within};
use crate::zk::{Coordinator, CreateMode, Error};

/// Before the digits of a name: writers first, Curator's and kazoo's.
const NAMES: &[&str] = &["__WRIT__", "__lock__", "__READ__", "__rlock__"];
const WRITERS: usize = 2;

/// A lock that many hold for reading, or one for writing.
///
/// Contenders get it in the order in which they came: a reader waits for writers before it, a writer for everybody. So
/// neither starves the other. What [`Lock`](super::Lock) promises and does not promise holds here too; the fence of a
/// writer is larger than that of everybody before it.
///
/// **Znodes**: `PATH/_c_UUID-__READ__0000000007` and `PATH/_c_UUID-__WRIT__0000000008`, ephemeral, as Curator's
/// `InterProcessReadWriteLock` has them. kazoo's `UUID__rlock__…` and `UUID__lock__…` are respected, and respect us when
/// told `extra_lock_patterns`.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let lock = zk.rw_lock("/locks/table");
/// let writer = lock.write().await?;
/// let reader = lock.downgrade(writer).await?;
/// reader.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RwLock {
    zk: Coordinator,
    path: String,
    data: Vec<u8>,
}

impl Coordinator {
    /// The read/write lock at this path.
    pub fn rw_lock(&self, path: &str) -> RwLock {
        RwLock { zk: self.clone(), path: path.to_owned(), data: Vec::new() }
    }
}

impl RwLock {
    /// What others see of us as a contender, usually a name.
    #[must_use]
    pub fn data(self, data: impl Into<Vec<u8>>) -> RwLock {
        RwLock { data: data.into(), ..self }
    }

    /// Waits for the lock for reading.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn read(&self) -> Result<LockGuard, Error> {
        self.read_beside(None).await
    }

    /// The same, for at most so long.
    pub async fn read_within(&self, patience: Duration) -> Result<Option<LockGuard>, Error> {
        within(patience, self.read()).await
    }

    /// Waits for the lock for writing.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn write(&self) -> Result<LockGuard, Error> {
        loop {
            let place = self.stand_in_line("__WRIT__").await?;
            let before =
                |line: &[(usize, String)], own: usize| own.checked_sub(1).map(|at| line[at].1.clone());
            if await_turn(&place, &self.path, NAMES, before).await? {
                return Ok(LockGuard::new(place));
            }
        }
    }

    /// The same, for at most so long.
    pub async fn write_within(&self, patience: Duration) -> Result<Option<LockGuard>, Error> {
        within(patience, self.write()).await
    }

    /// Goes on reading after writing, with no writer in between.
    ///
    /// # Cancel safety
    /// Dropping the future releases the lock.
    pub async fn downgrade(&self, writer: LockGuard) -> Result<LockGuard, Error> {
        let own = writer.path();
        let own = own.rsplit('/').next().unwrap_or_default();
        let reader = self.read_beside(Some(own)).await?;
        writer.release().await?;
        Ok(reader)
    }

    /// Who holds the lock and who waits for it, for reading or writing, in order: their data.
    pub async fn contenders(&self) -> Result<Vec<Vec<u8>>, Error> {
        data_of_line(&self.zk, &self.path, NAMES).await
    }

    /// For reading, when this writer is nobody to wait for.
    async fn read_beside(&self, own_writer: Option<&str>) -> Result<LockGuard, Error> {
        loop {
            let place = self.stand_in_line("__READ__").await?;
            let last_writer = |line: &[(usize, String)], own: usize| {
                let writers = line[..own].iter().filter(|(kind, _)| *kind < WRITERS);
                writers.map(|(_, name)| name).rfind(|name| Some(name.as_str()) != own_writer).cloned()
            };
            if await_turn(&place, &self.path, NAMES, last_writer).await? {
                return Ok(LockGuard::new(place));
            }
        }
    }

    async fn stand_in_line(&self, name: &str) -> Result<Place, Error> {
        Place::take(&self.zk, &self.path, name, &self.data, CreateMode::EphemeralSequential).await
    }
}
