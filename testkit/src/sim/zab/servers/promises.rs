//! What all servers together have promised their clients: one history, what it did, and who asked for what.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use client::wire::zk::{ErrorCode, EventType, Request, Zxid};
use coordinator::tree::Outcome;
use coordinator::tree::command::{Command, Op};

use super::super::state::identity;
use super::sessions::Session;
use crate::check::service::{Violation, violation};
use crate::model::znodes::Model;

/// A change of a znode, or of the list of its children.
#[derive(Debug)]
struct Change {
    zxid: u64,
    kind: EventType,
    path: String,
}

/// Which of a client's watches a change may trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Node,
    Children,
}

/// A client's watch.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) path: String,
    pub(super) watched: Watched,
    /// It was left on a znode that was not there.
    pub(super) absent: bool,
    /// The first change that was not looked at for it.
    pub(super) next: usize,
}

/// The history, and everything that follows from it.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Whatever a member ever wanted in its log, by what stands for it.
    commands: HashMap<u64, Bytes>,
    model: Model,
    /// What was there after each command.
    states: Vec<(u64, Model)>,
    outcomes: BTreeMap<u64, Outcome<'static>>,
    digests: BTreeMap<u64, u64>,
    changes: Vec<Change>,
    sessions: BTreeMap<i64, Session>,
    /// The last place that any client was told of.
    acknowledged: u64,
    /// Who the members are by files, as long as no client has changed that.
    members_in_files: String,
    /// Where the members were changed, where that was settled, and where it was refused for want of members in step.
    changing: Vec<u64>,
}

/// Whether a leader ends a session by itself. What clients ask for says who they are.
pub(super) fn is_expiry(command: &Command<'_>) -> bool {
    command.op == Op::CloseSession && command.identities.is_empty()
}

impl Watch {
    fn is_triggered_by(&self, change: &Change) -> bool {
        match self.watched {
            Watched::Node => change.path == self.path,
            Watched::Children if change.kind == EventType::NodeDataChanged => false,
            Watched::Children => {
                let (above, _) = change.path.rsplit_once('/').unwrap_or_default();
                let above = if above.is_empty() { "/" } else { above };
                above == self.path || (change.kind == EventType::NodeDeleted && change.path == self.path)
            }
        }
    }
}

impl Promises {
    pub(super) fn of(members_in_files: String) -> Promises {
        Promises { members_in_files, ..Promises::default() }
    }

    pub(super) fn learn(&mut self, bytes: &Bytes) {
        self.commands.entry(identity(bytes)).or_insert_with(|| bytes.clone());
    }

    pub(super) fn command(&self, identity: u64) -> Option<&Bytes> {
        self.commands.get(&identity)
    }

    /// The state right after a place in the history.
    pub(super) fn at(&self, zxid: Zxid) -> Option<&Model> {
        let index = self.states.binary_search_by_key(&zxid.0, |(at, _)| *at).ok()?;
        Some(&self.states[index].1)
    }

    pub(super) fn outcome(&self, zxid: u64) -> Option<&Outcome<'static>> {
        self.outcomes.get(&zxid)
    }

    pub(super) fn session(&mut self, session: i64) -> Option<&mut Session> {
        self.sessions.get_mut(&session)
    }

    pub(super) fn live_sessions(&self) -> impl Iterator<Item = i64> {
        self.sessions.iter().filter(|(_, session)| !session.closed && !session.local).map(|(id, _)| *id)
    }

    /// A member opened a session that only it knows.
    pub(super) fn begin_local(&mut self, session: i64) {
        self.sessions.entry(session).or_insert_with(Session::local);
    }

    /// Who asked for what is at a place: the session, the connection, and its number among the session's writes.
    pub(super) fn asker(&self, zxid: u64) -> Option<(i64, u64, usize)> {
        self.sessions
            .iter()
            .find_map(|(id, session)| session.asked(zxid).map(|(link, number)| (*id, link, number)))
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn acknowledge(&mut self, zxid: u64) {
        self.acknowledged = self.acknowledged.max(zxid);
    }

    /// A member's tree has this digest: so must everybody's.
    pub(super) fn compare_digest(&mut self, zxid: Zxid, digest: u64) -> Result<(), Violation> {
        match *self.digests.entry(zxid.0).or_insert(digest) == digest {
            true => Ok(()),
            false => violation("C6", format!("two members have different trees at {zxid}")),
        }
    }

    /// A command has its place in the history.
    pub(super) fn agreed(&mut self, zxid: Zxid, bytes: &Bytes) -> Result<(), Violation> {
        let command = match Command::decode(bytes) {
            Ok(command) => command,
            Err(error) => return violation("C2", format!("the command at {zxid} cannot be read: {error}")),
        };
        self.assign(zxid, &command)?;
        self.note_changing(zxid, &command.op)?;
        let (outcome, changed) = self.model.execute(zxid.0, &command);
        let changes =
            changed.into_iter().map(|change| Change { zxid: zxid.0, kind: change.kind, path: change.path });
        self.changes.extend(changes);
        self.outcomes.insert(zxid.0, outcome);
        self.states.push((zxid.0, self.model.clone()));
        Ok(())
    }

    /// Who asked for a command? Each session's requests come in the order in which they were sent.
    fn assign(&mut self, zxid: Zxid, command: &Command<'_>) -> Result<(), Violation> {
        let id = command.session;
        match &command.op {
            Op::Start { .. } | Op::Raise { .. } | Op::MembersSettled | Op::Members { dynamic: false, .. } => {
                return Ok(());
            }
            Op::CreateSession { .. } => {
                let session = self.sessions.entry(id).or_insert_with(Session::local);
                return match std::mem::take(&mut session.local) {
                    true => Ok(()),
                    false => violation("C10", format!("session {id:#x} begins again at {zxid}")),
                };
            }
            _ => {}
        }
        let Some(mut session) = self.sessions.remove(&id) else {
            return violation("C2", format!("{command:?} at {zxid} is of no session"));
        };
        session.closed |= command.op == Op::CloseSession;
        let comes_to = |request: &Request<'_>, floor| self.comes_to(request, floor, &command.op);
        let placed = if is_expiry(command) { Ok(()) } else { session.place(zxid, command, comes_to) };
        self.sessions.insert(id, session);
        placed
    }

    // ---- Members ----

    /// Whether this must or may become of a client's wish for other members, when `floor` was known as it was sent.
    fn comes_to(&self, request: &Request<'_>, floor: u64, op: &Op<'_>) -> bool {
        let judged = self.model.judge_change(request);
        match op {
            Op::Members { text, .. } => judged.is_ok_and(|judged| judged == *text),
            Op::Refused { code } => match ErrorCode::from_wire(*code) {
                // The leader may not have executed yet that a change is settled; then nobody else has.
                Some(ErrorCode::ReconfigInProgress) => {
                    let unsettled = self.at(Zxid(floor)).is_some_and(|model| model.members.unsettled);
                    unsettled || self.changing.last().is_some_and(|last| *last > floor)
                }
                Some(ErrorCode::NewConfigNoQuorum) => judged.is_ok(),
                code => judged.err() == code,
            },
            _ => false,
        }
    }

    fn note_changing(&mut self, zxid: Zxid, op: &Op<'_>) -> Result<(), Violation> {
        match op {
            Op::Members { text, dynamic: false }
                if self.model.members.version != 0 || *text != self.members_in_files =>
            {
                return violation(
                    "C14",
                    format!("at {zxid} the files' {text:?} takes the place of what was agreed"),
                );
            }
            Op::Members { dynamic: false, .. } => {}
            Op::Members { .. } | Op::MembersSettled => self.changing.push(zxid.0),
            Op::Refused { code } if *code == ErrorCode::NewConfigNoQuorum.to_wire() => {
                self.changing.push(zxid.0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Who the members are by the whole history, and since when.
    pub(super) fn members(&self) -> (String, u64) {
        (self.model.members_text(), self.model.members.version)
    }

    // ---- Watches ----

    /// A watch that was left at a place in the history.
    pub(super) fn watch(&self, zxid: u64, path: &str, watched: Watched, absent: bool) -> Watch {
        let next = self.changes.partition_point(|change| change.zxid <= zxid);
        Watch { path: path.to_owned(), watched, absent, next }
    }

    /// The first change that triggers a watch, if there is one up to a place.
    pub(super) fn trigger(&self, watch: &mut Watch, up_to: u64) -> Option<u64> {
        while let Some(change) = self.changes.get(watch.next).filter(|change| change.zxid <= up_to) {
            if watch.is_triggered_by(change) {
                return Some(change.zxid);
            }
            watch.next += 1;
        }
        None
    }

    /// A watch was left anew: what came and went meanwhile was missed.
    pub(super) fn watch_again(&self, watch: &mut Watch, zxid: u64) {
        let is_there = self.at(Zxid(zxid)).is_some_and(|model| model.get(&watch.path).is_some());
        if watch.absent && !is_there {
            watch.next = self.changes.partition_point(|change| change.zxid <= zxid);
        }
    }
}
