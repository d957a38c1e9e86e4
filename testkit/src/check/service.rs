//! The slow, obvious server: from what clients sent and what was committed, the exact frames that each connection gets.
//!
//! One list of watches per connection, one queue of requests, the model as the tree. Whatever the real service sends is
//! compared with this at once, frame by frame, so that results, reads, events and their order are all checked.

use std::collections::{BTreeMap, VecDeque};

use client::wire::codec::{Reader, Writer, write_frame};
use client::wire::zk::reply::XID_PING;
use client::wire::zk::request::{AddWatchMode, WatcherType};
use client::wire::zk::{
    Acl, ConnectResponse, ErrorCode, EventType, MultiOp, MultiResult, OpCode, ReplyHeader, Request,
    SessionId, WatchEvent, perms,
};
use coordinator::tree::Outcome;
use coordinator::tree::command::{AclRecord, Command, CreateOp, IdentityRecord, LifetimeRecord, Op};

use crate::model::acl::{self, Who};
use crate::model::znodes::{Changed, Model};

/// A promise that was broken: the invariant's name, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name in `docs/testing.md`.
    pub invariant: &'static str,
    /// What was seen and what should have been.
    pub what: String,
}

/// Makes a [`Violation`].
pub fn violation<T>(invariant: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { invariant, what: what.into() })
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing has come.
    New,
    /// Its session is in the log.
    Opening,
    /// Served.
    Open,
    /// Nothing it sends matters any more.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Child,
    Persistent,
    Recursive,
}

/// A request that the server has and has not answered.
#[derive(Debug, Clone)]
struct Queued {
    xid: i32,
    request: Request<'static>,
    /// It is in the log; otherwise it waits for what is before it.
    proposed: bool,
}

/// A connection as the server must see it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it is in its life.
    pub stage: Stage,
    /// Its session, from the handshake on.
    pub session: i64,
    /// The timeout it was granted.
    pub timeout_ms: u32,
    /// Who it is.
    pub who: Vec<Who>,
    queue: VecDeque<Queued>,
    watches: Vec<(String, Kind)>,
    /// What it must be sent next, with the invariant that each frame falls under.
    expected: VecDeque<(&'static str, Vec<u8>)>,
}

/// What a client asked and the log holds.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The connection it came on.
    pub connection: u64,
    /// The session.
    pub session: i64,
    /// Who asked.
    pub who: Vec<Who>,
    /// What; `None` stands for a new session.
    pub request: Option<Request<'static>>,
}

/// What a frame must lead to.
#[derive(Debug, Clone)]
pub enum Consequence {
    /// A command of this description.
    Proposal(Asked),
    /// Nothing new in the log.
    Nothing,
}

/// The server.
#[derive(Debug, Default)]
pub struct Oracle {
    /// The tree.
    pub model: Model,
    /// By the number that the world gives them.
    pub connections: BTreeMap<u64, Connection>,
    /// Which connection a session is on.
    pub attached: BTreeMap<i64, u64>,
    /// Sessions whose end is in the log.
    pub ending: Vec<i64>,
    /// Connections that want to take up one of those: they are told when it is over.
    pub waiting_for_ends: Vec<(i64, u64)>,
    /// Whether writes that need room are refused.
    pub disk_full: bool,
    /// Whether clients are served.
    pub serving: bool,
    /// Passwords that clients were told, for ever.
    pub passwords: BTreeMap<i64, [u8; 16]>,
}

fn grows(request: &Request<'_>) -> bool {
    match request {
        Request::Create(_) | Request::SetData { .. } | Request::SetAcl { .. } => true,
        Request::Multi(ops) => {
            ops.iter().any(|op| matches!(op, MultiOp::Create(_) | MultiOp::SetData { .. }))
        }
        _ => false,
    }
}

/// Whether a request needs a place in the order.
pub fn is_write(request: &Request<'_>) -> bool {
    grows(request)
        || matches!(
            request,
            Request::Delete { .. }
                | Request::DeleteContainer { .. }
                | Request::Multi(_)
                | Request::Reconfig { .. }
                | Request::CloseSession
        )
}

fn create_op<'a>(create: &'a client::wire::zk::Create<'_>) -> CreateOp<'a> {
    let lifetime = match (create.op, create.flags) {
        (OpCode::CreateContainer, _) => LifetimeRecord::Container,
        (OpCode::CreateTtl, _) => LifetimeRecord::Ttl { ms: create.ttl_ms },
        (_, 1 | 3) => LifetimeRecord::Ephemeral,
        _ => LifetimeRecord::Persistent,
    };
    CreateOp {
        path: &create.path,
        data: create.data,
        acl: AclRecord::list(&create.acl),
        lifetime,
        sequential: matches!(create.flags, 2 | 3 | 6),
    }
}

/// What a client's write asks for.
pub(crate) fn op<'a>(request: &'a Request<'_>) -> Op<'a> {
    match request {
        Request::CloseSession => Op::CloseSession,
        Request::Create(create) => Op::Create(create_op(create)),
        Request::Delete { path, version } => Op::Delete { path, version: *version },
        Request::DeleteContainer { path } => Op::DeleteContainer { path },
        Request::SetData { path, data, version } => Op::SetData { path, data: *data, version: *version },
        Request::SetAcl { path, acl, version } => {
            Op::SetAcl { path, acl: AclRecord::list(acl), version: *version }
        }
        Request::Multi(ops) => Op::Multi(
            ops.iter()
                .map(|op| match op {
                    MultiOp::Create(create) => Op::Create(create_op(create)),
                    MultiOp::Delete { path, version } => Op::Delete { path, version: *version },
                    MultiOp::SetData { path, data, version } => {
                        Op::SetData { path, data: *data, version: *version }
                    }
                    MultiOp::Check { path, version } => Op::Check { path, version: *version },
                    other => unreachable!("{other:?} is not asked for"),
                })
                .collect(),
        ),
        other => unreachable!("{other:?} is not a write"),
    }
}

pub(crate) fn reply(xid: i32, zxid: i64, error: i32, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, |out| {
        ReplyHeader { xid, zxid, error }.encode(out);
        body(out);
    });
    out
}

/// Children come in any order; sorted, they can be compared.
pub(crate) fn sorted_names(frame: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(frame.get(4 + 16..)?);
    let mut names = reader.strings().ok()?;
    names.sort_unstable();
    let mut out = frame[..4 + 16].to_vec();
    out.strings(&names);
    out.extend_from_slice(reader.rest());
    Some(out)
}

impl Oracle {
    /// A client connects.
    pub fn connect(&mut self, id: u64, address: &str) {
        let connection = Connection {
            stage: Stage::New,
            session: 0,
            timeout_ms: 0,
            who: vec![("ip".into(), address.into())],
            queue: VecDeque::new(),
            watches: Vec::new(),
            expected: VecDeque::new(),
        };
        self.connections.insert(id, connection);
    }

    /// A connection is gone.
    pub fn disconnect(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id)
            && self.attached.get(&connection.session) == Some(&id)
        {
            self.attached.remove(&connection.session);
        }
    }

    /// Whether the server reads the connection's next frame, as far as its stage goes.
    pub fn is_read(&self, id: u64) -> bool {
        self.connections.get(&id).is_some_and(|c| matches!(c.stage, Stage::New | Stage::Open))
    }

    /// Whether the server must have ended it.
    pub fn is_over(&self, id: u64) -> bool {
        self.connections.get(&id).is_none_or(|c| c.stage == Stage::Over)
    }

    fn at(&mut self, id: u64) -> &mut Connection {
        self.connections.get_mut(&id).expect("the caller knows the connection")
    }

    fn expect(&mut self, id: u64, invariant: &'static str, frame: Vec<u8>) {
        self.at(id).expected.push_back((invariant, frame));
    }

    /// A client's first frame.
    pub fn hello(
        &mut self,
        id: u64,
        session: i64,
        password: &[u8],
        last_zxid: u64,
        timeout_ms: u32,
    ) -> Consequence {
        if !self.serving || last_zxid > self.model.zxid {
            self.at(id).stage = Stage::Over;
            return Consequence::Nothing;
        }
        self.at(id).timeout_ms = timeout_ms;
        if session == 0 {
            if self.disk_full {
                self.at(id).stage = Stage::Over;
                return Consequence::Nothing;
            }
            self.at(id).stage = Stage::Opening;
            let who = self.at(id).who.clone();
            return Consequence::Proposal(Asked { connection: id, session: 0, who, request: None });
        }
        let known = self.passwords.get(&session).is_some_and(|known| known == password);
        if !known || !self.model.sessions.contains_key(&session) {
            self.tell_expired(id);
        } else if self.ending.contains(&session) {
            self.at(id).stage = Stage::Opening;
            self.waiting_for_ends.push((session, id));
        } else {
            if let Some(before) = self.attached.remove(&session) {
                self.at(before).stage = Stage::Over;
            }
            self.attach(id, session);
        }
        Consequence::Nothing
    }

    fn tell_expired(&mut self, id: u64) {
        let mut frame = Vec::new();
        ConnectResponse::expired(Some(false)).write(&mut frame);
        self.expect(id, "C10", frame);
        self.at(id).stage = Stage::Over;
    }

    fn attach(&mut self, id: u64, session: i64) {
        self.attached.insert(session, id);
        let password = self.passwords.get(&session).copied();
        let connection = self.at(id);
        (connection.stage, connection.session) = (Stage::Open, session);
        let response = ConnectResponse {
            timeout_ms: connection.timeout_ms as i32,
            session: SessionId(session),
            // Zeros until it was told once; see `check`.
            password: password.unwrap_or_default(),
            read_only: Some(false),
        };
        let mut frame = Vec::new();
        response.write(&mut frame);
        self.expect(id, "C10", frame);
    }

    /// A frame on an open connection.
    pub fn frame(&mut self, id: u64, xid: i32, request: &Request<'static>, digest: &str) -> Consequence {
        let zxid = self.model.zxid as i64;
        match request {
            Request::Ping => {
                self.expect(id, "C9", reply(XID_PING, zxid, 0, |_| {}));
                return Consequence::Nothing;
            }
            Request::Auth { .. } => {
                let who = ("digest".to_owned(), digest.to_owned());
                if !self.at(id).who.contains(&who) {
                    self.at(id).who.push(who);
                }
                self.expect(id, "C9", reply(xid, 0, 0, |_| {}));
                return Consequence::Nothing;
            }
            _ => {}
        }
        let proposed = is_write(request) && !(self.disk_full && grows(request));
        let connection = self.at(id);
        connection.queue.push_back(Queued { xid, request: request.clone(), proposed });
        if !proposed {
            self.answer_reads(id);
            return Consequence::Nothing;
        }
        let (session, who) = (connection.session, connection.who.clone());
        if matches!(request, Request::CloseSession) {
            connection.stage = Stage::Opening;
            self.ending.push(session);
        }
        Consequence::Proposal(Asked { connection: id, session, who, request: Some(request.clone()) })
    }

    /// The server itself proposed that a session ends.
    pub fn expires(&mut self, session: i64) {
        self.ending.push(session);
    }

    /// Answers what does not wait for the log any more.
    fn answer_reads(&mut self, id: u64) {
        while let Some(first) = self.at(id).queue.front().filter(|first| !first.proposed).cloned() {
            self.at(id).queue.pop_front();
            let zxid = self.model.zxid as i64;
            let frame = match self.read(id, first.xid, &first.request) {
                Ok(frame) => frame,
                Err(code) => reply(first.xid, zxid, code.to_wire(), |_| {}),
            };
            self.expect(id, "C8", frame);
        }
    }

    /// The effect of a committed command. `asked` is what a client sent; the server's own commands speak for themselves.
    pub fn committed(&mut self, zxid: u64, command: &Command<'_>, asked: Option<&Asked>) {
        let (outcome, changes) = self.execute(zxid, command, asked);
        for change in &changes {
            self.tell(zxid, change);
        }
        let session = command.session;
        let asker = asked.map(|asked| asked.connection).filter(|id| self.connections.contains_key(id));
        match (&outcome, asker) {
            (Outcome::Started, _) => self.serving = true,
            (Outcome::SessionCreated, Some(id)) if self.at(id).stage == Stage::Opening => {
                self.attach(id, session)
            }
            (Outcome::SessionCreated, _) => {}
            (_, Some(id)) => {
                let Some(Queued { xid, request, .. }) = self.at(id).queue.pop_front() else {
                    unreachable!("the asker waits")
                };
                self.expect(id, "C7", answer(xid, zxid as i64, &request, &outcome));
                self.answer_reads(id);
            }
            (_, None) => {}
        }
        if outcome == Outcome::SessionClosed {
            self.ending.retain(|ending| *ending != session);
            for (of, id) in std::mem::take(&mut self.waiting_for_ends) {
                match of == session {
                    true if self.connections.contains_key(&id) => self.tell_expired(id),
                    true => {}
                    false => self.waiting_for_ends.push((of, id)),
                }
            }
            for id in asker.into_iter().chain(self.attached.remove(&session)) {
                self.at(id).stage = Stage::Over;
            }
        }
    }

    /// Executes against the model alone.
    pub fn execute(
        &mut self,
        zxid: u64,
        command: &Command<'_>,
        asked: Option<&Asked>,
    ) -> (Outcome<'static>, Vec<Changed>) {
        let Some(Asked { session, who, request: Some(request), .. }) = asked else {
            return self.model.execute(zxid, command);
        };
        // From what the client sent, not from what the server made of it.
        let identities = who.iter().map(|(scheme, id)| IdentityRecord { scheme, id }).collect();
        let command = Command {
            session: *session,
            time_ms: command.time_ms,
            identities,
            rules: command.rules,
            op: op(request),
        };
        self.model.execute(zxid, &command)
    }

    /// Events for everybody who watches, in the order of changes.
    fn tell(&mut self, zxid: u64, change: &Changed) {
        let parent = match change.path.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((parent, _)) => parent,
        };
        let (kind, path) = (change.kind, change.path.as_str());
        let below = |top: &str| {
            top == path || top == "/" || path.strip_prefix(top).is_some_and(|p| p.starts_with('/'))
        };
        for connection in self.connections.values_mut() {
            let Connection { watches, expected, who, stage, .. } = connection;
            let has = |watches: &[(String, Kind)], at: &str, kinds: &[Kind]| {
                watches.iter().any(|(other, kind)| other == at && kinds.contains(kind))
            };
            let mut tell = |kind, path, readers: &[Acl<'static>]| {
                if *stage != Stage::Over && acl::permits(readers, perms::READ, who) {
                    let mut frame = Vec::new();
                    WatchEvent::write(kind, path, zxid as i64, &mut frame);
                    expected.push_back(("C11", frame));
                }
            };
            let here = has(watches, path, &[Kind::Data, Kind::Persistent])
                || watches.iter().any(|(top, kind)| *kind == Kind::Recursive && below(top));
            let as_parent =
                kind == EventType::NodeDeleted && has(watches, path, &[Kind::Child, Kind::Persistent]);
            if here || as_parent {
                tell(kind, path, &change.readers);
            }
            watches.retain(|watch| *watch != (path.to_owned(), Kind::Data));
            if kind == EventType::NodeDeleted {
                watches.retain(|watch| *watch != (path.to_owned(), Kind::Child));
            }
            if kind != EventType::NodeDataChanged {
                if has(watches, parent, &[Kind::Child, Kind::Persistent]) {
                    tell(EventType::NodeChildrenChanged, parent, &change.parent_readers);
                }
                watches.retain(|watch| *watch != (parent.to_owned(), Kind::Child));
            }
        }
    }

    // ---- reads ----

    fn watch(&mut self, id: u64, path: &str, kind: Kind) {
        let watch = (path.to_owned(), kind);
        let watches = &mut self.at(id).watches;
        if !watches.contains(&watch) {
            watches.push(watch);
        }
    }

    fn readable(&self, id: u64, path: &str, wanted: i32) -> Result<(), ErrorCode> {
        let node = self.model.get(path).ok_or(ErrorCode::NoNode)?;
        match acl::permits(&node.acl, wanted, &self.connections[&id].who) {
            true => Ok(()),
            false => Err(ErrorCode::NoAuth),
        }
    }

    fn read(&mut self, id: u64, xid: i32, request: &Request<'static>) -> Result<Vec<u8>, ErrorCode> {
        if is_write(request) {
            return Err(ErrorCode::SystemError); // The disk was full when it came.
        }
        // Who ends its session itself is still answered what it asked before.
        let connection = &self.connections[&id];
        if connection.stage != Stage::Opening && self.ending.contains(&connection.session) {
            return Err(ErrorCode::SessionExpired);
        }
        match request {
            Request::Exists { path, watch } => {
                let found = self.readable(id, path, perms::READ);
                if *watch && found != Err(ErrorCode::NoAuth) {
                    self.watch(id, path, Kind::Data);
                }
                found?;
            }
            Request::GetData { path, watch } => {
                self.readable(id, path, perms::READ)?;
                if *watch {
                    self.watch(id, path, Kind::Data);
                }
            }
            Request::GetChildren { path, watch } | Request::GetChildren2 { path, watch } => {
                self.readable(id, path, perms::READ)?;
                if *watch {
                    self.watch(id, path, Kind::Child);
                }
            }
            Request::GetAllChildrenNumber { path } => self.readable(id, path, perms::READ)?,
            Request::GetAcl { path } => self.readable(id, path, perms::READ | perms::ADMIN)?,
            Request::AddWatch { path, mode } => self.watch(
                id,
                path,
                match mode {
                    AddWatchMode::Persistent => Kind::Persistent,
                    AddWatchMode::PersistentRecursive => Kind::Recursive,
                },
            ),
            Request::RemoveWatches { path, kind } => {
                let meant: &[Kind] = match kind {
                    WatcherType::Children => &[Kind::Child],
                    WatcherType::Data => &[Kind::Data],
                    WatcherType::Persistent => &[Kind::Persistent],
                    WatcherType::PersistentRecursive => &[Kind::Recursive],
                    WatcherType::Any => &[Kind::Child, Kind::Data, Kind::Persistent, Kind::Recursive],
                };
                let watches = &mut self.at(id).watches;
                let before = watches.len();
                watches.retain(|(other, kind)| other != path || !meant.contains(kind));
                if watches.len() == before {
                    return Err(ErrorCode::NoWatcher);
                }
            }
            Request::SetWatches2(lists) => {
                let since = lists.relative_zxid;
                let look = |oracle: &Self, path: &str| oracle.model.get(path).map(|node| node.zxids);
                for path in &lists.data {
                    match look(self, path) {
                        None => self.missed(id, EventType::NodeDeleted, path),
                        Some([_, mzxid, _]) if mzxid as i64 > since => {
                            self.missed(id, EventType::NodeDataChanged, path);
                        }
                        Some(_) => self.watch(id, path, Kind::Data),
                    }
                }
                for path in &lists.exist {
                    match look(self, path) {
                        Some(_) => self.missed(id, EventType::NodeCreated, path),
                        None => self.watch(id, path, Kind::Data),
                    }
                }
                for path in &lists.child {
                    match look(self, path) {
                        None => self.missed(id, EventType::NodeDeleted, path),
                        Some([.., pzxid]) if pzxid as i64 > since => {
                            self.missed(id, EventType::NodeChildrenChanged, path);
                        }
                        Some(_) => self.watch(id, path, Kind::Child),
                    }
                }
                lists.persistent.iter().for_each(|path| self.watch(id, path, Kind::Persistent));
                lists.recursive.iter().for_each(|path| self.watch(id, path, Kind::Recursive));
            }
            _ => {}
        }
        let session = self.at(id).session;
        let shows_all = match request {
            Request::GetAcl { path } => self.readable(id, path, perms::ADMIN).is_ok(),
            _ => true,
        };
        Ok(shown(&self.model, xid, request, session, shows_all))
    }

    fn missed(&mut self, id: u64, kind: EventType, path: &str) {
        let mut frame = Vec::new();
        WatchEvent::write(kind, path, -1, &mut frame);
        self.expect(id, "C11", frame);
    }

    // ---- comparing ----

    /// Compares what a connection was sent with what it must be sent; returns the frames.
    pub fn check(&mut self, id: u64, out: &[u8]) -> Result<Vec<Vec<u8>>, Violation> {
        let mut frames = Vec::new();
        let mut rest = out;
        while let Some((length, _)) = rest.split_first_chunk::<4>() {
            let size = 4 + u32::from_be_bytes(*length) as usize;
            let Some(frame) = rest.get(..size) else { return violation("C9", "half a frame") };
            rest = &rest[size..];
            self.check_frame(id, frame)?;
            frames.push(frame.to_vec());
        }
        match self.connections.get_mut(&id).and_then(|connection| connection.expected.pop_front()) {
            Some((invariant, frame)) => {
                violation(invariant, format!("connection {id} was not sent {}", show(&frame)))
            }
            None => Ok(frames),
        }
    }

    fn check_frame(&mut self, id: u64, frame: &[u8]) -> Result<(), Violation> {
        let expected = self.connections.get_mut(&id).and_then(|connection| connection.expected.pop_front());
        let Some((invariant, expected)) = expected else {
            return violation("C9", format!("connection {id} was sent {} for no reason", show(frame)));
        };
        if invariant == "C10"
            && let (Ok(told), Ok(wanted)) =
                (ConnectResponse::decode(&frame[4..]), ConnectResponse::decode(&expected[4..]))
            && told.session == wanted.session
            && told.session != SessionId::NONE
            && !self.passwords.contains_key(&told.session.0)
        {
            // The first time it is told, any password will do; from then on it is this one.
            self.passwords.insert(told.session.0, told.password);
            let wanted = ConnectResponse { password: told.password, ..wanted };
            return match told == wanted {
                true => Ok(()),
                false => violation("C10", format!("connection {id} was told {told:?}, not {wanted:?}")),
            };
        }
        let same = frame == expected
            || sorted_names(frame).is_some_and(|sorted| Some(sorted) == sorted_names(&expected));
        if same {
            return Ok(());
        }
        violation(invariant, format!("connection {id} was sent {}, not {}", show(frame), show(&expected)))
    }

    /// Connections that must be sent something.
    pub fn expecting(&self) -> Vec<u64> {
        self.connections.iter().filter(|(_, c)| !c.expected.is_empty()).map(|(id, _)| *id).collect()
    }
}

/// The reply to a read of what is there, to a session. `shows_all`: passwords in lists of permissions, too.
pub(crate) fn shown(
    model: &Model,
    xid: i32,
    request: &Request<'_>,
    session: i64,
    shows_all: bool,
) -> Vec<u8> {
    reply(xid, model.zxid as i64, 0, |out| match request {
        Request::Exists { path, .. } => model.stat(path).encode(out),
        Request::GetData { path, .. } => {
            out.buffer(model.get(path).and_then(|node| node.data.as_deref()));
            model.stat(path).encode(out);
        }
        Request::GetChildren { path, .. } => out.strings(&model.children(path)),
        Request::GetChildren2 { path, .. } => {
            out.strings(&model.children(path));
            model.stat(path).encode(out);
        }
        Request::GetAcl { path } => {
            let mut list = model.get(path).map(|node| node.acl.clone()).unwrap_or_default();
            for entry in &mut list {
                if !shows_all && entry.identity.scheme == "digest" {
                    let user = entry.identity.id.split(':').next().unwrap_or_default().to_owned();
                    entry.identity.id = (user + ":x").into();
                }
            }
            Acl::encode_list(&list, out);
            model.stat(path).encode(out);
        }
        Request::GetAllChildrenNumber { path } => out.int(model.below(path).len() as i32),
        Request::GetEphemerals { .. } => out.strings(&model.ephemerals(session)),
        Request::Sync { path } => out.string(path),
        Request::AddWatch { .. } => out.int(0),
        _ => {}
    })
}

/// The reply to a write.
pub(crate) fn answer(xid: i32, zxid: i64, request: &Request<'_>, outcome: &Outcome<'static>) -> Vec<u8> {
    match outcome {
        Outcome::Failed(code) => reply(xid, zxid, code.to_wire(), |_| {}),
        Outcome::MultiFailed { index, code, count } => reply(xid, zxid, 0, |out| {
            for at in 0..*count {
                MultiResult::Error(match at {
                    _ if at < *index => None,
                    _ if at == *index => Some(*code),
                    _ => Some(ErrorCode::RuntimeInconsistency),
                })
                .encode(out);
            }
            MultiResult::encode_end(out);
        }),
        Outcome::Multi(outcomes) => reply(xid, zxid, 0, |out| {
            let Request::Multi(ops) = request else { unreachable!("only multis have many results") };
            for (outcome, asked) in outcomes.iter().zip(ops) {
                match (outcome, asked.op()) {
                    (Outcome::Created { path, .. }, OpCode::Create) => {
                        MultiResult::Create { path: path.clone() }
                    }
                    (Outcome::Created { path, stat }, _) => {
                        MultiResult::Create2 { path: path.clone(), stat: *stat }
                    }
                    (Outcome::DataSet(stat), _) => MultiResult::SetData { stat: *stat },
                    (_, OpCode::Check) => MultiResult::Check,
                    _ => MultiResult::Delete,
                }
                .encode(out);
            }
            MultiResult::encode_end(out);
        }),
        Outcome::Created { path, stat } => reply(xid, zxid, 0, |out| {
            out.string(path);
            if request.op() != OpCode::Create {
                stat.encode(out);
            }
        }),
        Outcome::DataSet(stat) | Outcome::AclSet(stat) => reply(xid, zxid, 0, |out| stat.encode(out)),
        Outcome::MembersSet { data, stat } => reply(xid, zxid, 0, |out| {
            out.buffer(Some(data.as_bytes()));
            stat.encode(out);
        }),
        _ => reply(xid, zxid, 0, |_| {}),
    }
}

/// A frame in words.
pub fn show(frame: &[u8]) -> String {
    let mut reader = Reader::new(&frame[4..]);
    match ReplyHeader::decode(&mut reader) {
        Ok(ReplyHeader { xid: -1, zxid, .. }) => {
            format!("event {:?} at {zxid:#x}", WatchEvent::decode(&mut reader))
        }
        Ok(ReplyHeader { xid, zxid, error }) => {
            format!(
                "reply to {xid} at {zxid:#x}, error {error}, body {:?}",
                String::from_utf8_lossy(reader.rest())
            )
        }
        Err(_) => format!("{frame:?}"),
    }
}
