//! The bench at its smallest, against our server only, so that it never rots.

use testkit::bench::broker::{BrokerPlan, Maker, run_brokers};
use testkit::bench::clients::{ClientPlan, run_clients};
use testkit::bench::{self, CASES, Plan, Shape};
use testkit::process::Kind;

#[test]
fn every_case_runs() {
    let home = tempfile::tempdir().expect("a directory");
    let plan = Plan {
        seconds: 0.05,
        shapes: vec![Shape { connections: 1, depth: 1 }, Shape { connections: 4, depth: 10 }],
        znodes: 2000,
        idle_sessions: 50,
        watchers: 20,
        starts: 1,
        ..Plan::quick(home.path().to_path_buf())
    };
    let report = bench::run(&plan).expect("the bench runs");
    assert!(report.operations(Kind::Coordinator) > 0, "nothing was measured");
    let text = report.markdown();
    for case in CASES.iter().take(6) {
        assert!(text.contains(&format!("| {case} | 4 × 10 | coordinator |")), "no row for {case}:\n{text}");
    }
    for figure in ["20 watchers", "connect storm", "start to first session", "50 idle", "2000 znodes"] {
        assert!(text.contains(figure), "no figure for {figure}:\n{text}");
    }
}

#[test]
fn every_case_of_ensembles_runs() {
    let home = tempfile::tempdir().expect("a directory");
    let plan = Plan {
        members: 3,
        seconds: 0.05,
        shapes: vec![Shape { connections: 4, depth: 10 }],
        cases: ["set", "get", "gaps", "join"].map(str::to_owned).into(),
        znodes: 2000,
        gaps: 1,
        ..Plan::quick(home.path().to_path_buf())
    };
    let report = bench::run(&plan).expect("the bench runs");
    let text = report.markdown();
    let faults = ["leader killed", "leader frozen", "leader stopped", "follower killed", "leader cut off"];
    let gaps = faults.map(|fault| format!("no writes, {fault}: longest, ms"));
    for figure in gaps.iter().map(String::as_str).chain(["2000 znodes to an empty member"]) {
        assert!(text.contains(figure), "no figure for {figure}:\n{text}");
    }
    assert!(text.contains("| set | 4 × 10 | coordinator |"), "no row for set:\n{text}");
}

#[test]
fn every_case_of_brokers_runs() {
    let home = tempfile::tempdir().expect("a directory");
    let quick = BrokerPlan::quick(home.path().to_path_buf());
    let plan = BrokerPlan {
        seconds: 0.05,
        // The tools are Java programs.
        cases: quick.cases.iter().filter(|case| *case != "tools").cloned().collect(),
        produce: quick.produce.iter().copied().take(2).collect(),
        topic_bytes: 8 << 20,
        rates: vec![200],
        partitions: 100,
        recovery_bytes: 8 << 20,
        ..quick
    };
    let report = run_brokers(&plan).expect("the bench runs");
    assert!(report.operations(Maker::Ours) > 0, "nothing was measured");
    let text = report.markdown();
    for figure in [
        "| produce 100 B in 16 KiB, acks 1, none, 1 p | rookery |",
        "| consume, warm, 4 connections | rookery |",
        "| consume, cold, 1 connection | rookery |",
        "| end to end, 1 KiB, 200 a second | rookery |",
        "first acknowledged record",
        "creating 100 partitions",
        "start after kill -9 to the next record",
    ] {
        assert!(text.contains(figure), "no figure for {figure}:\n{text}");
    }
}

#[test]
fn the_case_of_clients_runs() {
    let home = tempfile::tempdir().expect("a directory");
    let plan = ClientPlan { seconds: 0.05, ..ClientPlan::quick(home.path().to_path_buf()) };
    let text = run_clients(&plan).expect("the bench runs").markdown();
    for row in ["| get | 1000 | rookery |", "| set | 1 | rookery |"] {
        assert!(text.contains(row), "no row {row}:\n{text}");
    }
}
