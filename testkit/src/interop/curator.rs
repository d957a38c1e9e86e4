//! Apache Curator 5: framework, recipes and service discovery.

use anyhow::Result;

use super::foreign::Report;
use crate::process::Kind;

pub(super) fn run(kind: Kind) -> Result<Report> {
    super::java::run(kind, "curator", &["suites/Checks.java", "suites/CuratorSuite.java"], "CuratorSuite")
}
