//! What happened in a world: a hash of all of it, how often what, and the last events in words.

use std::collections::{BTreeMap, VecDeque};

/// How much of it is put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Nothing: the fastest.
    #[default]
    None,
    /// The last events, for a report.
    Last,
    /// Everything, to standard output at once.
    All,
}

const EVENTS_KEPT: usize = 40;
/// Data is often long and never interesting.
const LINE_CHARS_MAX: usize = 240;

/// The record of a world.
#[derive(Debug, Default)]
pub struct Trace {
    detail: Detail,
    hash: u64,
    counts: BTreeMap<&'static str, u64>,
    marks: BTreeMap<&'static str, u64>,
    events: VecDeque<String>,
}

impl Trace {
    pub fn new(detail: Detail) -> Trace {
        Trace { detail, ..Trace::default() }
    }

    /// The same for the same seed, or something in it is not repeatable.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Something happened that later events depend on.
    pub fn fold(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    /// An event; its line is only made if somebody wants to read it.
    pub fn line(&mut self, line: impl FnOnce() -> String) {
        if self.detail == Detail::None {
            return;
        }
        let line: String = line().chars().take(LINE_CHARS_MAX).collect();
        if self.detail == Detail::All {
            println!("{line}");
        }
        if self.events.len() == EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(line);
    }

    /// Something was done to the world.
    pub fn fault(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// A rare place was reached.
    pub fn mark(&mut self, name: &'static str) {
        self.marks_of(name, 1);
    }

    /// A place was reached so many times.
    pub fn marks_of(&mut self, name: &'static str, count: u64) {
        *self.marks.entry(name).or_default() += count;
    }

    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    pub fn marks(&self) -> &BTreeMap<&'static str, u64> {
        &self.marks
    }

    /// The last events, the last last.
    pub fn events(&self) -> impl Iterator<Item = &String> {
        self.events.iter()
    }

    /// The last events, the last last.
    pub fn into_events(self) -> Vec<String> {
        self.events.into()
    }
}
