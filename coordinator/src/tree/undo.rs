//! Taking back what the first operations of a failed multi did.

use client::wire::zk::Zxid;

use super::Tree;
use super::arena::NodeId;
use super::znode::{Content, Znode};

/// The opposite of one change.
#[derive(Debug)]
pub(super) enum Undo {
    Link { id: NodeId, path_size: usize },
    Unlink { node: Box<Znode>, path_size: usize },
    Children { id: NodeId, creates: i32, pzxid: Zxid },
    Content { id: NodeId, content: Content, written: (i32, Zxid, i64) },
    Quota { path: Box<str>, present: bool },
}

impl Tree {
    pub(super) fn begin_undo(&mut self) {
        assert!(self.undo.is_none(), "multis do not nest");
        self.undo = Some(Vec::new());
    }

    /// The multi succeeded.
    pub(super) fn forget_undo(&mut self) {
        for entry in self.undo.take().into_iter().flatten() {
            if let Undo::Unlink { node, .. } = entry {
                self.acls.release(node.acl);
            }
        }
    }

    /// The multi failed: everything goes back, last change first. Because freed slots are used again in the opposite
    /// order, every node comes back under its own number.
    pub(super) fn roll_back(&mut self) {
        let undo = self.undo.take().expect("a multi is being executed");
        for entry in undo.into_iter().rev() {
            match entry {
                Undo::Link { id, path_size } => self.unlink(id, path_size),
                Undo::Unlink { node, path_size } => {
                    let acl = node.acl;
                    self.link(*node, path_size);
                    self.acls.release(acl);
                }
                Undo::Children { id, creates, pzxid } => self.set_children_changed(id, creates, pzxid),
                Undo::Content { id, content, written } => {
                    let node = self.arena.node_mut(id);
                    let size_before = node.data_size() as u64;
                    node.restore_content(content);
                    (node.version, node.mzxid, node.mtime) = written;
                    self.data_bytes = self.data_bytes - size_before + node.data_size() as u64;
                    self.lifetimes.refresh(id, self.arena.node(id));
                }
                Undo::Quota { path, present } => self.quotas.set(&path, present),
            }
        }
    }
}
