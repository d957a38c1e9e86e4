//! Series of samples: how many, how much, and percentiles of the recent past.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::view::LatencyView;

/// Top-level names that get figures of their own; the rest is not told apart.
pub(super) const NAMESPACES_MAX: usize = 256;

/// What the samples of a summary are, and what is shown of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Microseconds, shown as milliseconds with percentiles.
    Latency,
    /// Microseconds, shown as milliseconds without percentiles.
    Millis,
    /// A number of things, without percentiles.
    Count,
}

/// Count, sum, extremes and percentiles of a series of samples.
#[derive(Debug, Clone)]
pub struct Summary {
    kind: Kind,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
    current: Histogram,
    previous: Histogram,
}

impl Summary {
    pub(super) const fn new(kind: Kind) -> Summary {
        Summary {
            kind,
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
            current: Histogram::new(),
            previous: Histogram::new(),
        }
    }

    /// Adds a duration to a summary of times.
    pub fn record(&mut self, duration: Duration) {
        debug_assert_ne!(self.kind, Kind::Count);
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds a number to a summary of counts.
    pub fn record_count(&mut self, count: u64) {
        debug_assert_eq!(self.kind, Kind::Count);
        self.add(count);
    }

    fn add(&mut self, sample: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(sample);
        self.min = self.min.min(sample);
        self.max = self.max.max(sample);
        self.current.add(sample);
    }

    /// Starts a new window of percentiles.
    pub(super) fn rotate(&mut self) {
        self.previous = std::mem::replace(&mut self.current, Histogram::new());
    }

    /// How many samples there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sample below which `share` of the recent ones lie, in the unit shown; `None` without samples.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.current.total + self.previous.total;
        if total == 0 {
            return None;
        }
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for index in 0..BUCKETS {
            seen += self.current.at(index) + self.previous.at(index);
            if seen >= rank {
                // A bucket is known by its upper end, but nothing is longer than the longest.
                return Some(self.scale(bucket_end(index).min(self.max) as f64));
            }
        }
        Some(self.scale(self.max as f64))
    }

    /// Minimum, mean and maximum in whole milliseconds and fractions, as `srvr` shows latencies.
    pub fn latency(&self) -> LatencyView {
        LatencyView { min_ms: self.min(), avg_ms: self.average(), max_ms: self.max() }
    }

    /// What its samples are.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The smallest, in whole shown units; 0 before the first.
    pub(super) fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min / self.unit() }
    }

    /// The largest, in whole shown units.
    pub(super) fn max(&self) -> u64 {
        self.max / self.unit()
    }

    /// All together, in shown units.
    pub(super) fn sum(&self) -> f64 {
        self.scale(self.sum as f64)
    }

    /// The mean, in shown units; 0 before the first.
    pub(super) fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.scale(self.sum as f64 / self.count as f64) }
    }

    fn unit(&self) -> u64 {
        if self.kind == Kind::Count { 1 } else { 1000 }
    }

    fn scale(&self, raw: f64) -> f64 {
        raw / self.unit() as f64
    }
}

/// Buckets that grow with the sample: sixteen per power of two, so a percentile is off by 6 % at most. Empty ones cost
/// nothing until the first sample.
#[derive(Debug, Clone)]
struct Histogram {
    buckets: Vec<u64>,
    total: u64,
}

/// Buckets per power of two, as a power of two.
const PRECISION_BITS: u32 = 4;
/// Samples above this power of two (12 days in microseconds) share the last bucket.
const SAMPLE_BITS_MAX: u32 = 40;
const BUCKETS: usize = bucket_of((1 << SAMPLE_BITS_MAX) - 1) + 1;

const fn bucket_of(sample: u64) -> usize {
    let sample = if sample >> SAMPLE_BITS_MAX == 0 { sample } else { (1 << SAMPLE_BITS_MAX) - 1 };
    if sample < 1 << PRECISION_BITS {
        return sample as usize;
    }
    let shift = sample.ilog2() - PRECISION_BITS;
    (((shift as u64) << PRECISION_BITS) + (sample >> shift)) as usize
}

/// The largest sample that falls into a bucket.
const fn bucket_end(index: usize) -> u64 {
    let index = index as u64;
    if index < 1 << (PRECISION_BITS + 1) {
        return index;
    }
    let shift = (index >> PRECISION_BITS) - 1;
    let mantissa = (index & ((1 << PRECISION_BITS) - 1)) | (1 << PRECISION_BITS);
    ((mantissa + 1) << shift) - 1
}

impl Histogram {
    const fn new() -> Histogram {
        Histogram { buckets: Vec::new(), total: 0 }
    }

    fn add(&mut self, sample: u64) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
        }
        self.buckets[bucket_of(sample)] += 1;
        self.total += 1;
    }

    fn at(&self, index: usize) -> u64 {
        self.buckets.get(index).copied().unwrap_or(0)
    }
}

/// Sizes by the first segment of a path, for the first [`NAMESPACES_MAX`] segments that appear.
#[derive(Debug, Clone, Default)]
pub struct NamespaceSummaries(pub(super) BTreeMap<Box<str>, Totals>);

/// Sizes of one namespace, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) count: u64,
    pub(super) sum: u64,
    pub(super) min: u64,
    pub(super) max: u64,
}

impl NamespaceSummaries {
    /// Adds the size of one operation on `path`.
    pub fn record(&mut self, path: &str, bytes: u64) {
        let Some(namespace) = path.split('/').nth(1).filter(|segment| !segment.is_empty()) else { return };
        if !self.0.contains_key(namespace) {
            if self.0.len() == NAMESPACES_MAX {
                return;
            }
            self.0.insert(namespace.into(), Totals { min: u64::MAX, ..Totals::default() });
        }
        let Some(totals) = self.0.get_mut(namespace) else { return };
        totals.count += 1;
        totals.sum = totals.sum.saturating_add(bytes);
        totals.min = totals.min.min(bytes);
        totals.max = totals.max.max(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn buckets_hold_their_samples(sample in 0u64..1 << 41) {
            let bucket = bucket_of(sample);
            prop_assert!(bucket < BUCKETS);
            let capped = sample.min((1 << SAMPLE_BITS_MAX) - 1);
            let end = bucket_end(bucket);
            prop_assert!(capped <= end && end as f64 <= capped as f64 * 1.07 + 1.0, "{sample} in {bucket}..={end}");
            prop_assert!(bucket == 0 || bucket_end(bucket - 1) < capped);
        }

        #[test]
        fn quantiles_are_near_the_truth(mut samples in prop::collection::vec(0u64..10_000_000, 1..200), share in 0.0f64..=1.0) {
            let mut summary = Summary::new(Kind::Count);
            samples.iter().for_each(|&sample| summary.record_count(sample));
            samples.sort_unstable();
            let rank = ((share * samples.len() as f64).ceil() as usize).clamp(1, samples.len());
            let truth = samples[rank - 1] as f64;
            let estimate = summary.quantile(share).unwrap();
            prop_assert!(truth <= estimate && estimate <= truth * 1.07 + 1.0, "{truth} {estimate}");
        }
    }
}
