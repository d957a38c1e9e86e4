//! Apache Curator 5: framework, recipes and service discovery.

use anyhow::Result;

use crate::process::Target;

use super::foreign::Report;

pub(super) fn run(target: Target) -> Result<Report> {
    super::java::run(target, "curator", &["suites/Checks.java", "suites/CuratorSuite.java"], "CuratorSuite")
}
