//! Sessions with a coordinator: ours, or Apache ZooKeeper.
//!
//! ```no_run
//! use client::zk::{Coordinator, CreateMode, Error};
//!
//! # async fn example() -> Result<(), Error> {
//! let zk = Coordinator::connect("localhost:2181").await?;
//! zk.create("/greeting", b"hello", CreateMode::Persistent).await?;
//! let (data, stat) = zk.get("/greeting").await?;
//! zk.set("/greeting", b"good-bye", stat.version).await?;
//!
//! let mut watch = zk.watch_recursive("/greeting").await?;
//! while let Some(notice) = watch.next().await {
//!     println!("{notice:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Coordinator`] is the handle and has the operations; [`Builder`] has the options; [`Watch`] and [`States`] are
//! streams that say when they could not see; [`Error`] tells what certainly did not happen from what nobody knows.

mod builder;
mod create;
mod data;
mod driver;
mod error;
pub(crate) mod hosts;
mod multi;
mod ops;
mod pending;
mod queue;
mod random;
pub mod recipes;
mod reconfig;
mod registry;
mod sasl;
mod session;
mod state;
mod states;
mod tls;
mod transport;
mod watch;

pub use builder::Builder;
pub use create::{CreateMode, CreateOptions, Created};
pub use data::{AsData, AsPath, Data};
pub use error::Error;
pub use multi::{Multi, MultiOutcome, MultiRead, MultiReadOutcome};
pub use ops::Coordinator;
pub use pending::Pending;
pub use reconfig::Reconfig;
pub use state::{Event, Notice, SessionState};
pub use states::States;
pub use tls::Tls;
pub use transport::{Dialer, Streams};
pub use watch::Watch;

pub use crate::wire::zk::event::EventType;
pub use crate::wire::zk::path::ZnodePath;
pub use crate::wire::zk::request::WatcherType;
pub use crate::wire::zk::{Acl, Identity, SessionId, Stat, Zxid, perms};
