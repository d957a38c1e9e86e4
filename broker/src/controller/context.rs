//! What does the controller know?

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::Uuid;

use super::{PartitionName, PartitionOrder};
use crate::cluster::{Assignment, Broker, PartitionState};

/// Everything in the coordinator that concerns the controller.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub brokers: BTreeMap<i32, Broker>,
    pub topics: BTreeMap<String, TopicView>,
    /// The topics that somebody wants to be deleted.
    pub wanted_gone: BTreeSet<String>,
    pub unclean: Unclean,
}

/// In which topics a replica may lead without being in sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unclean {
    /// What topics say for themselves.
    pub topics: BTreeMap<String, bool>,
    /// In those that say nothing.
    pub by_default: bool,
}

impl Unclean {
    pub(super) fn is_allowed(&self, topic: &str) -> bool {
        self.topics.get(topic).copied().unwrap_or(self.by_default)
    }
}

/// One topic in the coordinator.
#[derive(Debug, Clone, Default)]
pub struct TopicView {
    pub assignment: Assignment,
    pub states: BTreeMap<i32, PartitionState>,
}

/// How far a topic is on the way to its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// A write was asked for.
    Asked,
    /// The topic's node has changed since, though perhaps by somebody else.
    Seen,
    /// It was written, and is going to be seen.
    Written,
}

/// What the controller believes.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) brokers: BTreeMap<i32, Broker>,
    pub(super) topics: BTreeMap<String, TopicView>,
    pub(super) wanted_gone: BTreeSet<String>,
    pub(super) unclean: Unclean,
    /// Brokers that are about to stop: they are given nothing to lead.
    pub(super) leaving: BTreeSet<i32>,
    /// Partitions whose state is being written.
    pub(super) busy: BTreeSet<PartitionName>,
    /// Topics whose nodes are being removed.
    pub(super) busy_topics: BTreeSet<String>,
    /// Topics that are being given their id. They stay that long: a late write must not give it to the next of that name.
    pub(super) naming: BTreeMap<String, Naming>,
    /// Topics whose node lost its id, because an old tool that knows no ids wrote it.
    pub(super) without_id: BTreeSet<String>,
    /// Topics whose replicas were ordered to go.
    pub(super) going: BTreeSet<String>,
    /// Replicas of such topics that are gone.
    pub(super) deleted: BTreeSet<(i32, PartitionName)>,
    /// Brokers whose disk with a partition failed; until they begin anew.
    pub(super) failed: BTreeMap<PartitionName, BTreeSet<i32>>,
}

impl Context {
    pub(super) fn new(view: View) -> Context {
        let View { brokers, topics, wanted_gone, unclean } = view;
        Context { brokers, topics, wanted_gone, unclean, ..Context::default() }
    }

    /// Brokers that may lead.
    pub(super) fn live(&self) -> BTreeSet<i32> {
        self.brokers.keys().copied().filter(|id| !self.leaving.contains(id)).collect()
    }

    /// Those of these brokers that may lead this partition.
    pub(super) fn able<'a>(&self, live: &'a BTreeSet<i32>, name: &PartitionName) -> Cow<'a, BTreeSet<i32>> {
        match self.failed.get(name) {
            None => Cow::Borrowed(live),
            Some(failed) => Cow::Owned(live - failed),
        }
    }

    pub(super) fn topics_changed(&mut self, topics: BTreeMap<String, TopicView>) {
        self.topics.retain(|name, _| topics.contains_key(name) || self.going.contains(name));
        self.naming.retain(|name, _| self.topics.contains_key(name));
        for (name, topic) in topics {
            self.topics.entry(name).or_insert(topic);
        }
    }

    pub(super) fn assigned(&mut self, topic: String, mut assignment: Assignment) {
        if self.going.contains(&topic) {
            // Perhaps of another topic of this name, whose turn comes when this one is gone.
            return;
        }
        self.named(&topic, Naming::Seen);
        self.without_id.remove(&topic);
        let Some(known) = self.topics.get_mut(&topic) else { return };
        if assignment.topic_id.is_none() {
            assignment.topic_id = known.assignment.topic_id;
            self.without_id.insert(topic);
        }
        known.assignment = assignment;
    }

    /// A topic is named once the write is done, and what it wrote can have been seen.
    pub(super) fn named(&mut self, topic: &str, now: Naming) {
        match self.naming.get_mut(topic) {
            Some(naming) if *naming == Naming::Asked || *naming == now => *naming = now,
            Some(_) => drop(self.naming.remove(topic)),
            None => {}
        }
    }

    /// What is on its way out goes, even if its wish is gone already: the next topic of its name is another one.
    pub(super) fn deletions_changed(&mut self, mut topics: BTreeSet<String>) {
        topics.extend(self.going.iter().cloned());
        self.wanted_gone = topics;
    }

    /// Topics on their way out that these brokers have replicas of, unless the replicas are gone already.
    pub(super) fn order_deletions_again(&mut self, brokers: &[i32]) {
        let Context { topics, going, busy_topics, .. } = self;
        going.retain(|name| {
            let holds = |topic: &TopicView| {
                topic.assignment.replicas.values().flatten().any(|replica| brokers.contains(replica))
            };
            busy_topics.contains(name) || !topics.get(name).is_some_and(holds)
        });
    }

    /// The id of a topic; zero if it has none yet.
    pub(super) fn topic_id(&self, topic: &str) -> Uuid {
        self.topics.get(topic).and_then(|known| known.assignment.topic_id).unwrap_or(Uuid::ZERO)
    }

    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.busy_topics.remove(topic);
        self.without_id.remove(topic);
        self.going.remove(topic);
        self.wanted_gone.remove(topic);
        self.deleted.retain(|(_, (name, _))| name != topic);
        self.failed.retain(|(name, _), _| name != topic);
    }

    pub(super) fn replicas(&self, (topic, partition): &PartitionName) -> Option<&[i32]> {
        self.topics.get(topic)?.assignment.replicas.get(partition).map(Vec::as_slice)
    }

    pub(super) fn state(&self, (topic, partition): &PartitionName) -> Option<&PartitionState> {
        self.topics.get(topic)?.states.get(partition)
    }

    /// The same, unless the topic is to go: nothing about it changes any more.
    pub(super) fn lasting_state(&self, name: &PartitionName) -> Option<&PartitionState> {
        self.state(name).filter(|_| !self.wanted_gone.contains(&name.0))
    }

    pub(super) fn set_state(&mut self, (topic, partition): &PartitionName, state: PartitionState) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.states.insert(*partition, state);
        }
    }

    /// What brokers are told of a partition that has a state.
    pub(super) fn order(&self, name: &PartitionName, is_new: bool) -> Option<PartitionOrder> {
        let (topic, partition) = name;
        let Assignment { topic_id, replicas, adding, removing } = &self.topics.get(topic)?.assignment;
        Some(PartitionOrder {
            topic: topic.clone(),
            partition: *partition,
            topic_id: topic_id.unwrap_or(Uuid::ZERO),
            replicas: replicas.get(partition)?.clone(),
            adding: adding.get(partition).cloned().unwrap_or_default(),
            removing: removing.get(partition).cloned().unwrap_or_default(),
            state: self.state(name)?.clone(),
            is_new,
        })
    }

    /// All partitions that have a state and are to stay.
    pub(super) fn orders(&self) -> impl Iterator<Item = PartitionOrder> {
        self.topics.iter().filter(|(name, _)| !self.wanted_gone.contains(*name)).flat_map(|(name, topic)| {
            let names = topic.states.keys().map(move |&partition| (name.clone(), partition));
            names.filter_map(|name| self.order(&name, false))
        })
    }

    pub(super) fn led_by(&self, broker: i32) -> Vec<PartitionName> {
        let mut led = Vec::new();
        for (name, topic) in &self.topics {
            let theirs = topic.states.iter().filter(|(_, state)| state.leader == broker);
            led.extend(theirs.map(|(&partition, _)| (name.clone(), partition)));
        }
        led
    }
}
