//! When sessions have been silent for too long.
//!
//! Time here is *served time*: it stands still while the server itself did not run (a stopped process, a frozen
//! machine), because a client whose pings wait in our socket buffers has done nothing wrong.

use std::collections::BTreeMap;

use client::wire::zk::SessionId;
use hashbrown::HashMap;

/// One step of served time is never longer than this: what goes beyond was our own absence.
const STEP_MS_MAX: u64 = 1000;

#[derive(Debug, Clone, Copy)]
struct Entry {
    timeout_ms: u32,
    deadline_ms: u64,
}

/// Deadlines of all sessions, in buckets of one tick.
///
/// Invariant: every session is in exactly one bucket, which is not later than its deadline's. A touch only moves the
/// deadline; the session changes its bucket when the old one comes due.
#[derive(Debug)]
pub struct SessionClock {
    tick_ms: u64,
    served_ms: u64,
    last_seen_ms: u64,
    sessions: HashMap<SessionId, Entry, foldhash::fast::FixedState>,
    buckets: BTreeMap<u64, Vec<SessionId>>,
}

impl SessionClock {
    pub fn new(tick_ms: u64, now_ms: u64) -> SessionClock {
        SessionClock {
            tick_ms: tick_ms.max(1),
            served_ms: 0,
            last_seen_ms: now_ms,
            sessions: HashMap::default(),
            buckets: BTreeMap::new(),
        }
    }

    /// Starts watching a session, with its full timeout ahead.
    pub fn add(&mut self, session: SessionId, timeout_ms: u32) {
        let deadline_ms = self.deadline(timeout_ms);
        if self.sessions.insert(session, Entry { timeout_ms, deadline_ms }).is_none() {
            self.buckets.entry(deadline_ms).or_default().push(session);
        }
    }

    pub fn remove(&mut self, session: SessionId) {
        // Its bucket forgets it when it comes due.
        self.sessions.remove(&session);
    }

    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Everybody has the full timeout ahead again.
    pub fn renew(&mut self) {
        let (served_ms, tick_ms) = (self.served_ms, self.tick_ms);
        for entry in self.sessions.values_mut() {
            entry.deadline_ms = entry.deadline_ms.max(deadline(served_ms, entry.timeout_ms, tick_ms));
        }
    }

    /// The session gave a sign of life.
    pub fn touch(&mut self, session: SessionId) {
        let (served_ms, tick_ms) = (self.served_ms, self.tick_ms);
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.deadline_ms = entry.deadline_ms.max(deadline(served_ms, entry.timeout_ms, tick_ms));
        }
    }

    /// The session's client asked for another timeout when it came back.
    pub fn set_timeout(&mut self, session: SessionId, timeout_ms: u32) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.timeout_ms = timeout_ms;
        }
        self.touch(session);
    }

    /// Moves time forward and takes out the sessions that are overdue.
    pub fn advance(&mut self, now_ms: u64) -> Vec<SessionId> {
        let step = now_ms.saturating_sub(self.last_seen_ms);
        self.last_seen_ms = now_ms;
        self.served_ms += step.min(STEP_MS_MAX);
        let mut overdue = Vec::new();
        while let Some(bucket) = self.buckets.first_entry().filter(|bucket| *bucket.key() <= self.served_ms) {
            for session in bucket.remove() {
                match self.sessions.get(&session) {
                    None => {}
                    Some(entry) if entry.deadline_ms <= self.served_ms => {
                        self.sessions.remove(&session);
                        overdue.push(session);
                    }
                    Some(entry) => self.buckets.entry(entry.deadline_ms).or_default().push(session),
                }
            }
        }
        overdue.sort_unstable();
        overdue
    }

    fn deadline(&self, timeout_ms: u32) -> u64 {
        deadline(self.served_ms, timeout_ms, self.tick_ms)
    }

    pub fn timeout_ms(&self, session: SessionId) -> Option<u32> {
        self.sessions.get(&session).map(|entry| entry.timeout_ms)
    }

    /// Sessions by the milliseconds left to them, soonest first; for inspection.
    pub fn by_time_left(&self) -> BTreeMap<u64, Vec<SessionId>> {
        let mut left: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for (session, entry) in &self.sessions {
            left.entry(entry.deadline_ms.saturating_sub(self.served_ms)).or_default().push(*session);
        }
        left.values_mut().for_each(|sessions| sessions.sort_unstable());
        left
    }
}

fn deadline(served_ms: u64, timeout_ms: u32, tick_ms: u64) -> u64 {
    ((served_ms + u64::from(timeout_ms)) / tick_ms + 1) * tick_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn run_until(clock: &mut SessionClock, from_ms: u64, until_ms: u64) -> Vec<(u64, SessionId)> {
        let mut expired = Vec::new();
        for now in (from_ms..=until_ms).step_by(100) {
            expired.extend(clock.advance(now).into_iter().map(|session| (now, session)));
        }
        expired
    }

    #[test]
    fn silence_ends_a_session_at_the_next_tick() {
        let mut clock = SessionClock::new(2000, 0);
        clock.add(A, 4000);
        clock.add(B, 5000);
        clock.advance(1000);
        clock.touch(B);
        assert_eq!(run_until(&mut clock, 1100, 20_000), [(6000, A), (8000, B)]);
    }

    #[test]
    fn our_own_absence_counts_for_nobody() {
        let mut clock = SessionClock::new(2000, 0);
        clock.add(A, 4000);
        assert_eq!(clock.advance(60_000), []);
        assert_eq!(run_until(&mut clock, 60_100, 80_000), [(65_000, A)]);
    }

    #[test]
    fn a_removed_session_never_expires_and_may_come_back() {
        let mut clock = SessionClock::new(1000, 0);
        clock.add(A, 1000);
        clock.remove(A);
        clock.add(A, 5000);
        assert_eq!(run_until(&mut clock, 0, 10_000), [(6000, A)]);
        assert_eq!(clock.timeout_ms(A), None);
    }
}
