//! What is a replica told when it begins?

use client::wire::zk::Zxid;

use super::{Entry, Epochs, MemberId, Membership};

/// How long things may take, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A leader pings this often.
    pub ping_us: u64,
    /// A learner that hears nothing from its leader for so long looks for another one; a leader that hears no quorum
    /// for so long leads no more.
    pub silence_us: u64,
    /// When a quorum agrees whom to follow, better votes may come in for so long.
    pub gather_us: u64,
    /// The first word from a leader that was just chosen takes at most this long.
    pub join_us: u64,
    /// From being chosen to serving.
    pub init_us: u64,
    /// Members without any data wait so long for all the others, before a quorum of them begins a new history.
    pub bootstrap_us: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            ping_us: 150_000,
            silence_us: 1_500_000,
            gather_us: 40_000,
            join_us: 500_000,
            init_us: 20_000_000,
            bootstrap_us: 3_000_000,
        }
    }
}

/// What a replica is configured with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub id: MemberId,
    pub membership: Membership,
    pub timing: Timing,
    /// Entries and bytes of the window of recent entries.
    pub window_entries: usize,
    pub window_bytes: usize,
    /// Bytes on the way to a learner, and not yet on its disk.
    pub flight_bytes: usize,
    /// The counter at which an epoch ends; the whole range, except where a test wants to see the end.
    pub counter_max: u32,
    /// The highest feature level that this member supports.
    pub level: u16,
}

impl Settings {
    pub fn new(id: MemberId, membership: Membership) -> Settings {
        Settings {
            id,
            membership,
            timing: Timing::default(),
            window_entries: 16 << 10,
            window_bytes: 16 << 20,
            flight_bytes: 8 << 20,
            counter_max: u32::MAX,
            level: 0,
        }
    }
}

/// What recovery found. Everything in the log was executed.
#[derive(Debug, Clone, Default)]
pub struct Persistent {
    pub epochs: Epochs,
    /// The zxid before the first of `recent`.
    pub before: Zxid,
    /// The end of the log.
    pub recent: Vec<Entry>,
    /// The last committed change of the members; zero if they are what files say.
    pub members_at: Zxid,
    /// A change of the members that is in the history and not known to be committed; the settings say who they were before.
    pub next: Option<(Zxid, Membership)>,
}
