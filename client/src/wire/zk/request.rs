//! What a client asks for.

use std::borrow::Cow;

use crate::wire::codec::{DecodeError, Reader, Writer, write_frame};
use crate::wire::zk::acl::Acl;
use crate::wire::zk::error_code::ErrorCode;
use crate::wire::zk::multi::MultiOp;
use crate::wire::zk::op_code::OpCode;

/// What precedes every request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// What the reply will repeat.
    pub xid: i32,
    /// The operation code.
    pub op: i32,
}

impl RequestHeader {
    /// Reads the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: reader.int()?, op: reader.int()? })
    }
}

/// The longest time to live, in milliseconds: what is left of 64 bits beside the marker.
pub const TTL_MS_MAX: i64 = (1 << 40) - 1;

/// How long a new znode is to live. Derived from operation code and flags in one place, [`Create::mode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until somebody deletes it.
    Persistent,
    /// As long as the session that created it.
    Ephemeral,
    /// Until its last child has gone.
    Container,
    /// Until nobody has changed it for so long and it has no children.
    Ttl {
        /// How long, at most [`TTL_MS_MAX`].
        ms: i64,
    },
}

/// Lifetime, and whether the server completes the name with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateMode {
    /// When it ends.
    pub lifetime: Lifetime,
    /// Whether a number is appended to its name.
    pub sequential: bool,
}

/// Any of the four operations that create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create<'a> {
    /// One of `Create`, `Create2`, `CreateContainer`, `CreateTtl`.
    pub op: OpCode,
    /// Where.
    pub path: Cow<'a, str>,
    /// With which data.
    pub data: Option<&'a [u8]>,
    /// With which access control list.
    pub acl: Vec<Acl<'a>>,
    /// Lifetime and sequence as bits, see [`Create::mode`].
    pub flags: i32,
    /// Only `CreateTtl` carries one.
    pub ttl_ms: i64,
}

impl<'a> Create<'a> {
    pub(crate) fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Create<'a>, DecodeError> {
        Ok(Create {
            op,
            path: reader.required_string()?,
            data: reader.buffer()?,
            acl: Acl::decode_list(reader)?,
            flags: reader.int()?,
            ttl_ms: if op == OpCode::CreateTtl { reader.long()? } else { -1 },
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.string(&self.path);
        out.buffer(self.data);
        Acl::encode_list(&self.acl, out);
        out.int(self.flags);
        if self.op == OpCode::CreateTtl {
            out.long(self.ttl_ms);
        }
    }

    /// What flags and operation code mean together; where they disagree the operation code decides.
    pub fn mode(&self, ttl_enabled: bool) -> Result<CreateMode, ErrorCode> {
        let (lifetime, sequential) = match self.flags {
            0 => (Lifetime::Persistent, false),
            1 => (Lifetime::Ephemeral, false),
            2 => (Lifetime::Persistent, true),
            3 => (Lifetime::Ephemeral, true),
            4 => (Lifetime::Container, false),
            5 | 6 if !ttl_enabled => return Err(ErrorCode::Unimplemented),
            5 | 6 if (1..=TTL_MS_MAX).contains(&self.ttl_ms) => {
                (Lifetime::Ttl { ms: self.ttl_ms }, self.flags == 6)
            }
            _ => return Err(ErrorCode::BadArguments),
        };
        let lifetime = match (self.op, lifetime) {
            (OpCode::CreateContainer, _) => Lifetime::Container,
            (OpCode::CreateTtl, Lifetime::Ttl { .. }) => lifetime,
            (OpCode::CreateTtl, _) => return Err(ErrorCode::BadArguments),
            (_, Lifetime::Container) => Lifetime::Persistent,
            _ => lifetime,
        };
        Ok(CreateMode { lifetime, sequential })
    }
}

/// Watches a client had before it lost its connection, and the last zxid it saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchLists<'a> {
    /// Nothing after this place was seen.
    pub relative_zxid: i64,
    /// Watches on data.
    pub data: Vec<Cow<'a, str>>,
    /// Watches on znodes that were not there.
    pub exist: Vec<Cow<'a, str>>,
    /// Watches on the names of children.
    pub child: Vec<Cow<'a, str>>,
    /// Watches that stay.
    pub persistent: Vec<Cow<'a, str>>,
    /// Watches that stay, on whole subtrees.
    pub recursive: Vec<Cow<'a, str>>,
}

/// Which registrations a check or removal of watches means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherType {
    /// Those on the names of children.
    Children,
    /// Those on data and existence.
    Data,
    /// All of them.
    Any,
    /// Those that stay.
    Persistent,
    /// Those that stay, on whole subtrees.
    PersistentRecursive,
}

impl WatcherType {
    fn from_wire(code: i32) -> Result<WatcherType, DecodeError> {
        Ok(match code {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::PersistentRecursive,
            _ => return Err(DecodeError::BadValue(code)),
        })
    }

    fn to_wire(self) -> i32 {
        match self {
            WatcherType::Children => 1,
            WatcherType::Data => 2,
            WatcherType::Any => 3,
            WatcherType::Persistent => 4,
            WatcherType::PersistentRecursive => 5,
        }
    }
}

/// How a watch added by `addWatch` behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddWatchMode {
    /// It stays, and sees the znode and its children come and go.
    Persistent,
    /// It stays, and sees the whole subtree.
    PersistentRecursive,
}

/// A whole request, borrowing from its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Keeps the session alive.
    Ping,
    /// Ends the session.
    CloseSession,
    /// Any of the four operations that create.
    Create(Create<'a>),
    /// Deletes a znode.
    Delete {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The one it must have, or −1 for any.
        version: i32,
    },
    /// Deletes an empty container; only servers do.
    DeleteContainer {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// Sets data.
    SetData {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The one it must have, or −1 for any.
        version: i32,
    },
    /// Sets an access control list.
    SetAcl {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The new list.
        acl: Vec<Acl<'a>>,
        /// The one it must have, or −1 for any.
        version: i32,
    },
    /// Several writes, all or none.
    Multi(Vec<MultiOp<'a>>),
    /// Changes the members.
    Reconfig {
        /// Members that come, or change.
        joining: Option<Cow<'a, str>>,
        /// Members that go.
        leaving: Option<Cow<'a, str>>,
        /// All members, instead of the two above.
        members: Option<Cow<'a, str>>,
        /// The version of the configuration that this changes, or −1 for any.
        config: i64,
    },
    /// Waits until the server has caught up with the leader.
    Sync {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// Asks whether there is a znode.
    Exists {
        /// Of the znode.
        path: Cow<'a, str>,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Reads data.
    GetData {
        /// Of the znode.
        path: Cow<'a, str>,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Reads an access control list.
    GetAcl {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// Lists children.
    GetChildren {
        /// Of the znode.
        path: Cow<'a, str>,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Lists children, with the parent's stat.
    GetChildren2 {
        /// Of the znode.
        path: Cow<'a, str>,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Lists the session's ephemerals.
    GetEphemerals {
        /// Where to look; everywhere if null.
        prefix: Option<Cow<'a, str>>,
    },
    /// Counts everything below a znode.
    GetAllChildrenNumber {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// Several reads.
    MultiRead(Vec<MultiOp<'a>>),
    /// Sets a watch that stays.
    AddWatch {
        /// Of the znode.
        path: Cow<'a, str>,
        /// What the watch sees.
        mode: AddWatchMode,
    },
    /// Asks whether there is a watch.
    CheckWatches {
        /// Of the znode.
        path: Cow<'a, str>,
        /// Of which kind.
        kind: WatcherType,
    },
    /// Takes watches away.
    RemoveWatches {
        /// Of the znode.
        path: Cow<'a, str>,
        /// Of which kind.
        kind: WatcherType,
    },
    /// Sets one-shot watches again on a new connection.
    SetWatches(WatchLists<'a>),
    /// Sets watches of all kinds again on a new connection.
    SetWatches2(WatchLists<'a>),
    /// Adds an identity.
    Auth {
        /// Which authentication scheme.
        scheme: Cow<'a, str>,
        /// What that scheme takes for proof.
        token: Option<&'a [u8]>,
    },
    /// A step of SASL.
    Sasl {
        /// What that scheme takes for proof.
        token: Option<&'a [u8]>,
    },
    /// Lists the session's identities.
    WhoAmI,
}

impl<'a> Request<'a> {
    /// Decodes the body of operation `op`. Bytes after the record are ignored, as every server does.
    pub fn decode(op: i32, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
        let op = OpCode::from_wire(op).ok_or(DecodeError::UnknownOperation(op))?;
        let path_and_watch = |reader: &mut Reader<'a>| -> Result<_, DecodeError> {
            Ok((reader.required_string()?, reader.boolean()?))
        };
        Ok(match op {
            OpCode::Ping => Request::Ping,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Request::Create(Create::decode(op, reader)?)
            }
            OpCode::Delete => Request::Delete { path: reader.required_string()?, version: reader.int()? },
            OpCode::DeleteContainer => Request::DeleteContainer { path: reader.required_string()? },
            OpCode::SetData => Request::SetData {
                path: reader.required_string()?,
                data: reader.buffer()?,
                version: reader.int()?,
            },
            OpCode::SetAcl => Request::SetAcl {
                path: reader.required_string()?,
                acl: Acl::decode_list(reader)?,
                version: reader.int()?,
            },
            OpCode::Multi => Request::Multi(MultiOp::decode_writes(reader)?),
            OpCode::MultiRead => Request::MultiRead(MultiOp::decode_reads(reader)?),
            OpCode::Reconfig => Request::Reconfig {
                joining: reader.string()?,
                leaving: reader.string()?,
                members: reader.string()?,
                config: reader.long()?,
            },
            OpCode::Sync => Request::Sync { path: reader.required_string()? },
            OpCode::Exists => {
                let (path, watch) = path_and_watch(reader)?;
                Request::Exists { path, watch }
            }
            OpCode::GetData => {
                let (path, watch) = path_and_watch(reader)?;
                Request::GetData { path, watch }
            }
            OpCode::GetChildren => {
                let (path, watch) = path_and_watch(reader)?;
                Request::GetChildren { path, watch }
            }
            OpCode::GetChildren2 => {
                let (path, watch) = path_and_watch(reader)?;
                Request::GetChildren2 { path, watch }
            }
            OpCode::GetAcl => Request::GetAcl { path: reader.required_string()? },
            OpCode::GetEphemerals => Request::GetEphemerals { prefix: reader.string()? },
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path: reader.required_string()? },
            OpCode::AddWatch => Request::AddWatch {
                path: reader.required_string()?,
                mode: match reader.int()? {
                    0 => AddWatchMode::Persistent,
                    1 => AddWatchMode::PersistentRecursive,
                    other => return Err(DecodeError::BadValue(other)),
                },
            },
            OpCode::CheckWatches => Request::CheckWatches {
                path: reader.required_string()?,
                kind: WatcherType::from_wire(reader.int()?)?,
            },
            OpCode::RemoveWatches => Request::RemoveWatches {
                path: reader.required_string()?,
                kind: WatcherType::from_wire(reader.int()?)?,
            },
            OpCode::SetWatches | OpCode::SetWatches2 => {
                let mut lists = WatchLists {
                    relative_zxid: reader.long()?,
                    data: reader.strings()?,
                    exist: reader.strings()?,
                    child: reader.strings()?,
                    ..WatchLists::default()
                };
                if op == OpCode::SetWatches {
                    Request::SetWatches(lists)
                } else {
                    lists.persistent = reader.strings()?;
                    lists.recursive = reader.strings()?;
                    Request::SetWatches2(lists)
                }
            }
            OpCode::Auth => {
                reader.int()?;
                Request::Auth { scheme: reader.string()?.unwrap_or_default(), token: reader.buffer()? }
            }
            OpCode::Sasl => Request::Sasl { token: reader.buffer()? },
            OpCode::WhoAmI => Request::WhoAmI,
            // Only inside a multi, or never from a client.
            OpCode::Check | OpCode::CreateSession | OpCode::Error => {
                return Err(DecodeError::UnknownOperation(op.to_wire()));
            }
        })
    }

    /// Its operation code.
    pub fn op(&self) -> OpCode {
        match self {
            Request::Ping => OpCode::Ping,
            Request::CloseSession => OpCode::CloseSession,
            Request::Create(create) => create.op,
            Request::Delete { .. } => OpCode::Delete,
            Request::DeleteContainer { .. } => OpCode::DeleteContainer,
            Request::SetData { .. } => OpCode::SetData,
            Request::SetAcl { .. } => OpCode::SetAcl,
            Request::Multi(_) => OpCode::Multi,
            Request::Reconfig { .. } => OpCode::Reconfig,
            Request::Sync { .. } => OpCode::Sync,
            Request::Exists { .. } => OpCode::Exists,
            Request::GetData { .. } => OpCode::GetData,
            Request::GetAcl { .. } => OpCode::GetAcl,
            Request::GetChildren { .. } => OpCode::GetChildren,
            Request::GetChildren2 { .. } => OpCode::GetChildren2,
            Request::GetEphemerals { .. } => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Request::MultiRead(_) => OpCode::MultiRead,
            Request::AddWatch { .. } => OpCode::AddWatch,
            Request::CheckWatches { .. } => OpCode::CheckWatches,
            Request::RemoveWatches { .. } => OpCode::RemoveWatches,
            Request::SetWatches(_) => OpCode::SetWatches,
            Request::SetWatches2(_) => OpCode::SetWatches2,
            Request::Auth { .. } => OpCode::Auth,
            Request::Sasl { .. } => OpCode::Sasl,
            Request::WhoAmI => OpCode::WhoAmI,
        }
    }

    /// Appends the whole frame.
    pub fn write(&self, xid: i32, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            out.int(xid);
            out.int(self.op().to_wire());
            self.encode_body(out);
        });
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        let nullable = |text: &Option<Cow<'_, str>>, out: &mut Vec<u8>| {
            out.buffer(text.as_ref().map(|text| text.as_bytes()));
        };
        match self {
            Request::Ping | Request::CloseSession | Request::WhoAmI => {}
            Request::Create(create) => create.encode(out),
            Request::Delete { path, version } => {
                out.string(path);
                out.int(*version);
            }
            Request::SetData { path, data, version } => {
                out.string(path);
                out.buffer(*data);
                out.int(*version);
            }
            Request::SetAcl { path, acl, version } => {
                out.string(path);
                Acl::encode_list(acl, out);
                out.int(*version);
            }
            Request::Multi(ops) | Request::MultiRead(ops) => MultiOp::encode_list(ops, out),
            Request::Reconfig { joining, leaving, members, config } => {
                nullable(joining, out);
                nullable(leaving, out);
                nullable(members, out);
                out.long(*config);
            }
            Request::Exists { path, watch }
            | Request::GetData { path, watch }
            | Request::GetChildren { path, watch }
            | Request::GetChildren2 { path, watch } => {
                out.string(path);
                out.boolean(*watch);
            }
            Request::DeleteContainer { path }
            | Request::Sync { path }
            | Request::GetAcl { path }
            | Request::GetAllChildrenNumber { path } => out.string(path),
            Request::GetEphemerals { prefix } => nullable(prefix, out),
            Request::AddWatch { path, mode } => {
                out.string(path);
                out.int(match mode {
                    AddWatchMode::Persistent => 0,
                    AddWatchMode::PersistentRecursive => 1,
                });
            }
            Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
                out.string(path);
                out.int(kind.to_wire());
            }
            Request::SetWatches(lists) => lists.encode_standard(out),
            Request::SetWatches2(lists) => {
                lists.encode_standard(out);
                out.strings(&lists.persistent);
                out.strings(&lists.recursive);
            }
            Request::Auth { scheme, token } => {
                out.int(0);
                out.string(scheme);
                out.buffer(*token);
            }
            Request::Sasl { token } => out.buffer(*token),
        }
    }
}

impl WatchLists<'_> {
    fn encode_standard(&self, out: &mut Vec<u8>) {
        out.long(self.relative_zxid);
        out.strings(&self.data);
        out.strings(&self.exist);
        out.strings(&self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_survives_a_round_trip_and_every_cut_is_an_error_or_shorter() {
        let path = Cow::Borrowed("/a/b");
        let acl = vec![Acl::open()];
        let create = |op, flags, ttl_ms| Create {
            op,
            path: "/a".into(),
            data: Some(&b"x"[..]),
            acl: vec![Acl::open()],
            flags,
            ttl_ms,
        };
        let requests = [
            Request::Ping,
            Request::CloseSession,
            Request::Create(create(OpCode::Create, 3, -1)),
            Request::Create(create(OpCode::Create2, 0, -1)),
            Request::Create(create(OpCode::CreateContainer, 4, -1)),
            Request::Create(create(OpCode::CreateTtl, 5, 1000)),
            Request::Delete { path: path.clone(), version: -1 },
            Request::DeleteContainer { path: path.clone() },
            Request::SetData { path: path.clone(), data: None, version: 3 },
            Request::SetAcl { path: path.clone(), acl, version: 0 },
            Request::Multi(vec![MultiOp::Check { path: path.clone(), version: 1 }]),
            Request::MultiRead(vec![MultiOp::GetData { path: path.clone() }]),
            Request::Reconfig { joining: None, leaving: Some("1".into()), members: None, config: -1 },
            Request::Sync { path: path.clone() },
            Request::Exists { path: path.clone(), watch: true },
            Request::GetData { path: path.clone(), watch: false },
            Request::GetAcl { path: path.clone() },
            Request::GetChildren { path: path.clone(), watch: true },
            Request::GetChildren2 { path: path.clone(), watch: true },
            Request::GetEphemerals { prefix: None },
            Request::GetAllChildrenNumber { path: path.clone() },
            Request::AddWatch { path: path.clone(), mode: AddWatchMode::PersistentRecursive },
            Request::CheckWatches { path: path.clone(), kind: WatcherType::Any },
            Request::RemoveWatches { path: path.clone(), kind: WatcherType::Persistent },
            Request::SetWatches(WatchLists {
                relative_zxid: 5,
                data: vec![path.clone()],
                ..Default::default()
            }),
            Request::SetWatches2(WatchLists {
                relative_zxid: 5,
                recursive: vec![path],
                ..Default::default()
            }),
            Request::Auth { scheme: "digest".into(), token: Some(b"u:p") },
            Request::Sasl { token: None },
            Request::WhoAmI,
        ];
        for request in requests {
            let mut frame = Vec::new();
            request.write(9, &mut frame);
            let mut reader = Reader::new(&frame[4..]);
            let header = RequestHeader::decode(&mut reader).unwrap();
            assert_eq!(header, RequestHeader { xid: 9, op: request.op().to_wire() });
            assert_eq!(Request::decode(header.op, &mut reader), Ok(request.clone()));
            for end in 12..frame.len() {
                let mut reader = Reader::new(&frame[12..end]);
                if let Ok(shorter) = Request::decode(header.op, &mut reader) {
                    assert_ne!(shorter, request, "a cut body must not decode to the whole");
                }
            }
        }
    }

    #[test]
    fn the_operation_code_decides_the_mode() {
        let mode = |op, flags, ttl_ms, enabled| {
            Create { op, path: "/a".into(), data: None, acl: vec![], flags, ttl_ms }.mode(enabled)
        };
        let plain = |lifetime| Ok(CreateMode { lifetime, sequential: false });
        assert_eq!(mode(OpCode::Create, 4, -1, true), plain(Lifetime::Persistent));
        assert_eq!(mode(OpCode::CreateContainer, 0, -1, true), plain(Lifetime::Container));
        assert_eq!(mode(OpCode::CreateTtl, 0, -1, true), Err(ErrorCode::BadArguments));
        assert_eq!(mode(OpCode::CreateTtl, 5, 0, true), Err(ErrorCode::BadArguments));
        assert_eq!(mode(OpCode::CreateTtl, 5, TTL_MS_MAX + 1, true), Err(ErrorCode::BadArguments));
        assert_eq!(mode(OpCode::CreateTtl, 5, 1, true), plain(Lifetime::Ttl { ms: 1 }));
        assert_eq!(mode(OpCode::CreateTtl, 5, 1, false), Err(ErrorCode::Unimplemented));
        assert_eq!(mode(OpCode::Create, 5, -1, true), Err(ErrorCode::BadArguments));
        for flags in [-1, 7, 99] {
            assert_eq!(mode(OpCode::Create, flags, -1, true), Err(ErrorCode::BadArguments));
        }
    }
}
