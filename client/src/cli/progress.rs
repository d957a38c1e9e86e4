//! How far long work has come, on a terminal only.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Work that is done sooner is not worth a word.
const PATIENCE: Duration = Duration::from_millis(300);
const INTERVAL: Duration = Duration::from_millis(100);
const BAR_COLUMNS: u64 = 30;

/// A line on the standard error stream that changes while the work goes on, and is gone when this is.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    done: u64,
    total: Option<u64>,
    /// When to draw it next; never if nobody would see it.
    next: Option<Instant>,
    is_drawn: bool,
}

impl Progress {
    /// Of `total` steps, if that is known.
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Progress {
        let next = std::io::stderr().is_terminal().then(|| Instant::now() + PATIENCE);
        Progress { what, done: 0, total, next, is_drawn: false }
    }

    /// So many more steps are done.
    pub(super) fn step(&mut self, count: u64) {
        self.done += count;
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + INTERVAL);
            self.is_drawn = true;
            // A terminal that has gone away is no reason to stop.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", self.line());
        }
    }

    fn line(&self) -> String {
        let Progress { what, done, .. } = self;
        match self.total {
            None => format!("{what}: {done} znodes"),
            Some(total) => {
                let whole = total.max(1);
                let filled = (BAR_COLUMNS * (*done).min(whole) / whole) as usize;
                let bar = format!("{}{}", "#".repeat(filled), ".".repeat(BAR_COLUMNS as usize - filled));
                format!("{what}: [{bar}] {done}/{total} znodes")
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut progress = Progress { what: "export", done: 7, total: None, next: None, is_drawn: false };
        assert_eq!(progress.line(), "export: 7 znodes");
        progress.total = Some(14);
        assert_eq!(progress.line(), "export: [###############...............] 7/14 znodes");
        progress.total = Some(3);
        assert_eq!(progress.line(), "export: [##############################] 7/3 znodes");
    }
}
