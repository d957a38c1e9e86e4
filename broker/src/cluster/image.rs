//! What was this broker told of the cluster?

use std::collections::BTreeMap;

use client::wire::kafka::Uuid;

use super::{Broker, Endpoint, LEADER_DURING_DELETION, PartitionState};

/// The cluster, as the controller last described it. It answers Metadata requests.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub controller: Option<i32>,
    pub brokers: BTreeMap<i32, Broker>,
    pub topics: BTreeMap<String, TopicImage>,
    names: BTreeMap<Uuid, String>,
}

/// One topic of an [`Image`].
#[derive(Debug, Clone, Default)]
pub struct TopicImage {
    pub id: Uuid,
    pub partitions: BTreeMap<i32, PartitionImage>,
}

/// One partition of an [`Image`].
#[derive(Debug, Clone)]
pub struct PartitionImage {
    pub replicas: Vec<i32>,
    pub state: PartitionState,
}

impl Image {
    /// The name of the topic with this id.
    pub fn name_of(&self, id: Uuid) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionImage> {
        self.topics.get(topic)?.partitions.get(&partition)
    }

    /// Where a broker listens by that name.
    pub fn endpoint(&self, broker: i32, listener: &str) -> Option<&Endpoint> {
        self.brokers.get(&broker)?.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// Takes over what the controller says of one partition.
    pub fn update(
        &mut self,
        topic: &str,
        id: Uuid,
        partition: i32,
        replicas: Vec<i32>,
        state: PartitionState,
    ) {
        if state.leader == LEADER_DURING_DELETION {
            self.forget(topic, partition);
            return;
        }
        if self.topics.get(topic).is_some_and(|known| known.id != id) {
            // Another topic of the same name.
            self.forget_topic(topic);
        }
        let known =
            self.topics.entry(topic.to_owned()).or_insert_with(|| TopicImage { id, ..Default::default() });
        known.partitions.insert(partition, PartitionImage { replicas, state });
        if !id.is_zero() {
            self.names.insert(id, topic.to_owned());
        }
    }

    fn forget(&mut self, topic: &str, partition: i32) {
        let Some(known) = self.topics.get_mut(topic) else { return };
        known.partitions.remove(&partition);
        if known.partitions.is_empty() {
            self.forget_topic(topic);
        }
    }

    fn forget_topic(&mut self, topic: &str) {
        if let Some(gone) = self.topics.remove(topic) {
            self.names.remove(&gone.id);
        }
    }
}
