//! Who writes snapshots while the server goes on?
//!
//! One thread compresses and writes the chunks that it is handed, through a bounded queue. A snapshot that fails is given
//! up: the log still has everything, and the next one may succeed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::disk::Disk;
use super::error::StoreError;
use super::retention::Retention;
use super::snapshot::{SnapshotSummary, SnapshotWriter};
use super::writer::panic_message;

/// The bytes at which the queue of chunks is full. The last chunk accepted may exceed this by its own length.
const QUEUE_BYTES_MAX: usize = 4 << 20;

/// What the snapshot thread reports, on its own thread.
#[derive(Debug)]
pub enum SnapshotEvent {
    /// There is room again, after [`SnapshotHandle::chunk`] refused one.
    Room,
    /// The snapshot is durable and was read back; `removed` files are no longer needed and gone.
    Done { summary: SnapshotSummary, removed: Vec<String> },
    /// The snapshot was given up and nothing of it is left.
    Failed { zxid: u64, error: StoreError },
}

/// The snapshot thread, as seen by the one who walks the tree.
///
/// Calls come in the order `begin`, any number of `chunk`, then `finish` or `abort`. After a failure `chunk` and `finish`
/// do nothing.
#[derive(Debug)]
pub struct SnapshotHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    chunk_bytes: usize,
    /// Between `begin` and the report.
    busy: bool,
    /// A chunk was refused; the next room is reported.
    room_wanted: bool,
    stop: bool,
}

#[derive(Debug)]
enum Job {
    Begin { zxid: u64, header: Vec<u8> },
    Chunk(Vec<u8>),
    Finish { trailer: Vec<u8> },
    Abort,
}

impl SnapshotHandle {
    /// Starts the snapshot thread. Without `retention` no file is ever removed.
    pub fn spawn(
        disk: Arc<dyn Disk>,
        retention: Option<Retention>,
        report: impl FnMut(SnapshotEvent) + Send + 'static,
    ) -> Result<SnapshotHandle, StoreError> {
        let shared = Arc::new(Shared::default());
        let mut worker =
            Worker { disk, retention, report, shared: Arc::clone(&shared), writer: None, zxid: 0 };
        let thread = thread::Builder::new().name("snapshot".into()).spawn(move || worker.run());
        let thread = thread.map_err(|error| StoreError::Thread(error.to_string()))?;
        Ok(SnapshotHandle { shared, thread: Some(thread) })
    }

    /// Whether a snapshot was begun and not yet reported as done or failed.
    pub fn is_busy(&self) -> bool {
        self.shared.lock().busy
    }

    /// Begins a snapshot; false if one is still being written.
    pub fn begin(&self, zxid: u64, header: Vec<u8>) -> bool {
        let mut queue = self.shared.lock();
        if queue.busy {
            return false;
        }
        queue.busy = true;
        self.shared.push(&mut queue, Job::Begin { zxid, header });
        true
    }

    /// Whether [`SnapshotHandle::chunk`] would accept one.
    pub fn has_room(&self) -> bool {
        self.shared.lock().has_room()
    }

    /// Adds a chunk, of at most [`super::CHUNK_BYTES_MAX`] bytes. Given back if there is no room;
    /// [`SnapshotEvent::Room`] tells when there is.
    pub fn chunk(&self, content: Vec<u8>) -> Result<(), Vec<u8>> {
        let mut queue = self.shared.lock();
        if !queue.has_room() {
            queue.room_wanted = true;
            return Err(content);
        }
        if queue.busy {
            queue.chunk_bytes += content.len();
            self.shared.push(&mut queue, Job::Chunk(content));
        }
        Ok(())
    }

    /// Ends the snapshot; the report follows when it is durable.
    pub fn finish(&self, trailer: Vec<u8>) {
        let mut queue = self.shared.lock();
        if queue.busy {
            self.shared.push(&mut queue, Job::Finish { trailer });
        }
    }

    /// Gives the snapshot up; nothing is reported, unless it was done already. Busy until the thread noticed.
    pub fn abort(&self) {
        let mut queue = self.shared.lock();
        if queue.busy {
            queue.jobs.clear();
            queue.chunk_bytes = 0;
            self.shared.push(&mut queue, Job::Abort);
        }
    }

    /// Ends the thread. A snapshot whose `finish` was called is completed; one without is given up.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        {
            let mut queue = self.shared.lock();
            queue.stop = true;
            self.shared.wake.notify_one();
        }
        if let Err(panic) = thread.join() {
            tracing::error!(panic = panic_message(panic.as_ref()), "the snapshot thread failed");
        }
    }
}

impl Drop for SnapshotHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, queue: &mut Queue, job: Job) {
        queue.jobs.push_back(job);
        self.wake.notify_one();
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.chunk_bytes < QUEUE_BYTES_MAX
    }
}

struct Worker<R> {
    disk: Arc<dyn Disk>,
    retention: Option<Retention>,
    report: R,
    shared: Arc<Shared>,
    writer: Option<SnapshotWriter>,
    zxid: u64,
}

impl<R: FnMut(SnapshotEvent)> Worker<R> {
    fn run(&mut self) {
        while let Some(job) = self.next_job() {
            let done = catch_unwind(AssertUnwindSafe(|| self.work(job)))
                .unwrap_or_else(|panic| Err(StoreError::Thread(panic_message(panic.as_ref()))));
            if let Err(error) = done {
                self.writer = None;
                self.reset();
                tracing::error!(%error, zxid = format_args!("0x{:x}", self.zxid), "the snapshot was given up");
                (self.report)(SnapshotEvent::Failed { zxid: self.zxid, error });
            }
        }
    }

    fn next_job(&mut self) -> Option<Job> {
        let mut queue = self.shared.lock();
        let job = loop {
            if let Some(job) = queue.jobs.pop_front() {
                break job;
            }
            if queue.stop {
                return None;
            }
            queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        if let Job::Chunk(content) = &job {
            queue.chunk_bytes -= content.len();
        }
        let room = queue.chunk_bytes < QUEUE_BYTES_MAX / 2 && std::mem::take(&mut queue.room_wanted);
        drop(queue);
        if room {
            (self.report)(SnapshotEvent::Room);
        }
        Some(job)
    }

    fn work(&mut self, job: Job) -> Result<(), StoreError> {
        match job {
            Job::Begin { zxid, header } => {
                self.zxid = zxid;
                self.writer = Some(SnapshotWriter::create(Arc::clone(&self.disk), zxid, &header)?);
            }
            Job::Chunk(content) => {
                if let Some(writer) = &mut self.writer {
                    writer.chunk(&content)?;
                }
            }
            Job::Finish { trailer } => {
                let Some(writer) = self.writer.take() else { return Ok(()) };
                let summary = writer.finish(&trailer)?;
                let removed = self.purge(summary.zxid);
                self.reset();
                (self.report)(SnapshotEvent::Done { summary, removed });
            }
            Job::Abort => {
                self.writer = None;
                self.reset();
            }
        }
        Ok(())
    }

    /// Removes old files. That this fails is no failure of the snapshot.
    fn purge(&mut self, zxid: u64) -> Vec<String> {
        let Some(retention) = &mut self.retention else { return Vec::new() };
        retention.purge(zxid).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot remove old snapshots and log segments");
            Vec::new()
        })
    }

    /// Ready for the next `begin`; what was queued for this snapshot is dropped.
    fn reset(&mut self) {
        let mut queue = self.shared.lock();
        queue.jobs.clear();
        queue.chunk_bytes = 0;
        queue.busy = false;
    }
}
