//! What do the files say about the state at an earlier zxid? Read beside a log that is at rest.

use std::sync::Arc;

use super::disk::Disk;
use super::error::StoreError;
use super::reader::LogReader;
use super::recovery::list;
use super::snapshot::{self, SnapshotReader};

/// The newest good snapshot at or before `up_to`, and the records from there up to it.
pub fn reread(
    log_disk: &Arc<dyn Disk>,
    snapshot_disk: &Arc<dyn Disk>,
    up_to: u64,
) -> Result<(Option<SnapshotReader>, Option<LogReader>), StoreError> {
    let names = list(snapshot_disk.as_ref())?;
    let mut zxids: Vec<u64> = names.iter().filter_map(|name| snapshot::parse_name(name)).collect();
    zxids.retain(|zxid| *zxid <= up_to);
    zxids.sort_unstable();
    for zxid in zxids.into_iter().rev() {
        match snapshot::check(snapshot_disk.as_ref(), zxid) {
            Ok(_) => {
                let records = LogReader::open(Arc::clone(log_disk), zxid, up_to)?;
                return Ok((Some(SnapshotReader::open(snapshot_disk.as_ref(), zxid)?), records));
            }
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((None, LogReader::open(Arc::clone(log_disk), 0, up_to)?))
}
