//! One node of the tree.

use client::wire::zk::{SessionId, Stat, Zxid};

use super::acl::AclId;
use super::arena::NodeId;

/// Who a node belongs to, in the one number that ZooKeeper keeps for it: a session, a marker, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner(pub i64);

const CONTAINER: i64 = i64::MIN;
const TTL_MARK: i64 = 0xff << 56;

/// What an [`Owner`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    Nobody,
    Session(SessionId),
    Container,
    Ttl { ms: i64 },
}

impl Owner {
    pub const NOBODY: Owner = Owner(0);
    pub const CONTAINER: Owner = Owner(CONTAINER);

    pub fn session(session: SessionId) -> Owner {
        Owner(session.0)
    }

    /// `ms` is within the bounds that `Create::mode` checks.
    pub fn ttl(ms: i64) -> Owner {
        Owner(TTL_MARK | ms)
    }

    pub fn ownership(self) -> Ownership {
        match self.0 {
            0 => Ownership::Nobody,
            CONTAINER => Ownership::Container,
            marked if marked & TTL_MARK == TTL_MARK => Ownership::Ttl { ms: marked & !TTL_MARK },
            session => Ownership::Session(SessionId(session)),
        }
    }

    pub fn is_ephemeral(self) -> bool {
        matches!(self.ownership(), Ownership::Session(_))
    }
}

/// The top bit of `name_length` marks data that is null, which is not the same as empty.
const NULL_DATA: u32 = 1 << 31;

/// A znode: its numbers, its place among its relatives, and name and data in one allocation.
///
/// Invariants: `child_count` is the length of the list that starts at `first_child`; `creates` counts every child ever
/// created, so what a client calls cversion is `2 × creates − child_count`.
#[derive(Debug, Clone)]
pub struct Znode {
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub pzxid: Zxid,
    pub ctime: i64,
    pub mtime: i64,
    pub owner: Owner,
    content: Box<[u8]>,
    name_length: u32,
    pub version: i32,
    pub aversion: i32,
    pub creates: i32,
    pub child_count: u32,
    pub acl: AclId,
    pub parent: NodeId,
    pub first_child: NodeId,
    pub next: NodeId,
    pub previous: NodeId,
    /// The snapshot that already has this node, or need not have it.
    pub stamp: u32,
}

impl Znode {
    pub fn new(parent: NodeId, name: &[u8], data: Option<&[u8]>) -> Znode {
        assert!(name.len() < NULL_DATA as usize, "frames are shorter than 2 GiB");
        Znode {
            czxid: Zxid::ZERO,
            mzxid: Zxid::ZERO,
            pzxid: Zxid::ZERO,
            ctime: 0,
            mtime: 0,
            owner: Owner::NOBODY,
            content: content(name, data),
            name_length: name.len() as u32 | if data.is_none() { NULL_DATA } else { 0 },
            version: 0,
            aversion: 0,
            creates: 0,
            child_count: 0,
            acl: AclId::OPEN,
            parent,
            first_child: NodeId::NONE,
            next: NodeId::NONE,
            previous: NodeId::NONE,
            stamp: 0,
        }
    }

    fn name_size(&self) -> usize {
        (self.name_length & !NULL_DATA) as usize
    }

    pub fn name(&self) -> &[u8] {
        &self.content[..self.name_size()]
    }

    pub fn name_str(&self) -> &str {
        std::str::from_utf8(self.name()).expect("names come from checked paths")
    }

    pub fn data(&self) -> Option<&[u8]> {
        if self.name_length & NULL_DATA != 0 { None } else { Some(&self.content[self.name_size()..]) }
    }

    pub fn data_size(&self) -> usize {
        self.content.len() - self.name_size()
    }

    /// Replaces the data and returns what is needed to put the old back.
    pub fn replace_data(&mut self, data: Option<&[u8]>) -> Content {
        let replacement = content(self.name(), data);
        let old = Content {
            bytes: std::mem::replace(&mut self.content, replacement),
            name_length: self.name_length,
        };
        self.name_length = self.name_length & !NULL_DATA | if data.is_none() { NULL_DATA } else { 0 };
        old
    }

    /// Undoes [`Znode::replace_data`].
    pub fn restore_content(&mut self, old: Content) {
        self.content = old.bytes;
        self.name_length = old.name_length;
    }

    /// What clients see.
    pub fn stat(&self) -> Stat {
        Stat {
            czxid: self.czxid.to_wire(),
            mzxid: self.mzxid.to_wire(),
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.creates.wrapping_mul(2).wrapping_sub(self.child_count as i32),
            aversion: self.aversion,
            ephemeral_owner: match self.owner.ownership() {
                Ownership::Session(session) => session.0,
                _ => 0,
            },
            data_length: self.data_size() as i32,
            num_children: self.child_count as i32,
            pzxid: self.pzxid.to_wire(),
        }
    }
}

/// Name and data as they were.
#[derive(Debug)]
pub struct Content {
    bytes: Box<[u8]>,
    name_length: u32,
}

fn content(name: &[u8], data: Option<&[u8]>) -> Box<[u8]> {
    let data = data.unwrap_or_default();
    let mut content = Vec::with_capacity(name.len() + data.len());
    content.extend_from_slice(name);
    content.extend_from_slice(data);
    content.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        assert_eq!(Owner::ttl(5).ownership(), Ownership::Ttl { ms: 5 });
        assert_eq!(Owner::CONTAINER.ownership(), Ownership::Container);
        assert_eq!(Owner(-2 ^ (1 << 60)).ownership(), Ownership::Session(SessionId(-2 ^ (1 << 60))));
        assert_eq!(Owner::NOBODY.ownership(), Ownership::Nobody);
    }

    #[test]
    fn null_data_is_not_empty_data() {
        let mut node = Znode::new(NodeId::ROOT, b"n", None);
        assert_eq!((node.name(), node.data()), (&b"n"[..], None));
        let old = node.replace_data(Some(b""));
        assert_eq!((node.name(), node.data()), (&b"n"[..], Some(&b""[..])));
        node.restore_content(old);
        assert_eq!(node.data(), None);
    }
}
