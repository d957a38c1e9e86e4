//! PROPOSE and REPLY: what clients ask, in; commands for the log and bytes for sockets, out.
//!
//! [`Service`] is a plain struct that the shell calls: no sockets, no files, no clock. Order is by construction. A
//! connection's requests are answered in the order in which they came; what a write caused is put into the buffers of
//! the connections that watch before its reply is put anywhere; and a read is answered from the tree in the same call
//! that leaves its watch.
//!
//! Call order: `connect` once, `frame` for each whole frame while `may_read`, `disconnect` once; `committed` for each
//! command of the agreed order; `tick` now and then. After any of them, `take_proposals` and `take_noted`.

pub mod auth;
mod clients;
pub mod command;
pub mod connection;
mod handshake;
mod read;
mod reply;
pub mod session_clock;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use client::wire::codec::{DecodeError, Reader, Writer};
use client::wire::zk::reply::XID_PING;
use client::wire::zk::{
    ErrorCode, EventType, Identity, OpCode, Request, RequestHeader, SessionId, WatchEvent, Zxid, perms,
};
use hashbrown::HashMap;

use self::auth::Randomness;
use self::clients::Clients;
use self::command::ReplyForm;
use self::connection::{Connection, Phase, Waiting};
use self::session_clock::SessionClock;
use crate::auth::digest_md5::{DigestMd5, Step};
use crate::config::{AuthConfig, LimitsConfig, Secret, SessionConfig, TreeConfig};
use crate::limits;
use crate::metrics::Metrics;
use crate::tree::acl;
use crate::tree::arena::NodeId;
use crate::tree::command::{Command, CommandError, IdentityRecord, Op, Rules};
use crate::tree::watches::{ConnectionId, Notice, Watches};
use crate::tree::znode::Ownership;
use crate::tree::{Change, Outcome, Tree};

/// The clocks, read once by the shell for everything one call does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Never goes back; from any start.
    pub monotonic_us: u64,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

impl Now {
    fn monotonic_ms(self) -> u64 {
        self.monotonic_us / 1000
    }
}

/// The parts of the configuration that decide answers.
#[derive(Debug, Clone)]
pub struct Settings {
    pub server_id: u8,
    pub session: SessionConfig,
    pub limits: LimitsConfig,
    pub tree: TreeConfig,
    pub auth: AuthConfig,
    pub reconfig_enabled: bool,
}

/// A command that wants a place in the agreed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Given back with [`Service::committed`].
    pub serial: u64,
    pub bytes: Bytes,
}

/// Who waits for a proposal.
#[derive(Debug)]
struct Pending {
    serial: u64,
    connection: Option<ConnectionId>,
}

/// Whether somebody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    No,
    /// Nobody is known by that scheme.
    Unknown,
}

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

/// Everything clients share.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    tree: Tree,
    watches: Watches,
    clock: SessionClock,
    clients: Clients,
    /// Which connection a session is on.
    attached: HashMap<SessionId, ConnectionId, foldhash::fast::FixedState>,
    /// Sessions whose end is on its way through the log.
    ending: BTreeSet<SessionId>,
    pending: VecDeque<Pending>,
    proposals: Vec<Proposal>,
    next_serial: u64,
    next_session: u32,
    outstanding: usize,
    outstanding_bytes: usize,
    changes: Vec<Change>,
    /// Nodes whose end is on its way through the log.
    reaping: BTreeMap<String, Ownership>,
    randomness: Randomness,
    disk_full: bool,
    serving: bool,
    stopping: bool,
    digests: VecDeque<(Zxid, u64)>,
    slow: Vec<SlowOperation>,
    audit: Option<Vec<Audited>>,
}

impl Service {
    /// A service over what recovery found. It serves from [`Service::start`]'s command on.
    pub fn new(settings: Settings, tree: Tree, seed: [u8; 32], now: Now) -> Service {
        let mut randomness = Randomness::new(seed);
        let hash_seed = u64::from_le_bytes(*randomness.draw().first_chunk().expect("32 bytes"));
        let tick_ms = settings.session.tick.as_millis() as u64;
        let mut clock = SessionClock::new(tick_ms, now.monotonic_ms());
        for (id, session) in tree.sessions().iter() {
            // Whoever lived when the server stopped gets all of its time again.
            clock.add(id, session.timeout_ms);
        }
        Service {
            settings,
            tree,
            watches: Watches::new(hash_seed),
            clock,
            clients: Clients::default(),
            attached: HashMap::default(),
            ending: BTreeSet::new(),
            pending: VecDeque::new(),
            proposals: Vec::new(),
            next_serial: 0,
            next_session: 0,
            outstanding: 0,
            outstanding_bytes: 0,
            changes: Vec::new(),
            reaping: BTreeMap::new(),
            randomness,
            disk_full: false,
            serving: false,
            stopping: false,
            digests: VecDeque::new(),
            slow: Vec::new(),
            audit: None,
        }
    }

    // ---- what the shell does with it ----

    /// Proposes that this server begins to serve; it does when that is committed.
    pub fn start(&mut self, now: Now) {
        let secret = self.randomness.draw();
        let server = self.settings.server_id;
        self.propose(None, SessionId::NONE, &[], Op::Start { server, secret: &secret }, now);
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.serving
    }

    pub fn connect(
        &mut self,
        id: ConnectionId,
        (address, port): (IpAddr, u16),
        secure: bool,
        mut identities: Vec<Identity<'static>>,
        now: Now,
    ) {
        identities.insert(0, Identity::new("ip", address.to_canonical().to_string()));
        let connection = Connection::new(address, port, secure, identities, now.wall_ms);
        self.clients.map.insert(id, connection);
    }

    /// The socket is gone.
    pub fn disconnect(&mut self, id: ConnectionId) {
        self.watches.forget(id);
        if let Some(connection) = self.clients.map.remove(&id) {
            self.outstanding -= connection.waiting.len();
            self.outstanding_bytes -= connection.waiting_bytes;
            self.clients.unsent_bytes -= connection.out.len();
            if self.attached.get(&connection.session) == Some(&id) {
                self.attached.remove(&connection.session);
            }
        }
    }

    /// Whether the connection's next frame may be handled now. When it becomes true again, the connection is noted.
    pub fn may_read(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.clients.get(id) else { return false };
        let limits = &self.settings.limits;
        if self.stopping {
            return false;
        }
        match connection.phase {
            Phase::Opening | Phase::Leaving | Phase::Closing => return false,
            Phase::New | Phase::Open => {}
        }
        if connection.out.len() >= limits::UNSENT_BYTES_PER_CONNECTION_SLOW {
            return false;
        }
        connection.waiting.is_empty()
            || (connection.waiting.len() < limits.outstanding_per_connection_max as usize
                && self.outstanding < limits.outstanding_max as usize
                && self.outstanding_bytes < limits::IN_FLIGHT_BYTES_MAX)
    }

    /// Whether the connection is to be closed once its buffer is sent.
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.clients.get(id).is_none_or(|connection| connection.phase == Phase::Closing)
    }

    /// Moves what is to be sent, whole frames, into `out`, whose memory is used again.
    pub fn take_output(&mut self, id: ConnectionId, out: &mut Vec<u8>) {
        out.clear();
        if let Some(connection) = self.clients.get_mut(id) {
            connection.noted = false;
            std::mem::swap(&mut connection.out, out);
            self.clients.unsent_bytes -= out.len();
        }
    }

    /// Commands that want a place in the order, in the order in which they want it.
    pub fn take_proposals(&mut self) -> Vec<Proposal> {
        std::mem::take(&mut self.proposals)
    }

    /// Operations that took too long since the last call.
    pub fn take_slow(&mut self) -> Vec<SlowOperation> {
        std::mem::take(&mut self.slow)
    }

    /// From now on, everything that is executed is noted for the audit log.
    pub fn keep_audit(&mut self) {
        self.audit.get_or_insert_default();
    }

    /// What was executed since the last call, if the audit log is on.
    pub fn take_audited(&mut self) -> Vec<Audited> {
        self.audit.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Connections to look after: send, read on, or close.
    pub fn take_noted(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.clients.noted)
    }

    /// Reads nothing more from anybody; what was asked before is still answered.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Reads from everybody again.
    pub fn go_on(&mut self) {
        self.stopping = false;
        let everybody: Vec<ConnectionId> = self.clients.map.keys().copied().collect();
        everybody.into_iter().for_each(|id| self.clients.note(id));
    }

    /// Another state takes the place of this one. Every client has to connect again, and sees what there is then.
    pub fn replace_tree(&mut self, tree: Tree, now: Now) {
        assert!(self.pending.is_empty(), "what was proposed belongs to the state before");
        let everybody: Vec<ConnectionId> = self.clients.map.keys().copied().collect();
        for id in everybody {
            self.watches.forget(id);
            self.clients.close(id);
        }
        self.attached.clear();
        self.ending.clear();
        self.reaping.clear();
        self.digests.clear();
        // Session numbers go on where they were: the counts of starts never go back.
        self.tree = tree;
        let tick_ms = self.settings.session.tick.as_millis() as u64;
        self.clock = SessionClock::new(tick_ms, now.monotonic_ms());
        for (id, session) in self.tree.sessions().iter() {
            self.clock.add(id, session.timeout_ms);
        }
    }

    /// Whether somebody who shows this may do everything to the root, and so to all data.
    pub fn may_do_everything(&self, address: IpAddr, scheme: &str, token: &[u8]) -> Verdict {
        let auth = &self.settings.auth;
        let mut identities = vec![Identity::new("ip", address.to_canonical().to_string())];
        match (scheme, &auth.digest) {
            ("ip", _) => {}
            ("digest", Some(digest)) => {
                let id = auth::digest_id(digest.algorithm, token);
                if digest.super_digest.as_ref().is_some_and(|wanted| wanted.reveal() == id) {
                    identities.push(Identity::new("super", ""));
                }
                identities.push(Identity::new("digest", id));
            }
            _ => return Verdict::Unknown,
        }
        let every_right = [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN];
        let root = NodeId::ROOT;
        match auth.skip_acl || every_right.iter().all(|right| self.tree.permits(root, *right, &identities)) {
            true => Verdict::Yes,
            false => Verdict::No,
        }
    }

    /// The log cannot take more (or can again).
    pub fn set_disk_full(&mut self, full: bool) {
        self.disk_full = full;
    }

    // ---- what is there to see ----

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// For the walk of a snapshot.
    pub fn tree_mut(&mut self) -> &mut Tree {
        &mut self.tree
    }

    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    pub fn clock(&self) -> &SessionClock {
        &self.clock
    }

    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.clients.map.iter().map(|(id, connection)| (*id, connection))
    }

    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.clients.get(id)
    }

    /// The connection a session is on.
    pub fn attached_to(&self, session: SessionId) -> Option<ConnectionId> {
        self.attached.get(&session).copied()
    }

    /// Why writes that grow the tree are refused at the moment.
    pub fn writes_refused(&self) -> Option<&'static str> {
        if self.disk_full {
            Some("the disk is full")
        } else if self.memory_bytes() >= self.settings.limits.memory_bytes_max {
            Some("the memory limit is reached")
        } else {
            None
        }
    }

    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub fn metrics(&self) -> &Metrics {
        &self.clients.metrics
    }

    pub fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.clients.metrics
    }

    /// The running digest at some earlier writes, oldest first.
    pub fn digests(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.digests.iter().copied()
    }

    pub fn reset_connection_counters(&mut self) {
        for connection in self.clients.map.values_mut() {
            let established_ms = connection.counters.established_ms;
            connection.counters =
                connection::Counters { established_ms, last_xid: -1, last_zxid: -1, ..Default::default() };
        }
    }

    /// Memory that clients made the server use, roughly.
    pub fn memory_bytes(&self) -> u64 {
        self.tree.memory_bytes()
            + self.watches.memory_bytes()
            + (self.outstanding_bytes + self.clients.unsent_bytes) as u64
            + self.clients.map.len() as u64 * 1024
    }

    // ---- frames ----

    /// Handles one whole frame, without its length.
    pub fn frame(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        self.clients.metrics.packets_received += 1;
        self.clients.metrics.bytes_received_count += frame.len() as u64 + 4;
        let Some(connection) = self.clients.get_mut(id) else { return };
        connection.counters.received += 1;
        match connection.phase {
            Phase::New => self.handshake(id, frame, now),
            Phase::Open => self.request(id, frame, now),
            Phase::Opening | Phase::Leaving | Phase::Closing => {}
        }
    }

    fn request(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        let connection = self.clients.get_mut(id).expect("the caller looked it up");
        let session = connection.session;
        self.clock.touch(session);
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            self.clients.metrics.connection_drop_count += 1;
            self.clients.close(id);
            return;
        };
        connection.counters.last_xid = header.xid;
        let request = Request::decode(header.op, &mut reader);
        match &request {
            Ok(Request::Ping) => {
                // Answered at once, whatever waits: a busy log must not make clients leave.
                self.clients.reply(id, XID_PING, self.tree.zxid().to_wire(), |_| {});
                return;
            }
            Ok(Request::Auth { scheme, token }) => {
                self.authenticate(id, header.xid, scheme, *token);
                return;
            }
            Ok(Request::Sasl { token }) => {
                self.sasl(id, header.xid, *token);
                return;
            }
            _ => {}
        }
        if !self.is_authenticated_enough(id) {
            self.clients.reply_error(id, header.xid, 0, ErrorCode::SessionClosedRequireSaslAuth);
            self.clients.close(id);
            return;
        }
        match request {
            Ok(request) if command::is_write(&request) => self.write(id, header.xid, &request, frame, now),
            _ => self.answer_in_turn(id, frame, now),
        }
    }

    /// Answers now if nothing is before it, else when its turn comes.
    fn answer_in_turn(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        let Some(connection) = self.clients.get_mut(id) else { return };
        if connection.waiting.is_empty() {
            self.answer(id, frame, now.monotonic_us, now);
            return;
        }
        connection.waiting.push_back(Waiting::Behind { frame: frame.into(), received_us: now.monotonic_us });
        connection.waiting_bytes += frame.len();
        self.outstanding += 1;
        self.outstanding_bytes += frame.len();
    }

    /// Answers a request that is not a write, or one that was refused before it could become a command.
    fn answer(&mut self, id: ConnectionId, frame: &[u8], received_us: u64, now: Now) {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else { return };
        match Request::decode(header.op, &mut reader) {
            Ok(request) if command::is_write(&request) => {
                let code = self.refusal(&request).unwrap_or(ErrorCode::SystemError);
                self.clients.reply_error(id, header.xid, self.tree.zxid().to_wire(), code);
            }
            Ok(request) => self.read(id, header.xid, &request),
            Err(DecodeError::UnknownOperation(_)) => {
                self.clients.metrics.connection_drop_count += 1;
                self.clients.reply_error(id, header.xid, -1, ErrorCode::Unimplemented);
                self.clients.close(id);
            }
            Err(_) => {
                self.clients.reply_error(
                    id,
                    header.xid,
                    self.tree.zxid().to_wire(),
                    ErrorCode::MarshallingError,
                );
            }
        }
        let latency = now.monotonic_us.saturating_sub(received_us);
        if self.is_slow(latency) {
            let (op, path) = described(frame);
            self.note_slow(id, op, path, received_us, None);
        }
        self.clients.metrics.readlatency.record(Duration::from_micros(latency));
        self.note_latency(id, latency, now);
    }

    /// Why a write cannot become a command at all.
    fn refusal(&mut self, request: &Request<'_>) -> Option<ErrorCode> {
        match command::operation(request, self.settings.tree.extended_types) {
            Err(code) => Some(code),
            Ok(_) => self.refusal_to_grow(request),
        }
    }

    fn refusal_to_grow(&mut self, request: &Request<'_>) -> Option<ErrorCode> {
        if !command::grows(request) {
            None
        } else if self.disk_full {
            self.clients.metrics.rookery_disk_refused_count += 1;
            Some(ErrorCode::SystemError)
        } else if self.memory_bytes() >= self.settings.limits.memory_bytes_max {
            self.clients.metrics.rookery_memory_refused_count += 1;
            Some(ErrorCode::SystemError)
        } else {
            None
        }
    }

    fn write(&mut self, id: ConnectionId, xid: i32, request: &Request<'_>, frame: &[u8], now: Now) {
        let op = match command::operation(request, self.settings.tree.extended_types) {
            Ok(op) if self.refusal_to_grow(request).is_none() => op,
            _ => return self.answer_in_turn(id, frame, now),
        };
        let session = self.clients.get(id).map(|connection| connection.session).unwrap_or_default();
        let serial = self.propose_for(id, session, op, now);
        let Some(connection) = self.clients.get_mut(id) else { return };
        if matches!(request, Request::CloseSession) {
            // What it sends after this is of no interest to anybody.
            connection.phase = Phase::Leaving;
            self.ending.insert(session);
        }
        let (form, received_us, size) = (command::reply_form(request), now.monotonic_us, frame.len());
        connection.waiting.push_back(Waiting::Write { serial, xid, form, received_us, size });
        connection.waiting_bytes += size;
        self.outstanding += 1;
        self.outstanding_bytes += size;
    }

    /// Proposes with the identities of a connection.
    fn propose_for(&mut self, id: ConnectionId, session: SessionId, op: Op<'_>, now: Now) -> u64 {
        let identities =
            self.clients.get_mut(id).map(|connection| std::mem::take(&mut connection.identities));
        let identities = identities.unwrap_or_default();
        let serial = self.propose(Some(id), session, &identities, op, now);
        if let Some(connection) = self.clients.get_mut(id) {
            connection.identities = identities;
        }
        serial
    }

    fn propose(
        &mut self,
        connection: Option<ConnectionId>,
        session: SessionId,
        identities: &[Identity<'_>],
        op: Op<'_>,
        now: Now,
    ) -> u64 {
        let command = Command {
            session: session.0,
            time_ms: now.wall_ms,
            identities: identities
                .iter()
                .map(|who| IdentityRecord { scheme: &who.scheme, id: &who.id })
                .collect(),
            rules: Rules {
                skip_acl: self.settings.auth.skip_acl,
                enforce_quota: self.settings.tree.enforce_quota,
            },
            op,
        };
        let serial = self.next_serial;
        self.next_serial += 1;
        self.pending.push_back(Pending { serial, connection });
        self.proposals.push(Proposal { serial, bytes: command.encode().into() });
        serial
    }

    // ---- commits ----

    /// Executes the next command of the agreed order; `serial` says which proposal of ours it was, if it was ours.
    pub fn committed(
        &mut self,
        zxid: Zxid,
        serial: Option<u64>,
        bytes: &Bytes,
        now: Now,
    ) -> Result<(), CommandError> {
        let mut changes = std::mem::take(&mut self.changes);
        let outcome = self.tree.execute(zxid, bytes, &mut changes)?;
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

        let connection = serial.and_then(|serial| {
            let pending = self.pending.pop_front().expect("commits come for what was proposed");
            assert_eq!(pending.serial, serial, "commits come in the order of proposals");
            pending.connection
        });
        match &outcome {
            Outcome::Started => self.serving = true,
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
        Ok(())
    }

    fn note_audited(
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
    fn tell_watchers(&mut self, zxid: Zxid, changes: &[Change]) {
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
    fn answer_write(
        &mut self,
        id: ConnectionId,
        serial: Option<u64>,
        zxid: Zxid,
        outcome: &Outcome<'_>,
        now: Now,
    ) -> Option<u64> {
        let connection = self.clients.get_mut(id)?;
        let Some(Waiting::Write { serial: expected, xid, form, received_us, size }) =
            connection.waiting.pop_front()
        else {
            unreachable!("a committed write is at the head of its connection's queue");
        };
        assert_eq!(Some(expected), serial, "writes of a connection are committed in order");
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

    fn is_slow(&self, latency_us: u64) -> bool {
        self.settings.limits.slow_operation.is_some_and(|limit| u128::from(latency_us) >= limit.as_micros())
    }

    fn note_slow(
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
    fn answer_behind(&mut self, id: ConnectionId, now: Now) {
        while let Some(connection) = self.clients.get_mut(id) {
            let Some(Waiting::Behind { .. }) = connection.waiting.front() else { break };
            let Some(Waiting::Behind { frame, received_us }) = connection.waiting.pop_front() else { break };
            connection.waiting_bytes -= frame.len();
            self.outstanding -= 1;
            self.outstanding_bytes -= frame.len();
            self.answer(id, &frame, received_us, now);
        }
        // It may have been held back; now there is room.
        self.clients.note(id);
    }

    fn note_latency(&mut self, id: ConnectionId, latency_us: u64, now: Now) {
        self.clients.metrics.request_latency.record(Duration::from_micros(latency_us));
        let zxid = self.tree.zxid().to_wire();
        if let Some(connection) = self.clients.get_mut(id) {
            connection.counters.latency.record(latency_us);
            connection.counters.last_response_ms = now.wall_ms;
            connection.counters.last_zxid = zxid;
        }
    }

    // ---- time ----

    /// Ends sessions that were silent too long, and reaps what is due.
    pub fn tick(&mut self, now: Now) {
        for session in self.clock.advance(now.monotonic_ms()) {
            if self.ending.insert(session) {
                self.clients.metrics.stale_sessions_expired += 1;
                self.propose(None, session, &[], Op::CloseSession, now);
            }
        }
        self.reap(now);
    }

    /// Proposes the end of empty containers and outlived nodes.
    fn reap(&mut self, now: Now) {
        if !self.serving || self.reaping.len() >= REAPING_MAX {
            return;
        }
        let tree = &self.tree;
        let mut due: Vec<NodeId> = tree.lifetimes().due(now.wall_ms).take(REAPING_MAX).collect();
        if let Some(patience) = self.settings.tree.container_never_used_max {
            let born_before = now.wall_ms - patience.as_millis() as i64;
            let unused = tree.lifetimes().never_used().filter(|id| tree.node(*id).ctime < born_before);
            due.extend(unused.take(REAPING_MAX));
        }
        for id in due {
            let path = self.tree.path(id);
            if self.reaping.contains_key(&path) {
                continue;
            }
            let node = self.tree.node(id);
            let kind = node.owner.ownership();
            let (czxid, mzxid, pzxid) = (node.czxid.0, node.mzxid.0, node.pzxid.0);
            let op = Op::Reap { path: &path, czxid, mzxid, pzxid };
            self.propose(None, SessionId::NONE, &[], op, now);
            self.reaping.insert(path, kind);
        }
    }

    fn note_reaped(&mut self, bytes: &[u8], outcome: &Outcome<'_>) {
        let Ok(Command { op: Op::Reap { path, .. }, .. }) = Command::decode(bytes) else { return };
        match (self.reaping.remove(path), outcome) {
            (Some(Ownership::Container), Outcome::Deleted) => {
                self.clients.metrics.container_node_deleted_count += 1
            }
            (Some(Ownership::Ttl { .. }), Outcome::Deleted) => {
                self.clients.metrics.ttl_node_deleted_count += 1
            }
            _ => {}
        }
    }
    // ---- small things everybody uses ----

    /// Ends connections by an operator's or the server's own wish.
    pub fn close_connection(&mut self, id: ConnectionId) {
        self.clients.close(id);
    }

    fn is_authenticated_enough(&self, id: ConnectionId) -> bool {
        let auth = &self.settings.auth;
        if !auth.require_sasl && auth.required_schemes.is_empty() {
            return true;
        }
        let Some(connection) = self.clients.get(id) else { return false };
        let has = |scheme: &str| connection.identities.iter().any(|identity| identity.scheme == scheme);
        (!auth.require_sasl || has("sasl"))
            && (auth.required_schemes.is_empty() || auth.required_schemes.iter().any(|scheme| has(scheme)))
    }

    fn authenticate(&mut self, id: ConnectionId, xid: i32, scheme: &str, token: Option<&[u8]>) {
        let auth = &self.settings.auth;
        let connection = self.clients.get_mut(id).expect("the caller looked it up");
        let room = connection.identities.len() < limits::IDENTITIES_PER_CONNECTION_MAX
            && token.is_none_or(|token| token.len() <= limits::IDENTITY_BYTES_MAX);
        let accepted = match (scheme, token) {
            _ if !room => false,
            ("digest", Some(token)) => match &auth.digest {
                Some(digest) => {
                    let identity = auth::digest_id(digest.algorithm, token);
                    if digest.super_digest.as_ref().is_some_and(|wanted| wanted.reveal() == identity) {
                        connection.add_identity("super", String::new());
                    }
                    connection.add_identity("digest", identity);
                    true
                }
                None => false,
            },
            // Everybody has this identity from the start.
            ("ip", _) => true,
            ("ensemble", token) => auth.ensemble_names.as_ref().is_none_or(|names| {
                let name = String::from_utf8_lossy(token.unwrap_or_default());
                name.is_empty() || names.iter().any(|known| *known == name)
            }),
            _ => false,
        };
        if accepted {
            self.clients.reply(id, xid, 0, |_| {});
        } else {
            self.clients.metrics.auth_failed_count += 1;
            self.clients.reply_error(id, xid, 0, ErrorCode::AuthFailed);
            self.clients.close(id);
        }
    }

    /// One round of a SASL exchange. The last one makes the client somebody.
    fn sasl(&mut self, id: ConnectionId, xid: i32, token: Option<&[u8]>) {
        let nonce = self.randomness.draw();
        let Service { clients, settings, .. } = self;
        let Some(connection) = clients.get_mut(id) else { return };
        let mut exchange = connection.sasl.take().unwrap_or_else(|| Box::new(DigestMd5::new(nonce)));
        connection.sasl_rounds += 1;
        let step = match &settings.auth.sasl {
            None => Step::Failed("no SASL accounts are configured"),
            Some(_) if connection.sasl_rounds > limits::SASL_ROUNDS_MAX => Step::Failed("too many rounds"),
            Some(sasl) => {
                exchange.step(token.unwrap_or_default(), |user| sasl.users.get(user).map(Secret::reveal))
            }
        };
        match step {
            Step::Challenge(challenge) => {
                connection.sasl = Some(exchange);
                clients.reply(id, xid, 0, |out| out.buffer(Some(&challenge)));
            }
            Step::Done { token, user } => {
                if settings.auth.sasl.as_ref().is_some_and(|sasl| sasl.super_users.contains(&user)) {
                    connection.add_identity("super", String::new());
                }
                connection.add_identity("sasl", user);
                clients.reply(id, xid, 0, |out| out.buffer(Some(&token)));
            }
            Step::Failed(why) => {
                clients.metrics.auth_failed_count += 1;
                tracing::debug!(why, "SASL authentication failed");
                let code = match settings.auth.require_sasl {
                    true => ErrorCode::SessionClosedRequireSaslAuth,
                    false => ErrorCode::AuthFailed,
                };
                clients.reply_error(id, xid, 0, code);
                if settings.auth.require_sasl || !settings.auth.allow_sasl_failed {
                    clients.close(id);
                }
            }
        }
    }
}

/// The operation of a request and its path, for the log.
fn described(frame: &[u8]) -> (&'static str, String) {
    let mut reader = Reader::new(frame);
    let op = RequestHeader::decode(&mut reader).map_or(0, |header| header.op);
    let path = match OpCode::from_wire(op) {
        Some(OpCode::MultiRead | OpCode::SetWatches | OpCode::SetWatches2) | None => String::new(),
        Some(_) => reader.string().ok().flatten().unwrap_or_default().into_owned(),
    };
    (OpCode::from_wire(op).map_or("unknown", OpCode::name), path)
}

/// Slow operations described at once; more are only counted.
const SLOW_NOTED_MAX: usize = 16;

/// Reapings under way at once: each is a small command, and the next tick brings more.
const REAPING_MAX: usize = 500;
