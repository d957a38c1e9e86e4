//! What all workloads share: where the members are, the time, and when it is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::client::{Answer, Roamer, code};
use crate::raw::{Body, op};
use crate::sim::random::Random;

/// Shared by every worker of a run.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) seed: u64,
    started: Instant,
    over: AtomicBool,
    pub(super) operations: AtomicU64,
    pub(super) unknown: AtomicU64,
}

/// Long enough to outlive every fault that spares the client, short enough that expiry happens.
const SESSION_TIMEOUT: Duration = Duration::from_secs(20);

impl Field {
    pub(super) fn new(addresses: Vec<SocketAddr>, seed: u64) -> Field {
        Field {
            addresses,
            seed,
            started: Instant::now(),
            over: AtomicBool::new(false),
            operations: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    /// Microseconds since the start.
    pub(super) fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// A client whose dice follow from the run's seed and its own name.
    pub(super) fn client(&self, name: &str, number: usize) -> Roamer {
        self.client_with(name, number, SESSION_TIMEOUT)
    }

    pub(super) fn client_with(&self, name: &str, number: usize, session_timeout: Duration) -> Roamer {
        let mut mixed = self.seed ^ number as u64;
        for byte in name.bytes() {
            mixed = Random::new(mixed ^ u64::from(byte)).next_u64();
        }
        Roamer::new(&self.addresses, session_timeout, mixed)
    }

    /// Counts an answer.
    pub(super) fn count(&self, answer: &Answer) {
        match answer {
            Answer::Done { .. } | Answer::Refused { .. } => self.operations.fetch_add(1, Ordering::Relaxed),
            Answer::Unknown => self.unknown.fetch_add(1, Ordering::Relaxed),
            Answer::NotSent => 0,
        };
    }

    /// Asks until it is answered; for what may be done twice. Gives up after a minute.
    pub(super) fn insist(&self, client: &mut Roamer, opcode: i32, record: &Body) -> Option<Answer> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            match client.call(opcode, record) {
                Answer::Unknown | Answer::NotSent => {}
                Answer::Refused { code: code::SESSION_EXPIRED | code::SESSION_MOVED, .. } => {}
                answer => return Some(answer),
            }
        }
        None
    }

    /// Creates a node unless it is there.
    pub(super) fn ensure_node(&self, client: &mut Roamer, path: &str, data: &[u8]) -> bool {
        let answer = self.insist(client, op::CREATE, &Body::new().create(path, data, 0));
        matches!(answer, Some(Answer::Done { .. } | Answer::Refused { code: code::NODE_EXISTS, .. }))
    }
}

/// A number as node data.
pub(super) fn bytes_of(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number that node data are.
pub(super) fn number_of(data: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(data.try_into().ok()?))
}
