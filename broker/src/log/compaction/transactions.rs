//! Which batches belong to aborted transactions, and which markers end nothing any more?

use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::batch::{Batch, BatchError, BatchHeader, ControlType};

use super::super::txn_index::AbortedTxn;

/// Follows the transactions while a log is read from its start on.
#[derive(Debug)]
pub(super) struct CleanedTransactions {
    /// Those whose first record was not reached, the next one last.
    coming: Vec<AbortedTxn>,
    /// Aborted ones whose marker was not reached, by producer, and whether any of their records was seen.
    aborted: BTreeMap<i64, (AbortedTxn, bool)>,
    /// Producers with records in a transaction that will be committed.
    committed: BTreeSet<i64>,
    /// Aborted transactions that readers must still be told of.
    kept: Vec<AbortedTxn>,
}

const MARKER_BYTES_MAX: usize = 4096;

impl CleanedTransactions {
    pub(super) fn new(mut aborted: Vec<AbortedTxn>) -> CleanedTransactions {
        aborted.sort_by_key(|txn| std::cmp::Reverse(txn.first_offset));
        CleanedTransactions {
            coming: aborted,
            aborted: BTreeMap::new(),
            committed: BTreeSet::new(),
            kept: Vec::new(),
        }
    }

    /// A batch of records; true if its transaction was aborted, so that nobody misses them.
    pub(super) fn on_records(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, seen)) => {
                *seen = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// A marker; true if none of its transaction's records is left, so that it will not be needed.
    pub(super) fn on_marker(&mut self, batch: &Batch) -> Result<bool, BatchError> {
        let header = batch.header();
        self.begin_up_to(header.last_offset());
        let Some(record) = batch.records(MARKER_BYTES_MAX)?.next().transpose()? else { return Ok(true) };
        Ok(match record.key.as_deref().and_then(ControlType::from_key) {
            Some(ControlType::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((txn, true)) => {
                    self.kept.push(txn);
                    false
                }
                _ => true,
            },
            Some(ControlType::Commit) => !self.committed.remove(&header.producer_id),
            None => false,
        })
    }

    /// The aborted transactions whose markers were passed and are still needed, since this was last asked.
    pub(super) fn take_kept(&mut self) -> Vec<AbortedTxn> {
        std::mem::take(&mut self.kept)
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(txn) = self.coming.pop_if(|txn| txn.first_offset <= offset) {
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }
}
