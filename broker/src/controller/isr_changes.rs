//! May a leader change who is in sync?

use client::wire::kafka::Uuid;

use super::{Answer, Command, Controller, PartitionName, Then, Ticket};
use crate::cluster::PartitionState;

/// What a leader proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct IsrChange {
    pub broker: i32,
    pub broker_epoch: i64,
    pub partition: PartitionName,
    /// Which topic of that name the leader means.
    pub topic_id: Uuid,
    pub leader_epoch: i32,
    /// The version of the state that the leader knows.
    pub version: i32,
    pub isr: Vec<i32>,
    pub is_recovering: bool,
}

/// Why it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsrChangeError {
    /// The broker that asks is not the one that is registered.
    StaleBroker,
    UnknownPartition,
    /// The leader knows something later than this controller: there must be another one.
    NotController,
    /// The leader was replaced.
    Fenced,
    /// The state has changed since.
    VersionConflict,
    /// A leader that is recovering is alone, and who has recovered does not recover again.
    Contradiction,
    /// Somebody in the proposal is not alive, or holds no replica.
    Ineligible,
}

impl Controller {
    pub(super) fn change_isr(&mut self, ticket: Ticket, change: IsrChange, out: &mut Vec<Command>) {
        match self.judge(&change) {
            Err(error) => out.push(Command::Answer(ticket, Answer::Isr(Err(error)))),
            Ok(None) => {
                let answer = self.answer(Then::Isr, Some(&change.partition));
                out.push(Command::Answer(ticket, answer));
            }
            Ok(Some(next)) => self.set_states(vec![(change.partition, next)], Some((ticket, Then::Isr)), out),
        }
    }

    /// The state to write; `None` if it is so already.
    fn judge(&self, change: &IsrChange) -> Result<Option<PartitionState>, IsrChangeError> {
        let broker = self.context.brokers.get(&change.broker).ok_or(IsrChangeError::StaleBroker)?;
        if broker.epoch != change.broker_epoch {
            return Err(IsrChangeError::StaleBroker);
        }
        let (topic, partition) = &change.partition;
        if self.context.topic_id(topic) != change.topic_id {
            return Err(IsrChangeError::UnknownPartition);
        }
        let known = self.context.lasting_state(&change.partition).ok_or(IsrChangeError::UnknownPartition)?;
        if change.leader_epoch > known.leader_epoch || change.version > known.version {
            return Err(IsrChangeError::NotController);
        }
        if change.leader_epoch < known.leader_epoch || change.broker != known.leader {
            return Err(IsrChangeError::Fenced);
        }
        if known.isr == change.isr && known.is_recovering == change.is_recovering {
            return Ok(None);
        }
        if change.version < known.version || self.context.busy.contains(&change.partition) {
            return Err(IsrChangeError::VersionConflict);
        }
        let recovers_again = change.is_recovering && !known.is_recovering;
        if recovers_again || (change.is_recovering && change.isr.len() > 1) || change.isr.is_empty() {
            return Err(IsrChangeError::Contradiction);
        }
        let live = self.context.live();
        let replicas = self.replicas(topic, *partition).unwrap_or_default();
        let may_be_in_sync =
            |replica: &i32| *replica == known.leader || live.contains(replica) && replicas.contains(replica);
        if !change.isr.iter().all(may_be_in_sync) {
            return Err(IsrChangeError::Ineligible);
        }
        let (isr, is_recovering) = (change.isr.clone(), change.is_recovering);
        Ok(Some(PartitionState { isr, is_recovering, ..known.clone() }))
    }
}
