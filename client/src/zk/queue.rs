//! A bounded queue between the driver and one watcher, which says so when it had to drop something.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::state::Notice;

/// Notices in the order in which they came.
///
/// Invariant: at most `capacity` of them, and then perhaps one `Lagged` that stands for all that came after.
#[derive(Debug)]
pub(crate) struct Queue {
    capacity: usize,
    inside: Mutex<Inside>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    notices: VecDeque<Notice>,
    /// What comes when everything is read.
    end: Option<Notice>,
    is_over: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Queue {
        Queue { capacity, inside: Mutex::default(), arrived: Notify::new() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, notice: Notice) {
        let mut inside = self.inside();
        let is_full = inside.notices.len() >= self.capacity;
        match inside.notices.back_mut() {
            Some(Notice::Lagged(count)) if is_full => *count += 1,
            _ if is_full => inside.notices.push_back(Notice::Lagged(1)),
            _ => inside.notices.push_back(notice),
        }
        drop(inside);
        self.arrived.notify_one();
    }

    /// The last notice, which is never dropped.
    pub(crate) fn finish(&self, notice: Notice) {
        let mut inside = self.inside();
        inside.end = Some(notice);
        inside.is_over = true;
        drop(inside);
        self.arrived.notify_one();
    }

    /// The next notice, or `None` after the last.
    pub(crate) async fn next(&self) -> Option<Notice> {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    /// The outer `None`: there is nothing yet.
    fn take(&self) -> Option<Option<Notice>> {
        let mut inside = self.inside();
        match inside.notices.pop_front() {
            Some(notice) => Some(Some(notice)),
            None if inside.is_over => Some(inside.end.take()),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &Queue) -> Vec<Option<Notice>> {
        std::iter::from_fn(|| queue.take()).take(10).collect()
    }

    #[test]
    fn what_is_dropped_is_counted_in_its_place() {
        let queue = Queue::new(2);
        for _ in 0..5 {
            queue.push(Notice::Suspended);
        }
        let lagged = Notice::Lagged(3);
        assert_eq!(drain(&queue), [Some(Notice::Suspended), Some(Notice::Suspended), Some(lagged)]);
        queue.push(Notice::Resumed);
        assert_eq!(drain(&queue), [Some(Notice::Resumed)]);
    }

    #[test]
    fn the_end_is_never_dropped_and_comes_once() {
        let queue = Queue::new(1);
        queue.push(Notice::Suspended);
        queue.push(Notice::Resumed);
        queue.finish(Notice::Expired);
        let told = drain(&queue);
        assert_eq!(told[..3], [Some(Notice::Suspended), Some(Notice::Lagged(1)), Some(Notice::Expired)]);
        assert!(told[3..].iter().all(Option::is_none));
    }
}
