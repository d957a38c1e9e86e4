//! What to tell about a seed that failed, and the smallest world in which it still does.

use std::fmt;

use super::{Configuration, Options, World};
use crate::check::service::Violation;
use crate::sim::trace::Detail;

/// A promise was broken.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub planted: Option<&'static str>,
    pub step: u64,
    pub time_us: u64,
    pub violation: Violation,
    pub configuration: Configuration,
    /// What was taken away from what the seed drew, to make it smaller.
    pub without: Vec<String>,
    /// What happened before, the last last.
    pub events: Vec<String>,
}

impl Failure {
    /// Runs a seed that fails once more, and keeps the last events.
    pub fn of(seed: u64, configuration: Configuration, options: Options) -> Option<Failure> {
        let outcome = World::run(seed, &configuration, Options { detail: Detail::Last, ..options });
        let planted = super::Planted::ALL.iter().find(|(_, planted)| Some(*planted) == options.planted);
        Some(Failure {
            seed,
            planted: planted.map(|(name, _)| *name),
            step: outcome.events,
            time_us: outcome.time_us,
            violation: outcome.violation?,
            configuration,
            without: Vec::new(),
            events: outcome.trace.into_events(),
        })
    }

    /// Takes away faults, members and requests, one after the other, as long as the same promise is broken.
    pub fn shrink(self, options: Options) -> Failure {
        let mut smallest = self;
        'again: loop {
            for (what, simpler) in smallest.configuration.simpler() {
                let outcome = World::run(smallest.seed, &simpler, options);
                let same = outcome
                    .violation
                    .is_some_and(|violation| violation.invariant == smallest.violation.invariant);
                // Less time is only better if something is left of it.
                if same
                    && outcome.events < smallest.step * 2
                    && let Some(mut failure) = Failure::of(smallest.seed, simpler, options)
                {
                    failure.without = smallest.without;
                    failure.without.push(what);
                    smallest = failure;
                    if smallest.without.len() > 60 {
                        return smallest;
                    }
                    continue 'again;
                }
            }
            return smallest;
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, planted, step, time_us, violation, configuration, without, events } = self;
        let Violation { invariant, what } = violation;
        let seconds = *time_us as f64 / 1e6;
        writeln!(
            f,
            "SIM FAIL scenario=zab seed={seed:#x} step={step} t={seconds:.6}s invariant={invariant} {what}"
        )?;
        writeln!(f, "{configuration:?}")?;
        events.iter().try_for_each(|event| writeln!(f, "  {event}"))?;
        if !without.is_empty() {
            writeln!(f, "shrunk: {}", without.join(", "))?;
        }
        write!(f, "replay: cargo run -p testkit --bin sim -- zab --seed {seed:#x}")?;
        if let Some(planted) = planted {
            write!(f, " --plant {planted}")?;
        }
        if !without.is_empty() {
            write!(f, " --shrink")?;
        }
        Ok(())
    }
}
