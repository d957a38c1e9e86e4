//! What members execute entries on, in place of a tree: the list of what was executed, and a digest of it.

use std::rc::Rc;

use bytes::{BufMut, Bytes};
use client::wire::zk::Zxid;
use coordinator::zab::SnapshotRef;

use crate::check::zab::{Applied, digest_after};

/// Stands for an entry's bytes: no two payloads of a world share one.
pub(super) fn identity(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// Everything that was executed, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    applied: Vec<Applied>,
}

impl State {
    pub(super) fn execute(&mut self, zxid: Zxid, identity: u64) {
        let digest = digest_after(self.digest(), zxid, identity);
        self.applied.push(Applied { zxid, identity, digest });
    }

    pub(super) fn applied(&self) -> &[Applied] {
        &self.applied
    }

    pub(super) fn zxid(&self) -> Zxid {
        self.applied.last().map_or(Zxid::ZERO, |applied| applied.zxid)
    }

    pub(super) fn digest(&self) -> u64 {
        self.applied.last().map_or(0, |applied| applied.digest)
    }

    pub(super) fn has(&self, zxid: Zxid, identity: u64) -> bool {
        self.find(zxid).is_some_and(|applied| applied.identity == identity)
    }

    pub(super) fn has_place(&self, zxid: Zxid) -> bool {
        self.find(zxid).is_some()
    }

    fn find(&self, zxid: Zxid) -> Option<&Applied> {
        let index = self.applied.binary_search_by_key(&zxid, |applied| applied.zxid).ok()?;
        self.applied.get(index)
    }
}

/// A state in a file.
#[derive(Debug)]
pub(super) struct Snapshot {
    state: State,
}

impl Snapshot {
    pub(super) fn of(state: State) -> Rc<Snapshot> {
        Rc::new(Snapshot { state })
    }

    pub(super) fn zxid(&self) -> Zxid {
        self.state.zxid()
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Which file it is, so to say.
    pub(super) fn id(&self) -> SnapshotRef {
        SnapshotRef {
            zxid: self.zxid().0,
            file_bytes: self.state.applied.len() as u64 * 16 + 8,
            crc: self.state.digest() as u32,
        }
    }

    /// One piece of so many.
    pub(super) fn piece(&self, index: u64, pieces: u64) -> Option<Bytes> {
        if index >= pieces {
            return None;
        }
        let count = self.state.applied.len() as u64;
        let range = (count * index / pieces) as usize..(count * (index + 1) / pieces) as usize;
        let mut bytes = Vec::with_capacity(range.len() * 16 + 8);
        for applied in &self.state.applied[range] {
            bytes.put_u64(applied.zxid.0);
            bytes.put_u64(applied.identity);
        }
        if index + 1 == pieces {
            bytes.put_u64(self.state.digest());
        }
        Some(bytes.into())
    }

    /// From all its pieces; `None` if they are not what was announced.
    pub(super) fn join(id: SnapshotRef, pieces: &[Bytes]) -> Option<Rc<Snapshot>> {
        let mut words = Vec::new();
        for piece in pieces {
            let whole = piece.chunks_exact(8);
            if !whole.remainder().is_empty() {
                return None;
            }
            words.extend(whole.map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))));
        }
        let digest = words.pop()?;
        let mut state = State::default();
        for pair in words.chunks_exact(2) {
            state.execute(Zxid(pair[0]), pair[1]);
        }
        let snapshot = Snapshot::of(state);
        (snapshot.state.digest() == digest && snapshot.id() == id).then_some(snapshot)
    }
}
