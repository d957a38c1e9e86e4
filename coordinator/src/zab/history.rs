//! The end of the agreed order as one member knows it: how far it goes, how far it is safe, and the last entries.
//!
//! Older entries are in the log on disk; a bounded window of the last ones is kept here, for learners that are not far
//! behind and because what is not committed yet has to be executed later.

use std::collections::VecDeque;

use client::wire::zk::Zxid;

use super::{Entry, epoch_of};

/// The window.
///
/// Invariants: `before` < the window's entries, which follow each other; `delivered` ≤ `committed` unless the rest was
/// executed when the log was read; nothing that is not delivered and durable leaves the window.
#[derive(Debug)]
pub struct History {
    before: Zxid,
    entries: VecDeque<Entry>,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
    /// While somebody is sent a snapshot, what comes after it is kept as far as memory allows.
    pinned: Option<Zxid>,
    durable: Zxid,
    committed: Zxid,
    delivered: Zxid,
}

/// How much more than usual is kept while somebody is sent a snapshot.
const PINNED_FACTOR: usize = 8;

/// Where somebody else's last entry lies in this history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is in this history, and so is everything before it.
    Here,
    /// It is not: this history has nothing between the place given and theirs.
    Fork(Zxid),
    /// Too long ago to tell.
    Beyond,
}

impl History {
    /// What recovery found, all of it executed.
    pub fn new(before: Zxid, recent: Vec<Entry>, entries_max: usize, bytes_max: usize) -> History {
        let mut history = History {
            before,
            entries: VecDeque::new(),
            bytes: 0,
            entries_max,
            bytes_max,
            pinned: None,
            durable: before,
            committed: Zxid::ZERO,
            delivered: before,
        };
        for entry in recent {
            history.append(entry);
        }
        history.durable = history.last();
        history.delivered = history.last();
        history.trim();
        history
    }

    pub fn last(&self) -> Zxid {
        self.entries.back().map_or(self.before, |entry| entry.zxid)
    }

    /// The window continues what ends here.
    pub fn before(&self) -> Zxid {
        self.before
    }

    pub fn durable(&self) -> Zxid {
        self.durable
    }

    pub fn committed(&self) -> Zxid {
        self.committed
    }

    pub fn delivered(&self) -> Zxid {
        self.delivered
    }

    pub fn is_empty(&self) -> bool {
        self.last() == Zxid::ZERO
    }

    /// Whether an entry may come next: the next of the epoch, or the first of a later one.
    pub fn is_followed_by(&self, zxid: Zxid) -> bool {
        let last = self.last();
        if epoch_of(zxid) == epoch_of(last) {
            zxid.0 == last.0 + 1
        } else {
            epoch_of(zxid) > epoch_of(last) && zxid.0 & 0xffff_ffff == 1
        }
    }

    /// # Panics
    /// If the entry does not follow: a hole would be spread by whoever leads next.
    pub fn append(&mut self, entry: Entry) {
        assert!(self.is_followed_by(entry.zxid), "{} does not follow {}", entry.zxid, self.last());
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    /// This much is on disk.
    pub fn note_durable(&mut self, zxid: Zxid) {
        self.durable = self.durable.max(zxid.min(self.last()));
        self.trim();
    }

    /// This much is committed, as far as it is here. True if that is more than before.
    pub fn commit(&mut self, zxid: Zxid) -> bool {
        let zxid = zxid.min(self.last());
        let more = zxid > self.committed;
        self.committed = self.committed.max(zxid);
        more
    }

    /// The next entry to execute, if it is committed.
    pub fn deliver_next(&mut self) -> Option<Entry> {
        if self.delivered >= self.committed {
            return None;
        }
        let index = self.index_after(self.delivered);
        let entry = self.entries.get(index).filter(|entry| entry.zxid <= self.committed)?.clone();
        self.delivered = entry.zxid;
        Some(entry)
    }

    /// Forgets everything behind `to`.
    pub fn truncate(&mut self, to: Zxid) {
        while let Some(last) = self.entries.pop_back_if(|entry| entry.zxid > to) {
            self.bytes -= last.size();
        }
        if self.entries.is_empty() {
            self.before = self.before.min(to);
        }
        self.durable = self.durable.min(to);
        self.delivered = self.delivered.min(to);
        self.committed = self.committed.min(to);
    }

    /// A snapshot has taken the place of everything.
    pub fn replace(&mut self, zxid: Zxid) {
        self.entries.clear();
        self.bytes = 0;
        self.before = zxid;
        self.durable = zxid;
        self.delivered = zxid;
        self.committed = zxid;
    }

    /// Where somebody's last entry lies. A place in the order is given out once, so the same zxid is the same entry, and
    /// whoever has it has everything before it.
    pub fn place(&self, zxid: Zxid) -> Place {
        if zxid < self.before {
            return Place::Beyond;
        }
        let index = self.index_after(zxid);
        let floor = index.checked_sub(1).map_or(self.before, |index| self.entries[index].zxid);
        if floor == zxid { Place::Here } else { Place::Fork(floor) }
    }

    /// Entries after a place of the window, up to `until`: at least one if there is one, then as many as fit.
    pub fn after(&self, zxid: Zxid, until: Zxid, bytes_max: usize) -> impl Iterator<Item = &Entry> {
        let mut bytes = 0;
        self.entries.range(self.index_after(zxid)..).take_while(move |entry| {
            let first = bytes == 0;
            bytes += entry.size();
            entry.zxid <= until && (first || bytes <= bytes_max)
        })
    }

    /// Keeps what comes after `zxid` as long as memory allows.
    pub fn pin(&mut self, zxid: Option<Zxid>) {
        self.pinned = zxid;
        self.trim();
    }

    fn index_after(&self, zxid: Zxid) -> usize {
        self.entries.partition_point(|entry| entry.zxid <= zxid)
    }

    fn trim(&mut self) {
        let done = self.delivered.min(self.durable);
        while let Some(first) = self.entries.front() {
            let pinned = self.pinned.is_some_and(|pinned| first.zxid > pinned);
            let factor = if pinned { PINNED_FACTOR } else { 1 };
            let crowded =
                self.entries.len() > self.entries_max * factor || self.bytes > self.bytes_max * factor;
            if !crowded || first.zxid > done {
                break;
            }
            self.bytes -= first.size();
            self.before = first.zxid;
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::zab::MemberId;

    fn entry(epoch: u64, counter: u64) -> Entry {
        let zxid = Zxid(epoch << 32 | counter);
        Entry { zxid, origin: MemberId(1), serial: 0, bytes: Bytes::new(), members: None }
    }

    fn history() -> History {
        let recent = vec![entry(1, 4), entry(1, 5), entry(3, 1), entry(3, 2)];
        History::new(Zxid(1 << 32 | 3), recent, 100, 1 << 20)
    }

    #[test]
    fn places_are_told_apart() {
        let history = history();
        assert_eq!(history.place(Zxid(1 << 32 | 2)), Place::Beyond);
        assert_eq!(history.place(Zxid(1 << 32 | 3)), Place::Here);
        assert_eq!(history.place(Zxid(1 << 32 | 5)), Place::Here);
        assert_eq!(history.place(Zxid(2 << 32 | 7)), Place::Fork(Zxid(1 << 32 | 5)));
        assert_eq!(history.place(Zxid(3 << 32 | 9)), Place::Fork(Zxid(3 << 32 | 2)));
    }

    #[test]
    fn truncation_takes_back_what_was_delivered() {
        let mut history = history();
        history.truncate(Zxid(1 << 32 | 5));
        assert_eq!(history.last(), Zxid(1 << 32 | 5));
        assert_eq!((history.durable(), history.delivered()), (history.last(), history.last()));
        assert!(history.is_followed_by(Zxid(2 << 32 | 1)));
        assert!(!history.is_followed_by(Zxid(2 << 32 | 2)));
        history.truncate(Zxid(1 << 32 | 1));
        assert_eq!(history.last(), Zxid(1 << 32 | 1));
    }

    #[test]
    fn only_what_is_committed_is_delivered_and_only_what_is_done_is_dropped() {
        let mut history = History::new(Zxid::ZERO, Vec::new(), 2, 1 << 20);
        for counter in 1..=5 {
            history.append(entry(1, counter));
        }
        history.note_durable(Zxid(1 << 32 | 5));
        assert_eq!(history.before(), Zxid::ZERO);
        assert_eq!(history.deliver_next(), None);
        assert!(history.commit(Zxid(1 << 32 | 4)));
        let delivered: Vec<u64> =
            std::iter::from_fn(|| history.deliver_next()).map(|entry| entry.zxid.0 & 0xff).collect();
        assert_eq!(delivered, [1, 2, 3, 4]);
        history.note_durable(Zxid(1 << 32 | 5));
        assert_eq!(history.before(), Zxid(1 << 32 | 3));
    }
}
