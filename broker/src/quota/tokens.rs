//! How many tokens are left in a bucket that fills at the pace of the limit?

use super::rate::Windows;
use super::wait_ms;

/// A debt smaller than this is none.
const ROUNDING: f64 = 1e-6;

/// A bucket that holds what all windows allow, and is full at the beginning.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    filled_ms: u64,
}

impl Bucket {
    pub(super) fn full(windows: Windows, limit: f64, now_ms: u64) -> Bucket {
        Bucket { tokens: size(windows, limit), filled_ms: now_ms }
    }

    /// Takes tokens out, and into debt if there are fewer.
    pub(super) fn take(&mut self, windows: Windows, limit: f64, amount: f64, now_ms: u64) {
        self.fill(windows, limit, now_ms);
        self.tokens -= amount;
    }

    /// How long to wait until there is no debt; 0 if there is none.
    pub(super) fn wait_ms(&mut self, windows: Windows, limit: f64, now_ms: u64) -> u64 {
        self.fill(windows, limit, now_ms);
        if self.tokens > -ROUNDING { 0 } else { wait_ms(-self.tokens / limit * 1000.0).max(1) }
    }

    pub(super) fn is_full(&mut self, windows: Windows, limit: f64, now_ms: u64) -> bool {
        self.fill(windows, limit, now_ms);
        self.tokens >= size(windows, limit)
    }

    fn fill(&mut self, windows: Windows, limit: f64, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.tokens = (self.tokens + limit * passed_ms as f64 / 1000.0).min(size(windows, limit));
        self.filled_ms = now_ms.max(self.filled_ms);
    }
}

fn size(windows: Windows, limit: f64) -> f64 {
    limit * windows.span_ms() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_may_be_overdrawn_once() {
        let windows = Windows { count: 100, size_ms: 1000 };
        let mut bucket = Bucket::full(windows, 5.0, 7);
        bucket.take(windows, 5.0, 560.0, 7);
        assert_eq!(bucket.wait_ms(windows, 5.0, 7), 12_000, "60 tokens at 5 a second");
        assert_eq!(bucket.wait_ms(windows, 5.0, 12_006), 1);
        assert_eq!(bucket.wait_ms(windows, 5.0, 12_007), 0);
        assert!(!bucket.is_full(windows, 5.0, 12_007) && bucket.is_full(windows, 5.0, 200_000));
    }
}
