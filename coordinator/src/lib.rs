//! Rookery coordinator.

pub mod audit;
pub mod auth;
pub mod calendar;
pub mod config;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod view;
