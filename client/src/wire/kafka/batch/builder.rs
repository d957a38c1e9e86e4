//! Writing batches.

use bytes::{BufMut, Bytes};

use super::super::compression::{Codec, CompressionError};
use super::{
    Attributes, BatchHeader, HEADER_BYTES, NO_LEADER_EPOCH, NO_PRODUCER_ID, NO_TIMESTAMP, PREFIX_BYTES,
    Record, TimestampType,
};

/// What is the same for all records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub codec: Codec,
    /// The codec's own default if there is none.
    pub level: Option<i32>,
    pub timestamp_type: TimestampType,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub transactional: bool,
    pub control: bool,
    /// When tombstones and markers of this batch may be removed.
    pub delete_horizon: Option<i64>,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            base_offset: 0,
            leader_epoch: NO_LEADER_EPOCH,
            codec: Codec::None,
            level: None,
            timestamp_type: TimestampType::Create,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            control: false,
            delete_horizon: None,
        }
    }
}

impl BatchOptions {
    /// Those of an existing batch, for whoever writes it anew.
    pub fn of(header: &BatchHeader) -> Result<BatchOptions, CompressionError> {
        Ok(BatchOptions {
            base_offset: header.base_offset,
            leader_epoch: header.leader_epoch,
            codec: header.attributes.codec()?,
            level: None,
            timestamp_type: header.attributes.timestamp_type(),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: header.attributes.is_transactional(),
            control: header.attributes.is_control(),
            delete_horizon: header.delete_horizon(),
        })
    }

    fn attributes(&self) -> Attributes {
        Attributes(self.codec.to_wire().into())
            .with_timestamp_type(self.timestamp_type)
            .with(Attributes::TRANSACTIONAL, self.transactional)
            .with(Attributes::CONTROL, self.control)
            .with(Attributes::DELETE_HORIZON, self.delete_horizon.is_some())
    }
}

/// Gathers records and makes one batch of them.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    records: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder {
            options,
            records: Vec::new(),
            count: 0,
            last_offset_delta: -1,
            base_timestamp: options.delete_horizon,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// The batch's size if nothing is packed.
    pub fn size_unpacked(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Adds a record behind the last one.
    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with_headers(timestamp, key, value, &[]);
    }

    /// Adds a record with headers.
    pub fn push_with_headers(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        let mut encoded = Vec::new();
        for (key, value) in headers {
            put_sized(&mut encoded, Some(key));
            put_sized(&mut encoded, *value);
        }
        self.put(self.last_offset_delta + 1, timestamp, key, value, (headers.len(), &encoded));
    }

    /// Adds a record as it was elsewhere, offset and all. The offsets must grow.
    pub fn push_record(&mut self, record: &Record) {
        let delta = record.offset - self.options.base_offset;
        let delta = i32::try_from(delta).expect("a batch's offsets lie within 2³¹ of its base");
        assert!(delta > self.last_offset_delta, "offsets of a batch grow");
        let headers = (record.headers.len(), &record.headers.bytes()[..]);
        self.put(delta, record.timestamp, record.key.as_deref(), record.value.as_deref(), headers);
    }

    fn put(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        (header_count, headers): (usize, &[u8]),
    ) {
        let base = *self.base_timestamp.get_or_insert(timestamp);
        let mut fixed = Vec::with_capacity(20);
        fixed.put_i8(0);
        put_varlong(&mut fixed, timestamp.wrapping_sub(base));
        put_varint(&mut fixed, offset_delta);
        let length =
            fixed.len() + sized_len(key) + sized_len(value) + varint_len(header_count as i32) + headers.len();
        put_varint(&mut self.records, length as i32);
        self.records.extend_from_slice(&fixed);
        put_sized(&mut self.records, key);
        put_sized(&mut self.records, value);
        put_varint(&mut self.records, header_count as i32);
        self.records.extend_from_slice(headers);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// The batch. Packing can only fail for lack of memory.
    pub fn build(self) -> Result<Bytes, CompressionError> {
        let last_offset_delta = self.last_offset_delta.max(0);
        self.build_until(last_offset_delta)
    }

    /// The batch, which reaches to an offset at or behind its last record's, as a compacted one does.
    pub fn build_until(self, last_offset_delta: i32) -> Result<Bytes, CompressionError> {
        assert!(last_offset_delta >= self.last_offset_delta, "a batch reaches at least to its last record");
        let options = self.options;
        let mut out = vec![0; HEADER_BYTES];
        options.codec.compress(options.level, &self.records, &mut out)?;
        let mut header = BatchHeader {
            base_offset: options.base_offset,
            length: (out.len() - PREFIX_BYTES) as i32,
            leader_epoch: options.leader_epoch,
            crc: 0,
            attributes: options.attributes(),
            last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: self.max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.count,
        };
        header.crc = header.checksum(&out[HEADER_BYTES..]);
        out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        Ok(out.into())
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    Abort,
    Commit,
}

impl ControlType {
    /// What a marker's key says; `None` for kinds that are not about transactions.
    pub fn from_key(key: &[u8]) -> Option<ControlType> {
        match key.get(2..4)? {
            [0, 0] => Some(ControlType::Abort),
            [0, 1] => Some(ControlType::Commit),
            _ => None,
        }
    }
}

/// The marker that ends a producer's transaction.
pub fn control_batch(
    kind: ControlType,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp: i64,
) -> Bytes {
    let options = BatchOptions {
        producer_id,
        producer_epoch,
        transactional: true,
        control: true,
        ..Default::default()
    };
    let mut builder = BatchBuilder::new(options);
    let key = [0, 0, 0, (kind == ControlType::Commit).into()];
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    builder.push(timestamp, Some(&key), Some(&value));
    builder.build().expect("nothing is packed")
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, value.into());
}

fn varint_len(value: i32) -> usize {
    let bits = 64 - zigzag(value.into()).leading_zeros();
    bits.max(1).div_ceil(7) as usize
}

fn put_sized(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}

fn sized_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varint_len(bytes.len() as i32) + bytes.len(),
    }
}
