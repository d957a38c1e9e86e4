//! How does each member get its share of what the leader assigned?

use bytes::Bytes;
use client::wire::kafka::ErrorCode;

use super::Millis;
use super::groups::{Answer, Appending, Effect, Groups, Ticket, as_seen_by_members};
use super::leave::Voice;
use super::record::Record;
use super::state::{Group, State};

/// A request for the assignment, with everybody's if it comes from the leader.
#[derive(Debug, Clone)]
pub struct Sync {
    pub from: Voice,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}

/// A member's share.
#[derive(Debug, Clone, PartialEq)]
pub struct Synced {
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

impl Groups {
    /// A member asks for its share. The answer comes when the leader's assignment is in the log.
    pub fn sync(&mut self, now: Millis, ticket: Ticket, sync: Sync, out: &mut Vec<Effect>) {
        match self.try_sync(now, ticket, sync, out) {
            Ok(Some(synced)) => out.push(Effect::Answer(ticket, Answer::Synced(Ok(synced)))),
            Ok(None) => {}
            Err(error) => out.push(Effect::Answer(ticket, Answer::Synced(Err(error)))),
        }
    }

    fn try_sync(
        &mut self,
        now: Millis,
        ticket: Ticket,
        sync: Sync,
        out: &mut Vec<Effect>,
    ) -> Result<Option<Synced>, ErrorCode> {
        let name = &sync.from.group;
        self.check_members_group(name).map_err(|error| match error {
            // A new coordinator does not know what this one was told: the client joins again.
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => ErrorCode::REBALANCE_IN_PROGRESS,
            error => error,
        })?;
        let group = self.groups.get_mut(name).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        group.check_voice(&sync.from)?;
        let differs = |asked: &Option<String>, is: &Option<String>| asked.is_some() && asked != is;
        if differs(&sync.protocol_type, &group.protocol_type) || differs(&sync.protocol, &group.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let id = &sync.from.member;
        match group.state {
            State::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::Stable => {
                group.unsynced.remove(id);
                let synced = group.synced(id);
                group.members.get_mut(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?.heard(now);
                Ok(Some(synced))
            }
            State::CompletingRebalance => {
                group.unsynced.remove(id);
                let is_leader = group.is_leader(id);
                let member = group.members.get_mut(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
                member.heard(now);
                if let Some(earlier) = member.syncing.replace(ticket) {
                    let error = Err(ErrorCode::REBALANCE_IN_PROGRESS);
                    out.push(Effect::Answer(earlier, Answer::Synced(error)));
                }
                if is_leader {
                    let mut image = group.image();
                    for member in &mut image.members {
                        let given = sync.assignments.iter().find(|(id, _)| *id == member.id);
                        member.assignment = given.map(|(_, share)| share.clone()).unwrap_or_default();
                        if let Some(known) = group.members.get_mut(&member.id) {
                            known.assignment = member.assignment.clone();
                        }
                    }
                    let generation = group.generation;
                    let record = Record::Group { group: name.clone(), value: Some(image) };
                    let then = Appending::Assignment { group: name.clone(), generation };
                    self.append(name, vec![record], then, out);
                }
                Ok(None)
            }
        }
    }

    /// The assignment of a generation is in the log, or could not be written.
    pub(super) fn assignment_appended(
        &mut self,
        now: Millis,
        name: &str,
        generation: i32,
        result: Result<(), ErrorCode>,
        out: &mut Vec<Effect>,
    ) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.state != State::CompletingRebalance || group.generation != generation {
            return;
        }
        if let Err(error) = result {
            let error = match error {
                ErrorCode::REQUEST_TIMED_OUT => ErrorCode::REBALANCE_IN_PROGRESS,
                error => as_seen_by_members(error),
            };
            for member in group.members.values_mut() {
                member.assignment = Bytes::new();
            }
            for (_, ticket) in group.take_syncing() {
                out.push(Effect::Answer(ticket, Answer::Synced(Err(error))));
            }
            self.begin_rebalance(now, name, out);
            return;
        }
        self.counts.rebalances += 1;
        group.enter(State::Stable, now);
        for (id, ticket) in group.take_syncing() {
            out.push(Effect::Answer(ticket, Answer::Synced(Ok(group.synced(&id)))));
            if let Some(member) = group.members.get_mut(&id) {
                member.heard(now);
            }
        }
    }

    /// Members that did not ask for their share in time are not there any more.
    pub(super) fn sync_over(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let is_due = group.sync_deadline.is_some_and(|deadline| deadline <= now);
        if !is_due || group.unsynced.is_empty() {
            return;
        }
        group.sync_deadline = None;
        for id in std::mem::take(&mut group.unsynced) {
            group.remove(&id);
        }
        self.begin_rebalance(now, name, out);
        self.complete_round_if_everybody_joined(now, name, out);
    }
}

impl Group {
    pub(super) fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
