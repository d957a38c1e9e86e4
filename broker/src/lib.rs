//! The broker: partitions of records that producers append to and consumers read.
//!
//! # The journey of one record
//!
//! [`log`] checks the batch it came in, gives it an offset and appends it to the partition's newest segment, and later
//! says where in which file it lies, so that it goes from there to a socket without being copied.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod group;
pub mod limits;
pub mod log;
pub mod net;
pub mod partition;
pub mod planted;
pub mod quota;
pub mod registry;
pub mod replicas;
pub mod server;
