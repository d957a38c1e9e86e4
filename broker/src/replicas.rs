//! Which partitions does this broker hold, and which of them does it lead?
//!
//! A [`Replica`] is a partition's log and, while this broker leads it, the [`Leadership`]. Its lock is held for as long as
//! an append or a look into an index takes, never while anything is awaited.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use bytes::Bytes;
use client::wire::kafka::ErrorCode;
use tokio::sync::Notify;

use crate::cluster::PartitionState;
use crate::config::TopicSettings;
use crate::controller::PartitionOrder;

use crate::log::batch::check_produced;
use crate::log::segment::FileRange;
use crate::log::{
    AppendError, AppendInfo, AppendOrigin, LogError, LogManager, ReadError, SharedLog, TopicPartition,
};
use crate::partition::{Leadership, Refusal};

/// How settled records must be that a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Everything that is safe.
    Uncommitted,
    /// Only transactions that are over.
    Committed,
}

/// What a reader finds.
#[derive(Debug)]
pub struct Found {
    /// `None`: nothing there yet.
    pub range: Option<FileRange>,
    /// See [`crate::log::PartitionLog::is_behind`].
    pub is_behind: bool,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
}

/// Why an append was not done.
#[derive(Debug, thiserror::Error)]
pub enum AppendFailure {
    #[error("{}", .0.message())]
    Refused(ErrorCode),
    #[error(transparent)]
    Log(#[from] AppendError),
}

/// One partition that this broker holds.
#[derive(Debug)]
pub struct Replica {
    name: TopicPartition,
    log: Arc<SharedLog>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None`: this broker does not lead the partition.
    leadership: Option<Leadership>,
    settings: Arc<TopicSettings>,
    /// How many replicas the partition has.
    replica_count: usize,
    /// Readers that wait for more.
    readers: Vec<Weak<Notify>>,
}

impl Replica {
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    pub fn log(&self) -> &Arc<SharedLog> {
        &self.log
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this broker does not lead the partition, as clients are told it.
    fn no_leader(&self) -> ErrorCode {
        match self.log.dir().failure() {
            Some(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            None => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        }
    }

    /// The state under which this broker leads the partition.
    pub fn leads(&self) -> Option<PartitionState> {
        self.lock().leadership.as_ref().map(|leadership| leadership.state().clone())
    }

    /// How many replicas must be in sync for records to be acknowledged by all.
    pub fn min_in_sync(&self) -> usize {
        self.lock().min_in_sync()
    }

    /// Appends records, of a producer or of one of this broker's coordinators.
    ///
    /// When it returns, they are as safe as `acks_all` asks for, unless [`Replica::must_be_durable`] says that a sync is
    /// wanted as well.
    pub fn append(
        &self,
        records: Bytes,
        now_ms: i64,
        origin: AppendOrigin,
        acks_all: bool,
    ) -> Result<AppendInfo, AppendFailure> {
        let settings = {
            let mut state = self.lock();
            self.may_append(&mut state, acks_all)?;
            Arc::clone(&state.settings)
        };
        // Nobody waits for that: records that are packed are unpacked for it.
        let checked = check_produced(records, &settings.log, now_ms, origin)?;
        let mut state = self.lock();
        let leadership = self.may_append(&mut state, acks_all)?;
        let mut log = self.log.lock().map_err(AppendError::from)?;
        let appended = log.append_checked(&checked, leadership.state().leader_epoch, now_ms, origin);
        let appended = appended.inspect_err(|error| {
            if let AppendError::Storage(error) = error {
                self.log.note(error);
            }
        })?;
        if leadership.advance(log.end_offset()) {
            log.set_high_watermark(leadership.high_watermark());
        }
        drop(log);
        state.wake();
        Ok(appended)
    }

    /// The leadership, if it allows to append.
    fn may_append<'a>(
        &self,
        state: &'a mut State,
        acks_all: bool,
    ) -> Result<&'a mut Leadership, AppendFailure> {
        let min_in_sync = state.min_in_sync();
        let Some(leadership) = &mut state.leadership else {
            return Err(AppendFailure::Refused(self.no_leader()));
        };
        if acks_all {
            leadership.check_in_sync(min_in_sync).map_err(|refusal| AppendFailure::Refused(code(refusal)))?;
        }
        Ok(leadership)
    }

    /// Whether the topic wants records synced before they are acknowledged.
    pub fn must_be_durable(&self) -> bool {
        self.lock().settings.log.flush_before_ack
    }

    /// Where the records from `offset` on lie, as far as a reader may see them.
    pub fn read(
        &self,
        offset: i64,
        bytes_max: u64,
        min_one_batch: bool,
        known_epoch: Option<i32>,
        isolation: Isolation,
    ) -> Result<Found, ErrorCode> {
        let state = self.lock();
        let leadership = state.leadership.as_ref().ok_or_else(|| self.no_leader())?;
        leadership.check_epoch(known_epoch).map_err(code)?;
        let high_watermark = leadership.high_watermark();
        let mut log = self.log.lock().map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
        let last_stable_offset = log.last_stable_offset();
        let up_to = match isolation {
            Isolation::Uncommitted => high_watermark,
            Isolation::Committed => last_stable_offset,
        };
        let range =
            log.read(offset, bytes_max, up_to, min_one_batch).map_err(|error| self.read_error(&error))?;
        let (log_start_offset, is_behind) = (log.log_start_offset(), log.is_behind(offset, up_to));
        Ok(Found { range, is_behind, high_watermark, last_stable_offset, log_start_offset })
    }

    /// The error that a reader gets; what the disk did is noted.
    pub fn read_error(&self, error: &ReadError) -> ErrorCode {
        match error {
            ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            ReadError::Storage(error) => self.storage_error(error),
        }
    }

    pub fn storage_error(&self, error: &LogError) -> ErrorCode {
        tracing::error!(partition = %self.name, %error, "a partition cannot be read or written");
        self.log.note(error);
        ErrorCode::KAFKA_STORAGE_ERROR
    }

    /// Looks at the log as its leader, for a client that knows this epoch.
    pub fn with_log<T>(
        &self,
        known_epoch: Option<i32>,
        look: impl FnOnce(&mut crate::log::PartitionLog, &Leadership) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let state = self.lock();
        let leadership = state.leadership.as_ref().ok_or_else(|| self.no_leader())?;
        leadership.check_epoch(known_epoch).map_err(code)?;
        let mut log = self.log.lock().map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
        look(&mut log, leadership)
    }

    /// Wakes `reader` when there is more to read, or when this broker leads the partition no more.
    pub fn wake_when_more(&self, reader: &Arc<Notify>) {
        let mut state = self.lock();
        state.readers.retain(|known| known.strong_count() > 0);
        state.readers.push(Arc::downgrade(reader));
    }

    fn lead(&self, me: i32, order: &PartitionOrder) -> Result<(), LogError> {
        let new = &order.state;
        let mut state = self.lock();
        state.replica_count = order.replicas.len();
        let mut log = self.log.lock()?;
        let end = log.end_offset();
        match &mut state.leadership {
            Some(leadership) if leadership.state().leader_epoch == new.leader_epoch => {
                leadership.update(new.clone(), end);
            }
            _ => {
                log.assign_epoch(new.leader_epoch)?;
                state.leadership = Some(Leadership::new(me, new.clone(), end, log.high_watermark()));
            }
        }
        if let Some(leadership) = &state.leadership {
            log.set_high_watermark(leadership.high_watermark());
        }
        drop(log);
        state.wake();
        Ok(())
    }

    fn stop_leading(&self) {
        let mut state = self.lock();
        state.leadership = None;
        state.wake();
    }

    fn set_settings(&self, settings: Arc<TopicSettings>) {
        self.lock().settings = Arc::clone(&settings);
        if let Ok(mut log) = self.log.lock() {
            log.set_config(Arc::new(settings.log.clone()));
        }
    }
}

impl State {
    /// Never more than there are: a partition whose topic asks for more would take nothing.
    fn min_in_sync(&self) -> usize {
        self.settings.min_insync_replicas.min(self.replica_count)
    }

    fn wake(&mut self) {
        for reader in self.readers.drain(..) {
            if let Some(reader) = reader.upgrade() {
                reader.notify_one();
            }
        }
    }
}

fn code(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::Fenced => ErrorCode::FENCED_LEADER_EPOCH,
        Refusal::Unknown => ErrorCode::UNKNOWN_LEADER_EPOCH,
        Refusal::NotEnoughReplicas => ErrorCode::NOT_ENOUGH_REPLICAS,
    }
}

/// All partitions that this broker holds.
#[derive(Debug)]
pub struct Replicas {
    me: i32,
    logs: Arc<LogManager>,
    replicas: RwLock<BTreeMap<TopicPartition, Arc<Replica>>>,
}

impl Replicas {
    pub fn new(me: i32, logs: Arc<LogManager>) -> Replicas {
        Replicas { me, logs, replicas: RwLock::default() }
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<Replica>> {
        let name = TopicPartition { topic: topic.to_owned(), partition };
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Does what the controller orders for one partition. An order of an earlier leader's time changes nothing.
    pub fn follow_order(
        &self,
        order: &PartitionOrder,
        settings: Arc<TopicSettings>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let name = TopicPartition { topic: order.topic.clone(), partition: order.partition };
        let known = self.get(&order.topic, order.partition);
        let known_epoch = known.as_ref().and_then(|replica| replica.leads()).map(|state| state.leader_epoch);
        if known_epoch.is_some_and(|epoch| epoch > order.state.leader_epoch) {
            return Ok(());
        }
        if order.state.leader != self.me {
            if let Some(replica) = known {
                replica.stop_leading();
            }
            return Ok(());
        }
        let replica = match known {
            Some(replica) => replica,
            None => self.open(name, order, settings, now_ms)?,
        };
        replica.lead(self.me, order).inspect_err(|error| replica.log.note(error))
    }

    fn open(
        &self,
        name: TopicPartition,
        order: &PartitionOrder,
        settings: Arc<TopicSettings>,
        now_ms: i64,
    ) -> Result<Arc<Replica>, LogError> {
        if !order.is_new
            && self.logs.get(&name).is_none()
            && let Some(failed) = self.logs.dirs().iter().find(|dir| dir.failure().is_some())
        {
            // It may be there, and an empty log in another directory would hide what it holds.
            return Err(LogError::Offline { dir: failed.path().to_path_buf() });
        }
        let log = self.logs.get_or_create(&name, Arc::new(settings.log.clone()), now_ms)?;
        if !order.topic_id.is_zero() {
            log.lock()?.set_topic_id(crate::log::checkpoint::TopicId(order.topic_id.0))?;
        }
        let state = Mutex::new(State {
            leadership: None,
            settings,
            replica_count: order.replicas.len(),
            readers: Vec::new(),
        });
        let replica = Arc::new(Replica { name: name.clone(), log, state });
        let mut replicas = self.replicas.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(replicas.entry(name).or_insert(replica)))
    }

    /// Deletes a partition: at once for clients, on disk a little later.
    pub fn delete(&self, topic: &str, partition: i32, now_ms: i64) -> Result<(), LogError> {
        let name = TopicPartition { topic: topic.to_owned(), partition };
        let removed = self.replicas.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
        if let Some(replica) = removed {
            replica.stop_leading();
        }
        self.logs.delete(&name, now_ms)
    }

    /// A topic's settings changed.
    pub fn set_settings(&self, topic: &str, settings: &Arc<TopicSettings>) {
        for replica in self.all() {
            if replica.name.topic == topic {
                replica.set_settings(Arc::clone(settings));
            }
        }
    }

    /// The defaults of all topics changed.
    pub fn set_all_settings(&self, of: impl Fn(&str) -> Arc<TopicSettings>) {
        for replica in self.all() {
            replica.set_settings(of(&replica.name.topic));
        }
    }

    /// Gives all leaderships up: the session that they rest on is over.
    pub fn stop_leading(&self) {
        for replica in self.all() {
            replica.stop_leading();
        }
    }
}
