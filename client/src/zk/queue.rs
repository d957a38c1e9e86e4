//! A bounded queue between a task and one reader, which says so when it had to drop something.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::state::Notice;

/// What a queue can hold: one of its values stands for those that were dropped.
pub(crate) trait Countable {
    /// So many were dropped.
    fn lagged(count: u64) -> Self;
    /// The count, if this stands for some that were dropped.
    fn lag(&mut self) -> Option<&mut u64>;
}

impl Countable for Notice {
    fn lagged(count: u64) -> Notice {
        Notice::Lagged(count)
    }

    fn lag(&mut self) -> Option<&mut u64> {
        match self {
            Notice::Lagged(count) => Some(count),
            _ => None,
        }
    }
}

/// Values in the order in which they came.
///
/// Invariant: at most `capacity` of them, and then perhaps one that stands for all that came after.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    capacity: usize,
    inside: Mutex<Inside<T>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Inside<T> {
    values: VecDeque<T>,
    /// What comes when everything is read.
    end: Option<T>,
    is_over: bool,
}

impl<T: Countable> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Queue<T> {
        let inside = Inside { values: VecDeque::new(), end: None, is_over: false };
        Queue { capacity, inside: Mutex::new(inside), arrived: Notify::new() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside<T>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, value: T) {
        let mut inside = self.inside();
        if inside.values.len() < self.capacity {
            inside.values.push_back(value);
        } else if let Some(count) = inside.values.back_mut().and_then(T::lag) {
            *count += 1;
        } else {
            inside.values.push_back(T::lagged(1));
        }
        drop(inside);
        self.arrived.notify_one();
    }

    /// The last value, which is never dropped.
    pub(crate) fn finish(&self, value: T) {
        let mut inside = self.inside();
        inside.end = Some(value);
        inside.is_over = true;
        drop(inside);
        self.arrived.notify_one();
    }

    /// The next value, or `None` after the last.
    pub(crate) async fn next(&self) -> Option<T> {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    /// The outer `None`: there is nothing yet.
    fn take(&self) -> Option<Option<T>> {
        let mut inside = self.inside();
        match inside.values.pop_front() {
            Some(value) => Some(Some(value)),
            None if inside.is_over => Some(inside.end.take()),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &Queue<Notice>) -> Vec<Option<Notice>> {
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
