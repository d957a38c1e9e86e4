//! The simulated outside world.

pub mod disk;
pub mod random;
pub mod solo;
pub mod trace;
pub mod zab;
