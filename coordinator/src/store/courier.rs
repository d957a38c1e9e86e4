//! Who reads old records and carries snapshots for other members, while the core goes on?
//!
//! One thread does one small step per request: a piece of a snapshot read or written, a batch of records read. Who asks
//! for no more than it has room for bounds the memory of both sides, and the next request is the acknowledgement of the
//! step before.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::disk::Disk;
use super::error::StoreError;
use super::reader::LogReader;
use super::recovery::list;
use super::snapshot::{self, SnapshotId};
use super::transfer::{SnapshotReceiver, SnapshotSource};
use super::writer::panic_message;

/// The most requests that wait. Each holds one piece at most.
const QUEUE_REQUESTS_MAX: usize = 64;
/// The most snapshots, and the most readers of the log, that are open at once.
const OPEN_MAX: usize = 64;
/// What is read of the log at once, at most; a longer record is read alone.
const RECORDS_BYTES_MAX: usize = 1 << 20;

/// Who a snapshot or the log is read for: a number that the caller chooses.
pub type ReaderId = u64;

/// What the courier reports, on its own thread.
#[derive(Debug)]
pub enum CourierEvent {
    /// The snapshot that is sent; `None` if there is no good one that is new enough.
    Offered { reader: ReaderId, snapshot: Option<SnapshotId> },
    /// A piece of it; `last` if none follows.
    Piece { reader: ReaderId, index: u64, bytes: Bytes, last: bool },
    /// The log goes on after this zxid, see [`LogReader::open`]; `None` if it does not reach back so far.
    Opened { reader: ReaderId, after: Option<u64> },
    /// The next records; none if there are no more up to where reading was to go, or no more may be read.
    Records { reader: ReaderId, records: Vec<(u64, Bytes)> },
    /// Nothing more can be read for this one.
    ReadFailed { reader: ReaderId, error: StoreError },
    /// The piece that is to come next of the snapshot that is being received.
    Receiving { snapshot: SnapshotId, next: u64 },
    /// The snapshot has come completely, was checked, and is durable: [`super::LogHandle::replace_with_snapshot`] may follow.
    Received { snapshot: SnapshotId },
    /// What was received is given up. If space ran out, what has come stays, to be resumed.
    ReceiveFailed { snapshot: SnapshotId, error: StoreError },
}

/// The courier has too much to do; ask again after its next report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CourierBusy;

impl fmt::Display for CourierBusy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many requests wait for the disk")
    }
}

impl std::error::Error for CourierBusy {}

/// The courier's thread, as seen by the one who talks to other members.
#[derive(Debug)]
pub struct CourierHandle {
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
    requests: VecDeque<Request>,
    stop: bool,
}

#[derive(Debug)]
enum Request {
    Offer { reader: ReaderId, zxid_min: u64 },
    Piece { reader: ReaderId, index: u64 },
    Open { reader: ReaderId, after: u64, up_to: u64, permille: u64 },
    Records { reader: ReaderId, up_to: u64 },
    Close { reader: ReaderId },
    Receive { snapshot: SnapshotId },
    Take { snapshot: SnapshotId, index: u64, bytes: Bytes },
}

impl Request {
    /// For whom something is read, if anything is.
    fn reader(&self) -> Option<ReaderId> {
        match *self {
            Request::Offer { reader, .. }
            | Request::Piece { reader, .. }
            | Request::Open { reader, .. }
            | Request::Records { reader, .. }
            | Request::Close { reader } => Some(reader),
            Request::Receive { .. } | Request::Take { .. } => None,
        }
    }
}

impl CourierHandle {
    /// Starts the thread. `report` is called on it, and should do no more than pass the event on.
    pub fn spawn(
        log_disk: Arc<dyn Disk>,
        snapshot_disk: Arc<dyn Disk>,
        report: impl FnMut(CourierEvent) + Send + 'static,
    ) -> Result<CourierHandle, StoreError> {
        let shared = Arc::new(Shared::default());
        let mut courier = Courier {
            log_disk,
            snapshot_disk,
            report,
            sources: BTreeMap::new(),
            logs: BTreeMap::new(),
            receiver: None,
        };
        let requests = Arc::clone(&shared);
        let run = move || {
            while let Some(request) = requests.next() {
                courier.serve(request);
            }
        };
        let thread = thread::Builder::new().name("courier".into()).spawn(run);
        let thread = thread.map_err(|error| StoreError::Thread(error.to_string()))?;
        Ok(CourierHandle { shared, thread: Some(thread) })
    }

    /// Looks for the newest good snapshot at or after `zxid_min`; answered by [`CourierEvent::Offered`]. What was open for
    /// this reader is closed.
    pub fn offer(&self, reader: ReaderId, zxid_min: u64) -> Result<(), CourierBusy> {
        self.ask(Request::Offer { reader, zxid_min })
    }

    /// Reads a piece of the offered snapshot; answered by [`CourierEvent::Piece`].
    pub fn piece(&self, reader: ReaderId, index: u64) -> Result<(), CourierBusy> {
        self.ask(Request::Piece { reader, index })
    }

    /// Opens the log after a zxid, to be read up to one that was reported durable; answered by [`CourierEvent::Opened`].
    /// What was open for this reader is closed. No more than `permille` of the newest snapshot's size is read from it,
    /// though 1 MiB in any case: what is longer than that is not worth more than a snapshot.
    pub fn open_log(
        &self,
        reader: ReaderId,
        after: u64,
        up_to: u64,
        permille: u64,
    ) -> Result<(), CourierBusy> {
        self.ask(Request::Open { reader, after, up_to, permille })
    }

    /// Reads on in the opened log, about 1 MiB at once, now up to this zxid; answered by [`CourierEvent::Records`].
    pub fn records(&self, reader: ReaderId, up_to: u64) -> Result<(), CourierBusy> {
        self.ask(Request::Records { reader, up_to })
    }

    /// Closes what is open for this reader and forgets its requests; nothing is reported. The answer to the request that is
    /// being served may still come.
    pub fn close(&self, reader: ReaderId) {
        self.shared.lock().requests.retain(|request| request.reader() != Some(reader));
        self.shared.put(Request::Close { reader });
    }

    /// Begins to receive a snapshot, or goes on if it is the one that was being received; answered by
    /// [`CourierEvent::Receiving`], or by [`CourierEvent::Received`] if all of it has come.
    pub fn receive(&self, snapshot: SnapshotId) -> Result<(), CourierBusy> {
        self.ask(Request::Receive { snapshot })
    }

    /// Takes a piece of the snapshot that is being received; answered by [`CourierEvent::Receiving`] with the next, or by
    /// [`CourierEvent::Received`] after the last. A piece of another snapshot is dropped.
    pub fn take(&self, snapshot: SnapshotId, index: u64, bytes: Bytes) -> Result<(), CourierBusy> {
        self.ask(Request::Take { snapshot, index, bytes })
    }

    /// Ends the thread. Requests that wait are dropped.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn ask(&self, request: Request) -> Result<(), CourierBusy> {
        if self.shared.lock().requests.len() >= QUEUE_REQUESTS_MAX {
            return Err(CourierBusy);
        }
        self.shared.put(request);
        Ok(())
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        if let Err(panic) = thread.join() {
            tracing::error!(panic = panic_message(panic.as_ref()), "the courier thread failed");
        }
    }
}

impl Drop for CourierHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, request: Request) {
        self.lock().requests.push_back(request);
        self.wake.notify_one();
    }

    /// Waits for a request; `None` when asked to stop.
    fn next(&self) -> Option<Request> {
        let mut queue = self.lock();
        loop {
            if queue.stop {
                return None;
            }
            if let Some(request) = queue.requests.pop_front() {
                return Some(request);
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The log, open for somebody, and how much more of it may be read.
struct OpenLog {
    log: LogReader,
    bytes_left: u64,
}

struct Courier<R> {
    log_disk: Arc<dyn Disk>,
    snapshot_disk: Arc<dyn Disk>,
    report: R,
    sources: BTreeMap<ReaderId, SnapshotSource>,
    logs: BTreeMap<ReaderId, OpenLog>,
    receiver: Option<SnapshotReceiver>,
}

impl<R: FnMut(CourierEvent)> Courier<R> {
    fn serve(&mut self, request: Request) {
        match request {
            Request::Offer { reader, .. }
            | Request::Piece { reader, .. }
            | Request::Open { reader, .. }
            | Request::Records { reader, .. } => {
                let event = caught(|| self.read(request)).unwrap_or_else(|error| {
                    self.close(reader);
                    CourierEvent::ReadFailed { reader, error }
                });
                (self.report)(event);
            }
            Request::Close { reader } => self.close(reader),
            Request::Receive { snapshot } => self.receive(snapshot, |courier| courier.begin(snapshot)),
            // One for what was given up meanwhile is dropped; that was reported.
            Request::Take { snapshot, index, bytes } => self.receive(snapshot, |courier| {
                let receiver = courier.receiver.as_mut().filter(|receiver| receiver.id() == snapshot);
                receiver.map_or(Ok(()), |receiver| receiver.piece(index, &bytes))
            }),
        }
    }

    fn close(&mut self, reader: ReaderId) {
        self.sources.remove(&reader);
        self.logs.remove(&reader);
    }

    fn read(&mut self, request: Request) -> Result<CourierEvent, StoreError> {
        match request {
            Request::Offer { reader, zxid_min } => {
                self.make_room(reader)?;
                let source = SnapshotSource::open(&self.snapshot_disk, zxid_min)?;
                let snapshot = source.as_ref().map(SnapshotSource::id);
                self.sources.extend(source.map(|source| (reader, source)));
                Ok(CourierEvent::Offered { reader, snapshot })
            }
            Request::Piece { reader, index } => {
                let source = self.sources.get(&reader).ok_or_else(|| not_open("snapshot"))?;
                let bytes = source.piece(index)?.ok_or_else(|| not_open("further piece of the snapshot"))?;
                let last = index + 1 == source.id().pieces();
                Ok(CourierEvent::Piece { reader, index, bytes: bytes.into(), last })
            }
            Request::Open { reader, after, up_to, permille } => {
                self.make_room(reader)?;
                let bytes_left = self.log_bytes_max(permille)?;
                let log = LogReader::open(Arc::clone(&self.log_disk), after, up_to)?;
                let mut after = log.as_ref().map(LogReader::after);
                match log {
                    Some(log) if log.bytes_ahead()? <= bytes_left => {
                        self.logs.insert(reader, OpenLog { log, bytes_left });
                    }
                    _ => after = None,
                }
                Ok(CourierEvent::Opened { reader, after })
            }
            Request::Records { reader, up_to } => {
                let OpenLog { log, bytes_left } =
                    self.logs.get_mut(&reader).ok_or_else(|| not_open("log"))?;
                log.extend(up_to)?;
                let (mut records, mut bytes) = (Vec::new(), 0);
                while *bytes_left > 0 && bytes < RECORDS_BYTES_MAX {
                    match log.next_record()? {
                        Some((zxid, body)) => {
                            bytes += body.len() + size_of::<(u64, Bytes)>();
                            records.push((zxid, body));
                        }
                        None => break,
                    }
                }
                *bytes_left = bytes_left.saturating_sub(bytes as u64);
                Ok(CourierEvent::Records { reader, records })
            }
            Request::Close { .. } | Request::Receive { .. } | Request::Take { .. } => {
                unreachable!("these read nothing")
            }
        }
    }

    /// How much of the log may be read before a snapshot is the better choice.
    fn log_bytes_max(&self, permille: u64) -> Result<u64, StoreError> {
        let names = list(self.snapshot_disk.as_ref())?;
        let newest = names.iter().max_by_key(|name| snapshot::parse_name(name));
        let newest = newest.filter(|name| snapshot::parse_name(name).is_some());
        // A snapshot that is being replaced at this moment is as good as none.
        let size = newest.map(|name| self.snapshot_disk.open(name).and_then(|file| file.size()));
        let bytes = size.and_then(Result::ok).unwrap_or(0);
        Ok((bytes / 1000).saturating_mul(permille).max(RECORDS_BYTES_MAX as u64))
    }

    fn make_room(&mut self, reader: ReaderId) -> Result<(), StoreError> {
        self.close(reader);
        if self.sources.len() + self.logs.len() >= OPEN_MAX {
            return Err(StoreError::Thread(format!("{OPEN_MAX} other members are being sent data")));
        }
        Ok(())
    }

    /// Does a step of receiving and reports what is next.
    fn receive(&mut self, snapshot: SnapshotId, step: impl FnOnce(&mut Self) -> Result<(), StoreError>) {
        let done = caught(|| step(self));
        let receiver = self.receiver.as_ref().filter(|receiver| receiver.id() == snapshot);
        let event = match (done, receiver) {
            (Ok(()), Some(receiver)) if receiver.is_whole() => CourierEvent::Received { snapshot },
            (Ok(()), Some(receiver)) => CourierEvent::Receiving { snapshot, next: receiver.next() },
            (Ok(()), None) => return,
            (Err(error), _) => {
                if !error.is_full() {
                    self.receiver = None;
                }
                CourierEvent::ReceiveFailed { snapshot, error }
            }
        };
        (self.report)(event);
    }

    /// Goes on with what is being received if it is the same file and still there.
    fn begin(&mut self, snapshot: SnapshotId) -> Result<(), StoreError> {
        if let Some(receiver) = &self.receiver
            && receiver.id() == snapshot
            && receiver.is_there()?
        {
            return Ok(());
        }
        self.receiver = None;
        self.receiver = Some(SnapshotReceiver::begin(Arc::clone(&self.snapshot_disk), snapshot)?);
        Ok(())
    }
}

fn not_open(what: &str) -> StoreError {
    StoreError::Thread(format!("no {what} is open for this reader"))
}

fn caught<T>(step: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|panic| Err(StoreError::Thread(panic_message(panic.as_ref()))))
}
