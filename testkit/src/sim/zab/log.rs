//! The log's thread: one queue, in order, and a report for each thing that is done.

use client::wire::zk::Zxid;
use coordinator::zab::{Epochs, Input};

use super::agenda::{At, Happening};
use super::member::{Doing, Job};
use super::state::Snapshot;
use super::{Planted, World};
use crate::check::service::Violation;

const STALL_US: u64 = 1_000_000;

impl World {
    /// Asks the log's thread for something.
    pub(super) fn ask_log(&mut self, at: At, job: Job) {
        let Some(process) = &mut self.members[at].process else { return };
        if let Job::SaveEpochs(epochs) = job
            && self.options.planted == Some(Planted::PledgeWhileQueued)
        {
            process.jobs.push_back(job);
            self.run_log(at);
            return self.give(at, Input::EpochsSaved(epochs));
        }
        #[cfg(feature = "planted")]
        if self.options.planted == Some(Planted::EpochBeforeHistory) && matches!(job, Job::SaveEpochs(_)) {
            process.jobs.push_front(job);
            return self.run_log(at);
        }
        process.jobs.push_back(job);
        self.run_log(at);
    }

    /// Gives it something to do, if it has nothing.
    fn run_log(&mut self, at: At) {
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        if process.doing.is_some() || member.jobs_left == Some(0) || process.jobs.is_empty() {
            return;
        }
        if let Some(left) = &mut member.jobs_left {
            *left -= 1;
        }
        let appends = process.jobs.iter().take_while(|job| matches!(job, Job::Append(_))).count() as u64;
        if appends > 0 {
            let count = if self.disks.coin() { appends } else { self.disks.between(1, appends) };
            let mut last = Zxid::ZERO;
            for job in process.jobs.drain(..count as usize) {
                if let Job::Append(entry) = job {
                    member.device.write(&entry);
                    last = entry.zxid;
                }
            }
            process.doing = Some(Doing::Sync(last));
        } else if let Some(job) = process.jobs.pop_front() {
            process.doing = Some(Doing::Job(job));
        }
        let (least, most) = self.configuration.sync_us;
        let mut us = self.disks.between(least, most);
        if member.slow_until_us > self.agenda.now_us() {
            us += STALL_US;
        }
        let life = member.life;
        if let Some(Doing::Sync(last)) = process.doing
            && self.plants(Planted::AckBeforeSync)
        {
            self.give(at, Input::Durable(last));
        }
        self.agenda.after(us, Happening::LogDone { at, life });
    }

    /// It goes on after it was held.
    pub(super) fn resume_log(&mut self, at: At) {
        self.run_log(at);
    }

    /// It is done with what it did.
    pub(super) fn log_done(&mut self, at: At) -> Result<(), Violation> {
        let retried = self.plants(Planted::SyncRetried);
        let member = &mut self.members[at];
        let life = member.life;
        if member.frozen_until_us > self.agenda.now_us() {
            self.agenda.at(member.frozen_until_us, Happening::LogDone { at, life });
            return Ok(());
        }
        let Some(process) = &mut member.process else { return Ok(()) };
        let Some(doing) = process.doing.take() else { return Ok(()) };
        let fails = std::mem::take(&mut member.sync_fails);
        if fails && !(retried && matches!(doing, Doing::Sync(_))) {
            // Nothing is known about what was written; the process ends, and begins again with what the disk has.
            member.device.lose_unsynced();
            self.trace.mark("a sync failed");
            return self.crash(at, true);
        }
        match doing {
            Doing::Sync(zxid) => {
                if fails {
                    member.device.lose_unsynced();
                } else {
                    member.device.sync();
                }
                member.promised = member.promised.max(zxid);
                self.note(at, "durable", zxid.0, || zxid.to_string());
                self.give(at, Input::Durable(zxid));
            }
            Doing::Job(Job::SaveEpochs(epochs)) => {
                self.save_epochs(at, epochs)?;
                self.note(at, "epochs", u64::from(epochs.current), || format!("{epochs:?}"));
                if !self.plants(Planted::PledgeWhileQueued) {
                    self.give(at, Input::EpochsSaved(epochs));
                }
            }
            Doing::Job(Job::Truncate(zxid)) => self.truncate(at, zxid)?,
            Doing::Job(Job::Replace(zxid)) => self.replace(at, zxid)?,
            Doing::Job(Job::Append(_)) => unreachable!("appends are written together"),
        }
        self.run_log(at);
        Ok(())
    }

    pub(super) fn save_epochs(&mut self, at: At, epochs: Epochs) -> Result<(), Violation> {
        let member = &mut self.members[at];
        let device = &member.device;
        self.ledger.saves_epochs(member.id, device.epochs(), epochs, |zxid| device.has_place(zxid))?;
        member.device.save_epochs(epochs);
        Ok(())
    }

    fn truncate(&mut self, at: At, zxid: Zxid) -> Result<(), Violation> {
        let keeps_memory = self.plants(Planted::MemoryAfterTruncate);
        let member = &mut self.members[at];
        let device = &member.device;
        self.ledger.truncates(member.id, zxid, |applied| device.has(applied.zxid, applied.identity))?;
        let done = member.device.truncate(zxid);
        let Some(process) = &mut member.process else { return Ok(()) };
        if done {
            member.promised = member.promised.min(zxid);
            process.writing_snapshot = None;
            if process.state.zxid() > zxid && !keeps_memory {
                process.state = member.device.state();
                process.known = process.known.min(process.state.applied().len());
                self.trace.mark("what was executed was taken back");
                self.tell_members(at);
                self.rebuild_tree(at)?;
            }
        } else {
            self.trace.mark("a log could not be cut");
        }
        self.note(at, "truncated", zxid.0, || format!("{zxid}, done: {done}"));
        self.give(at, Input::Truncated { zxid, done });
        Ok(())
    }

    fn replace(&mut self, at: At, zxid: Zxid) -> Result<(), Violation> {
        let forgetful = self.plants(Planted::RenameWithoutSync);
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return Ok(()) };
        let whole = process.incoming.take().and_then(|incoming| incoming.whole);
        let snapshot = whole.filter(|snapshot| snapshot.zxid() == zxid);
        let snapshot = snapshot.expect("only what was received completely replaces a log");
        process.state = snapshot.state().clone();
        process.known = 0;
        process.writing_snapshot = None;
        member.device.replace(snapshot, forgetful);
        member.promised = zxid;
        self.note(at, "replaced", zxid.0, || zxid.to_string());
        self.tell_members(at);
        self.rebuild_tree(at)?;
        self.give(at, Input::Replaced { zxid });
        Ok(())
    }

    /// Begins a snapshot of its own when it is time.
    pub(super) fn consider_snapshot(&mut self, at: At) {
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        process.commands_since_snapshot += 1;
        if process.commands_since_snapshot >= self.configuration.snapshot_every
            && process.writing_snapshot.is_none()
        {
            process.commands_since_snapshot = 0;
            process.writing_snapshot = Some(Snapshot::of(process.state.clone()));
            let us = self.disks.between(1_000, 100_000);
            self.agenda.after(us, Happening::SnapshotDone { at, life: member.life });
        }
    }

    pub(super) fn snapshot_done(&mut self, at: At) {
        let member = &mut self.members[at];
        let Some(process) = &mut member.process else { return };
        // Its own log must not end before it, or there would be a hole after the next append.
        if let Some(snapshot) = process.writing_snapshot.take()
            && member.device.synced() >= snapshot.zxid()
        {
            let zxid = snapshot.zxid();
            member.device.keep(snapshot, self.configuration.snapshots_kept);
            self.note(at, "snapshot", zxid.0, || zxid.to_string());
        }
    }
}
