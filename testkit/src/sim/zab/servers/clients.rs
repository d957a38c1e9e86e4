//! A client: it is on some member, asks for something, and believes what it is sent only if it may.

mod answers;

use std::collections::VecDeque;

use client::wire::codec::Reader;
use client::wire::zk::reply::{XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES};
use client::wire::zk::{
    ConnectRequest, ConnectResponse, EventType, ReplyHeader, Request, SessionId, WatchEvent, WatchLists, Zxid,
};

use super::super::World;
use super::super::agenda::{At, Happening};
use super::links::Passing;
use super::promises::{Watch, Watched};
use super::{Planted, workload};
use crate::check::service::{Violation, is_write, show, violation};

/// A request without an answer.
#[derive(Debug)]
struct Asked {
    xid: i32,
    request: Request<'static>,
    /// Its number among the session's writes.
    write: Option<usize>,
    /// What was acknowledged to anybody before.
    floor: u64,
}

/// A client, which outlives its connections and sessions.
#[derive(Debug, Default)]
pub(super) struct Client {
    link: Option<u64>,
    welcomed: bool,
    /// Zero: it has none.
    pub(super) session: i64,
    password: [u8; 16],
    last_zxid: u64,
    last_xid: i32,
    asked: VecDeque<Asked>,
    watches: Vec<Watch>,
    /// Where it was last.
    at: At,
    heard_us: u64,
    sent_us: u64,
    welcomed_us: u64,
    /// When its last write was acknowledged.
    written_us: u64,
    dials_us: u64,
}

impl Client {
    /// Whether it has nothing to wait for, and could write since a time.
    pub(super) fn is_served_since(&self, us: u64) -> bool {
        self.welcomed && self.asked.is_empty() && self.written_us > us
    }

    /// On which member it is with this session, and since when on the same connection.
    pub(super) fn is_on_since(&self, session: i64) -> Option<(At, u64)> {
        (self.session == session && self.welcomed).then_some((self.at, self.welcomed_us))
    }

    /// The request that the answer to a write must belong to, if that comes next on this connection.
    pub(super) fn waits_for(
        &self,
        link: u64,
        session: i64,
        place: usize,
    ) -> Option<(i32, &Request<'static>)> {
        let first = self.asked.front()?;
        let is_it = self.link == Some(link) && self.session == session && first.write == Some(place);
        is_it.then_some((first.xid, &first.request))
    }

    pub(super) fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    fn forget_session(&mut self) {
        (self.session, self.last_zxid) = (0, 0);
        self.watches.clear();
    }
}

impl World {
    /// A client does one thing.
    pub(super) fn wake(&mut self, at: usize) {
        let (now_us, healing) = (self.agenda.now_us(), self.healing.is_some());
        let Some(servers) = &mut self.servers else { return };
        let serving = &servers.serving;
        let (think_us, timeout_us) = (serving.think_us, serving.session_ms * 1000);
        self.agenda.after(
            servers.work.between(think_us / 2, think_us * 2),
            Happening::Client(Passing::Wake { client: at }),
        );
        // What is drawn must not depend on what is possible.
        let mut random = servers.work.split();
        let client = &mut servers.clients[at];
        let Some(link) = client.link else {
            if client.dials_us <= now_us {
                let to = random.below(self.members.len() as u64) as At;
                self.dial(at, to);
            }
            return;
        };
        if client.heard_us + timeout_us * 2 / 3 < now_us {
            self.leave_link(link);
            return self.lose(at);
        }
        if !client.welcomed {
            return;
        }
        if !healing && random.one_in(servers.serving.mishaps) {
            let to = random.below(self.members.len() as u64) as At;
            return self.befall(at, link, random.below(8), to);
        }
        if client.sent_us + timeout_us / 4 < now_us {
            return self.ask_server(at, Request::Ping);
        }
        if servers.calm_us.is_some() && !servers.changed_members && client.asked.is_empty() {
            let request = self.request_for_same_members();
            return self.ask_server(at, request);
        }
        let owes = servers.calm_us.is_some_and(|calm_us| client.written_us <= calm_us);
        if (owes || !servers.quiet) && (client.asked.len() as u64) < servers.serving.window {
            let request = workload::request(&mut random, &servers.serving);
            self.ask_server(at, request);
        }
    }

    /// Something happens to a client that no server has to do with.
    fn befall(&mut self, at: usize, link: u64, what: u64, to: At) {
        let Some(servers) = &mut self.servers else { return };
        let timeout_us = servers.serving.session_ms * 1000;
        let name = match what {
            0 => {
                self.break_link(link);
                "client-cut"
            }
            1 => {
                let us = servers.network.below(timeout_us * 2);
                self.stall_link(link, us);
                "client-stall"
            }
            2..=5 => {
                self.leave_link(link);
                self.lose(at);
                self.dial(at, to);
                "client-moves"
            }
            6 => {
                servers.clients[at].forget_session();
                servers.clients[at].dials_us = self.agenda.now_us() + timeout_us / 4;
                self.break_link(link);
                self.leave_link(link);
                self.lose(at);
                "client-dies"
            }
            _ => {
                self.ask_server(at, Request::CloseSession);
                "client-ends-its-session"
            }
        };
        self.trace.fault(name);
        self.note_of_client(at, name, String::new);
    }

    fn note_of_client(&mut self, at: usize, what: &'static str, line: impl FnOnce() -> String) {
        self.trace.fold((what.len() as u64) << 56 | at as u64);
        let (step, time_us) = (self.events, self.agenda.now_us());
        self.trace.line(|| {
            let (seconds, us) = (time_us / 1_000_000, time_us % 1_000_000);
            format!("{step:>8} {seconds:>5}.{us:06} client {at} {what} {}", line())
        });
    }

    fn dial(&mut self, at: usize, to: At) {
        let now_us = self.agenda.now_us();
        let Some(link) = self.link(at, to) else { return };
        let Some(servers) = &mut self.servers else { return };
        let timeout_ms = servers.serving.session_ms as i32;
        let client = &mut servers.clients[at];
        (client.link, client.heard_us) = (Some(link), now_us);
        if client.session != 0 && client.at != to {
            self.trace.mark("a session was taken to another member");
        }
        client.at = to;
        let mut frame = Vec::new();
        let (session, last_zxid, password) = (client.session, client.last_zxid, client.password);
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: last_zxid as i64,
            timeout_ms,
            session: SessionId(session),
            password: &password,
            read_only: Some(false),
        }
        .write(&mut frame);
        self.send_to_server(link, Some(frame.split_off(4)));
        self.note_of_client(at, "dials", || {
            format!("member at {to}, session {session:#x} at {last_zxid:#x}")
        });
    }

    /// Asks the member it is on for something.
    pub(super) fn ask_server(&mut self, at: usize, request: Request<'static>) {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return };
        let floor = servers.promises.acknowledged();
        let client = &mut servers.clients[at];
        let Some(link) = client.link else { return };
        let xid = match request {
            Request::Ping => XID_PING,
            Request::Auth { .. } => XID_AUTH,
            Request::SetWatches2(_) => XID_SET_WATCHES,
            _ => {
                client.last_xid += 1;
                client.last_xid
            }
        };
        client.sent_us = now_us;
        let mut frame = Vec::new();
        match &request {
            Request::SetWatches2(lists) if servers.mistake == Some(Planted::WatchesLost) => {
                let relative_zxid = lists.relative_zxid;
                let none = WatchLists { relative_zxid, ..WatchLists::default() };
                Request::SetWatches2(none).write(xid, &mut frame);
            }
            request => request.write(xid, &mut frame),
        }
        let line = format!("{xid}: {request:?}");
        if !matches!(xid, XID_PING | XID_AUTH) {
            let mut write = None;
            if is_write(&request)
                && let Some(session) = servers.promises.session(client.session)
            {
                write = Some(session.send(request.clone(), link, servers.serving.identities(at), floor));
            }
            client.asked.push_back(Asked { xid, request, write, floor });
        }
        self.send_to_server(link, Some(frame.split_off(4)));
        self.note_of_client(at, "asks", || line);
    }

    /// Its connection is gone, and with it the answers to everything.
    pub(super) fn lose(&mut self, at: usize) {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return };
        let client = &mut servers.clients[at];
        let ended = client.asked.iter().any(|asked| matches!(asked.request, Request::CloseSession));
        if ended {
            // Whether it was over or not: nobody comes back to it.
            client.forget_session();
        }
        if client.link.is_some() && !client.welcomed {
            self.trace.mark("a client was turned away");
        }
        (client.link, client.welcomed) = (None, false);
        client.asked.clear();
        client.dials_us = client.dials_us.max(now_us + 20_000);
        self.note_of_client(at, "is alone", String::new);
    }

    /// A frame has come.
    pub(super) fn hear(&mut self, at: usize, frame: &[u8]) -> Result<(), Violation> {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return Ok(()) };
        let client = &mut servers.clients[at];
        client.heard_us = now_us;
        if !client.welcomed {
            return self.be_welcomed(at, frame);
        }
        let mut reader = Reader::new(&frame[4..]);
        let Ok(header) = ReplyHeader::decode(&mut reader) else {
            return violation("C9", format!("client {at} was sent {frame:?}"));
        };
        if header.xid == XID_NOTIFICATION {
            return match WatchEvent::decode(&mut reader) {
                Ok(event) => self.be_told(at, &event, header.zxid),
                Err(_) => violation("C11", format!("client {at} was sent {frame:?}")),
            };
        }
        if header.xid == XID_AUTH {
            return match header.error {
                0 => Ok(()),
                _ => violation("C9", format!("client {at} is not believed who it is: {}", show(frame))),
            };
        }
        let zxid = header.zxid as u64;
        if zxid < client.last_zxid {
            let last = Zxid(client.last_zxid);
            return violation("C8", format!("client {at} saw {last}, and now {}", show(frame)));
        }
        client.last_zxid = zxid;
        for watch in &mut client.watches {
            // What it left before it lost its connection counts again from here on.
            if header.xid == XID_SET_WATCHES {
                servers.promises.watch_again(watch, zxid);
            }
            if let Some(change) = servers.promises.trigger(watch, zxid) {
                let change = Zxid(change);
                return violation(
                    "C11",
                    format!(
                        "client {at} was not told that {change} triggers {watch:?}, before {}",
                        show(frame)
                    ),
                );
            }
        }
        if header.xid == XID_PING {
            return Ok(());
        }
        let asked = client.asked.pop_front();
        let Some(asked) = asked.filter(|asked| asked.xid == header.xid) else {
            return violation("C9", format!("client {at} did not wait for {}", show(frame)));
        };
        match asked.write {
            Some(write) => self.check_write(at, &asked, write, zxid, frame)?,
            None => self.check_read(at, &asked, zxid, frame)?,
        }
        self.note_of_client(at, "hears", || show(frame));
        Ok(())
    }

    fn be_welcomed(&mut self, at: usize, frame: &[u8]) -> Result<(), Violation> {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return Ok(()) };
        let client = &mut servers.clients[at];
        let Ok(response) = ConnectResponse::decode(&frame[4..]) else {
            return violation("C10", format!("client {at} was welcomed with {frame:?}"));
        };
        let session = response.session.0;
        (client.welcomed, client.welcomed_us, client.sent_us) = (true, now_us, now_us);
        if session == 0 {
            let had = client.session;
            client.forget_session();
            let ended = servers.promises.session(had).is_some_and(|session| session.ending || session.local);
            if !ended {
                return violation(
                    "C10",
                    format!("client {at} was told that {had:#x} is over, and nobody ended it"),
                );
            }
            self.trace.mark("a client was told that its session is over");
            self.note_of_client(at, "is told", || format!("that {had:#x} is over"));
            return Ok(());
        }
        if client.session != 0 && client.session != session {
            return violation("C10", format!("client {at} got session {session:#x} without being told"));
        }
        if servers.serving.local && client.session == 0 {
            servers.promises.begin_local(session);
            self.trace.mark("a session began locally");
        }
        if servers.promises.session(session).is_none() {
            return violation("C3", format!("client {at} got session {session:#x}, which was not agreed on"));
        }
        client.password = response.password;
        client.session = session;
        let (member, token) = (client.at, servers.serving.token(at));
        self.note_welcome(member);
        self.note_of_client(at, "is on", || format!("{session:#x}"));
        if let Some(token) = token {
            self.ask_server(at, Request::Auth { scheme: "digest".into(), token: Some(token) });
        }
        self.bring_watches(at);
        Ok(())
    }

    fn bring_watches(&mut self, at: usize) {
        let Some(servers) = &mut self.servers else { return };
        let client = &servers.clients[at];
        if client.watches.is_empty() {
            return;
        }
        let of = |watched, absent| {
            let watches =
                client.watches.iter().filter(move |watch| (watch.watched, watch.absent) == (watched, absent));
            watches.map(|watch| watch.path.clone().into()).collect()
        };
        let lists = WatchLists {
            relative_zxid: client.last_zxid as i64,
            data: of(Watched::Node, false),
            exist: of(Watched::Node, true),
            child: of(Watched::Children, false),
            ..WatchLists::default()
        };
        self.ask_server(at, Request::SetWatches2(lists));
    }

    /// An event: there must have been a watch, and a change that triggers it.
    fn be_told(&mut self, at: usize, event: &WatchEvent<'_>, zxid: i64) -> Result<(), Violation> {
        let Some(servers) = &mut self.servers else { return Ok(()) };
        let client = &mut servers.clients[at];
        let watches = std::mem::take(&mut client.watches);
        let meant = |watch: &Watch| {
            let watched = match event.kind {
                EventType::NodeDeleted => true,
                EventType::NodeChildrenChanged => watch.watched == Watched::Children,
                _ => watch.watched == Watched::Node,
            };
            watched && watch.path == event.path
        };
        let (mut triggered, kept): (Vec<Watch>, Vec<Watch>) = watches.into_iter().partition(meant);
        client.watches = kept;
        if triggered.is_empty() {
            return violation("C11", format!("client {at} did not watch for {event:?}"));
        }
        for watch in &mut triggered {
            let change = servers.promises.trigger(watch, u64::MAX);
            if change.is_none() || (zxid >= 0 && change != Some(zxid as u64)) {
                let what = format!(
                    "client {at} was told {event:?} at {zxid:#x}, {watch:?} is triggered by {change:x?}"
                );
                return violation("C11", what);
            }
        }
        self.trace.mark(if zxid < 0 {
            "a client was told what it had missed"
        } else {
            "a watch was triggered"
        });
        self.note_of_client(at, "is told", || format!("{event:?} at {zxid:#x}"));
        Ok(())
    }
}
