//! Rookery coordinator.

pub mod auth;
pub mod config;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod view;
