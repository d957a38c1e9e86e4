//! How do members come together, get their share, stay, and leave?

use bytes::Bytes;
use client::wire::kafka::ErrorCode;

use super::Millis;
use super::groups::{Answer, Appending, Effect, Groups, Ticket, Timer, as_seen_by_members};
use super::member::Member;
use super::record::Record;
use super::state::{FirstRound, Group, Round, State};

/// How long a new member may wait for its first round to complete.
const FIRST_JOIN_MS_MAX: Millis = 5 * 60 * 1000;

/// How many ids a group may have given out to clients that did not come back with them yet.
const INVITATIONS_MAX: usize = 10_000;

/// A request to join.
#[derive(Debug, Clone)]
pub struct Join {
    pub group: String,
    /// Empty for a client that has no id yet.
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: u32,
    pub session_timeout_ms: u32,
    pub protocol_type: String,
    /// What the member can work with, the preferred first, with what the leader is to know.
    pub protocols: Vec<(String, Bytes)>,
    /// The client joins in two steps: it is given an id first and joins with it.
    pub two_steps: bool,
    /// The client understands that it leads and need not assign.
    pub may_skip_assignment: bool,
    /// Makes an id unique, should one be given out.
    pub unique: String,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedAs {
    pub error: ErrorCode,
    pub member: String,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    /// For the leader: everybody, with static name and metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
    pub skip_assignment: bool,
}

impl JoinedAs {
    pub fn refused(member: String, error: ErrorCode) -> JoinedAs {
        JoinedAs {
            error,
            member,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            members: Vec::new(),
            skip_assignment: false,
        }
    }
}

/// Who speaks, in requests of members.
#[derive(Debug, Clone)]
pub struct Voice {
    pub group: String,
    pub member: String,
    pub instance: Option<String>,
    pub generation: i32,
}

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

/// Who is to leave.
#[derive(Debug, Clone)]
pub struct Leaver {
    /// May be empty if the static name is given.
    pub member: String,
    pub instance: Option<String>,
}

impl Groups {
    /// A client wants to be a member. The answer comes when the round of joins is complete.
    pub fn join(&mut self, now: Millis, ticket: Ticket, join: Join, out: &mut Vec<Effect>) {
        if let Err(answer) = self.try_join(now, ticket, join, out) {
            out.push(Effect::Answer(ticket, Answer::Joined(*answer)));
        }
    }

    /// An error is the answer, and nothing is waited for.
    fn try_join(
        &mut self,
        now: Millis,
        ticket: Ticket,
        join: Join,
        out: &mut Vec<Effect>,
    ) -> Result<(), Box<JoinedAs>> {
        let refuse = |error| Box::new(JoinedAs::refused(join.member.clone(), error));
        if join.group.is_empty() {
            return Err(refuse(ErrorCode::INVALID_GROUP_ID));
        }
        self.check_group(&join.group).map_err(refuse)?;
        let timeouts = self.settings.session_timeout_ms_min..=self.settings.session_timeout_ms_max;
        if !timeouts.contains(&join.session_timeout_ms) {
            return Err(refuse(ErrorCode::INVALID_SESSION_TIMEOUT));
        }
        let is_known = !join.member.is_empty();
        if is_known && !self.groups.contains_key(&join.group) {
            return Err(refuse(ErrorCode::UNKNOWN_MEMBER_ID));
        }
        if self.groups.len() >= self.settings.groups_max && !self.groups.contains_key(&join.group) {
            return Err(refuse(ErrorCode::GROUP_MAX_SIZE_REACHED));
        }
        let members_max = self.settings.members_max;
        let group =
            self.groups.entry(join.group.clone()).or_insert_with(|| Group::new(join.group.clone(), now));
        if !group.has_room(&join.member, members_max) {
            group.invited.remove(&join.member);
            return Err(Box::new(JoinedAs::refused(String::new(), ErrorCode::GROUP_MAX_SIZE_REACHED)));
        }
        if !group.accepts(&join.protocol_type, &join.protocols) {
            return Err(refuse(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        }
        let name = join.group.clone();
        if is_known {
            self.join_again(now, ticket, join, out)?;
        } else {
            self.join_new(now, ticket, join, out)?;
        }
        self.complete_round_if_everybody_joined(now, &name, out);
        Ok(())
    }

    fn join_new(
        &mut self,
        now: Millis,
        ticket: Ticket,
        join: Join,
        out: &mut Vec<Effect>,
    ) -> Result<(), Box<JoinedAs>> {
        let prefix = join.instance.as_ref().unwrap_or(&join.client_id);
        let id = format!("{prefix}-{}", join.unique);
        let Some(group) = self.groups.get_mut(&join.group) else {
            return Err(Box::new(JoinedAs::refused(join.member, ErrorCode::UNKNOWN_MEMBER_ID)));
        };
        if let Some(instance) = &join.instance {
            if let Some(old) = group.instances.get(instance).cloned() {
                self.replace_static(now, ticket, &old, id, join, out);
                return Ok(());
            }
        } else if join.two_steps {
            let until = now + Millis::from(join.session_timeout_ms);
            if group.invited.len() >= INVITATIONS_MAX {
                return Err(Box::new(JoinedAs::refused(String::new(), ErrorCode::GROUP_MAX_SIZE_REACHED)));
            }
            group.invited.insert(id.clone(), until);
            self.timers.insert((until, Timer::Invitation { group: join.group, member: id.clone() }));
            return Err(Box::new(JoinedAs::refused(id, ErrorCode::MEMBER_ID_REQUIRED)));
        }
        self.add_member(now, ticket, id, join, out);
        Ok(())
    }

    fn join_again(
        &mut self,
        now: Millis,
        ticket: Ticket,
        join: Join,
        out: &mut Vec<Effect>,
    ) -> Result<(), Box<JoinedAs>> {
        let refuse = |error| Box::new(JoinedAs::refused(join.member.clone(), error));
        let Some(group) = self.groups.get_mut(&join.group) else {
            return Err(refuse(ErrorCode::UNKNOWN_MEMBER_ID));
        };
        if group.invited.contains_key(&join.member) {
            let id = join.member.clone();
            self.add_member(now, ticket, id, join, out);
            return Ok(());
        }
        group.check_member(&join.member, join.instance.as_deref()).map_err(refuse)?;
        let is_leader = group.is_leader(&join.member);
        let Some(member) = group.members.get_mut(&join.member) else {
            return Err(refuse(ErrorCode::UNKNOWN_MEMBER_ID));
        };
        let is_unchanged = member.protocols == join.protocols;
        match group.state {
            State::Empty => Err(refuse(ErrorCode::UNKNOWN_MEMBER_ID)),
            State::CompletingRebalance if is_unchanged => {
                // It may have lost the answer.
                member.heard(now);
                Err(Box::new(group.joined_as(&join.member)))
            }
            State::Stable if is_unchanged && !is_leader => {
                member.heard(now);
                Err(Box::new(JoinedAs { members: Vec::new(), ..group.joined_as(&join.member) }))
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                if let Some(earlier) = member.joining.replace(ticket) {
                    let gone = JoinedAs::refused(join.member.clone(), ErrorCode::UNKNOWN_MEMBER_ID);
                    out.push(Effect::Answer(earlier, Answer::Joined(gone)));
                }
                member.take_over(&join);
                self.begin_rebalance(now, &join.group, out);
                Ok(())
            }
        }
    }

    fn add_member(&mut self, now: Millis, ticket: Ticket, id: String, join: Join, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(&join.group) else { return };
        let mut member = Member {
            id: id.clone(),
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            rebalance_timeout_ms: 0,
            session_timeout_ms: 0,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            is_new: true,
            alive_until: now + FIRST_JOIN_MS_MAX,
        };
        member.take_over(&join);
        if let Some(first) = group.round.as_mut().and_then(|round| round.first.as_mut()) {
            first.joined = true;
        }
        group.add(member, &join.protocol_type);
        self.watch_member(&join.group, &id, now + FIRST_JOIN_MS_MAX);
        self.begin_rebalance(now, &join.group, out);
    }

    /// A static member came back after a restart: it gets a new id and keeps its share.
    fn replace_static(
        &mut self,
        now: Millis,
        ticket: Ticket,
        old: &str,
        id: String,
        join: Join,
        out: &mut Vec<Effect>,
    ) {
        let Some(group) = self.groups.get_mut(&join.group) else { return };
        let was_leader = group.is_leader(old);
        let Some(mut member) = group.remove(old) else { return };
        if let Some(waiting) = member.joining.take() {
            let fenced = JoinedAs::refused(old.to_owned(), ErrorCode::FENCED_INSTANCE_ID);
            out.push(Effect::Answer(waiting, Answer::Joined(fenced)));
        }
        if let Some(waiting) = member.syncing.take() {
            out.push(Effect::Answer(waiting, Answer::Synced(Err(ErrorCode::FENCED_INSTANCE_ID))));
        }
        member.id.clone_from(&id);
        member.client_id.clone_from(&join.client_id);
        member.client_host.clone_from(&join.client_host);
        member.take_over(&join);
        member.heard(now);
        let alive_until = member.alive_until;
        let protocol_type = group.protocol_type.clone().unwrap_or(join.protocol_type);
        group.add(member, &protocol_type);
        if was_leader {
            group.leader = Some(id.clone());
        }
        self.watch_member(&join.group, &id, alive_until);

        let Some(group) = self.groups.get_mut(&join.group) else { return };
        if group.state == State::Stable && group.choose_protocol() == group.protocol {
            let mut answer = group.joined_as(&id);
            if was_leader && join.may_skip_assignment {
                answer.skip_assignment = true;
            } else if was_leader {
                // An older client would assign anew if it knew that it leads.
                answer.leader = old.to_owned();
                answer.members.clear();
            }
            let record = Record::Group { group: join.group.clone(), value: Some(group.image()) };
            self.append(&join.group, vec![record], Appending::NewId { ticket, answer }, out);
            return;
        }
        if let Some(member) = group.members.get_mut(&id) {
            member.joining = Some(ticket);
        }
        self.begin_rebalance(now, &join.group, out);
    }

    /// Asks everybody to join again, unless they are being asked already.
    fn begin_rebalance(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let initial_delay = self.settings.initial_rebalance_delay_ms;
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.state == State::PreparingRebalance {
            return;
        }
        for (_, ticket) in group.take_syncing() {
            out.push(Effect::Answer(ticket, Answer::Synced(Err(ErrorCode::REBALANCE_IN_PROGRESS))));
        }
        group.sync_deadline = None;
        let timeout = group.rebalance_timeout_ms();
        let round = if group.state == State::Empty {
            let first = FirstRound { remaining_ms: timeout.saturating_sub(initial_delay), joined: false };
            Round { deadline: now + initial_delay, first: Some(first) }
        } else {
            Round { deadline: now + timeout, first: None }
        };
        group.round = Some(round);
        group.enter(State::PreparingRebalance, now);
        self.timers.insert((round.deadline, Timer::Round { group: name.to_owned() }));
        if round.deadline <= now {
            self.round_over(now, name, out);
        }
    }

    fn complete_round_if_everybody_joined(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get(name) else { return };
        let waits_for_more = group.round.is_none_or(|round| round.first.is_some());
        if group.state == State::PreparingRebalance && !waits_for_more && group.everybody_joined() {
            self.complete_round(now, name, out);
        }
    }

    /// A round's time is up, or a timer of an earlier one went off.
    pub(super) fn round_over(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let initial_delay = self.settings.initial_rebalance_delay_ms;
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(round) = &mut group.round else { return };
        if round.deadline > now {
            return;
        }
        if let Some(first) = &mut round.first
            && first.joined
            && first.remaining_ms > 0
        {
            first.joined = false;
            let delay = initial_delay.min(first.remaining_ms);
            first.remaining_ms -= delay;
            round.deadline = now + delay;
            let deadline = round.deadline;
            self.timers.insert((deadline, Timer::Round { group: name.to_owned() }));
            return;
        }
        self.complete_round(now, name, out);
    }

    /// Whoever joined is in the next generation; of the others, static members keep their place.
    fn complete_round(&mut self, now: Millis, name: &str, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let absent = group.members.values().filter(|member| member.joining.is_none());
        let gone: Vec<String> =
            absent.filter(|member| member.instance.is_none()).map(|member| member.id.clone()).collect();
        for id in gone {
            group.remove(&id);
        }
        let joined = |member: &Member| member.joining.is_some();
        if !group.members.is_empty() && !group.members.values().any(joined) {
            let deadline = now + group.rebalance_timeout_ms().max(1);
            group.round = Some(Round { deadline, first: None });
            self.timers.insert((deadline, Timer::Round { group: name.to_owned() }));
            return;
        }
        group.round = None;
        group.generation = group.generation.checked_add(1).unwrap_or(1);
        if group.members.is_empty() {
            group.protocol = None;
            group.leader = None;
            group.enter(State::Empty, now);
            let record = Record::Group { group: name.to_owned(), value: Some(group.image()) };
            self.append(name, vec![record], Appending::Unattended, out);
            return;
        }
        let leader_joined = group.leader.as_ref().and_then(|id| group.members.get(id)).is_some_and(joined);
        if !leader_joined {
            group.leader =
                group.members.values().find(|member| joined(member)).map(|member| member.id.clone());
        }
        group.protocol = group.choose_protocol();
        group.enter(State::CompletingRebalance, now);
        group.unsynced = group.members.keys().cloned().collect();
        let deadline = now + group.rebalance_timeout_ms();
        group.sync_deadline = Some(deadline);

        let ids: Vec<String> = group.members.keys().cloned().collect();
        let mut watched = Vec::new();
        for id in ids {
            let answer = group.joined_as(&id);
            let Some(member) = group.members.get_mut(&id) else { continue };
            member.is_new = false;
            member.heard(now);
            watched.push((id, member.alive_until));
            if let Some(ticket) = member.joining.take() {
                out.push(Effect::Answer(ticket, Answer::Joined(answer)));
            }
        }
        self.timers.insert((deadline, Timer::Unsynced { group: name.to_owned() }));
        for (id, alive_until) in watched {
            self.watch_member(name, &id, alive_until);
        }
    }

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
        self.check_group(name).map_err(|error| match error {
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
        group.enter(State::Stable, now);
        for (id, ticket) in group.take_syncing() {
            out.push(Effect::Answer(ticket, Answer::Synced(Ok(group.synced(&id)))));
            if let Some(member) = group.members.get_mut(&id) {
                member.heard(now);
            }
        }
    }

    /// A member is alive, and asks whether everything is as it was.
    pub fn heartbeat(&mut self, now: Millis, from: &Voice) -> ErrorCode {
        match self.check_group(&from.group) {
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
        self.check_group(name)?;
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

    fn remove_member(&mut self, now: Millis, name: &str, id: &str, out: &mut Vec<Effect>) {
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

    /// A client did not come back with the id it was given.
    pub(super) fn invitation_over(&mut self, now: Millis, name: &str, id: &str, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.invited.get(id).is_some_and(|&until| until <= now) {
            group.invited.remove(id);
            self.complete_round_if_everybody_joined(now, name, out);
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

impl Member {
    /// What a join says replaces what an earlier one said.
    fn take_over(&mut self, join: &Join) {
        self.rebalance_timeout_ms = join.rebalance_timeout_ms;
        self.session_timeout_ms = join.session_timeout_ms;
        self.protocols.clone_from(&join.protocols);
    }
}

impl Group {
    /// Whether this client may join without making the group too large.
    fn has_room(&self, member: &str, members_max: usize) -> bool {
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waiting = self.members.values().filter(|member| member.joining.is_some()).count();
                waiting < members_max || self.members.get(member).is_some_and(|known| known.joining.is_some())
            }
            State::CompletingRebalance | State::Stable => {
                self.members.len() < members_max || self.members.contains_key(member)
            }
        }
    }

    /// Whether this id is a member's, and nobody else took its static name.
    fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
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

    /// What a member of the current generation is told.
    fn joined_as(&self, id: &str) -> JoinedAs {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let describe =
            |member: &Member| (member.id.clone(), member.instance.clone(), member.metadata(protocol));
        let members =
            if self.is_leader(id) { self.members.values().map(describe).collect() } else { Vec::new() };
        JoinedAs {
            error: ErrorCode::NONE,
            member: id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            members,
            skip_assignment: false,
        }
    }

    fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
