//! One suite of foreign clients as one test.

use testkit::interop;
use testkit::process::{Kind, Target, skip_or_fail};

/// Runs the suite against our servers; every check of it must hold.
pub(crate) fn check(name: &str) {
    let suite = interop::suite(name).expect("a suite of that name");
    if !skip_or_fail(name, suite.needs) {
        return;
    }
    let summary = interop::run(suite, Target::one(Kind::Coordinator));
    assert!(summary.passed > 0, "{name} checked nothing");
    assert_eq!(summary.failed, 0, "{name}: see the lines that start with FAIL");
}
