//! The simulated outside world.

pub mod disk;
pub mod workload;
pub mod world;
