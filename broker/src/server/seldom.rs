//! May the log have another line about this?

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock;

/// Lets so many through in each span of time.
#[derive(Debug)]
pub(crate) struct Seldom {
    span: Duration,
    count_max: usize,
    /// The span that is counted, and how many were let through in it.
    seen: Mutex<(u64, usize)>,
}

impl Seldom {
    pub(crate) const fn new(count_max: usize, span: Duration) -> Seldom {
        Seldom { span, count_max, seen: Mutex::new((0, 0)) }
    }

    pub(crate) fn may_be_said(&self) -> bool {
        self.may_be_said_at(clock::steady_ms())
    }

    fn may_be_said_at(&self, now_ms: u64) -> bool {
        let span = now_ms / (self.span.as_millis() as u64).max(1);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != span {
            *seen = (span, 0);
        }
        seen.1 = seen.1.saturating_add(1);
        seen.1 <= self.count_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_span() {
        let seldom = Seldom::new(2, Duration::from_secs(10));
        let said = [10_000, 10_001, 19_999, 20_000, 20_001, 20_002].map(|now| seldom.may_be_said_at(now));
        assert_eq!(said, [true, true, false, true, true, false]);
    }
}
