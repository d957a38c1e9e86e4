//! Rookery coordinator.
