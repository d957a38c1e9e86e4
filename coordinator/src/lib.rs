//! The coordinator: a tree of znodes that many clients agree on.
//!
//! # The journey of one write
//!
//! [`net`] decodes a frame → [`request`] turns it into a command → [`store`] makes it durable → [`tree`] executes it →
//! [`request`] writes the reply, after the events that it caused.

pub mod audit;
pub mod auth;
pub mod calendar;
pub mod cli;
pub mod config;
pub mod import;
pub mod limits;
pub mod logging;
pub mod member;
pub mod metrics;
pub mod net;
pub mod request;
pub mod server;
pub mod store;
pub mod tree;
pub mod view;
pub mod zab;
