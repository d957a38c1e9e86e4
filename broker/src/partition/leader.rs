//! What a leader knows of its followers, and what follows from it.

use std::collections::BTreeMap;

use crate::cluster::PartitionState;

/// Why a request of a client is not for this leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The client knows an earlier leader than this one.
    Fenced,
    /// The client knows a later leader than this one does.
    Unknown,
    /// Fewer replicas are in sync than the topic asks for.
    NotEnoughReplicas,
}

/// The right to append to a partition, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    me: i32,
    state: PartitionState,
    /// Where the log ended when this leadership began: nothing before was written under it.
    start_offset: i64,
    /// How far each follower has got, as far as it said.
    followers: BTreeMap<i32, i64>,
    high_watermark: i64,
}

impl Leadership {
    /// `log_end` and `high_watermark` as they are when it begins.
    pub fn new(me: i32, state: PartitionState, log_end: i64, high_watermark: i64) -> Leadership {
        let followers = BTreeMap::new();
        let mut leadership = Leadership { me, state, start_offset: log_end, followers, high_watermark };
        leadership.advance(log_end);
        leadership
    }

    pub fn state(&self) -> &PartitionState {
        &self.state
    }

    /// Where this leadership's own records begin.
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// Everything before it is safe and may be read.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The same leadership, with other replicas in sync. Returns whether the high watermark moved.
    pub fn update(&mut self, state: PartitionState, log_end: i64) -> bool {
        self.state = state;
        self.advance(log_end)
    }

    /// The log ends there now. Returns whether the high watermark moved.
    pub fn advance(&mut self, log_end: i64) -> bool {
        let end_of = |replica: &i32| {
            if *replica == self.me { log_end } else { self.followers.get(replica).copied().unwrap_or(0) }
        };
        let safe = self.state.isr.iter().map(end_of).min().unwrap_or(self.high_watermark);
        let moves = safe > self.high_watermark;
        self.high_watermark = self.high_watermark.max(safe);
        moves
    }

    /// Whether a client that knows this epoch may speak with this leader; most do not say.
    pub fn check_epoch(&self, known: Option<i32>) -> Result<(), Refusal> {
        match known {
            Some(epoch) if epoch < self.state.leader_epoch => Err(Refusal::Fenced),
            Some(epoch) if epoch > self.state.leader_epoch => Err(Refusal::Unknown),
            _ => Ok(()),
        }
    }

    /// Whether enough replicas are in sync for a record that all of them shall have.
    pub fn check_in_sync(&self, min: usize) -> Result<(), Refusal> {
        if self.state.isr.len() >= min { Ok(()) } else { Err(Refusal::NotEnoughReplicas) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(leader_epoch: i32, isr: &[i32]) -> PartitionState {
        PartitionState {
            controller_epoch: 1,
            leader: 1,
            leader_epoch,
            isr: isr.to_vec(),
            is_recovering: false,
            version: 0,
        }
    }

    #[test]
    fn alone_everything_is_safe_at_once() {
        let mut alone = Leadership::new(1, state(3, &[1]), 10, 4);
        assert_eq!((alone.high_watermark(), alone.start_offset()), (10, 10));
        assert!(alone.advance(12));
        assert_eq!(alone.high_watermark(), 12);
        assert!(!alone.advance(12));
    }

    #[test]
    fn a_follower_in_sync_holds_the_high_watermark_back_until_it_leaves() {
        let mut two = Leadership::new(1, state(3, &[1, 2]), 10, 4);
        assert_eq!(two.high_watermark(), 4, "it never goes back, and waits for the follower");
        assert!(two.update(state(3, &[1]), 10));
        assert_eq!(two.high_watermark(), 10);
    }

    #[test]
    fn other_epochs_are_told_apart() {
        let leader = Leadership::new(1, state(3, &[1]), 0, 0);
        assert_eq!(leader.check_epoch(None), Ok(()));
        assert_eq!(leader.check_epoch(Some(3)), Ok(()));
        assert_eq!(leader.check_epoch(Some(2)), Err(Refusal::Fenced));
        assert_eq!(leader.check_epoch(Some(4)), Err(Refusal::Unknown));
        assert_eq!(leader.check_in_sync(2), Err(Refusal::NotEnoughReplicas));
    }
}
