//! What has this member promised to its ensemble, and may it vote from what it holds?
//!
//! The file `epochs` lies beside the log, because it speaks about the log: whoever loses one loses the other. It is written
//! under another name, synced and renamed, so it is whole or the one before.
//!
//! ```text
//!  0  magic   8 bytes
//!  8  u32     format version
//! 12  u32     accepted epoch
//! 16  u32     current epoch
//! 20  u32     1 if the history is complete, else 0
//! 24  zeros
//! 28  u32     CRC32C of bytes 0..28
//! ```

use super::disk::Disk;
use super::error::StoreError;
use super::log::{UNFINISHED_SUFFIX, final_error};

/// The file's name.
pub(super) const EPOCHS_FILE: &str = "epochs";
const FILE_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"rookEPO\n";
const VERSION: u32 = 1;

const ADVICE: &str = "The server refuses to start without knowing what it promised to the other members: put back this file \
     from a backup, or move the whole directory away so that the member fetches everything from the others";

/// The epochs that a member must never forget.
///
/// Invariant of what is saved: `accepted >= current`, and neither ever goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// The highest epoch whose leader this member promised to follow.
    pub accepted: u32,
    /// The epoch whose leader this member's history was last synchronised with.
    pub current: u32,
    /// Whether the history is all that this member ever acknowledged. False in a directory that never held a synchronised
    /// history, or lost a part of one: its member must not vote from it.
    pub complete: bool,
}

/// The file's name until it is whole.
pub(super) fn unfinished() -> String {
    format!("{EPOCHS_FILE}{UNFINISHED_SUFFIX}")
}

impl Epochs {
    /// What a directory without the file says: a history that a server kept alone is complete, and none is not.
    pub(super) fn of_history(last_zxid: u64) -> Epochs {
        let epoch = epoch(last_zxid);
        Epochs { accepted: epoch, current: epoch, complete: last_zxid > 0 }
    }

    /// Repairs forward what a crash between two saves leaves: nothing of an epoch is logged before it was accepted.
    pub(super) fn beside(self, last_zxid: u64) -> Epochs {
        Epochs { accepted: self.accepted.max(epoch(last_zxid)), ..self }
    }

    /// Reads the file; `None` if there is none.
    pub(super) fn read(disk: &dyn Disk, names: &[String]) -> Result<Option<Epochs>, StoreError> {
        if !names.iter().any(|name| name == EPOCHS_FILE) {
            return Ok(None);
        }
        let path = disk.path().join(EPOCHS_FILE);
        let failed = |source| StoreError::Io { action: "read", file: path.clone(), source };
        let damaged =
            |offset, what: String| StoreError::Damaged { file: path.clone(), offset, what, advice: ADVICE };
        let file = disk.open(EPOCHS_FILE).map_err(failed)?;
        let size = file.size().map_err(failed)?;
        if size != FILE_BYTES as u64 {
            let at = size.min(FILE_BYTES as u64);
            return Err(damaged(at, format!("the file has {size} bytes instead of {FILE_BYTES}")));
        }
        let mut bytes = [0; FILE_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        decode(&bytes).map(Some).map_err(|(offset, what)| damaged(offset, what))
    }

    /// Makes the file say this, durably. After an error for which [`StoreError::is_full`] holds, it says what it said
    /// before, and the call may be repeated; any other is final.
    pub(super) fn save(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        assert!(self.accepted >= self.current, "{self:?}: a current epoch must have been accepted");
        let file = disk.path().join(EPOCHS_FILE);
        let failed = |action, source| StoreError::Io { action, file: file.clone(), source };
        let unfinished = unfinished();
        let written = disk.create(&unfinished).and_then(|new| new.write_at(&encode(self), 0).map(|()| new));
        let new = written.map_err(|source| failed("write", source))?;
        new.sync().map_err(|source| final_error(failed("sync", source)))?;
        let named = disk.rename(&unfinished, EPOCHS_FILE).and_then(|()| disk.sync_dir());
        named.map_err(|source| final_error(failed("rename", source)))
    }
}

/// The epoch of a zxid.
fn epoch(zxid: u64) -> u32 {
    (zxid >> 32) as u32
}

fn encode(epochs: &Epochs) -> [u8; FILE_BYTES] {
    let mut out = [0; FILE_BYTES];
    out[0..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&epochs.accepted.to_le_bytes());
    out[16..20].copy_from_slice(&epochs.current.to_le_bytes());
    out[20..24].copy_from_slice(&u32::from(epochs.complete).to_le_bytes());
    let crc = crc32c::crc32c(&out[..28]);
    out[28..32].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The error says where and what is wrong.
fn decode(bytes: &[u8; FILE_BYTES]) -> Result<Epochs, (u64, String)> {
    let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[0..8] != MAGIC {
        return Err((0, "this is no epochs file of this server".into()));
    }
    if u32_at(28) != crc32c::crc32c(&bytes[..28]) {
        return Err((28, "the file fails its checksum".into()));
    }
    if u32_at(8) != VERSION {
        return Err((8, format!("epochs format {} is not known to this release", u32_at(8))));
    }
    let epochs = Epochs { accepted: u32_at(12), current: u32_at(16), complete: u32_at(20) == 1 };
    if epochs.accepted < epochs.current {
        return Err((
            12,
            format!("accepted epoch {} is before current epoch {}", epochs.accepted, epochs.current),
        ));
    }
    Ok(epochs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RealDisk;

    fn read(disk: &dyn Disk) -> Result<Option<Epochs>, StoreError> {
        Epochs::read(disk, &disk.list().expect("list"))
    }

    #[test]
    fn what_is_saved_is_read_back_and_replaced() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = RealDisk::open(dir.path()).expect("disk");
        assert_eq!(read(&disk).expect("nothing there"), None);
        for epochs in [
            Epochs { accepted: 1, current: 0, complete: false },
            Epochs { accepted: u32::MAX, current: 7, complete: true },
        ] {
            epochs.save(&disk).expect("space");
            assert_eq!(read(&disk).expect("good"), Some(epochs));
        }
        assert!(!disk.list().expect("list").contains(&unfinished()));
    }

    #[test]
    fn any_flipped_bit_and_any_other_length_is_refused_by_name_and_byte() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = RealDisk::open(dir.path()).expect("disk");
        let good = encode(&Epochs { accepted: 9, current: 8, complete: true });
        let mut contents: Vec<Vec<u8>> = (0..FILE_BYTES).map(|length| good[..length].to_vec()).collect();
        contents.push([&good[..], &[0]].concat());
        for bit in 0..FILE_BYTES * 8 {
            let mut flipped = good.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            contents.push(flipped);
        }
        for content in contents {
            disk.create(EPOCHS_FILE).and_then(|file| file.write_at(&content, 0)).expect("write");
            match read(&disk) {
                Err(StoreError::Damaged { file, offset, .. }) => {
                    assert_eq!(file, dir.path().join(EPOCHS_FILE));
                    assert!(offset <= FILE_BYTES as u64);
                }
                other => panic!("{content:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn a_directory_without_the_file_is_judged_by_its_history() {
        assert_eq!(Epochs::of_history(0), Epochs { accepted: 0, current: 0, complete: false });
        assert_eq!(Epochs::of_history(0x3_0000_0007), Epochs { accepted: 3, current: 3, complete: true });
        // An entry of the next epoch was logged, and the machine went down before the current epoch was saved.
        let saved = Epochs { accepted: 4, current: 3, complete: true };
        assert_eq!(saved.beside(0x4_0000_0001), saved);
    }
}
