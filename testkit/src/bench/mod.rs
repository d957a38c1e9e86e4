//! Our coordinator beside Apache ZooKeeper on the same machine, under the same load.

mod cases;
mod ensembles;
mod histogram;
mod load;
mod reference;
mod report;

pub use cases::{CASES, Plan, run};
pub use histogram::Histogram;
pub use load::{Pace, Shape, Tally};
pub use report::{Figure, Report};
