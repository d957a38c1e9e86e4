//! People and their tools: topics are made, grown and deleted, by the ways of today and by those of old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::cluster::Assignment;
use broker::controller::place;
use broker::registry::{Registry, RegistryError, paths, schema};
use client::wire::kafka::Uuid;
use client::zk::{CreateMode, Error};

use crate::sim::host::Surroundings;

const TOPICS: &[&str] = &["t0", "t1", "t2", "t3"];
const PARTITIONS_MAX: usize = 5;

/// Somebody who changes topics.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) surroundings: Surroundings,
    pub(super) brokers: i32,
    /// The most that it does nothing between two things.
    pub(super) pause_ms: u64,
    /// Nothing is to be changed any more.
    pub(super) quiet: Arc<AtomicBool>,
}

/// Does one thing after the other until it is told to be quiet.
pub(super) async fn run(mut tool: Tool) {
    while !tool.quiet.load(Ordering::Relaxed) {
        let Ok(zk) = tool.surroundings.session().connect().await else { continue };
        let Ok(registry) = Registry::over(zk).await else { continue };
        while !tool.quiet.load(Ordering::Relaxed) && !registry.session().state().is_final() {
            let pause_ms = tool.surroundings.random.below(tool.pause_ms);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            // What fails was tried at a bad moment; people try again.
            let _ = tool.change(&registry).await;
        }
    }
}

impl Tool {
    async fn change(&mut self, registry: &Registry) -> Result<(), RegistryError> {
        let zk = registry.session();
        let topic = self.surroundings.random.one_of(TOPICS);
        match self.surroundings.random.below(20) {
            0..=5 => {
                let assignment = Assignment { topic_id: Some(self.uuid()), ..self.placed() };
                registry.create_topic(topic, &assignment, &BTreeMap::new()).await
            }
            6..=8 => {
                let data = without_id(&self.placed());
                Ok(zk.create(&paths::topic(topic), &data, CreateMode::Persistent).await.map(drop)?)
            }
            9..=11 => self.grow(registry, topic, false).await,
            12..=13 => self.grow(registry, topic, true).await,
            14..=17 => registry.wish_gone(topic).await,
            18 => {
                let partitions = serde_json::json!([{"topic": topic, "partition": 0}]);
                let wish = serde_json::json!({"version": 1, "partitions": partitions}).to_string();
                let made = zk.create(paths::PREFERRED_ELECTION, wish.as_bytes(), CreateMode::Persistent);
                Ok(made.await.map(drop)?)
            }
            // How operators move the controller.
            _ => match zk.delete(paths::CONTROLLER, None).await {
                Err(Error::NoNode) => Ok(()),
                result => Ok(result?),
            },
        }
    }

    fn placed(&mut self) -> Assignment {
        let brokers = (1..=self.brokers).map(|id| (id, None)).collect();
        let replicas = self.surroundings.random.between(1, self.brokers as u64) as usize;
        let (count, start) =
            (self.surroundings.random.between(1, 3) as i32, self.surroundings.random.below(100) as usize);
        let replicas = place(&brokers, 0, count, replicas, start).expect("there are enough brokers");
        Assignment { replicas, ..Assignment::default() }
    }

    fn uuid(&mut self) -> Uuid {
        let (high, low) = (self.surroundings.random.next_u64(), self.surroundings.random.next_u64());
        Uuid((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    /// Adds a partition. Old tools know no ids, and write the topic without the one that it has.
    async fn grow(&mut self, registry: &Registry, topic: &str, is_old: bool) -> Result<(), RegistryError> {
        let Some((mut assignment, read)) = registry.assignment(topic).await? else { return Ok(()) };
        let next = assignment.replicas.len() as i32;
        if assignment.replicas.len() == PARTITIONS_MAX {
            return Ok(());
        }
        let leader = self.surroundings.random.between(1, self.brokers as u64) as i32;
        assignment.replicas.insert(next, vec![leader]);
        if is_old {
            registry.session().set(&paths::topic(topic), &without_id(&assignment), read.version).await?;
            return Ok(());
        }
        registry.set_assignment(topic, &assignment, read).await
    }
}

/// As tools of before topic ids write it.
fn without_id(assignment: &Assignment) -> Vec<u8> {
    schema::encode_assignment(&Assignment { topic_id: None, ..assignment.clone() })
}
