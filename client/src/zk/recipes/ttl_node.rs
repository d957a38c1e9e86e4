//! A znode that outlives its session, but not by much.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::line::child;
use super::persistent_node::PersistentNode;
use crate::zk::{Coordinator, CreateMode, Error};

/// Whose time to live keeps its parent there.
const TOUCH: &str = "touch";
/// The time to live is renewed so often before it is over.
const TOUCHES: u32 = 2;

/// A znode that stays as long as somebody keeps it, and for so long after that: an ephemeral that survives a short end of its
/// session.
///
/// **It promises** that the znode is there with the data that was last set, sooner or later after whatever happens to it, and
/// goes when nobody has kept it for the time to live. Renewing that time is no change that a watch on the znode would tell.
/// **It does not promise** an owner: several can keep the same znode, and it goes with the last.
///
/// Servers must offer znodes with a time to live, as ours do; Apache ZooKeeper does with `extendedTypesEnabled`.
///
/// **Znodes**: the one at `PATH`, a container, and `PATH/touch`, with a time to live. Curator's `PersistentTtlNode` does the
/// same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// use std::time::Duration;
/// let node = zk.persistent_ttl_node("/workers/7", b"here", Duration::from_secs(60));
/// node.created().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it lets the znode go in time"]
pub struct PersistentTtlNode {
    node: PersistentNode,
    toucher: JoinHandle<()>,
}

impl Coordinator {
    /// Keeps a znode at this path that outlives this by `ttl`.
    ///
    /// Must be called inside a tokio runtime, where the tasks that keep it then live.
    pub fn persistent_ttl_node(&self, path: &str, data: &[u8], ttl: Duration) -> PersistentTtlNode {
        let node = self.keep_node(path, data, CreateMode::Container, true);
        let toucher = tokio::spawn(touch(self.clone(), child(path, TOUCH), ttl));
        PersistentTtlNode { node, toucher }
    }
}

impl PersistentTtlNode {
    /// Waits until the znode is there. Fails when the session is over, or the server refuses the znode for good.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn created(&self) -> Result<(), Error> {
        self.node.created().await
    }

    /// Gives the znode other data, now and whenever it is created again.
    pub fn set(&self, data: &[u8]) {
        self.node.set(data);
    }
}

impl Drop for PersistentTtlNode {
    fn drop(&mut self) {
        self.toucher.abort();
    }
}

/// Renews the time to live until the session is over.
async fn touch(zk: Coordinator, path: String, ttl: Duration) {
    loop {
        let touched = match zk.set(&path, b"", None).await {
            Err(Error::NoNode) => zk.create(&path, b"", CreateMode::Ttl(ttl)).await.map(drop),
            result => result.map(drop),
        };
        let pause = match touched {
            Err(Error::SessionExpired | Error::Closed | Error::AuthFailed) => return,
            // The parent is not there yet, or the connection; that may change at any time.
            Err(_) => (ttl / TOUCHES).min(Duration::from_millis(100)),
            Ok(()) => ttl / TOUCHES,
        };
        tokio::time::sleep(pause).await;
    }
}
