//! Rookery's client library.
//!
//! ```no_run
//! use client::zk::{Coordinator, Error};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     let zk = Coordinator::connect("localhost:2181").await?;
//!     let guard = zk.lock("/locks/ledger").acquire().await?;
//!     println!("held, with fence {}", guard.fence());
//!     guard.release().await
//! }
//! ```
//!
//! [`zk`] holds sessions with a coordinator and the [recipes](zk::recipes) on top of them. They stand on [`wire`], the public
//! formats that a server decodes and a client encodes.

// The pages are checked as well: `.ci/run` lets no warning of rustdoc pass.
#![warn(missing_docs)]

pub mod properties;
pub mod wire;

#[cfg(feature = "zk")]
pub mod zk;

#[cfg(feature = "cli")]
pub mod cli;
