//! Which watches this side has, and which of them an event concerns.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::wire::zk::event::EventType;
use crate::wire::zk::request::{WatchLists, WatcherType};

/// One stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchId(pub(crate) u64);

/// How a watch was set, which decides what it sees and how it is set again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WatchKind {
    /// By a read of data, or of the existence of a znode that exists.
    Data,
    /// By asking for a znode that does not exist.
    Exist,
    /// By a read of children.
    Child,
    Persistent,
    Recursive,
}

impl WatchKind {
    const ALL: [WatchKind; 5] =
        [WatchKind::Data, WatchKind::Exist, WatchKind::Child, WatchKind::Persistent, WatchKind::Recursive];

    pub(crate) fn is_one_shot(self) -> bool {
        matches!(self, WatchKind::Data | WatchKind::Exist | WatchKind::Child)
    }

    /// Whether a server's word about "watches of this type" includes this kind.
    fn is_of(self, of: WatcherType) -> bool {
        match of {
            WatcherType::Children => self == WatchKind::Child,
            WatcherType::Data => matches!(self, WatchKind::Data | WatchKind::Exist),
            WatcherType::Persistent => self == WatchKind::Persistent,
            WatcherType::PersistentRecursive => self == WatchKind::Recursive,
            WatcherType::Any => true,
        }
    }
}

type Place = (WatchKind, Arc<str>);

/// All watches of a session, under the paths the server knows.
///
/// Invariant: `at` and `places` hold the same pairs.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    at: BTreeMap<Place, BTreeSet<WatchId>>,
    places: BTreeMap<WatchId, Place>,
}

impl Registry {
    pub(crate) fn add(&mut self, kind: WatchKind, path: &str, id: WatchId) {
        let place = (kind, Arc::from(path));
        self.at.entry(Place::clone(&place)).or_default().insert(id);
        self.places.insert(id, place);
    }

    /// Forgets one watch. If it was the last of any kind on its path, that path is returned: the server can forget it too.
    pub(crate) fn remove(&mut self, id: WatchId) -> Option<Arc<str>> {
        let place = self.places.remove(&id)?;
        if let Some(ids) = self.at.get_mut(&place) {
            ids.remove(&id);
            if ids.is_empty() {
                self.at.remove(&place);
            }
        }
        let path = place.1;
        let is_watched = WatchKind::ALL.iter().any(|kind| self.at.contains_key(&(*kind, Arc::clone(&path))));
        (!is_watched).then_some(path)
    }

    /// Forgets what a `removeWatches` of this type removed at the server.
    pub(crate) fn remove_all(&mut self, path: &str, of: WatcherType) -> Vec<WatchId> {
        WatchKind::ALL
            .into_iter()
            .filter(|kind| kind.is_of(of))
            .flat_map(|kind| self.take(kind, path))
            .collect()
    }

    fn take(&mut self, kind: WatchKind, path: &str) -> BTreeSet<WatchId> {
        let ids = self.at.remove(&(kind, Arc::from(path))).unwrap_or_default();
        for id in &ids {
            self.places.remove(id);
        }
        ids
    }

    /// Who an event concerns, and whether it is the last that they see.
    pub(crate) fn fired(&mut self, event: EventType, path: &str) -> BTreeMap<WatchId, bool> {
        let one_shot: &[WatchKind] = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => &[WatchKind::Data, WatchKind::Exist],
            EventType::NodeDeleted => &[WatchKind::Data, WatchKind::Exist, WatchKind::Child],
            EventType::NodeChildrenChanged => &[WatchKind::Child],
        };
        let mut told: BTreeMap<WatchId, bool> =
            one_shot.iter().flat_map(|kind| self.take(*kind, path)).map(|id| (id, true)).collect();
        let lasting = |kind, path: &str| self.at.get(&(kind, Arc::from(path))).into_iter().flatten();
        told.extend(lasting(WatchKind::Persistent, path).map(|id| (*id, false)));
        if event != EventType::NodeChildrenChanged {
            for path in ancestors(path) {
                told.extend(lasting(WatchKind::Recursive, path).map(|id| (*id, false)));
            }
        }
        told
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = WatchId> {
        self.places.keys().copied()
    }

    /// What sets everything again on a new connection, in pieces of about so many bytes, unless a single path is larger.
    pub(crate) fn set_again(&self, relative_zxid: i64, bytes: usize) -> Vec<WatchLists<'_>> {
        let mut pieces: Vec<WatchLists<'_>> = Vec::new();
        let mut size = bytes;
        for (kind, path) in self.at.keys() {
            if size + path.len() > bytes {
                pieces.push(WatchLists { relative_zxid, ..WatchLists::default() });
                size = 0;
            }
            let piece = pieces.last_mut().expect("the first path begins a piece");
            let list = match kind {
                WatchKind::Data => &mut piece.data,
                WatchKind::Exist => &mut piece.exist,
                WatchKind::Child => &mut piece.child,
                WatchKind::Persistent => &mut piece.persistent,
                WatchKind::Recursive => &mut piece.recursive,
            };
            list.push(Cow::Borrowed(path));
            size += path.len() + 4;
        }
        pieces
    }
}

/// The path itself, its parent, and so on up to the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(0) | None => None,
        Some(at) => Some(&path[..at]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(watches: &[(WatchKind, &str)]) -> Registry {
        let mut registry = Registry::default();
        for (number, (kind, path)) in watches.iter().enumerate() {
            registry.add(*kind, path, WatchId(number as u64));
        }
        registry
    }

    /// Who is told, in the notation `number` or `number!` for the last time.
    fn told(registry: &mut Registry, event: EventType, path: &str) -> String {
        let told = registry.fired(event, path);
        let told: Vec<String> =
            told.iter().map(|(id, over)| format!("{}{}", id.0, if *over { "!" } else { "" })).collect();
        told.join(" ")
    }

    #[test]
    fn each_kind_sees_its_events() {
        use EventType::*;
        use WatchKind::*;
        let all = [
            (Data, "/a"),
            (Exist, "/a"),
            (Child, "/a"),
            (Persistent, "/a"),
            (Recursive, "/a"),
            (Recursive, "/"),
        ];
        for (event, path, expected) in [
            (NodeCreated, "/a", "0! 1! 3 4 5"),
            (NodeDataChanged, "/a", "0! 1! 3 4 5"),
            (NodeDeleted, "/a", "0! 1! 2! 3 4 5"),
            (NodeChildrenChanged, "/a", "2! 3"),
            (NodeCreated, "/a/b/c", "4 5"),
            (NodeChildrenChanged, "/a/b", ""),
            (NodeCreated, "/ab", "5"),
        ] {
            assert_eq!(told(&mut registry(&all), event, path), expected, "{event:?} {path}");
        }
    }

    #[test]
    fn one_shot_means_once() {
        let mut registry = registry(&[(WatchKind::Data, "/a"), (WatchKind::Data, "/a")]);
        assert_eq!(told(&mut registry, EventType::NodeDataChanged, "/a"), "0! 1!");
        assert_eq!(told(&mut registry, EventType::NodeDataChanged, "/a"), "");
        assert_eq!(registry.ids().count(), 0);
    }

    #[test]
    fn the_server_forgets_a_path_with_its_last_watch() {
        let mut registry = registry(&[(WatchKind::Persistent, "/a"), (WatchKind::Data, "/a")]);
        assert_eq!(registry.remove(WatchId(0)), None);
        assert_eq!(registry.remove(WatchId(1)).as_deref(), Some("/a"));
        assert_eq!(registry.remove(WatchId(1)), None);
    }

    #[test]
    fn removal_by_type_takes_what_the_server_takes() {
        use WatchKind::*;
        let all = [(Data, "/a"), (Exist, "/a"), (Child, "/a"), (Persistent, "/a"), (Recursive, "/a")];
        for (of, expected) in [
            (WatcherType::Data, &[0, 1][..]),
            (WatcherType::Children, &[2]),
            (WatcherType::Persistent, &[3]),
            (WatcherType::PersistentRecursive, &[4]),
            (WatcherType::Any, &[0, 1, 2, 3, 4]),
        ] {
            let removed: Vec<u64> = registry(&all).remove_all("/a", of).iter().map(|id| id.0).collect();
            assert_eq!(removed, expected, "{of:?}");
        }
    }

    #[test]
    fn watches_are_set_again_in_pieces_and_each_once() {
        let mut registry = Registry::default();
        let paths: Vec<String> = (0..100).map(|n| format!("/some/path/{n:03}")).collect();
        for (number, path) in paths.iter().enumerate() {
            registry.add(WatchKind::ALL[number % 5], path, WatchId(number as u64));
        }
        let pieces = registry.set_again(7, 200);
        assert!(pieces.len() >= 8, "{}", pieces.len());
        let mut seen = Vec::new();
        for lists in pieces {
            assert_eq!(lists.relative_zxid, 7);
            for list in [lists.data, lists.exist, lists.child, lists.persistent, lists.recursive] {
                seen.extend(list.into_iter().map(Cow::into_owned));
            }
        }
        seen.sort();
        assert_eq!(seen, paths);
    }
}
