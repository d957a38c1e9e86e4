//! Apache Curator 5: framework, recipes and service discovery.

use anyhow::Result;

use super::foreign::Report;
use super::service::Target;

pub(super) fn run(target: Target) -> Result<Report> {
    super::java::run(target, "curator", &["suites/Checks.java", "suites/CuratorSuite.java"], "CuratorSuite")
}
