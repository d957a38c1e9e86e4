//! Kafka's protocol, as version 3.9 speaks it with ZooKeeper, and the record formats that outlive a connection.
//!
//! Every message is described once, in a file of its own below [`messages`], and that description is all there is:
//! one struct for all versions, its decoder and its encoder. Numbers in messages are plain integers; who gives them a
//! meaning (an offset, an epoch, a broker) wraps them, because the same `-1` means different things per field.
//!
//! Bytes in: [`header`] then [`Message::decode`] on a [`Reader`]; nothing is copied, strings and records stay slices
//! of the frame. Bytes out: [`frame`], which gives parts to write in order, some of them holes for file ranges.

pub mod api;
pub mod batch;
pub mod compression;
pub mod consumer_protocol;
pub mod error_code;
pub mod field;
pub mod frame;
pub mod header;
pub mod message;
pub mod messages;
pub mod reader;
pub mod records;
#[cfg(feature = "sample")]
pub mod sample;
mod schema;
pub mod stored;
pub mod text;
pub mod uuid;
pub mod writer;

pub use api::ApiKey;
pub use error_code::ErrorCode;
pub use header::{RequestHeader, ResponseHeader};
pub use message::{Message, Request};
pub use reader::{DecodeError, Problem, Reader};
pub use records::Records;
pub use text::Str;
pub use uuid::Uuid;
pub use writer::{EncodeError, Part, Writer};
