//! The machine stops at every effect of a script of appends, flushes, rolls, truncations, retention and compaction of a
//! partition's log. Whatever was reported as durable must be there afterwards, and what is there must be a beginning of
//! what was appended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use broker::log::checkpoint::TopicId;
use broker::log::{
    AppendError, AppendOrigin, CleanupPolicy, Folder, LoadOptions, LogError, PartitionLog, ReadError,
    TopicConfig, TopicPartition,
};
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, batches};
use testkit::sim::disk::SimDisk;
use testkit::sim::random::Random;

const NOW: i64 = 1_000_000;
const STEPS: u64 = 60;

fn partition() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn folder(disk: &SimDisk) -> Folder {
    Folder::new(Arc::new(disk.clone()), "t-0")
}

fn config(compact: bool) -> Arc<TopicConfig> {
    Arc::new(TopicConfig {
        segment_bytes: 3000,
        index_interval_bytes: 300,
        retention_bytes: Some(9000),
        file_delete_delay_ms: 0,
        cleanup_policy: CleanupPolicy { delete: !compact, compact },
        ..TopicConfig::default()
    })
}

/// A record: its key and value.
type Pair = (u64, Vec<u8>);

/// What somebody who watched from outside knows.
#[derive(Debug, Default, Clone)]
struct Knowledge {
    /// What the log may hold, by offset; more than one while a truncation is under way.
    histories: Vec<BTreeMap<i64, Pair>>,
    /// Where batches begin, for a batch goes wholly or not at all.
    bases: Vec<i64>,
    /// Everything before it was reported durable.
    durable: i64,
    /// The start and the recovery point, as a checkpoint file would tell them.
    options: LoadOptions,
}

impl Knowledge {
    fn current(&mut self) -> &mut BTreeMap<i64, Pair> {
        if self.histories.is_empty() {
            self.histories.push(BTreeMap::new());
        }
        self.histories.last_mut().expect("just made")
    }

    /// Where the next record goes.
    fn end(&mut self, log: &PartitionLog) -> i64 {
        let end = self.current().last_key_value().map_or(0, |(offset, _)| offset + 1);
        end.max(log.end_offset())
    }
}

#[derive(Debug)]
struct Stopped;

impl From<LogError> for Stopped {
    fn from(error: LogError) -> Stopped {
        assert!(matches!(error, LogError::Io { .. }), "only the power goes: {error}");
        Stopped
    }
}

impl From<AppendError> for Stopped {
    fn from(error: AppendError) -> Stopped {
        match error {
            AppendError::Storage(error) => error.into(),
            error => panic!("a good batch was refused: {error}"),
        }
    }
}

impl From<ReadError> for Stopped {
    fn from(error: ReadError) -> Stopped {
        match error {
            ReadError::Storage(error) => error.into(),
            error => panic!("within the log: {error}"),
        }
    }
}

/// Goes on from what is on disk.
fn run(disk: &SimDisk, seed: u64, compact: bool, known: &mut Knowledge) -> Result<(), Stopped> {
    let mut random = Random::new(seed);
    let (log, _) = PartitionLog::open(folder(disk), partition(), config(compact), &known.options, NOW)?;
    let mut epoch = log.latest_epoch().unwrap_or(0);
    let mut shared = Mutex::new(log);
    let mut cleaned_to = 0;
    for step in 0..STEPS {
        let log = shared.get_mut().expect("nobody panicked");
        match random.below(20) {
            0..=9 => {
                let (records, pairs) = batch(&mut random, step);
                let base = known.end(log);
                known.bases.push(base);
                // Before the write: what comes half may be there or not.
                known.current().extend((base..).zip(pairs));
                let info = log.append_as_leader(records, epoch, NOW, AppendOrigin::Client)?;
                assert_eq!(info.base_offset, base);
            }
            10..=13 => {
                let job = log.flush_job();
                let flushed = job.run()?;
                log.flushed(flushed, NOW);
                let up_to = flushed.up_to;
                known.durable = up_to;
                known.options.recovery_point = up_to;
                known.options.high_watermark = up_to;
                let current = known.histories.pop();
                known.histories = current.into_iter().collect();
                let end = log.end_offset();
                log.set_high_watermark(end);
            }
            14 => log.roll(NOW)?,
            15 | 16 if !compact => {
                let (start, end) = (log.log_start_offset(), known.end(log));
                let mut places: Vec<i64> =
                    known.bases.iter().copied().filter(|base| (start..end).contains(base)).collect();
                places.push(end);
                let to = places[random.below(places.len() as u64) as usize];
                let kept =
                    known.current().range(..to).map(|(offset, pair)| (*offset, pair.clone())).collect();
                known.histories.push(kept);
                known.durable = known.durable.min(to);
                known.options.recovery_point = known.options.recovery_point.min(to);
                known.options.high_watermark = known.options.high_watermark.min(to);
                epoch += 1;
                log.truncate_to(to, NOW)?;
                known.bases.retain(|base| *base < to);
            }
            15 | 16 => {
                // Everybody in sync has it, and perhaps nobody on the disk.
                let end = log.end_offset();
                log.set_high_watermark(end);
            }
            17 if !compact => {
                log.apply_retention(NOW)?;
                log.remove_retired(NOW)?;
                if random.coin() {
                    known.options.log_start_offset = log.log_start_offset();
                }
            }
            18 if compact => {
                let dirt = log.dirt(cleaned_to, NOW)?;
                if let Some(dirt) = dirt {
                    let plan = log.cleaning_plan(dirt);
                    let lock = || Ok(shared.lock().expect("nobody panicked"));
                    let flush = || {
                        let flushed = lock()?.flush_job().run()?;
                        lock()?.flushed(flushed, NOW);
                        Ok(())
                    };
                    if let Some(cleaned) = plan.run(1 << 16, NOW, lock, flush)? {
                        cleaned_to = cleaned.end_offset;
                        known.options.cleaned_to = cleaned_to;
                    }
                    shared.get_mut().expect("nobody panicked").remove_retired(NOW)?;
                }
            }
            _ => {
                let from = log.log_start_offset();
                let up_to = log.end_offset();
                drop(read(log, from, up_to)?);
            }
        }
        shared.get_mut().expect("nobody panicked").check_invariants();
    }
    Ok(())
}

fn batch(random: &mut Random, step: u64) -> (bytes::Bytes, Vec<Pair>) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let mut pairs = Vec::new();
    for _ in 0..=random.below(3) {
        let key = random.below(8);
        let mut value = step.to_be_bytes().to_vec();
        value.extend((0..random.below(700)).map(|_| random.next_u64() as u8));
        builder.push(NOW + step as i64, Some(&key.to_be_bytes()), Some(&value));
        pairs.push((key, value));
    }
    (builder.build().expect("built"), pairs)
}

fn read(log: &mut PartitionLog, mut from: i64, up_to: i64) -> Result<BTreeMap<i64, Pair>, Stopped> {
    let mut found = BTreeMap::new();
    while let Some(range) = log.read(from, 1, up_to, true)? {
        for batch in batches(range.verify()?.read()?) {
            let batch = batch.expect("whole");
            for record in batch.records(1 << 20).expect("readable") {
                let record = record.expect("good");
                let key = record
                    .key
                    .expect("a key")
                    .as_ref()
                    .try_into()
                    .map(u64::from_be_bytes)
                    .expect("eight bytes");
                found.insert(record.offset, (key, record.value.expect("a value").to_vec()));
            }
            from = batch.header().next_offset();
        }
    }
    Ok(found)
}

/// Opens what a stop left and compares it with what is known; returns what is known then.
fn check(disk: &SimDisk, compact: bool, mut known: Knowledge, what: &str) -> Knowledge {
    let opened = PartitionLog::open(folder(disk), partition(), config(compact), &known.options, NOW);
    let (mut log, _) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
    log.check_invariants();
    let (start, end) = (log.log_start_offset(), log.end_offset());
    assert!(end >= known.durable, "{what}: {} were durable, and it ends at {end}", known.durable);
    let found = read(&mut log, start, end).expect("no more stops");
    known.current();
    let fits = |history: &BTreeMap<i64, Pair>| {
        let part: BTreeMap<i64, Pair> =
            history.range(start..end).map(|(o, pair)| (*o, pair.clone())).collect();
        if !compact {
            return found == part;
        }
        // Nothing is there that never was, and up to where it ends the newest record of each key.
        let newest = |of: &BTreeMap<i64, Pair>| -> BTreeMap<u64, i64> {
            of.iter().map(|(offset, (key, _))| (*key, *offset)).collect()
        };
        found.iter().all(|(offset, pair)| part.get(offset) == Some(pair)) && newest(&found) == newest(&part)
    };
    let history = known.histories.iter().find(|history| fits(history)).cloned();
    let mut history =
        history.unwrap_or_else(|| panic!("{what}: it holds {start}..{end}, {:?}", found.keys()));
    history.retain(|offset, _| *offset < end && (!compact || found.contains_key(offset)));
    known.histories = vec![history];
    known.bases.retain(|base| *base < end);
    known.options.log_start_offset = known.options.log_start_offset.max(start);
    known
}

fn every_effect(seed: u64, compact: bool) {
    let effects = {
        let disk = SimDisk::new();
        run(&disk, seed, compact, &mut Knowledge::default()).expect("nothing goes wrong");
        disk.effects()
    };
    assert!(effects > 100, "{effects} effects");
    for stop in 0..effects {
        let disk = SimDisk::new();
        disk.stop_at(stop);
        let mut known = Knowledge::default();
        // An index that cannot be written is no reason to refuse records, so the stop may go unnoticed for a while.
        let _ = run(&disk, seed, compact, &mut known);
        assert!(disk.is_stopped());
        for (kind, mut after) in [("kill", disk.after_kill()), ("power cut", disk.after_power_cut(stop))] {
            let what = format!("{kind} at effect {stop} of seed {seed}");
            let mut known = check(&after, compact, known.clone(), &what);
            // It goes on, stops once more, and is still right.
            after = after.fork();
            after.stop_at(after.effects() + 15 + stop % 30);
            let _ = run(&after, seed + 1, compact, &mut known);
            check(&after.after_power_cut(stop + 1), compact, known, &format!("{what}, and again"));
        }
    }
}

#[test]
fn a_crash_at_every_effect_loses_nothing_durable() {
    for seed in 0..6 {
        every_effect(seed, false);
    }
}

#[test]
fn a_crash_at_every_effect_of_a_compacted_log_loses_nothing_durable() {
    for seed in 100..104 {
        every_effect(seed, true);
    }
}

/// A segment's indexes are synced; then its end is taken back and written anew, and it is finished right after a sync.
fn finished_after_its_sync(disk: &SimDisk, seed: u64) -> LoadOptions {
    let opened = PartitionLog::open(folder(disk), partition(), config(false), &LoadOptions::default(), NOW);
    let (mut log, _) = opened.expect("new");
    let mut random = Random::new(seed);
    let mut append = |log: &mut PartitionLog, count| {
        for step in 0..count {
            let (records, _) = batch(&mut random, step);
            log.append_as_leader(records, 0, NOW, AppendOrigin::Client).expect("appended");
        }
    };
    let flush = |log: &mut PartitionLog| {
        let flushed = log.flush_job().run().expect("synced");
        log.flushed(flushed, NOW);
    };
    append(&mut log, 1);
    let kept = log.end_offset();
    append(&mut log, 3);
    log.roll(NOW).expect("rolled");
    append(&mut log, 1);
    flush(&mut log);
    log.truncate_to(kept, NOW).expect("truncated");
    append(&mut log, 3);
    flush(&mut log);
    log.roll(NOW).expect("rolled");
    append(&mut log, 1);
    flush(&mut log);
    let end = log.end_offset();
    LoadOptions { recovery_point: end, high_watermark: end, ..LoadOptions::default() }
}

#[test]
fn a_segment_that_was_synced_before_it_was_finished_keeps_its_indexes() {
    for seed in 0..40 {
        let disk = SimDisk::new();
        let options = finished_after_its_sync(&disk, seed);
        for cut in 0..20 {
            let disk = disk.after_power_cut(cut);
            let opened = PartitionLog::open(folder(&disk), partition(), config(false), &options, NOW);
            let (mut log, _) = opened.expect("all of it was synced");
            for from in 0..options.recovery_point {
                let found = read(&mut log, from, options.recovery_point).expect("the power stays");
                let offsets = found.range(from..).map(|(offset, _)| *offset);
                assert!(offsets.eq(from..options.recovery_point), "seed {seed}, cut {cut}, from {from}");
            }
        }
    }
}

#[test]
fn a_partition_is_made_without_a_sync_and_lasts_from_its_first_one_on() {
    let id = TopicId([7; 16]);
    let make = |disk: &SimDisk| -> Result<i64, Stopped> {
        let mut log = PartitionLog::create(folder(disk), partition(), config(false), NOW)?;
        log.set_topic_id(id)?;
        log.assign_epoch(3)?;
        let (records, _) = batch(&mut Random::new(1), 0);
        log.append_as_leader(records, 3, NOW, AppendOrigin::Client)?;
        Ok(log.flush_job().run()?.up_to)
    };
    let disk = SimDisk::new();
    make(&disk).expect("nothing goes wrong");
    for stop in 0..=disk.effects() {
        let disk = SimDisk::new();
        disk.stop_at(stop);
        let durable = make(&disk).unwrap_or(0);
        for cut in 0..50 {
            let options = LoadOptions { recovery_point: durable, ..LoadOptions::default() };
            let opened = PartitionLog::open(
                folder(&disk.after_power_cut(cut)),
                partition(),
                config(false),
                &options,
                NOW,
            );
            let (mut log, _) = opened.unwrap_or_else(|error| panic!("stop {stop}, cut {cut}: {error}"));
            if durable > 0 {
                assert_eq!((log.topic_id(), log.latest_epoch()), (Some(id), Some(3)), "cut {cut}");
                assert_eq!(log.end_offset(), durable);
            }
            log.set_topic_id(id).expect("the power stays");
            assert_eq!(log.topic_id(), Some(id));
        }
    }
}
