//! What members execute entries on, in place of a tree: the list of what was executed, and a digest of it.

use std::rc::Rc;

use bytes::{BufMut, Bytes};
use client::wire::zk::Zxid;

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

    /// One chunk of so many, and whether it is the last.
    pub(super) fn chunk(&self, index: u32, chunks: u32) -> Option<(Bytes, bool)> {
        let (index, chunks) = (index as usize, chunks as usize);
        if index >= chunks {
            return None;
        }
        let count = self.state.applied.len();
        let range = count * index / chunks..count * (index + 1) / chunks;
        let mut bytes = Vec::with_capacity(range.len() * 16 + 8);
        for applied in &self.state.applied[range] {
            bytes.put_u64(applied.zxid.0);
            bytes.put_u64(applied.identity);
        }
        let last = index + 1 == chunks;
        if last {
            bytes.put_u64(self.state.digest());
        }
        Some((bytes.into(), last))
    }

    /// From all its chunks; `None` if they do not belong together.
    pub(super) fn join(zxid: Zxid, chunks: &[Bytes]) -> Option<Rc<Snapshot>> {
        let mut words = Vec::new();
        for chunk in chunks {
            let whole = chunk.chunks_exact(8);
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
        (state.zxid() == zxid && state.digest() == digest).then(|| Snapshot::of(state))
    }
}
