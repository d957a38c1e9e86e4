//! Clients: what they send, what reaches them, and what they must not be told.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use client::wire::codec::Reader;
use client::wire::zk::reply::{XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES};
use client::wire::zk::{ConnectResponse, ReplyHeader, Request, SessionId};
use coordinator::tree::watches::ConnectionId;

use super::{World, workload};
use crate::check::service::{Violation, show, violation};

/// What is on its way to the server.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    Hello { session: i64, password: [u8; 16], last_zxid: u64 },
    Request { xid: i32, request: Request<'static> },
}

/// A client, which outlives its connections and sessions.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The world's number of its connection; zero is none.
    pub(super) connection: u64,
    pub(super) welcomed: bool,
    pub(super) to_server: VecDeque<Sent>,
    pub(super) to_client: VecDeque<Vec<u8>>,
    pub(super) session: i64,
    pub(super) password: [u8; 16],
    pub(super) last_zxid: u64,
    pub(super) next_xid: i32,
    /// Sent and not answered, in order: xid and whether it is a write.
    pub(super) unanswered: VecDeque<(i32, bool)>,
    pub(super) silent_until_ms: u64,
}

impl World {
    pub(super) fn client_sends(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.silent_until_ms > self.now_ms {
            return;
        }
        if self.work.below(60) == 0 {
            client.silent_until_ms = self.now_ms + self.work.below(self.configuration.timeout_ms * 3);
        }
        if client.connection == 0 {
            return self.client_connects(at);
        }
        if !client.welcomed || client.unanswered.len() > 20 {
            return;
        }
        let request = workload::request(&mut self.work);
        self.send(at, request);
    }

    pub(super) fn client_connects(&mut self, at: usize) {
        let id = self.next_connection;
        self.next_connection += 1;
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, at as u8));
        let now = self.now();
        self.server.service.connect(ConnectionId(id), (address, 1), false, Vec::new(), now);
        self.oracle.connect(id, &address.to_string());
        let client = &mut self.clients[at];
        let mut password = client.password;
        if client.session != 0 && self.work.below(30) == 0 {
            password[3] ^= 1;
        }
        let last_zxid = client.last_zxid;
        *client = Client {
            connection: id,
            session: client.session,
            password: client.password,
            last_zxid,
            silent_until_ms: client.silent_until_ms,
            ..Client::default()
        };
        let session = client.session;
        client.to_server.push_back(Sent::Hello { session, password, last_zxid });
        self.note("connect", || format!("client {at} on connection {id}, session {session:#x}"));
    }

    pub(super) fn send(&mut self, at: usize, request: Request<'static>) {
        let client = &mut self.clients[at];
        let xid = match request {
            Request::Ping => XID_PING,
            Request::Auth { .. } => XID_AUTH,
            Request::SetWatches2(_) => XID_SET_WATCHES,
            _ => {
                client.next_xid += 1;
                client.next_xid
            }
        };
        if !matches!(xid, XID_PING | XID_AUTH) {
            client.unanswered.push_back((xid, crate::check::service::is_write(&request)));
        }
        let line = format!("client {at} xid {xid} {request:?}");
        client.to_server.push_back(Sent::Request { xid, request });
        self.note("send", || line);
    }

    /// The connection breaks: the server may have got some of what was under way, and so may the client.
    pub(super) fn cut(&mut self, at: usize) -> Result<(), Violation> {
        let id = self.clients[at].connection;
        if id == 0 {
            return Ok(());
        }
        for _ in 0..self.network.below(4) {
            self.server_reads(at)?;
        }
        for _ in 0..self.network.below(4) {
            self.client_reads(at)?;
        }
        if self.clients[at].connection == id {
            self.note("cut", || format!("client {at} loses connection {id}"));
            self.server.service.disconnect(ConnectionId(id));
            self.oracle.disconnect(id);
            self.lose(at);
        }
        Ok(())
    }

    pub(super) fn lose(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.connection = 0;
        client.to_server.clear();
        client.to_client.clear();
    }

    /// A frame of the server reaches the client.
    pub(super) fn client_reads(&mut self, at: usize) -> Result<(), Violation> {
        let client = &mut self.clients[at];
        let Some(frame) = client.to_client.pop_front() else {
            // The server closed the connection behind its last frame.
            if client.connection != 0 && !self.oracle.connections.contains_key(&client.connection) {
                self.lose(at);
            }
            return Ok(());
        };
        if !client.welcomed {
            client.welcomed = true;
            let Ok(response) = ConnectResponse::decode(&frame[4..]) else {
                return violation("C10", "the answer to a handshake cannot be read");
            };
            let had = client.session;
            (client.session, client.password) = (response.session.0, response.password);
            if response.session == SessionId::NONE {
                // Told that it is over; what comes next is a new beginning.
                client.last_zxid = 0;
                self.lose(at);
            } else if had != 0 && had != response.session.0 {
                return violation("C10", format!("client {at} got another session without being told"));
            } else if had != 0 {
                let since = client.last_zxid as i64;
                let request = workload::watches(&mut self.work, since);
                self.send(at, request);
            }
            return Ok(());
        }
        let Ok(header) = ReplyHeader::decode(&mut Reader::new(&frame[4..])) else {
            return violation("C9", "a reply has no header");
        };
        match header.xid {
            XID_NOTIFICATION | XID_PING | XID_AUTH => {}
            xid => {
                let Some((expected, write)) = client.unanswered.pop_front() else {
                    return violation("C9", format!("client {at} asked nothing and got {}", show(&frame)));
                };
                if xid != expected {
                    return violation(
                        "C9",
                        format!("client {at} waits for {expected} and got {}", show(&frame)),
                    );
                }
                let zxid = header.zxid as u64;
                if zxid < client.last_zxid {
                    let last = client.last_zxid;
                    return violation("C8", format!("client {at} saw {last:#x} and now {}", show(&frame)));
                }
                client.last_zxid = zxid;
                if write {
                    // Acknowledged: it must be in every later history. See `restart`.
                    self.executed = self.executed.max(zxid);
                }
            }
        }
        Ok(())
    }
}
