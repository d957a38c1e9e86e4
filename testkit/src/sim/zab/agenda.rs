//! What is going to happen, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use coordinator::zab::Input;

use super::faults::Partition;
use super::servers::Passing;

/// A member by its place in the world's list; its number is something else.
pub(super) type At = usize;

/// One thing that is going to happen. What belongs to a life of a process that is over by then does not.
#[derive(Debug)]
pub(super) enum Happening {
    /// A process handles what has come in.
    Turn { at: At, life: u64 },
    /// Its timer fires.
    Tick { at: At, life: u64 },
    /// Something reaches a member from another one.
    Arrive { from: At, to: At, token: u64 },
    /// One of two members tries to connect to the other.
    Dial { low: At, high: At },
    /// The log's thread is done with what it does.
    LogDone { at: At, life: u64 },
    /// A snapshot of its own is written.
    SnapshotDone { at: At, life: u64 },
    /// Something outside the log is done.
    Later { at: At, life: u64, input: Box<Input> },
    /// A process starts again.
    Start { at: At },
    /// Something goes wrong.
    Fault,
    /// A partition ends.
    Heal(Box<Partition>),
    /// Clients ask for something.
    Work,
    /// The members are changed.
    Change,
    /// A client does something, or something reaches it or its server.
    Client(Passing),
    /// After the faults: is everything well again?
    Probe,
    /// Time has come this far.
    Nothing,
}

#[derive(Debug)]
struct Scheduled {
    time_us: u64,
    sequence: u64,
    happening: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.time_us, self.sequence).cmp(&(other.time_us, other.sequence))
    }
}

/// The clock that all share, and what it will bring, ordered by time and then by when it was planned.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    now_us: u64,
}

impl Agenda {
    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Plans something in so many microseconds.
    pub(super) fn after(&mut self, us: u64, happening: Happening) {
        self.at(self.now_us + us, happening);
    }

    /// Plans something at a time, or at once if that is over.
    pub(super) fn at(&mut self, time_us: u64, happening: Happening) {
        self.sequence += 1;
        let time_us = time_us.max(self.now_us);
        self.heap.push(Reverse(Scheduled { time_us, sequence: self.sequence, happening }));
    }

    /// The next thing that happens; the clock is at its time then.
    pub(super) fn next(&mut self) -> Option<Happening> {
        let Reverse(next) = self.heap.pop()?;
        self.now_us = next.time_us;
        Some(next.happening)
    }

    /// The next thing that happens before a time.
    pub(super) fn next_until(&mut self, end_us: u64) -> Option<Happening> {
        let Reverse(next) = self.heap.peek()?;
        if next.time_us > end_us { None } else { self.next() }
    }
}
