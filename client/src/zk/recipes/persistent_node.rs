//! A znode that stays.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::line::{delete_surely, ensure};
use crate::wire::zk::path;
use crate::zk::{Coordinator, CreateMode, Error, SessionId};

/// A znode that is created again whenever somebody deletes it, as long as the session lives.
///
/// **It promises** that the znode is there with the data that was last set, sooner or later after whatever happens to it. Of an
/// ephemeral one that is found under another session's name, as after a restart of this program, the other session's is
/// replaced. **It does not promise** that it is there at every moment, nor a znode for longer than the session lives.
///
/// **Znodes**: the one at `PATH`, of the mode that was asked for. Curator's `PersistentNode` does the same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let node = zk.persistent_node("/workers/7", b"here", client::zk::CreateMode::Ephemeral);
/// node.created().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it removes the znode"]
pub struct PersistentNode {
    standing: watch::Receiver<Standing>,
    data: watch::Sender<Vec<u8>>,
    stop: Arc<Notify>,
    task: Option<JoinHandle<Result<(), Error>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Absent,
    Created,
    Over(Error),
}

impl Coordinator {
    /// Keeps a znode at this path. `mode` must not be sequential.
    ///
    /// Must be called inside a tokio runtime, where the task that keeps it then lives.
    pub fn persistent_node(&self, path: &str, data: &[u8], mode: CreateMode) -> PersistentNode {
        self.keep_node(path, data, mode, false)
    }

    /// `stays`: nobody removes the znode in the end.
    pub(crate) fn keep_node(&self, path: &str, data: &[u8], mode: CreateMode, stays: bool) -> PersistentNode {
        let (sender, standing) = watch::channel(Standing::Absent);
        let (data, new_data) = watch::channel(data.to_vec());
        let stop = Arc::new(Notify::new());
        let task = Task { zk: self.clone(), path: path.to_owned(), mode, data: new_data, sender, stays };
        let task = Some(tokio::spawn(task.run(Arc::clone(&stop))));
        PersistentNode { standing, data, stop, task }
    }
}

impl PersistentNode {
    /// Waits until the znode is there. Fails when the session is over, or the server refuses the znode for good.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn created(&self) -> Result<(), Error> {
        let mut standing = self.standing.clone();
        let settled = standing.wait_for(|standing| *standing != Standing::Absent).await;
        let settled = settled.map_err(|_| Error::Closed)?.clone();
        match settled {
            Standing::Over(error) => Err(error),
            Standing::Created | Standing::Absent => Ok(()),
        }
    }

    /// Gives the znode other data, now and whenever it is created again.
    pub fn set(&self, data: &[u8]) {
        self.data.send_replace(data.to_vec());
    }

    /// Removes the znode and waits until it is gone.
    pub async fn close(mut self) -> Result<(), Error> {
        self.stop.notify_one();
        match self.task.take() {
            Some(task) => task.await.map_err(|_| Error::Closed)?,
            None => Ok(()),
        }
    }
}

impl Drop for PersistentNode {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

struct Task {
    zk: Coordinator,
    path: String,
    mode: CreateMode,
    data: watch::Receiver<Vec<u8>>,
    sender: watch::Sender<Standing>,
    stays: bool,
}

impl Task {
    async fn run(mut self, stop: Arc<Notify>) -> Result<(), Error> {
        let end = tokio::select! {
            // In this order, not a random one: a simulated life must be repeatable.
            biased;
            error = self.keep() => error,
            () = stop.notified() => Error::Closed,
        };
        self.sender.send_replace(Standing::Over(end));
        if self.stays {
            return Ok(());
        }
        match delete_surely(&self.zk, &self.path).await {
            Err(Error::SessionExpired | Error::Closed) => Ok(()),
            result => result,
        }
    }

    /// Ends only with the session, or when the znode cannot be.
    async fn keep(&mut self) -> Error {
        loop {
            match self.once().await {
                Ok(()) | Err(Error::ConnectionLoss | Error::UnknownOutcome | Error::BadVersion) => {}
                Err(error) => return error,
            }
        }
    }

    /// Makes the znode what it should be, and waits until that may have changed.
    async fn once(&mut self) -> Result<(), Error> {
        let data = self.data.borrow_and_update().clone();
        let owner = self.zk.session_id();
        let (found, stat, mut watch) = match self.zk.get_and_watch(&self.path).await {
            Err(Error::NoNode) => {
                self.sender.send_replace(Standing::Absent);
                return match self.zk.create(&self.path, &data, self.mode).await {
                    Ok(_) | Err(Error::NodeExists) => Ok(()),
                    Err(Error::NoNode) => {
                        ensure(&self.zk, path::parent(&self.path).unwrap_or_default()).await
                    }
                    Err(error) => Err(error),
                };
            }
            result => result?,
        };
        let is_foreign = self.mode == CreateMode::Ephemeral
            && owner.is_some_and(|owner| owner != SessionId(stat.ephemeral_owner));
        if is_foreign {
            return match self.zk.delete(&self.path, stat.version).await {
                Err(Error::NoNode) => Ok(()),
                result => result,
            };
        }
        if *found != *data {
            return match self.zk.set(&self.path, &data, stat.version).await {
                Err(Error::NoNode) => Ok(()),
                result => result.map(drop),
            };
        }
        self.sender.send_replace(Standing::Created);
        tokio::select! {
            biased;
            _ = watch.changed() => {}
            changed = self.data.changed() => {
                if changed.is_err() {
                    // Nobody can give it other data any more; the stop is on its way.
                    watch.changed().await;
                }
            }
        }
        Ok(())
    }
}
