//! Who is told of a change.
//!
//! Watches belong to connections of this server, not to the replicated state: they are lost with the connection, and
//! clients bring them back. Two registries exist in the protocol, *data* and *child*; a one-shot watch is in one of
//! them, a persistent one in both, a recursive one in the data registry for a whole subtree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::wire::zk::EventType;
use client::wire::zk::path;
use client::wire::zk::request::WatcherType;
use hashbrown::HashMap;

use super::Change;
use super::acl::AclList;

/// A client connection of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The kinds of watches one connection has on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    const NONE: Kinds = Kinds(0);
    /// One-shot, left by getData and exists.
    pub const DATA: Kinds = Kinds(1);
    /// One-shot, left by getChildren.
    pub const CHILD: Kinds = Kinds(2);
    pub const PERSISTENT: Kinds = Kinds(4);
    pub const RECURSIVE: Kinds = Kinds(8);

    const HEARS_DATA: Kinds = Kinds(1 | 4 | 8);
    const HEARS_CHILD: Kinds = Kinds(2 | 4);

    fn intersects(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    fn with(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    fn without(self, other: Kinds) -> Kinds {
        Kinds(self.0 & !other.0)
    }

    /// How many entries this makes in the two registries.
    fn registrations(self) -> usize {
        self.intersects(Kinds::HEARS_DATA) as usize + self.intersects(Kinds::HEARS_CHILD) as usize
    }

    fn meant_by(kind: WatcherType) -> Kinds {
        match kind {
            WatcherType::Children => Kinds::CHILD,
            WatcherType::Data => Kinds::DATA,
            WatcherType::Any => Kinds(15),
            WatcherType::Persistent => Kinds::PERSISTENT,
            WatcherType::PersistentRecursive => Kinds::RECURSIVE,
        }
    }
}

/// An event for one connection.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    pub connection: ConnectionId,
    pub kind: EventType,
    pub path: &'a str,
    /// Only somebody who may read by this list is told.
    pub readers: &'a AclList,
}

/// All watches of all connections. Invariants: `by_path` and `by_connection` are each other's inverse; no entry has
/// empty kinds; `registrations` is their sum.
#[derive(Debug, Default)]
pub struct Watches {
    by_path: HashMap<Arc<str>, Vec<(ConnectionId, Kinds)>, foldhash::fast::FixedState>,
    by_connection: BTreeMap<ConnectionId, BTreeSet<Arc<str>>>,
    registrations: usize,
    recursive: usize,
    path_bytes: usize,
}

impl Watches {
    /// `seed` keeps strangers from choosing paths that collide.
    pub fn new(seed: u64) -> Watches {
        Watches {
            by_path: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            ..Watches::default()
        }
    }

    /// Entries in both registries.
    pub fn count(&self) -> usize {
        self.registrations
    }

    pub fn path_count(&self) -> usize {
        self.by_path.len()
    }

    pub fn connection_count(&self) -> usize {
        self.by_connection.len()
    }

    /// Paths that a connection watches.
    pub fn count_of(&self, connection: ConnectionId) -> usize {
        self.by_connection.get(&connection).map_or(0, BTreeSet::len)
    }

    /// Memory taken, roughly.
    pub fn memory_bytes(&self) -> u64 {
        (self.path_bytes + self.by_path.len() * 96 + self.registrations * 48) as u64
    }

    /// What each connection watches, for inspection.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, impl Iterator<Item = &str>)> {
        self.by_connection.iter().map(|(connection, paths)| (*connection, paths.iter().map(|path| &**path)))
    }

    pub fn add(&mut self, connection: ConnectionId, path: &str, kind: Kinds) {
        let (path, watchers) = match self.by_path.get_key_value(path) {
            Some((path, _)) => {
                let path = path.clone();
                let watchers = self.by_path.get_mut(&path).expect("just found");
                (path, watchers)
            }
            None => {
                let path: Arc<str> = path.into();
                self.path_bytes += path.len();
                let watchers = self.by_path.entry(path.clone()).or_default();
                (path, watchers)
            }
        };
        let before = match watchers.binary_search_by_key(&connection, |(connection, _)| *connection) {
            Ok(at) => {
                let kinds = &mut watchers[at].1;
                std::mem::replace(kinds, kinds.with(kind))
            }
            Err(at) => {
                watchers.insert(at, (connection, kind));
                self.by_connection.entry(connection).or_default().insert(path);
                Kinds::NONE
            }
        };
        self.count_change(before, before.with(kind));
    }

    /// Whether a connection has such a watch on exactly this path.
    pub fn has(&self, connection: ConnectionId, path: &str, kind: WatcherType) -> bool {
        self.by_path.get(path).is_some_and(|watchers| {
            watchers
                .binary_search_by_key(&connection, |(connection, _)| *connection)
                .is_ok_and(|at| watchers[at].1.intersects(Kinds::meant_by(kind)))
        })
    }

    /// Takes such watches away. False if there were none.
    pub fn remove(&mut self, connection: ConnectionId, path: &str, kind: WatcherType) -> bool {
        let had = self.has(connection, path, kind);
        if had {
            self.subtract(connection, path, Kinds::meant_by(kind));
        }
        had
    }

    /// The connection is gone.
    pub fn forget(&mut self, connection: ConnectionId) {
        for path in self.by_connection.get(&connection).cloned().into_iter().flatten() {
            self.subtract(connection, &path, Kinds(15));
        }
    }

    fn subtract(&mut self, connection: ConnectionId, path: &str, kinds: Kinds) {
        let Some(watchers) = self.by_path.get_mut(path) else { return };
        let Ok(at) = watchers.binary_search_by_key(&connection, |(connection, _)| *connection) else {
            return;
        };
        let before = watchers[at].1;
        let after = before.without(kinds);
        watchers[at].1 = after;
        if after == Kinds::NONE {
            watchers.remove(at);
            if watchers.is_empty() {
                self.by_path.remove(path);
                self.path_bytes -= path.len();
            }
            if let Some(paths) = self.by_connection.get_mut(&connection) {
                paths.remove(path);
                if paths.is_empty() {
                    self.by_connection.remove(&connection);
                }
            }
        }
        self.count_change(before, after);
    }

    fn count_change(&mut self, before: Kinds, after: Kinds) {
        self.registrations = self.registrations + after.registrations() - before.registrations();
        self.recursive = self.recursive + after.intersects(Kinds::RECURSIVE) as usize
            - before.intersects(Kinds::RECURSIVE) as usize;
    }

    /// Tells `deliver` who must hear of a change, in the order in which they must, and uses up one-shot watches.
    pub fn trigger(&mut self, change: &Change, mut deliver: impl FnMut(Notice<'_>)) {
        if self.by_path.is_empty() {
            return;
        }
        let Change { kind, path, readers, parent_readers } = change;
        let told =
            self.fire_data(path, |connection| deliver(Notice { connection, kind: *kind, path, readers }));
        if *kind == EventType::NodeDataChanged {
            return;
        }
        if *kind == EventType::NodeDeleted {
            self.fire_child(path, |connection| {
                // One deletion, one event, even for who watched both registries.
                if told.binary_search(&connection).is_err() {
                    deliver(Notice { connection, kind: *kind, path, readers });
                }
            });
        }
        let parent = match path::parent(path) {
            Some("") | None => "/",
            Some(parent) => parent,
        };
        self.fire_child(parent, |connection| {
            let kind = EventType::NodeChildrenChanged;
            deliver(Notice { connection, kind, path: parent, readers: parent_readers });
        });
    }

    /// Fires the data registry on a path and the recursive watches above it; returns who heard, sorted.
    fn fire_data(&mut self, path: &str, mut deliver: impl FnMut(ConnectionId)) -> Vec<ConnectionId> {
        let hears = |watchers: &Vec<(ConnectionId, Kinds)>, kinds: Kinds| -> Vec<ConnectionId> {
            watchers
                .iter()
                .filter(|(_, held)| held.intersects(kinds))
                .map(|(connection, _)| *connection)
                .collect()
        };
        let mut told =
            self.by_path.get(path).map_or(Vec::new(), |watchers| hears(watchers, Kinds::HEARS_DATA));
        let here = told.len();
        if self.recursive > 0 {
            let mut above = path;
            while let Some(at) = above.rfind('/').filter(|_| above != "/") {
                above = if at == 0 { "/" } else { &above[..at] };
                if let Some(watchers) = self.by_path.get(above) {
                    told.extend(hears(watchers, Kinds::RECURSIVE));
                }
            }
        }
        if told.len() > here {
            told.sort_unstable();
            told.dedup();
        }
        told.iter().for_each(|connection| deliver(*connection));
        self.use_up(path, Kinds::DATA);
        told
    }

    fn fire_child(&mut self, path: &str, mut deliver: impl FnMut(ConnectionId)) {
        let Some(watchers) = self.by_path.get(path) else { return };
        let hears: Vec<ConnectionId> = watchers
            .iter()
            .filter(|(_, kinds)| kinds.intersects(Kinds::HEARS_CHILD))
            .map(|(connection, _)| *connection)
            .collect();
        hears.into_iter().for_each(&mut deliver);
        self.use_up(path, Kinds::CHILD);
    }

    /// Takes one kind of watch on a path away from everybody, in one pass: a node may have thousands of watchers.
    fn use_up(&mut self, path: &str, kind: Kinds) {
        let Some(mut watchers) = self.by_path.remove(path) else { return };
        let mut key: Option<Arc<str>> = None;
        let (mut registrations, by_connection) = (self.registrations, &mut self.by_connection);
        watchers.retain_mut(|(connection, kinds)| {
            let after = kinds.without(kind);
            registrations = registrations + after.registrations() - kinds.registrations();
            *kinds = after;
            if after == Kinds::NONE
                && let Some(paths) = by_connection.get_mut(connection)
            {
                key = paths.take(path).or(key.take());
                if paths.is_empty() {
                    by_connection.remove(connection);
                }
            }
            after != Kinds::NONE
        });
        self.registrations = registrations;
        if let Some((connection, _)) = watchers.first() {
            let key = key.or_else(|| self.by_connection.get(connection)?.get(path).cloned());
            self.by_path.insert(key.expect("a watcher's paths name what it watches"), watchers);
        } else {
            self.path_bytes -= path.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::acl::AclId;
    use crate::tree::acl::AclTable;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn fire(watches: &mut Watches, kind: EventType, path: &str) -> Vec<(u64, EventType, String)> {
        let open = AclTable::default().get(AclId::OPEN).clone();
        let change = Change { kind, path: path.into(), readers: open.clone(), parent_readers: open };
        let mut out = Vec::new();
        watches
            .trigger(&change, |notice| out.push((notice.connection.0, notice.kind, notice.path.to_owned())));
        out
    }

    #[test]
    fn one_shot_watches_fire_once_and_a_deletion_is_told_once() {
        let mut watches = Watches::new(0);
        watches.add(A, "/p/n", Kinds::DATA);
        watches.add(A, "/p/n", Kinds::CHILD);
        watches.add(B, "/p", Kinds::CHILD);
        assert_eq!((watches.count(), watches.path_count()), (3, 2));
        let events = fire(&mut watches, EventType::NodeDeleted, "/p/n");
        assert_eq!(
            events,
            [(1, EventType::NodeDeleted, "/p/n".into()), (2, EventType::NodeChildrenChanged, "/p".into())]
        );
        assert_eq!(fire(&mut watches, EventType::NodeDeleted, "/p/n"), []);
        assert_eq!((watches.count(), watches.path_count(), watches.connection_count()), (0, 0, 0));
    }

    #[test]
    fn persistent_and_recursive_watches_stay() {
        let mut watches = Watches::new(0);
        watches.add(A, "/p", Kinds::PERSISTENT);
        watches.add(A, "/p", Kinds::RECURSIVE);
        watches.add(B, "/", Kinds::RECURSIVE);
        for _ in 0..2 {
            assert_eq!(
                fire(&mut watches, EventType::NodeCreated, "/p/x"),
                [
                    (1, EventType::NodeCreated, "/p/x".into()),
                    (2, EventType::NodeCreated, "/p/x".into()),
                    (1, EventType::NodeChildrenChanged, "/p".into()),
                ]
            );
        }
        assert!(watches.has(A, "/p", WatcherType::Any));
        assert!(watches.remove(A, "/p", WatcherType::PersistentRecursive));
        assert!(!watches.remove(A, "/p", WatcherType::PersistentRecursive));
        watches.forget(B);
        assert_eq!(
            fire(&mut watches, EventType::NodeCreated, "/p/x"),
            [(1, EventType::NodeChildrenChanged, "/p".into())]
        );
        watches.forget(A);
        assert_eq!((watches.count(), watches.path_count(), watches.connection_count()), (0, 0, 0));
    }
}
