//! Starting again: what the disk has must be a beginning of the history, and no shorter than what anybody was shown.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;
use coordinator::request::{Now, Service};
use coordinator::store::{Disk, LogOptions, Recovery, Retention, StoreError};
use coordinator::tree::Tree;
use coordinator::tree::command::Command;
use coordinator::tree::snapshot::Loader;

use super::server::Server;
use super::{Configuration, Planted, World};
use crate::check::service::{Oracle, Violation, violation};
use crate::sim::disk::SimDisk;

fn io(what: &str, error: &StoreError) -> Violation {
    Violation { invariant: "C13", what: format!("{what}: {error}") }
}

fn rebuild(recovery: &mut Recovery, planted: Option<Planted>) -> Result<Result<Tree, Violation>, StoreError> {
    let mut tree = Tree::new(1);
    if let Some(snapshot) = recovery.snapshot() {
        let mut loader = Loader::new(1);
        while let Some(chunk) = snapshot.next_chunk()? {
            if let Err(error) = loader.chunk(&chunk) {
                return Ok(violation("C13", format!("a snapshot cannot be loaded: {error}")));
            }
        }
        tree = match loader.finish() {
            Ok(tree) => tree,
            Err(error) => return Ok(violation("C13", format!("a snapshot cannot be loaded: {error}"))),
        };
    }
    let mut kept: Option<(u64, Bytes)> = None;
    while let Some(record) = recovery.next_record()? {
        if let Some((zxid, bytes)) = kept.replace(record)
            && let Err(error) = tree.execute(Zxid(zxid), &bytes, &mut Vec::new())
        {
            return Ok(violation("C13", format!("a record cannot be executed: {error}")));
        }
    }
    if let Some((zxid, bytes)) = kept.filter(|_| planted != Some(Planted::ShortRecovery))
        && let Err(error) = tree.execute(Zxid(zxid), &bytes, &mut Vec::new())
    {
        return Ok(violation("C13", format!("a record cannot be executed: {error}")));
    }
    Ok(Ok(tree))
}

impl World {
    pub(super) fn boot(
        disk: &SimDisk,
        configuration: &Configuration,
        seed: u64,
        planted: Option<Planted>,
        now_ms: u64,
    ) -> Result<Result<Server, Violation>, StoreError> {
        let options = LogOptions {
            segment_bytes_max: configuration.segment_bytes_max,
            salt_seed: seed ^ now_ms,
            sync: planted != Some(Planted::NoSync),
            ..LogOptions::default()
        };
        let shared: Arc<dyn Disk> = disk.as_disk();
        let mut recovery = Recovery::open(Arc::clone(&shared), Arc::clone(&shared), options)?;
        let tree = match rebuild(&mut recovery, planted)? {
            Ok(tree) => tree,
            Err(violation) => return Ok(Err(violation)),
        };
        let (log, _) = recovery.finish()?;
        let heard = tree.sessions().iter().map(|(id, session)| {
            let timeout = u64::from(session.timeout_ms);
            (id.0, (0, timeout + configuration.tick_ms))
        });
        let now = Now { monotonic_us: now_ms * 1000, wall_ms: 1_000_000 + now_ms as i64 };
        Ok(Ok(Server {
            heard: heard.collect(),
            durable: log.last_zxid(),
            service: Service::new(configuration.settings(), tree, [seed as u8; 32], now),
            log,
            in_flight: VecDeque::new(),
            appended: 0,
            snapshot: None,
            snapshot_zxid: 0,
            retention: Retention::new(Arc::clone(&shared), shared, configuration.snapshots_kept),
            commands_since_snapshot: 0,
            waiting_for_space: false,
            served_ms: 0,
            last_tick_ms: now_ms,
        }))
    }

    /// The machine or the process stops, and starts again from the disk.
    pub(super) fn restart(&mut self, power: bool) -> Result<(), Violation> {
        for at in 0..self.clients.len() {
            for _ in 0..self.network.below(6) {
                self.client_reads(at)?;
            }
            self.lose(at);
        }
        let mut power = power;
        let mut attempts = 0;
        self.server = loop {
            let seed = self.faults.next_u64();
            self.disk = if power { self.disk.after_power_cut(seed) } else { self.disk.after_kill() };
            self.disk.set_capacity(None);
            self.note("restart", || format!("power cut: {power}"));
            // A start may be interrupted too.
            attempts += 1;
            if attempts < 3 && self.faults.below(4) == 0 {
                self.disk.stop_at(self.faults.below(6));
            }
            match Self::boot(&self.disk, &self.configuration, self.seed, self.planted, self.now_ms) {
                Ok(Ok(server)) => break server,
                Ok(Err(violation)) => return Err(violation),
                Err(_) if self.disk.is_stopped() => power = true,
                Err(error) => return Err(io("the server does not start", &error)),
            }
        };
        self.check_recovered()?;
        self.start()
    }

    /// What was recovered must be a beginning of the history, and no shorter than what anybody was shown.
    pub(super) fn check_recovered(&mut self) -> Result<(), Violation> {
        let tree = self.server.service.tree();
        let last = tree.zxid().0;
        if last < self.executed || last > self.history.len() as u64 {
            let (executed, proposed) = (self.executed, self.history.len());
            return violation(
                "C13",
                format!("recovered up to {last:#x} of {executed:#x} shown, {proposed:#x} proposed"),
            );
        }
        self.history.truncate(last as usize);
        if let Some(digest) = self.digests.get(&last)
            && *digest != tree.digest()
        {
            return violation("C6", format!("the digest at {last:#x} was another before the restart"));
        }
        let model = std::mem::take(&mut self.oracle.model);
        let passwords = std::mem::take(&mut self.oracle.passwords);
        self.oracle = Oracle { model, passwords, ..Oracle::default() };
        for zxid in self.oracle.model.zxid + 1..=last {
            let (bytes, asked) = self.history[zxid as usize - 1].clone();
            let command = Command::decode(&bytes).expect("it was decoded before");
            self.oracle.execute(zxid, &command, asked.as_ref());
        }
        self.executed = last;
        self.note("recovered", || format!("{last:#x}"));
        match self.oracle.model.difference(self.server.service.tree()) {
            None => Ok(()),
            Some(difference) => violation("C13", difference),
        }
    }
}
