//! The whole tree as a map from full paths to plain structs.
//!
//! Nothing here is fast: a child is found by looking at every path, a multi works on a copy of everything, and what is
//! not needed any more is dropped with the copy. Only the commands' and results' types are the product's.

use std::collections::{BTreeMap, BTreeSet};

use client::wire::zk::{Acl, ErrorCode, EventType, SessionId, Stat, Zxid, path, perms};
use coordinator::tree::command::{AclRecord, Command, CreateOp, LifetimeRecord, Op};
use coordinator::tree::znode::Ownership;
use coordinator::tree::{Outcome, Tree};

use super::acl::{self, Who};
use super::members::Members;
use super::quota::{self, Numbers};

/// A znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `None` is null, which is not empty.
    pub data: Option<Vec<u8>>,
    /// Who may do what to it.
    pub acl: Vec<Acl<'static>>,
    /// Who it belongs to.
    pub owner: Ownership,
    /// The commands that created it, wrote its data, and changed its children.
    pub zxids: [u64; 3],
    /// When it was created and its data written.
    pub times: [i64; 2],
    /// How often its data and its list were changed.
    pub versions: [i32; 2],
    /// How many children were ever created and deleted.
    pub children: [i32; 2],
}

/// A change that watches may be waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Created, deleted, or data changed.
    pub kind: EventType,
    /// Where.
    pub path: String,
    /// The node's list.
    pub readers: Vec<Acl<'static>>,
    /// The list of the node above.
    pub parent_readers: Vec<Acl<'static>>,
}

/// The replicated state.
#[derive(Debug, Clone)]
pub struct Model {
    /// Every node by its full path.
    pub nodes: BTreeMap<String, Node>,
    /// Timeouts of live sessions.
    pub sessions: BTreeMap<i64, u32>,
    /// The last command.
    pub zxid: u64,
    /// What the last change of the members left.
    pub members: Members,
    pub(super) changes: Vec<Changed>,
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

fn anyone(perms: i32) -> Vec<Acl<'static>> {
    vec![Acl { perms, ..Acl::open() }]
}

/// The path of the node above; the root's own for the root.
fn above(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".into(),
        Some((parent, _)) => parent.into(),
    }
}

fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn written(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    // −1 means "any", so no node ever gets it.
    Ok(if current == -2 { 0 } else { current.wrapping_add(1) })
}

impl Model {
    /// The tree before the first command.
    pub fn new() -> Model {
        let node = |acl, aversion, deleted| Node {
            data: Some(Vec::new()),
            acl,
            owner: Ownership::Nobody,
            zxids: [0; 3],
            times: [0; 2],
            versions: [0, aversion],
            children: [0, deleted],
        };
        // These were never created as anybody's children, only counted off.
        let nodes = [
            ("/", node(anyone(perms::ALL), 0, -1)),
            ("/zookeeper", node(anyone(perms::ALL), 0, -2)),
            ("/zookeeper/quota", node(anyone(perms::ALL), 0, 0)),
            ("/zookeeper/config", node(anyone(perms::READ), -1, 0)),
        ];
        Model {
            nodes: nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect(),
            sessions: BTreeMap::new(),
            zxid: 0,
            members: Members::default(),
            changes: Vec::new(),
        }
    }

    /// The node at a path; the empty path is the root.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(if path.is_empty() { "/" } else { path })
    }

    /// The names of a node's children, sorted.
    pub fn children(&self, path: &str) -> Vec<String> {
        let path = if path.is_empty() { "/" } else { path };
        let is_child = |other: &&String| *other != "/" && above(other) == path;
        self.nodes.keys().filter(is_child).map(|child| last_name(child).to_owned()).collect()
    }

    /// Everything below a path.
    pub fn below(&self, path: &str) -> Vec<&str> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        self.nodes
            .keys()
            .map(String::as_str)
            .filter(|other| *other != "/" && other.starts_with(&prefix))
            .collect()
    }

    /// What a client sees of a node that is there.
    pub fn stat(&self, path: &str) -> Stat {
        let node = self.get(path).expect("the caller looked");
        let [czxid, mzxid, pzxid] = node.zxids.map(|zxid| zxid as i64);
        Stat {
            czxid,
            mzxid,
            pzxid,
            ctime: node.times[0],
            mtime: node.times[1],
            version: node.versions[0],
            aversion: node.versions[1],
            cversion: node.children[0] + node.children[1],
            ephemeral_owner: match node.owner {
                Ownership::Session(session) => session.0,
                _ => 0,
            },
            data_length: node.data.as_ref().map_or(0, Vec::len) as i32,
            num_children: self.children(path).len() as i32,
        }
    }

    /// The paths a session's end deletes, sorted.
    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        let owner = Ownership::Session(SessionId(session));
        self.nodes.iter().filter(|(_, node)| node.owner == owner).map(|(path, _)| path.clone()).collect()
    }

    /// Executes a command; says what it came to and what changed.
    pub fn execute(&mut self, zxid: u64, command: &Command<'_>) -> (Outcome<'static>, Vec<Changed>) {
        self.zxid = zxid;
        let mut after = self.clone();
        after.changes = Vec::new();
        let outcome = match &command.op {
            Op::Multi(ops) => after.multi(command, ops),
            op => after.op(command, op).unwrap_or_else(Outcome::Failed),
        };
        match outcome {
            Outcome::Failed(_) | Outcome::MultiFailed { .. } => (outcome, Vec::new()),
            _ => {
                let changes = std::mem::take(&mut after.changes);
                *self = after;
                (outcome, changes)
            }
        }
    }

    fn multi(&mut self, command: &Command<'_>, ops: &[Op<'_>]) -> Outcome<'static> {
        let mut outcomes = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            match self.op(command, op) {
                Ok(outcome) => outcomes.push(outcome),
                Err(code) => return Outcome::MultiFailed { index, code, count: ops.len() },
            }
        }
        Outcome::Multi(outcomes)
    }

    fn op(&mut self, command: &Command<'_>, op: &Op<'_>) -> Result<Outcome<'static>, ErrorCode> {
        match op {
            Op::Start { .. } => Ok(Outcome::Started),
            Op::CreateSession { timeout_ms } => {
                self.sessions.insert(command.session, *timeout_ms);
                Ok(Outcome::SessionCreated)
            }
            Op::CloseSession => {
                for path in self.ephemerals(command.session) {
                    self.remove(&path);
                }
                self.sessions.remove(&command.session);
                Ok(Outcome::SessionClosed)
            }
            Op::Refused { code } => Err(ErrorCode::from_wire(*code).unwrap_or(ErrorCode::BadArguments)),
            Op::Raise { .. } => Ok(Outcome::Checked),
            Op::Members { text, dynamic } => Ok(self.set_members(command, text, *dynamic)),
            Op::MembersSettled => {
                self.members.unsettled = false;
                Ok(Outcome::Checked)
            }
            Op::Reconfig { .. } => unreachable!("what comes of it is decided before it is logged"),
            Op::Multi(_) => unreachable!("multis do not nest"),
            Op::Reap { path, czxid, mzxid, pzxid } => {
                let node = self.existing(path)?;
                if node.zxids != [*czxid, *mzxid, *pzxid] {
                    return Err(ErrorCode::BadVersion);
                }
                self.remove_childless(path)
            }
            _ if !command.rules.local_session && !self.sessions.contains_key(&command.session) => {
                Err(ErrorCode::SessionExpired)
            }
            Op::Create(create)
                if create.lifetime == LifetimeRecord::Ephemeral
                    && !self.sessions.contains_key(&command.session) =>
            {
                Err(ErrorCode::EphemeralOnLocalSession)
            }
            Op::Create(create) => self.create(command, create),
            Op::Delete { path, version } => {
                self.require_deletable(command, path)?;
                written(self.existing(path)?.versions[0], *version)?;
                self.remove_childless(path)
            }
            Op::DeleteContainer { path } => {
                self.require_deletable(command, path)?;
                let owner = self.existing(path)?.owner;
                if !self.children(path).is_empty() {
                    return Err(ErrorCode::NotEmpty);
                }
                match owner {
                    Ownership::Container | Ownership::Ttl { .. } => self.remove_childless(path),
                    Ownership::Nobody | Ownership::Session(_) => Err(ErrorCode::BadVersion),
                }
            }
            Op::SetData { path, data, version } => self.set_data(command, path, *data, *version),
            Op::SetAcl { path, acl, version } => self.set_acl(command, path, acl, *version),
            Op::Check { path, version } => {
                path::check(path).map_err(|_| ErrorCode::BadArguments)?;
                self.require(command, path, perms::READ)?;
                written(self.existing(path)?.versions[0], *version)?;
                Ok(Outcome::Checked)
            }
        }
    }

    fn existing(&self, path: &str) -> Result<&Node, ErrorCode> {
        self.get(path).ok_or(ErrorCode::NoNode)
    }

    fn require(&self, command: &Command<'_>, path: &str, wanted: i32) -> Result<(), ErrorCode> {
        let node = self.existing(path)?;
        let who = acl::identities(&command.identities);
        if command.rules.skip_acl || acl::permits(&node.acl, wanted, &who) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn create(
        &mut self,
        command: &Command<'_>,
        create: &CreateOp<'_>,
    ) -> Result<Outcome<'static>, ErrorCode> {
        if create.path.contains('\0') || !create.path.contains('/') {
            return Err(ErrorCode::BadArguments);
        }
        let who: Vec<Who> = acl::identities(&command.identities);
        let acl = acl::checked(&create.acl, &who)?;
        let parent = match create.path.rsplit_once('/') {
            Some(("", _)) | None => "/".to_owned(),
            Some((parent, _)) => parent.to_owned(),
        };
        self.require(command, &parent, perms::CREATE)?;
        let created = self.existing(&parent)?.children[0];
        let path = match create.sequential {
            true => format!("{}{created:010}", create.path),
            false => create.path.to_owned(),
        };
        path::check(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.get(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(self.existing(&parent)?.owner, Ownership::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let bytes = create.data.map_or(0, <[u8]>::len) as i64;
        self.require_quota(command, &path, 1, bytes)?;
        let node = Node {
            data: create.data.map(<[u8]>::to_vec),
            acl,
            owner: match create.lifetime {
                LifetimeRecord::Persistent => Ownership::Nobody,
                LifetimeRecord::Ephemeral => Ownership::Session(SessionId(command.session)),
                LifetimeRecord::Container => Ownership::Container,
                LifetimeRecord::Ttl { ms } => Ownership::Ttl { ms },
            },
            zxids: [self.zxid; 3],
            times: [command.time_ms; 2],
            versions: [0; 2],
            children: [0; 2],
        };
        self.changed(EventType::NodeCreated, &path, &node.acl);
        self.nodes.insert(path.clone(), node);
        let zxid = self.zxid;
        let parent = self.nodes.get_mut(&parent).expect("looked up");
        parent.children[0] += 1;
        parent.zxids[2] = zxid;
        if last_name(&path) == quota::STATS
            && let Some(subject) = above(&path).strip_prefix(quota::ROOT)
        {
            self.measure(&path, subject);
        }
        self.use_quota(&path, 1, bytes);
        let stat = self.stat(&path);
        Ok(Outcome::Created { path: path.into(), stat })
    }

    fn require_deletable(&self, command: &Command<'_>, path: &str) -> Result<(), ErrorCode> {
        let system = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        if path.contains('\0') || !path.contains('/') || system.contains(&path) {
            return Err(ErrorCode::BadArguments);
        }
        self.require(command, &above(path), perms::DELETE)
    }

    fn remove_childless(&mut self, path: &str) -> Result<Outcome<'static>, ErrorCode> {
        if !self.children(path).is_empty() {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(path);
        Ok(Outcome::Deleted)
    }

    fn remove(&mut self, path: &str) {
        let node = self.nodes.remove(path).expect("looked up");
        self.changed(EventType::NodeDeleted, path, &node.acl);
        let zxid = self.zxid;
        let parent = self.nodes.get_mut(&above(path)).expect("every node has a parent");
        parent.children[1] += 1;
        parent.zxids[2] = zxid;
        self.use_quota(path, -1, -(node.data.map_or(0, |data| data.len()) as i64));
    }

    fn set_data(
        &mut self,
        command: &Command<'_>,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
    ) -> Result<Outcome<'static>, ErrorCode> {
        path::check(path).map_err(|_| ErrorCode::BadArguments)?;
        self.require(command, path, perms::WRITE)?;
        let before = self.existing(path)?.data.as_ref().map_or(0, Vec::len) as i64;
        let more = data.map_or(0, <[u8]>::len) as i64 - before;
        self.require_quota(command, path, 0, more)?;
        let version = written(self.existing(path)?.versions[0], version)?;
        let zxid = self.zxid;
        let node = self.nodes.get_mut(path).expect("looked up");
        node.data = data.map(<[u8]>::to_vec);
        node.versions[0] = version;
        node.zxids[1] = zxid;
        node.times[1] = command.time_ms;
        let acl = node.acl.clone();
        self.use_quota(path, 0, more);
        self.changes.push(Changed {
            kind: EventType::NodeDataChanged,
            path: path.into(),
            readers: acl.clone(),
            parent_readers: acl,
        });
        Ok(Outcome::DataSet(self.stat(path)))
    }

    fn set_acl(
        &mut self,
        command: &Command<'_>,
        path: &str,
        list: &[AclRecord<'_>],
        version: i32,
    ) -> Result<Outcome<'static>, ErrorCode> {
        path::check(path).map_err(|_| ErrorCode::BadArguments)?;
        let list = acl::checked(list, &acl::identities(&command.identities))?;
        self.require(command, path, perms::ADMIN)?;
        let version = written(self.existing(path)?.versions[1], version)?;
        let node = self.nodes.get_mut(path).expect("looked up");
        (node.acl, node.versions[1]) = (list, version);
        Ok(Outcome::AclSet(self.stat(path)))
    }

    fn changed(&mut self, kind: EventType, path: &str, readers: &[Acl<'static>]) {
        let parent_readers = self.existing(&above(path)).expect("every node has a parent").acl.clone();
        self.changes.push(Changed { kind, path: path.into(), readers: readers.to_vec(), parent_readers });
    }

    // ---- quotas ----

    fn quota_node(subject: &str, name: &str) -> String {
        format!("{}{subject}/{name}", quota::ROOT)
    }

    /// The nearest path at or above this one that has limits; ZooKeeper's own nodes are not counted.
    fn quota_subject(&self, path: &str) -> Option<String> {
        let mut at = path.to_owned();
        while at != "/" {
            if self.nodes.contains_key(&Self::quota_node(&at, quota::LIMITS)) {
                return (at != "/zookeeper").then_some(at);
            }
            at = above(&at);
        }
        None
    }

    fn numbers(&self, path: &str) -> Option<Numbers> {
        Some(Numbers::parse(self.nodes.get(path)?.data.as_deref().unwrap_or_default()))
    }

    fn require_quota(
        &self,
        command: &Command<'_>,
        path: &str,
        count: i64,
        bytes: i64,
    ) -> Result<(), ErrorCode> {
        let Some(subject) = self.quota_subject(path) else { return Ok(()) };
        let limits = self.numbers(&Self::quota_node(&subject, quota::LIMITS));
        let usage = self.numbers(&Self::quota_node(&subject, quota::STATS));
        let (true, Some(limits), Some(usage)) = (command.rules.enforce_quota, limits, usage) else {
            return Ok(());
        };
        for (limit, used, more) in [("countHardLimit", "count", count), ("byteHardLimit", "bytes", bytes)] {
            let limit = limits.get(limit);
            if limit >= 0 && more != 0 && i128::from(usage.get(used)) + i128::from(more) > i128::from(limit) {
                return Err(ErrorCode::QuotaExceeded);
            }
        }
        Ok(())
    }

    fn use_quota(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(subject) = self.quota_subject(path) else { return };
        let stats = Self::quota_node(&subject, quota::STATS);
        let Some(mut usage) = self.numbers(&stats) else { return };
        usage.set("count", usage.get("count").saturating_add(count));
        usage.set("bytes", usage.get("bytes").saturating_add(bytes));
        self.nodes.get_mut(&stats).expect("just read").data = Some(usage.format().into_bytes());
    }

    /// Counts what a path uses into its new stats node.
    fn measure(&mut self, stats: &str, subject: &str) {
        let mut usage = Numbers::parse(b"count=0,bytes=0");
        if let Some(top) = self.get(subject) {
            let mut all = vec![top];
            all.extend(self.below(subject).into_iter().map(|path| &self.nodes[path]));
            usage.set("count", all.len() as i64);
            usage.set("bytes", all.iter().map(|node| node.data.as_ref().map_or(0, Vec::len) as i64).sum());
        }
        self.nodes.get_mut(stats).expect("just created").data = Some(usage.format().into_bytes());
    }

    // ---- comparing ----

    /// The first difference between this and a tree, in words.
    pub fn difference(&self, tree: &Tree) -> Option<String> {
        if tree.zxid() != Zxid(self.zxid) {
            return Some(format!("the tree is at {}, the model at {}", tree.zxid(), Zxid(self.zxid)));
        }
        let sessions: BTreeMap<i64, u32> =
            tree.sessions().iter().map(|(id, session)| (id.0, session.timeout_ms)).collect();
        if sessions != self.sessions {
            return Some(format!("the tree has the sessions {sessions:?}, the model {:?}", self.sessions));
        }
        if tree.node_count() != self.nodes.len() {
            return Some(format!("the tree has {} nodes, the model {}", tree.node_count(), self.nodes.len()));
        }
        for (path, node) in &self.nodes {
            let Some(id) = tree.lookup(path) else { return Some(format!("{path} is missing in the tree")) };
            let found = tree.node(id);
            let children: BTreeSet<String> =
                tree.children(id).map(|child| child.name_str().to_owned()).collect();
            let ours = (&node.data.as_deref(), &node.owner, &node.acl[..], self.stat(path));
            let theirs = (&found.data(), &found.owner.ownership(), &tree.acl(id)[..], found.stat());
            if ours != theirs {
                return Some(format!("{path} is {theirs:?} in the tree, {ours:?} in the model"));
            }
            if children != self.children(path).into_iter().collect() {
                return Some(format!("the children of {path} are {children:?} in the tree"));
            }
        }
        None
    }
}
