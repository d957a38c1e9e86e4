//! What a replica is told, and what it wants done: two closed sets.

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::{Entry, Epochs, MemberId, Membership, Message};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed. To be given every 20 ms or so; every other input brings the time, too.
    Tick,
    /// There is a connection to a member. Messages arrive whole and in order until it breaks.
    LinkUp(MemberId),
    /// The connection broke; of what was sent last, some may not have arrived.
    LinkDown(MemberId),
    Received(MemberId, Message),
    /// Everything up to here is on this member's disk.
    Durable(Zxid),
    /// [`Effect::SaveEpochs`] is done, and everything appended before it is durable, too.
    EpochsSaved(Epochs),
    /// [`Effect::Truncate`] is done; or it is impossible, and nothing was changed.
    Truncated {
        zxid: Zxid,
        done: bool,
    },
    /// [`Effect::WriteChunk`] is done, for a chunk that was not the last.
    ChunkWritten {
        zxid: Zxid,
        index: u32,
    },
    /// The snapshot whose last chunk was given with [`Effect::WriteChunk`] is durable, has replaced the log and is what
    /// the tree holds now; or it turned out to be damaged, and nothing was changed.
    Replaced {
        zxid: Zxid,
        done: bool,
    },
    /// A snapshot for a learner is open; `None` if there is none and none can be made.
    SnapshotOpened {
        learner: MemberId,
        attempt: u64,
        zxid: Option<Zxid>,
    },
    /// What [`Effect::ReadChunk`] asked for; `None` if it cannot be read.
    ChunkRead {
        learner: MemberId,
        attempt: u64,
        index: u32,
        chunk: Option<(Bytes, bool)>,
    },
    /// The entry was executed; `digest` stands for everything executed so far.
    Executed {
        zxid: Zxid,
        digest: u64,
    },
    /// Somebody wants to be sure that this member still leads: answered by [`Effect::Confirmed`] with this ticket or a
    /// later one. Tickets rise. Without a quorum there is no answer.
    Confirm {
        ticket: u64,
    },
    /// Something for the server at the other end, beside the protocol: from a learner to its leader or back.
    Courier {
        to: MemberId,
        body: Bytes,
    },
    /// This member is about to stop. If it leads, somebody else should.
    HandOver,
    /// The members are others from now on.
    Members(Membership),
}

/// What has to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Send(MemberId, Message),
    /// Append to the log; [`Input::Durable`] tells when it is on disk.
    Append(Entry),
    /// After everything appended before it is durable, keep these on disk, too.
    SaveEpochs(Epochs),
    /// Remove everything behind this place from the log, and from the tree if it was executed.
    Truncate(Zxid),
    /// Open a snapshot at `at_least` or later for a learner; make one, if there is none.
    OpenSnapshot {
        learner: MemberId,
        attempt: u64,
        at_least: Zxid,
    },
    /// Read a chunk of the snapshot that is open for a learner.
    ReadChunk {
        learner: MemberId,
        attempt: u64,
        index: u32,
    },
    /// The learner needs no more of its snapshot.
    CloseSnapshot {
        learner: MemberId,
    },
    /// Keep a chunk of a snapshot from the leader. Index 0 begins anew. After the last one the snapshot takes the place
    /// of the log and the tree, whatever they held.
    WriteChunk {
        zxid: Zxid,
        index: u32,
        bytes: Bytes,
        last: bool,
    },
    /// Committed: execute it.
    Deliver(Entry),
    /// What this member is from now on.
    Stand(Standing),
    /// The leadership was confirmed by a quorum after each of the tickets up to this one was given.
    Confirmed {
        ticket: u64,
    },
    /// From the server of another member, see [`Input::Courier`].
    Courier {
        from: MemberId,
        body: Bytes,
    },
    /// What this member executed differs from what the others did. It must not serve any more.
    Diverged {
        zxid: Zxid,
    },
}

/// A member's place in the ensemble, as far as clients are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It looks for a leader, or is not in step with it yet: it cannot serve.
    Looking,
    /// In step with the leader.
    Following {
        leader: MemberId,
        epoch: u32,
    },
    /// As following, without a voice.
    Observing {
        leader: MemberId,
        epoch: u32,
    },
    Leading {
        epoch: u32,
    },
}

impl Standing {
    /// The leader, if there is one to turn to.
    pub fn leader(self, own: MemberId) -> Option<MemberId> {
        match self {
            Standing::Looking => None,
            Standing::Following { leader, .. } | Standing::Observing { leader, .. } => Some(leader),
            Standing::Leading { .. } => Some(own),
        }
    }
}
