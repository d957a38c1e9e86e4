//! Who should lead a partition?

use std::collections::BTreeSet;

use client::wire::kafka::ErrorCode;

use crate::cluster::{NO_LEADER, PartitionState};

/// The state of a partition that has none yet: led by the first replica that is alive, all living ones in sync.
pub(super) fn first(replicas: &[i32], live: &BTreeSet<i32>) -> Option<PartitionState> {
    let isr: Vec<i32> = replicas.iter().copied().filter(|replica| live.contains(replica)).collect();
    let leader = *isr.first()?;
    Some(PartitionState {
        controller_epoch: 0,
        leader,
        leader_epoch: 0,
        isr,
        is_recovering: false,
        version: 0,
    })
}

/// The state once only `live` brokers are there; `None` if nothing changes.
///
/// The dead leave the in-sync set, unless nobody would be left in it: they hold everything that was acknowledged, and one of
/// them must come back, unless `may_lose` says that another replica may lead without them.
pub(super) fn after_deaths(
    state: &PartitionState,
    replicas: &[i32],
    live: &BTreeSet<i32>,
    may_lose: bool,
) -> Option<PartitionState> {
    let in_sync: Vec<i32> = state.isr.iter().copied().filter(|replica| live.contains(replica)).collect();
    let mut next = state.clone();
    if live.contains(&state.leader) {
        next.isr = in_sync;
    } else if let Some(&leader) = replicas.iter().find(|replica| in_sync.contains(replica)) {
        next.leader = leader;
        next.isr = in_sync;
    } else if let Some(&leader) = replicas.iter().find(|replica| may_lose && live.contains(replica)) {
        next.leader = leader;
        next.isr = vec![leader];
        next.is_recovering = true;
    } else {
        next.leader = NO_LEADER;
    }
    (next != *state).then(|| with_next_epoch(next))
}

/// The state with the preferred replica as leader; `None` if it cannot lead, or does already.
fn preferred(state: &PartitionState, replicas: &[i32], live: &BTreeSet<i32>) -> Option<PartitionState> {
    let &first = replicas.first()?;
    let can_lead = live.contains(&first) && state.isr.contains(&first);
    (can_lead && state.leader != first)
        .then(|| with_next_epoch(PartitionState { leader: first, ..state.clone() }))
}

/// An election that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica is to lead, if it is in sync.
    Preferred,
    /// Anybody who lives is to lead a partition without a leader, even one that lacks records.
    Unclean,
}

impl Election {
    /// The state with another leader; `None` if there is nobody.
    pub(super) fn next(
        self,
        state: &PartitionState,
        replicas: &[i32],
        live: &BTreeSet<i32>,
    ) -> Option<PartitionState> {
        match self {
            Election::Preferred => preferred(state, replicas, live),
            Election::Unclean => {
                after_deaths(state, replicas, live, true).filter(|next| next.leader != NO_LEADER)
            }
        }
    }

    pub(super) fn is_needed(self, state: &PartitionState, replicas: &[i32], live: &BTreeSet<i32>) -> bool {
        match self {
            Election::Preferred => replicas.first() != Some(&state.leader),
            Election::Unclean => !live.contains(&state.leader),
        }
    }

    /// What is said of a partition for which there is nobody.
    pub(super) fn unavailable(self) -> ErrorCode {
        match self {
            Election::Preferred => ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
            Election::Unclean => ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
        }
    }
}

/// The state once `leaving` is gone by its own wish, or `None` if it need not change.
pub(super) fn without(
    state: &PartitionState,
    replicas: &[i32],
    live: &BTreeSet<i32>,
    leaving: i32,
) -> Option<PartitionState> {
    let isr: Vec<i32> = state.isr.iter().copied().filter(|&replica| replica != leaving).collect();
    if isr.len() == state.isr.len() {
        return None;
    }
    let leader = if state.leader == leaving {
        *replicas.iter().find(|replica| isr.contains(replica) && live.contains(replica))?
    } else if isr.is_empty() {
        return None;
    } else {
        state.leader
    };
    Some(with_next_epoch(PartitionState { leader, isr, ..state.clone() }))
}

fn with_next_epoch(state: PartitionState) -> PartitionState {
    PartitionState { leader_epoch: state.leader_epoch.saturating_add(1), ..state }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(leader: i32, isr: &[i32]) -> PartitionState {
        PartitionState {
            controller_epoch: 1,
            leader,
            leader_epoch: 7,
            isr: isr.to_vec(),
            is_recovering: false,
            version: 3,
        }
    }

    fn live(brokers: &[i32]) -> BTreeSet<i32> {
        brokers.iter().copied().collect()
    }

    #[test]
    fn a_new_partition_is_led_by_the_first_that_lives() {
        let first = first(&[1, 2, 3], &live(&[2, 3])).expect("somebody lives");
        assert_eq!((first.leader, first.isr, first.leader_epoch), (2, vec![2, 3], 0));
        assert_eq!(super::first(&[1], &live(&[2])), None);
    }

    #[test]
    fn a_dead_leader_is_followed_by_the_first_in_sync() {
        let next = after_deaths(&state(1, &[1, 3]), &[1, 2, 3], &live(&[2, 3]), false).expect("a change");
        assert_eq!((next.leader, next.isr, next.leader_epoch), (3, vec![3], 8));
    }

    #[test]
    fn nobody_leads_while_only_the_dead_hold_everything() {
        let next = after_deaths(&state(1, &[1]), &[1, 2], &live(&[2]), false).expect("a change");
        assert_eq!((next.leader, next.isr.clone(), next.leader_epoch), (NO_LEADER, vec![1], 8));
        assert_eq!(after_deaths(&next, &[1, 2], &live(&[2]), false), None, "it stays so");
        let back = after_deaths(&next, &[1, 2], &live(&[1, 2]), false).expect("a change");
        assert_eq!((back.leader, back.isr, back.leader_epoch), (1, vec![1], 9));
        let unclean = after_deaths(&next, &[1, 2], &live(&[2]), true).expect("a change");
        assert_eq!((unclean.leader, unclean.isr, unclean.is_recovering), (2, vec![2], true));
    }

    #[test]
    fn a_dead_follower_leaves_the_set() {
        let next = after_deaths(&state(1, &[1, 2]), &[1, 2], &live(&[1]), false).expect("a change");
        assert_eq!((next.leader, next.isr, next.leader_epoch), (1, vec![1], 8));
        assert_eq!(after_deaths(&state(1, &[1]), &[1, 2], &live(&[1]), false), None);
    }

    #[test]
    fn the_preferred_replica_leads_only_in_sync() {
        assert_eq!(preferred(&state(2, &[2]), &[1, 2], &live(&[1, 2])), None);
        let next = preferred(&state(2, &[2, 1]), &[1, 2], &live(&[1, 2])).expect("a change");
        assert_eq!((next.leader, next.leader_epoch), (1, 8));
    }

    #[test]
    fn who_leaves_hands_over_unless_it_is_the_last() {
        let next = without(&state(1, &[1, 2]), &[1, 2], &live(&[1, 2]), 1).expect("a change");
        assert_eq!((next.leader, next.isr), (2, vec![2]));
        assert_eq!(without(&state(1, &[1]), &[1, 2], &live(&[1, 2]), 1), None);
        assert_eq!(without(&state(1, &[1]), &[1, 2], &live(&[1, 2]), 2), None);
    }
}
