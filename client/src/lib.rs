//! Rookery's client library.
//!
//! [`zk`] holds sessions with a coordinator. They stand on [`wire`], the public formats that a server decodes and a client
//! encodes.

pub mod wire;

#[cfg(feature = "zk")]
pub mod zk;

#[cfg(feature = "cli")]
pub mod cli;
