//! Gates that open for everybody at once.

use super::line::{child, delete_surely, ensure, unique};
use crate::zk::{Coordinator, CreateMode, Error};

/// What opens a double barrier.
const READY: &str = "ready";

/// A gate that is closed as long as a znode exists.
///
/// **Znodes**: the one at `PATH`, persistent, as Curator's `DistributedBarrier` and kazoo's `Barrier` have it. It outlives
/// the session that set it.
///
/// **It promises** that whoever waits goes on once the gate has been open. **It does not promise** that it is still open then.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let gate = zk.barrier("/maintenance");
/// gate.set().await?;
/// // ... whoever waits for it stands still ...
/// gate.remove().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Barrier {
    zk: Coordinator,
    path: String,
}

impl Coordinator {
    /// The barrier at this path.
    pub fn barrier(&self, path: &str) -> Barrier {
        Barrier { zk: self.clone(), path: path.to_owned() }
    }

    /// The double barrier at this path, which so many must enter.
    pub fn double_barrier(&self, path: &str, members: usize) -> DoubleBarrier {
        DoubleBarrier { zk: self.clone(), path: path.to_owned(), members, name: unique() }
    }
}

impl Barrier {
    /// Closes the gate; nothing happens if it is closed.
    pub async fn set(&self) -> Result<(), Error> {
        create_if_absent(&self.zk, &self.path, CreateMode::Persistent).await
    }

    /// Opens the gate; nothing happens if it is open.
    pub async fn remove(&self) -> Result<(), Error> {
        delete_surely(&self.zk, &self.path).await
    }

    /// Waits until the gate is open.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn wait(&self) -> Result<(), Error> {
        await_absence(&self.zk, &self.path).await
    }
}

/// A place that is entered when so many have come, and left when all have gone.
///
/// Each party has a `DoubleBarrier` of its own. A party whose session ends counts as gone. Each meeting needs a path that no
/// earlier one has left in the middle.
///
/// **Znodes**: `PATH/UUID`, ephemeral, one for each party, and `PATH/ready` once enough are there. Curator's
/// `DistributedDoubleBarrier` and kazoo's `DoubleBarrier` do the same.
///
/// **It promises** that nobody has entered before so many had come, and that nobody has left before all had finished or were
/// gone. **It does not promise** that all who came are still there: a session may end meanwhile.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let meeting = zk.double_barrier("/jobs/17/start", 3);
/// meeting.enter().await?;
/// // ... all three of us ...
/// meeting.leave().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DoubleBarrier {
    zk: Coordinator,
    path: String,
    members: usize,
    name: String,
}

impl DoubleBarrier {
    /// A name for this party that no other has, instead of a random one. Of all parties, the one whose name comes first
    /// leaves last.
    #[must_use]
    pub fn named(self, name: &str) -> DoubleBarrier {
        DoubleBarrier { name: name.to_owned(), ..self }
    }

    fn own(&self) -> String {
        child(&self.path, &self.name)
    }

    /// Waits until all have come.
    ///
    /// # Cancel safety
    /// When the future is dropped this party still counts as there; [`DoubleBarrier::withdraw`] takes it away.
    pub async fn enter(&self) -> Result<(), Error> {
        let ready = child(&self.path, READY);
        // Before we are seen, so that the word of whoever comes last cannot be missed.
        let mut seen = self.watch(&ready).await?;
        create_if_absent(&self.zk, &self.own(), CreateMode::Ephemeral).await?;
        if self.parties().await?.len() >= self.members {
            return create_if_absent(&self.zk, &ready, CreateMode::Persistent).await;
        }
        while let Some(mut watch) = seen {
            watch.changed().await;
            seen = self.watch(&ready).await?;
        }
        Ok(())
    }

    /// A watch on what does not exist, or `None` if it exists.
    async fn watch(&self, path: &str) -> Result<Option<crate::zk::Watch>, Error> {
        loop {
            match self.zk.exists_and_watch(path).await {
                Ok((found, watch)) => return Ok(found.is_none().then_some(watch)),
                Err(Error::ConnectionLoss) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until all have gone.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn leave(&self) -> Result<(), Error> {
        loop {
            let mut parties = self.parties().await?;
            parties.sort();
            let stays = parties.contains(&self.name);
            // The first by name goes last and waits for the last; all others go at once and wait for the first.
            let awaited = match (parties.first(), parties.last()) {
                (Some(first), Some(last)) if stays && *first == self.name && *last != self.name => last,
                (Some(first), _) => {
                    if stays {
                        delete_surely(&self.zk, &self.own()).await?;
                    }
                    if *first == self.name {
                        break;
                    }
                    first
                }
                _ => break,
            };
            await_absence(&self.zk, &child(&self.path, awaited)).await?;
        }
        delete_surely(&self.zk, &child(&self.path, READY)).await
    }

    /// Takes this party away without waiting for anybody, for whoever gives up waiting for the others. Those who have entered
    /// by then have counted on it.
    pub async fn withdraw(&self) -> Result<(), Error> {
        delete_surely(&self.zk, &self.own()).await
    }

    async fn parties(&self) -> Result<Vec<String>, Error> {
        loop {
            match self.zk.children(&self.path).await {
                Ok((mut names, _)) => {
                    names.retain(|name| name != READY);
                    return Ok(names);
                }
                Err(Error::NoNode) => return Ok(Vec::new()),
                Err(Error::ConnectionLoss) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Creates a znode under a name that nobody else would delete for another reason than ours, so that doing it twice does no
/// harm.
pub(crate) async fn create_if_absent(zk: &Coordinator, path: &str, mode: CreateMode) -> Result<(), Error> {
    loop {
        match zk.create(path, b"", mode).await {
            Ok(_) | Err(Error::NodeExists) => return Ok(()),
            Err(Error::NoNode) => ensure(zk, crate::wire::zk::path::parent(path).unwrap_or_default()).await?,
            Err(Error::UnknownOutcome | Error::ConnectionLoss) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until there is no such znode.
pub(crate) async fn await_absence(zk: &Coordinator, path: &str) -> Result<(), Error> {
    loop {
        match zk.get_and_watch(path).await {
            Ok((_, _, mut watch)) => drop(watch.changed().await),
            Err(Error::NoNode) => return Ok(()),
            Err(Error::ConnectionLoss) => {}
            Err(error) => return Err(error),
        }
    }
}
