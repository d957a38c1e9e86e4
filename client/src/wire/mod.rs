//! The public protocols, each message defined once for both ends. Nothing here opens a socket or reads a clock.

pub mod codec;
#[cfg(feature = "kafka-wire")]
#[allow(
    missing_docs,
    reason = "fields have the names of Kafka's own message definitions, which say what they mean"
)]
pub mod kafka;
pub mod zk;
