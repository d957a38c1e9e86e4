//! Rookery coordinator.

pub mod config;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod view;
