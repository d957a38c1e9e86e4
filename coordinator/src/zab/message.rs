//! What members tell each other: a closed set, one frame each.
//!
//! Everything between a learner and its leader carries the learner's `attempt`: a number that rises whenever the learner
//! begins anew. What belongs to an earlier attempt is ignored, so nothing old is ever mistaken for something new.

use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;
use serde::{Deserialize, Serialize};

use super::{Entry, MemberId, Membership};

/// Whom a member would follow, and how far that one has come. Later in this order is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vote {
    /// See [`super::Epochs::complete`].
    pub complete: bool,
    pub epoch: u32,
    pub zxid: u64,
    /// Whether it may lead by the members that are committed, as it knows them. While others are on their way, some have not
    /// heard of those who are to come, and would not follow them. Releases that do not say so yet must order votes as others
    /// do, so theirs are taken for settled.
    #[serde(default = "yes")]
    pub settled: bool,
    pub leader: MemberId,
}

fn yes() -> bool {
    true
}

/// What a member does while it votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stance {
    Looking,
    /// It follows whom it votes for.
    Following,
    /// It leads, or tries to.
    Leading,
}

/// How a learner is brought to its leader's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plan {
    /// The entries behind its last one follow.
    Diff,
    /// It first forgets everything behind this place, and says so.
    Truncate { to: u64 },
    /// It gets a snapshot, and asks for every piece.
    Snapshot { snapshot: SnapshotRef },
}

/// A snapshot's file, byte for byte; what identifies it is the store's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    pub zxid: u64,
    pub file_bytes: u64,
    pub crc: u32,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    // ---- Election ----
    /// `vote` is missing where somebody has nobody to vote for. `complete` and `empty` speak of the sender's own history. One
    /// that `asks` is answered, an answer is not. `members_at`: the last change of the members that it knows to be committed.
    Notice {
        round: u64,
        vote: Option<Vote>,
        stance: Stance,
        complete: bool,
        empty: bool,
        asks: bool,
        members_at: u64,
    },

    // ---- Learner to leader ----
    /// Here I am, this far. `need_snapshot`: the plan before this did not work. `level`: the highest feature level that the
    /// learner supports.
    Join {
        attempt: u64,
        accepted: u32,
        current: u32,
        last: u64,
        complete: bool,
        need_snapshot: bool,
        #[serde(default)]
        level: u16,
    },
    /// The new epoch is accepted. `counts` is false when it had been accepted from somebody else before.
    Accept {
        attempt: u64,
        current: u32,
        last: u64,
        counts: bool,
    },
    /// The plan's first part is done; the learner's history ends here.
    Ready {
        attempt: u64,
        last: u64,
    },
    /// The next piece of the snapshot that the learner wants; what is before it is on its disk.
    Want {
        attempt: u64,
        snapshot: SnapshotRef,
        next: u64,
    },
    /// The leader's history, and then the epoch, are on the learner's disk.
    InStep {
        attempt: u64,
        epoch: u32,
    },
    /// Everything up to `durable` is on the learner's disk; after it executed `executed`, its digest was `digest`.
    Ack {
        attempt: u64,
        durable: u64,
        executed: u64,
        digest: u64,
    },
    Pong {
        attempt: u64,
        round: u64,
    },

    // ---- Leader to learner ----
    /// I lead, in this epoch.
    Lead {
        attempt: u64,
        epoch: u32,
    },
    Sync {
        attempt: u64,
        plan: Plan,
    },
    Piece {
        attempt: u64,
        snapshot: SnapshotRef,
        index: u64,
        bytes: Blob,
    },
    /// Entries that follow `prev`; everything up to `commit` is committed.
    Append {
        attempt: u64,
        prev: u64,
        entries: Vec<Carried>,
        commit: u64,
    },
    /// Make everything up to `last` durable, then this epoch your current one, then say that you are in step.
    NewLeader {
        attempt: u64,
        epoch: u32,
        last: u64,
    },
    /// A quorum is in step; serve.
    UpToDate {
        attempt: u64,
        commit: u64,
    },
    Ping {
        attempt: u64,
        round: u64,
        commit: u64,
    },
    /// I know nothing of this attempt; begin anew.
    Rejoin {
        attempt: u64,
    },
    /// I stop; follow this one.
    Resign {
        successor: Vote,
    },
    /// What you executed up to here is not what I did.
    Diverged {
        attempt: u64,
        zxid: u64,
    },

    // ---- Either way ----
    /// For the server at the other end.
    Letter {
        attempt: u64,
        body: Blob,
    },
}

/// Bytes that are bytes on the wire, not lists of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Bytes);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        let bytes = <&serde_bytes::Bytes>::deserialize(deserializer)?;
        Ok(Blob(Bytes::copy_from_slice(bytes)))
    }
}

/// An entry on the wire: without names for its fields, because there are many of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried(u64, u8, u64, Blob, Option<Box<Membership>>);

impl Carried {
    pub fn zxid(&self) -> Zxid {
        Zxid(self.0)
    }
}

impl From<&Entry> for Carried {
    fn from(entry: &Entry) -> Carried {
        Carried(
            entry.zxid.0,
            entry.origin.0,
            entry.serial,
            Blob(entry.bytes.clone()),
            entry.members.as_deref().cloned().map(Box::new),
        )
    }
}

impl From<Carried> for Entry {
    fn from(Carried(zxid, origin, serial, Blob(bytes), members): Carried) -> Entry {
        let members = members.map(|members| Arc::new(*members));
        Entry { zxid: Zxid(zxid), origin: MemberId(origin), serial, bytes, members }
    }
}

/// The first byte of every encoded message.
const VERSION: u8 = 1;

/// Why bytes are not a message. Their checksum was right, so the sender is broken, newer, or not a member.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("the message is empty")]
    Empty,
    #[error("the message has version {0}, this server speaks version {VERSION}")]
    Version(u8),
    #[error("the message cannot be decoded: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
}

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.push(VERSION);
        let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
        self.serialize(&mut serializer).expect("writing a message into memory cannot fail");
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
        match bytes.split_first() {
            None => Err(MessageError::Empty),
            Some((&VERSION, body)) => Ok(rmp_serde::from_slice(body)?),
            Some((&version, _)) => Err(MessageError::Version(version)),
        }
    }
}
