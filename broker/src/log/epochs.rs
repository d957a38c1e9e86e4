//! Where in the log did which leader begin?

use super::checkpoint;
use super::disk::Folder;
use super::error::LogError;

/// The epochs of a partition's leaders and the first offset of each, both growing.
#[derive(Debug)]
pub struct Epochs {
    folder: Folder,
    entries: Vec<(i32, i64)>,
    is_written: bool,
}

/// How far an epoch reaches in this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch that was asked for, or the largest before it that has records.
    pub epoch: i32,
    /// The offset behind its last record.
    pub end_offset: i64,
}

impl Epochs {
    /// Those of a log that is being made.
    pub fn new(folder: Folder) -> Epochs {
        Epochs { folder, entries: Vec::new(), is_written: false }
    }

    /// None, in place of what cannot be understood.
    pub fn lost(folder: Folder) -> Epochs {
        Epochs { folder, entries: Vec::new(), is_written: true }
    }

    /// Reads what was saved.
    pub fn load(folder: Folder) -> Result<Epochs, LogError> {
        let entries = checkpoint::read_epochs(&folder)?;
        if !entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
            return Err(folder.malformed(checkpoint::LEADER_EPOCHS, "its epochs are not in order"));
        }
        Ok(Epochs { folder, entries, is_written: true })
    }

    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epochs and where they begin.
    pub fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    /// A leader of this epoch begins at this offset. What contradicts that was never replicated, and is forgotten.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> Result<(), LogError> {
        if epoch < 0 || self.latest().is_some_and(|latest| latest == epoch) {
            return Ok(());
        }
        self.entries.retain(|(other, start)| *other < epoch && *start < start_offset);
        self.entries.push((epoch, start_offset));
        self.save()
    }

    /// How far the epoch reaches, in a log that ends at `log_end`; `None` if it is newer than all.
    pub fn end_offset(&self, epoch: i32, log_end: i64) -> Option<EpochEnd> {
        if epoch < 0 {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        let next = self.entries.partition_point(|(other, _)| *other <= epoch);
        let end_offset = self.entries.get(next)?.1;
        let epoch = next.checked_sub(1).map_or(epoch, |at| self.entries[at].0);
        Some(EpochEnd { epoch, end_offset })
    }

    /// The epoch of the record at this offset.
    pub fn at(&self, offset: i64) -> Option<i32> {
        let next = self.entries.partition_point(|(_, start)| *start <= offset);
        next.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// The log ends here now.
    pub fn truncate_end(&mut self, end_offset: i64) -> Result<(), LogError> {
        let count = self.entries.len();
        self.entries.retain(|(_, start)| *start < end_offset);
        if self.entries.len() < count { self.save() } else { Ok(()) }
    }

    /// The log begins here now. The epoch that reaches over this offset begins there.
    pub fn truncate_start(&mut self, start_offset: i64) -> Result<(), LogError> {
        let reaching = self.entries.partition_point(|(_, start)| *start <= start_offset);
        let Some(first) = reaching.checked_sub(1) else { return Ok(()) };
        if first == 0 && self.entries[0].1 == start_offset {
            return Ok(());
        }
        self.entries.drain(..first);
        self.entries[0].1 = start_offset;
        self.save()
    }

    /// Forgets everything.
    pub fn clear(&mut self) -> Result<(), LogError> {
        self.entries.clear();
        self.save()
    }

    fn save(&mut self) -> Result<(), LogError> {
        if std::mem::replace(&mut self.is_written, true) {
            checkpoint::write_epochs(&self.folder, &self.entries)
        } else {
            checkpoint::write_first_epochs(&self.folder, &self.entries)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::disk::RealDisk;

    #[test]
    fn epochs_end_where_the_next_begins() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let folder = Folder::new(Arc::new(RealDisk::open(dir.path()).expect("disk")), "");
        let mut epochs = Epochs::new(folder.clone());
        assert_eq!(epochs.end_offset(0, 5), None);
        for (epoch, start) in [(1, 0), (3, 10), (3, 15), (7, 20)] {
            epochs.assign(epoch, start).expect("saved");
        }
        let end =
            |epochs: &Epochs, epoch| epochs.end_offset(epoch, 30).map(|end| (end.epoch, end.end_offset));
        assert_eq!(end(&epochs, -1), None);
        assert_eq!(end(&epochs, 0), Some((0, 0)), "older than the first");
        assert_eq!(end(&epochs, 1), Some((1, 10)));
        assert_eq!(end(&epochs, 2), Some((1, 10)));
        assert_eq!(end(&epochs, 5), Some((3, 20)));
        assert_eq!(end(&epochs, 7), Some((7, 30)));
        assert_eq!(end(&epochs, 8), None, "newer than the last");
        assert_eq!([0, 9, 10, 19, 20].map(|offset| epochs.at(offset)), [1, 1, 3, 3, 7].map(Some));

        // A leader that begins where others only planned to.
        epochs.assign(8, 20).expect("saved");
        assert_eq!(epochs.entries(), [(1, 0), (3, 10), (8, 20)]);
        epochs.truncate_end(20).expect("saved");
        assert_eq!(epochs.entries(), [(1, 0), (3, 10)]);
        epochs.truncate_start(12).expect("saved");
        assert_eq!(epochs.entries(), [(3, 12)]);
        assert_eq!(Epochs::load(folder).expect("saved").entries(), [(3, 12)]);
    }
}
