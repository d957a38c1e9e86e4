//! An unmodified Apache Kafka broker that keeps its metadata with us, and Kafka tools that write znodes.

use anyhow::{Result, bail};

use super::foreign::Report;
use crate::process::Kind;

pub(super) fn run(_kind: Kind) -> Result<Report> {
    bail!("not yet")
}

pub(super) fn run_1_1(_kind: Kind) -> Result<Report> {
    bail!("not yet")
}
