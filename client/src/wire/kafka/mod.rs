//! Kafka's public formats.

pub mod batch;
pub mod compression;
