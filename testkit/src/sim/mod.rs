//! The simulated outside world.

pub mod disk;
