//! A tree made of nodes that another server kept.

use client::wire::zk::{Acl, SessionId, Zxid, path};

use super::acl::AclId;
use super::snapshot::LoadError;
use super::znode::{Owner, Ownership, Znode};
use super::{CONFIG_NODE, Tree, quota};

/// One node as ZooKeeper keeps it.
#[derive(Debug, Clone, Copy)]
pub struct ForeignNode<'a> {
    /// The full path; `/` for the root.
    pub path: &'a str,
    pub data: Option<&'a [u8]>,
    pub acl: &'a [Acl<'static>],
    pub zxids: [i64; 3], // czxid, mzxid, pzxid
    pub times: [i64; 2], // ctime, mtime
    pub owner: i64,
    /// How often the data changed, the list, and how many children were ever created.
    pub versions: [i32; 3],
}

impl Tree {
    /// The state at `zxid`: these sessions and these nodes, parents before children. What every tree has but they
    /// lack is added.
    pub fn import<'a>(
        hash_seed: u64,
        zxid: Zxid,
        sessions: impl IntoIterator<Item = (SessionId, u32)>,
        nodes: impl IntoIterator<Item = ForeignNode<'a>>,
    ) -> Result<Tree, LoadError> {
        let mut tree = Tree::new(hash_seed);
        tree.zxid = zxid;
        for (id, timeout_ms) in sessions {
            tree.sessions.open(id, timeout_ms);
        }
        for node in nodes {
            tree.adopt(&node)?;
        }
        Ok(tree)
    }

    fn adopt(&mut self, foreign: &ForeignNode<'_>) -> Result<(), LoadError> {
        let refuse = |why: &str| LoadError::Inconsistent(format!("{}: {why}", foreign.path));
        path::check(foreign.path).map_err(|error| refuse(&error.to_string()))?;
        let is_system = matches!(foreign.path, "/" | "/zookeeper" | quota::QUOTA_ROOT | CONFIG_NODE);
        let acl = match foreign.acl {
            [] => AclId::OPEN,
            list => self.acls.intern(list),
        };
        let fill = |node: &mut Znode| {
            [node.czxid, node.mzxid, node.pzxid] = foreign.zxids.map(|zxid| Zxid(zxid as u64));
            [node.ctime, node.mtime] = foreign.times;
            [node.version, node.aversion, node.creates] = foreign.versions;
        };
        if is_system {
            // It is there already; only what it looks like is taken over.
            let id = self.lookup(foreign.path).expect("every tree has its system nodes");
            self.set_content(id, foreign.data, None);
            fill(self.arena.node_mut(id));
            return Ok(());
        }
        let parent = path::parent(foreign.path).and_then(|parent| self.lookup(parent));
        let parent = parent.ok_or_else(|| refuse("its parent is missing"))?;
        if self.lookup(foreign.path).is_some() {
            return Err(refuse("it comes twice"));
        }
        let mut node = Znode::new(parent, path::name(foreign.path).as_bytes(), foreign.data);
        fill(&mut node);
        node.owner = Owner(foreign.owner);
        node.acl = acl;
        if let Ownership::Session(session) = node.owner.ownership()
            && !self.sessions.contains(session)
        {
            return Err(refuse("its session is gone"));
        }
        self.link(node, foreign.path.len());
        if path::name(foreign.path) == quota::LIMITS
            && let Some(subject) = path::parent(foreign.path).and_then(quota::subject)
        {
            self.set_quota(subject, true);
        }
        Ok(())
    }
}
