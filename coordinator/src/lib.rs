//! Rookery coordinator.

pub mod store;
