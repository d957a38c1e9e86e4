//! What time is it?

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The latest time that was told.
static LATEST: AtomicI64 = AtomicI64::new(0);

/// Milliseconds since 1970, as the system says.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The same, and never earlier than a time that was told before.
pub fn steady_ms() -> u64 {
    let now = wall_ms();
    let latest = LATEST.fetch_max(now, Ordering::Relaxed).max(now);
    latest.unsigned_abs()
}
