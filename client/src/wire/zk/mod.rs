//! ZooKeeper's client protocol.

pub mod acl;
pub mod connect;
pub mod error_code;
pub mod event;
pub mod ids;
pub mod multi;
pub mod op_code;
pub mod path;
pub mod reply;
pub mod request;
pub mod stat;

pub use acl::{Acl, Identity, perms};
pub use connect::{ConnectRequest, ConnectResponse};
pub use error_code::ErrorCode;
pub use event::{EventType, WatchEvent};
pub use ids::{SessionId, Zxid};
pub use multi::{MultiOp, MultiResult};
pub use op_code::OpCode;
pub use reply::ReplyHeader;
pub use request::{Create, CreateMode, Request, RequestHeader, WatchLists};
pub use stat::Stat;
