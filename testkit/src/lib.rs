//! How Rookery is proven: real servers as processes, foreign clients, hostile bytes and benchmarks.

pub mod badinput;
pub mod bench;
pub mod certificates;
pub mod check;
pub mod fuzzing;
pub mod golden;
pub mod interop;
pub mod model;
pub mod process;
pub mod raw;
pub mod script;
pub mod sim;
