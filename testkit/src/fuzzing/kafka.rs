//! The broker's side: messages, batches of records, and what is found in a partition's directory.

use std::fmt::Debug;
use std::sync::Arc;

use broker::log::{
    AppendOrigin, Folder, LoadOptions, LogError, PartitionLog, ReadError, TopicConfig, TopicPartition,
};
use bytes::Bytes;
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, batches};
use client::wire::kafka::compression::Codec;
use client::wire::kafka::writer::{Writer, join};
use client::wire::kafka::{ApiKey, Message, messages};
use client::with_every_kafka_api;

use crate::sim::disk::SimDisk;

/// What a batch's record may be unpacked to.
const RECORD_BYTES_MAX: usize = 1 << 20;
const NOW: i64 = 1_000_000;

/// Three bytes say what it is: whether an answer, of which API, in which version. What can be read can be written, and is
/// then read as the same.
pub fn kafka_message(data: &[u8]) {
    let Some((&[is_answer, key, version], body)) = data.split_first_chunk::<3>() else { return };
    let (key, version) = (i16::from(key), i16::from(version));
    macro_rules! read {
        ($($module:ident::$name:ident($request:ident, $response:ident);)+) => {$(
            if key == ApiKey::$name.to_wire() {
                match is_answer % 2 {
                    0 => same_again::<messages::$request>(body, version),
                    _ => same_again::<messages::$response>(body, version),
                }
            }
        )+};
    }
    with_every_kafka_api!(read);
}

fn encoded<M: Message>(message: &M, version: i16) -> Option<Bytes> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    writer.finish().ok().map(|parts| join(&parts))
}

fn same_again<M: Message + Debug>(body: &[u8], version: i16) {
    let Ok(message) = M::decode_all(Bytes::copy_from_slice(body), version) else { return };
    let again = encoded(&message, version).expect("what was read can be written");
    let again = M::decode_all(again, version).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
}

/// What a producer sends as records.
pub fn kafka_batches(data: &[u8]) {
    for batch in batches(Bytes::copy_from_slice(data)) {
        let Ok(batch) = batch else { return };
        let _verdict = batch.check_crc();
        if let Ok(outlines) = batch.outlines() {
            outlines.take_while(Result::is_ok).for_each(drop);
        }
        let Ok(records) = batch.records(RECORD_BYTES_MAX) else { continue };
        for record in records.map_while(Result::ok) {
            let size =
                record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
            assert!(size <= RECORD_BYTES_MAX);
            record.headers.iter().for_each(drop);
        }
    }
}

fn batch(codec: Codec, number: i64) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        producer_id: 5,
        producer_epoch: 0,
        base_sequence: i32::try_from(number).expect("few"),
        ..BatchOptions::default()
    });
    builder.push(NOW + number, Some(b"key"), Some(&[number as u8; 40]));
    builder.build().expect("built")
}

fn config() -> Arc<TopicConfig> {
    Arc::new(TopicConfig { segment_bytes: 400, index_interval_bytes: 100, ..TopicConfig::default() })
}

fn open(disk: &SimDisk, was_clean: bool) -> Result<PartitionLog, LogError> {
    let partition = TopicPartition { topic: "t".into(), partition: 0 };
    let folder = Folder::new(Arc::new(disk.clone()), "t-0");
    let options = LoadOptions { was_clean, high_watermark: 4, ..LoadOptions::default() };
    Ok(PartitionLog::open(folder, partition, config(), &options, NOW)?.0)
}

/// A partition's directory with some segments.
fn directory() -> SimDisk {
    let disk = SimDisk::new();
    let mut log = open(&disk, false).expect("an empty directory");
    for number in 0..9 {
        log.append_as_leader(batch(Codec::None, number), 1, NOW, AppendOrigin::Client).expect("appended");
    }
    log.close(NOW).expect("closed");
    disk
}

/// One file of a partition's directory, chosen by the first byte, has this content instead of its own; the second says
/// whether the last stop was a clean one. The log is refused, or can be read, and appended to.
pub fn broker_log_recovery(data: &[u8]) {
    let Some((&[choice, was_clean], content)) = data.split_first_chunk::<2>() else { return };
    let disk = directory();
    let names = disk.names();
    disk.tamper(&names[choice as usize % names.len()], Some(content.to_vec()));
    let Ok(mut log) = open(&disk, was_clean % 2 == 1) else { return };
    log.check_invariants();
    let mut read = || -> Result<(), ReadError> {
        let (mut from, end) = (log.log_start_offset(), log.end_offset());
        while let Some(range) = log.read(from, 1, end, true)? {
            let before = from;
            for batch in batches(range.verify()?.read()?).map_while(Result::ok) {
                from = from.max(batch.header().next_offset());
            }
            if from == before {
                break;
            }
        }
        log.offset_for_timestamp(NOW + 3)?;
        Ok(())
    };
    // An error is a verdict; only a panic would not be one.
    let _verdict = read();
    let _verdict = log.append_as_leader(batch(Codec::None, 0), 2, NOW, AppendOrigin::Client);
}

/// Some valid inputs of a target.
pub(super) fn examples(target: &str) -> Vec<Vec<u8>> {
    match target {
        "kafka_message" => {
            let mut found = Vec::new();
            macro_rules! example {
                ($($module:ident::$name:ident($request:ident, $response:ident);)+) => {$(
                    let version = *ApiKey::$name.versions().end();
                    let head = |is_answer| vec![is_answer, ApiKey::$name.to_wire() as u8, version as u8];
                    let request = encoded(&messages::$request::default(), version);
                    let response = encoded(&messages::$response::default(), version);
                    found.extend(request.map(|body| [head(0), body.to_vec()].concat()));
                    found.extend(response.map(|body| [head(1), body.to_vec()].concat()));
                )+};
            }
            with_every_kafka_api!(example);
            found
        }
        "kafka_batches" => [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]
            .map(|codec| [batch(codec, 0), batch(codec, 1)].concat())
            .into(),
        "broker_log_recovery" => {
            let disk = directory();
            let content = |name: &String| disk.content(name).unwrap_or_default();
            let files = disk.names().into_iter().zip(0u8..);
            files.map(|(name, choice)| [vec![choice, choice % 2], content(&name)].concat()).collect()
        }
        _ => Vec::new(),
    }
}
