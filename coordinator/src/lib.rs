//! Rookery coordinator.

pub mod config;
pub mod limits;
pub mod logging;
pub mod net;
