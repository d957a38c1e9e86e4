//! Rookery testkit.

pub mod sim;
