//! The coordinator: a tree of znodes that many clients agree on.
//!
//! # The journey of one write
//!
//! [`tree`] executes commands.

pub mod tree;
