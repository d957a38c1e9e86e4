//! Which is the newest offset of each key? In bounded memory.

use md5::{Digest, Md5};

/// Keys by their MD5, in a table of fixed size that is searched from a key's place on. Two keys of one hash would be
/// one key; nobody meets two by chance, and whoever makes two on purpose loses only what they wrote.
#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    end_offset: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// Negative: free.
    offset: i64,
}

const FREE: Slot = Slot { hash: [0; 2], offset: -1 };

impl OffsetMap {
    /// Room for so many keys, or as many as fit so many bytes.
    pub(super) fn new(keys: usize, bytes_max: usize) -> OffsetMap {
        let affordable = (bytes_max / size_of::<Slot>()).max(2);
        // A tenth stays free, so that a search ends.
        let slots = (keys.saturating_add(keys / 8) + 2).min(affordable);
        let used_max = slots - slots.div_ceil(10);
        OffsetMap { slots: vec![FREE; slots], used: 0, used_max, end_offset: None }
    }

    /// Notes a key's offset, which is larger than any before; false if there is no room.
    pub(super) fn insert(&mut self, key: &[u8], offset: i64) -> bool {
        let (at, is_new) = self.find(key);
        if is_new {
            if self.used == self.used_max {
                return false;
            }
            self.used += 1;
        }
        self.slots[at] = Slot { hash: hash(key), offset };
        true
    }

    /// The newest offset of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<i64> {
        let (at, is_new) = self.find(key);
        (!is_new).then(|| self.slots[at].offset)
    }

    /// Everything before this offset was noted.
    pub(super) fn reached(&mut self, end_offset: i64) {
        self.end_offset = self.end_offset.max(Some(end_offset));
    }

    /// How far it was noted; `None` if not even the first batch found room.
    pub(super) fn end_offset(&self) -> Option<i64> {
        self.end_offset
    }

    /// The key's slot, or the free one where it would be.
    fn find(&self, key: &[u8]) -> (usize, bool) {
        let hash = hash(key);
        let mut at = (hash[0] % self.slots.len() as u64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot.offset < 0 {
                return (at, true);
            }
            if slot.hash == hash {
                return (at, false);
            }
            at = (at + 1) % self.slots.len();
        }
    }
}

fn hash(key: &[u8]) -> [u64; 2] {
    let digest: [u8; 16] = Md5::digest(key).into();
    let whole = u128::from_be_bytes(digest);
    [(whole >> 64) as u64, whole as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_wins_until_memory_ends() {
        let mut map = OffsetMap::new(1_000_000, 100 * size_of::<Slot>());
        let key = |at: usize| at.to_be_bytes();
        for at in 0..90 {
            assert!(map.insert(&key(at), at as i64));
            assert!(map.insert(&key(at), at as i64 + 1000), "a known key needs no room");
        }
        assert!(!map.insert(&key(90), 90));
        assert!((0..90).all(|at| map.get(&key(at)) == Some(at as i64 + 1000)));
        assert_eq!(map.get(&key(90)), None);
        assert!(OffsetMap::new(10, usize::MAX).slots.len() < 20, "few keys need little memory");
    }
}
