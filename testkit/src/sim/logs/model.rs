//! What one partition's log must hold, by what was appended to it and what may go.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::service::{Violation, violation};

/// A record as a reader sees it: its key, and its value unless it deletes the key.
pub(super) type Pair = (u64, Option<u64>);

#[derive(Debug, Clone, Copy)]
struct Appended {
    pair: Pair,
    /// When a cleaning may have seen it for the first time.
    seen_ms: Option<i64>,
}

/// Slow and obvious: everything that was ever appended and is not lost.
#[derive(Debug, Default)]
pub(super) struct Model {
    appended: BTreeMap<i64, Appended>,
    /// Where the log ends. Records from there on were being appended when the machine stopped.
    pub(super) end: i64,
    /// Everything before it was reported to be on the disk.
    pub(super) durable: i64,
    /// Everything before it is replicated.
    pub(super) watermark: i64,
}

impl Model {
    /// These are about to be appended, if nothing stops that.
    pub(super) fn appends(&mut self, pairs: &[Pair]) {
        let appended = pairs.iter().map(|pair| Appended { pair: *pair, seen_ms: None });
        self.appended.extend((self.end..).zip(appended));
    }

    /// A cleaning looks at everything before this offset.
    pub(super) fn cleaning_sees(&mut self, up_to: i64, now_ms: i64) {
        for appended in self.appended.range_mut(..up_to).map(|(_, appended)| appended) {
            appended.seen_ms.get_or_insert(now_ms);
        }
    }

    /// The log was opened after the process had ended, or the machine; returns how many records that took.
    pub(super) fn reopened(&mut self, end: i64, power: bool) -> Result<usize, Violation> {
        if end < self.durable {
            return violation("B12", format!("{} were on the disk, and the log ends at {end}", self.durable));
        }
        if end < self.end && !power {
            return violation("B12", format!("a kill took what lies from {end} to {}", self.end));
        }
        let most = self.appended.last_key_value().map_or(0, |(last, _)| last + 1);
        if end > most {
            return violation("B12", format!("the log ends at {end}, and {most} records were appended"));
        }
        let lost = self.appended.split_off(&end).range(..self.end).count();
        self.end = end;
        self.watermark = self.watermark.min(end);
        Ok(lost)
    }

    /// Compares with what a reader finds from the log's first record to its last; returns of how many deleted keys nothing
    /// is left.
    pub(super) fn check(
        &self,
        found: &BTreeMap<i64, Pair>,
        now_ms: i64,
        delete_retention_ms: i64,
    ) -> Result<usize, Violation> {
        for (offset, pair) in found {
            let expected = self.appended.get(offset).map(|appended| appended.pair);
            if expected != Some(*pair) {
                return violation("B10", format!("offset {offset} was {expected:?}, and is {pair:?}"));
            }
        }
        let (mut replaced, mut later, mut forgotten) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (&offset, Appended { pair: (key, value), seen_ms }) in self.appended.range(..self.end).rev() {
            let is_replicated = offset < self.watermark;
            if found.contains_key(&offset) {
                if forgotten.contains(key) {
                    return violation(
                        "B11",
                        format!("key {key} was deleted, and is back at offset {offset}"),
                    );
                }
            } else if !replaced.contains(key) {
                let is_over = seen_ms.is_some_and(|seen| seen + delete_retention_ms <= now_ms);
                if value.is_some() || !is_replicated || !is_over {
                    return violation(
                        "B11",
                        format!(
                            "offset {offset}, key {key}, {value:?}, seen {seen_ms:?}, is gone at {now_ms}"
                        ),
                    );
                }
                if !later.contains(key) {
                    forgotten.insert(*key);
                }
            }
            later.insert(*key);
            if is_replicated {
                replaced.insert(*key);
            }
        }
        Ok(forgotten.len())
    }

    /// What is left when everything was cleaned and every deadline is over: of each key the newest, if it has a value.
    pub(super) fn newest(&self) -> BTreeMap<i64, Pair> {
        let by_key = self.appended.iter().map(|(offset, appended)| (appended.pair.0, *offset));
        let newest: BTreeMap<u64, i64> = by_key.collect();
        let records = newest.into_values().map(|offset| (offset, self.appended[&offset].pair));
        records.filter(|(_, (_, value))| value.is_some()).collect()
    }
}
