//! What can be counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::wire::kafka::ApiKey;

/// How often, and how long in all.
#[derive(Debug, Default)]
pub struct Timed {
    pub count: AtomicU64,
    pub handled_us: AtomicU64,
    pub total_us: AtomicU64,
}

/// Counters of one broker.
#[derive(Debug)]
pub struct Metrics {
    requests: Vec<Timed>,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Those of them that went from a file to a socket without passing through this process.
    pub sendfile_bytes: AtomicU64,
    pub messages_in: AtomicU64,
    pub produce_failures: AtomicU64,
    pub fetch_failures: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let keys = ApiKey::ALL.iter().map(|key| key.to_wire()).max().unwrap_or(0);
        Metrics {
            requests: (0..=keys).map(|_| Timed::default()).collect(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            sendfile_bytes: AtomicU64::new(0),
            messages_in: AtomicU64::new(0),
            produce_failures: AtomicU64::new(0),
            fetch_failures: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// A request was handled in this time, and its answer was on its way after that.
    pub fn answered(&self, key: ApiKey, handled: Duration, total: Duration) {
        let timed = self.of(key);
        timed.count.fetch_add(1, Ordering::Relaxed);
        timed.handled_us.fetch_add(micros(handled), Ordering::Relaxed);
        timed.total_us.fetch_add(micros(total), Ordering::Relaxed);
    }

    /// The requests of one kind.
    pub fn of(&self, key: ApiKey) -> &Timed {
        &self.requests[key.to_wire() as usize]
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
