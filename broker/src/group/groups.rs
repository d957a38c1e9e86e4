//! What holds all groups of a broker together: ownership, timers, and what waits for the log?

use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::ErrorCode;

use super::Millis;
use super::join::JoinedAs;
use super::offsets::Committed;
use super::record::Record;
use super::state::Group;
use super::sync::Synced;

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An append that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppendId(pub u64);

/// What the shell is asked to do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Answers a request.
    Answer(Ticket, Answer),
    /// Appends these records to a partition of the offsets topic in one batch, and reports by [`Groups::appended`] once
    /// they are as durable as that topic promises.
    Append { id: AppendId, partition: i32, records: Vec<Record> },
}

/// What a request that waited gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Joined(JoinedAs),
    Synced(Result<Synced, ErrorCode>),
    /// Of a commit: for each offset in the order of the request.
    Committed(Vec<ErrorCode>),
    /// Of a deletion of groups or offsets, in the order of the request.
    Deleted(Vec<ErrorCode>),
}

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of the offsets topic; fixed once it exists.
    pub partitions: i32,
    pub session_timeout_ms_min: u32,
    pub session_timeout_ms_max: u32,
    pub initial_rebalance_delay_ms: Millis,
    pub members_max: usize,
    pub groups_max: usize,
    pub offset_metadata_bytes_max: usize,
    /// How long offsets are kept once nobody reads on from them.
    pub offsets_retention_ms: Millis,
}

/// What happened to all groups, for people who watch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Assignments that were given out.
    pub rebalances: u64,
    /// Offsets of partitions that were committed.
    pub commits: u64,
    /// Offsets that were forgotten because nobody used them any more.
    pub expired: u64,
    /// Offsets that were forgotten because somebody asked for it, or deleted what they are of.
    pub deleted: u64,
}

/// All groups whose records lie in partitions that this broker leads.
#[derive(Debug)]
pub struct Groups {
    pub(super) settings: Settings,
    /// The partitions that are led here; `false` until everything in them was read.
    pub(super) partitions: BTreeMap<i32, bool>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) appends: BTreeMap<AppendId, Appending>,
    appends_count: u64,
    /// When something may have to be done. A deadline that moved is found when the old one comes.
    pub(super) timers: BTreeSet<(Millis, Timer)>,
    pub(super) counts: Counts,
}

/// What happens when an append is reported.
#[derive(Debug)]
pub(super) enum Appending {
    /// The assignment of a generation.
    Assignment { group: String, generation: i32 },
    /// The new id of a static member; its join is answered then.
    NewId { ticket: Ticket, answer: JoinedAs },
    Offsets {
        ticket: Ticket,
        group: String,
        offsets: Vec<((String, i32), Committed)>,
        answers: Vec<ErrorCode>,
    },
    /// The removal of groups or offsets; those not refused outright share the append's outcome.
    Removal { ticket: Ticket, answers: Vec<ErrorCode> },
    /// Nobody waits: the record of an empty group, or what expired.
    Unattended,
}

/// Something that happens with time, to be looked at when its time comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Member { group: String, member: String },
    Invitation { group: String, member: String },
    Round { group: String },
    Unsynced { group: String },
}

/// Which partition of the offsets topic holds a group's records: by Java's hash of its name.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash =
        group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions.max(1)
}

impl Groups {
    pub fn new(settings: Settings) -> Groups {
        Groups {
            settings,
            partitions: BTreeMap::new(),
            groups: BTreeMap::new(),
            appends: BTreeMap::new(),
            appends_count: 0,
            timers: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// What happened since the broker began.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When [`Groups::tick`] should be called at the latest.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis, out: &mut Vec<Effect>) {
        while self.timers.first().is_some_and(|&(at, _)| at <= now) {
            let Some((_, timer)) = self.timers.pop_first() else { return };
            match timer {
                Timer::Member { group, member } => self.member_silent(now, &group, &member, out),
                Timer::Invitation { group, member } => self.invitation_over(now, &group, &member, out),
                Timer::Round { group } => self.round_over(now, &group, out),
                Timer::Unsynced { group } => self.sync_over(now, &group, out),
            }
        }
    }

    /// An append was done, or failed with this error.
    pub fn appended(
        &mut self,
        now: Millis,
        id: AppendId,
        result: Result<(), ErrorCode>,
        out: &mut Vec<Effect>,
    ) {
        match self.appends.remove(&id) {
            Some(Appending::Assignment { group, generation }) => {
                self.assignment_appended(now, &group, generation, result, out);
            }
            Some(Appending::NewId { ticket, answer }) => {
                let answer = match result {
                    Ok(()) => answer,
                    Err(_) => JoinedAs::refused(answer.member, ErrorCode::UNKNOWN_MEMBER_ID),
                };
                out.push(Effect::Answer(ticket, Answer::Joined(answer)));
            }
            Some(Appending::Offsets { ticket, group, offsets, answers }) => {
                let answer = self.offsets_appended(&group, offsets, answers, result);
                out.push(Effect::Answer(ticket, Answer::Committed(answer)));
            }
            Some(Appending::Removal { ticket, answers }) => {
                let failed = result.err().map(as_seen_by_members);
                let answers = answers.into_iter().map(|answer| match (answer, failed) {
                    (ErrorCode::NONE, Some(error)) => error,
                    (answer, _) => answer,
                });
                out.push(Effect::Answer(ticket, Answer::Deleted(answers.collect())));
            }
            Some(Appending::Unattended) | None => {}
        }
    }

    /// Whether requests about this group are served here and now.
    pub(super) fn check_group(&self, group: &str) -> Result<(), ErrorCode> {
        match self.partitions.get(&partition_of(group, self.settings.partitions)) {
            None => Err(ErrorCode::NOT_COORDINATOR),
            Some(false) => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            Some(true) => Ok(()),
        }
    }

    /// The same for what members ask: groups without a name have none.
    pub(super) fn check_members_group(&self, group: &str) -> Result<(), ErrorCode> {
        if group.is_empty() { Err(ErrorCode::INVALID_GROUP_ID) } else { self.check_group(group) }
    }

    pub(super) fn append(
        &mut self,
        group: &str,
        records: Vec<Record>,
        then: Appending,
        out: &mut Vec<Effect>,
    ) {
        let partition = partition_of(group, self.settings.partitions);
        self.append_to(partition, records, then, out);
    }

    pub(super) fn append_to(
        &mut self,
        partition: i32,
        records: Vec<Record>,
        then: Appending,
        out: &mut Vec<Effect>,
    ) {
        let id = AppendId(self.appends_count);
        self.appends_count += 1;
        self.appends.insert(id, then);
        out.push(Effect::Append { id, partition, records });
    }

    /// Looks at a member again when its time may be over.
    pub(super) fn watch_member(&mut self, group: &str, member: &str, at: Millis) {
        self.timers.insert((at, Timer::Member { group: group.to_owned(), member: member.to_owned() }));
    }
}

/// What members are told when an append failed.
pub(super) fn as_seen_by_members(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}
