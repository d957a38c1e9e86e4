//! Answers from the local tree, and the watches they leave.

use std::borrow::Cow;

use client::wire::codec::Writer;
use client::wire::zk::request::AddWatchMode;
use client::wire::zk::{
    Acl, ErrorCode, EventType, MultiOp, MultiResult, Request, WatchEvent, WatchLists, perms,
};

use super::Service;
use super::connection::Phase;
use crate::limits;
use crate::tree::acl;
use crate::tree::arena::NodeId;
use crate::tree::watches::{ConnectionId, Kinds};

/// The header zxid of an event that tells what was missed during an absence.
const MISSED: i64 = -1;

impl Service {
    /// Answers a read. Its turn has come: everything the session asked before is answered.
    pub(super) fn read(&mut self, id: ConnectionId, xid: i32, request: &Request<'_>) {
        let Some(connection) = self.clients.get_mut(id) else { return };
        connection.counters.last_op = Some(request.op());
        // Who asked for the end of its session itself is still answered what it asked before.
        let over = connection.phase != Phase::Leaving && self.ending.contains(&connection.session);
        let answered = match over {
            true => Err(ErrorCode::SessionExpired),
            false => self.try_read(id, xid, request),
        };
        if let Err(code) = answered {
            self.clients.reply_error(id, xid, self.tree.zxid().to_wire(), code);
        }
    }

    fn try_read(&mut self, id: ConnectionId, xid: i32, request: &Request<'_>) -> Result<(), ErrorCode> {
        let zxid = self.tree.zxid().to_wire();
        match request {
            Request::Exists { path, watch } => {
                if path.contains('\0') {
                    return Err(ErrorCode::BadArguments);
                }
                let node = self.tree.lookup(path);
                if let Some(node) = node {
                    self.require(id, node, perms::READ)?;
                }
                if *watch {
                    // Also when the node is missing: that is how its creation is waited for.
                    self.watch(id, path, Kinds::DATA)?;
                }
                let stat = self.tree.node(node.ok_or(ErrorCode::NoNode)?).stat();
                self.clients.reply(id, xid, zxid, |out| stat.encode(out));
            }
            Request::GetData { path, watch } => {
                let node = self.readable(id, path)?;
                if *watch {
                    self.watch(id, path, Kinds::DATA)?;
                }
                let node = self.tree.node(node);
                self.clients.reply(id, xid, zxid, |out| {
                    out.buffer(node.data());
                    node.stat().encode(out);
                });
                self.clients.metrics.read_per_namespace.record(path, node.data_size() as u64);
            }
            Request::GetChildren { path, watch } | Request::GetChildren2 { path, watch } => {
                let node = self.readable(id, path)?;
                self.require_small_reply(node)?;
                if *watch {
                    self.watch(id, path, Kinds::CHILD)?;
                }
                let tree = &self.tree;
                self.clients.reply(id, xid, zxid, |out| {
                    out.count(tree.node(node).child_count as usize);
                    tree.children(node).for_each(|child| out.buffer(Some(child.name())));
                    if matches!(request, Request::GetChildren2 { .. }) {
                        tree.node(node).stat().encode(out);
                    }
                });
            }
            Request::GetAcl { path } => {
                let node = self.existing(path)?;
                self.require(id, node, perms::READ | perms::ADMIN)?;
                let list = match self.require(id, node, perms::ADMIN) {
                    Ok(()) => self.tree.acl(node).to_vec(),
                    Err(_) => acl::masked(self.tree.acl(node)),
                };
                let stat = self.tree.node(node).stat();
                self.clients.reply(id, xid, zxid, |out| {
                    Acl::encode_list(&list, out);
                    stat.encode(out);
                });
            }
            Request::GetAllChildrenNumber { path } => {
                let node = self.readable(id, path)?;
                let count = self.tree.descendant_count(node) as i32;
                self.clients.reply(id, xid, zxid, |out| out.int(count));
            }
            Request::GetEphemerals { prefix } => {
                let session = self.clients.get(id).map(|connection| connection.session).unwrap_or_default();
                let mut paths = self.tree.ephemerals(session);
                if let Some(prefix) = prefix.as_deref().filter(|prefix| !matches!(prefix.trim(), "" | "/")) {
                    paths.retain(|path| path.starts_with(prefix));
                }
                self.clients.reply(id, xid, zxid, |out| out.strings(&paths));
            }
            // Its turn has come, so this server is far enough.
            Request::Sync { path } => self.clients.reply(id, xid, zxid, |out| out.string(path)),
            Request::MultiRead(ops) => self.multi_read(id, xid, ops)?,
            Request::AddWatch { path, mode } => {
                self.watch(
                    id,
                    path,
                    match mode {
                        AddWatchMode::Persistent => Kinds::PERSISTENT,
                        AddWatchMode::PersistentRecursive => Kinds::RECURSIVE,
                    },
                )?;
                self.clients.reply(id, xid, zxid, |out| out.int(0));
            }
            Request::CheckWatches { path, kind } => {
                if !self.watches.has(id, path, *kind) {
                    return Err(ErrorCode::NoWatcher);
                }
                self.clients.reply(id, xid, zxid, |_| {});
            }
            Request::RemoveWatches { path, kind } => {
                if !self.watches.remove(id, path, *kind) {
                    return Err(ErrorCode::NoWatcher);
                }
                self.clients.reply(id, xid, zxid, |_| {});
            }
            Request::SetWatches(lists) | Request::SetWatches2(lists) => {
                self.set_watches(id, lists)?;
                self.clients.reply(id, xid, zxid, |_| {});
            }
            Request::WhoAmI => {
                let identities = self.clients.get(id).map(|connection| connection.identities.clone());
                self.clients.reply(id, xid, zxid, |out| {
                    let identities = identities.unwrap_or_default();
                    out.count(identities.len());
                    for identity in identities {
                        // Of a digest only the name is shown.
                        let user = match &*identity.scheme {
                            "digest" => identity.id.split(':').next().unwrap_or_default(),
                            _ => &identity.id,
                        };
                        out.string(&identity.scheme);
                        out.string(user);
                    }
                });
            }
            Request::Reconfig { .. } => {
                return Err(match self.settings.reconfig_enabled {
                    // As a standalone server answers: there is no ensemble whose members could change.
                    true => ErrorCode::Unimplemented,
                    false => ErrorCode::ReconfigDisabled,
                });
            }
            other => unreachable!("{:?} is not answered here", other.op()),
        }
        Ok(())
    }

    fn existing(&self, path: &str) -> Result<NodeId, ErrorCode> {
        self.tree.lookup(path).ok_or(ErrorCode::NoNode)
    }

    fn require(&self, id: ConnectionId, node: NodeId, wanted: i32) -> Result<(), ErrorCode> {
        let identities = self.clients.get(id).map_or(&[][..], |connection| &connection.identities);
        if self.settings.auth.skip_acl || self.tree.permits(node, wanted, identities) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn readable(&self, id: ConnectionId, path: &str) -> Result<NodeId, ErrorCode> {
        let node = self.existing(path)?;
        self.require(id, node, perms::READ)?;
        Ok(node)
    }

    /// No client takes a reply larger than this, and building it would stall everybody else.
    fn require_small_reply(&self, node: NodeId) -> Result<(), ErrorCode> {
        let node_count = self.tree.node(node).child_count as usize;
        if node_count > limits::REPLY_BYTES_MAX / 256 {
            let size: usize = self.tree.children(node).map(|child| child.name().len() + 4).sum();
            if size > limits::REPLY_BYTES_MAX {
                return Err(ErrorCode::SystemError);
            }
        }
        Ok(())
    }

    /// Leaves a watch, in the same call that answers: nothing can change between the two.
    fn watch(&mut self, id: ConnectionId, path: &str, kind: Kinds) -> Result<(), ErrorCode> {
        let limits = &self.settings.limits;
        if self.watches.count() >= limits.watches_max as usize
            || self.watches.count_of(id) >= limits.watches_per_connection_max as usize
        {
            self.clients.metrics.rookery_watch_refused_count += 1;
            return Err(ErrorCode::SystemError);
        }
        self.watches.add(id, path, kind);
        Ok(())
    }

    fn multi_read(&mut self, id: ConnectionId, xid: i32, ops: &[MultiOp<'_>]) -> Result<(), ErrorCode> {
        let mut out = Vec::new();
        for op in ops {
            let (MultiOp::GetData { path } | MultiOp::GetChildren { path }) = op else {
                unreachable!("refused when decoding")
            };
            match self.readable(id, path) {
                Err(code) => MultiResult::Error(Some(code)).encode(&mut out),
                Ok(node) if matches!(op, MultiOp::GetData { .. }) => {
                    let node = self.tree.node(node);
                    MultiResult::GetData { data: node.data(), stat: node.stat() }.encode(&mut out);
                }
                Ok(node) => {
                    self.require_small_reply(node)?;
                    let names =
                        self.tree.children(node).map(|child| Cow::Borrowed(child.name_str())).collect();
                    MultiResult::GetChildren { names }.encode(&mut out);
                }
            }
            // A small request can ask for the same large node many times over.
            if out.len() > limits::REPLY_BYTES_MAX {
                return Err(ErrorCode::SystemError);
            }
        }
        MultiResult::encode_end(&mut out);
        self.clients.reply(id, xid, self.tree.zxid().to_wire(), |reply| reply.bytes(&out));
        Ok(())
    }

    /// Brings back the watches a client had before it lost its connection, and tells what it missed.
    fn set_watches(&mut self, id: ConnectionId, lists: &WatchLists<'_>) -> Result<(), ErrorCode> {
        let since = lists.relative_zxid;
        for path in &lists.data {
            match self.tree.lookup(path).map(|node| self.tree.node(node)) {
                None => self.tell_missed(id, EventType::NodeDeleted, path),
                Some(node) if node.mzxid.to_wire() > since => {
                    self.tell_missed(id, EventType::NodeDataChanged, path)
                }
                Some(_) => self.watch(id, path, Kinds::DATA)?,
            }
        }
        for path in &lists.exist {
            match self.tree.lookup(path) {
                Some(_) => self.tell_missed(id, EventType::NodeCreated, path),
                None => self.watch(id, path, Kinds::DATA)?,
            }
        }
        for path in &lists.child {
            match self.tree.lookup(path).map(|node| self.tree.node(node)) {
                None => self.tell_missed(id, EventType::NodeDeleted, path),
                Some(node) if node.pzxid.to_wire() > since => {
                    self.tell_missed(id, EventType::NodeChildrenChanged, path);
                }
                Some(_) => self.watch(id, path, Kinds::CHILD)?,
            }
        }
        for path in &lists.persistent {
            self.watch(id, path, Kinds::PERSISTENT)?;
        }
        for path in &lists.recursive {
            self.watch(id, path, Kinds::RECURSIVE)?;
        }
        Ok(())
    }

    fn tell_missed(&mut self, id: ConnectionId, kind: EventType, path: &str) {
        self.clients.event(id, |out| WatchEvent::write(kind, path, MISSED, out));
    }
}
