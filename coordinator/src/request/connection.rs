//! One client's connection as the core sees it: who it is, what it still waits for, what it has to be sent.

use std::collections::VecDeque;
use std::net::IpAddr;

use client::wire::zk::{ConnectRequest, Identity, OpCode, SessionId};

use super::command::ReplyForm;
use crate::auth::digest_md5::DigestMd5;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has come yet; the first frame opens or takes up a session.
    New,
    /// Its session is on the way through the log. Nothing more is read until it is there.
    Opening,
    Open,
    /// It asked for the end of its session and waits for the answer. Nothing more is read.
    Leaving,
    /// It gets what is in its buffer and is then closed. Nothing more is read.
    Closing,
}

/// Something that must be answered after everything before it.
#[derive(Debug)]
pub enum Waiting {
    /// A write on its way through the log.
    Write { serial: u64, xid: i32, form: ReplyForm, received_us: u64, size: usize },
    /// Waits until this server has seen all that anybody was told before: the whole frame body.
    Sync { serial: u64, frame: Box<[u8]>, received_us: u64, ready: bool },
    /// A write behind a `sync`: it is proposed when that is answered, or what is between the two would see it.
    Held { frame: Box<[u8]> },
    /// A request that came behind a write and may not overtake it: the whole frame body.
    Behind { frame: Box<[u8]>, received_us: u64 },
}

/// What an operator wants to know about one connection.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub received: u64,
    pub sent: u64,
    pub established_ms: i64,
    pub last_op: Option<OpCode>,
    pub last_xid: i32,
    pub last_zxid: i64,
    pub last_response_ms: i64,
    pub latency: Latency,
}

/// Least, greatest and average of something measured in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    pub last_us: u64,
    pub min_us: u64,
    pub max_us: u64,
    sum_us: u64,
    count: u64,
}

impl Latency {
    pub fn record(&mut self, us: u64) {
        self.last_us = us;
        self.min_us = if self.count == 0 { us } else { self.min_us.min(us) };
        self.max_us = self.max_us.max(us);
        self.sum_us += us;
        self.count += 1;
    }

    pub fn average_us(&self) -> u64 {
        self.sum_us.checked_div(self.count).unwrap_or(0)
    }
}

/// The connection.
#[derive(Debug)]
pub struct Connection {
    pub phase: Phase,
    pub address: IpAddr,
    pub port: u16,
    pub secure: bool,
    pub session: SessionId,
    pub timeout_ms: u32,
    /// The form of handshake it spoke, echoed in the answer.
    pub read_only: Option<bool>,
    pub identities: Vec<Identity<'static>>,
    pub waiting: VecDeque<Waiting>,
    pub waiting_bytes: usize,
    /// How many of those who wait are a `sync`.
    pub syncs: usize,
    /// What is to be sent, whole frames only.
    pub out: Vec<u8>,
    /// It is already on the list of connections that have something to send.
    pub noted: bool,
    pub sasl: Option<Box<DigestMd5>>,
    pub sasl_rounds: usize,
    pub counters: Counters,
}

impl Connection {
    pub fn new(
        address: IpAddr,
        port: u16,
        secure: bool,
        identities: Vec<Identity<'static>>,
        now_ms: i64,
    ) -> Self {
        Connection {
            phase: Phase::New,
            address,
            port,
            secure,
            session: SessionId::NONE,
            timeout_ms: 0,
            read_only: None,
            identities,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            syncs: 0,
            out: Vec::new(),
            noted: false,
            sasl: None,
            sasl_rounds: 0,
            counters: Counters { established_ms: now_ms, last_xid: -1, last_zxid: -1, ..Counters::default() },
        }
    }

    /// Whether it is served old data, and nothing else.
    pub fn is_read_only(&self) -> bool {
        self.read_only == Some(true)
    }

    pub fn greet(&mut self, request: &ConnectRequest<'_>) {
        self.read_only = request.read_only.map(|_| false);
    }

    pub fn add_identity(&mut self, scheme: &str, id: String) {
        let identity = Identity::new(scheme.to_owned(), id);
        if !self.identities.contains(&identity) {
            self.identities.push(identity);
        }
    }
}
