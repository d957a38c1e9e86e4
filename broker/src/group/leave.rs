//! Who is still there, and what happens when a member is not?

use client::wire::kafka::ErrorCode;

use super::Millis;
use super::groups::{Answer, Effect, Groups};
use super::join::JoinedAs;
use super::state::{Group, State};

/// Who speaks, in requests of members.
#[derive(Debug, Clone)]
pub struct Voice {
    pub group: String,
    pub member: String,
    pub instance: Option<String>,
    pub generation: i32,
}

/// Who is to leave.
#[derive(Debug, Clone)]
pub struct Leaver {
    /// May be empty if the static name is given.
    pub member: String,
    pub instance: Option<String>,
}

impl Groups {
    /// A member is alive, and asks whether everything is as it was.
    pub fn heartbeat(&mut self, now: Millis, from: &Voice) -> ErrorCode {
        match self.check_members_group(&from.group) {
            // Nothing is known yet, so nothing is wrong.
            Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => return ErrorCode::NONE,
            Err(error) => return error,
            Ok(()) => {}
        }
        let Some(group) = self.groups.get_mut(&from.group) else { return ErrorCode::UNKNOWN_MEMBER_ID };
        if let Err(error) = group.check_voice(from) {
            return error;
        }
        let Some(member) = group.members.get_mut(&from.member) else { return ErrorCode::UNKNOWN_MEMBER_ID };
        member.heard(now);
        match group.state {
            State::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
            State::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
            State::CompletingRebalance | State::Stable => ErrorCode::NONE,
        }
    }

    /// Members leave by themselves, or are removed by an administrator. The answers are in the order of `leavers`.
    pub fn leave(
        &mut self,
        now: Millis,
        name: &str,
        leavers: &[Leaver],
        out: &mut Vec<Effect>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        self.check_members_group(name)?;
        Ok(leavers.iter().map(|leaver| self.leave_one(now, name, leaver, out)).collect())
    }

    fn leave_one(&mut self, now: Millis, name: &str, leaver: &Leaver, out: &mut Vec<Effect>) -> ErrorCode {
        let Some(group) = self.groups.get_mut(name) else { return ErrorCode::UNKNOWN_MEMBER_ID };
        if group.invited.remove(&leaver.member).is_some() {
            self.complete_round_if_everybody_joined(now, name, out);
            return ErrorCode::NONE;
        }
        let id = match &leaver.instance {
            Some(instance) if leaver.member.is_empty() => match group.instances.get(instance) {
                Some(id) => id.clone(),
                None => return ErrorCode::UNKNOWN_MEMBER_ID,
            },
            instance => match group.check_member(&leaver.member, instance.as_deref()) {
                Ok(()) => leaver.member.clone(),
                Err(error) => return error,
            },
        };
        self.remove_member(now, name, &id, out);
        ErrorCode::NONE
    }

    pub(super) fn remove_member(&mut self, now: Millis, name: &str, id: &str, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(member) = group.remove(id) else { return };
        if let Some(ticket) = member.joining {
            let gone = JoinedAs::refused(member.id.clone(), ErrorCode::UNKNOWN_MEMBER_ID);
            out.push(Effect::Answer(ticket, Answer::Joined(gone)));
        }
        if let Some(ticket) = member.syncing {
            out.push(Effect::Answer(ticket, Answer::Synced(Err(ErrorCode::UNKNOWN_MEMBER_ID))));
        }
        match group.state {
            State::Empty => {}
            State::PreparingRebalance => self.complete_round_if_everybody_joined(now, name, out),
            State::CompletingRebalance | State::Stable => {
                self.begin_rebalance(now, name, out);
                self.complete_round_if_everybody_joined(now, name, out);
            }
        }
    }

    /// A member's time may be over.
    pub(super) fn member_silent(&mut self, now: Millis, name: &str, id: &str, out: &mut Vec<Effect>) {
        let Some(member) = self.groups.get(name).and_then(|group| group.members.get(id)) else { return };
        if member.is_lost(now) {
            self.remove_member(now, name, id, out);
            return;
        }
        let waits_for_us = member.alive_until <= now;
        let next = if waits_for_us {
            now + Millis::from(member.session_timeout_ms).max(1)
        } else {
            member.alive_until
        };
        self.watch_member(name, id, next);
    }
}

impl Group {
    /// Whether this id is a member's, and nobody else took its static name.
    pub(super) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(holder) if holder != id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// As [`Group::check_member`], and that it speaks of this generation.
    pub(super) fn check_voice(&self, from: &Voice) -> Result<(), ErrorCode> {
        self.check_member(&from.member, from.instance.as_deref())?;
        if from.generation == self.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }
}
