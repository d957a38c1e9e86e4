//! The server's shell: it reads frames, carries out what the service wishes, and lets time pass.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use client::wire::zk::reply::XID_NOTIFICATION;
use client::wire::zk::{ConnectRequest, Request, SessionId};
use coordinator::config::DigestAlgorithm;
use coordinator::request::auth::digest_id;
use coordinator::request::{Duty, Service};
use coordinator::store::{Log, Retention, SnapshotWriter};
use coordinator::tree::command::{Command, Op};
use coordinator::tree::watches::ConnectionId;
use coordinator::tree::znode::Ownership;

use super::clients::Sent;
use super::{Planted, World};
use crate::check::service::{Asked, Consequence, Violation, violation};

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) zxid: u64,
    pub(super) serial: u64,
    pub(super) bytes: Bytes,
}

/// Everything that dies with the server's process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) service: Service,
    pub(super) log: Log,
    pub(super) in_flight: VecDeque<InFlight>,
    /// How many of them the log has.
    pub(super) appended: usize,
    pub(super) durable: u64,
    pub(super) snapshot: Option<SnapshotWriter>,
    pub(super) snapshot_zxid: u64,
    pub(super) retention: Retention,
    pub(super) commands_since_snapshot: u64,
    pub(super) waiting_for_space: bool,
    pub(super) served_ms: u64,
    pub(super) last_tick_ms: u64,
    /// By session: when it was last heard, in served time, and when it must be gone at the latest.
    pub(super) heard: BTreeMap<i64, (u64, u64)>,
}

impl World {
    pub(super) fn start(&mut self) -> Result<(), Violation> {
        let now = self.now();
        self.server.service.stand(Duty::Alone, now);
        self.pump(None)
    }

    /// A frame of a client reaches the server, if it reads.
    pub(super) fn server_reads(&mut self, at: usize) -> Result<(), Violation> {
        let id = self.clients[at].connection;
        if id == 0 || !self.server.service.may_read(ConnectionId(id)) {
            return Ok(());
        }
        let Some(sent) = self.clients[at].to_server.pop_front() else { return Ok(()) };
        if !self.oracle.is_read(id) {
            return violation("C9", format!("connection {id} is read although it is over"));
        }
        let mut frame = Vec::new();
        let consequence = match sent {
            Sent::Hello { session, password, last_zxid } => {
                let timeout_ms = self.configuration.timeout_ms as u32 * 2;
                ConnectRequest {
                    protocol_version: 0,
                    last_zxid_seen: last_zxid as i64,
                    timeout_ms: timeout_ms as i32,
                    session: SessionId(session),
                    password: &password,
                    read_only: Some(false),
                }
                .write(&mut frame);
                let consequence = self.oracle.hello(id, session, &password, last_zxid, timeout_ms);
                if self.oracle.attached.get(&session) == Some(&id) {
                    self.hear(session, u64::from(timeout_ms));
                }
                consequence
            }
            Sent::Request { xid, request } => {
                request.write(xid, &mut frame);
                let digest = match &request {
                    Request::Auth { token, .. } => {
                        digest_id(DigestAlgorithm::Sha1, token.unwrap_or_default())
                    }
                    _ => String::new(),
                };
                let connection = &self.oracle.connections[&id];
                let (session, timeout_ms) = (connection.session, connection.timeout_ms);
                self.hear(session, u64::from(timeout_ms));
                self.oracle.frame(id, xid, &request, &digest)
            }
        };
        let now = self.now();
        self.server.service.frame(ConnectionId(id), &frame[4..], now);
        self.note("read", || format!("the server reads {} bytes on {id}", frame.len()));
        match consequence {
            Consequence::Proposal(asked) => self.pump(Some(asked)),
            Consequence::Nothing => self.pump(None),
        }
    }

    pub(super) fn hear(&mut self, session: i64, timeout_ms: u64) {
        let served = self.server.served_ms;
        let latest = served + timeout_ms + self.configuration.tick_ms;
        if let Some(heard) = self.server.heard.get_mut(&session) {
            *heard = (served, heard.1.max(latest));
        }
    }

    /// Carries out what the service wishes and compares what it sends. `asked` must become exactly one command.
    pub(super) fn pump(&mut self, mut asked: Option<Asked>) -> Result<(), Violation> {
        for proposal in self.server.service.take_proposals() {
            let zxid = self.history.len() as u64 + 1;
            let command = Command::decode(&proposal.bytes).expect("just encoded");
            let wanted = match &command.op {
                Op::Start { .. } => None,
                Op::Reap { path, .. } => {
                    self.check_reap(path, command.time_ms)?;
                    None
                }
                Op::CloseSession if asked.is_none() => {
                    self.check_expiry(command.session)?;
                    None
                }
                _ => match asked.take() {
                    Some(asked) if asked.request.is_none() || asked.session == command.session => Some(asked),
                    other => {
                        return violation("C2", format!("{command:?} was proposed, asked was {other:?}"));
                    }
                },
            };
            let bytes = proposal.bytes;
            self.history.push((bytes.clone(), wanted));
            self.server.in_flight.push_back(InFlight { zxid, serial: proposal.serial, bytes });
        }
        if let Some(asked) = asked {
            return violation("C9", format!("{asked:?} was not proposed"));
        }
        let mut noted = self.server.service.take_noted();
        noted.extend(self.oracle.expecting().into_iter().map(ConnectionId));
        let mut out = Vec::new();
        for ConnectionId(id) in noted {
            if !self.oracle.connections.contains_key(&id) {
                continue;
            }
            self.server.service.take_output(ConnectionId(id), &mut out);
            self.spoil(&mut out);
            let frames = self.oracle.check(id, &out)?;
            let closing = self.server.service.is_closing(ConnectionId(id));
            if closing != self.oracle.is_over(id) {
                return violation(
                    "C10",
                    format!("connection {id} is closed: {closing}, and should be the opposite"),
                );
            }
            if let Some(client) = self.clients.iter_mut().find(|client| client.connection == id) {
                client.to_client.extend(frames);
            }
            if closing {
                self.server.service.disconnect(ConnectionId(id));
                self.oracle.disconnect(id);
            }
        }
        Ok(())
    }

    /// Planted mistakes in what is sent.
    pub(super) fn spoil(&mut self, out: &mut Vec<u8>) {
        let Some(planted @ (Planted::EventAfterReply | Planted::EventLost)) = self.planted else { return };
        let Some(length) = out.first_chunk::<4>() else { return };
        let size = 4 + u32::from_be_bytes(*length) as usize;
        if out.len() > 8 && out[4..8] == XID_NOTIFICATION.to_be_bytes() {
            match planted {
                Planted::EventLost => drop(out.drain(..size)),
                _ => out.rotate_left(size),
            }
        }
    }

    pub(super) fn check_reap(&self, path: &str, time_ms: i64) -> Result<(), Violation> {
        let due = self.oracle.model.get(path).is_some_and(|node| {
            self.oracle.model.children(path).is_empty()
                && match node.owner {
                    Ownership::Container => node.children[0] > 0,
                    Ownership::Ttl { ms } => node.times[1] + ms < time_ms,
                    _ => false,
                }
        });
        if due { Ok(()) } else { violation("C12", format!("{path} is reaped too early")) }
    }

    pub(super) fn check_expiry(&mut self, session: i64) -> Result<(), Violation> {
        let served = self.server.served_ms;
        let timeout = self.oracle.model.sessions.get(&session).copied().unwrap_or_default();
        let heard = self.server.heard.remove(&session).map(|(heard, _)| heard);
        self.oracle.expires(session);
        self.note("expire", || format!("session {session:#x}"));
        // A client that came back may have been granted less than at first, never more.
        match heard {
            Some(heard) if served >= heard + u64::from(timeout) => Ok(()),
            heard => violation(
                "C10",
                format!("session {session:#x} expires at {served}, was heard at {heard:?}, has {timeout} ms"),
            ),
        }
    }

    pub(super) fn tick(&mut self) -> Result<(), Violation> {
        self.now_ms += self.schedule.below(self.configuration.tick_ms);
        let step = self.now_ms - self.server.last_tick_ms;
        self.server.last_tick_ms = self.now_ms;
        self.server.served_ms += step.min(1000);
        let mut now = self.now();
        if self.planted == Some(Planted::EarlyExpiry) {
            now.monotonic_us *= 2;
        }
        self.server.service.tick(now);
        self.note("tick", String::new);
        self.pump(None)?;
        let served = self.server.served_ms;
        let ending = &self.oracle.ending;
        let overdue =
            |(session, (_, latest)): &(&i64, &(u64, u64))| *latest < served && !ending.contains(session);
        match self.server.heard.iter().find(overdue) {
            Some((session, _)) => violation("C10", format!("session {session:#x} does not expire")),
            None => Ok(()),
        }
    }
}
