//! Log and snapshots: what is durable, what is executed, and what is written beside.

use client::wire::zk::Zxid;
use coordinator::store::{SnapshotWriter, StoreError};
use coordinator::tree::command::{Command, Op};

use super::server::InFlight;
use super::{Planted, SERVER, World};
use crate::check::service::{Violation, violation};

impl World {
    /// The log's thread takes some of what waits and makes it durable.
    pub(super) fn flush(&mut self) -> Result<(), Violation> {
        let server = &mut self.server;
        if !server.waiting_for_space {
            let more = server.in_flight.len() - server.appended;
            let count = if more == 0 { 0 } else { 1 + self.schedule.below(more as u64) as usize };
            for next in server.in_flight.iter().skip(server.appended).take(count) {
                server.log.append(next.zxid, next.bytes.clone());
            }
            server.appended += count;
        }
        match server.log.flush() {
            Ok(Some(flushed)) => {
                server.durable = flushed.zxid;
                self.note("durable", || format!("{:#x}", flushed.zxid));
                self.set_full(false);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.is_full() => {
                self.note("no-space", || error.to_string());
                self.set_full(true);
                Ok(())
            }
            Err(error) => {
                self.note("log-failed", || error.to_string());
                self.restart(true)
            }
        }
    }

    pub(super) fn set_full(&mut self, full: bool) {
        self.server.waiting_for_space = full;
        self.server.service.set_disk_full(full);
        self.oracle.disk_full = full;
    }

    /// Executes the next durable command.
    pub(super) fn commit_one(&mut self) -> Result<bool, Violation> {
        let early = self.planted == Some(Planted::AckBeforeSync);
        let next = self.server.in_flight.front().filter(|next| early || next.zxid <= self.server.durable);
        let Some(InFlight { zxid, serial, bytes }) = next else { return Ok(false) };
        let (zxid, serial, bytes) = (*zxid, *serial, bytes.clone());
        if self.server.appended == 0 {
            // Only with a planted mistake: the log gets it, and nobody waits for the disk.
            self.server.log.append(zxid, bytes.clone());
            self.server.appended += 1;
        }
        self.server.appended -= 1;
        self.server.in_flight.pop_front();
        let command = Command::decode(&bytes).expect("it was decoded before");
        let asked = self.history[zxid as usize - 1].1.clone();
        self.oracle.committed(zxid, &command, asked.as_ref());
        let now = self.now();
        if let Err(error) = self.server.service.committed(Zxid(zxid), (SERVER, serial), &bytes, now) {
            return violation("C7", format!("{zxid:#x} cannot be executed: {error}"));
        }
        self.server.commands_since_snapshot += 1;
        match command.op {
            Op::CreateSession { timeout_ms } => {
                let timeout = u64::from(timeout_ms);
                let latest = self.server.served_ms + timeout + self.configuration.tick_ms;
                self.server.heard.insert(command.session, (self.server.served_ms, latest));
            }
            Op::CloseSession => drop(self.server.heard.remove(&command.session)),
            _ => {}
        }
        self.digests.insert(zxid, self.server.service.tree().digest());
        // What was executed was shown to somebody, or could have been.
        self.executed = self.executed.max(zxid);
        self.note("commit", || format!("{zxid:#x} {command:?}"));
        self.pump(None)?;
        Ok(true)
    }

    /// Begins a snapshot, or takes it one step further.
    pub(super) fn snapshot(&mut self) -> Result<(), Violation> {
        match self.try_snapshot() {
            Ok(()) => Ok(()),
            Err(error) if error.is_full() => {
                self.note("no-space", || error.to_string());
                self.server.snapshot = None;
                self.server.service.tree_mut().abandon_snapshot();
                Ok(())
            }
            Err(error) => {
                self.note("snapshot-failed", || error.to_string());
                self.restart(true)
            }
        }
    }

    pub(super) fn try_snapshot(&mut self) -> Result<(), StoreError> {
        let server = &mut self.server;
        let Some(writer) = &mut server.snapshot else {
            if server.commands_since_snapshot >= self.configuration.snapshot_every {
                let zxid = server.service.tree().zxid().0;
                server.snapshot = Some(SnapshotWriter::create(self.disk.as_disk(), zxid, &[])?);
                server.snapshot_zxid = zxid;
                server.commands_since_snapshot = 0;
                server.log.roll();
                server.service.tree_mut().begin_snapshot();
                self.note("snapshot", || format!("at {zxid:#x}"));
            }
            return Ok(());
        };
        let tree = server.service.tree_mut();
        tree.advance_snapshot(1 + self.schedule.below(8) as u32);
        while let Some(chunk) = tree.next_snapshot_chunk() {
            writer.chunk(&chunk)?;
        }
        if !tree.snapshot_in_progress()
            && let Some(writer) = server.snapshot.take()
        {
            writer.finish(&[])?;
            server.retention.purge(server.snapshot_zxid)?;
            self.note("snapshot-end", String::new);
        }
        Ok(())
    }
}
