//! Who may do what.

use std::borrow::Cow;

use crate::wire::codec::{DecodeError, Reader, Writer};

/// Permission bits.
pub mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// Somebody, as an authentication scheme names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity<'a> {
    pub scheme: Cow<'a, str>,
    pub id: Cow<'a, str>,
}

impl<'a> Identity<'a> {
    pub fn new(scheme: impl Into<Cow<'a, str>>, id: impl Into<Cow<'a, str>>) -> Self {
        Identity { scheme: scheme.into(), id: id.into() }
    }

    /// Everyone.
    pub fn is_anyone(&self) -> bool {
        self.scheme == "world" && self.id == "anyone"
    }

    pub fn into_owned(self) -> Identity<'static> {
        Identity { scheme: Cow::Owned(self.scheme.into_owned()), id: Cow::Owned(self.id.into_owned()) }
    }
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl<'a> {
    pub perms: i32,
    pub identity: Identity<'a>,
}

impl<'a> Acl<'a> {
    /// Everything to everyone: what almost every znode has.
    pub fn open() -> Acl<'static> {
        Acl { perms: perms::ALL, identity: Identity::new("world", "anyone") }
    }

    pub fn into_owned(self) -> Acl<'static> {
        Acl { perms: self.perms, identity: self.identity.into_owned() }
    }

    pub fn encode(&self, out: &mut impl Writer) {
        out.int(self.perms);
        out.string(&self.identity.scheme);
        out.string(&self.identity.id);
    }

    pub fn decode(reader: &mut Reader<'a>) -> Result<Acl<'a>, DecodeError> {
        let perms = reader.int()?;
        // A null scheme or id is no identity anyone could hold; the empty text is refused as an invalid list later.
        let scheme = reader.string()?.unwrap_or_default();
        let id = reader.string()?.unwrap_or_default();
        Ok(Acl { perms, identity: Identity { scheme, id } })
    }

    /// A list; null reads as empty, which no operation accepts as an access control list.
    pub fn decode_list(reader: &mut Reader<'a>) -> Result<Vec<Acl<'a>>, DecodeError> {
        let count = reader.count(12)?.unwrap_or(0);
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(Acl::decode(reader)?);
        }
        Ok(list)
    }

    pub fn encode_list(list: &[Acl<'_>], out: &mut impl Writer) {
        out.count(list.len());
        for acl in list {
            acl.encode(out);
        }
    }
}
