//! Who belongs to the ensemble, and how many of them are enough?

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::MemberId;

/// A member with a voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// Zero: it votes, but its voice has no weight, and it never leads.
    pub weight: u32,
    /// The group it belongs to, when there are groups.
    pub group: Option<u32>,
}

impl Default for Voter {
    fn default() -> Voter {
        Voter { weight: 1, group: None }
    }
}

/// The members of an ensemble.
///
/// Without groups, members that hold more than half of the weight are enough. With groups, more than half of the groups
/// (those whose weight is zero left out) must be won, and a group is won by more than half of its weight.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Membership {
    pub voters: BTreeMap<MemberId, Voter>,
    pub observers: BTreeSet<MemberId>,
}

impl Membership {
    /// Voters of equal weight.
    pub fn of_voters(ids: impl IntoIterator<Item = MemberId>) -> Membership {
        Membership {
            voters: ids.into_iter().map(|id| (id, Voter::default())).collect(),
            observers: BTreeSet::new(),
        }
    }

    pub fn contains(&self, id: MemberId) -> bool {
        self.is_voter(id) || self.observers.contains(&id)
    }

    pub fn is_voter(&self, id: MemberId) -> bool {
        self.voters.contains_key(&id)
    }

    /// Whether it may lead.
    pub fn may_lead(&self, id: MemberId) -> bool {
        self.voters.get(&id).is_some_and(|voter| voter.weight > 0)
    }

    /// Everybody, in the order of their numbers.
    pub fn ids(&self) -> impl Iterator<Item = MemberId> + '_ {
        let mut ids: Vec<MemberId> = self.voters.keys().chain(&self.observers).copied().collect();
        ids.sort_unstable();
        ids.into_iter()
    }

    /// Whether those of whom `supports` is true are enough to decide.
    pub fn is_quorum(&self, supports: impl Fn(MemberId) -> bool) -> bool {
        let mut groups: BTreeMap<Option<u32>, (u64, u64)> = BTreeMap::new();
        for (id, voter) in &self.voters {
            let (won, all) = groups.entry(voter.group).or_default();
            *all += u64::from(voter.weight);
            if supports(*id) {
                *won += u64::from(voter.weight);
            }
        }
        groups.retain(|_, (_, all)| *all > 0);
        let won = groups.values().filter(|(won, all)| won * 2 > *all).count();
        won * 2 > groups.len()
    }

    /// Whether all voters are among those of whom `supports` is true.
    pub fn is_unanimous(&self, supports: impl Fn(MemberId) -> bool) -> bool {
        self.voters.keys().all(|id| supports(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enough(membership: &Membership, ids: &[u8]) -> bool {
        membership.is_quorum(|id| ids.contains(&id.0))
    }

    #[test]
    fn more_than_half_is_enough() {
        let three = Membership::of_voters([1, 2, 3].map(MemberId));
        assert!(!enough(&three, &[]));
        assert!(!enough(&three, &[2]));
        assert!(enough(&three, &[1, 3]));
        assert!(!enough(&three, &[1, 7, 8]), "strangers have no voice");
        let four = Membership::of_voters([1, 2, 3, 4].map(MemberId));
        assert!(!enough(&four, &[1, 2]));
        assert!(enough(&four, &[1, 2, 4]));
        assert!(!enough(&Membership::default(), &[1]));
    }

    #[test]
    fn weights_and_groups_count() {
        let mut members = Membership::of_voters([1, 2, 3].map(MemberId));
        members.voters.insert(MemberId(1), Voter { weight: 3, group: None });
        members.voters.insert(MemberId(3), Voter { weight: 0, group: None });
        assert!(enough(&members, &[1]));
        assert!(!enough(&members, &[2, 3]));
        assert!(!members.may_lead(MemberId(3)));

        let mut members = Membership::default();
        for id in 1..=9 {
            members.voters.insert(MemberId(id), Voter { weight: 1, group: Some(u32::from(id - 1) / 3) });
        }
        assert!(enough(&members, &[1, 2, 4, 5]), "two of each in two groups of three");
        assert!(!enough(&members, &[1, 2, 3, 4, 7]), "one group, and a minority in the others");
        for id in 7..=9 {
            members.voters.insert(MemberId(id), Voter { weight: 0, group: Some(2) });
        }
        assert!(!enough(&members, &[1, 2, 7, 8]), "a group without weight is no group");
    }
}
