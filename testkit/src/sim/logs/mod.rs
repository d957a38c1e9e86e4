//! Compacted logs in two data directories, on a machine that stops in the middle of anything.
//!
//! The real [`LogManager`] over two simulated disks. Keys are written and deleted; the watermark follows at its own pace,
//! and so do syncs; logs are cleaned, and moved from one directory to the other; the process is killed, or the machine
//! loses its power, between any two effects on a disk, also while it starts. A model knows every record that was ever
//! appended, and says which of them may be gone.
//!
//! At the end nothing goes wrong any more: every move must end, and after enough cleanings of each key its newest record
//! must be left, and nothing else.

mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::log::{
    AppendOrigin, CleanupPolicy, Intervals, LogDir, LogManager, PartitionLog, SharedLog, TopicConfig,
    TopicPartition,
};
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, batches};

use self::model::{Model, Pair};
use super::disk::SimDisk;
use super::life::{Mistakes, Outcome, broken_in};
use super::random::Random;
use super::trace::{Detail, Trace};
use crate::check::service::{Violation, violation};

/// A mistake built into the world, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A cleaning looks at what is not replicated yet.
    #[cfg(feature = "planted")]
    CleaningPastWatermark,
    /// A cleaning takes away what says that a key was deleted, however lately that was.
    #[cfg(feature = "planted")]
    TombstonesAtOnce,
    /// A log is moved without a note of where it was before.
    #[cfg(feature = "planted")]
    MoveUnnoted,
    /// A cleaning drops records for newer ones that are not on the disk yet.
    #[cfg(feature = "planted")]
    UnsyncedCleaning,
}

impl Mistakes for Planted {
    const ALL: &[(&str, Planted)] = &[
        #[cfg(feature = "planted")]
        ("cleaning-past-watermark", Planted::CleaningPastWatermark),
        #[cfg(feature = "planted")]
        ("tombstones-at-once", Planted::TombstonesAtOnce),
        #[cfg(feature = "planted")]
        ("move-unnoted", Planted::MoveUnnoted),
        #[cfg(feature = "planted")]
        ("unsynced-cleaning", Planted::UnsyncedCleaning),
    ];
}

fn plant(_planted: Option<Planted>) {
    #[cfg(feature = "planted")]
    broker::planted::plant(_planted.map(|planted| match planted {
        Planted::CleaningPastWatermark => broker::planted::Mistake::CleaningPastWatermark,
        Planted::TombstonesAtOnce => broker::planted::Mistake::TombstonesAtOnce,
        Planted::MoveUnnoted => broker::planted::Mistake::MoveUnnoted,
        Planted::UnsyncedCleaning => broker::planted::Mistake::UnsyncedCleaning,
    }));
}

/// What the seed draws before anything happens.
#[derive(Debug, Clone)]
pub struct Configuration {
    partitions: u64,
    keys: u64,
    steps: u64,
    segment_bytes: u64,
    delete_retention_ms: i64,
    min_cleanable_dirty_ratio: f64,
    /// What a cleaning may remember keys in.
    dedupe_bytes: usize,
    /// How long a step takes at most.
    pace_ms: u64,
    /// One step in so many is a fault.
    fault: u64,
}

impl Configuration {
    fn draw(random: &mut Random) -> Configuration {
        Configuration {
            partitions: random.between(1, 2),
            keys: random.one_of(&[2, 5, 20]),
            steps: random.one_of(&[100, 400, 800]),
            segment_bytes: random.one_of(&[1000, 2000, 6000]),
            delete_retention_ms: random.one_of(&[0, 2000, 30_000]),
            min_cleanable_dirty_ratio: random.one_of(&[0.0, 0.4]),
            dedupe_bytes: random.one_of(&[1 << 16, 24 * 8]),
            pace_ms: random.one_of(&[20, 500]),
            fault: random.one_of(&[15, 40, 150]),
        }
    }

    fn topic(&self) -> Arc<TopicConfig> {
        Arc::new(TopicConfig {
            cleanup_policy: CleanupPolicy { delete: false, compact: true },
            segment_bytes: self.segment_bytes,
            index_interval_bytes: 300,
            delete_retention_ms: self.delete_retention_ms,
            min_cleanable_dirty_ratio: self.min_cleanable_dirty_ratio,
            max_compaction_lag_ms: COMPACTION_LAG_MS_MAX,
            file_delete_delay_ms: 0,
            ..TopicConfig::default()
        })
    }
}

const START_MS: i64 = 1_700_000_000_000;
const COMPACTION_LAG_MS_MAX: i64 = 100_000;
const PATHS: [&str; 2] = ["/sim/a", "/sim/b"];
/// How far ahead a stop is planned at most, in effects.
const STOP_WITHIN: u64 = 40;
/// The key of records that are only there to be cleaned.
const FILLER: u64 = u64::MAX;

/// The world.
#[derive(Debug)]
pub struct World {
    configuration: Configuration,
    random: Random,
    faults: Random,
    /// Each data directory has a disk of its own. Directories are opened side by side, and what one does must not move
    /// the other's faults.
    disks: [SimDisk; 2],
    manager: LogManager,
    models: Vec<Model>,
    now_ms: i64,
    /// A leader's, one for each start.
    epoch: i32,
    /// Whether the power went since everything was last looked at.
    lost_power: bool,
    /// The last value that was written.
    value: u64,
    events: u64,
    trace: Trace,
}

/// Why something was not done.
enum Trouble {
    /// A log or a disk says this; if none of the disks has stopped, it is wrong.
    Failed(String),
    Broken(Violation),
}

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Trouble {
        Trouble::Failed(error.to_string())
    }
}

impl From<Violation> for Trouble {
    fn from(violation: Violation) -> Trouble {
        Trouble::Broken(violation)
    }
}

fn failed<T>(why: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Failed(why.into()))
}

fn name(partition: usize) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: partition as i32 }
}

fn open(disks: &[SimDisk; 2], topic: &Arc<TopicConfig>, now_ms: i64) -> Result<LogManager, Violation> {
    let dirs = disks.iter().map(|disk| LogDir::new(Arc::new(disk.clone()))).collect();
    // A watermark that outlives records says that replicas had them, and here there are none.
    let intervals = Intervals { high_watermark_ms: i64::MAX, ..Intervals::default() };
    let opened = LogManager::open(dirs, &|_| Arc::clone(topic), 1, intervals, now_ms);
    opened.or_else(|error| violation("B12", format!("no directory opens: {error}")))
}

fn is_stopped(disks: &[SimDisk; 2]) -> bool {
    disks.iter().any(SimDisk::is_stopped)
}

impl World {
    /// Runs a seed from beginning to end.
    pub fn run(seed: u64, planted: Option<Planted>, detail: Detail) -> Outcome<Configuration> {
        plant(planted);
        let mut world = World::new(seed, detail);
        let violation = broken_in(|| world.live());
        plant(None);
        let World { configuration, events, trace, now_ms, .. } = world;
        Outcome { violation, configuration, events, time_us: (now_ms - START_MS) as u64 * 1000, trace }
    }

    fn new(seed: u64, detail: Detail) -> World {
        let configuration = Configuration::draw(&mut Random::stream(seed, 1));
        let disks = PATHS.map(SimDisk::at);
        World {
            random: Random::stream(seed, 2),
            faults: Random::stream(seed, 3),
            manager: open(&disks, &configuration.topic(), START_MS).expect("empty disks open"),
            disks,
            models: (0..configuration.partitions).map(|_| Model::default()).collect(),
            now_ms: START_MS,
            epoch: 0,
            lost_power: false,
            value: 0,
            events: 0,
            trace: Trace::new(detail),
            configuration,
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        for partition in 0..self.models.len() {
            let topic = self.configuration.topic();
            let made = self.manager.get_or_create(&name(partition), topic, self.now_ms);
            made.expect("nothing goes wrong yet");
            // A partition without records may be lost, for it is made anew.
            let done = self.append(partition).and_then(|()| self.flush(partition));
            self.judge(done)?;
        }
        for _ in 0..self.configuration.steps {
            self.step()?;
        }
        // From now on everything goes well.
        if is_stopped(&self.disks) {
            self.restart(true)?;
        }
        self.disks.iter().for_each(|disk| disk.stop_at(u64::MAX));
        self.settle()
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let count = self.events;
        self.trace.line(|| format!("{count:>6} {}", line()));
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.events += 1;
        self.now_ms += self.random.below(self.configuration.pace_ms) as i64;
        if self.faults.one_in(self.configuration.fault) {
            self.fault()?;
        }
        let partition = self.random.below(self.configuration.partitions) as usize;
        let done = match self.random.below(20) {
            0..=6 => self.append(partition),
            7 | 8 => self.replicate(partition),
            9 => self.flush(partition),
            10 | 11 => self.roll(partition),
            12..=14 => self.clean(),
            15 => self.begin_move(partition),
            16 | 17 => self.advance_moves(),
            18 => {
                self.manager.tick(self.now_ms);
                self.note(|| "house is kept".into());
                Ok(())
            }
            _ => self.look(partition),
        };
        self.judge(done)
    }

    /// Only a disk that stopped is a reason to fail; then everything ends, and begins anew.
    fn judge(&mut self, done: Result<(), Trouble>) -> Result<(), Violation> {
        for partition in 0..self.models.len() {
            self.trace.fold(self.models[partition].end as u64);
        }
        match done {
            Err(Trouble::Broken(violation)) => Err(violation),
            _ if is_stopped(&self.disks) => self.restart(false),
            Err(Trouble::Failed(why)) => violation("B12", format!("it failed on good disks: {why}")),
            Ok(()) => Ok(()),
        }
    }

    fn log(&self, partition: usize) -> Result<Arc<SharedLog>, Trouble> {
        self.manager
            .get(&name(partition))
            .map_or_else(|| failed(format!("partition {partition} is gone")), Ok)
    }

    fn append(&mut self, partition: usize) -> Result<(), Trouble> {
        let mut pairs = Vec::new();
        for _ in 0..self.random.between(1, 3) {
            self.value += 1;
            let value = if self.random.one_in(5) { None } else { Some(self.value) };
            pairs.push((self.random.below(self.configuration.keys), value));
        }
        self.append_pairs(partition, &pairs)
    }

    fn append_pairs(&mut self, partition: usize, pairs: &[Pair]) -> Result<(), Trouble> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let padding = self.random.below(200) as usize;
        for (key, value) in pairs {
            let value = value.map(|value| [&value.to_be_bytes()[..], &vec![b'.'; padding]].concat());
            builder.push(self.now_ms, Some(&key.to_be_bytes()), value.as_deref());
        }
        let records = builder.build()?;
        let log = self.log(partition)?;
        let model = &mut self.models[partition];
        // Before the write: what it is cut short in may be there or not.
        model.appends(pairs);
        let info = log.lock()?.append_as_leader(records, self.epoch, self.now_ms, AppendOrigin::Client)?;
        if info.base_offset != model.end {
            let (end, at) = (model.end, info.base_offset);
            return Ok(violation("B11", format!("the log ended at {end}, and a record got offset {at}"))?);
        }
        model.end += pairs.len() as i64;
        self.note(|| format!("{partition}: {pairs:?} at {}", info.base_offset));
        Ok(())
    }

    /// The watermark moves on.
    fn replicate(&mut self, partition: usize) -> Result<(), Trouble> {
        let model = &mut self.models[partition];
        model.watermark = self.random.between(model.watermark as u64, model.end as u64) as i64;
        let watermark = model.watermark;
        self.log(partition)?.lock()?.set_high_watermark(watermark);
        self.note(|| format!("{partition}: the watermark is {watermark}"));
        Ok(())
    }

    fn flush(&mut self, partition: usize) -> Result<(), Trouble> {
        self.log(partition)?.flush(self.now_ms)?;
        let model = &mut self.models[partition];
        model.durable = model.end;
        let durable = model.durable;
        self.note(|| format!("{partition}: synced up to {durable}"));
        Ok(())
    }

    fn roll(&mut self, partition: usize) -> Result<(), Trouble> {
        self.log(partition)?.lock()?.roll(self.now_ms)?;
        self.note(|| format!("{partition}: a new segment"));
        Ok(())
    }

    /// One of the logs is cleaned, if it is due; all are looked at then.
    fn clean(&mut self) -> Result<(), Trouble> {
        let before = self.sizes()?;
        for partition in 0..self.models.len() {
            let log = self.log(partition)?;
            let mut log = log.lock()?;
            let Some(dirt) = log.dirt(0, self.now_ms)? else { continue };
            self.models[partition].cleaning_sees(dirt.end, self.now_ms);
            if log.recovery_point() < dirt.end {
                self.trace.mark("a cleaning found what was not synced");
            }
        }
        let is_done = self.manager.clean_one(self.configuration.dedupe_bytes, self.now_ms);
        if is_stopped(&self.disks) {
            self.trace.mark("a cleaning met a disk that stopped");
            return failed("while it was cleaned");
        }
        let after = self.sizes()?;
        if after < before {
            self.trace.mark("a cleaning dropped records");
        }
        self.note(|| format!("a cleaning, of anything: {is_done}, {before} bytes become {after}"));
        (0..self.models.len()).try_for_each(|partition| self.look(partition))
    }

    fn sizes(&self) -> Result<u64, Trouble> {
        (0..self.models.len()).map(|partition| Ok(self.log(partition)?.lock()?.size())).sum()
    }

    fn begin_move(&mut self, partition: usize) -> Result<(), Trouble> {
        let path = PATHS[self.random.below(2) as usize];
        self.manager.move_to(&name(partition), path.as_ref(), self.now_ms)?;
        self.note(|| format!("{partition}: is to be in {path}"));
        Ok(())
    }

    fn advance_moves(&mut self) -> Result<(), Trouble> {
        let bytes = self.random.one_of(&[1, 1000, 1 << 20]);
        let before = self.manager.futures().len();
        let copied = self.manager.advance_moves(bytes, self.now_ms);
        if is_stopped(&self.disks) && before > 0 {
            self.trace.mark("a move was broken off by a stop");
            return failed("while it was moved");
        }
        self.trace.marks_of("a move ended", (before - self.manager.futures().len()) as u64);
        self.note(|| format!("{copied} bytes of {before} copies are copied"));
        Ok(())
    }

    /// A reader reads everything, and once more from somewhere.
    fn look(&mut self, partition: usize) -> Result<(), Trouble> {
        let log = self.log(partition)?;
        let mut log = log.lock()?;
        log.check_invariants();
        let model = &self.models[partition];
        let (start, end) = (log.log_start_offset(), log.end_offset());
        if (start, end) != (0, model.end) {
            return Ok(violation(
                "B11",
                format!("0 to {} were appended, and it holds {start} to {end}", model.end),
            )?);
        }
        let found = read(&mut log, 0, end)?;
        let forgotten = model.check(&found, self.now_ms, self.configuration.delete_retention_ms)?;
        self.trace.marks_of("a deleted key's last record was gone", forgotten as u64);
        let from = self.random.below(end as u64 + 1) as i64;
        let part = read(&mut log, from, end)?;
        if !part.range(from..).eq(found.range(from..)) {
            let offsets: Vec<&i64> = part.keys().collect();
            return Ok(violation("B10", format!("from {from} on there are {offsets:?}"))?);
        }
        Ok(())
    }

    fn fault(&mut self) -> Result<(), Violation> {
        match self.faults.below(4) {
            0 => self.restart(false),
            1 => {
                self.trace.fault("clean stop");
                self.note(|| "a clean stop".into());
                self.manager.close(1, self.now_ms);
                if !is_stopped(&self.disks) {
                    self.models.iter_mut().for_each(|model| model.durable = model.end);
                }
                self.restart(false)
            }
            _ => {
                self.trace.fault("stop in the middle");
                self.plan_stop();
                Ok(())
            }
        }
    }

    /// One of the disks stops soon.
    fn plan_stop(&mut self) {
        let disk = &self.disks[self.faults.below(2) as usize];
        disk.stop_at(disk.effects() + self.faults.below(STOP_WITHIN));
    }

    /// The process ends at once, perhaps with the machine, and begins anew; `healing`: nothing goes wrong meanwhile.
    fn restart(&mut self, healing: bool) -> Result<(), Violation> {
        loop {
            let power = self.faults.coin();
            self.lost_power |= power;
            self.trace.fault(if power { "power cut" } else { "kill" });
            self.note(|| format!("the process ends, power cut: {power}"));
            for disk in &mut self.disks {
                let after =
                    if power { disk.after_power_cut(self.faults.next_u64()) } else { disk.after_kill() };
                *disk = after.fork();
            }
            if !healing && self.faults.one_in(4) {
                self.trace.fault("stop in a start");
                self.plan_stop();
            }
            self.manager = match open(&self.disks, &self.configuration.topic(), self.now_ms) {
                Err(violation) if !is_stopped(&self.disks) => return Err(violation),
                Ok(manager) if !is_stopped(&self.disks) => manager,
                _ => continue,
            };
            break;
        }
        self.epoch += 1;
        if let Some((partition, refused)) = self.manager.refused().iter().next() {
            return violation("B12", format!("{partition} is refused: {}", refused.error));
        }
        match self.look_again() {
            Err(Trouble::Broken(violation)) => Err(violation),
            // A stop that was planned for the start came a little later.
            Err(Trouble::Failed(_)) if is_stopped(&self.disks) => self.restart(healing),
            Err(Trouble::Failed(why)) => violation("B12", format!("what was opened cannot be used: {why}")),
            Ok(()) => Ok(()),
        }
    }

    fn look_again(&mut self) -> Result<(), Trouble> {
        for partition in 0..self.models.len() {
            let shared = self.log(partition)?;
            let mut log = shared.lock()?;
            let (end, synced) = (log.end_offset(), log.recovery_point());
            let model = &mut self.models[partition];
            if model.reopened(end, self.lost_power)? > 0 {
                self.trace.mark("a power cut took records");
            }
            log.set_high_watermark(self.models[partition].watermark);
            log.assign_epoch(self.epoch)?;
            drop(log);
            let dir = shared.dir();
            self.note(|| {
                format!("{partition}: {} has it up to {end}, synced up to {synced}", dir.path().display())
            });
            self.look(partition)?;
        }
        self.lost_power = false;
        Ok(())
    }

    /// Nothing goes wrong any more: moves end, and cleanings leave nothing that could go.
    fn settle(&mut self) -> Result<(), Violation> {
        for _ in 0..1000 {
            self.manager.advance_moves(1 << 20, self.now_ms);
        }
        if !self.manager.futures().is_empty() {
            return violation("B14", "a partition moves for ever");
        }
        // In the first round deadlines are set, which are over in the second.
        for _ in 0..3 {
            for partition in 0..self.models.len() {
                self.value += 1;
                let filler = (FILLER, Some(self.value));
                let done = self.append_pairs(partition, &[filler]).and_then(|()| {
                    self.models[partition].watermark = self.models[partition].end;
                    self.log(partition)?.lock()?.set_high_watermark(i64::MAX);
                    self.roll(partition)
                });
                self.judge(done)?;
            }
            self.now_ms += self.configuration.delete_retention_ms + COMPACTION_LAG_MS_MAX + 1;
            while self.manager.clean_one(self.configuration.dedupe_bytes, self.now_ms) {}
        }
        for partition in 0..self.models.len() {
            let found = self.log(partition).and_then(|log| {
                let mut log = log.lock()?;
                let end = log.end_offset();
                read(&mut log, 0, end)
            });
            let newest = self.models[partition].newest();
            match found {
                Ok(found) if found == newest => {}
                Ok(found) => {
                    return violation(
                        "B11",
                        format!("{found:?} is left of partition {partition}, not {newest:?}"),
                    );
                }
                Err(_) => return violation("B12", format!("partition {partition} cannot be read")),
            }
        }
        Ok(())
    }
}

/// What a reader finds from an offset on.
fn read(log: &mut PartitionLog, mut from: i64, end: i64) -> Result<BTreeMap<i64, Pair>, Trouble> {
    let mut found = BTreeMap::new();
    while from < end
        && let Some(range) = log.read(from, 4000, end, true)?
    {
        let begun = from;
        for batch in batches(range.verify()?.read()?) {
            let batch = match batch {
                // As in a fetch, the last one may be cut off, but not the first.
                Err(_) if from > begun => break,
                batch => batch?,
            };
            for record in batch.records(1 << 20)? {
                let record = record?;
                let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?));
                let key = record.key.as_deref().and_then(number);
                let value = record.value.as_deref().map(number);
                let (Some(key), Some(value)) = (key, value.map_or(Some(None), |value| value.map(Some)))
                else {
                    return Ok(violation("B10", format!("offset {} is nobody's record", record.offset))?);
                };
                found.insert(record.offset, (key, value));
            }
            from = batch.header().next_offset();
        }
    }
    Ok(found)
}
