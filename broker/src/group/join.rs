//! How does a client become a member, and what is it told?

use bytes::Bytes;
use client::wire::kafka::ErrorCode;

use super::Millis;
use super::groups::{Answer, Appending, Effect, Groups, Ticket, Timer};
use super::member::Member;
use super::record::Record;
use super::state::{Group, State};

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

/// Nothing, if the answer comes later; otherwise the answer.
type Joining = Result<(), Box<JoinedAs>>;

impl Groups {
    /// A client wants to be a member. The answer comes when the round of joins is complete.
    pub fn join(&mut self, now: Millis, ticket: Ticket, join: Join, out: &mut Vec<Effect>) {
        if let Err(answer) = self.try_join(now, ticket, join, out) {
            out.push(Effect::Answer(ticket, Answer::Joined(*answer)));
        }
    }

    /// An error is the answer, and nothing is waited for.
    fn try_join(&mut self, now: Millis, ticket: Ticket, join: Join, out: &mut Vec<Effect>) -> Joining {
        let refuse = |error| Box::new(JoinedAs::refused(join.member.clone(), error));
        self.check_members_group(&join.group).map_err(refuse)?;
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

    fn join_new(&mut self, now: Millis, ticket: Ticket, join: Join, out: &mut Vec<Effect>) -> Joining {
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

    fn join_again(&mut self, now: Millis, ticket: Ticket, join: Join, out: &mut Vec<Effect>) -> Joining {
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

    /// A client did not come back with the id it was given.
    pub(super) fn invitation_over(&mut self, now: Millis, name: &str, id: &str, out: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.invited.get(id).is_some_and(|&until| until <= now) {
            group.invited.remove(id);
            self.complete_round_if_everybody_joined(now, name, out);
        }
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

    /// What a member of the current generation is told.
    pub(super) fn joined_as(&self, id: &str) -> JoinedAs {
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
}
