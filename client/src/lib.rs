//! Rookery's client library.
//!
//! What is here today is the ground both ends stand on: [`wire`], the public formats that a server decodes and a
//! client encodes. Sessions, recipes, producers and consumers are built on it.

pub mod wire;
