//! A broker that coordinates the group, or believes that it does.

use std::collections::{BTreeMap, VecDeque};

use broker::group::{AppendId, Groups, Millis, Settings, Ticket, Voice};

use super::Configuration;
use super::consumer::Request;

/// What a request that waits was about, as far as its answer is checked.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Join,
    Sync {
        /// Its static name, if it has one: who comes back under that keeps the share.
        member: String,
        generation: i32,
    },
    Commit {
        generation: i32,
        /// The generation that the broker had told anybody when the commit reached it.
        announced: i32,
        place: i64,
    },
    Other,
}

impl Kind {
    pub(super) fn of(request: &Request) -> Kind {
        match request {
            Request::Join(_) => Kind::Join,
            Request::Sync(sync) => {
                let Voice { member, instance, generation, .. } = &sync.from;
                Kind::Sync { member: instance.as_ref().unwrap_or(member).clone(), generation: *generation }
            }
            Request::Commit(commit) => Kind::Commit {
                generation: commit.from.generation,
                announced: -1,
                place: commit.offsets.first().map_or(-1, |first| first.offset),
            },
            Request::Heartbeat(_) | Request::Leave(_) | Request::Offsets => Kind::Other,
        }
    }
}

/// Who waits for an answer.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) consumer: usize,
    pub(super) life: u64,
    pub(super) attempt: u64,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct Broker {
    /// None while it does not run.
    pub(super) groups: Option<Groups>,
    pub(super) life: u64,
    /// The epoch in which it believes to lead; zero if it does not.
    pub(super) epoch: i32,
    /// Appends that were not reported yet: id, epoch, and the place in the log if it led then.
    pub(super) appending: VecDeque<(AppendId, i32, Option<usize>)>,
    pub(super) reports_until: Millis,
    pub(super) waiting: BTreeMap<Ticket, Waiting>,
    /// When its next timer fires.
    pub(super) ticks_at: Option<Millis>,
    /// The last generation that it told anybody, or read in the log.
    pub(super) announced: i32,
}

fn groups(configuration: &Configuration) -> Groups {
    Groups::new(Settings {
        partitions: 1,
        session_timeout_ms_min: 1_000,
        session_timeout_ms_max: 60_000,
        initial_rebalance_delay_ms: configuration.initial_delay_ms,
        members_max: 100,
        groups_max: 10,
        offset_metadata_bytes_max: 100,
        offsets_retention_ms: 1_000_000_000,
    })
}

impl Broker {
    pub(super) fn new(configuration: &Configuration) -> Broker {
        Broker {
            groups: Some(groups(configuration)),
            life: 0,
            epoch: 0,
            appending: VecDeque::new(),
            reports_until: 0,
            waiting: BTreeMap::new(),
            announced: -1,
            ticks_at: None,
        }
    }

    /// Everything in memory is gone; those who wait hear nothing.
    pub(super) fn crash(&mut self) {
        self.life += 1;
        self.groups = None;
        self.epoch = 0;
        self.appending.clear();
        self.reports_until = 0;
        self.waiting.clear();
        self.announced = -1;
        self.ticks_at = None;
    }

    pub(super) fn start(&mut self, configuration: &Configuration) {
        self.groups = Some(groups(configuration));
    }
}
