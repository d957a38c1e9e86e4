//! What did each idempotent producer send last, and which transactions are open?

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut};
use client::wire::kafka::batch::{Batch, BatchHeader, ControlType, NO_TIMESTAMP, next_sequence};

use super::batch::AppendOrigin;
use super::disk::Folder;
use super::error::{AppendError, LogError};
use super::index::file_name;
use super::txn_index::AbortedTxn;

/// How many batches a producer may have under way, and how many are therefore recognised when they come again.
const BATCHES_MAX: usize = 5;

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEADER_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentBatch {
    pub last_sequence: i32,
    pub last_offset: i64,
    /// How many records the batch has, less one.
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl SentBatch {
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn first_sequence(&self) -> i32 {
        let behind = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        (behind & i64::from(i32::MAX)) as i32
    }
}

/// One producer, as this partition knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    pub epoch: i16,
    /// The newest batches of this epoch; none if the producer has only written markers in it.
    batches: VecDeque<SentBatch>,
    pub coordinator_epoch: i32,
    /// Where the open transaction begins.
    pub txn_first_offset: Option<i64>,
    pub last_timestamp: i64,
}

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            batches: VecDeque::new(),
            coordinator_epoch: -1,
            txn_first_offset: None,
            last_timestamp: NO_TIMESTAMP,
        }
    }

    /// The sequence number of the newest record; -1 if there is none.
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }

    /// The offset of the newest record; -1 if there is none.
    pub fn last_offset(&self) -> i64 {
        self.batches.back().map_or(-1, |batch| batch.last_offset)
    }

    fn start_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

/// A marker: how a transaction ended, and by whose word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    pub kind: ControlType,
    pub coordinator_epoch: i32,
}

impl Marker {
    /// Reads the marker in a control batch; `None` if it is about something else than a transaction.
    pub fn of(batch: &Batch) -> Result<Option<Marker>, AppendError> {
        // A marker whose transaction was compacted away leaves an empty batch.
        let Some(record) = batch.records(MARKER_BYTES_MAX)?.next().transpose()? else { return Ok(None) };
        let Some(kind) = record.key.as_deref().and_then(ControlType::from_key) else { return Ok(None) };
        let epoch =
            record.value.as_deref().and_then(|value| value.get(2..6)).and_then(|epoch| epoch.try_into().ok());
        let epoch =
            epoch.ok_or_else(|| AppendError::InvalidRecord("a marker has no coordinator epoch".into()))?;
        Ok(Some(Marker { kind, coordinator_epoch: i32::from_be_bytes(epoch) }))
    }
}

const MARKER_BYTES_MAX: usize = 4096;

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// It is in the log already.
    Duplicate(SentBatch),
}

/// All producers of a partition.
#[derive(Debug)]
pub struct Producers {
    folder: Folder,
    producers: BTreeMap<i64, Producer>,
    /// Open transactions, by where they begin.
    open: BTreeMap<i64, i64>,
    /// Ended transactions whose markers may not be replicated yet: where they begin, and the marker.
    ended: BTreeMap<i64, i64>,
    /// Everything before this offset is told here.
    end_offset: i64,
}

impl Producers {
    pub fn new(folder: Folder) -> Producers {
        Producers {
            folder,
            producers: BTreeMap::new(),
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            end_offset: 0,
        }
    }

    /// The producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.producers.get(&producer_id)
    }

    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Everything before this offset was looked at, whether or not it was about producers.
    pub(super) fn set_end_offset(&mut self, end_offset: i64) {
        self.end_offset = end_offset;
    }

    /// Where the first transaction begins that is open, or whose end may not be replicated.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let first = |txns: &BTreeMap<i64, i64>| txns.first_key_value().map(|(first, _)| *first);
        first(&self.open).into_iter().chain(first(&self.ended)).min()
    }

    /// Everything before this offset is replicated.
    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        self.ended.retain(|_, marker| *marker >= high_watermark);
    }

    /// Says whether a batch may follow what its producer sent before. Replicated batches may always.
    pub fn check(
        &self,
        header: &BatchHeader,
        marker: Option<Marker>,
        origin: AppendOrigin,
    ) -> Result<Verdict, AppendError> {
        if !header.has_producer() || origin == AppendOrigin::Replication {
            return Ok(Verdict::Append);
        }
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let Some(known) = self.producers.get(&producer_id) else { return Ok(Verdict::Append) };
        if origin == AppendOrigin::Client && epoch == known.epoch {
            let again = known.batches.iter().find(|sent| {
                sent.first_sequence() == header.base_sequence && sent.last_sequence == header.last_sequence()
            });
            if let Some(sent) = again {
                return Ok(Verdict::Duplicate(*sent));
            }
        }
        if epoch < known.epoch {
            return Err(AppendError::InvalidProducerEpoch { producer_id, epoch, current: known.epoch });
        }
        if let Some(marker) = marker {
            if marker.coordinator_epoch < known.coordinator_epoch {
                return Err(AppendError::CoordinatorFenced {
                    epoch: marker.coordinator_epoch,
                    current: known.coordinator_epoch,
                });
            }
            return Ok(Verdict::Append);
        }
        if origin == AppendOrigin::Client {
            let (sequence, last) = (header.base_sequence, known.last_sequence());
            let expected = if epoch != known.epoch || last < 0 { 0 } else { next_sequence(last, 1) };
            if sequence != expected {
                return Err(AppendError::OutOfOrderSequence { producer_id, sequence, last });
            }
        }
        if known.txn_first_offset.is_some() && !header.attributes.is_transactional() {
            return Err(AppendError::InvalidTxnState { producer_id });
        }
        Ok(Verdict::Append)
    }

    /// Takes note of a batch that is in the log now. If it ended a transaction by aborting it, that is returned.
    pub fn appended(&mut self, header: &BatchHeader, marker: Option<Marker>) -> Option<AbortedTxn> {
        self.end_offset = header.next_offset();
        if !header.has_producer() {
            return None;
        }
        let producer =
            self.producers.entry(header.producer_id).or_insert_with(|| Producer::new(header.producer_epoch));
        producer.start_epoch(header.producer_epoch);
        if header.attributes.is_control() {
            let marker = marker?;
            producer.last_timestamp = header.max_timestamp;
            return self.end_txn(header, marker);
        }
        producer.last_timestamp = header.max_timestamp;
        if producer.batches.len() == BATCHES_MAX {
            producer.batches.pop_front();
        }
        producer.batches.push_back(SentBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if header.attributes.is_transactional() && producer.txn_first_offset.is_none() {
            producer.txn_first_offset = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
        None
    }

    fn end_txn(&mut self, header: &BatchHeader, marker: Marker) -> Option<AbortedTxn> {
        let producer = self.producers.get_mut(&header.producer_id)?;
        producer.coordinator_epoch = marker.coordinator_epoch;
        let first_offset = producer.txn_first_offset.take()?;
        let last_offset = header.last_offset();
        self.open.remove(&first_offset);
        self.ended.insert(first_offset, last_offset);
        let undecided = self.open.first_key_value().map(|(first, _)| *first);
        (marker.kind == ControlType::Abort).then_some(AbortedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset,
            last_stable_offset: undecided.unwrap_or(last_offset + 1),
        })
    }

    /// Forgets producers that sent nothing for this long; never one with an open transaction.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, producer| {
            producer.txn_first_offset.is_some()
                || now_ms.saturating_sub(producer.last_timestamp) < expiration_ms
        });
    }

    /// Forgets everything; the log goes on from here.
    pub fn clear(&mut self, end_offset: i64) {
        self.producers.clear();
        self.open.clear();
        self.ended.clear();
        self.end_offset = end_offset;
    }

    /// Goes back to the newest good snapshot at or before `offset`, and says from where the log must be replayed; that
    /// is `log_start` if there is no snapshot. Snapshots that are damaged are removed.
    pub fn load_snapshot(&mut self, log_start: i64, offset: i64) -> Result<i64, LogError> {
        self.clear(log_start);
        for at in self.snapshots()?.into_iter().rev() {
            if at > offset {
                continue;
            }
            let name = file_name(at, "snapshot");
            match self.folder.read(&name)?.as_deref().and_then(parse_snapshot) {
                Some(producers) => {
                    self.producers = producers;
                    let open = self.producers.iter();
                    self.open =
                        open.filter_map(|(id, producer)| Some((producer.txn_first_offset?, *id))).collect();
                    self.end_offset = at;
                    return Ok(at);
                }
                None => {
                    let path = self.folder.path(&name);
                    tracing::warn!(path = %path.display(), "a producer snapshot is damaged, an older one is used");
                    self.folder.remove(&name)?;
                }
            }
        }
        Ok(log_start)
    }

    /// Writes down everything up to here.
    pub fn save_snapshot(&self) -> Result<(), LogError> {
        let name = file_name(self.end_offset, "snapshot");
        let file = self.folder.create(&name)?;
        file.write_all_at(&snapshot(&self.producers), 0).map_err(self.folder.failed("write", &name))
    }

    /// Makes the snapshot at this offset durable; false if there is no good one.
    pub fn sync_snapshot(&self, offset: i64) -> Result<bool, LogError> {
        let name = file_name(offset, "snapshot");
        if self.folder.read(&name)?.as_deref().and_then(parse_snapshot).is_none() {
            return Ok(false);
        }
        self.folder.open(&name)?.sync().map_err(self.folder.failed("sync", &name))?;
        self.folder.sync()?;
        Ok(true)
    }

    /// The offsets of the snapshots that there are, growing.
    pub fn snapshots(&self) -> Result<Vec<i64>, LogError> {
        let entries = self.folder.list()?;
        let offset = |name: &str| name.strip_suffix(".snapshot")?.parse().ok();
        let mut offsets: Vec<i64> = entries.iter().filter_map(|entry| offset(&entry.name)).collect();
        offsets.sort_unstable();
        Ok(offsets)
    }

    /// Removes the snapshots that `unwanted` holds for.
    pub fn remove_snapshots(&self, unwanted: impl Fn(i64) -> bool) -> Result<(), LogError> {
        for offset in self.snapshots()?.into_iter().filter(|offset| unwanted(*offset)) {
            self.folder.remove(&file_name(offset, "snapshot"))?;
        }
        Ok(())
    }
}

/// One entry for each batch that is remembered, the newest of a producer last. Kafka writes only that one, and when it
/// reads several of the same producer, the last counts.
fn snapshot(producers: &BTreeMap<i64, Producer>) -> Vec<u8> {
    let count = producers.values().map(|producer| producer.batches.len().max(1)).sum::<usize>();
    let mut out = Vec::with_capacity(SNAPSHOT_HEADER_BYTES + count * SNAPSHOT_ENTRY_BYTES);
    out.put_i16(SNAPSHOT_VERSION);
    out.put_u32(0);
    out.put_i32(count as i32);
    for (id, producer) in producers {
        let mut put = |batch: Option<&SentBatch>, timestamp: i64, txn_first_offset: Option<i64>| {
            out.put_i64(*id);
            out.put_i16(producer.epoch);
            out.put_i32(batch.map_or(-1, |batch| batch.last_sequence));
            out.put_i64(batch.map_or(-1, |batch| batch.last_offset));
            out.put_i32(batch.map_or(0, |batch| batch.offset_delta));
            out.put_i64(timestamp);
            out.put_i32(producer.coordinator_epoch);
            out.put_i64(txn_first_offset.unwrap_or(-1));
        };
        let earlier = producer.batches.len().saturating_sub(1);
        producer.batches.iter().take(earlier).for_each(|batch| put(Some(batch), batch.timestamp, None));
        put(producer.batches.back(), producer.last_timestamp, producer.txn_first_offset);
    }
    let crc = crc32c::crc32c(&out[6..]);
    out[2..6].copy_from_slice(&crc.to_be_bytes());
    out
}

fn parse_snapshot(mut bytes: &[u8]) -> Option<BTreeMap<i64, Producer>> {
    let computed = crc32c::crc32c(bytes.get(6..)?);
    let (version, crc) = (bytes.try_get_i16().ok()?, bytes.try_get_u32().ok()?);
    let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    if version != SNAPSHOT_VERSION
        || crc != computed
        || bytes.len() != count.checked_mul(SNAPSHOT_ENTRY_BYTES)?
    {
        return None;
    }
    let mut producers: BTreeMap<i64, Producer> = BTreeMap::new();
    for _ in 0..count {
        let id = bytes.get_i64();
        let mut producer = Producer::new(bytes.get_i16());
        if let Some(earlier) = producers.remove(&id).filter(|earlier| earlier.epoch == producer.epoch) {
            producer.batches = earlier.batches;
        }
        let (last_sequence, last_offset, offset_delta) = (bytes.get_i32(), bytes.get_i64(), bytes.get_i32());
        producer.last_timestamp = bytes.get_i64();
        producer.coordinator_epoch = bytes.get_i32();
        producer.txn_first_offset = Some(bytes.get_i64()).filter(|first| *first >= 0);
        if last_offset >= 0 {
            let timestamp = producer.last_timestamp;
            producer.batches.push_back(SentBatch { last_sequence, last_offset, offset_delta, timestamp });
        }
        while producer.batches.len() > BATCHES_MAX {
            producer.batches.pop_front();
        }
        producers.insert(id, producer);
    }
    Some(producers)
}

#[cfg(test)]
mod tests;
