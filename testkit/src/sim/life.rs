//! How a life is lived, and what is told of it afterwards: the same for all worlds.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::trace::Trace;
use crate::check::service::{Violation, violation};

/// Mistakes that can be built into a world, to see that they are found.
pub trait Mistakes: Copy + PartialEq + 'static {
    /// All of them, by the names of the command line.
    const ALL: &'static [(&'static str, Self)];

    /// What the command line calls it.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, mistake)| *mistake == self).map_or("", |(name, _)| name)
    }
}

/// How a life ended.
#[derive(Debug)]
pub struct Outcome<C> {
    pub violation: Option<Violation>,
    /// What the seed drew.
    pub configuration: C,
    pub events: u64,
    /// How much time passed in the world.
    pub time_us: u64,
    pub trace: Trace,
}

impl<C: Debug> Outcome<C> {
    /// The failure in words, with the last events and how to repeat it.
    pub fn report(self, scenario: &str, seed: u64, planted: Option<impl Mistakes>) -> String {
        let Outcome { violation, configuration, events, time_us, trace } = self;
        let Some(Violation { invariant, what }) = violation else { return "nothing broke".to_owned() };
        let mut text = format!(
            "SIM FAIL scenario={scenario} seed={seed:#x} step={events} t={:.6}s invariant={invariant} {what}\n\
             {configuration:?}\n",
            time_us as f64 / 1e6
        );
        trace.into_events().iter().for_each(|event| text += &format!("  {event}\n"));
        text += &format!("replay: cargo run -p testkit --bin sim -- {scenario} --seed {seed:#x}");
        if let Some(planted) = planted {
            text += &format!(" --plant {}", planted.name());
        }
        text
    }
}

/// What was broken in a life, if anything was. A core that panics breaks something, too.
pub fn broken_in(live: impl FnOnce() -> Result<(), Violation>) -> Option<Violation> {
    let lived = catch_unwind(AssertUnwindSafe(live)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        violation("assertion", text.unwrap_or_default())
    });
    lived.err()
}
