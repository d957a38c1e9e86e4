//! What a seed came to.

use std::collections::BTreeMap;

use super::Configuration;
use crate::check::service::Violation;

/// What a seed came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The same for the same seed.
    pub trace_hash: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A promise was broken.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// In which step.
    pub step: u64,
    /// When.
    pub time_ms: u64,
    /// What was broken.
    pub violation: Violation,
    /// What the seed drew.
    pub configuration: Configuration,
    /// What happened before, the last last.
    pub events: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failure { seed, step, time_ms, violation, configuration, events } = self;
        let Violation { invariant, what } = violation;
        writeln!(
            f,
            "SIM FAIL scenario=solo seed={seed:#x} step={step} t={time_ms}ms invariant={invariant} {what}"
        )?;
        writeln!(f, "{configuration:?}")?;
        events.iter().try_for_each(|event| writeln!(f, "  {event}"))?;
        write!(f, "replay: cargo run -p testkit --bin sim -- solo --seed {seed:#x} --trace")
    }
}
