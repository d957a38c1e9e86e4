//! Our servers beside those that they replace, on the same machine, under the same load: the coordinator beside Apache
//! ZooKeeper, and the [broker] beside Apache Kafka; and our [client library](clients) beside other people's.

pub mod broker;
mod cases;
pub mod clients;
mod ensembles;
mod histogram;
mod load;
mod reference;
mod report;

pub use cases::{CASES, Plan, run};
pub use histogram::Histogram;
pub use load::{Pace, Shape, Tally};
pub use report::{Figure, Report};
