//! How long did it take, lately?
//!
//! Times fall into buckets, each a quarter larger than the one before, in two windows of a minute: percentiles speak of the
//! last one to two minutes, within a quarter.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::clock;

const WINDOW_MS: u64 = 60_000;
/// Four for each power of two of microseconds; the last is for everything from sixteen hours on.
const BUCKETS: usize = 4 * 34;

/// Times that were measured lately.
#[derive(Debug)]
pub struct Times {
    windows: [[AtomicU64; BUCKETS]; 2],
    /// The number of the newest window; its counts are at this number's parity.
    newest: AtomicU64,
}

impl Default for Times {
    fn default() -> Times {
        let window = || std::array::from_fn(|_| AtomicU64::new(0));
        Times { windows: [window(), window()], newest: AtomicU64::new(0) }
    }
}

impl Times {
    pub fn note(&self, micros: u64) {
        self.note_at(clock::steady_ms() / WINDOW_MS, micros);
    }

    /// The times, in microseconds, that such shares of all were below.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        self.quantiles_at(clock::steady_ms() / WINDOW_MS, shares)
    }

    fn note_at(&self, window: u64, micros: u64) {
        self.turn_to(window);
        self.windows[(window % 2) as usize][bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    fn quantiles_at<const N: usize>(&self, window: u64, shares: [f64; N]) -> [u64; N] {
        self.turn_to(window);
        let count = |bucket: usize| -> u64 {
            self.windows.iter().map(|window| window[bucket].load(Ordering::Relaxed)).sum()
        };
        let counts: Vec<u64> = (0..BUCKETS).map(count).collect();
        let all: u64 = counts.iter().sum();
        shares.map(|share| {
            // Floats become the nearest number that there is.
            let rank = (all as f64 * share).ceil() as u64;
            let mut seen = 0;
            let found = counts.iter().position(|&count| {
                seen += count;
                count > 0 && seen >= rank
            });
            found.map_or(0, end_of)
        })
    }

    /// Forgets what is older than the window before this. Threads may do it at the same time; then a few times are lost.
    fn turn_to(&self, window: u64) {
        let newest = self.newest.load(Ordering::Relaxed);
        if window <= newest
            || self.newest.compare_exchange(newest, window, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        for old in (newest + 1..=window).rev().take(2) {
            self.windows[(old % 2) as usize].iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        }
    }
}

fn bucket(micros: u64) -> usize {
    let power = micros.max(4).ilog2() as usize;
    // The two bits behind the first say which quarter it is.
    let quarter = (micros.max(4) >> (power - 2) & 3) as usize;
    (4 * (power - 2) + quarter).min(BUCKETS - 1)
}

/// Where a bucket ends, in microseconds.
fn end_of(bucket: usize) -> u64 {
    (5 + (bucket as u64 % 4)) << (bucket / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_a_quarter_wide() {
        for micros in (0..10_000).chain((1..36).map(|power| (1u64 << power) + 1)) {
            let end = end_of(bucket(micros));
            assert!(end > micros && end <= (micros + micros / 4 + 1).max(5), "{micros} is below {end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_last_windows() {
        let times = Times::default();
        assert_eq!(times.quantiles_at(7, [0.5, 0.99]), [0, 0]);
        for micros in 1..=100 {
            times.note_at(7, micros * 1000);
        }
        let [median, late] = times.quantiles_at(8, [0.5, 0.99]);
        assert!((50_000..=62_500).contains(&median) && (99_000..=123_750).contains(&late), "{median} {late}");
        times.note_at(9, 10);
        assert_eq!(times.quantiles_at(9, [1.0]), [12], "what was measured two windows ago is forgotten");
        assert_eq!(times.quantiles_at(20, [1.0]), [0]);
    }
}
