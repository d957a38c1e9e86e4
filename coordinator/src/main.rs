//! The coordinator server.
fn main() {}
