//! Real servers as child processes: ours, Apache ZooKeeper, ensembles of either, our brokers and Apache Kafka's.
//!
//! Every child listens on loopback only, works in a directory of its own, and is ended through its own handle
//! when the handle is dropped, so that a failing test leaves nothing behind.

mod broker;
pub(crate) mod child;
mod clock;
mod disks;
mod ensemble;
pub mod faults;
mod java;
mod kafka;
mod ports;
mod proxy;
pub(crate) mod server;
mod service;
mod tools;

pub use broker::{Broker, Make};
pub(crate) use child::Process;
pub use child::{Freeze, Usage};
pub use ensemble::{Ensemble, Role};
pub use java::{JavaProject, java_command};
pub use kafka::Kafka;
pub use ports::free_port;
pub use proxy::{Conditions, Flow, Link, Links};
pub use server::{Kind, Options, Server, client_example, coordctl};
pub use service::{Service, Target};
pub use tools::{
    Missing, Need, command_output, everything_is_required, has_or_fails, scratch, skip_or_fail, workspace,
};
