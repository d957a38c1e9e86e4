//! Simulated lives: the kept seeds, a few hundred fixed ones, and worlds with a mistake built in.

use std::collections::BTreeMap;
use std::fmt::Debug;

use testkit::sim::life::{Mistakes, Outcome};
use testkit::sim::trace::Detail;
use testkit::sim::{client, controller, groups, logs, partition, solo, zab};

type Counts = BTreeMap<&'static str, u64>;

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

/// Lets worlds live in which nothing may break, some of them twice. What happened in all of them, and what was reached.
fn live<M: Mistakes, C: Debug>(
    scenario: &str,
    seeds: impl IntoIterator<Item = u64>,
    run: impl Fn(u64, Option<M>, Detail) -> Outcome<C>,
) -> (Counts, Counts) {
    let (mut happened, mut reached) = (Counts::new(), Counts::new());
    for (index, seed) in seeds.into_iter().enumerate() {
        let outcome = run(seed, None, Detail::None);
        if outcome.violation.is_some() {
            panic!("{}", run(seed, None, Detail::Last).report(scenario, seed, None::<M>));
        }
        if index < 20 {
            let again = run(seed, None, Detail::None);
            let both = [&outcome, &again].map(|outcome| (outcome.trace.hash(), outcome.events));
            assert_eq!(both[0], both[1], "seed {seed:#x} is not the same life every time");
        }
        let trace = &outcome.trace;
        trace.counts().iter().for_each(|(what, count)| *happened.entry(what).or_default() += count);
        trace.marks().iter().for_each(|(what, count)| *reached.entry(what).or_default() += count);
    }
    (happened, reached)
}

/// A world in which nothing goes wrong proves nothing.
fn assert_more_than(least: u64, expected: &[&str], counts: &Counts) {
    for what in expected {
        assert!(counts.get(what).is_some_and(|count| *count > least), "{what} was too rare: {counts:?}");
    }
}

/// Every mistake must be found in one of so many seeds, as a breach of what it is expected to break; of anything if
/// nothing is named.
fn assert_all_found<M: Mistakes, C>(
    seeds: u64,
    expected: impl Fn(M) -> &'static [&'static str],
    run: impl Fn(u64, Option<M>, Detail) -> Outcome<C>,
) {
    for (name, planted) in M::ALL {
        let expected = expected(*planted);
        let is_found = |seed| {
            let violation = run(seed, Some(*planted), Detail::None).violation;
            violation.is_some_and(|found| expected.is_empty() || expected.contains(&found.invariant))
        };
        assert!((0..seeds).any(is_found), "{name} was not found");
    }
}

#[test]
fn lives_of_one_server() {
    let seeds = kept(include_str!("../seeds/solo.txt")).into_iter().chain(0x5eed_0000..0x5eed_0000 + 500);
    let (happened, _) = live("solo", seeds, solo::World::run);
    let faults =
        ["cut", "restart", "freeze", "full", "no-space", "bad-sync", "expire", "snapshot-end", "commit"];
    assert_more_than(20, &faults, &happened);
}

#[test]
fn every_mistake_planted_in_a_server_is_found() {
    for (name, planted) in solo::Planted::ALL {
        let found = (0..200).find_map(|seed| solo::World::run(seed, Some(*planted), Detail::None).violation);
        let invariant = found.unwrap_or_else(|| panic!("{name} was not found")).invariant;
        let expected: &[&str] = match planted {
            solo::Planted::AckBeforeSync | solo::Planted::NoSync => &["C13"],
            solo::Planted::EventAfterReply | solo::Planted::EventLost => &["C11"],
            solo::Planted::EarlyExpiry => &["C10"],
            // The log itself may refuse to go on first.
            solo::Planted::ShortRecovery => &["C13", "assertion"],
        };
        assert!(expected.contains(&invariant), "{name} was found as {invariant}");
    }
}

fn ensemble(seed: u64, planted: Option<zab::Planted>, detail: Detail) -> Outcome<zab::Configuration> {
    let options = zab::Options { planted, detail, ..zab::Options::default() };
    zab::World::run(seed, &zab::World::configuration(seed), options)
}

#[test]
fn lives_of_ensembles() {
    let seeds = kept(include_str!("../seeds/zab.txt")).into_iter().chain(0x5eed_0000..0x5eed_0000 + 200);
    let (happened, reached) = live("zab", seeds, ensemble);
    assert_more_than(5, &zab::Fault::ALL.map(zab::Fault::name), &happened);
    let marks = [
        "DIFF",
        "TRUNC",
        "SNAP",
        "a connection is deaf",
        "a disk was lost where members change",
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
    ];
    assert_more_than(0, &marks, &reached);
}

#[test]
fn every_mistake_planted_in_an_ensemble_is_found() {
    // Some mistakes can also end in an ensemble that does not serve again; what they break first is what counts.
    let expected = |planted| -> &'static [&'static str] {
        match planted {
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
            #[cfg(feature = "planted")]
            zab::Planted::SilentLinksStay => &["C15"],
        }
    };
    assert_all_found(2000, expected, ensemble);
}

#[test]
fn lives_of_servers() {
    let seeds = kept(include_str!("../seeds/ensemble.txt")).into_iter().chain(0..60);
    let (happened, reached) = live("ensemble", seeds, zab::servers::run);
    let faults = ["client-cut", "client-dies", "client-moves", "freeze", "kill", "partition", "power-cut"];
    assert_more_than(5, &faults, &happened);
    let marks = [
        "a client got other members",
        "a client may not read that",
        "a client may not write that",
        "a client was told what it had missed",
        "a leader was deposed",
        "a member learned that it is none any more",
        "a member that was added welcomed a client",
        "a member that was removed welcomed a client",
        "a read showed an earlier state",
        "a session expired",
        "a session was taken to another member",
        "a sync was answered",
        "a watch was triggered",
        "other members were refused: a change is under way",
        "other members were refused: an old version",
        "other members were refused: impossible",
    ];
    assert_more_than(5, &marks, &reached);
    assert_more_than(0, &["other members were refused: not enough in step"], &reached);
}

#[test]
fn every_mistake_planted_in_servers_is_found() {
    use zab::servers::Planted;
    let expected = |planted| -> &'static [&'static str] {
        match planted {
            // Its session sees less than before, or the answer comes before the event.
            Planted::AnswerBeforeExecuted => &["C8", "C11"],
            Planted::SyncUnconfirmed => &["C8"],
            Planted::WatchesLost | Planted::EventAfterReply => &["C11"],
            Planted::TouchesLost | Planted::NoExpiry => &["C10"],
            Planted::MembersByFiles => &["C1", "C3", "C5"],
            Planted::ConfigReadOnce => &["C7", "C8"],
            Planted::IdentitiesLost => &["C2"],
        }
    };
    assert_all_found(400, expected, zab::servers::run);
}

#[test]
fn lives_of_groups() {
    let (happened, reached) = live("groups", 0..400, groups::World::run);
    assert_more_than(50, &["move", "crash", "freeze", "die", "leave", "lost", "late"], &happened);
    let marks = ["a member got its share", "an old generation was refused", "offsets were read"];
    assert_more_than(20, &marks, &reached);
}

#[test]
fn every_mistake_planted_in_a_group_is_found() {
    assert_all_found(500, |_| &[], groups::World::run);
}

#[test]
fn lives_of_partitions() {
    let seeds = kept(include_str!("../seeds/partition.txt")).into_iter().chain(0..300);
    let (happened, reached) = live("partition", seeds, partition::World::run);
    assert_more_than(50, &["cut", "kill", "power cut", "stop in the middle", "answer lost"], &happened);
    assert_more_than(50, &["a duplicate was recognised", "what came late was refused"], &reached);
}

#[test]
fn every_mistake_planted_in_a_partition_is_found() {
    assert_all_found(500, |_| &[], partition::World::run);
}

#[test]
fn lives_of_logs() {
    let seeds = kept(include_str!("../seeds/logs.txt")).into_iter().chain(0..200);
    let (happened, reached) = live("logs", seeds, logs::World::run);
    assert_more_than(
        50,
        &["kill", "power cut", "clean stop", "stop in the middle", "stop in a start"],
        &happened,
    );
    let marks = [
        "a cleaning dropped records",
        "a cleaning found what was not synced",
        "a cleaning met a disk that stopped",
        "a deleted key's last record was gone",
        "a move ended",
        "a move was broken off by a stop",
        "a power cut took records",
    ];
    assert_more_than(20, &marks, &reached);
}

#[cfg(feature = "planted")]
#[test]
fn every_mistake_planted_in_logs_is_found() {
    use logs::Planted;
    let expected = |planted| -> &'static [&'static str] {
        match planted {
            Planted::CleaningPastWatermark | Planted::TombstonesAtOnce => &["B11"],
            // The partition is in two directories, and refused, or the wrong one counts.
            Planted::MoveUnnoted => &["B12"],
            Planted::UnsyncedCleaning => &["B11", "B12"],
        }
    };
    assert_all_found(1000, expected, logs::World::run);
}

const FAULTS_OF_STAGES: &[&str] = &["cut", "stall", "freeze", "kill", "power cut"];

#[test]
fn lives_of_controllers() {
    let seeds = kept(include_str!("../seeds/controller.txt")).into_iter().chain(0..100);
    let (happened, reached) = live("controller", seeds, controller::run);
    assert_more_than(20, FAULTS_OF_STAGES, &happened);
    let marks = [
        "a controller was elected",
        "a topic was deleted",
        "an old tool took an id",
        "another replica leads",
        "the set in sync changed",
    ];
    assert_more_than(10, &marks, &reached);
}

#[test]
fn every_mistake_planted_in_a_controller_is_found() {
    assert_all_found(500, |_| &[], controller::run);
}

#[test]
fn lives_of_clients() {
    let (happened, reached) = live("client", 0..60, client::run);
    assert_more_than(20, FAULTS_OF_STAGES, &happened);
    let marks = [
        "the lock was got",
        "leadership was got",
        "what was held was lost",
        "a watch told the next change",
        "an outcome is unknown",
        "a job was had before",
        "somebody reads",
        "somebody writes",
        "a lease was got",
        "somebody was selected",
        "the gate was passed",
        "a meeting was held",
        "a cache told an event",
    ];
    assert_more_than(20, &marks, &reached);
}

#[test]
fn every_mistake_planted_in_a_client_is_found() {
    assert_all_found(500, |_| &[], client::run);
}
