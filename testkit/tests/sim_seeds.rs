//! Simulated lives of one server, of ensembles, of groups of consumers and of partitions: the kept seeds, a few hundred fixed ones, and worlds with a mistake
//! built in.

use std::collections::BTreeMap;

use testkit::sim::solo::{Planted, World};
use testkit::sim::trace::Detail;
use testkit::sim::{groups, partition, zab};

fn kept(text: &str) -> Vec<u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let seeds: Vec<u64> = lines
        .map(|line| {
            let seed = line.split(' ').next().unwrap_or_default();
            u64::from_str_radix(seed.trim_start_matches("0x"), 16).expect("a hexadecimal seed")
        })
        .collect();
    assert!(!seeds.is_empty());
    seeds
}

#[test]
fn kept_seeds_and_fixed_ones() {
    let kept = kept(include_str!("../seeds/solo.txt"));
    let mut happened = std::collections::BTreeMap::<&str, u64>::new();
    for seed in kept.into_iter().chain(0x5eed_0000..0x5eed_0000 + 500) {
        let summary = World::run(seed, None, false).unwrap_or_else(|failure| panic!("{failure}"));
        summary.counts.into_iter().for_each(|(what, count)| *happened.entry(what).or_default() += count);
    }
    // A world in which nothing goes wrong proves nothing.
    for what in
        ["cut", "restart", "freeze", "full", "no-space", "bad-sync", "expire", "snapshot-end", "commit"]
    {
        assert!(
            happened.get(what).is_some_and(|count| *count > 20),
            "{what} happened too rarely: {happened:?}"
        );
    }
}

#[test]
fn a_seed_is_the_same_life_every_time() {
    for seed in 0..20 {
        let lives =
            [0, 1].map(|_| World::run(seed, None, false).unwrap_or_else(|failure| panic!("{failure}")));
        assert_eq!(lives[0], lives[1], "seed {seed:#x}");
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for (name, planted) in Planted::ALL {
        let found = (0..200).find_map(|seed| World::run(seed, Some(planted), false).err());
        let invariant = found.unwrap_or_else(|| panic!("{name} was not found")).violation.invariant;
        let expected: &[&str] = match planted {
            Planted::AckBeforeSync | Planted::NoSync => &["C13"],
            Planted::EventAfterReply | Planted::EventLost => &["C11"],
            Planted::EarlyExpiry => &["C10"],
            // The log itself may refuse to go on first.
            Planted::ShortRecovery => &["C13", "assertion"],
        };
        assert!(expected.contains(&invariant), "{name} was found as {invariant}");
    }
}

fn live(seed: u64, planted: Option<zab::Planted>) -> zab::Outcome {
    let options = zab::Options { planted, ..zab::Options::default() };
    zab::World::run(seed, &zab::World::configuration(seed), options)
}

#[test]
fn ensembles_of_kept_seeds_and_fixed_ones() {
    let kept = kept(include_str!("../seeds/zab.txt"));
    let mut reached = BTreeMap::<&str, u64>::new();
    let mut faults = BTreeMap::<&str, u64>::new();
    for seed in kept.into_iter().chain(0x5eed_0000..0x5eed_0000 + 200) {
        let outcome = live(seed, None);
        if outcome.violation.is_some() {
            let options = zab::Options::default();
            let failure = zab::Failure::of(seed, zab::World::configuration(seed), options);
            panic!("{}", failure.expect("a seed that failed fails again"));
        }
        outcome.trace.marks().iter().for_each(|(mark, count)| *reached.entry(mark).or_default() += count);
        outcome.trace.counts().iter().for_each(|(fault, count)| *faults.entry(fault).or_default() += count);
    }
    // A world in which nothing goes wrong proves nothing.
    for fault in zab::Fault::ALL {
        let count = faults.get(fault.name()).copied().unwrap_or_default();
        assert!(count > 5, "{} happened too rarely: {faults:?}", fault.name());
    }
    for mark in [
        "DIFF",
        "TRUNC",
        "SNAP",
        "a leader was deposed",
        "a power cut tore the log",
        "a received snapshot was damaged",
        "a restart executed what was not agreed on",
        "a sync failed",
        "an epoch was accepted twice",
        "committed before the leader's own sync",
        "empty members began",
        "epoch rolled over",
        "leadership confirmed",
        "leadership handed over",
        "what was executed was taken back",
    ] {
        assert!(reached.contains_key(mark), "{mark:?} was never reached: {reached:?}");
    }
}

#[test]
fn an_ensemble_is_the_same_every_time() {
    for seed in 0..20 {
        let [one, other] = [0, 1].map(|_| live(seed, None));
        assert_eq!((one.trace.hash(), one.events), (other.trace.hash(), other.events), "seed {seed:#x}");
    }
}

#[test]
fn every_mistake_planted_in_an_ensemble_is_found() {
    for (name, planted) in zab::Planted::ALL.iter().copied() {
        // Some mistakes can also end in an ensemble that does not serve again; what they break first is what counts.
        let expected: &[&str] = match planted {
            zab::Planted::AckBeforeSync | zab::Planted::SyncRetried => &["C3"],
            zab::Planted::PledgeWhileQueued => &["C5"],
            zab::Planted::MemoryAfterTruncate => &["C1", "C3", "C4"],
            zab::Planted::TornTail => &["C1", "C2", "C3"],
            zab::Planted::RenameWithoutSync => &["C3", "C13"],
            #[cfg(feature = "planted")]
            zab::Planted::EpochBeforeHistory => &["C5"],
            #[cfg(feature = "planted")]
            zab::Planted::CommitsSkipLog => &["C1", "C3", "C4", "C13", "assertion"],
            #[cfg(feature = "planted")]
            zab::Planted::ProposeBeforeSync => &["C1", "C3"],
        };
        let is_found = |seed| {
            let violation = live(seed, Some(planted)).violation;
            violation.is_some_and(|violation| expected.contains(&violation.invariant))
        };
        assert!((0..2000).any(is_found), "{name} was not found");
    }
}

#[test]
fn groups_of_fixed_seeds() {
    let (mut faults, mut reached) = (BTreeMap::new(), BTreeMap::new());
    for seed in 0..400 {
        let outcome = groups::World::run(seed, None, Detail::Last);
        outcome.trace.counts().iter().for_each(|(what, count)| *faults.entry(*what).or_insert(0) += count);
        outcome.trace.marks().iter().for_each(|(what, count)| *reached.entry(*what).or_insert(0) += count);
        assert!(outcome.violation.is_none(), "{}", outcome.report(seed));
    }
    for fault in ["move", "crash", "freeze", "die", "leave", "lost", "late"] {
        assert!(faults.get(fault).is_some_and(|count| *count > 50), "{fault} was too rare: {faults:?}");
    }
    for mark in ["a member got its share", "an old generation was refused", "offsets were read"] {
        assert!(reached.get(mark).is_some_and(|count| *count > 10), "{mark} was too rare: {reached:?}");
    }
}

#[test]
fn a_group_is_the_same_every_time() {
    for seed in 0..20 {
        let [one, other] = [0, 1].map(|_| groups::World::run(seed, None, Detail::None));
        assert_eq!((one.trace.hash(), one.events), (other.trace.hash(), other.events), "seed {seed:#x}");
    }
}

#[test]
fn every_mistake_planted_in_a_group_is_found() {
    for (name, planted) in groups::Planted::ALL.iter().copied() {
        let is_found = |seed| groups::World::run(seed, Some(planted), Detail::None).violation.is_some();
        assert!((0..500).any(is_found), "{name} was not found");
    }
}

#[test]
fn partitions_of_fixed_seeds() {
    let (mut faults, mut reached) = (BTreeMap::new(), BTreeMap::new());
    for seed in 0..300 {
        let outcome = partition::World::run(seed, None, Detail::Last);
        outcome.trace.counts().iter().for_each(|(what, count)| *faults.entry(*what).or_insert(0) += count);
        outcome.trace.marks().iter().for_each(|(what, count)| *reached.entry(*what).or_insert(0) += count);
        assert!(outcome.violation.is_none(), "{}", outcome.report(seed));
    }
    for fault in ["cut", "kill", "power cut", "stop in the middle", "answer lost"] {
        assert!(faults.get(fault).is_some_and(|count| *count > 50), "{fault} was too rare: {faults:?}");
    }
    for mark in ["a duplicate was recognised", "what came late was refused"] {
        assert!(reached.get(mark).is_some_and(|count| *count > 50), "{mark} was too rare: {reached:?}");
    }
    let [one, other] = [0, 1].map(|_| partition::World::run(7, None, Detail::None));
    assert_eq!((one.trace.hash(), one.events), (other.trace.hash(), other.events));
}

#[test]
fn every_mistake_planted_in_a_partition_is_found() {
    for (name, planted) in partition::Planted::ALL.iter().copied() {
        let is_found = |seed| partition::World::run(seed, Some(planted), Detail::None).violation.is_some();
        assert!((0..500).any(is_found), "{name} was not found");
    }
}
