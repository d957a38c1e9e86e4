//! What is in one of ZooKeeper's snapshots?
//!
//! The tree in it is *fuzzy*: it was written while the server went on, so it may show effects of transactions later than
//! its zxid. Replaying the log from there makes it exact.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use client::wire::zk::acl::Acl;

use super::error::ImportError;
use super::replay::Replay;
use super::stream::Stream;
use super::{ImportedNode, ImportedStat};

const MAGIC: i32 = i32::from_be_bytes(*b"ZKSN");
const VERSION: i32 = 2;
/// The digest version whose calculation we know.
pub(super) const DIGEST_VERSION: i32 = 2;
const SEAL_BYTES: usize = 8 + 4 + 1;
/// The list that this id stands for, without being listed.
const OPEN_ACL_ID: i64 = -1;

/// What ZooKeeper computed over its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SnapshotDigest {
    /// The last transaction that can have left a trace in the snapshot.
    pub(super) zxid: u64,
    /// `None` if computed in a way that we do not know.
    pub(super) value: Option<u64>,
}

/// Reads a snapshot into `replay`, which must be empty. Returns its digest, if any.
pub(super) fn read(path: &Path, replay: &mut Replay) -> Result<Option<SnapshotDigest>, ImportError> {
    let mut stream = Stream::open(path)?;
    if stream.int()? != MAGIC {
        return Err(ImportError::damaged(path, 0, "this is no ZooKeeper snapshot"));
    }
    let version = stream.int()?;
    if version != VERSION {
        return Err(ImportError::damaged(path, 4, format!("snapshot format {version} is not known")));
    }
    let _database = stream.long()?;
    for _ in 0..stream.count()? {
        let session = stream.long()?;
        let timeout = stream.int()?;
        replay.sessions.insert(session, timeout);
    }
    let acls = read_acls(&mut stream)?;
    read_nodes(&mut stream, &acls, replay)?;
    stream.seal()?;
    read_digest(&mut stream)
}

type Acls = HashMap<i64, Arc<[Acl<'static>]>>;

fn read_acls(stream: &mut Stream) -> Result<Acls, ImportError> {
    let mut acls = Acls::from([(OPEN_ACL_ID, Arc::from([Acl::open()]))]);
    for _ in 0..stream.count()? {
        let id = stream.long()?;
        let mut list = Vec::new();
        for _ in 0..stream.count()? {
            let perms = stream.int()?;
            let identity = client::wire::zk::acl::Identity::new(stream.string()?, stream.string()?);
            list.push(Acl { perms, identity });
        }
        acls.insert(id, list.into());
    }
    Ok(acls)
}

fn read_nodes(stream: &mut Stream, acls: &Acls, replay: &mut Replay) -> Result<(), ImportError> {
    loop {
        let path = stream.string()?;
        if path == "/" {
            return match replay.is_empty() {
                true => Err(stream.damaged("the tree has no root")),
                false => Ok(()),
            };
        }
        let data = stream.buffer()?;
        let acl_id = stream.long()?;
        let acl =
            acls.get(&acl_id).ok_or_else(|| stream.damaged(format!("ACL {acl_id} of {path} is missing")))?;
        let stat = ImportedStat {
            czxid: stream.long()?,
            mzxid: stream.long()?,
            ctime: stream.long()?,
            mtime: stream.long()?,
            version: stream.int()?,
            cversion: stream.int()?,
            aversion: stream.int()?,
            ephemeral_owner: stream.long()?,
            pzxid: stream.long()?,
        };
        // The root's path is the empty one here.
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let node = ImportedNode { data, acl: Arc::clone(acl), stat };
        replay.load(path, node).map_err(|what| stream.damaged(what))?;
    }
}

/// Reads what newer releases append: a digest, or the last zxid, or both, each with a seal.
fn read_digest(stream: &mut Stream) -> Result<Option<SnapshotDigest>, ImportError> {
    const LAST_ZXID_BYTES: usize = 8;
    // Long enough for either form of the digest and the last zxid.
    let length = stream.remaining(256)?;
    let mut digest = None;
    if length != 0 && length != LAST_ZXID_BYTES + SEAL_BYTES {
        let zxid = stream.long()? as u64;
        let version = stream.int()?;
        // Before version 2 it was text, computed otherwise.
        let value = match version {
            ..2 => {
                stream.buffer()?;
                None
            }
            _ => Some(stream.long()? as u64),
        };
        stream.seal()?;
        let value = value.filter(|_| version == DIGEST_VERSION);
        digest = (zxid != 0).then_some(SnapshotDigest { zxid, value });
    }
    if stream.remaining(1)? > 0 {
        let _last_zxid = stream.long()?;
        stream.seal()?;
    }
    if stream.remaining(1)? > 0 {
        return Err(stream.damaged("the snapshot goes on after its end"));
    }
    Ok(digest)
}
