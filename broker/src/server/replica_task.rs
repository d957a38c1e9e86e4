//! How are the controller's orders done?
//!
//! One after the other, on a thread that may wait for the disk: making a partition is making files.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::wire::kafka::ErrorCode;
use tokio::sync::mpsc;

use super::controlling::{Ask, Orders};
use super::{Broker, clock};
use crate::cluster::OFFSETS_TOPIC;
use crate::controller::{Event, Order, PartitionName, PartitionOrder};

/// Does orders until there are no more.
pub(super) async fn run(broker: Arc<Broker>, mut orders: mpsc::Receiver<Orders>, reports: mpsc::Sender<Ask>) {
    while let Some(orders) = orders.recv().await {
        if let Order::Lead(partitions) = &orders.order {
            learn_settings(&broker, partitions).await;
        }
        let broker_for_thread = Arc::clone(&broker);
        let done = tokio::task::spawn_blocking(move || carry_out(&broker_for_thread, orders)).await;
        let Ok(deleted) = done else {
            // A bug in carrying out one order must not be followed by others on top of it.
            tracing::error!("an order of the controller ended in a panic; this broker stops");
            std::process::exit(70);
        };
        for (partition, result) in deleted {
            let report = Event::Deleted { broker: broker.id, partition, result };
            if reports.send(Ask::Report(report)).await.is_err() {
                return;
            }
        }
    }
}

/// A topic's settings are written before the topic is; its logs are made with them.
async fn learn_settings(broker: &Arc<Broker>, partitions: &[PartitionOrder]) {
    let is_new = |order: &&PartitionOrder| broker.replicas.get(&order.topic, order.partition).is_none();
    let topics: BTreeSet<&str> = partitions.iter().filter(is_new).map(|order| order.topic.as_str()).collect();
    let Ok(session) = broker.session() else { return };
    for topic in topics {
        match session.registry.config(&format!("topics/{topic}")).await {
            Ok(config) => {
                broker.topic_configs.set(topic, config.values);
            }
            Err(error) => {
                tracing::warn!(topic, %error, "the topic's settings are not known; the defaults hold")
            }
        }
    }
}

/// Returns what became of replicas that were to be deleted.
fn carry_out(broker: &Arc<Broker>, orders: Orders) -> Vec<(PartitionName, Result<(), ErrorCode>)> {
    match orders.order {
        Order::Lead(partitions) => {
            for order in &partitions {
                lead(broker, order);
            }
            // Who waits for this broker to lead looks again.
            broker.image.send_modify(|_| ());
            Vec::new()
        }
        Order::Inform { partitions } => {
            broker.image.send_modify(|image| {
                let image = Arc::make_mut(image);
                image.controller = Some(orders.controller);
                image.brokers = (*orders.brokers).clone();
                for order in partitions {
                    image.update(&order.topic, order.topic_id, order.partition, order.replicas, order.state);
                }
            });
            Vec::new()
        }
        Order::Delete(partitions) => {
            partitions.into_iter().map(|name| (name.clone(), delete(broker, &name))).collect()
        }
    }
}

fn lead(broker: &Arc<Broker>, order: &PartitionOrder) {
    let settings = broker.topic_configs.of(&order.topic);
    let result = broker.replicas.follow_order(order, settings, clock::wall_ms());
    if let Err(error) = result {
        tracing::error!(topic = order.topic, partition = order.partition, %error, "cannot lead a partition");
        return;
    }
    if order.topic == OFFSETS_TOPIC {
        broker.groups.follow_order(broker, order);
    }
}

fn delete(broker: &Arc<Broker>, (topic, partition): &PartitionName) -> Result<(), ErrorCode> {
    let deleted = broker.replicas.delete(topic, *partition, clock::wall_ms());
    deleted.map_err(|error| {
        tracing::error!(topic, partition, %error, "cannot delete a partition");
        ErrorCode::KAFKA_STORAGE_ERROR
    })?;
    broker.groups.partition_deleted(broker, topic, *partition);
    Ok(())
}
