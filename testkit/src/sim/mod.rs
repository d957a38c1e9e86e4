//! The simulated outside world.

pub mod disk;
pub mod groups;
pub mod partition;
pub mod random;
pub mod solo;
pub mod trace;
pub mod zab;
