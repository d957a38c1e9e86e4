//! How long must this client wait, and what did its request cost?

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use client::wire::kafka::ErrorCode;

use super::Context;
use super::configs::Refusal;
use crate::quota::{Kind, Who};

/// What one request has cost so far, and the longest wait that follows from it.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    spent_ns: AtomicU64,
    wait_ms: AtomicU64,
}

impl Throttle {
    /// Does some of the request's work. Only work counts, not what it waits for.
    pub(super) async fn timed<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|task| {
            let begun = Instant::now();
            let polled: Poll<T> = work.as_mut().poll(task);
            let spent = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.spent_ns.fetch_add(spent, Ordering::Relaxed);
            polled
        })
        .await
    }

    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms.load(Ordering::Relaxed))
    }

    fn at_least(&self, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.wait_ms.fetch_max(wait_ms, Ordering::Relaxed);
    }
}

/// Time as the limit has it: percent of one processor, a second.
fn percent(spent: Duration) -> f64 {
    spent.as_secs_f64() * 100.0
}

impl Context<'_> {
    fn who(&self) -> Who<'_> {
        self.peer.who(self.client_id())
    }

    /// The wait that an answer tells of, in milliseconds.
    pub(super) fn wait_ms(&self) -> i32 {
        i32::try_from(self.throttle.wait().as_millis()).unwrap_or(i32::MAX)
    }

    /// Charges the client for the time that the request took.
    pub(super) fn charge_time(&self) -> i32 {
        let spent = Duration::from_nanos(self.throttle.spent_ns.load(Ordering::Relaxed));
        self.throttle.at_least(self.broker.quotas.charge(Kind::Request, self.who(), percent(spent)));
        self.wait_ms()
    }

    /// Charges the client for bytes that it sent.
    pub(super) fn charge_produced(&self) {
        self.throttle.at_least(self.broker.quotas.charge(Kind::Produce, self.who(), self.size as f64));
    }

    /// Charges the client for bytes that it is to get. If it must wait, it may not get any of them, and they do not count.
    pub(super) fn may_fetch(&self, bytes: u64) -> bool {
        let quotas = &self.broker.quotas;
        let wait = quotas.charge(Kind::Fetch, self.who(), bytes as f64);
        self.throttle.at_least(wait);
        self.charge_time();
        if self.throttle.wait().is_zero() {
            return true;
        }
        quotas.note(Kind::Fetch, self.who(), -(bytes as f64));
        false
    }

    /// The most bytes that the client may get at once and not have to wait for whatever it does.
    pub(super) fn fetch_bytes_max(&self) -> u64 {
        // Floats become the nearest number that there is.
        self.broker.quotas.at_once(Kind::Fetch, self.who()).map_or(u64::MAX, |bytes| bytes as u64)
    }

    /// Takes partitions out of what the client may make and delete. Those that know the error get it, from `strict_from` of
    /// the request on; others wait afterwards.
    pub(super) fn mutate(&self, partitions: usize, strict_from: i16) -> Result<(), Refusal> {
        let is_strict = self.version() >= strict_from;
        let wait = self.broker.quotas.mutate(self.who(), partitions, is_strict);
        self.throttle.at_least(wait);
        if is_strict && !wait.is_zero() {
            let code = ErrorCode::THROTTLING_QUOTA_EXCEEDED;
            return Err((code, code.message().to_owned()));
        }
        Ok(())
    }
}
