//! Real ensembles under a few faults each, small enough for every change. `cargo run -p testkit --bin faults` has more
//! faults, more time, and Apache ZooKeeper beside ours.

use std::time::Duration;

use testkit::process::faults::{self, Outcome, Settings};
use testkit::process::{Ensemble, Kind, Need, Options, Role, has_or_fails};

fn run(settings: &Settings) -> Outcome {
    let outcome = faults::run(settings).expect("the ensemble starts and the workloads run");
    println!("{outcome}");
    assert!(outcome.violations.is_empty(), "broken promises:\n{outcome}");
    assert!(outcome.operations() > 500, "hardly anything was asked:\n{outcome}");
    outcome
}

/// Bounds are far above what is measured on a quiet machine, and far below what a missed detection would take.
fn assert_gap(outcome: &Outcome, fault: &str, most: f64) {
    let gap = outcome.longest_gap(fault).expect("the fault happened");
    assert!(gap <= Duration::from_secs_f64(most), "{fault}: no writes for {gap:?}");
}

#[test]
fn members_that_die_or_freeze() {
    let faults = ["leader killed", "leader stopped", "leader frozen", "all killed", "follower's disk wiped"];
    let outcome = run(&Settings::once(Kind::Coordinator, 11, &faults));
    assert_gap(&outcome, "leader killed", 2.0);
    assert_gap(&outcome, "leader stopped", 2.0);
    assert_gap(&outcome, "leader frozen", 5.0);
    assert_gap(&outcome, "follower's disk wiped", 2.0);
}

#[test]
fn links_that_break_stall_or_lie() {
    let faults = [
        "leader cut off",
        "leader cut off from one follower",
        "leader mute",
        "bits turned between members",
        "links between members half closed",
        "clients' connections reset",
    ];
    let outcome = run(&Settings::once(Kind::Coordinator, 12, &faults));
    assert_gap(&outcome, "leader cut off", 5.0);
    assert_gap(&outcome, "leader mute", 5.0);
}

#[test]
fn an_observer_follows_and_does_not_vote() {
    let mut ensemble = Ensemble::prepare(Kind::Coordinator, 3, 1, Options::for_tests(), None)
        .expect("directories and ports");
    ensemble.start().expect("all four serve");
    assert_eq!(ensemble.role(3), Some(Role::Observer));
    let leader = ensemble.leader().expect("a leader");
    let follower = (leader + 1) % 3;
    ensemble.member_mut(leader).kill().expect("killed");
    ensemble.await_leader(Duration::from_secs(10)).expect("two of three voters are a quorum");
    ensemble.member_mut(follower).kill().expect("killed");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(ensemble.leader(), None, "one voter and an observer are none");
}

#[test]
fn wall_clocks_that_jump() {
    if !has_or_fails("wall_clocks_that_jump", &[Need::Faketime]) {
        return;
    }
    let faults = ["leader's clock jumps", "follower's clock jumps"];
    let outcome = run(&Settings::once(Kind::Coordinator, 13, &faults));
    faults.iter().for_each(|fault| assert_gap(&outcome, fault, 1.5));
}
