//! What do brokers know of each other, and who leads what?
//!
//! The words that the registry, the controller and the handlers share. The controller's view of all this is the truth;
//! an [`Image`] is what one broker was told of it.

mod image;

pub use image::{Image, TopicImage};

use std::collections::BTreeMap;

use client::wire::kafka::Uuid;

/// One address of a broker, as clients are told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    pub host: String,
    pub port: u16,
    /// How it is spoken to: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: String,
}

/// A broker that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Rises with every registration, so that an order to an earlier life is recognised.
    pub epoch: i64,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
}

/// Which brokers hold which partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// `None` for a topic that an old tool made and no controller has seen yet.
    pub topic_id: Option<Uuid>,
    pub replicas: BTreeMap<i32, Vec<i32>>,
    /// Of partitions that are being moved: who comes, and who goes.
    pub adding: BTreeMap<i32, Vec<i32>>,
    pub removing: BTreeMap<i32, Vec<i32>>,
}

/// The topic that holds what groups are and how far they have read.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// No broker leads.
pub const NO_LEADER: i32 = -1;
/// The topic is being deleted; only ever said to brokers.
pub const LEADER_DURING_DELETION: i32 = -2;

/// Who leads a partition and who is in sync, as last agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    pub controller_epoch: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub isr: Vec<i32>,
    /// The leader was not in sync when it was chosen, and what it holds is not yet agreed on.
    pub is_recovering: bool,
    /// The version of the znode; rises with every change.
    pub version: i32,
}
