//! Who may do what.

use std::borrow::Cow;

use crate::wire::codec::{DecodeError, Reader, Writer};

/// Permission bits.
pub mod perms {
    /// To read data and the names of children.
    pub const READ: i32 = 1;
    /// To set data.
    pub const WRITE: i32 = 2;
    /// To create children.
    pub const CREATE: i32 = 4;
    /// To delete children.
    pub const DELETE: i32 = 8;
    /// To set the access control list.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// Somebody, as an authentication scheme names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity<'a> {
    /// Which authentication scheme: `world`, `digest`, `ip`, `x509`, `sasl`, `auth`.
    pub scheme: Cow<'a, str>,
    /// Whom that scheme means.
    pub id: Cow<'a, str>,
}

impl<'a> Identity<'a> {
    /// Whoever the scheme calls so.
    pub fn new(scheme: impl Into<Cow<'a, str>>, id: impl Into<Cow<'a, str>>) -> Self {
        Identity { scheme: scheme.into(), id: id.into() }
    }

    /// Everyone.
    pub fn is_anyone(&self) -> bool {
        self.scheme == "world" && self.id == "anyone"
    }

    /// The same, without a loan.
    pub fn into_owned(self) -> Identity<'static> {
        Identity { scheme: Cow::Owned(self.scheme.into_owned()), id: Cow::Owned(self.id.into_owned()) }
    }
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl<'a> {
    /// Of [`perms`], added.
    pub perms: i32,
    /// Who has them.
    pub identity: Identity<'a>,
}

impl<'a> Acl<'a> {
    /// Everything to everyone: what almost every znode has.
    pub fn open() -> Acl<'static> {
        Acl { perms: perms::ALL, identity: Identity::new("world", "anyone") }
    }

    /// The same, without a loan.
    pub fn into_owned(self) -> Acl<'static> {
        Acl { perms: self.perms, identity: self.identity.into_owned() }
    }

    /// Appends the entry.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(self.perms);
        out.string(&self.identity.scheme);
        out.string(&self.identity.id);
    }

    /// Reads an entry.
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

    /// Appends a list.
    pub fn encode_list(list: &[Acl<'_>], out: &mut impl Writer) {
        out.count(list.len());
        for acl in list {
            acl.encode(out);
        }
    }
}
