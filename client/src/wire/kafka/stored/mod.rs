//! Records that servers write for themselves. Each is a message after two bytes of version; see
//! [`Message::decode_versioned`](crate::wire::kafka::Message::decode_versioned).

pub mod control;
pub mod offsets;
pub mod transactions;
