//! Who is there.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cache::{Cache, CacheEvent, CacheScope};
use super::line::child;
use super::persistent_node::PersistentNode;
use crate::zk::{Coordinator, CreateMode, Error};

/// One member of a group, and its view of all the others.
///
/// **It promises** that a member is there from when it joins until it leaves or its session ends, and that everybody's view
/// is right sooner or later. **It does not promise** that who is seen is still there, or that two views are the same at one
/// moment.
///
/// **Znodes**: `PATH/ID`, ephemeral, with the member's data, as Curator's `GroupMember` has them. kazoo's `Party` uses
/// names of its own below the same kind of path, and is seen under these.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let mut member = zk.join_group("/workers", "worker-1", b"10.0.0.1:7000").await?;
/// loop {
///     println!("{:?}", member.members());
///     member.changed().await?;
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it leaves the group"]
pub struct GroupMember {
    node: PersistentNode,
    cache: Cache,
    path: String,
}

impl Coordinator {
    /// Joins the group at this path under an id that nobody else uses, and waits until the others can see it.
    pub async fn join_group(&self, path: &str, id: &str, data: &[u8]) -> Result<GroupMember, Error> {
        let node = self.persistent_node(&child(path, id), data, CreateMode::Ephemeral);
        node.created().await?;
        let cache = self.cache(path, CacheScope::Children);
        cache.ready().await?;
        Ok(GroupMember { node, cache, path: path.to_owned() })
    }
}

impl GroupMember {
    /// Everybody who is there, with their data, by id.
    pub fn members(&self) -> BTreeMap<String, Bytes> {
        self.cache.children(&self.path).into_iter().map(|(id, node)| (id, node.data.into_bytes())).collect()
    }

    /// Gives this member other data.
    pub fn set(&self, data: &[u8]) {
        self.node.set(data);
    }

    /// Waits until [`GroupMember::members`] may have changed. Fails when the session is over.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Result<(), Error> {
        loop {
            match self.cache.next().await {
                Some(CacheEvent::Over(error)) => return Err(error),
                None => return Err(Error::Closed),
                Some(CacheEvent::Ready | CacheEvent::Suspended | CacheEvent::Resumed) => {}
                Some(_) => return Ok(()),
            }
        }
    }

    /// Leaves, and waits until the others can see it.
    pub async fn leave(self) -> Result<(), Error> {
        self.node.close().await
    }
}
