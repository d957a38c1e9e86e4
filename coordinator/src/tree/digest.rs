//! Do replicas agree?
//!
//! Two answers. The *running digest* folds every command and its result into one number as it is executed: cheap, and
//! two replicas that ever differed differ ever after. The *content digest* is a sum over all nodes and sessions,
//! independent of order and of how the state came about: for tests, imports and inspection.

use std::hash::Hasher;

use client::wire::zk::Zxid;

/// Folds one step into the running digest.
pub fn advance(digest: u64, zxid: Zxid, command: &[u8], result: i32) -> u64 {
    let step = u64::from(crc32c::crc32c(command)) << 32 | u64::from(result as u32);
    mix(mix(digest ^ zxid.0) ^ step)
}

/// The finalizer of SplitMix64: every bit of the input reaches every bit of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A hash that is the same on every machine and in every release.
#[derive(Debug, Default)]
pub struct StableHasher(u64);

impl StableHasher {
    pub fn number(&mut self, value: u64) {
        self.0 = mix(self.0 ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }

    pub fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }
}

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        mix(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.text(bytes);
    }
}
