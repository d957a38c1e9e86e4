//! What ends by itself: silent sessions, empty containers, nodes that outlived their time.

use client::wire::zk::SessionId;

use super::{Now, Service};
use crate::tree::Outcome;
use crate::tree::arena::NodeId;
use crate::tree::command::{Command, Op};
use crate::tree::znode::Ownership;

/// Reapings under way at once: each is a small command, and the next tick brings more.
const REAPING_MAX: usize = 500;

impl Service {
    /// Ends sessions that were silent too long, and reaps what is due.
    pub fn tick(&mut self, now: Now) {
        self.lose_patience(now);
        self.report_touches();
        self.end_silent_local_sessions(now);
        if !self.keeps_time() {
            return;
        }
        for session in self.clock.advance(now.monotonic_ms()) {
            if self.ending.insert(session) {
                self.clients.metrics.stale_sessions_expired += 1;
                self.propose(None, session, &[], Op::CloseSession, now);
            }
        }
        self.reap(now);
    }

    /// Proposes the end of empty containers and outlived nodes.
    pub(super) fn reap(&mut self, now: Now) {
        if !self.serving || self.reaping.len() >= REAPING_MAX {
            return;
        }
        let tree = &self.tree;
        let mut due: Vec<NodeId> = tree.lifetimes().due(now.wall_ms).take(REAPING_MAX).collect();
        if let Some(patience) = self.settings.tree.container_never_used_max {
            let born_before = now.wall_ms - patience.as_millis() as i64;
            let unused = tree.lifetimes().never_used().filter(|id| tree.node(*id).ctime < born_before);
            due.extend(unused.take(REAPING_MAX));
        }
        for id in due {
            let path = self.tree.path(id);
            if self.reaping.contains_key(&path) {
                continue;
            }
            let node = self.tree.node(id);
            let kind = node.owner.ownership();
            let (czxid, mzxid, pzxid) = (node.czxid.0, node.mzxid.0, node.pzxid.0);
            let op = Op::Reap { path: &path, czxid, mzxid, pzxid };
            self.propose(None, SessionId::NONE, &[], op, now);
            self.reaping.insert(path, kind);
        }
    }

    pub(super) fn note_reaped(&mut self, bytes: &[u8], outcome: &Outcome<'_>) {
        let Ok(Command { op: Op::Reap { path, .. }, .. }) = Command::decode(bytes) else { return };
        match (self.reaping.remove(path), outcome) {
            (Some(Ownership::Container), Outcome::Deleted) => {
                self.clients.metrics.container_node_deleted_count += 1
            }
            (Some(Ownership::Ttl { .. }), Outcome::Deleted) => {
                self.clients.metrics.ttl_node_deleted_count += 1
            }
            _ => {}
        }
    }
}
