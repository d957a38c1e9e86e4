//! A member's disk as the protocol sees it: epochs, a log, snapshots, and how far all that is safe.

use std::rc::Rc;

use bytes::Bytes;
use client::wire::zk::Zxid;
use coordinator::zab::{Entry, Epochs, MemberId};

use super::state::{Snapshot, State, identity};
use crate::sim::random::Random;

/// An entry in the log, without what the log does not keep.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) zxid: Zxid,
    pub(super) identity: u64,
    pub(super) bytes: Bytes,
}

impl Record {
    /// As it is read back.
    fn entry(&self) -> Entry {
        Entry { zxid: self.zxid, origin: MemberId(0), serial: 0, bytes: self.bytes.clone(), members: None }
    }
}

/// What survives the process.
///
/// The log continues `before`; some snapshot is at `before` or later, unless that is zero. Of the log's records the first
/// `synced` survive the machine, too.
#[derive(Debug, Clone, Default)]
pub(super) struct Device {
    epochs: Epochs,
    before: Zxid,
    log: Vec<Record>,
    synced: usize,
    /// Oldest first.
    snapshots: Vec<Rc<Snapshot>>,
    /// With a mistake built in: what a power cut brings back.
    undo: Option<Box<Device>>,
}

impl Device {
    /// A disk with nothing but a complete snapshot.
    pub(super) fn with_snapshot(snapshot: Rc<Snapshot>, epochs: Epochs) -> Device {
        Device { epochs, before: snapshot.zxid(), snapshots: vec![snapshot], ..Device::default() }
    }

    pub(super) fn epochs(&self) -> Epochs {
        self.epochs
    }

    pub(super) fn save_epochs(&mut self, epochs: Epochs) {
        self.epochs = epochs;
    }

    /// How many records the log has.
    pub(super) fn length(&self) -> usize {
        self.log.len()
    }

    /// The end of what is safe.
    pub(super) fn synced(&self) -> Zxid {
        let log = self.synced.checked_sub(1).map_or(self.before, |last| self.log[last].zxid);
        log.max(self.snapshots.last().map_or(Zxid::ZERO, |snapshot| snapshot.zxid()))
    }

    /// Whether an entry is safe here.
    pub(super) fn has(&self, zxid: Zxid, identity: u64) -> bool {
        let log = &self.log[..self.synced];
        match log.binary_search_by_key(&zxid, |record| record.zxid) {
            Ok(index) => log[index].identity == identity,
            Err(_) => self.snapshots.iter().any(|snapshot| snapshot.state().has(zxid, identity)),
        }
    }

    /// Whether something safe has this place in the order; zero is everywhere.
    pub(super) fn has_place(&self, zxid: Zxid) -> bool {
        zxid == Zxid::ZERO
            || self.log[..self.synced].binary_search_by_key(&zxid, |record| record.zxid).is_ok()
            || self.snapshots.iter().any(|snapshot| snapshot.state().has_place(zxid))
    }

    /// Written, and not safe yet.
    pub(super) fn write(&mut self, entry: &Entry) {
        let Entry { zxid, bytes, .. } = entry;
        self.log.push(Record { zxid: *zxid, identity: identity(bytes), bytes: bytes.clone() });
    }

    /// Everything written is safe.
    pub(super) fn sync(&mut self) {
        self.synced = self.log.len();
    }

    /// What the failed sync was to make safe is lost for good.
    pub(super) fn lose_unsynced(&mut self) {
        self.log.truncate(self.synced);
    }

    /// Removes everything behind a place. False, and nothing changes, if what would be left cannot be put together.
    pub(super) fn truncate(&mut self, to: Zxid) -> bool {
        let has_base = self.snapshots.iter().any(|snapshot| snapshot.zxid() <= to);
        if to < self.before || !(has_base || self.before == Zxid::ZERO) {
            return false;
        }
        self.snapshots.retain(|snapshot| snapshot.zxid() <= to);
        self.log.truncate(self.log.partition_point(|record| record.zxid <= to));
        self.synced = self.synced.min(self.log.len());
        true
    }

    /// A snapshot takes the place of everything.
    pub(super) fn replace(&mut self, snapshot: Rc<Snapshot>, forgetful: bool) {
        let undo = forgetful.then(|| Box::new(Device { undo: None, ..self.clone() }));
        *self = Device { undo, ..Device::with_snapshot(snapshot, self.epochs) };
    }

    /// Keeps a snapshot of its own, and no more than a few; the log before the oldest goes.
    pub(super) fn keep(&mut self, snapshot: Rc<Snapshot>, kept: usize) {
        self.snapshots.push(snapshot);
        self.snapshots.sort_by_key(|snapshot| snapshot.zxid());
        let excess = self.snapshots.len().saturating_sub(kept);
        self.snapshots.drain(..excess);
        let oldest = self.snapshots[0].zxid();
        let purged = self.log[..self.synced].partition_point(|record| record.zxid <= oldest);
        if purged > 0 {
            self.before = self.log[purged - 1].zxid;
            self.log.drain(..purged);
            self.synced -= purged;
        }
    }

    /// The newest snapshot at a place or later.
    pub(super) fn snapshot_at_least(&self, zxid: Zxid) -> Option<Rc<Snapshot>> {
        self.snapshots.last().filter(|snapshot| snapshot.zxid() >= zxid).cloned()
    }

    /// The last place at or before this one that the log goes on from, if it reaches back so far.
    pub(super) fn log_goes_on_from(&self, zxid: Zxid) -> Option<Zxid> {
        if zxid < self.before {
            return None;
        }
        let index = self.log[..self.synced].partition_point(|record| record.zxid <= zxid);
        Some(index.checked_sub(1).map_or(self.before, |at| self.log[at].zxid))
    }

    /// So many records after a place, up to another, or as many as there are.
    pub(super) fn log_after(&self, zxid: Zxid, up_to: Zxid, count: usize) -> Vec<Entry> {
        let log = &self.log[..self.synced];
        let from = log.partition_point(|record| record.zxid <= zxid);
        let records = log[from..].iter().take_while(|record| record.zxid <= up_to);
        records.take(count).map(Record::entry).collect()
    }

    /// The process, or the machine, stops. Of what was not synced a beginning is left.
    pub(super) fn crash(&mut self, power: bool, random: &mut Random) {
        if let Some(undo) = self.undo.take()
            && power
        {
            *self = Device { epochs: self.epochs, ..*undo };
        }
        let unsynced = (self.log.len() - self.synced) as u64;
        let left = if power { random.between(0, unsynced) } else { unsynced };
        self.log.truncate(self.synced + left as usize);
    }

    /// With a mistake built in: the last record that was not safe is not what was written.
    pub(super) fn tear(&mut self) -> bool {
        let torn = self.log.len() > self.synced;
        if torn && let Some(record) = self.log.last_mut() {
            record.bytes = Bytes::from_static(b"torn");
            record.identity = identity(&record.bytes);
        }
        torn
    }

    /// Whatever is there is safe from now on, and is the state.
    pub(super) fn recover(&mut self) -> State {
        self.sync();
        self.state()
    }

    /// Everything that is written, executed.
    pub(super) fn state(&self) -> State {
        let mut state =
            self.snapshots.last().map_or_else(State::default, |snapshot| snapshot.state().clone());
        let from = self.log.partition_point(|record| record.zxid <= state.zxid());
        for record in &self.log[from..] {
            state.execute(record.zxid, record.identity);
        }
        state
    }

    /// The end of the log, and what it continues.
    pub(super) fn recent(&self, entries: usize) -> (Zxid, Vec<Entry>) {
        let last = self.snapshots.last().map_or(Zxid::ZERO, |snapshot| snapshot.zxid());
        if self.log.last().is_none_or(|record| record.zxid <= last) {
            return (last.max(self.before), Vec::new());
        }
        let from = self.log.len().saturating_sub(entries);
        let before = from.checked_sub(1).map_or(self.before, |at| self.log[at].zxid);
        (before, self.log[from..].iter().map(Record::entry).collect())
    }
}
