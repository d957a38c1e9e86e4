//! What is one transaction in ZooKeeper's log?

use std::borrow::Cow;

use client::wire::codec::{DecodeError, Reader};
use client::wire::zk::acl::Acl;

use super::snapshot::DIGEST_VERSION;

/// What every transaction begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TxnHeader {
    pub(super) session: i64,
    pub(super) zxid: u64,
    pub(super) time: i64,
}

/// A change to the tree or the sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Txn<'a> {
    Create(Create<'a>),
    Delete {
        path: Cow<'a, str>,
    },
    SetData {
        path: Cow<'a, str>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    SetAcl {
        path: Cow<'a, str>,
        acl: Vec<Acl<'a>>,
        version: i32,
    },
    CreateSession {
        timeout_ms: i32,
    },
    CloseSession {
        paths: Vec<Cow<'a, str>>,
    },
    Multi(Vec<Txn<'a>>),
    /// A check or a failure: consumes a zxid and changes nothing.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Create<'a> {
    pub(super) path: Cow<'a, str>,
    pub(super) data: Option<&'a [u8]>,
    pub(super) acl: Vec<Acl<'a>>,
    pub(super) kind: CreateKind,
    /// The parent's cversion afterwards; −1 for one more than before.
    pub(super) parent_cversion: i32,
    /// Whether replaying this over a node that exists still raises the parent's cversion: ZooKeeper does so for its
    /// oldest create only.
    pub(super) raises_parent_if_exists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CreateKind {
    Persistent,
    Ephemeral,
    Container,
    Ttl(i64),
}

mod op {
    pub(super) const CREATE: i32 = 1;
    pub(super) const DELETE: i32 = 2;
    pub(super) const SET_DATA: i32 = 5;
    pub(super) const SET_ACL: i32 = 7;
    pub(super) const CHECK: i32 = 13;
    pub(super) const MULTI: i32 = 14;
    pub(super) const CREATE2: i32 = 15;
    pub(super) const RECONFIG: i32 = 16;
    pub(super) const CREATE_CONTAINER: i32 = 19;
    pub(super) const DELETE_CONTAINER: i32 = 20;
    pub(super) const CREATE_TTL: i32 = 21;
    pub(super) const CREATE_SESSION: i32 = -10;
    pub(super) const CLOSE_SESSION: i32 = -11;
    pub(super) const ERROR: i32 = -1;
}

/// Reads a log entry: header, transaction, and the tree's digest after it, if it is there and of a kind that we know.
pub(super) fn decode(bytes: &[u8]) -> Result<(TxnHeader, Txn<'_>, Option<u64>), DecodeError> {
    let mut reader = Reader::new(bytes);
    let session = reader.long()?;
    let _cxid = reader.int()?;
    let zxid = reader.long()? as u64;
    let time = reader.long()?;
    let kind = reader.int()?;
    let header = TxnHeader { session, zxid, time };
    let txn = match kind {
        op::CREATE_SESSION => Txn::CreateSession { timeout_ms: reader.int()? },
        op::CLOSE_SESSION => close_session(&mut reader)?,
        op::MULTI => multi(&mut reader)?,
        _ => simple(kind, &mut reader)?,
    };
    Ok((header, txn, digest(&mut reader)?))
}

/// A transaction that may be part of a multi.
fn simple<'a>(kind: i32, reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
    Ok(match kind {
        op::CREATE | op::CREATE2 => {
            let (path, data, acl) = (reader.required_string()?, reader.buffer()?, Acl::decode_list(reader)?);
            let kind_of_node = if reader.boolean()? { CreateKind::Ephemeral } else { CreateKind::Persistent };
            // Before 3.3 the parent's version was not written.
            let parent_cversion = if reader.rest().is_empty() { -1 } else { reader.int()? };
            let raises_parent_if_exists = kind == op::CREATE;
            Txn::Create(Create {
                path,
                data,
                acl,
                kind: kind_of_node,
                parent_cversion,
                raises_parent_if_exists,
            })
        }
        op::CREATE_CONTAINER | op::CREATE_TTL => {
            let (path, data, acl) = (reader.required_string()?, reader.buffer()?, Acl::decode_list(reader)?);
            let parent_cversion = reader.int()?;
            let kind_of_node =
                if kind == op::CREATE_TTL { CreateKind::Ttl(reader.long()?) } else { CreateKind::Container };
            let raises_parent_if_exists = false;
            Txn::Create(Create {
                path,
                data,
                acl,
                kind: kind_of_node,
                parent_cversion,
                raises_parent_if_exists,
            })
        }
        op::DELETE | op::DELETE_CONTAINER => Txn::Delete { path: reader.required_string()? },
        op::SET_DATA | op::RECONFIG => {
            let (path, data) = (reader.required_string()?, reader.buffer()?);
            Txn::SetData { path, data, version: reader.int()? }
        }
        op::SET_ACL => {
            let (path, acl) = (reader.required_string()?, Acl::decode_list(reader)?);
            Txn::SetAcl { path, acl, version: reader.int()? }
        }
        op::CHECK => {
            reader.required_string()?;
            reader.int()?;
            Txn::Nothing
        }
        op::ERROR => {
            reader.int()?;
            Txn::Nothing
        }
        unknown => return Err(DecodeError::UnknownOperation(unknown)),
    })
}

/// Since 3.6 the paths to delete are listed; before, nothing follows. A digest may follow either, so what is left decides.
fn close_session<'a>(reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
    if matches!(reader.rest().len(), 0 | DIGEST_BYTES) {
        // Twelve bytes could be a list, too: of two empty texts, which are no paths.
        return Ok(Txn::CloseSession { paths: Vec::new() });
    }
    Ok(Txn::CloseSession { paths: reader.strings()? })
}

fn multi<'a>(reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
    let count = reader.count(8)?.ok_or(DecodeError::UnexpectedNull)?;
    let mut parts = Vec::with_capacity(count.min(1024));
    let mut failed = false;
    for _ in 0..count {
        let kind = reader.int()?;
        let body = reader.buffer()?.unwrap_or_default();
        failed |= kind == op::ERROR;
        // When one part failed, the others are not what happened.
        if !failed {
            parts.push(simple(kind, &mut Reader::new(body))?);
        }
    }
    Ok(if failed { Txn::Nothing } else { Txn::Multi(parts) })
}

const DIGEST_BYTES: usize = 4 + 8;

fn digest(reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
    if reader.rest().len() < DIGEST_BYTES {
        return Ok(None);
    }
    let version = reader.int()?;
    let value = reader.long()? as u64;
    Ok((version == DIGEST_VERSION).then_some(value))
}
