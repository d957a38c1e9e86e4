//! What each operation does, and what it checks first, in ZooKeeper's order.

use std::borrow::Cow;

use client::wire::zk::{ErrorCode, EventType, SessionId, Zxid, path, perms};

use super::acl;
use super::arena::NodeId;
use super::command::{self, Command, CreateOp, LifetimeRecord, Op, Rules};
use super::quota;
use super::znode::{Owner, Ownership, Znode};
use super::{CONFIG_NODE, Change, Members, Outcome, SYSTEM_NODES, Tree};

/// One command being executed.
pub(super) struct Execution<'t, 'c> {
    pub(super) tree: &'t mut Tree,
    pub(super) zxid: Zxid,
    pub(super) command: &'t Command<'c>,
    pub(super) changes: &'t mut Vec<Change>,
}

impl<'c> Execution<'_, 'c> {
    pub(super) fn op(&mut self, op: &Op<'c>) -> Result<Outcome<'c>, ErrorCode> {
        match op {
            Op::Start { server, secret } => {
                if self.tree.secret.is_empty() {
                    self.tree.secret = secret.to_vec();
                }
                *self.tree.starts.entry(*server).or_default() += 1;
                Ok(Outcome::Started)
            }
            Op::CreateSession { timeout_ms } => {
                self.tree.sessions.open(self.session(), *timeout_ms);
                Ok(Outcome::SessionCreated)
            }
            Op::CloseSession => {
                for path in self.tree.ephemerals(self.session()) {
                    let id = self.tree.lookup(&path).expect("listed by its session");
                    self.remove(id, &path);
                }
                self.tree.sessions.close(self.session());
                Ok(Outcome::SessionClosed)
            }
            Op::Create(create) => self.create(create),
            Op::Delete { path, version } => self.delete(path, *version),
            Op::Reap { path, czxid, mzxid, pzxid } => self.reap(path, [*czxid, *mzxid, *pzxid]),
            Op::DeleteContainer { path } => self.delete_container(path),
            Op::SetData { path, data, version } => self.set_data(path, *data, *version),
            Op::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Op::Check { path, version } => self.check(path, *version),
            Op::Reconfig { .. } => Err(ErrorCode::Unimplemented),
            Op::Members { text, dynamic } => Ok(self.set_members(text, *dynamic)),
            Op::MembersSettled => {
                self.tree.members.before = None;
                Ok(Outcome::Checked)
            }
            Op::Raise { level } => {
                self.tree.level = self.tree.level.max(*level);
                Ok(Outcome::Checked)
            }
            Op::Refused { code } => Err(ErrorCode::from_wire(*code).unwrap_or(ErrorCode::BadArguments)),
            Op::Multi(ops) => Ok(self.multi(ops)),
        }
    }

    /// Who the members are. Whether somebody may decide that was checked by the leader, as of the place before this one.
    fn set_members(&mut self, text: &str, dynamic: bool) -> Outcome<'c> {
        let id = self.existing(CONFIG_NODE).expect("a system node");
        let before = String::from_utf8_lossy(self.tree.node(id).data().unwrap_or_default()).into_owned();
        let version = if dynamic { self.zxid.0 } else { 0 };
        let data = format!("{text}\nversion={version:x}");
        self.tree.members = Members { version, before: dynamic.then_some(before) };
        // Its version is never counted; what files say is not even a change.
        let (mzxid, mtime) = if dynamic { (self.zxid, self.command.time_ms) } else { (Zxid::ZERO, 0) };
        self.tree.set_content(id, Some(data.as_bytes()), Some((-1, mzxid, mtime)));
        if dynamic {
            self.changed(EventType::NodeDataChanged, CONFIG_NODE, id, id);
        }
        Outcome::MembersSet { data, stat: self.tree.node(id).stat() }
    }

    fn session(&self) -> SessionId {
        SessionId(self.command.session)
    }

    fn rules(&self) -> Rules {
        self.command.rules
    }

    fn require_session(&self) -> Result<(), ErrorCode> {
        let known = self.rules().local_session || self.tree.sessions.contains(self.session());
        if known { Ok(()) } else { Err(ErrorCode::SessionExpired) }
    }

    fn require(&self, id: NodeId, wanted: i32) -> Result<(), ErrorCode> {
        if self.rules().skip_acl || self.tree.permits(id, wanted, &self.command.identities) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn existing(&self, path: &str) -> Result<NodeId, ErrorCode> {
        self.tree.lookup(path).ok_or(ErrorCode::NoNode)
    }

    fn create(&mut self, create: &CreateOp<'c>) -> Result<Outcome<'c>, ErrorCode> {
        self.require_session()?;
        if create.lifetime == LifetimeRecord::Ephemeral && !self.tree.sessions.contains(self.session()) {
            return Err(ErrorCode::EphemeralOnLocalSession);
        }
        let parent_path = parent_of(create.path)?;
        let acl = acl::checked(&create.acl, &self.command.identities)?;
        let parent = self.existing(parent_path)?;
        self.require(parent, perms::CREATE)?;
        let creates = self.tree.node(parent).creates;
        let path: Cow<'c, str> = match create.sequential {
            true => Cow::Owned(format!("{}{creates:010}", create.path)),
            false => Cow::Borrowed(create.path),
        };
        path::check(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.tree.lookup(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if self.tree.node(parent).owner.is_ephemeral() {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let bytes = create.data.map_or(0, <[u8]>::len) as i64;
        if self.rules().enforce_quota && self.tree.forbidden_by_quota(&path, 1, bytes) {
            return Err(ErrorCode::QuotaExceeded);
        }

        let name = path::name(&path);
        let mut node = Znode::new(parent, name.as_bytes(), create.data);
        (node.czxid, node.mzxid, node.pzxid) = (self.zxid, self.zxid, self.zxid);
        (node.ctime, node.mtime) = (self.command.time_ms, self.command.time_ms);
        node.owner = match create.lifetime {
            LifetimeRecord::Persistent => Owner::NOBODY,
            LifetimeRecord::Ephemeral => Owner::session(self.session()),
            LifetimeRecord::Container => Owner::CONTAINER,
            LifetimeRecord::Ttl { ms } => Owner::ttl(ms),
        };
        node.acl = self.tree.acls.intern(&acl);
        self.tree.set_children_changed(parent, creates.wrapping_add(1), self.zxid);
        let id = self.tree.link(node, path.len());
        if let Some(subject) = quota::subject(parent_path) {
            match name {
                quota::LIMITS => self.tree.set_quota(subject, true),
                quota::STATS => self.tree.measure_usage(subject, id),
                _ => {}
            }
        }
        self.tree.add_usage(&path, 1, bytes);
        self.changed(EventType::NodeCreated, &path, id, parent);
        let stat = self.tree.node(id).stat();
        Ok(Outcome::Created { path, stat })
    }

    fn delete(&mut self, path: &str, version: i32) -> Result<Outcome<'c>, ErrorCode> {
        self.require_session()?;
        let parent = self.deletable_parent(path)?;
        self.require(parent, perms::DELETE)?;
        let id = self.existing(path)?;
        next_version(self.tree.node(id).version, version)?;
        if self.tree.node(id).child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(id, path);
        Ok(Outcome::Deleted)
    }

    fn reap(&mut self, path: &str, [czxid, mzxid, pzxid]: [u64; 3]) -> Result<Outcome<'c>, ErrorCode> {
        let id = self.existing(path)?;
        let node = self.tree.node(id);
        if (node.czxid.0, node.mzxid.0, node.pzxid.0) != (czxid, mzxid, pzxid) {
            return Err(ErrorCode::BadVersion);
        }
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(id, path);
        Ok(Outcome::Deleted)
    }

    fn delete_container(&mut self, path: &str) -> Result<Outcome<'c>, ErrorCode> {
        self.require_session()?;
        let parent = self.deletable_parent(path)?;
        self.require(parent, perms::DELETE)?;
        let id = self.existing(path)?;
        let node = self.tree.node(id);
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        if !matches!(node.owner.ownership(), Ownership::Container | Ownership::Ttl { .. }) {
            return Err(ErrorCode::BadVersion);
        }
        self.remove(id, path);
        Ok(Outcome::Deleted)
    }

    fn deletable_parent(&self, path: &str) -> Result<NodeId, ErrorCode> {
        let parent = parent_of(path)?;
        if SYSTEM_NODES.contains(&path) {
            return Err(ErrorCode::BadArguments);
        }
        self.existing(parent)
    }

    /// Removes a node that may be removed.
    fn remove(&mut self, id: NodeId, path: &str) {
        let node = self.tree.node(id);
        let parent = node.parent;
        let bytes = node.data_size() as i64;
        self.changed(EventType::NodeDeleted, path, id, parent);
        let creates = self.tree.node(parent).creates;
        self.tree.unlink(id, path.len());
        self.tree.set_children_changed(parent, creates, self.zxid);
        if path::name(path) == quota::LIMITS
            && let Some(subject) = path::parent(path).and_then(quota::subject)
        {
            self.tree.set_quota(subject, false);
        }
        self.tree.add_usage(path, -1, -bytes);
    }

    fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Outcome<'c>, ErrorCode> {
        self.require_session()?;
        path::check(path).map_err(|_| ErrorCode::BadArguments)?;
        let id = self.existing(path)?;
        self.require(id, perms::WRITE)?;
        let node = self.tree.node(id);
        let bytes_more = data.map_or(0, <[u8]>::len) as i64 - node.data_size() as i64;
        if self.rules().enforce_quota && self.tree.forbidden_by_quota(path, 0, bytes_more) {
            return Err(ErrorCode::QuotaExceeded);
        }
        let version = next_version(self.tree.node(id).version, version)?;
        self.tree.set_content(id, data, Some((version, self.zxid, self.command.time_ms)));
        self.tree.add_usage(path, 0, bytes_more);
        self.changed(EventType::NodeDataChanged, path, id, id);
        Ok(Outcome::DataSet(self.tree.node(id).stat()))
    }

    fn set_acl(
        &mut self,
        path: &str,
        acl: &[command::AclRecord<'_>],
        version: i32,
    ) -> Result<Outcome<'c>, ErrorCode> {
        self.require_session()?;
        path::check(path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = acl::checked(acl, &self.command.identities)?;
        let id = self.existing(path)?;
        self.require(id, perms::ADMIN)?;
        let aversion = next_version(self.tree.node(id).aversion, version)?;
        self.tree.set_acl(id, &acl, aversion);
        Ok(Outcome::AclSet(self.tree.node(id).stat()))
    }

    fn check(&mut self, path: &str, version: i32) -> Result<Outcome<'c>, ErrorCode> {
        self.require_session()?;
        path::check(path).map_err(|_| ErrorCode::BadArguments)?;
        let id = self.existing(path)?;
        self.require(id, perms::READ)?;
        next_version(self.tree.node(id).version, version)?;
        Ok(Outcome::Checked)
    }

    /// All or nothing under one zxid, each operation seeing the ones before it.
    fn multi(&mut self, ops: &[Op<'c>]) -> Outcome<'c> {
        let changes_before = self.changes.len();
        self.tree.begin_undo();
        let mut outcomes = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            match self.op(op) {
                Ok(outcome) => outcomes.push(outcome),
                Err(code) => {
                    self.tree.roll_back();
                    self.changes.truncate(changes_before);
                    return Outcome::MultiFailed { index, code, count: ops.len() };
                }
            }
        }
        self.tree.forget_undo();
        Outcome::Multi(outcomes)
    }

    fn changed(&mut self, kind: EventType, path: &str, node: NodeId, parent: NodeId) {
        let readers = self.tree.acl(node).clone();
        let parent_readers = self.tree.acl(parent).clone();
        self.changes.push(Change { kind, path: path.into(), readers, parent_readers });
    }
}

/// What ZooKeeper checks of a path before it looks for the parent: nearly nothing.
fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    if path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    path::parent(path).ok_or(ErrorCode::BadArguments)
}

/// The version after this one, if this is the one expected. −1 expects nothing, so no node ever gets that version.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(match current.wrapping_add(1) {
        -1 => 0,
        next => next,
    })
}
