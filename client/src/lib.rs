//! Rookery client.
