//! How does a topic go?

use client::wire::kafka::{ErrorCode, Uuid};

use super::{Command, Controller, Order, PartitionName, Write, Writing};
use crate::cluster::{LEADER_DURING_DELETION, NO_LEADER};

impl Controller {
    /// Replicas first, then the nodes. While a broker that holds a replica is away, the topic waits for it.
    pub(super) fn settle_deletions(&mut self, out: &mut Vec<Command>) {
        for topic in self.context.wanted_gone.clone() {
            if self.context.busy_topics.contains(&topic) || self.context.naming.contains_key(&topic) {
                continue;
            }
            let Some(known) = self.context.topics.get(&topic) else {
                self.context.busy_topics.insert(topic.clone());
                self.write(Write::RemoveWish(topic.clone()), Writing::WishRemoved(topic), out);
                continue;
            };
            let is_busy = |&partition: &i32| self.context.busy.contains(&(topic.clone(), partition));
            if known.assignment.replicas.keys().any(is_busy) {
                continue;
            }
            let replicas: Vec<(i32, PartitionName)> = known
                .assignment
                .replicas
                .iter()
                .flat_map(|(&partition, replicas)| {
                    let topic = &topic;
                    replicas.iter().map(move |&broker| (broker, (topic.clone(), partition)))
                })
                .collect();
            let all_live = replicas.iter().all(|(broker, _)| self.context.brokers.contains_key(broker));
            let left: Vec<_> =
                replicas.iter().filter(|replica| !self.context.deleted.contains(replica)).collect();
            if left.is_empty() {
                let partitions = known.assignment.replicas.keys().copied().collect();
                self.context.busy_topics.insert(topic.clone());
                self.write(Write::RemoveTopic(topic.clone(), partitions), Writing::Removed(topic), out);
            } else if all_live && !self.context.going.contains(&topic) {
                self.order_deletion(&topic, &replicas, out);
            }
        }
    }

    fn order_deletion(&mut self, topic: &str, replicas: &[(i32, PartitionName)], out: &mut Vec<Command>) {
        self.context.going.insert(topic.to_owned());
        let topic_id = self.context.topic_id(topic);
        let Some(known) = self.context.topics.get(topic) else { return };
        let mut farewells = Vec::new();
        for &partition in known.states.keys() {
            if let Some(mut order) = self.context.order(&(topic.to_owned(), partition), false) {
                order.state.leader = LEADER_DURING_DELETION;
                farewells.push(order);
            }
        }
        for &broker in self.context.brokers.keys() {
            let partitions = farewells.clone();
            out.push(Command::Order { broker, order: Order::Inform { partitions } });
        }
        for &broker in self.context.brokers.keys() {
            let theirs: Vec<PartitionName> = replicas
                .iter()
                .filter(|(holder, _)| *holder == broker)
                .map(|(_, name)| name.clone())
                .collect();
            if !theirs.is_empty() {
                out.push(Command::Order { broker, order: Order::Delete { topic_id, partitions: theirs } });
            }
        }
    }

    /// A broker says what became of a replica. What failed is ordered again when the broker returns.
    pub(super) fn replica_deleted(
        &mut self,
        broker: i32,
        topic_id: Uuid,
        partition: &PartitionName,
        result: Result<(), ErrorCode>,
    ) {
        // A late report may be of an earlier topic of this name.
        if !self.context.going.contains(&partition.0) || self.context.topic_id(&partition.0) != topic_id {
            return;
        }
        match result {
            Ok(()) => {
                self.context.deleted.insert((broker, partition.clone()));
            }
            Err(error) => {
                tracing::warn!(
                    broker,
                    topic = partition.0,
                    partition = partition.1,
                    ?error,
                    "a replica stays"
                );
            }
        }
    }

    /// Whether a topic is on its way out, or has nobody to lead it.
    pub fn is_available(&self, topic: &str) -> bool {
        let gone = self.context.wanted_gone.contains(topic);
        let led = |known: &super::TopicView| known.states.values().all(|state| state.leader != NO_LEADER);
        !gone && self.context.topics.get(topic).is_some_and(led)
    }
}
