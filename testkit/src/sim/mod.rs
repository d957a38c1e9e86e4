//! The simulated outside world.

pub mod disk;
pub mod random;
pub mod trace;
pub mod workload;
pub mod world;
pub mod zab;
