//! Who writes the log, and how does everybody else learn what is durable?
//!
//! One thread takes whatever was queued, writes it with one sync, and reports; what arrives meanwhile is the next batch.
//! The running sync is the only timer.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;

use super::epochs::Epochs;
use super::error::StoreError;
use super::log::{Flushed, Log};

/// The most records that wait for the log thread.
const QUEUE_RECORDS_MAX: usize = 64 << 10;
/// The bodies' bytes at which the queue is full. The last record accepted may exceed this by its own length.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(200);

/// What the log thread reports, on its own thread.
#[derive(Debug)]
pub enum LogEvent {
    /// Everything up to a zxid is durable.
    Durable(Flushed),
    /// The epochs are durable, and so is everything that was queued before them.
    EpochsSaved(Epochs),
    /// The log ends at this zxid now, durably; or nothing was changed because it cannot, see [`Log::truncate_after`].
    Truncated { zxid: u64, done: bool },
    /// The log begins after the snapshot at this zxid now, durably.
    Replaced { zxid: u64 },
    /// The disk is full: nothing is acknowledged until [`LogEvent::Recovered`]. Nothing is lost; the log keeps trying.
    Full(StoreError),
    /// There is space again; the durable records are reported next.
    Recovered,
    /// The log cannot go on and the process must stop: what was appended and not reported may or may not be on disk.
    Failed(StoreError),
}

/// The queue to the log thread has no room; see [`LogHandle::has_room`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log's queue is full")
    }
}

impl std::error::Error for QueueFull {}

/// The log thread, as seen by the one who appends.
#[derive(Debug)]
pub struct LogHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when the thread waits and there is something to do.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Of the records' bodies.
    bytes: usize,
    roll: bool,
    stop: bool,
    /// Whether the thread waits for `wake`: a signal costs a system call, so none is sent to a busy thread.
    waiting: bool,
}

/// What the log thread does, one after the other.
#[derive(Debug)]
enum Item {
    Record(u64, Bytes),
    Change(Change),
}

/// What is done once every record before it is durable.
#[derive(Debug, Clone, Copy)]
enum Change {
    SaveEpochs(Epochs),
    TruncateAfter(u64),
    ReplaceWithSnapshot(u64),
    RestartAfter(u64),
}

impl LogHandle {
    /// Starts the log thread. `report` is called on it, and should do no more than pass the event on.
    pub fn spawn(
        log: Log,
        mut report: impl FnMut(LogEvent) + Send + 'static,
    ) -> Result<LogHandle, StoreError> {
        let shared = Arc::new(Shared::default());
        let thread_shared = Arc::clone(&shared);
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| run(log, &thread_shared, &mut report)))
                .unwrap_or_else(|panic| Err(StoreError::Thread(panic_message(panic.as_ref()))));
            match result {
                Ok(closed) => closed,
                Err(error) => {
                    report(LogEvent::Failed(error));
                    Ok(())
                }
            }
        };
        let thread = thread::Builder::new().name("log".into()).spawn(run);
        let thread = thread.map_err(|error| StoreError::Thread(error.to_string()))?;
        Ok(LogHandle { shared, thread: Some(thread) })
    }

    /// Whether [`LogHandle::append`] would accept a record.
    pub fn has_room(&self) -> bool {
        self.shared.lock().has_room()
    }

    /// Queues a record; never blocks for the disk. Its durability is reported by [`LogEvent::Durable`].
    ///
    /// The zxid must follow that of the record before, see [`Log::append`]; else the log thread fails.
    pub fn append(&self, zxid: u64, body: Bytes) -> Result<(), QueueFull> {
        let mut queue = self.shared.lock();
        if !queue.has_room() {
            return Err(QueueFull);
        }
        queue.bytes += body.len();
        queue.items.push_back(Item::Record(zxid, body));
        self.shared.wake(&mut queue);
        Ok(())
    }

    /// Begins a new segment with the next batch. Call it when a snapshot begins, so that old segments can go.
    pub fn roll(&self) {
        self.shared.lock().roll = true;
    }

    /// Goes on after a durable snapshot at `zxid` that the log does not lead to; see [`Log::restart_after`]. What is appended
    /// afterwards follows the snapshot.
    pub fn restart_after(&self, zxid: u64) {
        self.change(Change::RestartAfter(zxid));
    }

    /// Saves the epochs once everything queued before is durable; [`LogEvent::EpochsSaved`] tells when. See
    /// [`Log::save_epochs`].
    pub fn save_epochs(&self, epochs: Epochs) {
        self.change(Change::SaveEpochs(epochs));
    }

    /// Forgets every record after `zxid`, also those queued before; [`LogEvent::Truncated`] tells when and whether. See
    /// [`Log::truncate_after`].
    pub fn truncate_after(&self, zxid: u64) {
        self.change(Change::TruncateAfter(zxid));
    }

    /// Forgets everything queued before and all of the log, and begins after the received snapshot at `zxid`;
    /// [`LogEvent::Replaced`] tells when. See [`Log::replace_with_snapshot`].
    pub fn replace_with_snapshot(&self, zxid: u64) {
        self.change(Change::ReplaceWithSnapshot(zxid));
    }

    /// Changes are always taken: whoever asks for one waits for its report before asking for more.
    fn change(&self, change: Change) {
        let mut queue = self.shared.lock();
        queue.items.push_back(Item::Change(change));
        self.shared.wake(&mut queue);
    }

    /// Makes everything queued durable, reports it, and ends the thread.
    pub fn shutdown(mut self) -> Result<(), StoreError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), StoreError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        {
            let mut queue = self.shared.lock();
            queue.stop = true;
            self.shared.wake.notify_one();
        }
        thread.join().unwrap_or_else(|panic| Err(StoreError::Thread(panic_message(panic.as_ref()))))
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the log was not closed cleanly");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, queue: &mut Queue) {
        if std::mem::take(&mut queue.waiting) {
            self.wake.notify_one();
        }
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.items.len() < QUEUE_RECORDS_MAX && self.bytes < QUEUE_BYTES_MAX
    }
}

/// What the thread does next.
struct Work {
    items: VecDeque<Item>,
    roll: bool,
    stop: bool,
}

/// Runs until asked to stop. The outer error is one to report, the inner result that of closing the log.
fn run(
    mut log: Log,
    shared: &Shared,
    report: &mut impl FnMut(LogEvent),
) -> Result<Result<(), StoreError>, StoreError> {
    let mut spare = VecDeque::new();
    loop {
        let mut work = next_work(shared, spare);
        if work.roll {
            log.roll();
        }
        for item in work.items.drain(..) {
            let done = match item {
                Item::Record(zxid, body) => {
                    log.append(zxid, body);
                    continue;
                }
                Item::Change(change) => {
                    flush(&mut log, shared, report)?.is_some()
                        && make(&mut log, change, shared, report)?.is_some()
                }
            };
            if !done {
                return Ok(log.close());
            }
        }
        spare = work.items;
        let flushed = flush(&mut log, shared, report)?.is_some();
        if !flushed || work.stop {
            return Ok(log.close());
        }
    }
}

/// Waits for work. `spare` becomes the queue, to spare the allocation.
fn next_work(shared: &Shared, spare: VecDeque<Item>) -> Work {
    let mut queue = shared.lock();
    while queue.items.is_empty() && !queue.stop {
        queue.waiting = true;
        queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    queue.waiting = false;
    queue.bytes = 0;
    let items = std::mem::replace(&mut queue.items, spare);
    Work { items, roll: std::mem::take(&mut queue.roll), stop: queue.stop }
}

/// Flushes and reports. `None` if the disk is still full and the thread was asked to stop.
fn flush(
    log: &mut Log,
    shared: &Shared,
    report: &mut impl FnMut(LogEvent),
) -> Result<Option<()>, StoreError> {
    let Some(flushed) = with_space(shared, report, || log.flush())? else { return Ok(None) };
    if let Some(flushed) = flushed {
        report(LogEvent::Durable(flushed));
    }
    Ok(Some(()))
}

/// Makes a change and reports it. `None` if the disk is still full and the thread was asked to stop.
fn make(
    log: &mut Log,
    change: Change,
    shared: &Shared,
    report: &mut impl FnMut(LogEvent),
) -> Result<Option<()>, StoreError> {
    match change {
        Change::SaveEpochs(epochs) => {
            let saved = with_space(shared, report, || log.save_epochs(epochs))?;
            if saved.is_none() {
                return Ok(None);
            }
            report(LogEvent::EpochsSaved(epochs));
        }
        Change::TruncateAfter(zxid) => {
            let done = log.truncate_after(zxid)?;
            report(LogEvent::Truncated { zxid, done });
        }
        Change::ReplaceWithSnapshot(zxid) => {
            log.replace_with_snapshot(zxid)?;
            report(LogEvent::Replaced { zxid });
        }
        Change::RestartAfter(zxid) => log.restart_after(zxid)?,
    }
    Ok(Some(()))
}

/// Tries until there is space, however long it takes. `None` if the thread was asked to stop before there was.
fn with_space<T>(
    shared: &Shared,
    report: &mut impl FnMut(LogEvent),
    mut attempt: impl FnMut() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut full = false;
    loop {
        match attempt() {
            Ok(value) => {
                if full {
                    tracing::info!("there is space for the log again; writes go on");
                    report(LogEvent::Recovered);
                }
                return Ok(Some(value));
            }
            Err(error) if error.is_full() => {
                if !full {
                    tracing::error!(%error, "no space for the log; writes wait until there is");
                    report(LogEvent::Full(error));
                }
                full = true;
                if stop_within(shared, FULL_RETRY) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits, unless the thread is asked to stop.
fn stop_within(shared: &Shared, time: Duration) -> bool {
    let mut queue = shared.lock();
    if !queue.stop {
        // `waiting` stays off, so records that arrive do not cut the wait short; a stop does.
        queue = shared.wake.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner).0;
    }
    queue.stop
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".into())
}
