//! The coordinator: a tree of znodes that many clients agree on.
//!
//! # The journey of one write
//!
//! [`net`] decodes a frame → [`request`] turns it into a command → [`zab`] gives it a place in the order of all members →
//! [`store`] makes it durable → [`zab`] commits it when a quorum has it → [`tree`] executes it → [`request`] writes the reply,
//! after the events that it caused. [`member`] ties these together, [`server`] drives them.

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
