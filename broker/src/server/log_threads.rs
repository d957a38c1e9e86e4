//! Who looks after the logs?
//!
//! Threads of their own, for they wait for disks: one does what comes round from time to time, one compacts, and one moves
//! partitions from one directory to another.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Broker, clock};
use crate::config::{LogsConfig, MOVED_BYTES};
use crate::log::LogManager;

/// How often logs are looked after.
const LOG_TICK: Duration = Duration::from_secs(1);
/// How soon the threads see that they are to stop, and that there is something to move.
const STOP_SEEN_WITHIN: Duration = Duration::from_millis(100);
/// The longest rest after a batch that was too large, so that a higher limit is noticed.
const REST_MAX: Duration = Duration::from_secs(60);
/// What is moved at once, so that a stop is seen soon.
const MOVED_BYTES_MAX: u64 = 16 << 20;

/// Starts the threads; they end soon after `stop` says so.
pub(super) fn start(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> io::Result<Vec<JoinHandle<()>>> {
    let logs = broker.replicas.logs();
    let mut threads = vec![tick_logs(Arc::clone(logs), stop.clone())?];
    if broker.config.logs.cleaner {
        threads.push(clean_logs(Arc::clone(logs), broker.config.logs, stop.clone())?);
    }
    if logs.dirs().len() > 1 {
        threads.push(move_logs(Arc::clone(broker), stop.clone())?);
    }
    Ok(threads)
}

/// Looks after the logs on a thread that may wait for disks.
fn tick_logs(logs: Arc<LogManager>, stop: watch::Receiver<bool>) -> io::Result<JoinHandle<()>> {
    let run = move || {
        let mut next = Instant::now();
        while !*stop.borrow() {
            thread::sleep(STOP_SEEN_WITHIN);
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + LOG_TICK;
            logs.tick(clock::wall_ms());
            if logs.dirs().iter().all(|dir| dir.failure().is_some()) {
                tracing::error!("every data directory has failed; this broker stops");
                std::process::exit(1);
            }
        }
    };
    thread::Builder::new().name("logs".into()).spawn(run)
}

/// Compacts logs, the dirtiest first, on a thread of its own.
fn clean_logs(
    logs: Arc<LogManager>,
    config: LogsConfig,
    stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let run = move || {
        while !*stop.borrow() {
            if logs.clean_one(config.cleaner_buffer_bytes, clock::wall_ms()) {
                continue;
            }
            let rested_at = Instant::now() + config.cleaner_backoff;
            while !*stop.borrow() && Instant::now() < rested_at {
                thread::sleep(STOP_SEEN_WITHIN);
            }
        }
    };
    thread::Builder::new().name("cleaner".into()).spawn(run)
}

/// Copies what is to be in another directory, no faster than is allowed.
fn move_logs(broker: Arc<Broker>, stop: watch::Receiver<bool>) -> io::Result<JoinHandle<()>> {
    let run = move || {
        let logs = Arc::clone(broker.replicas.logs());
        while !*stop.borrow() {
            let allowed = broker.topic_configs.broker();
            let allowed = allowed.get(MOVED_BYTES).and_then(|bytes| bytes.parse::<u64>().ok());
            let a_moment = u64::try_from(STOP_SEEN_WITHIN.as_millis()).unwrap_or(u64::MAX);
            let budget = allowed.map_or(MOVED_BYTES_MAX, |bytes| {
                (bytes.saturating_mul(a_moment) / 1000).min(MOVED_BYTES_MAX)
            });
            let copied = logs.advance_moves(budget.max(1), clock::wall_ms());
            // A batch is copied whole, and paid for by a longer rest.
            let rest = match allowed {
                Some(allowed) => Duration::from_secs_f64(copied as f64 / allowed.max(1) as f64),
                None if copied > 0 => continue,
                None => STOP_SEEN_WITHIN,
            };
            let rested_at = Instant::now() + rest.clamp(STOP_SEEN_WITHIN, REST_MAX);
            while !*stop.borrow() && Instant::now() < rested_at {
                thread::sleep(STOP_SEEN_WITHIN.min(rested_at.saturating_duration_since(Instant::now())));
            }
        }
    };
    thread::Builder::new().name("mover".into()).spawn(run)
}
