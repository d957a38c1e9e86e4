//! Which files are no longer needed?

use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::{numbers, remove};
use super::disk::Disk;
use super::error::StoreError;
use super::{segment, snapshot};

/// Removes old snapshots, and log segments that no kept snapshot needs.
///
/// Kept are the newest `snapshots_kept` good snapshots, and every segment with a record after the oldest of them. As long
/// as there are fewer good snapshots, nothing is removed.
#[derive(Debug)]
pub struct Retention {
    log_disk: Arc<dyn Disk>,
    snapshot_disk: Arc<dyn Disk>,
    /// At least one.
    snapshots_kept: usize,
    /// Snapshots that were read back since the start.
    good: BTreeSet<u64>,
}

impl Retention {
    pub fn new(log_disk: Arc<dyn Disk>, snapshot_disk: Arc<dyn Disk>, snapshots_kept: usize) -> Retention {
        Retention { log_disk, snapshot_disk, snapshots_kept: snapshots_kept.max(1), good: BTreeSet::new() }
    }

    /// Removes what may go and returns the names. `written` is a snapshot that was just read back.
    pub fn purge(&mut self, written: u64) -> Result<Vec<String>, StoreError> {
        self.good.insert(written);
        let Some(oldest) = self.oldest_kept()? else { return Ok(Vec::new()) };
        self.good = self.good.split_off(&oldest);

        let mut snapshots = numbers(self.snapshot_disk.as_ref(), snapshot::parse_name)?;
        snapshots.retain(|&zxid| zxid < oldest);
        let mut removed = remove(self.snapshot_disk.as_ref(), snapshots.into_iter().map(snapshot::name))?;

        let segments = numbers(self.log_disk.as_ref(), segment::parse_name)?;
        // A segment ends before its successor begins; the last one, which is being written, has none.
        let unneeded = segments
            .windows(2)
            .filter(|pair| pair[1] <= oldest.saturating_add(1))
            .map(|pair| segment::name(pair[0]));
        removed.extend(remove(self.log_disk.as_ref(), unneeded)?);
        Ok(removed)
    }

    /// The oldest of the snapshots to keep, if there are enough good ones.
    fn oldest_kept(&mut self) -> Result<Option<u64>, StoreError> {
        let mut kept = 0;
        for zxid in numbers(self.snapshot_disk.as_ref(), snapshot::parse_name)?.into_iter().rev() {
            if !self.good.contains(&zxid) {
                match snapshot::check(self.snapshot_disk.as_ref(), zxid) {
                    Ok(_) => self.good.insert(zxid),
                    Err(StoreError::Damaged { .. }) => continue,
                    Err(error) => return Err(error),
                };
            }
            kept += 1;
            if kept == self.snapshots_kept {
                return Ok(Some(zxid));
            }
        }
        Ok(None)
    }
}
