//! Latencies by logarithmic buckets: fixed memory, no matter how many, within 1.6 % of the truth.

use std::time::Duration;

/// Each power of two is split into this many buckets.
const SPLIT_BITS: u32 = 6;
const SPLIT: usize = 1 << SPLIT_BITS;
const BUCKETS: usize = (64 - SPLIT_BITS as usize + 1) * SPLIT;

/// Counts of durations.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, longest_ns: 0 }
    }
}

/// Values below `SPLIT` have a bucket each; above, the highest `SPLIT_BITS + 1` bits choose it.
fn bucket(nanoseconds: u64) -> usize {
    let magnitude = (u64::BITS - nanoseconds.leading_zeros()).saturating_sub(SPLIT_BITS + 1);
    magnitude as usize * SPLIT + (nanoseconds >> magnitude) as usize
}

/// The highest value that falls into the bucket.
fn upper_end(bucket: usize) -> u64 {
    if bucket < 2 * SPLIT {
        return bucket as u64;
    }
    let magnitude = bucket / SPLIT - 1;
    let first = ((bucket - magnitude * SPLIT) as u64) << magnitude;
    first + ((1 << magnitude) - 1)
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&mut self, duration: Duration) {
        let nanoseconds = duration.as_nanos() as u64;
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.longest_ns = self.longest_ns.max(nanoseconds);
    }

    /// Counts everything that the other counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The duration that this share of all does not exceed; zero if none was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_end(index).min(self.longest_ns));
            }
        }
        Duration::ZERO
    }

    /// The longest duration.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_two_percent() {
        let mut histogram = Histogram::default();
        for microseconds in 1..=10_000 {
            histogram.add(Duration::from_micros(microseconds));
        }
        for (share, expected) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((found / expected - 1.0).abs() < 0.02, "{share}: {found} instead of {expected}");
        }
        assert_eq!(histogram.longest(), Duration::from_millis(10));
        assert_eq!(histogram.count(), 10_000);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for shift in 0..64 {
            for near in [-1i64, 0, 1] {
                let value = (1u64 << shift).wrapping_add_signed(near);
                let end = upper_end(bucket(value));
                assert!(end >= value, "{value} above the end {end} of its bucket");
                assert!(end as f64 <= value as f64 * 1.02 + 1.0, "{value}: bucket ends at {end}");
            }
        }
    }
}
