//! Slow, obvious answers to compare the product with.

pub mod acl;
pub mod quota;
pub mod znodes;
