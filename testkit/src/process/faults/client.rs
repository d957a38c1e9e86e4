//! A client that goes from member to member and keeps its session as long as the service lets it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::raw::{Body, Connection, Fields, Hello, Welcome, op};
use crate::sim::random::Random;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Done {
        zxid: i64,
        body: Vec<u8>,
    },
    /// Answered with an error code: it changed nothing.
    Refused {
        zxid: i64,
        code: i32,
    },
    /// It was sent, and nobody knows.
    Unknown,
    /// There was no connection to send it on.
    NotSent,
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: i32,
    pub(super) path: String,
}

/// Error codes as they stand in replies.
pub(super) mod code {
    pub(crate) const CONNECTION_LOSS: i32 = -4;
    pub(crate) const OPERATION_TIMEOUT: i32 = -7;
    pub(crate) const NO_NODE: i32 = -101;
    pub(crate) const BAD_VERSION: i32 = -103;
    pub(crate) const NODE_EXISTS: i32 = -110;
    pub(crate) const SESSION_EXPIRED: i32 = -112;
    pub(crate) const SESSION_MOVED: i32 = -118;
}

/// One client. Its connection may break at any time; the next request makes a new one, to another member.
#[derive(Debug)]
pub(super) struct Roamer {
    addresses: Vec<SocketAddr>,
    random: Random,
    /// How long it waits for an answer before it gives the connection up.
    patience: Duration,
    connection: Option<Connection>,
    hello: Hello,
    xid: i32,
    /// Rises with every connection.
    pub(super) connections: u64,
    /// Rises with every session.
    pub(super) sessions: u64,
    pub(super) events: VecDeque<Event>,
    /// Broken promises that only the client itself can see.
    pub(super) violations: Vec<String>,
}

impl Roamer {
    pub(super) fn new(addresses: &[SocketAddr], session_timeout: Duration, seed: u64) -> Roamer {
        Roamer {
            addresses: addresses.to_vec(),
            random: Random::new(seed),
            patience: Duration::from_secs(3),
            connection: None,
            hello: Hello { timeout: session_timeout.as_millis() as i32, ..Hello::default() },
            xid: 0,
            connections: 0,
            sessions: 0,
            events: VecDeque::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn with_patience(mut self, patience: Duration) -> Roamer {
        self.patience = patience;
        self
    }

    /// Waits a little, so that clients do not only wait for each other.
    pub(super) fn pause(&mut self, from_ms: u64, to_ms: u64) {
        std::thread::sleep(Duration::from_millis(from_ms + self.random.below(to_ms - from_ms + 1)));
    }

    /// One of so many, by this client's own dice.
    pub(super) fn one_in(&mut self, bound: u64) -> bool {
        self.random.below(bound) == 0
    }

    /// A number below the bound.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// Sends a request and waits for its answer.
    pub(super) fn call(&mut self, opcode: i32, record: &Body) -> Answer {
        self.xid += 1;
        self.call_as(self.xid, opcode, record)
    }

    /// Tells the member which data watches there were before the connection broke.
    pub(super) fn set_data_watches(&mut self, paths: &[&str]) -> Answer {
        let mut record = Body::new().long(self.hello.last_zxid).int(paths.len() as i32);
        for path in paths {
            record = record.bytes(path);
        }
        self.call_as(-8, op::SET_WATCHES, &record.int(0).int(0))
    }

    /// Whether there is a connection, perhaps since now.
    pub(super) fn is_connected(&mut self) -> bool {
        self.connection.is_some() || self.connect()
    }

    fn call_as(&mut self, xid: i32, opcode: i32, record: &Body) -> Answer {
        if !self.is_connected() {
            self.pause(10, 30);
            return Answer::NotSent;
        }
        let answer = self.exchange(xid, opcode, record);
        if answer == Answer::Unknown {
            self.connection = None;
        }
        answer
    }

    fn exchange(&mut self, xid: i32, opcode: i32, record: &Body) -> Answer {
        let Some(connection) = &mut self.connection else { return Answer::NotSent };
        if connection.send(&Body::request(xid, opcode).raw(&record.0).frame()).is_err() {
            return Answer::Unknown;
        }
        loop {
            let Ok(reply) = connection.reply(self.patience) else { return Answer::Unknown };
            if reply.xid == -1 {
                self.events.extend(event(&reply.body));
                continue;
            }
            if reply.xid != xid {
                self.violations.push(format!("C9 a reply to {} came instead of one to {xid}", reply.xid));
                return Answer::Unknown;
            }
            match reply.error {
                0 => {}
                code::CONNECTION_LOSS | code::OPERATION_TIMEOUT => return Answer::Unknown,
                code::SESSION_EXPIRED | code::SESSION_MOVED => {
                    self.connection = None;
                    return Answer::Refused { zxid: reply.zxid, code: reply.error };
                }
                code => return Answer::Refused { zxid: reply.zxid, code },
            }
            if reply.zxid < self.hello.last_zxid {
                self.violations.push(format!(
                    "C8 session {:#x} saw zxid {:#x} after {:#x}",
                    self.hello.session, reply.zxid, self.hello.last_zxid
                ));
            }
            self.hello.last_zxid = self.hello.last_zxid.max(reply.zxid);
            return Answer::Done { zxid: reply.zxid, body: reply.body };
        }
    }

    /// Waits for an event for a while.
    pub(super) fn await_event(&mut self, patience: Duration) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let connection = self.connection.as_mut()?;
        match connection.next(patience) {
            crate::raw::Next::Frame(frame) => {
                let reply = crate::raw::parse_reply(&frame).ok()?;
                event(&reply.body)
            }
            crate::raw::Next::Closed => {
                self.connection = None;
                None
            }
            crate::raw::Next::Silence => None,
        }
    }

    /// Connects to some member; a session that is over is replaced by a new one.
    fn connect(&mut self) -> bool {
        let first = self.random.below(self.addresses.len() as u64) as usize;
        let address = self.addresses[first];
        let Ok(mut connection) = Connection::open(address) else { return false };
        if connection.send(&self.hello.frame()).is_err() {
            return false;
        }
        let patience = self.patience.min(Duration::from_secs(2));
        let Ok(Welcome { timeout, session, password, .. }) = connection.welcome_within(patience) else {
            return false;
        };
        if timeout <= 0 {
            // It is told that its session is over, and begins a new one at its next try.
            (self.hello.session, self.hello.password) = (0, vec![0; 16]);
            return false;
        }
        if session != self.hello.session {
            if self.hello.session != 0 {
                let old = self.hello.session;
                self.violations.push(format!("C10 session {old:#x} became {session:#x} without a word"));
            }
            self.sessions += 1;
        }
        (self.hello.session, self.hello.password) = (session, password);
        self.connection = Some(connection);
        self.connections += 1;
        self.events.clear();
        true
    }
}

fn event(body: &[u8]) -> Option<Event> {
    let mut fields = Fields(body);
    let (kind, _state) = (fields.int().ok()?, fields.int().ok()?);
    let path = String::from_utf8(fields.bytes().ok()??.to_vec()).ok()?;
    Some(Event { kind, path })
}

/// The parts of a stat that the checkers look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) version: i32,
}

/// Reads a stat.
pub(super) fn stat(fields: &mut Fields<'_>) -> Option<Stat> {
    let (czxid, mzxid) = (fields.long().ok()?, fields.long().ok()?);
    let (_ctime, _mtime) = (fields.long().ok()?, fields.long().ok()?);
    Some(Stat { czxid, mzxid, version: fields.int().ok()? })
}

/// Reads the reply of getData.
pub(super) fn data_and_stat(body: &[u8]) -> Option<(Vec<u8>, Stat)> {
    let mut fields = Fields(body);
    let data = fields.bytes().ok()?.unwrap_or_default().to_vec();
    Some((data, stat(&mut fields)?))
}

/// Reads the reply of getChildren.
pub(super) fn names(body: &[u8]) -> Option<Vec<String>> {
    let mut fields = Fields(body);
    let count = fields.int().ok()?;
    let name = |_| String::from_utf8(fields.bytes().ok()??.to_vec()).ok();
    (0..count).map(name).collect()
}

/// Reads the reply of create.
pub(super) fn path(body: &[u8]) -> Option<String> {
    String::from_utf8(Fields(body).bytes().ok()??.to_vec()).ok()
}
