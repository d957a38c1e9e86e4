//! What was promised to producers and shown to the consumer, and whether the log keeps it.

use std::collections::BTreeMap;

use client::wire::kafka::batch::Batch;

use super::producer::{Sent, producer_id, value};
use crate::check::service::{Violation, violation};

/// A record: whose it is, and its number.
type Identity = (usize, i32);

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What the log holds by what the broker did, with the epoch it was appended in.
    log: BTreeMap<i64, (Identity, i32)>,
    /// Acknowledged records, and where they are.
    acknowledged: BTreeMap<Identity, i64>,
    /// What the consumer was shown.
    shown: BTreeMap<i64, Identity>,
    synced: i64,
    watermark: i64,
    /// A power cut took records that were shown and never acknowledged.
    lost: bool,
}

impl Ledger {
    /// A batch got its place, or was recognised.
    pub(super) fn appended(
        &mut self,
        producer: usize,
        sent: &Sent,
        offset: i64,
        duplicate: bool,
        epoch: i32,
    ) -> Result<(), Violation> {
        for index in 0..sent.count {
            let (at, identity) = (offset + i64::from(index), (producer, sent.sequence + index));
            if duplicate {
                if self.log.get(&at).map(|(known, _)| *known) != Some(identity) {
                    return violation("B7", format!("{identity:?} is called a duplicate of offset {at}"));
                }
                continue;
            }
            if let Some((other, _)) = self.log.iter().find(|(_, (known, _))| *known == identity) {
                return violation(
                    "B7",
                    format!("{identity:?} is at {other}, and was appended again at {at}"),
                );
            }
            let before = self.log.values().rev().find(|((of, _), _)| *of == producer);
            if let Some(((_, last), _)) = before
                && *last + 1 != identity.1
            {
                return violation("B7", format!("producer {producer}: {} follows {last}", identity.1));
            }
            self.log.insert(at, (identity, epoch));
        }
        Ok(())
    }

    pub(super) fn acknowledged(
        &mut self,
        producer: usize,
        sent: &Sent,
        offset: i64,
    ) -> Result<(), Violation> {
        for index in 0..sent.count {
            let (at, identity) = (offset + i64::from(index), (producer, sent.sequence + index));
            let told = *self.acknowledged.entry(identity).or_insert(at);
            if told != at {
                return violation("B7", format!("{identity:?} was acknowledged at {told}, and now at {at}"));
            }
        }
        Ok(())
    }

    pub(super) fn synced(&mut self, up_to: i64) {
        self.synced = self.synced.max(up_to);
    }

    pub(super) fn watermark(&mut self, watermark: i64, end: i64) -> Result<(), Violation> {
        if watermark < self.watermark || watermark > end {
            let before = self.watermark;
            return violation(
                "B3",
                format!("high watermark {watermark} after {before}, the log ends at {end}"),
            );
        }
        self.watermark = watermark;
        Ok(())
    }

    /// Whether anything that was shown is gone.
    pub(super) fn lost(&self) -> bool {
        self.lost
    }

    /// The log was opened after the process, or the machine, had stopped.
    pub(super) fn reopened(&mut self, start: i64, end: i64, power: bool) -> Result<(), Violation> {
        if end < self.synced {
            return violation("B12", format!("{} were on the disk, and the log ends at {end}", self.synced));
        }
        if let Some((identity, at)) = self.acknowledged.iter().find(|(_, at)| **at >= end && **at >= start) {
            return violation(
                "B1",
                format!("{identity:?} was acknowledged at {at}, and the log ends at {end}"),
            );
        }
        let gone = self.log.split_off(&end);
        if !power && gone.keys().any(|at| *at < self.watermark) {
            return violation("B1", format!("a kill took what lay before {}", self.watermark));
        }
        self.lost |= !self.shown.split_off(&end).is_empty();
        self.watermark = self.watermark.min(end);
        Ok(())
    }

    /// The consumer was shown a batch.
    pub(super) fn read(&mut self, batch: &Batch, watermark: i64) -> Result<(), Violation> {
        let header = batch.header();
        if header.next_offset() > watermark {
            return violation(
                "B3",
                format!("offset {} was shown, {watermark} is not safe", header.last_offset()),
            );
        }
        let records = batch.records(1 << 20).or_else(|error| violation("B10", error.to_string()))?;
        for record in records {
            let record = record.or_else(|error| violation("B10", error.to_string()))?;
            let text = record.value.unwrap_or_default();
            let words = String::from_utf8_lossy(&text);
            let mut words = words.split(' ');
            let mut number = || words.next().and_then(|word| word.parse::<i32>().ok());
            let (Some(producer), Some(sequence)) = (number(), number()) else {
                return violation("B10", format!("offset {} is nobody's record", record.offset));
            };
            let identity = (producer as usize, sequence);
            let prefix = value(identity.0, sequence, 0);
            if !text.starts_with(&prefix) || header.producer_id != producer_id(identity.0) {
                return violation("B10", format!("offset {} is not what was sent", record.offset));
            }
            // One that was being appended when the machine stopped is learned here.
            let (known, epoch) = *self.log.entry(record.offset).or_insert((identity, header.leader_epoch));
            if known != identity {
                return violation(
                    "B10",
                    format!("offset {}: {identity:?} instead of {known:?}", record.offset),
                );
            }
            if epoch != header.leader_epoch {
                return violation("B4", format!("offset {} changed its epoch from {epoch}", record.offset));
            }
            let shown = *self.shown.entry(record.offset).or_insert(identity);
            if shown != identity {
                return violation("B10", format!("offset {} was {shown:?}, is {identity:?}", record.offset));
            }
        }
        Ok(())
    }

    /// At the end, when everything was read: every number of every producer once, in order, without a gap.
    pub(super) fn compare(&self, start: i64, end: i64) -> Result<(), Violation> {
        let mut last: BTreeMap<usize, i32> = BTreeMap::new();
        let mut next = start;
        for (at, (identity, _)) in self.log.range(start..end) {
            if *at != next {
                return violation("B10", format!("offset {next} was skipped"));
            }
            next += 1;
            if let Some(before) = last.insert(identity.0, identity.1)
                && before + 1 != identity.1
            {
                return violation("B7", format!("producer {}: {} follows {before}", identity.0, identity.1));
            }
        }
        if next != end {
            return violation("B10", format!("the log ends at {end}, and {next} was read"));
        }
        for (identity, at) in self.acknowledged.iter().filter(|(_, at)| **at >= start) {
            if self.log.get(at).map(|(known, _)| known) != Some(identity) {
                return violation("B1", format!("{identity:?} was acknowledged at {at}"));
            }
        }
        Ok(())
    }
}
