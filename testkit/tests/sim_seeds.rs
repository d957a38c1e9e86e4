//! Simulated lives of one server: the kept seeds, a few hundred fixed ones, and worlds with a mistake built in.

use testkit::sim::world::{Planted, World};

#[test]
fn kept_seeds_and_fixed_ones() {
    let kept: Vec<u64> = include_str!("../seeds/solo.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let seed = line.split(' ').next().unwrap_or_default();
            u64::from_str_radix(seed.trim_start_matches("0x"), 16).expect("a hexadecimal seed")
        })
        .collect();
    assert!(!kept.is_empty());
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
