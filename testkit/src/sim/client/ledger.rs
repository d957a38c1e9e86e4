//! What clients were told, and what they must not be told.

use std::collections::{BTreeMap, BTreeSet};

use client::zk::Error;
use coordinator::tree::Tree;
use coordinator::tree::znode::Znode;

use super::meetings::{Gate, Meetings};
use super::mirrors::Mirrors;
use super::turns::{Right, Turns};
use super::{COUNTER, JOBS, LEADER, LETTERS, LOCK, READERS_AND_WRITERS, SELECTOR};
use crate::check::service::Violation;

/// How often something was tried, and how it went.
#[derive(Debug, Default)]
struct Tries {
    started: BTreeSet<u64>,
    done: BTreeSet<u64>,
    /// Certainly not done.
    failed: BTreeSet<u64>,
}

impl Tries {
    fn told(&mut self, element: u64, result: Result<(), &Error>) {
        match result {
            Ok(()) => drop(self.done.insert(element)),
            Err(Error::UnknownOutcome) => {}
            Err(_) => drop(self.failed.insert(element)),
        }
    }

    fn may_be_done(&self, element: u64) -> bool {
        self.started.contains(&element) && !self.failed.contains(&element)
    }
}

/// Everything that was told so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The first promise that somebody saw broken.
    pub(super) broken: Option<Violation>,
    pub(super) turns: Turns,
    pub(super) gate: Gate,
    pub(super) meetings: Meetings,
    pub(super) mirrors: Mirrors,
    /// Rare places, since they were last looked at.
    pub(super) reached: Vec<&'static str>,
    /// The writes that changed the counter.
    commits: Vec<u64>,
    /// The last of them that each watcher knows.
    known: BTreeMap<usize, u64>,
    additions: Tries,
    sums: BTreeSet<i64>,
    letters: Tries,
    taken: BTreeSet<u64>,
    /// Attempts to take that nobody knows the end of.
    takes: u64,
    takes_told: u64,
    jobs: Tries,
    held: BTreeSet<u64>,
    consumed: BTreeSet<u64>,
    /// Requests that wait for their verdict, by process.
    waiting: BTreeMap<usize, u64>,
}

impl Ledger {
    pub(super) fn breaks(&mut self, invariant: &'static str, what: String) {
        self.broken.get_or_insert(Violation { invariant, what });
    }

    // ---- whose turn it is ----

    pub(super) fn claims(&mut self, at: usize, path: &'static str, right: Right, fence: u64) {
        self.reached.push(match path {
            LOCK => "the lock was got",
            LEADER => "leadership was got",
            SELECTOR => "somebody was selected",
            READERS_AND_WRITERS if right == Right::Beside => "somebody reads",
            READERS_AND_WRITERS => "somebody writes",
            _ => "a lease was got",
        });
        if !self.turns.claims(at, path, right, fence) {
            self.breaks("lock", format!("the fence {fence:#x} was given out twice"));
        }
    }

    /// A holder hears that it is none any more.
    pub(super) fn loses(&mut self, fence: u64) {
        self.reached.push("what was held was lost");
        self.turns.gives_up(fence);
    }

    pub(super) fn writes(&mut self, path: &'static str, fence: u64) {
        if !self.turns.writes(path, fence) {
            self.reached.push("a late holder was refused");
        }
    }

    // ---- the counter ----

    pub(super) fn counter_changed(&mut self, zxid: u64) {
        self.commits.push(zxid);
    }

    pub(super) fn adds(&mut self) -> u64 {
        let number = self.additions.started.len() as u64;
        self.additions.started.insert(number);
        number
    }

    pub(super) fn added(&mut self, number: u64, result: &Result<i64, Error>) {
        self.additions.told(number, result.as_ref().map(drop));
        if *result == Err(Error::UnknownOutcome) {
            self.reached.push("an outcome is unknown");
        }
        if let Ok(sum) = result
            && !self.sums.insert(*sum)
        {
            self.breaks("counter", format!("two additions came to {sum}"));
        }
    }

    /// A watcher sees a change after another one, and was told of no gap in between.
    pub(super) fn sees(&mut self, before: u64, after: u64) {
        self.reached.push("a watch told the next change");
        let missed = self.commits.iter().find(|commit| before < **commit && **commit < after);
        if let Some(missed) = missed.copied() {
            self.breaks("watch", format!("after {before:#x} comes {after:#x}, and {missed:#x} was not told"));
        }
    }

    pub(super) fn knows(&mut self, at: usize, zxid: u64) {
        self.known.insert(at, zxid);
    }

    // ---- queues ----

    pub(super) fn puts_letter(&mut self) -> u64 {
        let letter = self.letters.started.len() as u64;
        self.letters.started.insert(letter);
        letter
    }

    pub(super) fn letter_put(&mut self, letter: u64, result: &Result<(), Error>) {
        self.letters.told(letter, result.as_ref().copied());
    }

    pub(super) fn takes(&mut self) {
        self.takes += 1;
    }

    /// `None`: there was nothing, or nothing was taken.
    pub(super) fn took(&mut self, letter: Option<u64>) {
        self.takes_told += 1;
        let Some(letter) = letter else { return };
        if !self.taken.insert(letter) {
            self.breaks("queue", format!("letter {letter} was taken twice"));
        }
        if !self.letters.may_be_done(letter) {
            self.breaks("queue", format!("letter {letter} was taken, and never put in"));
        }
    }

    pub(super) fn puts_job(&mut self) -> u64 {
        let job = self.jobs.started.len() as u64;
        self.jobs.started.insert(job);
        job
    }

    pub(super) fn job_put(&mut self, job: u64, result: &Result<(), Error>) {
        self.jobs.told(job, result.as_ref().copied());
    }

    /// How many jobs were begun to be put in, and are not known to be done.
    pub(super) fn jobs_waiting(&self) -> usize {
        (self.jobs.started.len() - self.jobs.failed.len()).saturating_sub(self.consumed.len())
    }

    pub(super) fn holds_job(&mut self, job: u64) {
        if !self.held.insert(job) {
            self.reached.push("a job was had before");
        }
        if !self.jobs.may_be_done(job) {
            self.breaks("queue", format!("job {job} is there, and was never put in"));
        }
    }

    pub(super) fn job_consumed(&mut self, job: u64) {
        if !self.consumed.insert(job) {
            self.breaks("queue", format!("job {job} was consumed twice"));
        }
    }

    // ---- requests ----

    pub(super) fn asks(&mut self, at: usize, requests: u64) {
        *self.waiting.entry(at).or_default() += requests;
    }

    pub(super) fn hears(&mut self, at: usize) {
        *self.waiting.entry(at).or_default() -= 1;
    }

    /// A read in the order of one session: everything that was acknowledged before, and nothing that was asked after it.
    pub(super) fn reads(&mut self, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            self.breaks("session", format!("a read between {least} and {most} says {value}"));
        }
    }

    // ---- the world ----

    /// What a process knew is gone with it.
    pub(super) fn killed(&mut self, at: usize) {
        self.turns.killed(at);
        self.gate.killed(at);
        self.meetings.killed(at);
        self.mirrors.killed(at);
        self.waiting.remove(&at);
        self.known.remove(&at);
    }

    /// Why not everything is as it should be in the end.
    pub(super) fn unsettled(&self, tree: &Tree, clients: usize) -> Result<(), String> {
        self.turns.unsettled(tree)?;
        self.gate.unsettled()?;
        self.mirrors.unsettled(tree, clients)?;
        if let Some((at, count)) = self.waiting.iter().find(|(_, count)| **count > 0) {
            return Err(format!("process {at} waits for {count} verdicts"));
        }
        let last = self.commits.last().copied().unwrap_or_default();
        if let Some((at, known)) = self.known.iter().find(|(_, known)| **known != last) {
            return Err(format!("process {at} knows {known:#x} of the counter, the last is {last:#x}"));
        }
        let counter = tree.lookup(COUNTER).and_then(|id| tree.node(id).data()?.try_into().ok());
        let counter = counter.map_or(0, i64::from_be_bytes);
        let Tries { started, done, failed } = &self.additions;
        let possible = done.len() as i64..=(started.len() - failed.len()) as i64;
        if !possible.contains(&counter) {
            return Err(format!("the counter is {counter}, and should be in {possible:?}"));
        }
        let left: BTreeSet<u64> = elements(tree, LETTERS);
        let gone = self
            .letters
            .done
            .iter()
            .filter(|letter| !left.contains(*letter) && !self.taken.contains(*letter));
        let (gone, unknown) = (gone.count() as u64, self.takes - self.takes_told);
        if gone > unknown {
            return Err(format!("{gone} letters are lost, and only {unknown} takes are unknown"));
        }
        let waiting = elements(tree, &format!("{JOBS}/entries"));
        if let Some(job) = waiting.first() {
            return Err(format!("job {job} is not done"));
        }
        match self.jobs.done.iter().find(|job| !self.held.contains(*job)) {
            Some(job) => Err(format!("job {job} is lost")),
            None => Ok(()),
        }
    }
}

pub(super) fn children<'t>(tree: &'t Tree, path: &str) -> Vec<&'t Znode> {
    tree.lookup(path).map(|id| tree.children(id).collect()).unwrap_or_default()
}

/// Those who stand in a line, in order of their numbers.
pub(super) fn line<'t>(tree: &'t Tree, path: &str) -> Vec<&'t Znode> {
    let mut line = children(tree, path);
    let digits = |name: &str| name[name.len().saturating_sub(10)..].to_owned();
    line.sort_by_key(|node| digits(node.name_str()));
    line
}

fn elements(tree: &Tree, path: &str) -> BTreeSet<u64> {
    children(tree, path).into_iter().filter_map(|node| number(node.data().unwrap_or_default())).collect()
}

/// The number that an element stands for.
pub(super) fn number(data: &[u8]) -> Option<u64> {
    std::str::from_utf8(data).ok()?.parse().ok()
}
