//! What has to change so that everything is as it should be?

use client::wire::kafka::{ErrorCode, Uuid};

use super::context::Naming;
use super::elections::{self, Election};
use super::{Command, Controller, PartitionName, Then, Ticket, Write, Writing};
use crate::cluster::PartitionState;

/// How many states are written at once: enough for one sync of the coordinator's log to serve many, and far from the
/// size of a request.
const STATES_PER_WRITE: usize = 100;

impl Controller {
    /// Compares what should be with what is, and asks for the difference.
    pub(super) fn settle(&mut self, out: &mut Vec<Command>) {
        self.settle_deletions(out);
        self.settle_topic_ids(out);
        self.settle_states(out);
    }

    /// Topics that an old tool made have no id yet; those that it changed are given theirs again.
    fn settle_topic_ids(&mut self, out: &mut Vec<Command>) {
        let context = &self.context;
        let nameless: Vec<String> = context
            .topics
            .iter()
            .filter(|(name, topic)| {
                (topic.assignment.topic_id.is_none_or(Uuid::is_zero) || context.without_id.contains(*name))
                    && !context.naming.contains_key(*name)
                    && !context.busy_topics.contains(*name)
                    && !context.wanted_gone.contains(*name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in nameless {
            let Some(topic) = self.context.topics.get(&name) else { continue };
            let assignment = topic.assignment.clone();
            self.context.naming.insert(name.clone(), Naming::Asked);
            self.write(Write::GiveTopicId(name.clone(), assignment), Writing::Named(name), out);
        }
    }

    fn settle_states(&mut self, out: &mut Vec<Command>) {
        let live = self.context.live();
        let mut create = Vec::new();
        let mut set = Vec::new();
        for (topic, known) in &self.context.topics {
            // Replicas are made for a topic with an id, so a new topic waits for its own.
            if self.context.wanted_gone.contains(topic) || known.assignment.topic_id.is_none() {
                continue;
            }
            let may_lose = self.context.unclean.is_allowed(topic);
            for (&partition, replicas) in &known.assignment.replicas {
                let name = (topic.clone(), partition);
                if self.context.busy.contains(&name) {
                    continue;
                }
                let able = self.context.able(&live, &name);
                match known.states.get(&partition) {
                    None => create.extend(elections::first(replicas, &able).map(|state| (name, state))),
                    Some(state) => {
                        let next = elections::after_deaths(state, replicas, &able, may_lose);
                        set.extend(next.map(|state| (name, state)));
                    }
                }
            }
        }
        for states in chunks(create) {
            let states = self.in_my_epoch(states);
            self.write(Write::CreateStates(states.clone()), Writing::Created(states), out);
        }
        for states in chunks(set) {
            self.set_states(states, None, out);
        }
    }

    /// Asks for new states of partitions, and to answer somebody then.
    pub(super) fn set_states(
        &mut self,
        states: Vec<(PartitionName, PartitionState)>,
        then: Option<(Ticket, Then)>,
        out: &mut Vec<Command>,
    ) {
        let states = self.in_my_epoch(states);
        self.write(Write::SetStates(states.clone()), Writing::Set { states, then }, out);
    }

    fn in_my_epoch(
        &mut self,
        mut states: Vec<(PartitionName, PartitionState)>,
    ) -> Vec<(PartitionName, PartitionState)> {
        for (name, state) in &mut states {
            state.controller_epoch = self.epoch;
            self.context.busy.insert(name.clone());
        }
        states
    }

    /// Lets others lead where somebody asks for it, and it can be done.
    pub(super) fn elect(
        &mut self,
        election: Election,
        ticket: Option<Ticket>,
        partitions: Option<Vec<PartitionName>>,
        out: &mut Vec<Command>,
    ) {
        let live = self.context.live();
        let everything = || {
            let names = |(name, topic): (&String, &super::TopicView)| {
                topic.states.keys().map(|&partition| (name.clone(), partition)).collect::<Vec<_>>()
            };
            self.context.topics.iter().flat_map(names).collect()
        };
        let names = partitions.unwrap_or_else(everything);
        let mut results = Vec::new();
        let mut states = Vec::new();
        for name in names {
            let (Some(state), Some(replicas)) =
                (self.context.lasting_state(&name), self.context.replicas(&name))
            else {
                results.push((name, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
                continue;
            };
            let able = self.context.able(&live, &name);
            let error = if self.context.busy.contains(&name) {
                election.unavailable()
            } else if !election.is_needed(state, replicas, &able) {
                ErrorCode::ELECTION_NOT_NEEDED
            } else if let Some(next) = election.next(state, replicas, &able) {
                states.push((name.clone(), next));
                ErrorCode::NONE
            } else {
                election.unavailable()
            };
            results.push((name, error));
        }
        let then = ticket.map(|ticket| (ticket, Then::Preferred(results)));
        if states.is_empty() {
            if let Some((ticket, then)) = then {
                let answer = self.answer(then, None);
                out.push(Command::Answer(ticket, answer));
            }
            return;
        }
        self.set_states(states, then, out);
    }

    /// A broker is about to stop: others lead what it leads, where somebody else holds everything.
    pub(super) fn leaving(&mut self, ticket: Ticket, broker: i32, epoch: i64, out: &mut Vec<Command>) {
        let refusal = match self.context.brokers.get(&broker) {
            None => Some(ErrorCode::BROKER_NOT_AVAILABLE),
            Some(known) if known.epoch != epoch => Some(ErrorCode::STALE_BROKER_EPOCH),
            Some(_) => None,
        };
        if let Some(error) = refusal {
            out.push(Command::Answer(ticket, super::Answer::Leaving(Err(error))));
            return;
        }
        self.context.leaving.insert(broker);
        let live = self.context.live();
        let mut states = Vec::new();
        for order in self.context.orders() {
            let name = (order.topic, order.partition);
            if self.context.busy.contains(&name) {
                continue;
            }
            let next =
                elections::without(&order.state, &order.replicas, &self.context.able(&live, &name), broker);
            states.extend(next.map(|state| (name, state)));
        }
        if states.is_empty() {
            let left = self.context.led_by(broker);
            out.push(Command::Answer(ticket, super::Answer::Leaving(Ok(left))));
            return;
        }
        self.set_states(states, Some((ticket, Then::Leaving(broker))), out);
    }
}

fn chunks(states: Vec<(PartitionName, PartitionState)>) -> Vec<Vec<(PartitionName, PartitionState)>> {
    states.chunks(STATES_PER_WRITE).map(<[_]>::to_vec).collect()
}
