//! Which containers and nodes with a time to live are empty, and when each is due to go.

use std::collections::{BTreeMap, BTreeSet};

use super::arena::NodeId;
use super::znode::{Ownership, Znode};

/// Empty candidates by the wall clock millisecond at which they are due.
#[derive(Debug, Default)]
pub struct Lifetimes {
    due: BTreeSet<(i64, NodeId)>,
    at: BTreeMap<NodeId, i64>,
    containers: usize,
    ttls: usize,
}

impl Lifetimes {
    /// A node was created (or restored).
    pub fn add(&mut self, id: NodeId, node: &Znode) {
        match node.owner.ownership() {
            Ownership::Container => self.containers += 1,
            Ownership::Ttl { .. } => self.ttls += 1,
            _ => return,
        }
        self.refresh(id, node);
    }

    /// A node is gone.
    pub fn remove(&mut self, id: NodeId, node: &Znode) {
        match node.owner.ownership() {
            Ownership::Container => self.containers -= 1,
            Ownership::Ttl { .. } => self.ttls -= 1,
            _ => return,
        }
        self.set(id, None);
    }

    /// A node's children or data changed.
    pub fn refresh(&mut self, id: NodeId, node: &Znode) {
        let due = match node.owner.ownership() {
            Ownership::Nobody | Ownership::Session(_) => return,
            _ if node.child_count > 0 => None,
            Ownership::Ttl { ms } => Some(node.mtime.saturating_add(ms)),
            // Never used: kept, unless configuration says how long to wait for a first child.
            Ownership::Container if node.creates == 0 => Some(i64::MAX),
            Ownership::Container => Some(i64::MIN),
        };
        self.set(id, due);
    }

    fn set(&mut self, id: NodeId, due: Option<i64>) {
        let before = match due {
            Some(due) => self.at.insert(id, due),
            None => self.at.remove(&id),
        };
        if before != due {
            if let Some(before) = before {
                self.due.remove(&(before, id));
            }
            if let Some(due) = due {
                self.due.insert((due, id));
            }
        }
    }

    /// Nodes that are due at `now_ms`, earliest first.
    pub fn due(&self, now_ms: i64) -> impl Iterator<Item = NodeId> {
        self.due.iter().take_while(move |(due, _)| *due < now_ms).map(|(_, id)| *id)
    }

    /// Containers that never had a child.
    pub fn never_used(&self) -> impl Iterator<Item = NodeId> {
        self.due.range((i64::MAX, NodeId::ROOT)..).map(|(_, id)| *id)
    }

    pub fn container_count(&self) -> usize {
        self.containers
    }

    pub fn ttl_count(&self) -> usize {
        self.ttls
    }
}
