//! Mutual exclusion.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::line::{Place, child, in_line};
use crate::zk::{Coordinator, CreateMode, Error, Zxid};

/// What the names of contenders have before their digits: Curator's and ours, kazoo's.
pub(crate) const LOCK_NAMES: &[&str] = &["lock-", "__lock__"];
/// What Curator writes into a holder's znode to ask for the lock.
const REVOKE: &[u8] = b"__REVOKE__";

/// A lock that whoever knows its path contends for, here and in other processes and languages.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let guard = zk.lock("/locks/ledger").acquire().await?;
/// tokio::select! {
///     () = work(guard.fence()) => guard.release().await?,
///     () = guard.lost() => eprintln!("somebody else may have the lock by now"),
/// }
/// # Ok(())
/// # }
/// # async fn work(fence: client::zk::Zxid) {}
/// ```
///
/// **It promises** that contenders get the lock in the order in which they came, and one at a time as far as the servers
/// know; that the lock becomes free when its holder's session ends; and that each holder's [`LockGuard::fence`] is larger
/// than that of all before it.
///
/// **It does not promise** that a holder notices in time that it is no longer one: a process that was held up may believe
/// for a while that it has the lock, when its session has expired. Only whoever receives the fence can tell, by refusing
/// what comes with a smaller one than it has seen. [`LockGuard::lost`] is the best that can be done on this side.
///
/// **Reentrance.** Two calls of [`Lock::acquire`] exclude each other, also of one `Lock`. Whoever has the guard can clone
/// it; the lock is free when the last clone is gone.
///
/// **Znodes**: `PATH/_c_UUID-lock-0000000007`, ephemeral, with the contender's data; the lowest number holds the lock,
/// and everybody else watches the one before. Curator's `InterProcessMutex` does the same. kazoo's `Lock`, whose znodes are
/// `PATH/UUID__lock__0000000007`, is respected, and respects us when it is told `extra_lock_patterns=["-lock-"]`.
#[derive(Debug, Clone)]
pub struct Lock {
    zk: Coordinator,
    path: String,
    data: Vec<u8>,
}

impl Coordinator {
    /// The lock at this path.
    pub fn lock(&self, path: &str) -> Lock {
        Lock { zk: self.clone(), path: path.to_owned(), data: Vec::new() }
    }
}

impl Lock {
    /// What others see of us as a contender, usually a name.
    #[must_use]
    pub fn data(self, data: impl Into<Vec<u8>>) -> Lock {
        Lock { data: data.into(), ..self }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Waits for the lock.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn acquire(&self) -> Result<LockGuard, Error> {
        loop {
            let place = self.stand_in_line().await?;
            let wait = await_turn(&place, &self.path, LOCK_NAMES, |line, own| {
                own.checked_sub(1).map(|at| line[at].1.clone())
            });
            if wait.await? {
                return Ok(LockGuard::new(place));
            }
        }
    }

    /// The same, for at most so long; `None` if somebody else had the lock all the time.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn acquire_within(&self, patience: Duration) -> Result<Option<LockGuard>, Error> {
        within(patience, self.acquire()).await
    }

    /// Takes the lock if nobody else has it or waits for it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the lock alone.
    pub async fn try_acquire(&self) -> Result<Option<LockGuard>, Error> {
        let place = self.stand_in_line().await?;
        let (names, _) = self.zk.children(&self.path).await?;
        if in_line(names, LOCK_NAMES).first().is_some_and(|(_, first)| first == place.name()) {
            return Ok(Some(LockGuard::new(place)));
        }
        place.leave().await?;
        Ok(None)
    }

    async fn stand_in_line(&self) -> Result<Place, Error> {
        Place::take(&self.zk, &self.path, "lock-", &self.data, CreateMode::EphemeralSequential).await
    }

    /// Who holds the lock and who waits for it, in order: their data.
    pub async fn contenders(&self) -> Result<Vec<Vec<u8>>, Error> {
        data_of_line(&self.zk, &self.path, LOCK_NAMES).await
    }

    /// Asks the holder to give the lock up. It is told by [`LockGuard::revoked`] if it listens; nothing forces it.
    pub async fn revoke(&self) -> Result<(), Error> {
        let names = match self.zk.children(&self.path).await {
            Err(Error::NoNode) => return Ok(()),
            result => result?.0,
        };
        if let Some((_, holder)) = in_line(names, LOCK_NAMES).first() {
            match self.zk.set(&child(&self.path, holder), REVOKE, None).await {
                Err(Error::NoNode) => {}
                result => drop(result?),
            }
        }
        Ok(())
    }
}

/// The data of everybody in the line, in order.
pub(crate) async fn data_of_line(
    zk: &Coordinator,
    path: &str,
    kinds: &[&str],
) -> Result<Vec<Vec<u8>>, Error> {
    let names = match zk.children(path).await {
        Err(Error::NoNode) => return Ok(Vec::new()),
        result => result?.0,
    };
    let reads: Vec<_> = in_line(names, kinds).iter().map(|(_, name)| zk.get(&child(path, name))).collect();
    let mut all = Vec::new();
    for read in reads {
        match read.await {
            // Gone since.
            Err(Error::NoNode) => {}
            result => all.push(result?.0.to_vec()),
        }
    }
    Ok(all)
}

/// Waits until nobody is in the way of a place. `in_the_way` is given the line and our index in it, and names whom to wait
/// for. `false` if the place itself has gone: somebody has deleted it.
pub(crate) async fn await_turn(
    place: &Place,
    path: &str,
    kinds: &[&str],
    in_the_way: impl Fn(&[(usize, String)], usize) -> Option<String>,
) -> Result<bool, Error> {
    let zk = place.zk();
    loop {
        let names = match zk.children(path).await {
            Err(Error::ConnectionLoss) => continue,
            Err(Error::NoNode) => return Ok(false),
            result => result?.0,
        };
        let line = in_line(names, kinds);
        let Some(own) = line.iter().position(|(_, name)| name == place.name()) else { return Ok(false) };
        let Some(other) = in_the_way(&line, own) else { return Ok(true) };
        match zk.get_and_watch(&child(path, &other)).await {
            Ok((_, _, mut watch)) => drop(watch.changed().await),
            Err(Error::NoNode | Error::ConnectionLoss) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Puts an end to patience.
pub(crate) async fn within<T>(
    patience: Duration,
    acquire: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    match tokio::time::timeout(patience, acquire).await {
        Ok(result) => result.map(Some),
        Err(_) => Ok(None),
    }
}

/// A lock that is held. Clones hold it together.
///
/// Dropping the last clone releases the lock in the background; [`LockGuard::release`] waits until it is free.
#[derive(Debug, Clone)]
#[must_use = "the lock is released when this is dropped"]
pub struct LockGuard {
    /// Left when the last clone has gone.
    place: Arc<Place>,
}

impl LockGuard {
    pub(crate) fn new(place: Place) -> LockGuard {
        LockGuard { place: Arc::new(place) }
    }

    /// A number larger than that of every earlier holder. Whoever the lock protects should refuse requests that come with a
    /// smaller one than it has seen.
    pub fn fence(&self) -> Zxid {
        self.place.czxid()
    }

    /// The znode that stands for us.
    pub fn path(&self) -> String {
        self.place.path()
    }

    /// Waits until the lock is lost: the session is over, or has been without a server for so long that it may be, or
    /// somebody has deleted our znode.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn lost(&self) {
        self.place.lost().await;
    }

    /// Waits until somebody asks for the lock ([`Lock::revoke`], or Curator's `Revoker`), or it is lost.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn revoked(&self) {
        loop {
            match self.place.zk().get_and_watch(&self.place.path()).await {
                Ok((data, ..)) if *data == *REVOKE => return,
                Ok((_, _, mut watch)) => drop(watch.changed().await),
                Err(Error::ConnectionLoss) => {}
                Err(_) => return,
            }
        }
    }

    /// Releases the lock and waits until it is free. If there are other clones, only this one is given up.
    ///
    /// # Cancel safety
    /// The lock is released in any case.
    pub async fn release(self) -> Result<(), Error> {
        match Arc::into_inner(self.place) {
            Some(place) => place.leave().await,
            None => Ok(()),
        }
    }
}
