//! Foreign clients against our coordinator, one test per client.
//!
//! They need other languages' tools and the public registries, so they run only when `TESTKIT_REQUIRE` says so.
//! `cargo run -p testkit --bin interop` runs the same suites, against either server.

mod suites;

use suites::check;

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
