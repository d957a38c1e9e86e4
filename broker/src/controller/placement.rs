//! Which brokers should hold the partitions of a new topic?

use std::collections::BTreeMap;

/// Why replicas cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error("the number of partitions must be at least 1")]
    NoPartitions,
    #[error("the replication factor must be at least 1")]
    NoReplicas,
    #[error("the replication factor {asked} is larger than the number of brokers, {brokers}")]
    TooManyReplicas { asked: usize, brokers: usize },
}

/// Spreads `count` partitions, the first of them numbered `first`, over `brokers` (each with its rack).
///
/// Leaders go round the brokers from `start`; the other replicas follow at a distance that grows with every round, so
/// that the partitions of a dead broker are taken over by many. If all brokers name racks, neighbours in the circle are
/// in different racks, and no rack gets a second replica while another has none.
pub fn place(
    brokers: &BTreeMap<i32, Option<String>>,
    first: i32,
    count: i32,
    replicas: usize,
    start: usize,
) -> Result<BTreeMap<i32, Vec<i32>>, PlacementError> {
    if count < 1 {
        return Err(PlacementError::NoPartitions);
    }
    if replicas < 1 {
        return Err(PlacementError::NoReplicas);
    }
    if replicas > brokers.len() {
        return Err(PlacementError::TooManyReplicas { asked: replicas, brokers: brokers.len() });
    }
    let circle = interleaved_by_rack(brokers);
    let racks = brokers.values().collect::<std::collections::BTreeSet<_>>().len();
    let knows_racks = brokers.values().all(Option::is_some);
    let size = circle.len();
    let mut placed = BTreeMap::new();
    for index in 0..count as usize {
        let partition = first + index as i32;
        let leader = (start + partition as usize) % size;
        let shift = start + partition as usize / size;
        let mut chosen = vec![circle[leader]];
        let mut step = 0;
        // Two rounds: in the first, racks that have a replica already are left out while others are free.
        while chosen.len() < replicas {
            let candidate = circle[(leader + 1 + (shift + step) % (size - 1).max(1)) % size];
            let taken_racks: std::collections::BTreeSet<_> = chosen.iter().map(|id| &brokers[id]).collect();
            let crowds =
                knows_racks && taken_racks.len() < racks && taken_racks.contains(&brokers[&candidate]);
            if !chosen.contains(&candidate) && !crowds {
                chosen.push(candidate);
            }
            step += 1;
        }
        placed.insert(partition, chosen);
    }
    Ok(placed)
}

/// The brokers in a circle: one of each rack in turn, in the order of their ids.
fn interleaved_by_rack(brokers: &BTreeMap<i32, Option<String>>) -> Vec<i32> {
    if brokers.values().any(Option::is_none) {
        return brokers.keys().copied().collect();
    }
    let mut racks: BTreeMap<&Option<String>, Vec<i32>> = BTreeMap::new();
    for (&id, rack) in brokers {
        racks.entry(rack).or_default().push(id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|index| racks.values().filter_map(move |ids| ids.get(index).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(racks: &[(i32, Option<&str>)]) -> BTreeMap<i32, Option<String>> {
        racks.iter().map(|&(id, rack)| (id, rack.map(str::to_owned))).collect()
    }

    #[test]
    fn leaders_and_followers_are_spread() {
        let five = brokers(&[(0, None), (1, None), (2, None), (3, None), (4, None)]);
        let placed = place(&five, 0, 10, 3, 0).expect("room");
        for leader in 0..5 {
            assert_eq!(placed.values().filter(|replicas| replicas[0] == leader).count(), 2);
        }
        for replicas in placed.values() {
            let distinct: std::collections::BTreeSet<_> = replicas.iter().collect();
            assert_eq!(distinct.len(), 3);
        }
        assert_ne!(placed[&0][1] - placed[&0][0], placed[&5][1] - placed[&5][0], "the distance grows");
    }

    #[test]
    fn racks_share_no_partition_while_others_are_free() {
        let racks =
            [(0, Some("a")), (1, Some("a")), (2, Some("b")), (3, Some("b")), (4, Some("c")), (5, Some("c"))];
        let six = brokers(&racks);
        for replicas in place(&six, 0, 12, 3, 4).expect("room").values() {
            let distinct: std::collections::BTreeSet<_> = replicas.iter().map(|id| &six[id]).collect();
            assert_eq!(distinct.len(), 3, "{replicas:?}");
        }
    }

    #[test]
    fn one_broker_holds_everything() {
        let placed = place(&brokers(&[(7, None)]), 3, 2, 1, 12345).expect("room");
        assert_eq!(placed, BTreeMap::from([(3, vec![7]), (4, vec![7])]));
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let one = brokers(&[(1, None)]);
        assert_eq!(place(&one, 0, 1, 2, 0), Err(PlacementError::TooManyReplicas { asked: 2, brokers: 1 }));
        assert_eq!(place(&one, 0, 0, 1, 0), Err(PlacementError::NoPartitions));
        assert_eq!(place(&one, 0, 1, 0, 0), Err(PlacementError::NoReplicas));
    }
}
