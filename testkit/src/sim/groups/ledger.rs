//! What the brokers promised to whom, and whether they keep it.

use std::collections::BTreeMap;

use broker::group::{Answer, Committed, Record};
use client::wire::kafka::ErrorCode;

use super::TOPIC;
use super::consumer::partitions_in;
use super::coordinating::{Broker, Kind, Waiting};
use crate::check::service::{Violation, violation};

/// The log of the offsets partition, and what was said about it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Records in order, each with the number of the append it came with.
    log: Vec<(usize, Record)>,
    appends: usize,
    /// The last append that anybody was told of.
    pub(super) acknowledged: usize,
    /// Who was given a partition in a generation.
    readers: BTreeMap<(i32, i32), String>,
    /// By partition, the append of the last commit that was acknowledged.
    committed: BTreeMap<i32, usize>,
}

impl Ledger {
    /// Returns the number of the append.
    pub(super) fn append(&mut self, records: Vec<Record>) -> usize {
        self.appends += 1;
        let number = self.appends;
        self.log.extend(records.into_iter().map(|record| (number, record)));
        number
    }

    pub(super) fn settle(&mut self) {
        self.acknowledged = self.appends;
    }

    pub(super) fn forget_unacknowledged(&mut self) {
        let acknowledged = self.acknowledged;
        self.log.retain(|(number, _)| *number <= acknowledged);
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.log.iter().map(|(_, record)| record.clone()).collect()
    }

    /// The group's generation as the log has it.
    pub(super) fn last_generation(&self) -> i32 {
        let image = self.log.iter().rev().find_map(|(_, record)| match record {
            Record::Group { value, .. } => value.as_ref(),
            Record::Offset { .. } => None,
        });
        image.map_or(-1, |image| image.generation)
    }

    /// A broker answered.
    pub(super) fn answered(
        &mut self,
        broker: &mut Broker,
        waiting: &Waiting,
        answer: &Answer,
        leads: bool,
    ) -> Result<(), Violation> {
        match (answer, &waiting.kind) {
            (Answer::Joined(joined), Kind::Join) if joined.error == ErrorCode::NONE => {
                if joined.generation < broker.announced {
                    return violation(
                        "B9",
                        format!("generation {} after {}", joined.generation, broker.announced),
                    );
                }
                broker.announced = joined.generation;
                Ok(())
            }
            (Answer::Synced(Ok(synced)), Kind::Sync { member, generation }) if leads => {
                for partition in partitions_in(&synced.assignment) {
                    let reader =
                        self.readers.entry((*generation, partition)).or_insert_with(|| member.clone());
                    if reader != member {
                        return violation(
                            "B9",
                            format!(
                                "in generation {generation}, {reader} and {member} both read {partition}"
                            ),
                        );
                    }
                }
                Ok(())
            }
            (Answer::Committed(codes), Kind::Commit { generation, announced, place }) => {
                if codes.iter().any(|code| *code != ErrorCode::NONE) {
                    return Ok(());
                }
                if generation < announced {
                    return violation(
                        "B9",
                        format!("a commit of generation {generation} was taken in generation {announced}"),
                    );
                }
                self.keep(*place)
            }
            _ => Ok(()),
        }
    }

    /// A commit was acknowledged: from now on nobody may read less.
    fn keep(&mut self, place: i64) -> Result<(), Violation> {
        let mut found = false;
        for (number, record) in &self.log {
            if let Record::Offset { partition, value: Some(value), .. } = record
                && value.offset == place
            {
                found = true;
                let kept = self.committed.entry(*partition).or_default();
                *kept = (*kept).max(*number);
            }
        }
        if found {
            Ok(())
        } else {
            violation("B9", format!("commit {place} was acknowledged and is in no log"))
        }
    }

    /// The leader said how far the group has read.
    pub(super) fn read(&self, read: &[(String, i32, Option<Committed>)]) -> Result<(), Violation> {
        for (partition, kept) in &self.committed {
            let told = read.iter().find(|(topic, of, _)| topic == TOPIC && of == partition);
            let told =
                told.and_then(|(_, _, committed)| committed.as_ref()).map(|committed| committed.offset);
            let number = self.log.iter().find_map(|(number, record)| match record {
                Record::Offset { value: Some(value), .. } => (Some(value.offset) == told).then_some(*number),
                _ => None,
            });
            if number.is_none_or(|number| number < *kept) {
                return violation(
                    "B9",
                    format!("of partition {partition} append {kept} was acknowledged, and {told:?} is told"),
                );
            }
        }
        Ok(())
    }
}
