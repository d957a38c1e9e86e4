//! Sessions as every replica knows them: which exist, how long they may be silent, and what goes with them.
//!
//! Nothing here expires anybody: the clock belongs to the leader, which proposes the end of a session like any write.

use std::collections::{BTreeMap, BTreeSet};

use client::wire::zk::SessionId;

use super::arena::NodeId;

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    pub timeout_ms: u32,
    /// The nodes that go when it ends.
    pub ephemerals: BTreeSet<NodeId>,
}

/// All live sessions. Invariant: an ephemeral node exists exactly if its owner is here and lists it.
#[derive(Debug, Default)]
pub struct Sessions {
    live: BTreeMap<SessionId, Session>,
    ephemerals: usize,
}

impl Sessions {
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.live.get(&id)
    }

    pub fn contains(&self, id: SessionId) -> bool {
        self.live.contains_key(&id)
    }

    pub fn count(&self) -> usize {
        self.live.len()
    }

    /// Ephemeral nodes of all sessions together.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.live.iter().map(|(id, session)| (*id, session))
    }

    pub(super) fn open(&mut self, id: SessionId, timeout_ms: u32) {
        self.live.insert(id, Session { timeout_ms, ephemerals: BTreeSet::new() });
    }

    /// Forgets a session whose ephemerals are gone.
    pub(super) fn close(&mut self, id: SessionId) {
        let closed = self.live.remove(&id);
        assert!(
            closed.is_none_or(|session| session.ephemerals.is_empty()),
            "ephemerals go before their session"
        );
    }

    /// False if there is no such session.
    pub(super) fn add_ephemeral(&mut self, id: SessionId, node: NodeId) -> bool {
        match self.live.get_mut(&id) {
            Some(session) => {
                self.ephemerals += session.ephemerals.insert(node) as usize;
                true
            }
            None => false,
        }
    }

    pub(super) fn remove_ephemeral(&mut self, id: SessionId, node: NodeId) {
        if let Some(session) = self.live.get_mut(&id) {
            self.ephemerals -= session.ephemerals.remove(&node) as usize;
        }
    }
}
