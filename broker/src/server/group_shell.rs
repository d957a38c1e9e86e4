//! How do groups reach the log, the clock and their members?
//!
//! The core decides under one lock; here its appends are made, its answers sent, and its timers waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use client::wire::kafka::ErrorCode;
use client::wire::kafka::batch::{self, BatchBuilder, BatchOptions};
use client::wire::kafka::compression::Codec;
use tokio::sync::{Notify, oneshot};

use super::{Broker, clock};
use crate::cluster::OFFSETS_TOPIC;
use crate::controller::PartitionOrder;
use crate::group::{Answer, AppendId, Effect, Groups, Millis, Record, Settings, Ticket};
use crate::limits;
use crate::log::AppendOrigin;
use crate::replicas::{AppendFailure, Replica};

/// The groups, and who waits for them.
#[derive(Debug)]
pub struct GroupShell {
    inner: Mutex<Inner>,
    /// Signalled when an earlier deadline came up.
    timers_changed: Notify,
}

#[derive(Debug)]
struct Inner {
    groups: Groups,
    waiting: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    tickets_count: u64,
    /// Under which leader epoch each partition was loaded.
    loaded: BTreeMap<i32, i32>,
}

impl GroupShell {
    pub fn new(settings: Settings) -> GroupShell {
        let inner = Inner {
            groups: Groups::new(settings),
            waiting: BTreeMap::new(),
            tickets_count: 0,
            loaded: BTreeMap::new(),
        };
        GroupShell { inner: Mutex::new(inner), timers_changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the groups.
    pub fn look<T>(&self, look: impl FnOnce(&Groups) -> T) -> T {
        look(&self.lock().groups)
    }

    /// Asks for something that is answered at once.
    pub fn act<T>(
        &self,
        broker: &Arc<Broker>,
        act: impl FnOnce(&mut Groups, Millis, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut inner = self.lock();
        let mut effects = Vec::new();
        let result = act(&mut inner.groups, clock::steady_ms(), &mut effects);
        self.run(broker, inner, effects);
        result
    }

    /// Asks for something that is answered by ticket, now or later.
    pub async fn ask(
        &self,
        broker: &Arc<Broker>,
        ask: impl FnOnce(&mut Groups, Millis, Ticket, &mut Vec<Effect>),
    ) -> Result<Answer, ErrorCode> {
        let (sender, answer) = oneshot::channel();
        self.act_with_ticket(broker, sender, ask);
        // Every ticket is answered; if this one is not, the broker is going down.
        answer.await.map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)
    }

    fn act_with_ticket(
        &self,
        broker: &Arc<Broker>,
        sender: oneshot::Sender<Answer>,
        ask: impl FnOnce(&mut Groups, Millis, Ticket, &mut Vec<Effect>),
    ) {
        let mut inner = self.lock();
        inner.tickets_count += 1;
        let ticket = Ticket(inner.tickets_count);
        inner.waiting.insert(ticket, sender);
        let mut effects = Vec::new();
        ask(&mut inner.groups, clock::steady_ms(), ticket, &mut effects);
        self.run(broker, inner, effects);
    }

    /// Does what the core asked for. Appends are made under the lock: their order in the log is the order in which the core
    /// decided.
    fn run(&self, broker: &Arc<Broker>, mut inner: MutexGuard<'_, Inner>, mut effects: Vec<Effect>) {
        let mut index = 0;
        while index < effects.len() {
            match &effects[index] {
                Effect::Answer(ticket, answer) => {
                    if let Some(waiting) = inner.waiting.remove(ticket) {
                        // Whoever asked may have gone.
                        let _ = waiting.send(answer.clone());
                    }
                }
                Effect::Append { id, partition, records } => {
                    let (id, result) = (*id, append(broker, *partition, records));
                    self.appended(&mut inner, id, result, &mut effects);
                }
            }
            index += 1;
        }
        drop(inner);
        self.timers_changed.notify_one();
    }

    fn appended(
        &self,
        inner: &mut Inner,
        id: AppendId,
        result: Result<(), ErrorCode>,
        effects: &mut Vec<Effect>,
    ) {
        inner.groups.appended(clock::steady_ms(), id, result, effects);
    }

    /// The leadership of a partition of the offsets topic began or ended here.
    pub fn follow_order(&self, broker: &Arc<Broker>, order: &PartitionOrder) {
        let partition = order.partition;
        let Some(replica) = broker.replicas.get(&order.topic, partition) else { return };
        if replica.leads().is_none() {
            self.lock().loaded.remove(&partition);
            self.act(broker, |groups, _, out| groups.resign(partition, out));
            return;
        }
        let leader_epoch = order.state.leader_epoch;
        if self.lock().loaded.insert(partition, leader_epoch) == Some(leader_epoch) {
            // Nobody else has led since: what is known holds.
            return;
        }
        self.act(broker, |groups, _, out| {
            groups.resign(partition, out);
            groups.load(partition);
        });
        match self.replay(broker, &replica) {
            Ok(records) => {
                self.act(broker, |groups, now, _| groups.loaded(now, partition));
                if records > 0 {
                    tracing::info!(partition, records, "groups are loaded");
                }
            }
            Err(error) => {
                tracing::error!(partition, ?error, "groups cannot be loaded; nobody is served from there")
            }
        }
    }

    /// Tells the core everything in a partition's log.
    fn replay(&self, broker: &Arc<Broker>, replica: &Replica) -> Result<usize, ErrorCode> {
        let start = replica.with_log(None, |log, _| Ok(log.log_start_offset()))?;
        let mut offset = start;
        let mut count = 0;
        loop {
            let end_offset = replica.with_log(None, |log, _| Ok(log.end_offset()))?;
            let range = replica.with_log(None, |log, _| {
                let read = log.read(offset, limits::READ_BYTES as u64 * 16, end_offset, true);
                read.map_err(|error| replica.read_error(&error))
            })?;
            let Some(range) = range else { return Ok(count) };
            let read = range.verify().and_then(|range| range.read());
            let bytes = read.map_err(|error| replica.storage_error(&error))?;
            let next = self.replay_batches(broker, bytes, &mut count);
            if next <= offset {
                return Ok(count);
            }
            offset = next;
        }
    }

    /// Returns the offset behind the last whole batch.
    fn replay_batches(&self, broker: &Arc<Broker>, bytes: Bytes, count: &mut usize) -> i64 {
        let mut next = -1;
        for batch in batch::batches(bytes) {
            let Ok(batch) = batch else { break };
            next = batch.header().next_offset();
            if batch.header().attributes.is_control() {
                continue;
            }
            let Ok(records) = batch.records(limits::INTERNAL_RECORD_BYTES_MAX) else { continue };
            for record in records {
                let Ok(record) = record else { break };
                let Some(key) = record.key else { continue };
                match Record::decode(key, record.value) {
                    Ok(Some(record)) => {
                        *count += 1;
                        self.act(broker, |groups, now, _| groups.replay(now, record));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(offset = record.offset, %error, "a record of a group is passed over")
                    }
                }
            }
        }
        next
    }

    /// A partition is gone, and what was committed for it with it.
    pub fn partition_deleted(&self, broker: &Arc<Broker>, topic: &str, partition: i32) {
        if topic == OFFSETS_TOPIC {
            self.lock().loaded.remove(&partition);
            self.act(broker, |groups, _, out| groups.resign(partition, out));
        } else {
            self.act(broker, |groups, _, out| {
                groups.partitions_deleted(&[(topic.to_owned(), partition)], out)
            });
        }
    }

    /// Lets time pass for the groups, until the process ends.
    pub async fn keep_time(&self, broker: &Arc<Broker>) {
        let mut next_expiry = tokio::time::Instant::now() + broker.config.groups.expiry_interval;
        loop {
            let deadline = self.look(Groups::next_deadline);
            let wait = deadline.map(|at| at.saturating_sub(clock::steady_ms()));
            let until = wait.map(|ms| tokio::time::Instant::now() + std::time::Duration::from_millis(ms));
            tokio::select! {
                () = tokio::time::sleep_until(until.unwrap_or(next_expiry).min(next_expiry)) => {}
                () = self.timers_changed.notified() => continue,
            }
            self.act(broker, |groups, now, out| groups.tick(now, out));
            if tokio::time::Instant::now() >= next_expiry {
                self.act(broker, |groups, now, out| groups.expire(now, out));
                next_expiry = tokio::time::Instant::now() + broker.config.groups.expiry_interval;
            }
        }
    }
}

/// Appends records of groups, and waits until they are as safe as acks=all asks for.
fn append(broker: &Broker, partition: i32, records: &[Record]) -> Result<(), ErrorCode> {
    let replica = broker.replicas.get(OFFSETS_TOPIC, partition).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    let now = clock::wall_ms();
    let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::None, ..BatchOptions::default() });
    for record in records {
        let (key, value) = record.encode().map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
        builder.push(now, Some(&key), value.as_deref());
    }
    let batch = builder.build().map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    match replica.append(batch, now, AppendOrigin::Coordinator, true) {
        Ok(_) => Ok(()),
        Err(AppendFailure::Refused(error)) => Err(error),
        Err(AppendFailure::Log(error)) => {
            tracing::error!(partition, %error, "a group's records were not appended");
            Err(crate::api::append_error(&error))
        }
    }
}
