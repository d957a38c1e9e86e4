//! Watch notifications.

use std::borrow::Cow;

use crate::wire::codec::{DecodeError, Reader, Writer, write_frame};
use crate::wire::zk::ids::Zxid;
use crate::wire::zk::reply::{ReplyHeader, XID_NOTIFICATION};

/// What happened to the znode that was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum EventType {
    /// It came into being.
    NodeCreated = 1,
    /// It was deleted.
    NodeDeleted = 2,
    /// Its data was set.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
}

impl EventType {
    /// The named type, or `None` for codes the protocol does not define.
    pub fn from_wire(code: i32) -> Option<EventType> {
        Some(match code {
            1 => EventType::NodeCreated,
            2 => EventType::NodeDeleted,
            3 => EventType::NodeDataChanged,
            4 => EventType::NodeChildrenChanged,
            _ => return None,
        })
    }
}

/// The only connection state a server ever writes into an event.
const STATE_SYNC_CONNECTED: i32 = 3;

/// The body of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent<'a> {
    /// What happened.
    pub kind: EventType,
    /// To which znode.
    pub path: Cow<'a, str>,
}

impl<'a> WatchEvent<'a> {
    /// Appends the whole notification frame. `zxid` is that of the causing write, or −1 for a change that a client
    /// missed while it was away.
    pub fn write(kind: EventType, path: &str, zxid: i64, out: &mut Vec<u8>) {
        write_frame(out, |out| {
            ReplyHeader { xid: XID_NOTIFICATION, zxid, error: 0 }.encode(out);
            out.int(kind as i32);
            out.int(STATE_SYNC_CONNECTED);
            out.string(path);
        });
    }

    /// [`WatchEvent::write`] with the zxid of the write that caused it.
    pub fn write_at(kind: EventType, path: &str, zxid: Zxid, out: &mut Vec<u8>) {
        Self::write(kind, path, zxid.to_wire(), out);
    }

    /// Reads the body behind the header.
    pub fn decode(reader: &mut Reader<'a>) -> Result<WatchEvent<'a>, DecodeError> {
        let code = reader.int()?;
        let kind = EventType::from_wire(code).ok_or(DecodeError::BadValue(code))?;
        reader.int()?;
        Ok(WatchEvent { kind, path: reader.required_string()? })
    }
}
