//! Bytes in, bytes out: who may connect, and how requests and answers travel.

pub mod connection;
pub mod listener;
pub mod operations;
pub mod send;
pub mod tls;
