use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use client::wire::kafka::batch::{ControlType, batches, control_batch};
use client::wire::kafka::compression::Codec;
use proptest::prelude::*;

use super::*;
use crate::log::batch::AppendOrigin;
use crate::log::config::CleanupPolicy;
use crate::log::disk::{Disk, RealDisk};
use crate::log::partition_log::{LoadOptions, TopicPartition};

const NOW: i64 = 1_000_000;
const DEDUPE_BYTES: usize = 1 << 20;

struct Bench {
    _dir: tempfile::TempDir,
    folder: Folder,
    config: Arc<TopicConfig>,
    log: Mutex<PartitionLog>,
    cleaned_to: i64,
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

impl Bench {
    fn new(change: impl FnOnce(&mut TopicConfig)) -> Bench {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).expect("disk"));
        disk.create_dir("t-0").expect("directory");
        let mut config = TopicConfig {
            cleanup_policy: CleanupPolicy { delete: false, compact: true },
            segment_bytes: 500,
            index_interval_bytes: 100,
            delete_retention_ms: 1000,
            ..TopicConfig::default()
        };
        change(&mut config);
        let (folder, config) = (Folder::new(disk, "t-0"), Arc::new(config));
        let log =
            PartitionLog::create(folder.clone(), partition(), Arc::clone(&config), NOW).expect("created");
        Bench { _dir: dir, folder, config, log: Mutex::new(log), cleaned_to: 0 }
    }

    fn log(&mut self) -> &mut PartitionLog {
        self.log.get_mut().expect("nobody panicked")
    }

    fn append(&mut self, records: Bytes) {
        let log = self.log();
        let origin = match batches(records.clone()).next().expect("one").expect("whole").header().attributes {
            attributes if attributes.is_control() => AppendOrigin::Coordinator,
            _ => AppendOrigin::Client,
        };
        log.append_as_leader(records, 0, NOW, origin).expect("appended");
        log.set_high_watermark(i64::MAX);
    }

    fn put(&mut self, pairs: &[(&str, Option<&str>)]) {
        self.append(batch(BatchOptions::default(), pairs));
    }

    /// Begins a new segment, so that everything may be cleaned, and cleans.
    fn clean(&mut self, now_ms: i64) -> Option<Cleaned> {
        self.log().roll(now_ms).expect("rolled");
        self.clean_with(DEDUPE_BYTES, now_ms)
    }

    fn clean_with(&mut self, dedupe_bytes: usize, now_ms: i64) -> Option<Cleaned> {
        let cleaned_to = self.cleaned_to;
        let dirt = self.log().dirt(cleaned_to, now_ms).expect("readable")?;
        let plan = self.log().cleaning_plan(dirt);
        let cleaned =
            plan.run(dedupe_bytes, now_ms, || locked(&self.log), || flush(&self.log)).expect("cleaned");
        self.cleaned_to = cleaned.map_or(self.cleaned_to, |cleaned| cleaned.end_offset);
        self.log().check_invariants();
        cleaned
    }

    fn batches(&mut self) -> Vec<Batch> {
        let mut all = Vec::new();
        let log = self.log();
        let mut from = log.log_start_offset();
        while let Some(range) = log.read(from, 1, i64::MAX, true).expect("within the log") {
            for batch in batches(range.verify().expect("good").read().expect("read")) {
                let batch = batch.expect("whole");
                from = batch.header().next_offset();
                all.push(batch);
            }
        }
        all
    }

    /// Offset, key and value of each record, markers left out.
    fn records(&mut self) -> Vec<(i64, String, Option<String>)> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("text");
        let mut all = Vec::new();
        for batch in self.batches().iter().filter(|batch| !batch.header().attributes.is_control()) {
            for record in batch.records(1000).expect("readable") {
                let record = record.expect("good");
                all.push((
                    record.offset,
                    record.key.as_ref().map_or(String::new(), text),
                    record.value.as_ref().map(text),
                ));
            }
        }
        all
    }

    fn offsets(&mut self) -> Vec<i64> {
        self.records().iter().map(|(offset, _, _)| *offset).collect()
    }

    fn reopen(&mut self) {
        let end = self.log().end_offset();
        let options = LoadOptions { high_watermark: end, ..LoadOptions::default() };
        let opened =
            PartitionLog::open(self.folder.clone(), partition(), Arc::clone(&self.config), &options, NOW);
        self.log = Mutex::new(opened.expect("opened").0);
    }
}

fn locked(log: &Mutex<PartitionLog>) -> Result<MutexGuard<'_, PartitionLog>, LogError> {
    Ok(log.lock().expect("nobody panicked"))
}

fn flush(log: &Mutex<PartitionLog>) -> Result<(), LogError> {
    let flushed = locked(log)?.flush_job().run()?;
    locked(log)?.flushed(flushed, NOW);
    Ok(())
}

fn batch(options: BatchOptions, pairs: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in pairs {
        builder.push(NOW, Some(key.as_bytes()), value.map(str::as_bytes));
    }
    builder.build().expect("built")
}

#[test]
fn of_each_key_the_newest_stays_at_its_offset() {
    for codec in Codec::ALL {
        let mut bench = Bench::new(|_| {});
        let options = BatchOptions { codec, ..BatchOptions::default() };
        for round in ["1", "2", "3"] {
            for pairs in [[("a", Some(round)), ("b", Some(round))], [("a", Some(round)), ("c", Some(round))]]
            {
                bench.append(batch(options, &pairs));
            }
        }
        let cleaned = bench.clean(NOW).expect("there was something");
        assert_eq!(cleaned.end_offset, 12);
        assert!(cleaned.bytes_after < cleaned.bytes_before);
        assert_eq!(bench.offsets(), [9, 10, 11]);
        assert_eq!(bench.batches().last().expect("some").header().next_offset(), 12);
        assert!(bench.clean(NOW).is_none(), "nothing is dirty");
        bench.put(&[("b", Some("4"))]);
        bench.clean(NOW).expect("dirty again");
        assert_eq!(bench.offsets(), [10, 11, 12]);
        bench.reopen();
        assert_eq!(bench.offsets(), [10, 11, 12]);
        assert_eq!(bench.log().end_offset(), 13);
    }
}

#[test]
fn small_leftovers_share_a_segment() {
    let mut bench = Bench::new(|_| {});
    for round in 0..40 {
        bench.put(&[("same", Some("value")), (&format!("{}", round % 3), Some("x"))]);
    }
    let before = bench.log().segment_count();
    bench.clean(NOW).expect("cleaned");
    bench.put(&[("new", Some("x"))]);
    bench.clean(NOW).expect("cleaned");
    bench.put(&[("new", Some("x"))]);
    bench.clean(NOW).expect("cleaned");
    assert!(bench.log().segment_count() < before / 2);
    assert_eq!(bench.records().len(), 5);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let mut bench = Bench::new(|_| {});
    bench.put(&[("a", Some("1")), ("b", Some("1"))]);
    bench.put(&[("a", None)]);
    bench.put(&[("z", Some("1"))]);
    bench.clean(NOW).expect("cleaned");
    assert_eq!(bench.offsets(), [1, 2, 3]);
    let horizons: Vec<_> = bench.batches().iter().map(|batch| batch.header().delete_horizon()).collect();
    assert_eq!(horizons, [None, Some(NOW + 1000), None]);
    let tombstone = &bench.batches()[1];
    let record = tombstone.records(100).expect("readable").next().expect("one").expect("good");
    assert_eq!(record.timestamp, NOW, "the record's own time is kept");
    for (now_ms, expected) in [(NOW + 999, &[1, 2, 3][..]), (NOW + 1000, &[1, 3])] {
        bench.put(&[("z", Some("1"))]);
        let next = bench.log().end_offset() - 1;
        bench.clean(now_ms).expect("dirty");
        let expected: Vec<i64> =
            expected.iter().copied().filter(|offset| *offset != 3).chain([next]).collect();
        assert_eq!(bench.offsets(), expected);
    }
}

#[test]
fn lags_and_open_transactions_limit_what_is_cleaned() {
    let mut bench = Bench::new(|config| config.min_compaction_lag_ms = 500);
    bench.put(&[("a", Some("1"))]);
    bench.put(&[("a", Some("2"))]);
    bench.log().roll(NOW).expect("rolled");
    assert!(bench.log().dirt(0, NOW + 499).expect("readable").is_none());
    let dirt = bench.log().dirt(0, NOW + 500).expect("readable").expect("old enough");
    assert_eq!((dirt.end, dirt.ratio, dirt.is_due), (2, 1.0, true));

    let mut bench = Bench::new(|config| config.max_compaction_lag_ms = 800);
    for _ in 0..20 {
        bench.put(&[("a", Some("1")), ("b", Some("1"))]);
    }
    bench.log().roll(NOW).expect("rolled");
    let last = *bench.log().segments.keys().rev().nth(1).expect("two");
    let dirt = bench.log().dirt(last, NOW + 800).expect("readable").expect("some");
    assert!(dirt.ratio < 0.5 && !dirt.is_due);
    assert!(bench.log().dirt(last, NOW + 801).expect("readable").expect("some").is_due);

    let mut bench = Bench::new(|_| {});
    bench.put(&[("a", Some("1"))]);
    bench.log().roll(NOW).expect("rolled");
    let open = BatchOptions {
        producer_id: 5,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..Default::default()
    };
    bench.append(batch(open, &[("a", Some("2"))]));
    bench.clean(NOW).expect("cleaned");
    assert_eq!((bench.cleaned_to, bench.offsets()), (1, vec![0, 1]), "the open transaction changes nothing");
}

#[test]
fn aborted_records_go_and_markers_stay_for_their_time() {
    let mut bench = Bench::new(|_| {});
    let txn = |producer_id, base_sequence| BatchOptions {
        producer_id,
        producer_epoch: 0,
        base_sequence,
        transactional: true,
        ..BatchOptions::default()
    };
    bench.put(&[("a", Some("good"))]); // 0
    bench.append(batch(txn(7, 0), &[("a", Some("aborted"))])); // 1
    bench.append(batch(txn(8, 0), &[("b", Some("committed"))])); // 2
    bench.append(control_batch(ControlType::Abort, 7, 0, 1, NOW)); // 3
    bench.append(control_batch(ControlType::Commit, 8, 0, 1, NOW)); // 4
    bench.append(batch(txn(7, 1), &[("c", Some("last"))])); // 5
    bench.append(control_batch(ControlType::Commit, 7, 0, 1, NOW)); // 6
    bench.append(batch(txn(8, 1), &[("b", Some("newer"))])); // 7
    bench.append(control_batch(ControlType::Commit, 8, 0, 1, NOW)); // 8
    bench.put(&[("x", Some("x"))]); // 9
    bench.clean(NOW).expect("cleaned");
    assert_eq!(bench.offsets(), [0, 5, 7, 9], "the aborted record hid nothing");
    let markers = |bench: &mut Bench| -> Vec<(i64, Option<i64>)> {
        let all = bench.batches();
        let markers = all.iter().filter(|batch| batch.header().attributes.is_control());
        markers.map(|batch| (batch.header().base_offset, batch.header().delete_horizon())).collect()
    };
    assert_eq!(markers(&mut bench), [(3, None), (4, None), (6, None), (8, None)]);
    assert_eq!(bench.log().aborted_transactions(0, 10).len(), 1, "readers of the old offsets are still told");

    // Now nothing is left of the first two transactions: their markers get a deadline, and then go.
    bench.put(&[("x", Some("x"))]);
    bench.clean(NOW + 10).expect("cleaned");
    let deadline = Some(NOW + 1010);
    assert_eq!(markers(&mut bench), [(3, deadline), (4, deadline), (6, None), (8, None)]);
    bench.put(&[("x", Some("x"))]);
    bench.clean(NOW + 1010).expect("cleaned");
    assert_eq!(markers(&mut bench), [(6, None), (8, None)]);
    bench.reopen();
    assert_eq!(bench.offsets(), [0, 5, 7, 11]);
    assert_eq!(bench.log().last_stable_offset(), 12);
}

#[test]
fn the_last_batch_of_a_producer_stays_as_a_shell() {
    let mut bench = Bench::new(|_| {});
    let from = |base_sequence| BatchOptions {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence,
        ..Default::default()
    };
    bench.append(batch(from(0), &[("a", Some("1"))]));
    bench.append(batch(from(1), &[("a", Some("2")), ("a", Some("3"))]));
    bench.put(&[("a", Some("4"))]);
    bench.clean(NOW).expect("cleaned");
    assert_eq!(bench.offsets(), [3]);
    let segment = bench.log().segments.values().next().expect("one");
    let (_, shell) =
        BatchScan::new(segment.file(), 0, segment.size()).advance().expect("whole").expect("one");
    let header = *shell.header();
    assert_eq!((header.base_offset, header.last_offset(), header.record_count), (1, 2, 0));
    assert_eq!((header.base_sequence, header.last_sequence()), (1, 2));
    shell.check_crc().expect("good");
    bench.log().producers().remove_snapshots(|_| true).expect("removed");
    bench.reopen();
    let next = batch(from(3), &[("b", Some("1"))]);
    let info = bench.log().append_as_leader(next, 0, NOW, AppendOrigin::Client).expect("in order");
    assert!(!info.is_duplicate);
}

#[test]
fn with_little_memory_the_log_is_cleaned_piece_by_piece() {
    let mut bench = Bench::new(|_| {});
    for at in 0..40 {
        bench.put(&[(&format!("{}", at % 20), Some("value"))]);
    }
    bench.log().roll(NOW).expect("rolled");
    let mut ends = Vec::new();
    // Room for nine keys.
    while let Some(cleaned) = bench.clean_with(10 * 24, NOW) {
        ends.push(cleaned.end_offset);
    }
    assert!(ends.len() > 2 && ends.is_sorted() && ends.last() == Some(&40), "{ends:?}");
    assert_eq!(bench.offsets(), (20..40).collect::<Vec<_>>());
}

#[test]
fn a_log_that_changes_meanwhile_keeps_what_it_has() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..20 {
        bench.put(&[("a", Some("1")), ("b", Some("1"))]);
    }
    let dirt = bench.log().dirt(0, NOW).expect("readable").expect("dirty");
    let plan = bench.log().cleaning_plan(dirt);
    bench.log().truncate_to(3, NOW).expect("truncated");
    let left = bench.offsets();
    let cleaned = plan.run(DEDUPE_BYTES, NOW, || locked(&bench.log), || flush(&bench.log)).expect("fine");
    assert_eq!(cleaned, None);
    assert_eq!(bench.offsets(), left);
    let names = bench.folder.list().expect("listed");
    assert!(names.iter().all(|entry| !entry.name.ends_with(CLEANED_SUFFIX)), "{names:?}");
}

#[test]
fn nothing_goes_for_a_record_that_is_not_durable() {
    let fill = || {
        let mut bench = Bench::new(|_| {});
        for _ in 0..20 {
            bench.put(&[("a", Some("1")), ("b", Some("1"))]);
        }
        bench.log().roll(NOW).expect("rolled");
        let dirt = bench.log().dirt(0, NOW).expect("readable").expect("dirty");
        assert_eq!((dirt.end, bench.log().recovery_point()), (40, 0));
        let plan = bench.log().cleaning_plan(dirt);
        (bench, plan)
    };
    let (bench, plan) = fill();
    let at_flush = std::cell::Cell::new(0);
    let noted = || {
        at_flush.set(locked(&bench.log)?.size());
        flush(&bench.log)
    };
    let before = locked(&bench.log).expect("free").size();
    let cleaned = plan.run(DEDUPE_BYTES, NOW, || locked(&bench.log), noted).expect("cleaned").expect("all");
    assert_eq!(at_flush.get(), before, "it was synced before anything was replaced");
    assert!(cleaned.bytes_after < before && locked(&bench.log).expect("free").recovery_point() >= 40);

    // A sync that proved nothing, because the end was taken back and written anew meanwhile, is not enough.
    let (mut bench, plan) = fill();
    let left = bench.offsets();
    let cleaned = plan.run(DEDUPE_BYTES, NOW, || locked(&bench.log), || Ok(())).expect("fine");
    assert_eq!((cleaned, bench.offsets()), (None, left));

    // Nor is one up to where memory sufficed: keys of the batch behind that were noted, too.
    let mut bench = Bench::new(|_| {});
    bench.put(&[("a", Some("1")), ("b", Some("1"))]);
    flush(&bench.log).expect("flushed");
    bench.put(&[("a", Some("2")), ("c", Some("2")), ("d", Some("2")), ("e", Some("2"))]);
    bench.log().roll(NOW).expect("rolled");
    let dirt = bench.log().dirt(0, NOW).expect("readable").expect("dirty");
    let plan = bench.log().cleaning_plan(dirt);
    let room_for_4 = 5 * 24;
    let cleaned = plan.run(room_for_4, NOW, || locked(&bench.log), || Ok(())).expect("fine");
    assert_eq!((cleaned, bench.offsets()), (None, (0..6).collect()));
    let cleaned = plan.run(room_for_4, NOW, || locked(&bench.log), || flush(&bench.log)).expect("fine");
    assert_eq!((cleaned.map(|cleaned| cleaned.end_offset), bench.offsets()), (Some(2), (1..6).collect()));
}

#[test]
fn a_reader_gets_records_and_not_only_empty_batches() {
    let mut bench = Bench::new(|config| config.segment_bytes = 200);
    for value in 0..40 {
        bench.put(&[("a", Some(&value.to_string())), ("b", Some("1"))]);
    }
    bench.put(&[("c", Some("1"))]);
    bench.clean(NOW).expect("cleaned");
    let log = bench.log();
    let segments: Vec<_> = log.segments.values().map(|it| (Arc::clone(it.file()), it.size())).collect();
    let mut empty = 0;
    for (file, size) in &segments {
        let mut scan = HeaderScan::new(file, 0, *size);
        while let Some((_, header)) = scan.advance().expect("whole") {
            empty += usize::from(header.record_count == 0);
        }
    }
    assert!(empty > 1, "each copy ends with one");
    assert!(bench.batches().iter().all(|batch| batch.header().record_count > 0), "readers see none");
    let is_behind = |offset| bench.log.lock().expect("free").is_behind(offset, 81);
    assert_eq!([0, 80, 81].map(is_behind), [true, true, false], "the newest segment has nothing yet");
    assert_eq!(bench.offsets(), [78, 79, 80]);
}

#[test]
fn a_copy_says_where_it_ends_and_that_costs_one_batch() {
    let mut bench = Bench::new(|config| config.segment_bytes = 300);
    for round in 0..6 {
        for _ in 0..8 {
            bench.put(&[("a", Some("1")), ("b", Some("1"))]);
        }
        bench.clean(NOW + round).expect("cleaned");
        let log = bench.log();
        let ends: Vec<i64> = log
            .segments
            .values_mut()
            .map(|it| it.last_offset().expect("read").map_or(-1, |at| at + 1))
            .collect();
        let bases: Vec<i64> = log.segments.keys().copied().collect();
        assert_eq!(ends[..ends.len() - 1], bases[1..], "no hole between segments");
        let empty = bench.batches().iter().filter(|batch| batch.header().record_count == 0).count();
        assert!(empty <= bases.len(), "{empty} of {bases:?}");
    }
    // Nothing says how far the log was synced or cleaned.
    bench.reopen();
    assert_eq!((bench.log().end_offset(), bench.records().len()), (96, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Cleaning now and then never changes what a reader ends up with.
    #[test]
    fn the_newest_values_are_what_they_were(
        steps in prop::collection::vec((prop::collection::vec((0..6_u8, prop::option::of(0..9_u8)), 1..4), 0..8_u8), 1..40),
    ) {
        let mut bench = Bench::new(|config| config.delete_retention_ms = 50);
        let mut newest: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (at, (pairs, choice)) in steps.iter().enumerate() {
            let now_ms = NOW + at as i64 * 20;
            let pairs: Vec<(String, Option<String>)> =
                pairs.iter().map(|(key, value)| (key.to_string(), value.map(|value| value.to_string()))).collect();
            let borrowed: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            bench.put(&borrowed);
            newest.extend(pairs);
            match choice {
                0 => drop(bench.clean(now_ms)),
                1 => drop(bench.clean_with(96, now_ms)),
                2 => bench.reopen(),
                _ => {}
            }
            let records = bench.records();
            let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
            for (_, key, value) in &records {
                found.insert(key.clone(), value.clone());
            }
            let live = |map: &BTreeMap<String, Option<String>>| -> BTreeSet<(String, String)> {
                map.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
            };
            prop_assert_eq!(live(&found), live(&newest));
            prop_assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets grow");
        }
    }
}
