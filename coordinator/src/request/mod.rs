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
mod authenticate;
mod clients;
pub mod command;
mod commit;
pub mod connection;
mod duty;
mod handshake;
pub mod letter;
mod local_sessions;
mod read;
mod reaper;
mod reconfig;
mod reply;
pub mod session_clock;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use client::wire::codec::{DecodeError, Reader};
use client::wire::zk::reply::XID_PING;
use client::wire::zk::{Create, ErrorCode, Identity, Request, RequestHeader, SessionId, Zxid};
use hashbrown::HashMap;

use self::auth::Randomness;
pub use self::authenticate::Verdict;
use self::clients::Clients;
use self::commit::described;
pub use self::commit::{Audited, SlowOperation};
use self::connection::{Connection, Phase, Waiting};
pub use self::duty::Duty;
use self::duty::Ties;
use self::letter::Letter;
pub use self::reconfig::MembersChange;
use self::session_clock::SessionClock;
use crate::config::{AuthConfig, LimitsConfig, SessionConfig, TreeConfig};
use crate::limits;
use crate::metrics::Metrics;
use crate::tree::command::{Command, IdentityRecord, Op, Rules};
use crate::tree::watches::{ConnectionId, Watches};
use crate::tree::znode::Ownership;
use crate::tree::{Change, Tree};

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
    /// Serve clients that accept old data while there is no quorum.
    pub read_only_mode: bool,
    /// Whether this server serves clients while it leads.
    pub leader_serves: bool,
    /// The members by the configuration files, as the config node says it; nothing where a server is alone.
    pub members_text: Option<String>,
}

/// A command that wants a place in the agreed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The server whose client asked.
    pub origin: u8,
    /// That server's number for it, given back with [`Service::committed`] there.
    pub serial: u64,
    pub bytes: Bytes,
    /// Present if the members are others from here on.
    pub members: Option<MembersChange>,
}

/// Who waits for a proposal.
#[derive(Debug)]
struct Pending {
    serial: u64,
    connection: Option<ConnectionId>,
}

/// Everything clients share.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    tree: Tree,
    watches: Watches,
    clock: SessionClock,
    /// Sessions that only this server knows, see [`local_sessions`].
    local: SessionClock,
    clients: Clients,
    /// Which connection a session is on.
    attached: HashMap<SessionId, ConnectionId, foldhash::fast::FixedState>,
    /// Sessions whose end is on its way through the log.
    ending: BTreeSet<SessionId>,
    pending: VecDeque<Pending>,
    proposals: Vec<Proposal>,
    next_serial: u64,
    next_session: u32,
    ties: Ties,
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
        let clock = SessionClock::new(tick_ms, now.monotonic_ms());
        let local = SessionClock::new(tick_ms, now.monotonic_ms());
        // Numbers of an earlier life of this server may still be under way.
        let next_serial = u64::from_le_bytes(*randomness.draw().first_chunk().expect("32 bytes")) >> 8;
        Service {
            settings,
            tree,
            watches: Watches::new(hash_seed),
            clock,
            local,
            clients: Clients::default(),
            attached: HashMap::default(),
            ending: BTreeSet::new(),
            pending: VecDeque::new(),
            proposals: Vec::new(),
            next_serial,
            next_session: 0,
            ties: Ties::default(),
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
    fn start(&mut self, now: Now) {
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
        let served = self.serving || connection.phase == Phase::New || connection.is_read_only();
        if self.stopping || !served {
            return false;
        }
        match connection.phase {
            Phase::Opening | Phase::Leaving | Phase::Closing => return false,
            Phase::New | Phase::Open => {}
        }
        let crowded =
            self.clients.unsent_bytes >= limits::UNSENT_BYTES_TOTAL_MAX && !connection.out.is_empty();
        if crowded || connection.out.len() >= limits::UNSENT_BYTES_PER_CONNECTION_SLOW {
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
        }
    }

    /// So many of the bytes taken are with the system, or lost with their connection.
    pub fn sent(&mut self, bytes: usize) {
        self.clients.unsent_bytes -= bytes;
    }

    /// A connection keeps `now` bytes of an unfinished frame, after `before`. False if that is more than all connections
    /// together may keep, and its own part is a large one.
    pub fn incomplete(&mut self, before: usize, now: usize) -> bool {
        self.clients.incomplete_bytes = self.clients.incomplete_bytes - before + now;
        let share = usize::try_from(self.settings.limits.memory_bytes_max / 4).unwrap_or(usize::MAX);
        let most = limits::INCOMPLETE_BYTES_TOTAL_MAX.min(share);
        now <= limits::READ_CHUNK_BYTES || now <= before || self.clients.incomplete_bytes <= most
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
        let keeps_time = self.keeps_time();
        self.clients.map.keys().for_each(|id| self.watches.forget(*id));
        self.clients.close_all();
        self.attached.clear();
        self.ending.clear();
        self.reaping.clear();
        self.digests.clear();
        // Session numbers go on where they were: the counts of starts never go back.
        self.tree = tree;
        self.ties.owners.retain(|session, _| self.tree.sessions().contains(*session));
        let tick_ms = self.settings.session.tick.as_millis() as u64;
        self.clock = SessionClock::new(tick_ms, now.monotonic_ms());
        for (id, session) in self.tree.sessions().iter().filter(|_| keeps_time) {
            self.clock.add(id, session.timeout_ms);
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

    /// Sessions that only this server knows.
    pub fn local_sessions(&self) -> &SessionClock {
        &self.local
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
            + (self.outstanding_bytes + self.clients.unsent_bytes + self.clients.incomplete_bytes) as u64
            + self.clients.map.len() as u64 * 1024
    }

    // ---- frames ----

    /// Handles one whole frame, without its length.
    pub fn frame(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        if self.is_too_large_now(frame.len()) {
            self.clients.metrics.large_requests_rejected += 1;
            self.clients.close(id);
            return;
        }
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

    /// Whether a large request comes while others already take what large requests may take together.
    fn is_too_large_now(&self, size: usize) -> bool {
        let limits = &self.settings.limits;
        limits.large_request_threshold.is_some_and(|threshold| size > threshold)
            && (self.outstanding_bytes + size) as u64 > limits.large_request_bytes_max
    }

    fn request(&mut self, id: ConnectionId, frame: &[u8], now: Now) {
        let Some(connection) = self.clients.get_mut(id) else { return };
        let session = connection.session;
        self.touch(session);
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            self.clients.metrics.connection_drop_count += 1;
            self.clients.close(id);
            return;
        };
        if let Some(connection) = self.clients.get_mut(id) {
            connection.counters.last_xid = header.xid;
        }
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
        if self.clients.get(id).is_some_and(Connection::is_read_only) {
            return self.read_only_request(id, header.xid, request.as_ref().ok(), frame, now);
        }
        match request {
            Ok(request) if command::is_write(&request) => self.write(id, header.xid, &request, frame, now),
            Ok(request @ Request::Reconfig { .. }) if self.may_reconfigure() => {
                self.write(id, header.xid, &request, frame, now);
            }
            // One server alone has nothing to catch up with: what was agreed before this is executed.
            Ok(Request::Sync { .. }) if self.ties.duty != Duty::Alone => self.sync(id, frame, now),
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
        let waiting = Waiting::Behind { frame: frame.into(), received_us: now.monotonic_us };
        self.wait(id, waiting, frame.len());
    }

    /// Something of so many bytes waits for its turn.
    fn wait(&mut self, id: ConnectionId, waiting: Waiting, size: usize) {
        let Some(connection) = self.clients.get_mut(id) else { return };
        connection.waiting.push_back(waiting);
        connection.waiting_bytes += size;
        self.outstanding += 1;
        self.outstanding_bytes += size;
    }

    /// Answers a request that is not a write, or one that was refused before it could become a command.
    fn answer(&mut self, id: ConnectionId, frame: &[u8], received_us: u64, now: Now) {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else { return };
        match Request::decode(header.op, &mut reader) {
            Ok(Request::CloseSession) => self.close_local_session(id, header.xid),
            Ok(request) if command::is_write(&request) => {
                let code = self.refusal(id, &request).unwrap_or(ErrorCode::SystemError);
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
    fn refusal(&mut self, id: ConnectionId, request: &Request<'_>) -> Option<ErrorCode> {
        match command::operation(request, self.settings.tree.extended_types) {
            Err(code) => Some(code),
            Ok(op) if self.is_not_for_local(id, &op) => Some(ErrorCode::EphemeralOnLocalSession),
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
        if self.clients.get(id).is_some_and(|connection| connection.syncs > 0) {
            return self.wait(id, Waiting::Held { frame: frame.into() }, frame.len());
        }
        let op = match command::operation(request, self.settings.tree.extended_types) {
            Ok(op) if self.refusal_to_grow(request).is_none() && !self.is_not_for_local(id, &op) => op,
            _ => return self.answer_in_turn(id, frame, now),
        };
        if let Request::Create(Create { path, .. }) | Request::SetData { path, .. } = request {
            self.clients.metrics.write_per_namespace.record(path, frame.len() as u64);
        }
        let session = self.clients.get(id).map(|connection| connection.session).unwrap_or_default();
        if matches!(request, Request::CloseSession) && self.local.contains(session) {
            return self.leave_local_session(id, frame, now);
        }
        if op.makes_ephemeral() {
            self.upgrade_local_session(session, now);
        }
        if !matches!(request, Request::CloseSession) && self.has_moved(session) {
            self.clients.close(id);
            return;
        }
        let serial = self.propose_for(id, session, op, now);
        let Some(connection) = self.clients.get_mut(id) else { return };
        if matches!(request, Request::CloseSession) {
            // What it sends after this is of no interest to anybody.
            connection.phase = Phase::Leaving;
            self.ending.insert(session);
        }
        let (form, received_us, size) = (command::reply_form(request), now.monotonic_us, frame.len());
        self.wait(id, Waiting::Write { serial, xid, form, received_us, size }, size);
    }

    /// A `sync` is answered: the writes behind it, up to the next one, are proposed where they wait.
    fn let_writes_go(&mut self, id: ConnectionId, now: Now) {
        let Some(connection) = self.clients.get_mut(id) else { return };
        let mut all = std::mem::take(&mut connection.waiting);
        let next_sync = all.iter().position(|waiting| matches!(waiting, Waiting::Sync { .. }));
        let later = all.split_off(next_sync.unwrap_or(all.len()));
        // Those behind do not hold back what is before them.
        let syncs = std::mem::take(&mut connection.syncs);
        for waiting in all {
            let Some(connection) = self.clients.get_mut(id) else { return };
            match waiting {
                // Nothing is begun for a client that leaves.
                Waiting::Held { frame } if connection.phase == Phase::Open => {
                    connection.waiting_bytes -= frame.len();
                    self.outstanding -= 1;
                    self.outstanding_bytes -= frame.len();
                    let mut reader = Reader::new(&frame);
                    let header = RequestHeader::decode(&mut reader).expect("decoded when it came");
                    let request = Request::decode(header.op, &mut reader).expect("decoded when it came");
                    self.write(id, header.xid, &request, &frame, now);
                }
                waiting => connection.waiting.push_back(waiting),
            }
        }
        if let Some(connection) = self.clients.get_mut(id) {
            connection.waiting.extend(later);
            connection.syncs = syncs;
        }
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
                local_session: self.local.contains(session),
            },
            op,
        };
        let serial = self.next_serial;
        self.next_serial += 1;
        self.pending.push_back(Pending { serial, connection });
        if self.ties.duty == Duty::Following {
            self.send_letter(None, Letter::Forward { serial, command: command.encode() });
        } else {
            self.give_order(self.settings.server_id, serial, command);
        }
        serial
    }

    /// Ends connections by an operator's or the server's own wish.
    pub fn close_connection(&mut self, id: ConnectionId) {
        self.clients.close(id);
    }
}
