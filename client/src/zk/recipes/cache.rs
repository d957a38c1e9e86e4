//! A copy of a part of the tree that follows the original.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::line::child;
use crate::wire::zk::path;
use crate::zk::queue::{Countable, Queue};
use crate::zk::{Coordinator, Data, Error, Event, EventType, Notice, Stat};

/// Events that wait for a slow reader.
const EVENTS_MAX: usize = 4096;

/// How far a cache reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// One znode.
    Node,
    /// One znode and its children.
    Children,
    /// One znode and everything below it.
    Tree,
}

/// A znode as a cache holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Its data.
    pub data: Data,
    /// Its numbers.
    pub stat: Stat,
}

/// A change of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheEvent {
    /// A znode has come.
    Created(String, Cached),
    /// A znode has other data.
    Changed(String, Cached),
    /// A znode has gone; this is what it was.
    Deleted(String, Cached),
    /// Everything that was there at the beginning is in the cache. Told once.
    Ready,
    /// The connection is lost: the cache goes on showing what it last knew.
    Suspended,
    /// The connection is back, and the cache has caught up.
    Resumed,
    /// The reader was so slow that so many events were dropped: look at the cache itself.
    Lagged(u64),
    /// The session is over. This is the last event.
    Over(Error),
}

impl Countable for CacheEvent {
    fn lagged(count: u64) -> CacheEvent {
        CacheEvent::Lagged(count)
    }

    fn lag(&mut self) -> Option<&mut u64> {
        match self {
            CacheEvent::Lagged(count) => Some(count),
            _ => None,
        }
    }
}

/// A copy of a znode, its children or its whole subtree in memory, which follows the original.
///
/// **It promises** that it shows, sooner or later, what is there; that each znode only moves forward; that whoever has
/// received an event finds at least that change in the cache; and that it says when it may be behind
/// ([`CacheEvent::Suspended`]).
///
/// **It does not promise** every change: what is overwritten before it is read is never seen. Nor that two znodes are shown as
/// they were at one moment.
///
/// **Znodes**: none of its own. It stands on one persistent watch, so servers from 3.6 on. It takes the place of Curator's
/// `NodeCache`, `PathChildrenCache`, `TreeCache` and `CuratorCache`.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// use client::zk::recipes::{CacheEvent, CacheScope};
/// let mut cache = zk.cache("/config", CacheScope::Tree);
/// cache.ready().await?;
/// println!("{:?}", cache.get("/config/limits"));
/// while let Some(event) = cache.next().await {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the copy is given up when this is dropped"]
pub struct Cache {
    shared: Arc<Shared>,
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    nodes: Mutex<BTreeMap<String, Cached>>,
    events: Queue<CacheEvent>,
}

#[derive(Debug, Clone)]
enum Standing {
    Loading,
    Ready,
    Over(Error),
}

impl Coordinator {
    /// A copy of what is at this path. Whether it exists already does not matter.
    ///
    /// Must be called inside a tokio runtime, where the task that follows the original then lives.
    pub fn cache(&self, path: &str, scope: CacheScope) -> Cache {
        let shared = Arc::new(Shared { nodes: Mutex::default(), events: Queue::new(EVENTS_MAX) });
        let (sender, standing) = watch::channel(Standing::Loading);
        let follower =
            Follower { zk: self.clone(), root: path.to_owned(), scope, shared: Arc::clone(&shared), sender };
        Cache { shared, standing, task: tokio::spawn(follower.run()) }
    }
}

impl Cache {
    /// Waits until everything that was there at the beginning is in the cache.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut standing = self.standing.clone();
        let settled = standing.wait_for(|standing| !matches!(standing, Standing::Loading)).await;
        match &*settled.map_err(|_| Error::Closed)? {
            Standing::Over(error) => Err(error.clone()),
            Standing::Ready | Standing::Loading => Ok(()),
        }
    }

    /// A znode, if there is one.
    pub fn get(&self, path: &str) -> Option<Cached> {
        self.shared.nodes().get(path).cloned()
    }

    /// The znodes directly below a path, by name.
    pub fn children(&self, path: &str) -> BTreeMap<String, Cached> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let nodes = self.shared.nodes();
        let below = nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        below
            .map(|(path, node)| (&path[prefix.len()..], node))
            .filter(|(name, _)| !name.is_empty() && !name.contains('/'))
            .map(|(name, node)| (name.to_owned(), node.clone()))
            .collect()
    }

    /// Everything, by path.
    pub fn snapshot(&self) -> BTreeMap<String, Cached> {
        self.shared.nodes().clone()
    }

    /// The next event, or `None` after the last.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<CacheEvent> {
        self.shared.events.next().await
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Cached>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a read has found: the znode, or nothing.
    fn found(&self, path: &str, node: Option<Cached>) {
        let mut nodes = self.nodes();
        let old = nodes.get(path);
        // The event goes into the queue before anybody can see the change.
        match node {
            Some(new) => {
                let event = match old {
                    Some(old) if old.stat.mzxid >= new.stat.mzxid => {
                        // No newer data, but perhaps other children.
                        if old.stat.pzxid < new.stat.pzxid || old.stat.aversion < new.stat.aversion {
                            nodes.insert(path.to_owned(), new);
                        }
                        return;
                    }
                    // The same name, but another znode.
                    Some(old) if old.stat.czxid != new.stat.czxid => {
                        self.events.push(CacheEvent::Deleted(path.to_owned(), old.clone()));
                        CacheEvent::Created(path.to_owned(), new.clone())
                    }
                    Some(_) => CacheEvent::Changed(path.to_owned(), new.clone()),
                    None => CacheEvent::Created(path.to_owned(), new.clone()),
                };
                self.events.push(event);
                nodes.insert(path.to_owned(), new);
            }
            None => {
                if let Some(old) = nodes.remove(path) {
                    self.events.push(CacheEvent::Deleted(path.to_owned(), old));
                }
            }
        }
    }
}

struct Follower {
    zk: Coordinator,
    root: String,
    scope: CacheScope,
    shared: Arc<Shared>,
    sender: watch::Sender<Standing>,
}

impl Follower {
    async fn run(self) {
        let error = loop {
            match self.follow().await {
                Ok(()) | Err(Error::ConnectionLoss) => {}
                Err(error) => break error,
            }
        };
        self.sender.send_replace(Standing::Over(error.clone()));
        self.shared.events.finish(CacheEvent::Over(error));
    }

    /// Sets the watch, reads everything, then follows. Ends with the watch or an error.
    async fn follow(&self) -> Result<(), Error> {
        let mut watch = match self.scope {
            CacheScope::Node => self.zk.watch(&self.root).await?,
            CacheScope::Children | CacheScope::Tree => self.zk.watch_recursive(&self.root).await?,
        };
        self.load().await?;
        if matches!(*self.sender.borrow(), Standing::Loading) {
            self.shared.events.push(CacheEvent::Ready);
            self.sender.send_replace(Standing::Ready);
        }
        while let Some(notice) = watch.next().await {
            match notice {
                Notice::Changed(event) => self.apply(event).await?,
                Notice::Suspended => self.shared.events.push(CacheEvent::Suspended),
                Notice::Resumed => {
                    self.load().await?;
                    self.shared.events.push(CacheEvent::Resumed);
                }
                Notice::Lagged(_) => self.load().await?,
                Notice::Removed | Notice::Expired | Notice::Closed => {}
            }
        }
        // Whoever comes here lost the watch alone, or the next request says that the session is over.
        Ok(())
    }

    fn is_inside(&self, path: &str) -> bool {
        match self.scope {
            CacheScope::Node => path == self.root,
            CacheScope::Children => {
                let parent = path::parent(path).map(|parent| if parent.is_empty() { "/" } else { parent });
                path == self.root || parent == Some(&self.root)
            }
            CacheScope::Tree => true,
        }
    }

    async fn apply(&self, event: Event) -> Result<(), Error> {
        if !self.is_inside(&event.path) {
            return Ok(());
        }
        match event.kind {
            EventType::NodeDeleted => {
                let nodes = self.shared.nodes();
                let czxid = nodes.get(&event.path).map_or(0, |node| node.stat.czxid);
                drop(nodes);
                // Another znode of that name may have been read already.
                if event.zxid.is_none_or(|zxid| czxid <= zxid.to_wire()) {
                    self.shared.found(&event.path, None);
                }
            }
            EventType::NodeCreated | EventType::NodeDataChanged => {
                self.shared.found(&event.path, node(self.zk.get(&event.path).await)?);
            }
            // Only the watch of a single znode tells this, and of a single znode no child matters.
            EventType::NodeChildrenChanged => {}
        }
        Ok(())
    }

    /// Reads everything, level by level, each level at once.
    async fn load(&self) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let mut level = vec![self.root.clone()];
        let mut depth = 0;
        while !level.is_empty() {
            let has_children = match self.scope {
                CacheScope::Node => false,
                CacheScope::Children => depth == 0,
                CacheScope::Tree => true,
            };
            let reads: Vec<_> = level
                .iter()
                .map(|path| (self.zk.get(path), has_children.then(|| self.zk.children(path))))
                .collect();
            let mut next = Vec::new();
            for (path, (data, children)) in level.iter().zip(reads) {
                let found = node(data.await)?;
                if found.is_some() {
                    seen.insert(path.clone());
                }
                self.shared.found(path, found);
                if let Some(children) = children {
                    match children.await {
                        Ok((names, _)) => next.extend(names.iter().map(|name| child(path, name))),
                        Err(Error::NoNode | Error::NoAuth) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            level = next;
            depth += 1;
        }
        let gone: Vec<String> =
            self.shared.nodes().keys().filter(|path| !seen.contains(*path)).cloned().collect();
        // The deepest first, as they must have gone.
        for path in gone.iter().rev() {
            self.shared.found(path, None);
        }
        Ok(())
    }
}

/// What a read has found. What may not be read is not there for us.
fn node(result: Result<(Data, Stat), Error>) -> Result<Option<Cached>, Error> {
    match result {
        Ok((data, stat)) => Ok(Some(Cached { data, stat })),
        Err(Error::NoNode | Error::NoAuth) => Ok(None),
        Err(error) => Err(error),
    }
}
