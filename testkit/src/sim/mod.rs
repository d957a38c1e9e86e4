//! The simulated outside world.

pub mod client;
pub mod controller;
pub mod disk;
pub mod groups;
pub mod host;
pub mod life;
pub mod logs;
pub mod partition;
pub mod random;
pub mod solo;
pub mod trace;
pub mod zab;
