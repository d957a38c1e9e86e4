//! How fast is it, seen over the last windows?

use std::collections::VecDeque;

use super::wait_ms;

/// Over what a rate is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// How many are remembered, the current one included.
    pub count: usize,
    pub size_ms: u64,
}

impl Windows {
    /// The time that all of them cover.
    pub fn span_ms(self) -> u64 {
        self.size_ms.saturating_mul(self.count as u64)
    }

    /// How much may happen at once, without anything before, at a rate of `limit` a second.
    pub fn at_once(self, limit: f64) -> f64 {
        let whole_ms = self.size_ms.saturating_mul(self.count.saturating_sub(1) as u64);
        limit * whole_ms as f64 / 1000.0
    }
}

#[derive(Debug)]
struct Sample {
    begun_ms: u64,
    last_ms: u64,
    amount: f64,
}

/// Amounts over time. A window begins with the first amount after the one before has ended.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<Sample>,
}

impl Rate {
    /// `amount` more; less, to take back what was added before.
    pub(super) fn add(&mut self, windows: Windows, amount: f64, now_ms: u64) {
        match self.samples.back_mut() {
            Some(sample) if now_ms.saturating_sub(sample.begun_ms) < windows.size_ms => {
                sample.amount += amount;
                sample.last_ms = now_ms;
            }
            _ => {
                // One more than counts: the oldest is part of the measured time until nothing of it is.
                if self.samples.len() > windows.count {
                    self.samples.pop_front();
                }
                self.samples.push_back(Sample { begun_ms: now_ms, last_ms: now_ms, amount });
            }
        }
    }

    /// How long to wait until the rate is no more than `limit` a second; 0 if it is not.
    pub(super) fn wait_ms(&mut self, windows: Windows, limit: f64, now_ms: u64) -> u64 {
        self.forget(windows, now_ms);
        let measured_ms = self.measured_ms(windows, now_ms);
        let amount: f64 = self.samples.iter().map(|sample| sample.amount).sum();
        let rate = amount * 1000.0 / measured_ms;
        if rate <= limit { 0 } else { wait_ms((rate - limit) / limit * measured_ms).max(1) }
    }

    /// Nothing happened for so long that there is nothing to remember.
    pub(super) fn is_idle(&mut self, windows: Windows, now_ms: u64) -> bool {
        self.forget(windows, now_ms);
        self.samples.is_empty()
    }

    fn forget(&mut self, windows: Windows, now_ms: u64) {
        while let Some(oldest) = self.samples.front()
            && now_ms.saturating_sub(oldest.last_ms) >= windows.span_ms()
        {
            self.samples.pop_front();
        }
    }

    /// At least all windows but one: a rate measured over less would be too high at the beginning.
    fn measured_ms(&self, windows: Windows, now_ms: u64) -> f64 {
        let mut ms = self.samples.front().map_or(0, |oldest| now_ms.saturating_sub(oldest.begun_ms));
        let whole = ms / windows.size_ms;
        let whole_min = windows.count.saturating_sub(1) as u64;
        ms = ms.saturating_add(whole_min.saturating_sub(whole).saturating_mul(windows.size_ms));
        ms.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { count: 11, size_ms: 1000 };

    #[test]
    fn what_ten_windows_hold_is_there_at_once_and_more_must_wait() {
        let mut rate = Rate::default();
        rate.add(WINDOWS, 5000.0, 0);
        assert_eq!(rate.wait_ms(WINDOWS, 500.0, 0), 0, "500 a second, over ten seconds");
        rate.add(WINDOWS, 1000.0, 0);
        assert_eq!(rate.wait_ms(WINDOWS, 500.0, 0), 2000, "600 a second are a fifth too much");
        assert_eq!(rate.wait_ms(WINDOWS, 500.0, 10_999), 1001, "the time that passed counts as well");
        assert_eq!(rate.wait_ms(WINDOWS, 500.0, 11_000), 0, "forgotten");
        assert!(rate.is_idle(WINDOWS, 11_000));
    }

    #[test]
    fn a_steady_pace_above_the_limit_is_slowed_to_it() {
        let (mut rate, mut now, mut sent) = (Rate::default(), 0, 0.0);
        while now < 120_000 {
            rate.add(WINDOWS, 300.0, now);
            sent += 300.0;
            now += 10 + rate.wait_ms(WINDOWS, 1000.0, now);
        }
        let pace = sent * 1000.0 / now as f64;
        assert!((800.0..1150.0).contains(&pace), "{pace}");
    }

    #[test]
    fn what_is_taken_back_does_not_count() {
        let mut rate = Rate::default();
        rate.add(WINDOWS, 9000.0, 5);
        assert!(rate.wait_ms(WINDOWS, 500.0, 5) > 0);
        rate.add(WINDOWS, -9000.0, 5);
        assert_eq!(rate.wait_ms(WINDOWS, 500.0, 5), 0);
    }

    #[test]
    fn a_limit_of_nothing_is_a_long_wait_and_no_mistake() {
        let mut rate = Rate::default();
        rate.add(WINDOWS, 1.0, 5);
        assert_eq!(rate.wait_ms(WINDOWS, 0.0, 5), super::super::WAIT_MS_MAX);
    }
}
