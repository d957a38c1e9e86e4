//! Those who wait for each other: at a gate, and at meetings.

use std::collections::BTreeMap;
use std::time::Duration;

use client::zk::{Coordinator, SessionId};
use coordinator::tree::Tree;
use tokio::time::timeout;

use super::actors::Actor;
use super::{GATE, MEETINGS, Planted};
use crate::check::service::{Violation, violation};

/// So many meet.
const MEMBERS: usize = 2;

/// A gate that is closed and opened.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_closed: bool,
    openings: u64,
    waiting: BTreeMap<usize, u64>,
}

impl Gate {
    pub(super) fn committed(&mut self, tree: &Tree) {
        let was_closed = std::mem::replace(&mut self.is_closed, tree.lookup(GATE).is_some());
        self.openings += u64::from(was_closed && !self.is_closed);
    }

    /// Somebody begins to wait: how often the gate must have been opened before it may go on.
    fn comes(&mut self, at: usize) -> u64 {
        *self.waiting.entry(at).or_default() += 1;
        self.openings + u64::from(self.is_closed)
    }

    /// Somebody waits no more. True if it may go on.
    fn goes(&mut self, at: usize, least_openings: u64) -> bool {
        *self.waiting.entry(at).or_default() -= 1;
        self.openings >= least_openings
    }

    pub(super) fn killed(&mut self, at: usize) {
        self.waiting.remove(&at);
    }

    pub(super) fn unsettled(&self) -> Result<(), String> {
        match self.waiting.iter().find(|(_, count)| **count > 0) {
            _ if self.is_closed => Err("the gate is closed".to_owned()),
            Some((at, _)) => Err(format!("process {at} waits at an open gate")),
            None => Ok(()),
        }
    }
}

/// What a party of a meeting does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Coming,
    Inside,
    Going,
}

#[derive(Debug, Default)]
struct Meeting {
    /// By their sessions: where they run, and what they do.
    parties: BTreeMap<i64, (usize, Phase)>,
    /// Somebody has left, after it had entered.
    was_left: bool,
}

/// All meetings. Each party comes to each once.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    all: Vec<Meeting>,
    invited: Vec<usize>,
}

impl Meetings {
    /// The next meeting for this process: the one that another process waits for, or a new one.
    fn invites(&mut self, at: usize) -> usize {
        if self.invited.is_empty() || self.invited.len() == MEMBERS || self.invited.contains(&at) {
            self.invited.clear();
            self.all.push(Meeting::default());
        }
        self.invited.push(at);
        self.all.len() - 1
    }

    fn does(&mut self, number: usize, at: usize, session: SessionId, phase: Phase) {
        self.all[number].parties.insert(session.0, (at, phase));
    }

    pub(super) fn killed(&mut self, at: usize) {
        for (place, phase) in self.all.iter_mut().flat_map(|meeting| meeting.parties.values_mut()) {
            if *place == at {
                *phase = Phase::Going;
            }
        }
    }

    /// Nobody has left while another one, whose session lives, was inside.
    pub(super) fn check(&self, tree: &Tree) -> Result<(), Violation> {
        for (number, meeting) in self.all.iter().enumerate().filter(|(_, meeting)| meeting.was_left) {
            let path = format!("{MEETINGS}/{number}/");
            let is_inside = |session: &i64| {
                tree.ephemerals(SessionId(*session)).iter().any(|znode| znode.starts_with(&path))
            };
            let inside = meeting.parties.iter().filter(|(_, (_, phase))| *phase == Phase::Inside);
            if let Some((session, _)) = inside.into_iter().find(|(session, _)| is_inside(session)) {
                return violation("meeting", format!("{number} was left while {session:#x} was inside"));
            }
        }
        Ok(())
    }
}

impl Actor {
    pub(super) async fn closes_the_gate(mut self, zk: Coordinator) {
        let gate = zk.barrier(GATE);
        while self.goes_on(&zk).await {
            let _ = gate.set().await;
            self.pause().await;
            let _ = gate.remove().await;
        }
        let _ = gate.remove().await;
    }

    pub(super) async fn waits_at_the_gate(mut self, zk: Coordinator) {
        let gate = zk.barrier(GATE);
        while self.goes_on(&zk).await {
            let least = self.ledger().gate.comes(self.at);
            let result = match self.planted {
                Some(Planted::Impatient) => {
                    timeout(Duration::from_millis(20), gate.wait()).await.unwrap_or(Ok(()))
                }
                _ => gate.wait().await,
            };
            let may_go = self.ledger().gate.goes(self.at, least);
            if result.is_ok() {
                self.ledger().reached.push("the gate was passed");
                if !may_go {
                    self.ledger()
                        .breaks("gate", "it was passed, and had been closed all the time".to_owned());
                }
            }
        }
    }

    pub(super) async fn meets(mut self, zk: Coordinator) {
        let members = if self.planted == Some(Planted::LonelyMeetings) { 1 } else { MEMBERS };
        while self.goes_on(&zk).await {
            let Some(session) = zk.session_id() else { continue };
            let number = self.ledger().meetings.invites(self.at);
            let path = format!("{MEETINGS}/{number}");
            // Names decide who waits for whom, so chance must not come from outside.
            let meeting = zk.double_barrier(&path, members).named(&format!("{:x}", self.random.next_u64()));
            self.ledger().meetings.does(number, self.at, session, Phase::Coming);
            let patience = Duration::from_millis(self.random.below(10_000));
            let has_entered = matches!(timeout(patience, meeting.enter()).await, Ok(Ok(())));
            if has_entered {
                self.ledger().enters(number);
                self.ledger().meetings.does(number, self.at, session, Phase::Inside);
                self.pause().await;
            }
            self.ledger().meetings.does(number, self.at, session, Phase::Going);
            if meeting.leave().await.is_ok() && has_entered {
                self.ledger().meetings.all[number].was_left = true;
            }
        }
    }
}

impl super::ledger::Ledger {
    /// A party has entered.
    fn enters(&mut self, number: usize) {
        self.reached.push("a meeting was held");
        let came = self.meetings.all[number].parties.len();
        if came < MEMBERS {
            self.breaks("meeting", format!("{number} was entered when {came} had come"));
        }
    }
}
