//! One session's side of the protocol, without sockets and without a clock.
//!
//! The shell tells what happens (`handle_*`, `submit`, `unwatch`), each time with the time; then it takes what there is
//! to write ([`Session::output`]), carries out what is wanted ([`Session::poll_effect`]) until there is nothing more, and
//! calls again at [`Session::poll_timeout`] at the latest. Time is counted from any moment that does not change.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::error::Error;
use super::random::Random;
use super::registry::{Registry, WatchId, WatchKind};
use super::sasl::{DigestMd5, Step};
use super::state::{Event, Notice, SessionState};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::zk::event::WatchEvent;
use crate::wire::zk::reply::{XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES};
use crate::wire::zk::request::WatcherType;
use crate::wire::zk::{ConnectRequest, ConnectResponse, OpCode, ReplyHeader, Request, SessionId, Zxid};

mod requests;
#[cfg(test)]
mod tests;

/// However long the session's timeout is, silence lasts no longer than this.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// About how large a request becomes that sets watches again. Java servers refuse frames above 1 MiB.
const SET_WATCHES_BYTES: usize = 128 << 10;
/// A connection attempt gets its part of the session's timeout, but not less than this.
const ATTEMPT_MIN: Duration = Duration::from_millis(500);

/// What a session is made of.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How many hosts there are to choose from.
    pub(crate) hosts: usize,
    pub(crate) session_timeout: Duration,
    pub(crate) read_only: bool,
    /// How long to wait after every host has failed: at first, and at most.
    pub(crate) backoff: (Duration, Duration),
    /// Identities to present on every connection: scheme and token.
    pub(crate) identities: Vec<(String, Vec<u8>)>,
    /// Name and password for SASL.
    pub(crate) sasl: Option<(String, String)>,
    /// Where all chance comes from.
    pub(crate) seed: u64,
}

/// What the server must be told when a request succeeds, beside the caller.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    Nothing,
    /// This watch is set.
    Watch(WatchKind, String, WatchId),
    /// Watches of this type are gone.
    Unwatch(WatcherType, String),
}

/// A request of a caller; `answer` is whatever the shell needs to find the caller again.
#[derive(Debug)]
pub(crate) struct Submission<A> {
    pub(crate) op: OpCode,
    /// The whole frame; the session fills in the xid.
    pub(crate) frame: Vec<u8>,
    pub(crate) then: Then,
    pub(crate) answer: A,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) zxid: Zxid,
    /// The record after the header.
    pub(crate) body: Bytes,
}

/// What the session wants done.
#[derive(Debug)]
pub(crate) enum Effect<A> {
    /// Connect to this host; say `handle_connected` or `handle_lost`.
    Connect(usize),
    /// Drop the connection, or the attempt to make one.
    Disconnect,
    /// Ask this host whether it is read-only; say `handle_probe`.
    Probe(usize),
    Answer(A, Result<Reply, Error>),
    /// Tell a watcher; `last` if there is nothing more to come.
    Notify {
        id: WatchId,
        notice: Notice,
        last: bool,
    },
    State(SessionState),
}

struct Waiting<A> {
    submission: Submission<A>,
    /// When it fails, if there is no connection by then.
    deadline: Duration,
    /// On how many connections it has been lost.
    repeats: u8,
}

struct Sent<A> {
    xid: i32,
    op: OpCode,
    sent_at: Duration,
    /// Kept for what may be asked again on the next connection.
    frame: Option<Vec<u8>>,
    then: Then,
    /// `None` for requests of our own.
    answer: Option<A>,
    repeats: u8,
}

#[derive(Debug)]
enum Link {
    Down {
        retry_at: Duration,
    },
    Connecting {
        host: usize,
        give_up_at: Duration,
    },
    /// The connect request is on its way.
    Greeting {
        host: usize,
        give_up_at: Duration,
        sent_at: Duration,
    },
    Up(Up),
    /// The session is over for this reason.
    Over(Error),
}

#[derive(Debug)]
struct Up {
    host: usize,
    last_sent: Duration,
    last_heard: Duration,
    /// When the ping was sent that has no answer yet.
    ping_sent_at: Option<Duration>,
    /// Requests wait until this is done.
    proving: Option<DigestMd5>,
    /// Identities that were presented and not yet answered; the first of them has this number.
    identity_next: usize,
    /// Requests that set watches again and have no answer yet.
    set_watches_pending: usize,
    /// In read-only mode: when to look for a better server, and how long to wait after that.
    probe: Option<(Duration, Duration)>,
}

/// The state of one session.
///
/// Invariants: `sent` is empty unless the link is up. `sent` is in the order of the requests on the wire, and `waiting`
/// comes after it. What is in `settling` is in `sent` or `waiting` too.
pub(crate) struct Session<A> {
    settings: Settings,
    random: Random,
    /// Hosts in the order in which they are tried, and who is next.
    order: Vec<usize>,
    next_host: usize,
    /// Attempts that failed in a row.
    failures: usize,
    link: Link,
    id: SessionId,
    password: [u8; 16],
    timeout: Duration,
    last_zxid: i64,
    /// A server is certain to have heard of us at this moment or later.
    proof: Duration,
    state: SessionState,
    next_xid: i32,
    waiting: VecDeque<Waiting<A>>,
    sent: VecDeque<Sent<A>>,
    /// Who waits for the answer to an identity; as long as `settings.identities`.
    identity_answers: Vec<Option<A>>,
    /// Watches whose request has no answer yet.
    settling: BTreeSet<WatchId>,
    registry: Registry,
    output: Vec<u8>,
    effects: VecDeque<Effect<A>>,
}

impl<A> std::fmt::Debug for Session<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("link", &self.link).finish_non_exhaustive()
    }
}

impl<A> Session<A> {
    /// A session that wants its first connection at once.
    pub(crate) fn new(settings: Settings, now: Duration) -> Session<A> {
        assert!(settings.hosts > 0, "the builder refuses an empty list");
        let mut random = Random::new(settings.seed);
        let mut order: Vec<usize> = (0..settings.hosts).collect();
        random.shuffle(&mut order);
        let mut session = Session {
            random,
            order,
            next_host: 0,
            failures: 0,
            link: Link::Down { retry_at: now },
            id: SessionId::NONE,
            password: [0; 16],
            timeout: settings.session_timeout,
            last_zxid: 0,
            proof: now,
            state: SessionState::Connecting,
            next_xid: 1,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            identity_answers: settings.identities.iter().map(|_| None).collect(),
            settling: BTreeSet::new(),
            registry: Registry::default(),
            output: Vec::new(),
            effects: VecDeque::new(),
            settings,
        };
        session.handle_timeout(now);
        session
    }

    // ---- What the shell takes ----

    /// Bytes to write; whoever writes them removes them.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect<A>> {
        self.effects.pop_front()
    }

    /// When [`Session::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let link = match &self.link {
            Link::Down { retry_at } => *retry_at,
            Link::Connecting { give_up_at, .. } | Link::Greeting { give_up_at, .. } => *give_up_at,
            Link::Up(up) => {
                let probe = up.probe.map_or(Duration::MAX, |(at, _)| at);
                (up.last_sent + self.ping_interval()).min(up.last_heard + self.patience()).min(probe)
            }
            Link::Over(_) => return None,
        };
        let waiting = self.waiting.front().map_or(Duration::MAX, |waiting| waiting.deadline);
        let overdue = self.overdue_at().unwrap_or(Duration::MAX);
        Some(link.min(waiting).min(overdue))
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.link, Link::Over(_))
    }

    // ---- What happens outside ----

    pub(crate) fn handle_connected(&mut self, now: Duration) {
        let Link::Connecting { host, .. } = self.link else { return };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: self.settings.session_timeout.as_millis().try_into().unwrap_or(i32::MAX),
            session: self.id,
            password: &self.password,
            read_only: Some(self.settings.read_only),
        };
        request.write(&mut self.output);
        self.link = Link::Greeting { host, give_up_at: now + self.attempt(), sent_at: now };
    }

    /// The connection, or the attempt to make one, has failed.
    pub(crate) fn handle_lost(&mut self, now: Duration) {
        let was_up = match self.link {
            Link::Over(_) | Link::Down { .. } => return,
            Link::Connecting { .. } | Link::Greeting { .. } => false,
            Link::Up(_) => true,
        };
        self.failures = if was_up { 0 } else { self.failures + 1 };
        self.link = Link::Down { retry_at: now + self.pause(was_up) };
        self.effects.push_back(Effect::Disconnect);
        self.output.clear();
        self.give_back_sent(now);
        if matches!(self.link, Link::Over(_)) || !matches!(self.state, SessionState::Connected { .. }) {
            return;
        }
        self.tell(SessionState::Suspended);
        for id in self.registry.ids() {
            self.effects.push_back(Effect::Notify { id, notice: Notice::Suspended, last: false });
        }
    }

    /// How long to wait before the next attempt. After a connection was lost, only as long as keeps the clients of a
    /// server that went down from arriving at the next one all at once.
    fn pause(&mut self, was_up: bool) -> Duration {
        let (first, longest) = self.settings.backoff;
        let share_of = |random: &mut Random, whole: Duration| {
            Duration::from_micros(random.below(whole.as_micros().max(1) as u64))
        };
        if was_up {
            return share_of(&mut self.random, first);
        }
        if !self.failures.is_multiple_of(self.order.len()) {
            return Duration::ZERO;
        }
        let rounds = (self.failures / self.order.len()) as u32;
        let whole = first.saturating_mul(1 << (rounds - 1).min(20)).min(longest);
        whole / 2 + share_of(&mut self.random, whole / 2)
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        match &mut self.link {
            Link::Down { retry_at } if *retry_at <= now => {
                let host = self.order[self.next_host];
                self.next_host = (self.next_host + 1) % self.order.len();
                self.link = Link::Connecting { host, give_up_at: now + self.attempt() };
                self.effects.push_back(Effect::Connect(host));
            }
            Link::Connecting { give_up_at, .. } | Link::Greeting { give_up_at, .. } if *give_up_at <= now => {
                self.handle_lost(now);
            }
            Link::Up(_) => self.keep_alive(now),
            _ => {}
        }
        while self.waiting.front().is_some_and(|waiting| waiting.deadline <= now) {
            let waiting = self.waiting.pop_front().expect("there is a front");
            self.fail(waiting.submission, Error::ConnectionLoss);
        }
        if self.overdue_at().is_some_and(|at| at <= now) {
            self.tell(SessionState::Overdue);
        }
    }

    fn keep_alive(&mut self, now: Duration) {
        let (interval, patience) = (self.ping_interval(), self.patience());
        let Link::Up(up) = &mut self.link else { return };
        if up.last_heard + patience <= now {
            return self.handle_lost(now);
        }
        if up.last_sent + interval <= now {
            Request::Ping.write(XID_PING, &mut self.output);
            up.last_sent = now;
            up.ping_sent_at.get_or_insert(now);
        }
        if let Some((at, pause)) = up.probe
            && at <= now
        {
            let pause = (pause * 2).min(self.settings.backoff.1);
            up.probe = Some((now + pause, pause));
            let here = up.host;
            self.effects
                .extend(self.order.iter().filter(|host| **host != here).map(|host| Effect::Probe(*host)));
        }
    }

    /// A host was asked whether it is read-only.
    pub(crate) fn handle_probe(&mut self, now: Duration, host: usize, read_write: bool) {
        if read_write && matches!(self.link, Link::Up(Up { probe: Some(_), .. })) {
            self.next_host = self.order.iter().position(|other| *other == host).unwrap_or(0);
            self.handle_lost(now);
        }
    }

    /// One frame from the server, without its length.
    pub(crate) fn handle_frame(&mut self, now: Duration, frame: Bytes) {
        let understood = match &mut self.link {
            Link::Greeting { .. } => self.handle_greeting(now, &frame),
            Link::Up(up) => {
                up.last_heard = now;
                self.handle_reply(now, &frame)
            }
            Link::Down { .. } | Link::Connecting { .. } | Link::Over(_) => Ok(()),
        };
        if understood.is_err() {
            self.handle_lost(now);
        }
    }

    fn handle_greeting(&mut self, now: Duration, frame: &Bytes) -> Result<(), DecodeError> {
        let response = ConnectResponse::decode(frame)?;
        let Link::Greeting { host, sent_at, .. } = self.link else { return Ok(()) };
        if response.timeout_ms <= 0 {
            self.end(Error::SessionExpired, SessionState::Expired);
            return Ok(());
        }
        let read_only = response.read_only == Some(true);
        if !read_only {
            // What a read-only server gives out means nothing to the others.
            (self.id, self.password) = (response.session, response.password);
        }
        self.timeout = Duration::from_millis(response.timeout_ms as u64);
        self.proof = sent_at;
        self.failures = 0;
        let first_probe = self.settings.backoff.0;
        self.link = Link::Up(Up {
            host,
            last_sent: now,
            last_heard: now,
            ping_sent_at: None,
            proving: self.settings.sasl.clone().map(|(name, password)| DigestMd5::new(name, password)),
            identity_next: 0,
            set_watches_pending: 0,
            probe: read_only.then_some((now + first_probe, first_probe)),
        });
        for index in 0..self.settings.identities.len() {
            self.present(index);
        }
        match self.settings.sasl {
            // A client begins with an empty token.
            Some(_) => self.send_own(now, &Request::Sasl { token: Some(b"") }),
            None => self.open(now),
        }
        Ok(())
    }

    fn present(&mut self, index: usize) {
        let (scheme, token) = &self.settings.identities[index];
        let request = Request::Auth { scheme: scheme.as_str().into(), token: Some(token) };
        request.write(XID_AUTH, &mut self.output);
    }

    /// The connection is ready for requests: watches first, so that nothing is missed.
    fn open(&mut self, now: Duration) {
        let Link::Up(up) = &mut self.link else { return };
        up.proving = None;
        let pieces = self.registry.set_again(self.last_zxid, SET_WATCHES_BYTES);
        up.set_watches_pending = pieces.len();
        for lists in pieces {
            // Servers before 3.6 know the older request only.
            let lasting = !(lists.persistent.is_empty() && lists.recursive.is_empty());
            let request = if lasting { Request::SetWatches2(lists) } else { Request::SetWatches(lists) };
            request.write(XID_SET_WATCHES, &mut self.output);
        }
        let read_only = up.probe.is_some();
        let (session, timeout) = (self.id, self.timeout);
        self.tell(SessionState::Connected { session, timeout, read_only });
        self.send_waiting(now);
    }

    fn handle_reply(&mut self, now: Duration, frame: &Bytes) -> Result<(), DecodeError> {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader)?;
        let Link::Up(up) = &mut self.link else { return Ok(()) };
        match header.xid {
            XID_NOTIFICATION => {
                let event = WatchEvent::decode(&mut reader)?;
                // The zxid of a notification must not count as seen: more events of the same zxid may follow.
                let zxid = (header.zxid > 0).then_some(Zxid(header.zxid as u64));
                for (id, last) in self.registry.fired(event.kind, &event.path) {
                    let path = event.path.clone().into_owned();
                    let notice = Notice::Changed(Event { kind: event.kind, path, zxid });
                    self.effects.push_back(Effect::Notify { id, notice, last });
                }
            }
            XID_PING => {
                if let Some(sent_at) = up.ping_sent_at.take() {
                    self.proof = self.proof.max(sent_at);
                }
            }
            XID_AUTH => {
                let index = up.identity_next;
                up.identity_next += 1;
                if header.error != 0 {
                    self.end(Error::AuthFailed, SessionState::AuthFailed);
                } else if let Some(answer) = self.identity_answers.get_mut(index).and_then(Option::take) {
                    let reply = Reply { zxid: Zxid(self.last_zxid as u64), body: Bytes::new() };
                    self.effects.push_back(Effect::Answer(answer, Ok(reply)));
                }
            }
            XID_SET_WATCHES => {
                up.set_watches_pending = up.set_watches_pending.saturating_sub(1);
                if up.set_watches_pending == 0 {
                    for id in self.registry.ids() {
                        self.effects.push_back(Effect::Notify { id, notice: Notice::Resumed, last: false });
                    }
                }
            }
            _ => {
                let sent = self.sent_with(header.xid)?;
                self.settle(now, sent, header, frame.slice(frame.len() - reader.rest().len()..));
            }
        }
        Ok(())
    }

    /// A reply was longer than we want to hold: its header, and the size of the whole.
    pub(crate) fn handle_too_large(&mut self, now: Duration, header: &[u8], bytes: usize, limit: usize) {
        let understood =
            ReplyHeader::decode(&mut Reader::new(header)).and_then(|header| self.sent_with(header.xid));
        match understood {
            Ok(Sent { op, frame, then, answer: Some(answer), .. }) => {
                let submission = Submission { op, frame: frame.unwrap_or_default(), then, answer };
                self.fail(submission, Error::ReplyTooLarge { bytes, limit });
            }
            _ => self.handle_lost(now),
        }
    }

    /// One step of the SASL exchange.
    fn prove(&mut self, now: Duration, error: Option<Error>, body: &Bytes) {
        let nonce = [self.random.next(), self.random.next()];
        let Link::Up(Up { proving: Some(exchange), .. }) = &mut self.link else { return };
        let token = Reader::new(body).buffer().ok().flatten().unwrap_or_default();
        match exchange.step(token, nonce) {
            _ if error.is_some() => self.end(Error::AuthFailed, SessionState::AuthFailed),
            Step::Answer(token) => self.send_own(now, &Request::Sasl { token: Some(&token) }),
            Step::Done => self.open(now),
            Step::Failed => self.end(Error::AuthFailed, SessionState::AuthFailed),
        }
    }

    // ---- Endings ----

    /// The session is over: everybody is told, once.
    fn end(&mut self, error: Error, state: SessionState) {
        self.link = Link::Over(error.clone());
        self.effects.push_back(Effect::Disconnect);
        for sent in std::mem::take(&mut self.sent) {
            let error = if sent.frame.is_some() { error.clone() } else { Error::UnknownOutcome };
            self.effects.extend(sent.answer.map(|answer| Effect::Answer(answer, Err(error))));
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.effects.push_back(Effect::Answer(waiting.submission.answer, Err(error.clone())));
        }
        for answer in self.identity_answers.iter_mut().filter_map(Option::take) {
            self.effects.push_back(Effect::Answer(answer, Err(error.clone())));
        }
        let notice = if state == SessionState::Closed { Notice::Closed } else { Notice::Expired };
        for id in std::mem::take(&mut self.registry).ids() {
            self.effects.push_back(Effect::Notify { id, notice: notice.clone(), last: true });
        }
        self.settling.clear();
        self.tell(state);
    }

    fn tell(&mut self, state: SessionState) {
        self.state = state.clone();
        self.effects.push_back(Effect::State(state));
    }

    // ---- Times ----

    fn attempt(&self) -> Duration {
        (self.timeout / self.order.len() as u32).max(ATTEMPT_MIN)
    }

    fn ping_interval(&self) -> Duration {
        (self.timeout / 3).min(PING_INTERVAL_MAX)
    }

    /// How long a server may be silent: long enough after a ping that a healthy one has answered, and so that a third of
    /// the session's time remains to find another.
    fn patience(&self) -> Duration {
        self.timeout * 2 / 3
    }

    /// Without a connection: when the server's own clock may have run out on us.
    fn overdue_at(&self) -> Option<Duration> {
        (self.state == SessionState::Suspended).then_some(self.proof + self.timeout)
    }
}
