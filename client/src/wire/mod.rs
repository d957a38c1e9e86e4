//! The public protocols, each message defined once for both ends. Nothing here opens a socket or reads a clock.

pub mod codec;
#[cfg(feature = "kafka-wire")]
pub mod kafka;
pub mod zk;
