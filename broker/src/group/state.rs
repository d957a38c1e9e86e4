//! What is one group: its members, the protocol they share, and its offsets?

use std::collections::{BTreeMap, BTreeSet};

use super::member::Member;
use super::offsets::Committed;
use super::{Millis, Ticket};
use client::wire::kafka::consumer_protocol::{self, ConsumerProtocolSubscription};

/// Where a group stands between two rebalances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody is in it; it may hold offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Everybody joined, and the leader's assignment is awaited.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

impl State {
    /// As tools print it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The round in which members join, until it completes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) deadline: Millis,
    /// In a group's first round, everybody is waited for a little, since the first members come one after the other.
    pub(super) first: Option<FirstRound>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FirstRound {
    /// How much longer the round may be prolonged.
    pub(super) remaining_ms: Millis,
    /// Somebody joined since the round was begun or prolonged.
    pub(super) joined: bool,
}

/// A group of members that share the partitions of topics.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) state: State,
    /// When the state was entered.
    pub(super) since: Millis,
    pub(super) protocol_type: Option<String>,
    /// What the members agreed on in this generation.
    pub(super) protocol: Option<String>,
    pub(super) generation: i32,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Static members: who has the name now.
    pub(super) instances: BTreeMap<String, String>,
    /// Ids that were given out to clients that have not joined with them, each with its end.
    pub(super) invited: BTreeMap<String, Millis>,
    /// Members of this generation that have not asked for their assignment.
    pub(super) unsynced: BTreeSet<String>,
    pub(super) round: Option<Round>,
    /// When those in `unsynced` are given up.
    pub(super) sync_deadline: Option<Millis>,
    pub(super) offsets: BTreeMap<(String, i32), Committed>,
    /// Appends under way that will add offsets.
    pub(super) commits_pending: usize,
}

impl Group {
    /// Whether nothing is left of it, and nothing under way.
    pub(super) fn is_over(&self) -> bool {
        let is_empty = self.state == State::Empty && self.invited.is_empty();
        is_empty && self.offsets.is_empty() && self.commits_pending == 0
    }

    pub(super) fn new(name: String, now: Millis) -> Group {
        Group {
            name,
            state: State::Empty,
            since: now,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            invited: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            round: None,
            sync_deadline: None,
            offsets: BTreeMap::new(),
            commits_pending: 0,
        }
    }

    pub(super) fn enter(&mut self, state: State, now: Millis) {
        self.state = state;
        self.since = now;
    }

    pub(super) fn add(&mut self, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.invited.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|holder| holder == id)
        {
            self.instances.remove(instance);
        }
        self.unsynced.remove(id);
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// Whether a member of this kind, with these protocols, finds common ground with all the others.
    pub(super) fn accepts(&self, protocol_type: &str, protocols: &[(String, bytes::Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| self.members.values().all(|member| member.supports(name)))
    }

    /// The protocol that all support and most prefer; of equals, the first by name.
    pub(super) fn choose_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let shared = member
                .protocols
                .iter()
                .find(|(name, _)| self.members.values().all(|other| other.supports(name)));
            if let Some((name, _)) = shared {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|&(_, count)| count == most).map(|(name, _)| name.to_owned())
    }

    /// Everybody who is known waits for the round to complete, and nobody holds an invitation.
    pub(super) fn everybody_joined(&self) -> bool {
        self.invited.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The longest time that a member asks for to come back in a rebalance.
    pub(super) fn rebalance_timeout_ms(&self) -> Millis {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        Millis::from(longest.unwrap_or(0))
    }

    /// The topics its members read; `None` if that is not known, because they are no consumers or say it in another way.
    pub(super) fn topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some("consumer") {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let (_, metadata) = member.protocols.first()?;
            let metadata = match &self.protocol {
                Some(protocol) => member.metadata(protocol),
                None => metadata.clone(),
            };
            let said: ConsumerProtocolSubscription = consumer_protocol::decode(metadata).ok()?;
            topics.extend(said.topics.iter().map(|topic| topic.as_str().to_owned()));
        }
        Some(topics)
    }

    /// Takes the tickets of everybody who waits for an assignment.
    pub(super) fn take_syncing(&mut self) -> Vec<(String, Ticket)> {
        let waiting = self.members.values_mut();
        waiting.filter_map(|member| Some((member.id.clone(), member.syncing.take()?))).collect()
    }
}
