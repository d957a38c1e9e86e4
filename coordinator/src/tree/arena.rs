//! Where znodes live: numbered slots in chunks that never move, and an index from (parent, name) to slot.
//!
//! Chunks instead of one vector, and an index in many small tables instead of one, so that growth never copies more
//! than a fraction of the tree at once: no write waits for the reallocation of a million nodes.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::znode::Znode;

/// A slot number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    pub const ROOT: NodeId = NodeId(0);
    /// No node: the end of a list, the parent of the root.
    pub const NONE: NodeId = NodeId(u32::MAX);
}

const CHUNK: usize = 1024;
const SHARDS: usize = 64;

enum Slot {
    Free { next: NodeId },
    Used(Znode),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Kept so that growing a table touches no node.
    hash: u32,
    id: NodeId,
}

/// All nodes. Invariants: a used slot other than the root's is in the index exactly once, under the hash of its parent
/// and name; free slots form one list.
pub struct Arena {
    chunks: Vec<Box<[Slot]>>,
    slots: u32,
    free: NodeId,
    count: usize,
    index: Vec<HashTable<Entry>>,
    hash_state: FixedState,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena")
            .field("count", &self.count)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl Arena {
    /// `seed` keeps strangers from choosing names that collide; it changes nothing anyone can see.
    pub fn new(seed: u64) -> Arena {
        Arena {
            chunks: Vec::new(),
            slots: 0,
            free: NodeId::NONE,
            count: 0,
            index: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hash_state: FixedState::with_seed(seed),
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// One more than the highest slot number ever used.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    pub fn get(&self, id: NodeId) -> Option<&Znode> {
        match self.chunks.get(id.0 as usize / CHUNK)?.get(id.0 as usize % CHUNK)? {
            Slot::Used(node) => Some(node),
            Slot::Free { .. } => None,
        }
    }

    pub fn node(&self, id: NodeId) -> &Znode {
        self.get(id).expect("ids inside the tree name live nodes")
    }

    pub fn node_mut(&mut self, id: NodeId) -> &mut Znode {
        match &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK] {
            Slot::Used(node) => node,
            Slot::Free { .. } => unreachable!("ids inside the tree name live nodes"),
        }
    }

    /// The child of `parent` called `name`.
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let (shard, hash) = self.hash(parent, name);
        self.index[shard]
            .find(spread(hash), |entry| {
                entry.hash == hash && {
                    let node = self.node(entry.id);
                    node.parent == parent && node.name() == name
                }
            })
            .map(|entry| entry.id)
    }

    /// Puts a node into a free slot and, unless it is the root, into the index. Sibling links are the caller's.
    pub fn insert(&mut self, node: Znode) -> NodeId {
        let id = if self.free == NodeId::NONE {
            let id = NodeId(self.slots);
            self.insert_slot_at_end();
            id
        } else {
            let id = self.free;
            let Slot::Free { next } = self.slot(id) else { unreachable!("the free list holds free slots") };
            self.free = *next;
            id
        };
        self.fill(id, node);
        id
    }

    /// Puts a node into the slot it had when the snapshot was taken. False if the slot is taken.
    pub fn insert_at(&mut self, id: NodeId, node: Znode) -> bool {
        while self.slots <= id.0 {
            self.insert_slot_at_end();
        }
        if matches!(self.slot(id), Slot::Used(_)) {
            return false;
        }
        self.fill(id, node);
        true
    }

    /// Strings the holes that `insert_at` left into the free list.
    pub fn rebuild_free_list(&mut self) {
        self.free = NodeId::NONE;
        for id in (0..self.slots).rev().map(NodeId) {
            let head = self.free;
            if let Slot::Free { next } = self.slot_mut(id) {
                *next = head;
                self.free = id;
            }
        }
    }

    pub fn remove(&mut self, id: NodeId) -> Znode {
        let next = self.free;
        let Slot::Used(node) = std::mem::replace(self.slot_mut(id), Slot::Free { next }) else {
            unreachable!("only live nodes are removed")
        };
        self.free = id;
        self.count -= 1;
        let (shard, hash) = self.hash(node.parent, node.name());
        let entry = self.index[shard].find_entry(spread(hash), |entry| entry.id == id);
        entry.expect("every live node is indexed").remove();
        node
    }

    fn fill(&mut self, id: NodeId, node: Znode) {
        if node.parent != NodeId::NONE {
            let (shard, hash) = self.hash(node.parent, node.name());
            self.index[shard].insert_unique(spread(hash), Entry { hash, id }, |entry| spread(entry.hash));
        }
        *self.slot_mut(id) = Slot::Used(node);
        self.count += 1;
    }

    fn insert_slot_at_end(&mut self) {
        if self.slots as usize == self.chunks.len() * CHUNK {
            self.chunks.push((0..CHUNK).map(|_| Slot::Free { next: NodeId::NONE }).collect());
        }
        self.slots += 1;
        assert!(self.slots < u32::MAX, "the tree holds fewer than 2^32 - 1 nodes");
    }

    fn slot(&self, id: NodeId) -> &Slot {
        &self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    fn slot_mut(&mut self, id: NodeId) -> &mut Slot {
        &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    fn hash(&self, parent: NodeId, name: &[u8]) -> (usize, u32) {
        let mut hasher = self.hash_state.build_hasher();
        hasher.write_u32(parent.0);
        hasher.write(name);
        let hash = hasher.finish();
        ((hash >> 58) as usize, hash as u32)
    }
}

/// A table wants entropy in its highest bits; we keep 32.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Bytes a node takes besides its name and data: its slot, its place in the index at usual load, and what the
/// allocator adds to its content.
pub const NODE_OVERHEAD: usize = size_of::<Slot>() + 12 + 16;

const _: () = assert!(SHARDS.is_power_of_two() && SHARDS == 1 << (64 - 58));
const _: () = assert!(NODE_OVERHEAD <= 200, "the memory goal of docs/benchmarks.md");
