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
use crate::log::LogError;

/// Does orders until there are no more.
pub(super) async fn run(broker: Arc<Broker>, mut orders: mpsc::Receiver<Orders>, reports: mpsc::Sender<Ask>) {
    while let Some(orders) = orders.recv().await {
        if orders.broker != broker.id {
            tracing::warn!(broker = orders.broker, "orders to other brokers are not sent by this release");
            continue;
        }
        if let Order::Lead(partitions) = &orders.order {
            learn_settings(&broker, partitions).await;
        }
        let broker_for_thread = Arc::clone(&broker);
        let done = tokio::task::spawn_blocking(move || carry_out(&broker_for_thread, orders)).await;
        let Ok(events) = done else {
            // A bug in carrying out one order must not be followed by others on top of it.
            tracing::error!("an order of the controller ended in a panic; this broker stops");
            std::process::exit(70);
        };
        for event in events {
            if reports.send(Ask::Report(event)).await.is_err() {
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

/// Returns what the controller is to know of it: replicas that cannot be used, and what became of those to be deleted.
fn carry_out(broker: &Arc<Broker>, orders: Orders) -> Vec<Event> {
    match orders.order {
        Order::Lead(partitions) => {
            let mut failed = Vec::new();
            for order in partitions {
                if let Err(error) = lead(broker, &order) {
                    let PartitionOrder { topic, partition, .. } = order;
                    tracing::error!(topic, partition, %error, "cannot lead a partition");
                    failed.push((topic, partition));
                }
            }
            // Who waits for this broker to lead looks again.
            broker.image.send_modify(|_| ());
            if failed.is_empty() {
                return Vec::new();
            }
            vec![Event::ReplicasFailed { broker: broker.id, partitions: failed }]
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
        Order::Delete { topic_id, partitions } => {
            let report = |partition| {
                let result = delete(broker, &partition);
                Event::Deleted { broker: broker.id, topic_id, partition, result }
            };
            partitions.into_iter().map(report).collect()
        }
    }
}

fn lead(broker: &Arc<Broker>, order: &PartitionOrder) -> Result<(), LogError> {
    let settings = broker.topic_configs.of(&order.topic);
    broker.replicas.follow_order(order, settings, clock::wall_ms())?;
    if order.topic == OFFSETS_TOPIC {
        broker.groups.follow_order(broker, order);
    }
    Ok(())
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
