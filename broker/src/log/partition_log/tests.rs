use std::collections::BTreeSet;

use bytes::Bytes;
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, ControlType, Record, batches, control_batch};
use client::wire::kafka::compression::Codec;
use proptest::prelude::*;

use super::*;
use crate::log::config::{CleanupPolicy, Compression};
use crate::log::disk::{Disk, RealDisk};
use crate::log::error::ReadError;
use crate::log::recovery::Recovered;

/// Far enough from zero to tell it from a default.
const NOW: i64 = 1_000_000;

struct Bench {
    _dir: tempfile::TempDir,
    folder: Folder,
    config: Arc<TopicConfig>,
    log: PartitionLog,
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

impl Bench {
    fn new(config: TopicConfig) -> Bench {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).expect("disk"));
        disk.create_dir("t-0").expect("directory");
        let (folder, config) = (Folder::new(disk, "t-0"), Arc::new(config));
        let log =
            PartitionLog::create(folder.clone(), partition(), Arc::clone(&config), NOW).expect("created");
        Bench { _dir: dir, folder, config, log }
    }

    fn small_segments() -> Bench {
        Bench::new(TopicConfig { segment_bytes: 400, index_interval_bytes: 100, ..TopicConfig::default() })
    }

    fn append(&mut self, records: Bytes) -> Result<AppendInfo, AppendError> {
        let info = self.log.append_as_leader(records, 0, NOW, AppendOrigin::Client);
        self.log.check_invariants();
        info
    }

    fn reopen(&mut self, was_clean: bool) -> Recovered {
        let options = LoadOptions {
            was_clean,
            recovery_point: self.log.recovery_point(),
            log_start_offset: self.log.log_start_offset(),
            high_watermark: self.log.high_watermark(),
            cleaned_to: 0,
        };
        let opened =
            PartitionLog::open(self.folder.clone(), partition(), Arc::clone(&self.config), &options, NOW);
        let (log, recovered) = opened.expect("opened");
        self.log = log;
        self.log.check_invariants();
        recovered
    }

    fn records(&mut self, from: i64, up_to: i64) -> Vec<Record> {
        read_all(&mut self.log, from, up_to)
    }
}

fn read_all(log: &mut PartitionLog, mut from: i64, up_to: i64) -> Vec<Record> {
    let mut all = Vec::new();
    while let Some(range) = log.read(from, 1, up_to, true).expect("within the log") {
        for batch in batches(range.verify().expect("good").read().expect("read")) {
            let batch = batch.expect("whole");
            batch.check_crc().expect("good");
            let records = batch.records(1 << 20).expect("readable").map(|record| record.expect("good"));
            all.extend(records.filter(|record| record.offset >= from && record.offset < up_to));
            from = batch.header().next_offset();
        }
    }
    all
}

fn records(values: &[&str]) -> Bytes {
    timed(&values.iter().map(|value| (NOW, *value)).collect::<Vec<_>>())
}

fn timed(records: &[(i64, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (timestamp, value) in records {
        builder.push(*timestamp, Some(b"key"), Some(value.as_bytes()));
    }
    builder.build().expect("built")
}

fn idempotent(producer_id: i64, producer_epoch: i16, base_sequence: i32, transactional: bool) -> Bytes {
    let options =
        BatchOptions { producer_id, producer_epoch, base_sequence, transactional, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.push(NOW, Some(b"key"), Some(b"value"));
    builder.build().expect("built")
}

fn values(records: &[Record]) -> Vec<String> {
    let text =
        |record: &Record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    records.iter().map(text).collect()
}

#[test]
fn records_get_offsets_and_are_found_by_them() {
    let mut bench = Bench::small_segments();
    let info = bench.append(records(&["a", "b"])).expect("appended");
    assert_eq!((info.base_offset, info.last_offset, info.is_duplicate), (0, 1, false));
    for at in 0..50 {
        bench.append(records(&[&format!("{at}"), "x"])).expect("appended");
    }
    assert!(bench.log.segment_count() > 5);
    let all = bench.records(0, i64::MAX);
    assert_eq!(all.iter().map(|record| record.offset).collect::<Vec<_>>(), (0..102).collect::<Vec<_>>());
    for from in 0..102 {
        assert_eq!(bench.records(from, i64::MAX), all[from as usize..]);
    }
    assert_eq!(bench.records(3, 60).len(), 57);
    assert!(bench.log.read(102, 1, i64::MAX, true).expect("the end is fine").is_none());
    assert!(matches!(bench.log.read(103, 1, i64::MAX, true), Err(ReadError::OutOfRange { end: 102, .. })));
    assert!(matches!(bench.log.read(-1, 1, i64::MAX, true), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn a_read_keeps_to_its_limits() {
    let mut bench = Bench::new(TopicConfig::default());
    for value in ["a", "b", "c"] {
        bench.append(records(&[value, value])).expect("appended");
    }
    let size = bench.log.size() / 3;
    let mut length = |from, max_bytes, up_to, min_one| {
        bench.log.read(from, max_bytes, up_to, min_one).expect("within the log").map(|range| range.length)
    };
    assert_eq!(length(0, u64::MAX, i64::MAX, true), Some(3 * size));
    assert_eq!(
        length(3, u64::MAX, i64::MAX, true),
        Some(2 * size),
        "the batch that holds the offset is whole"
    );
    assert_eq!(length(0, 1, i64::MAX, true), Some(size));
    assert_eq!(length(0, 1, i64::MAX, false), Some(1));
    assert_eq!(length(0, 0, i64::MAX, false), None);
    assert_eq!(length(0, u64::MAX, 4, true), Some(2 * size));
    assert_eq!(length(4, u64::MAX, 4, true), None);
    assert_eq!(length(0, u64::MAX, 3, true), Some(size), "half a batch is not shown");
}

#[test]
fn what_a_producer_may_not_send_is_refused_by_name() {
    let mut bench = Bench::new(TopicConfig {
        max_message_bytes: 500,
        segment_bytes: 300,
        message_timestamp_before_max_ms: 1000,
        message_timestamp_after_max_ms: 1000,
        ..TopicConfig::default()
    });
    let mut complaint = |bytes: Bytes| bench.append(bytes).expect_err("refused");
    let good = records(&["a"]);
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = good.to_vec();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(copy)
    };
    let invalid = |error: AppendError| matches!(error, AppendError::InvalidRecord(_));
    let corrupt = |error: AppendError| matches!(error, AppendError::Corrupt(_));
    assert!(invalid(complaint(Bytes::new())));
    assert!(invalid(complaint([&good[..], &good[..]].concat().into())));
    assert!(invalid(complaint(good.slice(..good.len() - 1))));
    assert!(invalid(complaint(with(0, &999_i64.to_be_bytes()))));
    assert!(corrupt(complaint(with(16, &[7]))));
    assert!(corrupt(complaint(with(8, &(-1_i32).to_be_bytes()))));
    assert!(corrupt(complaint(with(65, &[0x55]))));
    assert!(matches!(complaint(with(16, &[1])), AppendError::UnsupportedFormat(1)));
    assert!(matches!(complaint(records(&[&"x".repeat(500)])), AppendError::TooLarge { max: 500, .. }));
    assert!(matches!(
        complaint(records(&[&"x".repeat(300)])),
        AppendError::LargerThanSegment { max: 300, .. }
    ));
    for timestamp in [NOW - 1001, NOW + 1001] {
        let error = complaint(timed(&[(NOW, "a"), (timestamp, "b")]));
        assert!(matches!(error, AppendError::InvalidTimestamp { index: 1, .. }), "{error}");
    }
    assert!(invalid(complaint(control_batch(ControlType::Commit, 1, 0, 0, NOW))));
    assert!(invalid(complaint(idempotent(5, 0, -1, false))));
    let late = BatchOptions { timestamp_type: TimestampType::LogAppend, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(late);
    builder.push(NOW, None, None);
    assert!(matches!(complaint(builder.build().expect("built")), AppendError::InvalidTimestampType));
    assert_eq!(bench.log.end_offset(), 0);

    let mut compacted = Bench::new(TopicConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..TopicConfig::default()
    });
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(NOW, None, Some(b"v"));
    assert!(invalid(compacted.append(builder.build().expect("built")).expect_err("no key")));
}

#[test]
fn the_leader_sets_times_and_codecs_when_the_topic_says_so() {
    for codec in Codec::ALL {
        let mut bench = Bench::new(TopicConfig {
            message_timestamp_type: TimestampType::LogAppend,
            compression_type: Compression::Fixed(codec, None),
            ..TopicConfig::default()
        });
        for from in Codec::ALL {
            let mut builder = BatchBuilder::new(BatchOptions { codec: from, ..BatchOptions::default() });
            builder.push(5, Some(b"k"), Some(b"v"));
            builder.push(9, Some(b"k"), None);
            let info = bench.append(builder.build().expect("built")).expect("appended");
            assert_eq!(info.log_append_time, Some(NOW));
        }
        let range = bench.log.read(0, u64::MAX, i64::MAX, true).expect("within").expect("some");
        for batch in batches(range.read().expect("read")) {
            let batch = batch.expect("whole");
            batch.check_crc().expect("good");
            assert_eq!(batch.header().attributes.codec(), Ok(codec));
        }
        let all = bench.records(0, i64::MAX);
        assert_eq!(all.len(), 10);
        assert!(all.iter().all(|record| record.timestamp == NOW));
    }
}

#[test]
fn a_client_that_lies_about_its_largest_timestamp_is_corrected() {
    let mut bench = Bench::new(TopicConfig::default());
    let honest = timed(&[(50, "a"), (70, "b")]);
    let mut header = client::wire::kafka::batch::BatchHeader::parse(&honest).expect("good");
    let payload = honest.slice(client::wire::kafka::batch::HEADER_BYTES..);
    header.set_max_timestamp(TimestampType::Create, 9999, &payload);
    let info = bench.append([&header.to_bytes()[..], &payload].concat().into()).expect("appended");
    assert_eq!(info.max_timestamp, 70);
    assert_eq!(bench.records(0, i64::MAX).len(), 2);
}

#[test]
fn an_idempotent_producer_is_held_to_its_sequence() {
    let mut bench = Bench::new(TopicConfig::default());
    // Nothing is known of it, so it may begin anywhere.
    for sequence in 5..12 {
        assert_eq!(
            bench.append(idempotent(9, 2, sequence, false)).expect("in order").base_offset,
            sequence as i64 - 5
        );
    }
    for sequence in 7..12 {
        let again = bench.append(idempotent(9, 2, sequence, false)).expect("recognised");
        assert_eq!((again.base_offset, again.is_duplicate), (sequence as i64 - 5, true));
    }
    let out_of_order = |result| matches!(result, Err(AppendError::OutOfOrderSequence { .. }));
    assert!(out_of_order(bench.append(idempotent(9, 2, 6, false))), "too old to be recognised");
    assert!(out_of_order(bench.append(idempotent(9, 2, 13, false))), "one is missing");
    assert!(out_of_order(bench.append(idempotent(9, 3, 1, false))), "a new epoch begins at 0");
    assert!(matches!(
        bench.append(idempotent(9, 1, 12, false)),
        Err(AppendError::InvalidProducerEpoch { current: 2, .. })
    ));
    assert_eq!(bench.log.end_offset(), 7);
    bench.append(idempotent(9, 3, 0, false)).expect("a new epoch");

    // The state survives a clean stop, and a crash.
    bench.log.close(NOW).expect("closed");
    for was_clean in [true, false] {
        bench.reopen(was_clean);
        let again = bench.append(idempotent(9, 3, 0, false)).expect("recognised");
        assert_eq!((again.base_offset, again.is_duplicate), (7, true));
        assert!(out_of_order(bench.append(idempotent(9, 3, 2, false))));
    }
    bench.log.expire_producers(NOW + 1000, 1000);
    bench.append(idempotent(9, 3, 77, false)).expect("forgotten");
}

#[test]
fn transactions_hold_back_committed_readers_until_their_end_is_replicated() {
    let mut bench = Bench::new(TopicConfig::default());
    bench.append(idempotent(1, 0, 0, true)).expect("appended"); // 0
    bench.append(records(&["other"])).expect("appended"); // 1
    bench.append(idempotent(2, 0, 0, true)).expect("appended"); // 2
    bench.log.set_high_watermark(3);
    assert_eq!(bench.log.last_stable_offset(), 0);
    assert!(matches!(
        bench.append(idempotent(1, 0, 1, false)),
        Err(AppendError::InvalidTxnState { producer_id: 1 })
    ));
    let end = |bench: &mut Bench, kind, producer, coordinator_epoch| {
        let marker = control_batch(kind, producer, 0, coordinator_epoch, NOW);
        bench.log.append_as_leader(marker, 0, NOW, AppendOrigin::Coordinator)
    };
    end(&mut bench, ControlType::Abort, 1, 4).expect("appended"); // 3
    assert_eq!(bench.log.last_stable_offset(), 0, "the marker is not replicated");
    bench.log.set_high_watermark(4);
    assert_eq!(bench.log.last_stable_offset(), 2);
    assert!(matches!(
        end(&mut bench, ControlType::Commit, 1, 3),
        Err(AppendError::CoordinatorFenced { epoch: 3, current: 4 })
    ));
    end(&mut bench, ControlType::Commit, 2, 4).expect("appended"); // 4
    bench.log.set_high_watermark(5);
    assert_eq!(bench.log.last_stable_offset(), 5);
    let aborted = AbortedTxn { producer_id: 1, first_offset: 0, last_offset: 3, last_stable_offset: 2 };
    assert_eq!(bench.log.aborted_transactions(0, 5), [aborted]);
    assert_eq!(bench.log.aborted_transactions(4, 5), []);

    // Both ways to start know the same, without the index file too.
    bench.log.close(NOW).expect("closed");
    bench.reopen(true);
    assert_eq!(bench.log.aborted_transactions(0, 5), [aborted]);
    bench.log.producers().remove_snapshots(|_| true).expect("removed");
    bench.folder.remove("00000000000000000000.txnindex").expect("removed");
    bench.log.recovery_point = 0;
    bench.reopen(false);
    assert_eq!(bench.log.aborted_transactions(0, 5), [aborted]);
    assert_eq!(bench.log.last_stable_offset(), 5);
    bench.log.truncate_to(3, NOW).expect("truncated");
    assert_eq!(bench.log.aborted_transactions(0, 5), []);
    assert_eq!(bench.log.last_stable_offset(), 0, "the transaction is open again");
}

#[test]
fn a_follower_repeats_its_leader_and_notices_when_it_cannot() {
    let mut leader = Bench::small_segments();
    for epoch in [0, 0, 4, 4, 7] {
        let batch = records(&["a", "b"]);
        leader.log.append_as_leader(batch, epoch, NOW, AppendOrigin::Client).expect("appended");
    }
    let mut follower = Bench::small_segments();
    while follower.log.end_offset() < leader.log.end_offset() {
        let range =
            leader.log.read(follower.log.end_offset(), 150, i64::MAX, true).expect("within").expect("more");
        let bytes = range.read().expect("read");
        follower.log.append_as_follower(bytes, NOW).expect("continues").expect("something");
        follower.log.check_invariants();
    }
    assert_eq!(follower.records(0, i64::MAX), leader.records(0, i64::MAX));
    assert_eq!(follower.log.epochs.entries(), leader.log.epochs.entries());
    let end = |epoch| follower.log.end_offset_for_epoch(epoch).map(|end| (end.epoch, end.end_offset));
    assert_eq!([0, 3, 4, 7].map(end), [(0, 4), (0, 4), (4, 8), (7, 10)].map(Some));
    assert_eq!(end(8), None);

    let first = leader.log.read(0, 1, i64::MAX, true).expect("within").expect("some").read().expect("read");
    let error = follower.log.append_as_follower(first, NOW).expect_err("it has that");
    assert!(matches!(error, AppendError::OutOfOrderOffsets { found: 0, expected: 10 }));
    assert!(follower.log.append_as_follower(Bytes::new(), NOW).expect("nothing").is_none());
}

#[test]
fn a_time_finds_the_first_record_that_is_not_older() {
    let mut bench = Bench::small_segments();
    // Times go up and down; what counts is the first record that is new enough.
    let times: Vec<i64> = (0..60).map(|at| 1000 + at * 10 + if at % 7 == 3 { 35 } else { 0 }).collect();
    for pair in times.chunks(2) {
        bench.append(timed(&[(pair[0], "a"), (pair[1], "b")])).expect("appended");
    }
    for was_clean in [true, false] {
        for timestamp in 990..1700 {
            let expected = times.iter().position(|time| *time >= timestamp);
            let found = bench.log.offset_for_timestamp(timestamp).expect("readable");
            assert_eq!(found.map(|found| found.offset), expected.map(|at| at as i64), "{timestamp}");
        }
        let newest = bench.log.offset_of_max_timestamp().expect("readable").expect("there is one");
        let max = times.iter().copied().max().expect("some");
        assert_eq!(newest.timestamp, max);
        bench.log.set_high_watermark(60);
        bench.log.close(NOW).expect("closed");
        if !was_clean {
            bench.log.recovery_point = 0;
        }
        bench.reopen(was_clean);
    }
    bench.log.delete_records_before(31).expect("below the high watermark");
    assert_eq!(bench.log.offset_for_timestamp(0).expect("readable").map(|found| found.offset), Some(31));
    bench.log.truncate_to(40, NOW).expect("truncated");
    assert_eq!(bench.log.offset_for_timestamp(times[40] + 40).expect("readable"), None);
}

#[test]
fn segments_roll_by_age_and_index_size_too() {
    let mut bench = Bench::new(TopicConfig { segment_ms: 1000, ..TopicConfig::default() });
    for (timestamp, expected) in [(100, 1), (1100, 1), (1101, 2), (2101, 2), (50, 2), (2102, 3)] {
        bench.append(timed(&[(timestamp, "a")])).expect("appended");
        assert_eq!(bench.log.segment_count(), expected, "{timestamp}");
    }
    let mut bench = Bench::new(TopicConfig {
        segment_index_bytes: 5 * 12,
        index_interval_bytes: 1,
        ..TopicConfig::default()
    });
    for at in 0..30 {
        bench.append(timed(&[(at, "a")])).expect("appended");
    }
    assert_eq!(bench.log.segment_count(), 5);
    assert_eq!(bench.records(0, i64::MAX).len(), 30);
}

#[test]
fn records_are_deleted_up_to_the_high_watermark() {
    let mut bench = Bench::small_segments();
    for _ in 0..20 {
        bench.append(records(&["a", "b"])).expect("appended");
    }
    bench.log.set_high_watermark(30);
    assert!(matches!(bench.log.delete_records_before(31), Err(ReadError::OutOfRange { end: 30, .. })));
    assert_eq!(bench.log.delete_records_before(17).expect("fine"), 17);
    assert_eq!(bench.log.delete_records_before(5).expect("never back"), 17);
    bench.log.check_invariants();
    assert!(bench.log.read(16, 1, i64::MAX, true).is_err());
    assert_eq!(bench.records(17, i64::MAX).len(), 23);
}

#[test]
fn old_segments_are_dropped_by_size_age_and_start() {
    let fill = |bench: &mut Bench| {
        for at in 0..20 {
            bench.append(timed(&[(NOW + at * 10, "a"), (NOW + at * 10 + 5, "b")])).expect("appended");
        }
    };
    let small = TopicConfig { segment_bytes: 400, ..TopicConfig::default() };
    let mut bench =
        Bench::new(TopicConfig { retention_bytes: Some(800), retention_ms: None, ..small.clone() });
    fill(&mut bench);
    assert_eq!(bench.log.apply_retention(NOW).expect("nothing to do"), 0, "nothing is replicated");
    bench.log.set_high_watermark(40);
    assert!(bench.log.apply_retention(NOW).expect("dropped") > 0);
    bench.log.check_invariants();
    let size = bench.log.size();
    assert!((800..1200).contains(&size), "{size}");
    let start = bench.log.log_start_offset();
    assert_eq!(bench.records(start, i64::MAX).len(), 40 - start as usize);

    let deleted = |bench: &Bench| {
        let entries = bench.folder.list().expect("listed");
        entries.iter().filter(|entry| entry.name.ends_with(".deleted")).count()
    };
    assert!(deleted(&bench) > 0);
    bench.log.remove_retired(NOW + 59_999).expect("nothing is due");
    assert!(deleted(&bench) > 0);
    bench.log.remove_retired(NOW + 60_000).expect("removed");
    assert_eq!(deleted(&bench), 0);

    let mut bench = Bench::new(TopicConfig { retention_ms: Some(1000), ..small.clone() });
    fill(&mut bench);
    bench.log.set_high_watermark(40);
    assert_eq!(bench.log.apply_retention(NOW + 1000).expect("nothing to do"), 0);
    assert!(bench.log.apply_retention(NOW + 1100).expect("dropped") > 0);
    assert!(bench.log.end_offset() - bench.log.log_start_offset() > 10);
    bench.log.apply_retention(NOW + 2000).expect("dropped");
    assert_eq!((bench.log.log_start_offset(), bench.log.end_offset(), bench.log.size()), (40, 40, 0));
    assert_eq!(bench.append(records(&["next"])).expect("appended").base_offset, 40);
    bench.reopen(false);
    assert_eq!(bench.records(40, i64::MAX).len(), 1);

    let compacted = CleanupPolicy { delete: false, compact: true };
    let mut bench = Bench::new(TopicConfig { cleanup_policy: compacted, retention_bytes: Some(0), ..small });
    fill(&mut bench);
    bench.log.set_high_watermark(40);
    assert_eq!(bench.log.apply_retention(i64::MAX).expect("nothing to do"), 0);
    bench.log.delete_records_before(20).expect("below the high watermark");
    assert!(bench.log.apply_retention(NOW).expect("dropped") > 0);
    assert_eq!(bench.log.log_start_offset(), 20);
}

#[test]
fn flushing_moves_the_recovery_point() {
    let mut bench = Bench::new(TopicConfig { flush_messages: 3, flush_ms: 100, ..TopicConfig::default() });
    assert!(!bench.append(records(&["a", "b"])).expect("appended").is_flush_due);
    assert!(bench.append(records(&["c"])).expect("appended").is_flush_due);
    assert!(!bench.log.is_flush_overdue(NOW + 99));
    assert!(bench.log.is_flush_overdue(NOW + 100));
    let flushed = bench.log.flush_job().run().expect("synced");
    bench.append(records(&["d"])).expect("appended meanwhile");
    bench.log.flushed(flushed, NOW + 100);
    assert_eq!((bench.log.recovery_point(), bench.log.end_offset()), (3, 4));
    assert!(!bench.log.is_flush_overdue(NOW + 199));
    let flushed = bench.log.flush_job().run().expect("synced");
    bench.log.truncate_to(3, NOW).expect("truncated meanwhile");
    bench.append(records(&["e"])).expect("appended in its place");
    bench.log.flushed(flushed, NOW + 200);
    assert_eq!(
        (bench.log.recovery_point(), bench.log.end_offset()),
        (3, 4),
        "what was synced is not what is there"
    );
    bench.log.roll(NOW).expect("rolled");
    assert!(bench.log.is_flush_overdue(NOW), "a finished segment is synced soon");
}

/// What a log should hold: each record's offset and value, and which offsets end a batch.
#[derive(Debug, Default)]
struct Model {
    records: Vec<(i64, String)>,
    batch_starts: BTreeSet<i64>,
    start: i64,
    end: i64,
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>, i64),
    Truncate(prop::sample::Index),
    TruncateFully(u16),
    DeleteBefore(prop::sample::Index),
    Roll,
    Flush,
    CleanRestart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (prop::collection::vec(any::<u8>(), 1..5), 0..2000_i64).prop_map(|(v, t)| Step::Append(v, t)),
        2 => any::<prop::sample::Index>().prop_map(Step::Truncate),
        1 => any::<u16>().prop_map(Step::TruncateFully),
        1 => any::<prop::sample::Index>().prop_map(Step::DeleteBefore),
        1 => Just(Step::Roll),
        1 => Just(Step::Flush),
        1 => Just(Step::CleanRestart),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_log_is_a_list_of_records(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::small_segments();
        let mut model = Model::default();
        let mut epoch = 0;
        for step in steps {
            match step {
                Step::Append(lengths, timestamp) => {
                    let values: Vec<String> = lengths.iter().map(|length| "v".repeat(usize::from(*length / 8))).collect();
                    let texts: Vec<(i64, &str)> = values.iter().map(|value| (timestamp, value.as_str())).collect();
                    match bench.log.append_as_leader(timed(&texts), epoch, NOW, AppendOrigin::Client) {
                        Ok(info) => {
                            prop_assert_eq!(info.base_offset, model.end);
                            model.batch_starts.insert(model.end);
                            for value in values {
                                model.records.push((model.end, value));
                                model.end += 1;
                            }
                        }
                        Err(AppendError::LargerThanSegment { .. }) => {}
                        Err(error) => return Err(TestCaseError::fail(error.to_string())),
                    }
                }
                Step::Truncate(at) => {
                    let to = model.start + at.index((model.end - model.start) as usize + 1) as i64;
                    epoch += 1;
                    bench.log.truncate_to(to, NOW).expect("truncated");
                    // A batch goes wholly or not at all.
                    if to < model.end {
                        model.end = model.batch_starts.range(..=to).next_back().copied().unwrap_or(model.start).max(model.start);
                        if model.records.iter().all(|(offset, _)| *offset >= model.end) {
                            model.end = bench.log.end_offset();
                        }
                        let end = model.end;
                        model.records.retain(|(offset, _)| *offset < end);
                        model.batch_starts.retain(|offset| *offset < end);
                    }
                }
                Step::TruncateFully(to) => {
                    bench.log.truncate_fully_and_start_at(to.into(), NOW).expect("truncated");
                    model = Model { start: to.into(), end: to.into(), ..Model::default() };
                    epoch += 1;
                }
                Step::DeleteBefore(at) => {
                    let to = model.start + at.index((model.end - model.start) as usize + 1) as i64;
                    bench.log.set_high_watermark(model.end);
                    bench.log.delete_records_before(to).expect("below the high watermark");
                    model.start = to;
                }
                Step::Roll => bench.log.roll(NOW).expect("rolled"),
                Step::Flush => {
                    let flushed = bench.log.flush_job().run().expect("synced");
                    bench.log.flushed(flushed, NOW);
                }
                Step::CleanRestart => {
                    bench.log.close(NOW).expect("closed");
                    let recovered = bench.reopen(true);
                    prop_assert_eq!(recovered, Recovered::default());
                }
                Step::Crash => {
                    let recovered = bench.reopen(false);
                    prop_assert_eq!(recovered.bytes_cut, 0);
                }
            }
            bench.log.check_invariants();
            prop_assert_eq!((bench.log.log_start_offset(), bench.log.end_offset()), (model.start, model.end));
            let found = bench.records(model.start, i64::MAX);
            let found: Vec<(i64, String)> =
                found.iter().map(|record| record.offset).zip(values(&found)).collect();
            let expected: Vec<_> = model.records.iter().filter(|(offset, _)| *offset >= model.start).cloned().collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_directory_name_says_whose_it_is() {
    let of =
        |name| TopicPartition::from_dir_name(name).map(|partition| (partition.topic, partition.partition));
    assert_eq!(of("a-b-12"), Some(("a-b".into(), 12)));
    for name in ["a", "-1", "a-", "a-01", "a-x", "a-0.abc-delete", "a-0-stray"] {
        assert_eq!(of(name), None, "{name}");
    }
}
