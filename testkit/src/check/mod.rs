//! Checkers: what must be true of everything a simulated world does.

pub mod service;
pub mod zab;
