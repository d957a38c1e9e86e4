//! What does a tree look like after a transaction?
//!
//! Transactions tell results, not requests, so replaying one over a tree that already shows its effect, or that of later
//! ones, must do no harm. The rules are ZooKeeper's: what cannot be applied is skipped, a parent's cversion and pzxid only
//! rise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::wire::zk::acl::Acl;

use super::digest::node_digest;
use super::txn::{Create, CreateKind, Txn, TxnHeader};
use super::{ImportedNode, ImportedStat, NodeKind};

/// The owner that marks a container.
const CONTAINER_OWNER: i64 = i64::MIN;
/// The bits that mark the owner of a TTL node; the TTL is in the low 40.
const TTL_OWNER: u64 = 0xff << 56;

/// A tree and its sessions, while transactions are replayed.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) nodes: BTreeMap<String, ImportedNode>,
    pub(super) sessions: BTreeMap<i64, i32>,
    ephemerals: BTreeMap<i64, BTreeSet<String>>,
    /// Lists that were seen, so that equal ones are stored once.
    acls: BTreeSet<Arc<[Acl<'static>]>>,
    digest: u64,
}

impl Replay {
    /// The tree that a server without any data begins with.
    pub(super) fn initial() -> Replay {
        let mut replay = Replay::default();
        for path in ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"] {
            let node = ImportedNode {
                data: Some(Vec::new()),
                acl: Arc::from([Acl::open()]),
                stat: ImportedStat::default(),
            };
            replay.load(path.to_owned(), node).expect("parents come first");
        }
        replay
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The sum over all nodes, as ZooKeeper computes it.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Adds a node from a snapshot, whose parent must be there.
    pub(super) fn load(&mut self, path: String, node: ImportedNode) -> Result<(), String> {
        if path != "/" && !parent_of(&path).is_some_and(|parent| self.nodes.contains_key(parent)) {
            return Err(format!("node {path:?} has no parent"));
        }
        if self.nodes.contains_key(&path) {
            return Err(format!("node {path:?} comes twice"));
        }
        let acl = self.shared_acl(&node.acl);
        self.insert(path, ImportedNode { acl, ..node });
        Ok(())
    }

    /// Replays one transaction.
    pub(super) fn apply(&mut self, header: &TxnHeader, txn: &Txn<'_>) {
        match txn {
            Txn::Create(create) => self.create(header, create),
            Txn::Delete { path } => self.delete(path, header.zxid),
            Txn::SetData { path, data, version } => self.change(path, |node| {
                node.data = data.map(<[u8]>::to_vec);
                node.stat.mtime = header.time;
                node.stat.mzxid = header.zxid as i64;
                node.stat.version = *version;
            }),
            Txn::SetAcl { path, acl, version } => {
                let acl = self.owned_acl(acl);
                self.change(path, |node| {
                    node.acl = acl;
                    node.stat.aversion = *version;
                });
            }
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
            }
            Txn::CloseSession { paths } => {
                self.sessions.remove(&header.session);
                for path in paths {
                    self.delete(path, header.zxid);
                }
                self.delete_ephemerals(header.session, header.zxid);
            }
            Txn::Multi(parts) => {
                for part in parts {
                    self.apply(header, part);
                }
            }
            Txn::Nothing => {}
        }
    }

    /// Removes the ephemerals of sessions that are gone, as a starting server does. Returns how many there were.
    pub(super) fn remove_orphans(&mut self, zxid: u64) -> usize {
        let dead: Vec<i64> =
            self.ephemerals.keys().copied().filter(|session| !self.sessions.contains_key(session)).collect();
        dead.into_iter().map(|session| self.delete_ephemerals(session, zxid)).sum()
    }

    fn create(&mut self, header: &TxnHeader, create: &Create<'_>) {
        let Some(parent) = parent_of(&create.path) else { return };
        if !self.nodes.contains_key(parent) {
            return;
        }
        let acl = self.owned_acl(&create.acl);
        if self.nodes.contains_key(&*create.path) {
            self.change(&create.path, |node| node.acl = acl);
            if create.raises_parent_if_exists {
                self.raise_cversion(parent, create.parent_cversion, header.zxid);
            }
            return;
        }
        self.raise_cversion(parent, create.parent_cversion, header.zxid);
        let zxid = header.zxid as i64;
        let stat = ImportedStat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: header.time,
            mtime: header.time,
            ephemeral_owner: match create.kind {
                CreateKind::Persistent => 0,
                CreateKind::Ephemeral => header.session,
                CreateKind::Container => CONTAINER_OWNER,
                CreateKind::Ttl(ttl) => TTL_OWNER as i64 | ttl,
            },
            ..ImportedStat::default()
        };
        self.insert(
            create.path.clone().into_owned(),
            ImportedNode { data: create.data.map(<[u8]>::to_vec), acl, stat },
        );
    }

    fn delete(&mut self, path: &str, zxid: u64) {
        let Some(parent) = parent_of(path) else { return };
        self.change(parent, |node| node.stat.pzxid = node.stat.pzxid.max(zxid as i64));
        if let Some(node) = self.nodes.remove(path) {
            self.digest = self.digest.wrapping_sub(node_digest(path, &node));
            if node.stat.kind() == NodeKind::Ephemeral
                && let Some(paths) = self.ephemerals.get_mut(&node.stat.ephemeral_owner)
            {
                paths.remove(path);
            }
        }
    }

    fn delete_ephemerals(&mut self, session: i64, zxid: u64) -> usize {
        let paths = self.ephemerals.remove(&session).unwrap_or_default();
        for path in &paths {
            self.delete(path, zxid);
        }
        paths.len()
    }

    fn raise_cversion(&mut self, path: &str, cversion: i32, zxid: u64) {
        self.change(path, |node| {
            let cversion = if cversion == -1 { node.stat.cversion.wrapping_add(1) } else { cversion };
            if cversion > node.stat.cversion {
                node.stat.cversion = cversion;
                node.stat.pzxid = zxid as i64;
            }
        });
    }

    fn insert(&mut self, path: String, node: ImportedNode) {
        self.digest = self.digest.wrapping_add(node_digest(&path, &node));
        if node.stat.kind() == NodeKind::Ephemeral {
            self.ephemerals.entry(node.stat.ephemeral_owner).or_default().insert(path.clone());
        }
        self.nodes.insert(path, node);
    }

    /// Changes a node, if it exists, and the digest with it.
    fn change(&mut self, path: &str, change: impl FnOnce(&mut ImportedNode)) {
        if let Some(node) = self.nodes.get_mut(path) {
            let before = node_digest(path, node);
            change(node);
            self.digest = self.digest.wrapping_sub(before).wrapping_add(node_digest(path, node));
        }
    }

    fn owned_acl(&mut self, acl: &[Acl<'_>]) -> Arc<[Acl<'static>]> {
        let acl: Vec<Acl<'static>> = acl.iter().cloned().map(Acl::into_owned).collect();
        self.shared_acl(&acl.into())
    }

    fn shared_acl(&mut self, acl: &Arc<[Acl<'static>]>) -> Arc<[Acl<'static>]> {
        match self.acls.get(acl) {
            Some(known) => Arc::clone(known),
            None => {
                self.acls.insert(Arc::clone(acl));
                Arc::clone(acl)
            }
        }
    }
}

impl ImportedStat {
    /// What the owner says about the node's kind.
    pub fn kind(&self) -> NodeKind {
        match self.ephemeral_owner {
            0 => NodeKind::Persistent,
            CONTAINER_OWNER => NodeKind::Container,
            owner => {
                let owner = owner as u64;
                // A server whose id is 255 would mark its sessions the same way in the first byte; but the sixteen bits
                // after it hold a part of the time there, and zeros here.
                match owner >> 40 == TTL_OWNER >> 40 && owner != TTL_OWNER {
                    true => NodeKind::Ttl { ttl_ms: owner & !TTL_OWNER },
                    false => NodeKind::Ephemeral,
                }
            }
        }
    }
}

/// The parent of a path; `None` for the root and what is no path.
fn parent_of(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some((_, "")) | None => None,
        Some(("", _)) => Some("/"),
        Some((parent, _)) => Some(parent).filter(|parent| parent.starts_with('/')),
    }
}
