//! When is a record safe, and who may say so?
//!
//! The decisions of the broker that leads a partition: who follows how far, and up to where everybody in sync has
//! everything. With one replica that is the end of its own log; the rules are the same with more.

mod leader;

pub use leader::{Leadership, Refusal};
