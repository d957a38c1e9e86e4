//! Bytes in, bytes out: who may connect, and how requests and answers travel.

pub mod connection;
mod frames;
pub mod listener;
pub mod memory;
pub mod operations;
mod prometheus;
pub mod send;
pub mod tls;
