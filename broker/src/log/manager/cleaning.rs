//! Which log is compacted next?

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::LogManager;
use crate::log::compaction::Dirt;
use crate::log::error::LogError;
use crate::log::partition_log::TopicPartition;
use crate::log::shared_log::SharedLog;

/// Which logs are not to be claimed.
#[derive(Debug, Default)]
pub(super) struct Cleaning {
    /// They are being cleaned.
    pub(super) running: BTreeSet<TopicPartition>,
    /// That went wrong, and is not tried again before the next start.
    pub(super) failed: BTreeSet<TopicPartition>,
    looked_at_ms: Option<i64>,
    ratio_max: f64,
}

/// What the cleaner found when it last looked, for people who watch.
#[derive(Debug, PartialEq)]
pub struct CleanerReport {
    /// When that was, unless it never did.
    pub looked_at_ms: Option<i64>,
    /// How much of the dirtiest log is dirty, from 0 to 1.
    pub ratio_max: f64,
    /// The logs that cannot be cleaned any more.
    pub failed: Vec<TopicPartition>,
}

impl LogManager {
    /// Cleans the dirtiest of the logs that are due, with at most so many bytes for its keys; says whether there was one.
    /// Several threads may do this at once.
    pub fn clean_one(&self, dedupe_bytes: usize, now_ms: i64) -> bool {
        let Some((partition, shared, dirt)) = self.claim_dirtiest(now_ms) else { return false };
        let clean = || -> Result<(), LogError> {
            let plan = shared.lock()?.cleaning_plan(dirt);
            let flush = || shared.flush(now_ms);
            let Some(cleaned) = plan.run(dedupe_bytes, now_ms, || shared.lock(), flush)? else {
                return Ok(());
            };
            tracing::info!(%partition, ?cleaned, "cleaned");
            shared.dir().set_cleaned_to(&partition, Some(cleaned.end_offset))
        };
        match clean() {
            Ok(()) | Err(LogError::Deleted) => {}
            Err(error) => {
                shared.note(&error);
                tracing::error!(%partition, %error, "the log is not cleaned any more");
                self.cleaning().failed.insert(partition.clone());
            }
        }
        self.cleaning().running.remove(&partition);
        true
    }

    /// How the cleaner is doing.
    pub fn cleaner_report(&self) -> CleanerReport {
        let Cleaning { failed, looked_at_ms, ratio_max, .. } = &*self.cleaning();
        CleanerReport {
            looked_at_ms: *looked_at_ms,
            ratio_max: *ratio_max,
            failed: failed.iter().cloned().collect(),
        }
    }

    pub(super) fn cleaning(&self) -> MutexGuard<'_, Cleaning> {
        self.cleaning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dirtiest log that is due; nobody else cleans it meanwhile.
    fn claim_dirtiest(&self, now_ms: i64) -> Option<(TopicPartition, Arc<SharedLog>, Dirt)> {
        let mut cleaning = self.cleaning();
        cleaning.looked_at_ms = Some(now_ms);
        cleaning.ratio_max = 0.0;
        let mut dirtiest: Option<(TopicPartition, Arc<SharedLog>, Dirt)> = None;
        for (partition, shared) in self.logs() {
            // What a copy has not got yet must not change its mind about what was deleted.
            let is_left_alone = cleaning.running.contains(&partition) || cleaning.failed.contains(&partition);
            if is_left_alone || self.is_moving(&partition) {
                continue;
            }
            let cleaned_to = shared.dir().cleaned_to().get(&partition).copied().unwrap_or(0);
            match shared.lock().and_then(|mut log| log.dirt(cleaned_to, now_ms)) {
                Ok(Some(dirt)) => {
                    cleaning.ratio_max = cleaning.ratio_max.max(dirt.ratio);
                    let is_dirtier = dirtiest.as_ref().is_none_or(|(_, _, other)| dirt.ratio > other.ratio);
                    if dirt.is_due && is_dirtier {
                        dirtiest = Some((partition, shared, dirt));
                    }
                }
                Ok(None) => {}
                Err(error) => shared.note(&error),
            }
        }
        if let Some((partition, _, _)) = &dirtiest {
            cleaning.running.insert(partition.clone());
        }
        dirtiest
    }
}
