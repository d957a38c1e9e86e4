//! What a server tells about a znode besides its data.

use crate::wire::codec::{DecodeError, Reader, Writer};

/// The 68 bytes of metadata that accompany most replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Which write created it.
    pub czxid: i64,
    /// Which write last set its data.
    pub mzxid: i64,
    /// When it was created, in milliseconds since 1970.
    pub ctime: i64,
    /// When its data was last set, in milliseconds since 1970.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How often children came or went.
    pub cversion: i32,
    /// How often its access control list was set.
    pub aversion: i32,
    /// Of an ephemeral its session, of others 0, or a mark for containers and times to live.
    pub ephemeral_owner: i64,
    /// How many bytes of data.
    pub data_length: i32,
    /// How many children.
    pub num_children: i32,
    /// Which write last created or deleted a child.
    pub pzxid: i64,
}

impl Stat {
    /// Appends the 68 bytes.
    pub fn encode(&self, out: &mut impl Writer) {
        out.long(self.czxid);
        out.long(self.mzxid);
        out.long(self.ctime);
        out.long(self.mtime);
        out.int(self.version);
        out.int(self.cversion);
        out.int(self.aversion);
        out.long(self.ephemeral_owner);
        out.int(self.data_length);
        out.int(self.num_children);
        out.long(self.pzxid);
    }

    /// Reads the 68 bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            data_length: reader.int()?,
            num_children: reader.int()?,
            pzxid: reader.long()?,
        })
    }
}
