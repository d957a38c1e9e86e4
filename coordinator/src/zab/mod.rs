//! ORDER and COMMIT: one agreed sequence of opaque entries, kept by several members.
//!
//! [`Replica`] is one member's part in it: a plain struct that is told what happened ([`Input`]) and says what it wants
//! done ([`Effect`]). It reads no clock and touches no socket and no file, so that a simulator can live through
//! thousands of its lives in a minute. `docs/zab.md` tells the protocol as a story.
//!
//! The phases, a file each: [`election`] finds whom to follow; [`handshake`] agrees on a new epoch and brings everyone
//! to the leader's history; [`broadcast`] gives out zxids and commits them; [`learner`] is the other end of both.

pub mod broadcast;
mod common;
pub mod effect;
pub mod election;
pub mod handshake;
pub mod history;
pub mod learner;
pub mod message;
pub mod planted;
pub mod quorum;
mod replica;
mod settings;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;
use serde::{Deserialize, Serialize};

pub use self::effect::{Effect, Input, Standing};
pub use self::message::{Message, SnapshotRef};
pub use self::quorum::{Membership, Voter};
pub use self::replica::Replica;
pub use self::settings::{Persistent, Settings, Timing};

/// The number of a member: its `myid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u8);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One place of the agreed order, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub zxid: Zxid,
    /// The member whose client asked, and that member's number for the request. Known while the entry travels; the log
    /// does not keep it, because nobody waits for an answer any more when the log is read.
    pub origin: MemberId,
    pub serial: u64,
    pub bytes: Bytes,
    /// Who the members are from here on, if this entry changes that.
    pub members: Option<Arc<Membership>>,
}

impl Entry {
    /// What it takes in memory and on the wire, roughly.
    pub fn size(&self) -> usize {
        self.bytes.len() + 32
    }
}

/// What a member has promised and reached, kept on disk beside the log.
///
/// `accepted` is never less than `current`, and neither ever goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// The highest epoch this member has promised to follow; it follows no leader of a lower one.
    pub accepted: u32,
    /// The epoch of the leader whose history this member has taken over completely.
    pub current: u32,
    /// Whether the history was ever complete, and nothing of it was lost since. Without that the member's voice does
    /// not count: it might elect somebody who misses what this member once helped to commit.
    pub complete: bool,
}

/// The epoch of a zxid.
pub fn epoch_of(zxid: Zxid) -> u32 {
    (zxid.0 >> 32) as u32
}

/// The first zxid of an epoch.
pub fn first_of(epoch: u32) -> Zxid {
    Zxid(u64::from(epoch) << 32 | 1)
}
