//! What can be counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use client::wire::kafka::{ApiKey, ErrorCode};

use super::times::Times;
use crate::limits;
use crate::net::connection::Ended;

/// How often, and how long: in all, and lately.
#[derive(Debug, Default)]
pub struct Timed {
    pub count: AtomicU64,
    /// The requests' sizes.
    pub bytes: AtomicU64,
    pub handled_us: AtomicU64,
    pub total_us: AtomicU64,
    /// How long the clients were told to wait.
    pub throttled_us: AtomicU64,
    pub lately: Times,
    told: Told,
}

/// How often each error code was told.
#[derive(Debug, Default)]
struct Told {
    /// Nearly always it is none.
    fine: AtomicU64,
    errors: Mutex<BTreeMap<ErrorCode, u64>>,
}

impl Timed {
    /// How often each error code was told, `NONE` included.
    pub fn told(&self) -> BTreeMap<ErrorCode, u64> {
        let mut told = self.told.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        told.insert(ErrorCode::NONE, self.told.fine.load(Ordering::Relaxed));
        told
    }
}

/// What one request took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub bytes: usize,
    /// Until its answer was known.
    pub handled: Duration,
    /// Until that was on its way.
    pub total: Duration,
    /// How long the client has to wait.
    pub throttled: Duration,
}

/// What goes in and out, of one topic or of all.
#[derive(Debug, Default)]
pub struct Traffic {
    pub messages_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Batches that producers sent.
    pub produces: AtomicU64,
    pub produces_failed: AtomicU64,
    /// Those of the bytes in them that were too many at once.
    pub bytes_rejected: AtomicU64,
    /// Partitions that were asked for records.
    pub fetches: AtomicU64,
    pub fetches_failed: AtomicU64,
}

/// How busy the threads were until then.
#[derive(Debug)]
struct Busy {
    at: Instant,
    busy: Duration,
}

/// Counters of one broker.
#[derive(Debug)]
pub struct Metrics {
    requests: Vec<Timed>,
    pub all_topics: Traffic,
    topics: RwLock<BTreeMap<String, Arc<Traffic>>>,
    /// Those of the bytes that went from a file to a socket without passing through this process.
    pub sendfile_bytes: AtomicU64,
    /// Requests that wait for records.
    pub fetches_waiting: AtomicU64,
    pub connections_made: AtomicU64,
    ended: [AtomicU64; Ended::REASONS.len()],
    /// Connections to the coordinator that were lost.
    pub coordinator_lost: AtomicU64,
    /// Sessions with it that were.
    pub sessions_lost: AtomicU64,
    busy: Mutex<Busy>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let keys = ApiKey::ALL.iter().map(|key| key.to_wire()).max().unwrap_or(0);
        Metrics {
            requests: (0..=keys).map(|_| Timed::default()).collect(),
            all_topics: Traffic::default(),
            topics: RwLock::default(),
            sendfile_bytes: AtomicU64::new(0),
            fetches_waiting: AtomicU64::new(0),
            connections_made: AtomicU64::new(0),
            coordinator_lost: AtomicU64::new(0),
            sessions_lost: AtomicU64::new(0),
            ended: [const { AtomicU64::new(0) }; Ended::REASONS.len()],
            busy: Mutex::new(Busy { at: Instant::now(), busy: Duration::ZERO }),
        }
    }
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, key: ApiKey, took: Took) {
        let timed = self.of(key);
        add(&timed.count, 1);
        add(&timed.bytes, took.bytes as u64);
        add(&timed.handled_us, micros(took.handled));
        add(&timed.total_us, micros(took.total));
        add(&timed.throttled_us, micros(took.throttled));
        timed.lately.note(micros(took.total));
    }

    /// A response says these error codes so often.
    pub fn told(&self, key: ApiKey, codes: &[(ErrorCode, u64)]) {
        let told = &self.of(key).told;
        for (code, count) in codes {
            if *code == ErrorCode::NONE {
                add(&told.fine, *count);
            } else {
                let mut errors = told.errors.lock().unwrap_or_else(PoisonError::into_inner);
                *errors.entry(*code).or_default() += count;
            }
        }
    }

    /// The requests of one kind.
    pub fn of(&self, key: ApiKey) -> &Timed {
        &self.requests[key.to_wire() as usize]
    }

    /// Counts something of a topic that exists, and of all topics.
    pub fn count(&self, topic: &str, note: impl Fn(&Traffic)) {
        note(&self.all_topics);
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned();
        if let Some(traffic) = known {
            return note(&traffic);
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        // Those beyond count in the sum only.
        if topics.len() < limits::TOPICS_COUNTED_MAX {
            note(topics.entry(topic.to_owned()).or_default());
        }
    }

    /// Counts something that was asked of a topic, which perhaps does not exist.
    pub fn count_failure(&self, topic: Option<&str>, note: impl Fn(&Traffic)) {
        note(&self.all_topics);
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(traffic) = topic.and_then(|topic| topics.get(topic)) {
            note(traffic);
        }
    }

    /// What was counted of each topic; those that are no more are forgotten.
    pub fn topics(&self, exists: impl Fn(&str) -> bool) -> BTreeMap<String, Arc<Traffic>> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|topic, _| exists(topic));
        topics.clone()
    }

    /// A connection is over.
    pub fn note_end(&self, ended: &Ended) {
        let reason = Ended::REASONS.iter().position(|&reason| reason == ended.reason());
        if let Some(count) = reason.and_then(|index| self.ended.get(index)) {
            add(count, 1);
        }
    }

    /// How many connections ended, by the reason.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Ended::REASONS.into_iter().zip(self.ended.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// The share of their time that the runtime's threads had nothing to do, since this was last asked.
    pub fn idle_share(&self) -> f64 {
        let runtime = tokio::runtime::Handle::current().metrics();
        let workers = runtime.num_workers();
        let busy = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker)).sum();
        let now = Busy { at: Instant::now(), busy };
        let mut last = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = now.busy.saturating_sub(last.busy).as_secs_f64();
        let passed = now.at.duration_since(last.at).as_secs_f64() * workers as f64;
        *last = now;
        if passed > 0.0 { (1.0 - worked / passed).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// Counts more.
pub fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
