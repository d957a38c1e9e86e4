//! Foreign clients against our coordinator, one test per client.
//!
//! They need other languages' tools and the public registries, so they run only when `TESTKIT_REQUIRE` says so.
//! `cargo run -p testkit --bin interop` runs the same suites, against either server.

use testkit::interop;
use testkit::process::{Kind, Target, skip_or_fail};

fn check(name: &str) {
    let suite = interop::suite(name).expect("a suite of that name");
    if !skip_or_fail(name, suite.needs) {
        return;
    }
    let summary = interop::run(suite, Target::one(Kind::Coordinator));
    assert!(summary.passed > 0, "{name} checked nothing");
    assert_eq!(summary.failed, 0, "{name}: see the lines that start with FAIL");
}

#[test]
fn kazoo() {
    check("kazoo");
}

#[test]
fn java_3_4() {
    check("java-3.4");
}

#[test]
fn java_3_5() {
    check("java-3.5");
}

#[test]
fn java_3_9() {
    check("java-3.9");
}

#[test]
fn curator() {
    check("curator");
}

#[test]
fn contention() {
    check("contention");
}

#[test]
fn go_zookeeper() {
    check("go");
}

#[test]
fn zkcli() {
    check("zkcli");
}
