//! The only thing the log holds: what somebody wants done, with everything its execution depends on.
//!
//! A command is complete: it carries the identities that were authenticated, the leader's clock and any randomness,
//! so that every replica that executes it computes the same result. Its serialized form is a file format
//! (`docs/storage.md`): fields are added, never renamed, and what a value means never changes.

use client::wire::zk::Acl;
use serde::{Deserialize, Serialize};

/// The highest feature level that this release supports. A command of a kind, or with a meaning, that earlier releases do
/// not know may only be proposed at a level that they do not support. 1: levels themselves, and local sessions.
pub const FEATURE_LEVEL: u16 = 1;

/// From this level on, [`Rules::local_session`] is understood.
pub const LEVEL_OF_LOCAL_SESSIONS: u16 = 1;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command<'a> {
    /// The session that asks; zero for the server itself.
    pub session: i64,
    /// The leader's wall clock when it accepted the request, in milliseconds since 1970.
    pub time_ms: i64,
    /// Who the connection had authenticated as.
    #[serde(borrow, rename = "who", default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<IdentityRecord<'a>>,
    /// How the leader was configured when it accepted the request.
    #[serde(default, skip_serializing_if = "Rules::is_default")]
    pub rules: Rules,
    #[serde(borrow)]
    pub op: Op<'a>,
}

/// Configuration that changes what a command does, and therefore travels with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rules {
    /// Access control lists are not consulted.
    #[serde(default)]
    pub skip_acl: bool,
    /// Hard quotas refuse instead of being noted.
    #[serde(default)]
    pub enforce_quota: bool,
    /// The session that asks is known to its server and not to the tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_session: bool,
}

impl Rules {
    fn is_default(&self) -> bool {
        *self == Rules::default()
    }
}

/// An authenticated identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord<'a> {
    pub scheme: &'a str,
    pub id: &'a str,
}

/// An entry of an access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclRecord<'a> {
    pub perms: i32,
    pub scheme: &'a str,
    pub id: &'a str,
}

impl<'a> AclRecord<'a> {
    /// The list of a request, borrowed.
    pub fn list(acl: &'a [Acl<'_>]) -> Vec<AclRecord<'a>> {
        acl.iter()
            .map(|acl| AclRecord { perms: acl.perms, scheme: &acl.identity.scheme, id: &acl.identity.id })
            .collect()
    }
}

/// How long a created znode lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifetimeRecord {
    Persistent,
    Ephemeral,
    Container,
    Ttl { ms: i64 },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op<'a> {
    /// A server begins to serve. The first one ever also sets the secret that session passwords derive from.
    Start {
        server: u8,
        #[serde(with = "serde_bytes")]
        secret: &'a [u8],
    },
    /// The session named in the command begins.
    CreateSession {
        timeout_ms: u32,
    },
    /// The session named in the command ends, and its ephemerals with it.
    CloseSession,
    #[serde(borrow)]
    Create(CreateOp<'a>),
    Delete {
        path: &'a str,
        version: i32,
    },
    /// A container or a node with a time to live goes because it is empty, if it is still the node that was seen.
    Reap {
        path: &'a str,
        czxid: u64,
        mzxid: u64,
        pzxid: u64,
    },
    /// A client's deleteContainer: the node must be a container or have a time to live.
    DeleteContainer {
        path: &'a str,
    },
    SetData {
        path: &'a str,
        #[serde(with = "serde_bytes")]
        data: Option<&'a [u8]>,
        version: i32,
    },
    SetAcl {
        path: &'a str,
        #[serde(borrow)]
        acl: Vec<AclRecord<'a>>,
        version: i32,
    },
    Check {
        path: &'a str,
        version: i32,
    },
    /// A client wants other members. What comes of that only the leader can say, so this is never logged.
    Reconfig {
        joining: Option<&'a str>,
        leaving: Option<&'a str>,
        members: Option<&'a str>,
        version: i64,
    },
    /// The members from here on, one line each. `dynamic`: a client changed them; else they are what files say.
    Members {
        text: &'a str,
        dynamic: bool,
    },
    /// The last change of the members is committed: the ones before it have no say any more.
    MembersSettled,
    /// Every member supports this feature level; from here on no release that does not may take part.
    Raise {
        level: u16,
    },
    /// An operation that the server refused by its configuration or its arguments alone.
    Refused {
        code: i32,
    },
    #[serde(borrow)]
    Multi(Vec<Op<'a>>),
}

impl Op<'_> {
    /// What it is called, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Start { .. } => "Start",
            Op::CreateSession { .. } => "CreateSession",
            Op::CloseSession => "CloseSession",
            Op::Create(_) => "Create",
            Op::Delete { .. } => "Delete",
            Op::Reap { .. } => "Reap",
            Op::DeleteContainer { .. } => "DeleteContainer",
            Op::SetData { .. } => "SetData",
            Op::SetAcl { .. } => "SetAcl",
            Op::Check { .. } => "Check",
            Op::Reconfig { .. } | Op::Members { .. } => "Reconfig",
            Op::MembersSettled => "MembersSettled",
            Op::Raise { .. } => "Raise",
            Op::Refused { .. } => "Refused",
            Op::Multi(_) => "Multi",
        }
    }

    /// Whether it makes an ephemeral znode, if it succeeds.
    pub fn makes_ephemeral(&self) -> bool {
        match self {
            Op::Create(create) => create.lifetime == LifetimeRecord::Ephemeral,
            Op::Multi(ops) => ops.iter().any(Op::makes_ephemeral),
            _ => false,
        }
    }

    /// The path it is about, if it is about one.
    pub fn path(&self) -> &str {
        match self {
            Op::Create(create) => create.path,
            Op::Delete { path, .. }
            | Op::Reap { path, .. }
            | Op::DeleteContainer { path }
            | Op::SetData { path, .. }
            | Op::SetAcl { path, .. }
            | Op::Check { path, .. } => path,
            Op::Start { .. }
            | Op::CreateSession { .. }
            | Op::CloseSession
            | Op::Reconfig { .. }
            | Op::Members { .. }
            | Op::MembersSettled
            | Op::Raise { .. }
            | Op::Refused { .. }
            | Op::Multi(_) => "",
        }
    }
}

/// The fields of a create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOp<'a> {
    pub path: &'a str,
    #[serde(with = "serde_bytes")]
    pub data: Option<&'a [u8]>,
    #[serde(borrow)]
    pub acl: Vec<AclRecord<'a>>,
    pub lifetime: LifetimeRecord,
    pub sequential: bool,
}

/// The first byte of every encoded command.
const VERSION: u8 = 1;

/// Why bytes are not a command. They were checked against their checksum before, so this is a bug or a newer format.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("the record is empty")]
    Empty,
    #[error(
        "the record has version {0}, this server reads version {VERSION}: it was written by a newer release"
    )]
    Version(u8),
    #[error(
        "the ensemble has reached feature level {0}, this server supports up to {FEATURE_LEVEL}: it needs a newer release"
    )]
    Level(u16),
    #[error("the record cannot be decoded: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
}

impl<'a> Command<'a> {
    /// The bytes that go into the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        out.push(VERSION);
        let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
        self.serialize(&mut serializer).expect("writing a command into memory cannot fail");
        out
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Command<'a>, CommandError> {
        match bytes.split_first() {
            None => Err(CommandError::Empty),
            Some((&VERSION, body)) => match rmp_serde::from_slice(body)? {
                Command { op: Op::Raise { level }, .. } if level > FEATURE_LEVEL => {
                    Err(CommandError::Level(level))
                }
                command => Ok(command),
            },
            Some((&version, _)) => Err(CommandError::Version(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_a_round_trip() {
        let open = AclRecord { perms: 31, scheme: "world", id: "anyone" };
        let create = CreateOp {
            path: "/a",
            data: None,
            acl: vec![open],
            lifetime: LifetimeRecord::Ttl { ms: 7 },
            sequential: true,
        };
        for op in [
            Op::Start { server: 1, secret: &[7; 32] },
            Op::CreateSession { timeout_ms: 4000 },
            Op::CloseSession,
            Op::Create(create.clone()),
            Op::Delete { path: "/a", version: -1 },
            Op::Reap { path: "/a", czxid: 1, mzxid: 2, pzxid: u64::MAX },
            Op::SetData { path: "/a", data: Some(b""), version: 2 },
            Op::SetData { path: "/a", data: None, version: 2 },
            Op::SetAcl { path: "/a", acl: vec![open], version: 0 },
            Op::Members { text: "server.1=a:1:2:participant", dynamic: true },
            Op::MembersSettled,
            Op::Raise { level: FEATURE_LEVEL },
            Op::Multi(vec![Op::Create(create), Op::Check { path: "/b", version: 1 }]),
        ] {
            let command = Command {
                session: -5,
                time_ms: 1_700_000_000_000,
                identities: vec![IdentityRecord { scheme: "ip", id: "127.0.0.1" }],
                rules: Rules { enforce_quota: true, ..Rules::default() },
                op,
            };
            let bytes = command.encode();
            assert_eq!(Command::decode(&bytes).unwrap(), command);
        }
        let op = Op::Raise { level: FEATURE_LEVEL + 1 };
        let newer = Command { session: 0, time_ms: 0, identities: Vec::new(), rules: Rules::default(), op };
        assert!(
            matches!(Command::decode(&newer.encode()), Err(CommandError::Level(level)) if level == FEATURE_LEVEL + 1)
        );
        assert!(matches!(Command::decode(&[]), Err(CommandError::Empty)));
        assert!(matches!(Command::decode(&[9, 1]), Err(CommandError::Version(9))));
        assert!(matches!(Command::decode(&[1, 0xc1]), Err(CommandError::Malformed(_))));
    }
}
