//! Real asynchronous code in simulated processes, with the real coordinator core as the server they all talk to.
//!
//! A process is a runtime of its own whose clock only moves when the world says so: it can be frozen, and killed with
//! everything that it was doing. Its sessions reach the server over a simulated network, and are the real client library
//! down to the bytes that it writes. A [`Stage`] has the processes and the server, and does to them what goes wrong.

mod pipe;
mod process;
mod server;
mod stage;

pub use server::Committed;
pub use stage::{Main, Stage, Surroundings, Troupe, Weather};
