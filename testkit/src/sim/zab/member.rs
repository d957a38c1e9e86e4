//! A member: its disk, which lasts, and its process, which does not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;
use coordinator::zab::{Entry, Epochs, Input, MemberId, Membership, Replica, SnapshotRef, Standing};

use super::device::Device;
use super::servers::Server;
use super::state::{Snapshot, State};

/// What the log's thread is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Append(Entry),
    SaveEpochs(Epochs),
    Truncate(Zxid),
    Replace(Zxid),
}

/// What it is doing.
#[derive(Debug)]
pub(super) enum Doing {
    /// Records up to here are written and being synced.
    Sync(Zxid),
    Job(Job),
}

/// A snapshot that a learner is being sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) attempt: u64,
    pub(super) snapshot: Rc<Snapshot>,
}

/// The log, open for a learner.
#[derive(Debug)]
pub(super) struct OpenLog {
    pub(super) attempt: u64,
    /// The last entry that was read.
    pub(super) at: Zxid,
}

/// A snapshot that is coming in; it lasts as long as the process.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) id: SnapshotRef,
    pub(super) pieces: Vec<Bytes>,
    /// All of it, when it is there and good.
    pub(super) whole: Option<Rc<Snapshot>>,
}

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) origin: MemberId,
    pub(super) serial: u64,
    pub(super) bytes: Bytes,
}

/// What decides in a process.
#[derive(Debug)]
pub(super) enum Mind {
    /// A replica alone: what is above it is the world's.
    Replica(Box<Replica>),
    /// A whole server.
    Server(Box<Server>),
}

/// Everything that dies with the process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) mind: Mind,
    /// In a story: it executed something else than it should have.
    pub(super) spoiled: bool,
    /// It was asked to stop.
    pub(super) retiring: bool,
    pub(super) inbox: VecDeque<Input>,
    pub(super) turn_planned: bool,
    pub(super) state: State,
    /// How many entries of the state the ledger has seen.
    pub(super) known: usize,
    /// Executed, and not reported yet.
    pub(super) executed: Option<(Zxid, u64)>,
    pub(super) standing: Standing,
    pub(super) jobs: VecDeque<Job>,
    pub(super) doing: Option<Doing>,
    pub(super) incoming: Option<Incoming>,
    /// The attempt in which pieces are coming in.
    pub(super) receiving: Option<u64>,
    /// When the thread that carries snapshots has done what it was asked.
    pub(super) courier_us: u64,
    pub(super) outgoing: BTreeMap<MemberId, Outgoing>,
    pub(super) open_logs: BTreeMap<MemberId, OpenLog>,
    pub(super) writing_snapshot: Option<Rc<Snapshot>>,
    pub(super) commands_since_snapshot: u64,
    /// Requests that wait for the next turn: of own clients, and passed on by other members.
    pub(super) requests: VecDeque<Request>,
    /// Requests by clients of this member that have no answer yet.
    pub(super) pending: BTreeSet<u64>,
    /// Questions whether it leads: the number, and how much had been agreed on when it was asked.
    pub(super) tickets: VecDeque<(u64, usize)>,
    pub(super) next_ticket: u64,
}

impl Process {
    pub(super) fn replica(&self) -> &Replica {
        match &self.mind {
            Mind::Replica(replica) => replica,
            Mind::Server(server) => server.member.replica(),
        }
    }

    /// The replica, where it is alone.
    pub(super) fn bare_replica(&mut self) -> Option<&mut Replica> {
        match &mut self.mind {
            Mind::Replica(replica) => Some(replica),
            Mind::Server(_) => None,
        }
    }

    pub(super) fn server(&self) -> Option<&Server> {
        match &self.mind {
            Mind::Replica(_) => None,
            Mind::Server(server) => Some(server),
        }
    }

    pub(super) fn server_mut(&mut self) -> Option<&mut Server> {
        match &mut self.mind {
            Mind::Replica(_) => None,
            Mind::Server(server) => Some(server),
        }
    }

    pub(super) fn serves(&self) -> bool {
        self.standing != Standing::Looking
    }

    pub(super) fn leads(&self) -> bool {
        matches!(self.standing, Standing::Leading { .. })
    }
}

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) device: Device,
    /// What it was before it was lost with everything on it. Promises about it were kept as long as it lasted.
    pub(super) lost: Option<Device>,
    pub(super) process: Option<Process>,
    /// Counts the starts.
    pub(super) life: u64,
    pub(super) frozen_until_us: u64,
    pub(super) slow_until_us: u64,
    pub(super) sync_fails: bool,
    /// In a story: the log's thread does so many more things.
    pub(super) jobs_left: Option<u64>,
    /// The process stops before this many more effects are carried out; the machine, if true.
    pub(super) crash_in: Option<(u64, bool)>,
    /// It takes no more part.
    pub(super) abandoned: bool,
    /// How wrong its clock is, in millionths, and where it began.
    pub(super) drift: i64,
    pub(super) clock_us: u64,
    /// Who the members are by its files of configuration, which are no part of the disk, and since when.
    pub(super) configured: (Zxid, Arc<Membership>),
    pub(super) next_serial: u64,
    /// What it said about elections: in which second, and how often.
    pub(super) notices: (u64, u64),
    /// The last that was reported to be on this disk.
    pub(super) promised: Zxid,
}

impl Member {
    /// Whether an entry is, or was until the disk got lost, safe here.
    pub(super) fn stored(&self, zxid: Zxid, identity: u64) -> bool {
        self.device.has(zxid, identity) || self.lost.as_ref().is_some_and(|lost| lost.has(zxid, identity))
    }

    pub(super) fn is_spoiled(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.spoiled)
    }

    /// What this member's clock says.
    pub(super) fn local_us(&self, now_us: u64) -> u64 {
        let wrong = now_us as i64 * self.drift / 1_000_000;
        self.clock_us + now_us.saturating_add_signed(wrong)
    }
}
