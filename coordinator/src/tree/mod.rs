//! APPLY: the replicated state. A pure function of the commands it executed, in their order.
//!
//! [`Tree::execute`] reads no clock, draws no random number and asks no configuration: all of that travels in the
//! [`Command`]. A failed write is a command whose execution returned an error; it changes nothing but the running
//! digest and the last zxid.

pub mod acl;
pub mod arena;
pub mod command;
pub mod digest;
mod execute;
pub mod import;
pub mod lifetimes;
pub mod quota;
pub mod sessions;
pub mod snapshot;
mod undo;
pub mod watches;
pub mod znode;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use client::wire::zk::{Acl, ErrorCode, EventType, SessionId, Stat, Zxid, path, perms};
use serde::{Deserialize, Serialize};

use self::acl::{AclId, AclList, AclTable, Identified};
use self::arena::{Arena, NodeId};
use self::command::{Command, CommandError};
use self::execute::Execution;
use self::lifetimes::Lifetimes;
use self::quota::{QuotaPaths, Track};
use self::sessions::Sessions;
use self::snapshot::Walk;
use self::undo::Undo;
use self::znode::{Ownership, Znode};

/// What executing a command came to; every replica computes the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'c> {
    Started,
    SessionCreated,
    SessionClosed,
    Created {
        path: Cow<'c, str>,
        stat: Stat,
    },
    Deleted,
    DataSet(Stat),
    AclSet(Stat),
    MembersSet {
        data: String,
        stat: Stat,
    },
    Checked,
    Multi(Vec<Outcome<'c>>),
    /// The operation at `index` failed, so nothing was done.
    MultiFailed {
        index: usize,
        code: ErrorCode,
        count: usize,
    },
    Failed(ErrorCode),
}

impl Outcome<'_> {
    /// What the running digest keeps of it.
    fn code(&self) -> i32 {
        match self {
            Outcome::Failed(code) | Outcome::MultiFailed { code, .. } => code.to_wire(),
            _ => 0,
        }
    }
}

/// A change that watches may be waiting for, with the lists that decide who may hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `NodeCreated`, `NodeDeleted` or `NodeDataChanged`; a change of children follows from the first two.
    pub kind: EventType,
    pub path: Box<str>,
    pub readers: AclList,
    pub parent_readers: AclList,
}

/// The replicated state.
///
/// Invariants (`check_invariants`): an ephemeral node exists exactly if its owner's session lives and lists it;
/// `child_count` is the length of the child list; every list of entries in the ACL table has as many users as nodes
/// refer to it; the quota index names exactly the paths with a limit node.
#[derive(Debug)]
pub struct Tree {
    arena: Arena,
    acls: AclTable,
    sessions: Sessions,
    quotas: QuotaPaths,
    lifetimes: Lifetimes,
    /// The last command executed.
    zxid: Zxid,
    /// Who asked for it.
    asker: SessionId,
    digest: u64,
    /// What session passwords derive from; empty until the first start.
    secret: Vec<u8>,
    /// How often each server started to serve.
    starts: BTreeMap<u8, u32>,
    members: Members,
    /// What every member of the ensemble supports; it never goes back.
    level: u16,
    /// Bytes of all paths and data.
    data_bytes: u64,
    over_quota: Option<Box<str>>,
    undo: Option<Vec<Undo>>,
    walk: Option<Walk>,
    snapshots: u32,
}

/// What the last change of the members left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The zxid of the change; zero if the members are what configuration files say.
    pub version: u64,
    /// What the config node said before the change, until that is known to be committed.
    pub before: Option<String>,
}

/// Nodes that are there before anybody creates one, and must stay.
const SYSTEM_NODES: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// Where ensembles describe themselves.
pub const CONFIG_NODE: &str = "/zookeeper/config";

impl Tree {
    /// The tree before the first command. `hash_seed` changes nothing that anyone can see.
    pub fn new(hash_seed: u64) -> Tree {
        let mut tree = Tree::empty(hash_seed);
        tree.arena.insert(Znode::new(NodeId::NONE, b"", Some(b"")));
        let config_acl = [Acl { perms: perms::READ, identity: Acl::open().identity }];
        let config_acl = tree.acls.intern(&config_acl);
        for system in &SYSTEM_NODES[1..] {
            let parent =
                tree.lookup(path::parent(system).unwrap_or_default()).expect("listed after its parent");
            let mut node = Znode::new(parent, path::name(system).as_bytes(), Some(b""));
            if *system == CONFIG_NODE {
                node.acl = config_acl;
                node.aversion = -1;
            }
            tree.link(node, system.len());
        }
        tree
    }

    fn empty(hash_seed: u64) -> Tree {
        Tree {
            arena: Arena::new(hash_seed),
            acls: AclTable::default(),
            sessions: Sessions::default(),
            quotas: QuotaPaths::default(),
            lifetimes: Lifetimes::default(),
            zxid: Zxid::ZERO,
            asker: SessionId::NONE,
            digest: 0,
            secret: Vec::new(),
            starts: BTreeMap::new(),
            members: Members::default(),
            level: 0,
            data_bytes: 0,
            over_quota: None,
            undo: None,
            walk: None,
            snapshots: 0,
        }
    }

    // ---- what is there ----

    /// The last command executed.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The session that asked for the last command.
    pub fn asker(&self) -> SessionId {
        self.asker
    }

    /// The running digest: equal histories, equal numbers.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What the last change of the members left; who they are is in the config node.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// What the config node says: a line for each member, and the version.
    pub fn members_text(&self) -> &str {
        let node = self.lookup(CONFIG_NODE).and_then(|id| self.node(id).data());
        node.and_then(|data| std::str::from_utf8(data).ok()).unwrap_or_default()
    }

    /// The feature level that the ensemble has reached.
    pub fn feature_level(&self) -> u16 {
        self.level
    }

    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    pub fn starts(&self, server: u8) -> u32 {
        self.starts.get(&server).copied().unwrap_or(0)
    }

    /// Znodes, the system's own included.
    pub fn node_count(&self) -> usize {
        self.arena.count()
    }

    /// Bytes of all paths and data.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// What the tree takes in memory, roughly.
    pub fn memory_bytes(&self) -> u64 {
        self.data_bytes
            + (self.arena.count() * arena::NODE_OVERHEAD) as u64
            + self.sessions.count() as u64 * 96
    }

    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The node at a path; the empty path is the root, as it is in ZooKeeper. A malformed path names no node.
    pub fn lookup(&self, path: &str) -> Option<NodeId> {
        let mut at = NodeId::ROOT;
        if !matches!(path, "" | "/") {
            for segment in path.strip_prefix('/')?.as_bytes().split(|byte| *byte == b'/') {
                at = self.arena.child(at, segment)?;
            }
        }
        Some(at)
    }

    pub fn node(&self, id: NodeId) -> &Znode {
        self.arena.node(id)
    }

    pub fn acl(&self, id: NodeId) -> &AclList {
        self.acls.get(self.arena.node(id).acl)
    }

    /// Whether somebody may do any of `wanted` to a node.
    pub fn permits(&self, id: NodeId, wanted: i32, identities: &[impl Identified]) -> bool {
        let acl = self.arena.node(id).acl;
        acl == AclId::OPEN || acl::permits(self.acls.get(acl), wanted, identities)
    }

    /// A node's children, in no particular order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = &Znode> {
        let mut next = self.arena.node(id).first_child;
        std::iter::from_fn(move || {
            let child = self.arena.get(next)?;
            next = child.next;
            Some(child)
        })
    }

    /// How many nodes lie below this one.
    pub fn descendant_count(&self, id: NodeId) -> usize {
        if id == NodeId::ROOT { self.arena.count() - 1 } else { self.descendants(id).count() }
    }

    /// Everything below a node, parents before children, without recursion.
    fn descendants(&self, top: NodeId) -> impl Iterator<Item = NodeId> {
        let mut at = self.arena.node(top).first_child;
        std::iter::from_fn(move || {
            let found = at;
            let node = self.arena.get(found)?;
            at = if node.first_child != NodeId::NONE { node.first_child } else { self.after(found, top) };
            Some(found)
        })
    }

    /// The next node outside this one's subtree, still below `top`.
    fn after(&self, mut id: NodeId, top: NodeId) -> NodeId {
        while id != top {
            let node = self.arena.node(id);
            if node.next != NodeId::NONE {
                return node.next;
            }
            id = node.parent;
        }
        NodeId::NONE
    }

    /// A node's full path.
    pub fn path(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let node = self.arena.node(at);
            names.push(node.name_str());
            at = node.parent;
        }
        if names.is_empty() {
            return "/".to_owned();
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// The paths a session's end would delete, sorted.
    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let nodes = self.sessions.get(session).map(|session| session.ephemerals.iter());
        let mut paths: Vec<String> = nodes.into_iter().flatten().map(|id| self.path(*id)).collect();
        paths.sort_unstable();
        paths
    }

    /// The sum over all nodes and sessions that equal states share, whatever their history.
    pub fn content_digest(&self) -> u64 {
        use std::hash::Hasher;
        let mut sum = 0u64;
        for id in std::iter::once(NodeId::ROOT).chain(self.descendants(NodeId::ROOT)) {
            let node = self.node(id);
            let mut hasher = digest::StableHasher::default();
            hasher.text(self.path(id).as_bytes());
            hasher.number(node.data().is_some() as u64);
            hasher.text(node.data().unwrap_or_default());
            for number in [node.czxid.0, node.mzxid.0, node.pzxid.0, node.ctime as u64, node.mtime as u64] {
                hasher.number(number);
            }
            for number in [node.version, node.aversion, node.creates] {
                hasher.number(number as u64);
            }
            hasher.number(node.owner.0 as u64);
            for entry in self.acl(id).iter() {
                hasher.number(entry.perms as u64);
                hasher.text(entry.identity.scheme.as_bytes());
                hasher.text(entry.identity.id.as_bytes());
            }
            sum = sum.wrapping_add(hasher.finish());
        }
        for (id, session) in self.sessions.iter() {
            let mut hasher = digest::StableHasher::default();
            hasher.number(id.0 as u64);
            hasher.number(session.timeout_ms.into());
            sum = sum.wrapping_add(hasher.finish());
        }
        sum
    }

    /// Gives a restored state its place in the history of the server that takes it over. Sessions that server may
    /// have opened never come again.
    pub fn move_to(&mut self, zxid: Zxid, before: &Tree) {
        assert!(zxid > self.zxid && zxid > before.zxid, "history goes forward");
        self.zxid = zxid;
        for (server, starts) in &before.starts {
            let ours = self.starts.entry(*server).or_default();
            *ours = (*ours).max(*starts);
        }
        self.level = self.level.max(before.level);
        if self.secret.is_empty() {
            self.secret.clone_from(&before.secret);
        }
    }

    // ---- execution ----

    /// Executes the next command of the agreed order. Every change that a watch may be waiting for is appended to
    /// `changes`, in order.
    pub fn execute<'c>(
        &mut self,
        zxid: Zxid,
        bytes: &'c [u8],
        changes: &mut Vec<Change>,
    ) -> Result<Outcome<'c>, CommandError> {
        assert!(zxid > self.zxid, "commands are executed in order: {zxid} after {}", self.zxid);
        let command = Command::decode(bytes)?;
        (self.zxid, self.asker) = (zxid, SessionId(command.session));
        let mut run = Execution { tree: self, zxid, command: &command, changes };
        let outcome = run.op(&command.op).unwrap_or_else(Outcome::Failed);
        self.digest = digest::advance(self.digest, zxid, bytes, outcome.code());
        Ok(outcome)
    }

    // ---- the only places where the tree changes; each can be undone ----

    /// Adds a node below its parent and to every index.
    fn link(&mut self, node: Znode, path_size: usize) -> NodeId {
        let parent = node.parent;
        self.before_change(parent);
        self.acls.retain(node.acl);
        self.data_bytes += (path_size + node.data_size()) as u64;
        let session = match node.owner.ownership() {
            Ownership::Session(session) => Some(session),
            _ => None,
        };
        let id = self.arena.insert(node);
        self.link_sibling(parent, id);
        if let Some(walk) = &self.walk {
            // It was not there when the snapshot began, so the walk must pass it by.
            self.arena.node_mut(id).stamp = walk.generation;
        }
        self.lifetimes.add(id, self.arena.node(id));
        self.lifetimes.refresh(parent, self.arena.node(parent));
        if let Some(session) = session {
            let added = self.sessions.add_ephemeral(session, id);
            assert!(added, "ephemerals are created by live sessions");
        }
        if let Some(undo) = &mut self.undo {
            undo.push(Undo::Link { id, path_size });
        }
        id
    }

    fn link_sibling(&mut self, parent: NodeId, id: NodeId) {
        let node = self.arena.node_mut(parent);
        let first = std::mem::replace(&mut node.first_child, id);
        node.child_count += 1;
        let node = self.arena.node_mut(id);
        node.next = first;
        node.previous = NodeId::NONE;
        if first != NodeId::NONE {
            self.arena.node_mut(first).previous = id;
        }
    }

    /// Takes a childless node out of every index.
    fn unlink(&mut self, id: NodeId, path_size: usize) {
        self.before_change(id);
        let parent = self.arena.node(id).parent;
        self.before_change(parent);
        let node = self.arena.remove(id);
        assert_eq!(node.child_count, 0, "only leaves are removed");
        match node.previous {
            NodeId::NONE => self.arena.node_mut(parent).first_child = node.next,
            previous => self.arena.node_mut(previous).next = node.next,
        }
        if node.next != NodeId::NONE {
            self.arena.node_mut(node.next).previous = node.previous;
        }
        self.arena.node_mut(parent).child_count -= 1;
        if let Ownership::Session(session) = node.owner.ownership() {
            self.sessions.remove_ephemeral(session, id);
        }
        self.lifetimes.remove(id, &node);
        self.lifetimes.refresh(parent, self.arena.node(parent));
        self.data_bytes -= (path_size + node.data_size()) as u64;
        match &mut self.undo {
            None => self.acls.release(node.acl),
            // The list stays in the table until the multi is over, so that undoing finds it.
            Some(undo) => undo.push(Undo::Unlink { node: Box::new(node), path_size }),
        }
    }

    /// A child was created or deleted: `creates` counts it, `pzxid` says when.
    fn set_children_changed(&mut self, id: NodeId, creates: i32, pzxid: Zxid) {
        self.before_change(id);
        let node = self.arena.node_mut(id);
        if let Some(undo) = &mut self.undo {
            undo.push(Undo::Children { id, creates: node.creates, pzxid: node.pzxid });
        }
        node.creates = creates;
        node.pzxid = pzxid;
        self.lifetimes.refresh(id, self.arena.node(id));
    }

    /// Replaces data; `written` is version, mzxid and mtime, or nothing for the server's own bookkeeping.
    fn set_content(&mut self, id: NodeId, data: Option<&[u8]>, written: Option<(i32, Zxid, i64)>) {
        self.before_change(id);
        let node = self.arena.node_mut(id);
        let before = (node.version, node.mzxid, node.mtime);
        let size_before = node.data_size() as u64;
        let content = node.replace_data(data);
        if let Some((version, mzxid, mtime)) = written {
            (node.version, node.mzxid, node.mtime) = (version, mzxid, mtime);
        }
        self.data_bytes = self.data_bytes - size_before + node.data_size() as u64;
        self.lifetimes.refresh(id, self.arena.node(id));
        if let Some(undo) = &mut self.undo {
            undo.push(Undo::Content { id, content, written: before });
        }
    }

    fn set_acl(&mut self, id: NodeId, list: &[Acl<'static>], aversion: i32) {
        self.before_change(id);
        let acl = self.acls.intern(list);
        self.acls.retain(acl);
        let node = self.arena.node_mut(id);
        let before = std::mem::replace(&mut node.acl, acl);
        node.aversion = aversion;
        self.acls.release(before);
    }

    fn set_quota(&mut self, path: &str, present: bool) {
        if self.quotas.contains(path) != present {
            self.quotas.set(path, present);
            if let Some(undo) = &mut self.undo {
                undo.push(Undo::Quota { path: path.into(), present: !present });
            }
        }
    }

    /// Adds to the usage of the quota that encloses a path, if there is one.
    fn add_usage(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(subject) = self.quotas.enclosing(path) else { return };
        let Some(stats) = self.lookup(&quota::stats_path(subject)) else { return };
        let mut usage = Track::parse(self.node(stats).data().unwrap_or_default());
        usage.count = usage.count.saturating_add(count);
        usage.bytes = usage.bytes.saturating_add(bytes);
        self.set_content(stats, Some(usage.format().as_bytes()), None);
        if count > 0 || bytes > 0 {
            let limits = self.lookup(&quota::limits_path(subject)).map(|id| self.node(id).data());
            if limits.flatten().is_some_and(|limits| Track::parse(limits).is_passed_by(&usage)) {
                self.over_quota = Some(subject.into());
            }
        }
    }

    /// The path whose soft quota was passed last, told once: soft quotas only warn.
    pub fn take_over_quota(&mut self) -> Option<Box<str>> {
        self.over_quota.take()
    }

    /// Counts what a path uses now and writes it into its stats node.
    fn measure_usage(&mut self, subject: &str, stats: NodeId) {
        let mut usage = Track::new(0, 0);
        if let Some(top) = self.lookup(subject) {
            for id in std::iter::once(top).chain(self.descendants(top)) {
                usage.count += 1;
                usage.bytes += self.node(id).data_size() as i64;
            }
        }
        self.set_content(stats, Some(usage.format().as_bytes()), None);
    }

    fn forbidden_by_quota(&self, path: &str, count_more: i64, bytes_more: i64) -> bool {
        let Some(subject) = self.quotas.enclosing(path) else { return false };
        let track = |path: String| {
            let id = self.lookup(&path)?;
            Some(Track::parse(self.node(id).data().unwrap_or_default()))
        };
        match (track(quota::limits_path(subject)), track(quota::stats_path(subject))) {
            (Some(limits), Some(usage)) => limits.forbids(&usage, count_more, bytes_more),
            _ => false,
        }
    }

    /// Walks the whole tree and asserts what must hold; for tests and the simulator.
    pub fn check_invariants(&self) {
        let mut users: BTreeMap<AclId, u64> = BTreeMap::new();
        let (mut count, mut ephemerals, mut bytes) = (0, 0, 0);
        for id in std::iter::once(NodeId::ROOT).chain(self.descendants(NodeId::ROOT)) {
            let node = self.node(id);
            count += 1;
            *users.entry(node.acl).or_default() += 1;
            assert_eq!(
                self.children(id).count(),
                node.child_count as usize,
                "child count of {}",
                self.path(id)
            );
            let path = self.path(id);
            assert_eq!(self.lookup(&path), Some(id), "{path} is indexed");
            bytes += node.data_size() as u64 + if id == NodeId::ROOT { 0 } else { path.len() as u64 };
            if let Ownership::Session(owner) = node.owner.ownership() {
                ephemerals += 1;
                let session = self.sessions.get(owner).expect("an ephemeral's session lives");
                assert!(session.ephemerals.contains(&id), "{path} is listed by its session");
                assert_eq!(node.child_count, 0, "ephemerals have no children");
            }
            if let Some(subject) = path::parent(&path).and_then(quota::subject)
                && path::name(&path) == quota::LIMITS
            {
                assert!(self.quotas.contains(subject), "limits of {subject} are indexed");
            }
        }
        assert_eq!(count, self.arena.count(), "every node is reachable");
        assert_eq!(ephemerals, self.sessions.ephemeral_count(), "sessions list only nodes that exist");
        assert_eq!(bytes, self.data_bytes, "bytes are counted");
        for (id, _) in self.acls.iter() {
            assert!(id == AclId::OPEN || users.contains_key(&id), "unused lists go");
        }
    }
}
