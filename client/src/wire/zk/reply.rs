//! What precedes every answer, and the bodies that are more than one field.

use crate::wire::codec::{DecodeError, Reader, Writer};

/// Transaction ids with a meaning of their own.
pub const XID_NOTIFICATION: i32 = -1;
pub const XID_PING: i32 = -2;
pub const XID_AUTH: i32 = -4;
pub const XID_SET_WATCHES: i32 = -8;

/// Sent before every reply body; with an error there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    pub xid: i32,
    pub zxid: i64,
    pub error: i32,
}

impl ReplyHeader {
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(self.xid);
        out.long(self.zxid);
        out.int(self.error);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader { xid: reader.int()?, zxid: reader.long()?, error: reader.int()? })
    }
}
