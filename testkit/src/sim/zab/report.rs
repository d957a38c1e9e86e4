//! The smallest world in which a seed still fails.

use super::{Configuration, Options, World};
use crate::sim::life::Outcome;
use crate::sim::trace::Detail;

/// A promise was broken.
#[derive(Debug)]
pub struct Failure {
    seed: u64,
    options: Options,
    outcome: Outcome<Configuration>,
    /// What was taken away from what the seed drew, to make it smaller.
    without: Vec<String>,
}

impl Failure {
    /// Runs a seed that fails once more, and keeps the last events.
    pub fn of(seed: u64, configuration: &Configuration, options: Options) -> Option<Failure> {
        let options = Options { detail: Detail::Last, ..options };
        let outcome = World::run(seed, configuration, options);
        outcome.violation.is_some().then(|| Failure { seed, options, outcome, without: Vec::new() })
    }

    fn invariant(&self) -> Option<&'static str> {
        self.outcome.violation.as_ref().map(|violation| violation.invariant)
    }

    /// Takes away faults, members, clients and requests, one after the other, as long as the same promise is broken.
    pub fn shrink(self) -> Failure {
        let mut smallest = self;
        'again: loop {
            for (what, simpler) in smallest.outcome.configuration.simpler() {
                let Some(mut failure) = Failure::of(smallest.seed, &simpler, smallest.options) else {
                    continue;
                };
                // Less time is only better if something is left of it.
                if failure.invariant() == smallest.invariant()
                    && failure.outcome.events < smallest.outcome.events * 2
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

    /// The failure in words, with the last events and how to repeat it.
    pub fn report(self) -> String {
        let Failure { seed, options, outcome, without } = self;
        let text = match outcome.configuration.servers {
            None => outcome.report("zab", seed, options.planted),
            Some(_) => outcome.report("ensemble", seed, options.mistake),
        };
        if without.is_empty() { text } else { format!("{text} --shrink\nshrunk: {}", without.join(", ")) }
    }
}
