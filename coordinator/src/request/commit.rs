//! REPLY: what is agreed is executed, told to who watches, and answered.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use client::wire::codec::Reader;
use client::wire::zk::{EventType, OpCode, RequestHeader, SessionId, WatchEvent, Zxid, perms};

use super::command::ReplyForm;
use super::connection::{Phase, Waiting};
use super::{Now, Service};
use crate::tree::acl;
use crate::tree::command::{Command, CommandError};
use crate::tree::watches::{ConnectionId, Notice};
use crate::tree::{Change, Outcome};

/// An operation that took too long, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowOperation {
    pub session: SessionId,
    pub op: &'static str,
    pub path: String,
    /// When its frame was whole, by [`Now::monotonic_us`].
    pub received_us: u64,
    /// When the log had it, for a write.
    pub durable_us: Option<u64>,
}

/// What has to be known to write an audit line about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    pub address: Option<IpAddr>,
    pub bytes: Bytes,
    /// The final name of a created node; others are in the command.
    pub created: Option<String>,
    pub failed: bool,
    /// Ephemerals that went with their session.
    pub ephemerals: Vec<String>,
}

/// Digests are kept at every so many writes, for comparing servers.
const DIGEST_EVERY: u64 = 128;
const DIGESTS_KEPT: usize = 100;

/// Slow operations described at once; more are only counted.
const SLOW_NOTED_MAX: usize = 16;

impl Service {
    /// Executes the next command of the agreed order, which was this proposal of this server.
    pub fn committed(
        &mut self,
        zxid: Zxid,
        (origin, serial): (u8, u64),
        bytes: &Bytes,
        now: Now,
    ) -> Result<(), CommandError> {
        let mut changes = std::mem::take(&mut self.changes);
        let outcome = self.tree.execute(zxid, bytes, &mut changes)?;
        self.note_owner(self.tree.asker(), origin);
        let serial = (origin == self.settings.server_id).then_some(serial);
        if zxid.0.is_multiple_of(DIGEST_EVERY) {
            self.digests.push_back((zxid, self.tree.digest()));
            if self.digests.len() > DIGESTS_KEPT {
                self.digests.pop_front();
            }
        }
        if self.audit.is_some() {
            self.note_audited(serial, bytes, &outcome, &changes);
        }
        self.tell_watchers(zxid, &changes);
        changes.clear();
        self.changes = changes;

        let serial =
            serial.filter(|serial| self.pending.front().is_some_and(|first| first.serial <= *serial));
        let connection = serial.and_then(|serial| {
            // Commits come in the order of proposals; what is passed over was refused.
            while self.pending.pop_front_if(|pending| pending.serial < serial).is_some() {}
            self.pending.pop_front_if(|pending| pending.serial == serial)?.connection
        });
        match &outcome {
            Outcome::Started if serial.is_some() => {
                self.ties.registered = true;
                self.serving = true;
                self.go_on();
            }
            Outcome::Started => {}
            Outcome::MembersSet { .. } => {
                if let Some(id) = connection {
                    self.answer_write(id, serial, zxid, &outcome, now);
                }
                self.members_set(now);
            }
            Outcome::SessionCreated => {
                let session = SessionId(Command::decode(bytes)?.session);
                self.session_created(session, connection, now);
            }
            Outcome::SessionClosed => {
                let session = SessionId(Command::decode(bytes)?.session);
                self.session_closed(session, connection, serial, zxid, now);
            }
            _ => {
                if !self.reaping.is_empty() {
                    self.note_reaped(bytes, &outcome);
                }
                if let Some(id) = connection {
                    let received_us = self.answer_write(id, serial, zxid, &outcome, now);
                    if let Some(received_us) = received_us
                        && self.is_slow(now.monotonic_us.saturating_sub(received_us))
                    {
                        let op = Command::decode(bytes)?.op;
                        self.note_slow(
                            id,
                            op.name(),
                            op.path().to_owned(),
                            received_us,
                            Some(now.monotonic_us),
                        );
                    }
                }
            }
        }
        self.answer_syncs(now);
        Ok(())
    }

    pub(super) fn note_audited(
        &mut self,
        serial: Option<u64>,
        bytes: &Bytes,
        outcome: &Outcome<'_>,
        changes: &[Change],
    ) {
        let asked_by = self.pending.front().filter(|pending| Some(pending.serial) == serial);
        let address =
            asked_by.and_then(|pending| self.clients.get(pending.connection?)).map(|from| from.address);
        let audited = Audited {
            address,
            bytes: bytes.clone(),
            created: match outcome {
                Outcome::Created { path, .. } => Some(path.to_string()),
                _ => None,
            },
            failed: matches!(outcome, Outcome::Failed(_) | Outcome::MultiFailed { .. }),
            ephemerals: match outcome {
                Outcome::SessionClosed => changes.iter().map(|change| change.path.to_string()).collect(),
                _ => Vec::new(),
            },
        };
        self.audit.get_or_insert_default().push(audited);
    }

    /// Puts events into the buffers of who watches, before any reply that shows the change can be put there.
    pub(super) fn tell_watchers(&mut self, zxid: Zxid, changes: &[Change]) {
        let Service { watches, clients, settings, .. } = self;
        for change in changes {
            let mut fired = [0u64; 2];
            watches.trigger(change, |Notice { connection: id, kind, path, readers }| {
                let hears = clients.get(id).is_some_and(|connection| {
                    connection.phase != Phase::Closing
                        && (settings.auth.skip_acl
                            || acl::permits(readers, perms::READ, &connection.identities))
                });
                if hears {
                    fired[(kind == EventType::NodeChildrenChanged) as usize] += 1;
                    clients.event(id, |out| WatchEvent::write_at(kind, path, zxid, out));
                }
            });
            let [node, children] = fired;
            if node > 0 {
                let metrics = &mut clients.metrics;
                match change.kind {
                    EventType::NodeCreated => metrics.node_created_watch_count.record_count(node),
                    EventType::NodeDeleted => metrics.node_deleted_watch_count.record_count(node),
                    _ => metrics.node_changed_watch_count.record_count(node),
                }
            }
            if children > 0 {
                clients.metrics.node_children_watch_count.record_count(children);
            }
        }
    }

    /// Answers the write at the head of a connection's queue, and every read behind it.
    pub(super) fn answer_write(
        &mut self,
        id: ConnectionId,
        serial: Option<u64>,
        zxid: Zxid,
        outcome: &Outcome<'_>,
        now: Now,
    ) -> Option<u64> {
        let Some(connection) = self.clients.get_mut(id) else {
            self.clients.metrics.stale_replies += 1;
            return None;
        };
        // A write is proposed when everything before it is answered or a write itself, so it is at the head.
        let is_it = |waiting: &mut Waiting| matches!(waiting, Waiting::Write { serial: of, .. } if Some(*of) == serial);
        let Some(Waiting::Write { xid, form, received_us, size, .. }) =
            connection.waiting.pop_front_if(is_it)
        else {
            return None;
        };
        connection.waiting_bytes -= size;
        self.outstanding -= 1;
        self.outstanding_bytes -= size;
        self.reply_outcome(id, xid, zxid, &form, outcome);
        let latency = now.monotonic_us.saturating_sub(received_us);
        self.clients.metrics.updatelatency.record(Duration::from_micros(latency));
        if let (Some(connection), ReplyForm::Single(op)) = (self.clients.get_mut(id), form) {
            connection.counters.last_op = Some(op);
        }
        self.note_latency(id, latency, now);
        self.answer_behind(id, now);
        Some(received_us)
    }

    pub(super) fn is_slow(&self, latency_us: u64) -> bool {
        self.settings.limits.slow_operation.is_some_and(|limit| u128::from(latency_us) >= limit.as_micros())
    }

    pub(super) fn note_slow(
        &mut self,
        id: ConnectionId,
        op: &'static str,
        path: String,
        received_us: u64,
        durable_us: Option<u64>,
    ) {
        self.clients.metrics.rookery_slow_operation_count += 1;
        // The log says a few and how many; one disk stall makes thousands.
        if self.slow.len() < SLOW_NOTED_MAX {
            let session = self.clients.get(id).map(|connection| connection.session).unwrap_or_default();
            self.slow.push(SlowOperation { session, op, path, received_us, durable_us });
        }
    }

    /// Answers what waited behind a write, up to the next one.
    pub(super) fn answer_behind(&mut self, id: ConnectionId, now: Now) {
        // What is behind a request that was given up has no answer either.
        while let Some(connection) = self.clients.get_mut(id).filter(|it| it.phase != Phase::Closing) {
            let goes = |first: &mut Waiting| {
                matches!(first, Waiting::Behind { .. } | Waiting::Sync { ready: true, .. })
            };
            let Some(waiting) = connection.waiting.pop_front_if(goes) else { break };
            let is_sync = matches!(waiting, Waiting::Sync { .. });
            let (Waiting::Behind { frame, received_us } | Waiting::Sync { frame, received_us, .. }) = waiting
            else {
                unreachable!("nothing else goes")
            };
            connection.syncs -= usize::from(is_sync);
            connection.waiting_bytes -= frame.len();
            self.outstanding -= 1;
            self.outstanding_bytes -= frame.len();
            self.answer(id, &frame, received_us, now);
            if is_sync {
                self.let_writes_go(id, now);
            }
        }
        // It may have been held back; now there is room.
        self.clients.note(id);
    }

    pub(super) fn note_latency(&mut self, id: ConnectionId, latency_us: u64, now: Now) {
        self.clients.metrics.request_latency.record(Duration::from_micros(latency_us));
        let zxid = self.tree.zxid().to_wire();
        if let Some(connection) = self.clients.get_mut(id) {
            connection.counters.latency.record(latency_us);
            connection.counters.last_response_ms = now.wall_ms;
            connection.counters.last_zxid = zxid;
        }
    }
}

/// The operation of a request and its path, for the log.
pub(super) fn described(frame: &[u8]) -> (&'static str, String) {
    let mut reader = Reader::new(frame);
    let op = RequestHeader::decode(&mut reader).map_or(0, |header| header.op);
    let path = match OpCode::from_wire(op) {
        Some(OpCode::MultiRead | OpCode::SetWatches | OpCode::SetWatches2) | None => String::new(),
        Some(_) => reader.string().ok().flatten().unwrap_or_default().into_owned(),
    };
    (OpCode::from_wire(op).map_or("unknown", OpCode::name), path)
}
