//! Slow, obvious answers to compare the product with.

pub mod acl;
pub mod members;
pub mod quota;
pub mod znodes;
