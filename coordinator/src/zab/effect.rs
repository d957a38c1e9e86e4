//! What a replica is told, and what it wants done: two closed sets.

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::message::SnapshotRef;
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
    Heard(MemberId, Message),
    /// Everything up to here is on this member's disk.
    Durable(Zxid),
    /// [`Effect::SaveEpochs`] is done, and everything appended before it is durable, too.
    EpochsSaved(Epochs),
    /// [`Effect::Truncate`] is done; or it is impossible, and nothing was changed.
    Truncated {
        zxid: Zxid,
        done: bool,
    },
    /// A snapshot is being received, and this piece of it comes next.
    Receiving {
        snapshot: SnapshotRef,
        next: u64,
    },
    /// All of it is there, good, and durable; or it is given up.
    Received {
        snapshot: SnapshotRef,
        done: bool,
    },
    /// [`Effect::Replace`] is done: the snapshot is what log and tree hold.
    Replaced {
        zxid: Zxid,
    },
    /// A snapshot for a learner is open; `None` if there is none and none can be made.
    SnapshotOpened {
        learner: MemberId,
        attempt: u64,
        snapshot: Option<SnapshotRef>,
    },
    /// What [`Effect::ReadPiece`] asked for; `None` if it cannot be read.
    PieceRead {
        learner: MemberId,
        attempt: u64,
        index: u64,
        bytes: Option<Bytes>,
    },
    /// What the log goes on from, for [`Effect::OpenLog`]; `None` if it does not reach back so far, or is not worth it.
    LogOpened {
        learner: MemberId,
        attempt: u64,
        after: Option<Zxid>,
    },
    /// What [`Effect::ReadLog`] asked for, at least one entry; `None` if it cannot be read.
    LogRead {
        learner: MemberId,
        attempt: u64,
        entries: Option<Vec<Entry>>,
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
    Letter {
        to: MemberId,
        body: Bytes,
    },
    /// This member is about to stop. If it leads, somebody else should.
    HandOver,
    /// Who the members are, by what is on disk now: to be told before a truncation or a replacement is reported; see [`super::Persistent::next`].
    Members {
        membership: Membership,
        at: Zxid,
        next: Option<(Zxid, Membership)>,
    },
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
    /// Read a piece of the snapshot that is open for a learner.
    ReadPiece {
        learner: MemberId,
        attempt: u64,
        index: u64,
    },
    /// Find the place in the own log from where it leads to what this learner lacks: at `after`, or before it if the log has
    /// nothing there.
    OpenLog {
        learner: MemberId,
        attempt: u64,
        after: Zxid,
    },
    /// Read on in the log that is open for a learner, a bounded part of what is left up to `up_to`, which is durable.
    ReadLog {
        learner: MemberId,
        attempt: u64,
        up_to: Zxid,
    },
    /// The learner needs no more of its snapshot, or of the log.
    CloseSource {
        learner: MemberId,
    },
    /// Begin to receive a snapshot from the leader, or go on with it; [`Input::Receiving`] tells from where.
    Receive(SnapshotRef),
    /// Keep a piece of it.
    WritePiece {
        snapshot: SnapshotRef,
        index: u64,
        bytes: Bytes,
    },
    /// The received snapshot takes the place of the log and the tree, whatever they held.
    Replace(Zxid),
    /// Committed: execute it.
    Deliver(Entry),
    /// What this member is from now on.
    Stand(Standing),
    /// The leadership was confirmed by a quorum after each of the tickets up to this one was given.
    Confirmed {
        ticket: u64,
    },
    /// From the server of another member, see [`Input::Letter`].
    Letter {
        from: MemberId,
        body: Bytes,
    },
    /// The other end is silent: a new connection may do better than this one.
    ResetLink(MemberId),
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
