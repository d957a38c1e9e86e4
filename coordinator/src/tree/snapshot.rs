//! The tree at one zxid, written while it changes.
//!
//! A walk goes through the slots in small steps, between other work. Before a node that the walk has not reached
//! changes or goes, its image as it was is written first; nodes created meanwhile are stamped so that the walk passes
//! them by. Nothing is copied ahead of time, and no step is longer than it is told to be.
//!
//! A snapshot is a sequence of chunks, each a kind byte and MessagePack: one header, then lists and sessions, then node
//! images in any order, then the end with the count. Node images are positional arrays, not maps: there are millions.

use std::collections::VecDeque;
use std::sync::Arc;

use client::wire::zk::{Acl, Identity, SessionId, Zxid, path};
use serde::{Deserialize, Serialize};

use super::acl::AclId;
use super::arena::NodeId;
use super::command::FEATURE_LEVEL;
use super::znode::{Owner, Ownership, Znode};
use super::{Members, Tree, quota};

/// How large a chunk grows before it is handed on. A node larger than this makes a chunk of its own size.
pub const CHUNK_SIZE: usize = 256 * 1024;

const FORMAT: u8 = 1;

const HEADER: u8 = b'H';
const ACLS: u8 = b'A';
const SESSIONS: u8 = b'S';
const NODES: u8 = b'N';
const END: u8 = b'E';

/// MessagePack's marker of an array whose length takes four bytes.
const ARRAY_32: u8 = 0xdd;

/// A snapshot in progress.
#[derive(Debug)]
pub(super) struct Walk {
    /// Nodes with this stamp are written, or were not there.
    pub(super) generation: u32,
    next: u32,
    end: u32,
    expected: u64,
    written: u64,
    chunk: Vec<u8>,
    in_chunk: u32,
    full: VecDeque<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct HeaderRecord {
    format: u8,
    zxid: u64,
    digest: u64,
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
    starts: Vec<(u8, u32)>,
    #[serde(default)]
    members: Members,
    #[serde(default)]
    level: u16,
}

#[derive(Serialize, Deserialize)]
struct AclListRecord {
    id: u32,
    /// Permissions, scheme and id of each entry.
    entries: Vec<(i32, String, String)>,
}

#[derive(Serialize, Deserialize)]
struct NodeRecord<'a>(
    u32,                                                     // slot
    u32,                                                     // parent's slot
    #[serde(borrow, with = "serde_bytes")] &'a [u8],         // name
    #[serde(borrow, with = "serde_bytes")] Option<&'a [u8]>, // data
    [u64; 3],                                                // czxid, mzxid, pzxid
    [i64; 2],                                                // ctime, mtime
    i64,                                                     // owner
    [i32; 3],                                                // version, aversion, creates
    u32,                                                     // list of entries
);

#[derive(Serialize, Deserialize)]
struct EndRecord {
    nodes: u64,
}

impl Walk {
    fn write(&mut self, id: NodeId, node: &Znode) {
        if self.chunk.is_empty() {
            self.chunk.extend_from_slice(&[NODES, ARRAY_32, 0, 0, 0, 0]);
        }
        let record = NodeRecord(
            id.0,
            node.parent.0,
            node.name(),
            node.data(),
            [node.czxid.0, node.mzxid.0, node.pzxid.0],
            [node.ctime, node.mtime],
            node.owner.0,
            [node.version, node.aversion, node.creates],
            node.acl.0,
        );
        rmp_serde::encode::write(&mut self.chunk, &record).expect("writing into memory cannot fail");
        self.written += 1;
        self.in_chunk += 1;
        if self.chunk.len() >= CHUNK_SIZE {
            let chunk = self.take_chunk();
            self.full.push_back(chunk);
        }
    }

    /// Completes the count in front of the node images.
    fn take_chunk(&mut self) -> Vec<u8> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk[2..6].copy_from_slice(&self.in_chunk.to_be_bytes());
        self.in_chunk = 0;
        chunk
    }
}

fn chunk(kind: u8, record: &impl Serialize) -> Vec<u8> {
    let mut out = vec![kind];
    let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
    record.serialize(&mut serializer).expect("writing into memory cannot fail");
    out
}

impl Tree {
    /// Begins a snapshot of the state as it is now. The chunks come out of [`Tree::next_snapshot_chunk`].
    pub fn begin_snapshot(&mut self) {
        assert!(self.walk.is_none(), "one snapshot at a time");
        self.snapshots = self.snapshots.wrapping_add(1).max(1);
        let mut full = VecDeque::new();
        full.push_back(chunk(
            HEADER,
            &HeaderRecord {
                format: FORMAT,
                zxid: self.zxid.0,
                digest: self.digest,
                secret: self.secret.clone(),
                starts: self.starts.iter().map(|(server, count)| (*server, *count)).collect(),
                members: self.members.clone(),
                level: self.level,
            },
        ));
        let acls: Vec<AclListRecord> = self
            .acls
            .iter()
            .map(|(id, list)| AclListRecord {
                id: id.0,
                entries: list
                    .iter()
                    .map(|acl| (acl.perms, acl.identity.scheme.to_string(), acl.identity.id.to_string()))
                    .collect(),
            })
            .collect();
        full.extend(acls.chunks(1024).map(|acls| chunk(ACLS, &acls)));
        let sessions: Vec<(i64, u32)> =
            self.sessions.iter().map(|(id, session)| (id.0, session.timeout_ms)).collect();
        full.extend(sessions.chunks(8192).map(|sessions| chunk(SESSIONS, &sessions)));
        self.walk = Some(Walk {
            generation: self.snapshots,
            next: 0,
            end: self.arena.slots(),
            expected: self.arena.count() as u64,
            written: 0,
            chunk: Vec::new(),
            in_chunk: 0,
            full,
        });
    }

    /// Whether a snapshot is in progress.
    pub fn snapshot_in_progress(&self) -> bool {
        self.walk.is_some()
    }

    /// Walks at most `slots` further. False when the walk has been everywhere.
    pub fn advance_snapshot(&mut self, slots: u32) -> bool {
        let Some(walk) = &mut self.walk else { return false };
        let until = walk.end.min(walk.next.saturating_add(slots));
        while walk.next < until {
            let id = NodeId(walk.next);
            walk.next += 1;
            if let Some(node) = self.arena.get(id)
                && node.stamp != walk.generation
            {
                walk.write(id, node);
            }
        }
        walk.next < walk.end
    }

    /// The next finished chunk. After the walk has been everywhere, what is left and the end; then `None`, and the
    /// snapshot is complete.
    pub fn next_snapshot_chunk(&mut self) -> Option<Vec<u8>> {
        let walk = self.walk.as_mut()?;
        if let Some(full) = walk.full.pop_front() {
            return Some(full);
        }
        if walk.next < walk.end {
            return None;
        }
        if !walk.chunk.is_empty() {
            return Some(walk.take_chunk());
        }
        assert_eq!(walk.written, walk.expected, "a snapshot holds every node once");
        let nodes = walk.written;
        self.walk = None;
        Some(chunk(END, &EndRecord { nodes }))
    }

    /// Bytes of chunks that wait to be taken.
    pub fn snapshot_backlog(&self) -> usize {
        self.walk.as_ref().map_or(0, |walk| walk.full.iter().map(Vec::len).sum())
    }

    /// Gives up the snapshot in progress.
    pub fn abandon_snapshot(&mut self) {
        self.walk = None;
    }

    /// Writes the image of a node that is about to change, if the snapshot in progress still needs it.
    pub(super) fn before_change(&mut self, id: NodeId) {
        if let Some(walk) = &mut self.walk
            && id.0 >= walk.next
            && id.0 < walk.end
        {
            let node = self.arena.node_mut(id);
            if node.stamp != walk.generation {
                node.stamp = walk.generation;
                walk.write(id, node);
            }
        }
    }
}

/// Why chunks do not make a tree. Checksums were right, so this is a bug or a newer format.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(
        "the snapshot has format {0}, this server reads format {FORMAT}: it was written by a newer release"
    )]
    Format(u8),
    #[error(
        "the ensemble has reached feature level {0}, this server supports up to {FEATURE_LEVEL}: it needs a newer release"
    )]
    Level(u16),
    #[error("a chunk cannot be decoded: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    #[error("{0}")]
    Inconsistent(String),
}

fn inconsistent(what: impl Into<String>) -> LoadError {
    LoadError::Inconsistent(what.into())
}

/// Builds a tree from the chunks of a snapshot.
#[derive(Debug)]
pub struct Loader {
    tree: Tree,
    header_seen: bool,
    nodes: Option<u64>,
}

impl Loader {
    pub fn new(hash_seed: u64) -> Loader {
        Loader { tree: Tree::empty(hash_seed), header_seen: false, nodes: None }
    }

    /// Takes the next chunk.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some((kind, body)) = bytes.split_first() else { return Err(inconsistent("a chunk is empty")) };
        if (*kind == HEADER) == self.header_seen || self.nodes.is_some() {
            return Err(inconsistent("chunks are out of order"));
        }
        match *kind {
            HEADER => self.header(rmp_serde::from_slice(body)?),
            ACLS => self.acls(rmp_serde::from_slice(body)?),
            SESSIONS => {
                let sessions: Vec<(i64, u32)> = rmp_serde::from_slice(body)?;
                for (id, timeout_ms) in sessions {
                    self.tree.sessions.open(SessionId(id), timeout_ms);
                }
                Ok(())
            }
            NODES => {
                let nodes: Vec<NodeRecord<'_>> = rmp_serde::from_slice(body)?;
                nodes.into_iter().try_for_each(|record| self.node(record))
            }
            END => {
                let end: EndRecord = rmp_serde::from_slice(body)?;
                self.nodes = Some(end.nodes);
                Ok(())
            }
            other => Err(inconsistent(format!("a chunk has the unknown kind {other:#x}"))),
        }
    }

    fn header(&mut self, header: HeaderRecord) -> Result<(), LoadError> {
        if header.format != FORMAT {
            return Err(LoadError::Format(header.format));
        }
        if header.level > FEATURE_LEVEL {
            return Err(LoadError::Level(header.level));
        }
        self.header_seen = true;
        self.tree.level = header.level;
        self.tree.zxid = Zxid(header.zxid);
        self.tree.digest = header.digest;
        self.tree.secret = header.secret;
        self.tree.starts = header.starts.into_iter().collect();
        self.tree.members = header.members;
        Ok(())
    }

    fn acls(&mut self, lists: Vec<AclListRecord>) -> Result<(), LoadError> {
        for record in lists {
            let list: Vec<Acl<'static>> = record
                .entries
                .into_iter()
                .map(|(perms, scheme, id)| Acl { perms, identity: Identity::new(scheme, id) })
                .collect();
            if !self.tree.acls.restore(AclId(record.id), Arc::from(list)) {
                return Err(inconsistent("access control lists are out of order"));
            }
        }
        Ok(())
    }

    fn node(&mut self, record: NodeRecord<'_>) -> Result<(), LoadError> {
        let NodeRecord(slot, parent, name, data, zxids, times, owner, versions, acl) = record;
        let id = NodeId(slot);
        let is_root = id == NodeId::ROOT;
        if is_root != (parent == NodeId::NONE.0) || is_root != name.is_empty() {
            return Err(inconsistent(format!("slot {slot} has an impossible parent or name")));
        }
        if is_root && Owner(owner) != Owner::NOBODY {
            return Err(inconsistent("the root belongs to somebody"));
        }
        // Slots come roughly in order; one far beyond all others would only make us reserve memory.
        if slot >= self.tree.arena.slots().saturating_add(1 << 24) {
            return Err(inconsistent(format!("slot {slot} is out of range")));
        }
        let Ok(text) = std::str::from_utf8(name) else { return Err(inconsistent("a name is not UTF-8")) };
        if !is_root && (text.contains('/') || path::check(&format!("/{text}")).is_err()) {
            return Err(inconsistent(format!("slot {slot} has an impossible name")));
        }
        if !self.tree.acls.contains(AclId(acl)) {
            return Err(inconsistent(format!(
                "slot {slot} refers to an access control list that is not there"
            )));
        }
        let mut node = Znode::new(NodeId(parent), name, data);
        [node.czxid, node.mzxid, node.pzxid] = zxids.map(Zxid);
        [node.ctime, node.mtime] = times;
        node.owner = Owner(owner);
        [node.version, node.aversion, node.creates] = versions;
        node.acl = AclId(acl);
        if !self.tree.arena.insert_at(id, node) {
            return Err(inconsistent(format!("slot {slot} comes twice")));
        }
        Ok(())
    }

    /// Ties the nodes together.
    pub fn finish(mut self) -> Result<Tree, LoadError> {
        let tree = &mut self.tree;
        if self.nodes != Some(tree.arena.count() as u64) || tree.arena.get(NodeId::ROOT).is_none() {
            return Err(inconsistent("nodes are missing"));
        }
        tree.arena.rebuild_free_list();
        // The root's list is not counted: its table entry for it is held like every other node's.
        for id in (0..tree.arena.slots()).map(NodeId) {
            let Some(node) = tree.arena.get(id) else { continue };
            let (parent, acl) = (node.parent, node.acl);
            tree.acls.retain(acl);
            if id == NodeId::ROOT {
                continue;
            }
            if tree.arena.get(parent).is_none() {
                return Err(inconsistent(format!("slot {} has no parent", id.0)));
            }
            tree.link_sibling(parent, id);
        }
        let mut reached = 1;
        let mut at = tree.arena.node(NodeId::ROOT).first_child;
        let mut size = vec![0usize];
        tree.data_bytes = tree.arena.node(NodeId::ROOT).data_size() as u64;
        // Depth first without recursion, keeping the path's size on the way.
        while at != NodeId::NONE {
            reached += 1;
            let node = tree.arena.node(at);
            let path_size = size.last().expect("one entry a level") + 1 + node.name().len();
            tree.data_bytes += (path_size + node.data_size()) as u64;
            if let Ownership::Session(session) = node.owner.ownership()
                && !tree.sessions.add_ephemeral(session, at)
            {
                return Err(inconsistent(format!("{} outlived its session", tree.path(at))));
            }
            if node.owner.is_ephemeral() && node.first_child != NodeId::NONE {
                return Err(inconsistent(format!("{} is ephemeral and has children", tree.path(at))));
            }
            tree.lifetimes.add(at, node);
            if node.name() == quota::LIMITS.as_bytes()
                && let Some(subject) = quota::subject(&tree.path(node.parent))
            {
                tree.quotas.set(subject, true);
            }
            if node.first_child != NodeId::NONE {
                size.push(path_size);
                at = node.first_child;
                continue;
            }
            loop {
                let node = tree.arena.node(at);
                if node.next != NodeId::NONE {
                    at = node.next;
                    break;
                }
                at = node.parent;
                size.pop();
                if at == NodeId::ROOT {
                    at = NodeId::NONE;
                    break;
                }
            }
        }
        if reached != tree.arena.count() {
            return Err(inconsistent("some nodes cannot be reached from the root"));
        }
        // A list that no node has goes, as it would have with its last node.
        let lists: Vec<AclId> = tree.acls.iter().map(|(id, _)| id).collect();
        for id in lists {
            tree.acls.retain(id);
            tree.acls.release(id);
        }
        Ok(self.tree)
    }
}
