//! Rookery testkit.
