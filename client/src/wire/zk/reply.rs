//! What precedes every answer, and the bodies that are more than one field.

use crate::wire::codec::{DecodeError, Reader, Writer};

/// The xid of a notification: a watch was triggered, nobody asked.
pub const XID_NOTIFICATION: i32 = -1;
/// The xid of a ping.
pub const XID_PING: i32 = -2;
/// The xid with which an identity is added.
pub const XID_AUTH: i32 = -4;
/// The xid with which watches are set again on a new connection.
pub const XID_SET_WATCHES: i32 = -8;

/// Sent before every reply body; with an error there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// Which request is answered.
    pub xid: i32,
    /// Of a write its own place in the order, of a read the last that the server had executed.
    pub zxid: i64,
    /// 0, or the code of an [`ErrorCode`](crate::wire::zk::ErrorCode).
    pub error: i32,
}

impl ReplyHeader {
    /// Appends the header.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(self.xid);
        out.long(self.zxid);
        out.int(self.error);
    }

    /// Reads the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader { xid: reader.int()?, zxid: reader.long()?, error: reader.int()? })
    }
}
