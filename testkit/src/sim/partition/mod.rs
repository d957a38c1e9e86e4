//! One partition, its producers and a consumer, on a machine that stops in the middle of anything.
//!
//! The real log on a simulated disk, under the real [`Leadership`]. Idempotent producers keep up to five batches under way
//! over connections that break: what was on the way may still arrive, late, beside what the producer sends again. The
//! process is killed, or the machine loses its power, between any two effects on the disk; segments roll, old ones go,
//! and another epoch of leadership begins whenever the log is opened.
//!
//! A seed lives twice: at the end nothing goes wrong any more, and everything that was sent must get its acknowledgement.

mod ledger;
mod producer;

use std::collections::VecDeque;
use std::sync::Arc;

use broker::cluster::PartitionState;
use broker::log::{
    AppendError, AppendOrigin, CleanupPolicy, Folder, LoadOptions, PartitionLog, ReadError, TopicConfig,
    TopicPartition,
};
use broker::partition::Leadership;
use client::wire::kafka::batch::batches;

use self::ledger::Ledger;
use self::producer::{Producer, Sent};
use super::disk::SimDisk;
use super::life::{Mistakes, Outcome, broken_in};
use super::random::Random;
use super::trace::{Detail, Trace};
use crate::check::service::{Violation, violation};

/// A mistake built into the world, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// P15: a log that is opened knows nothing of its producers.
    #[cfg(feature = "planted")]
    ProducersForgotten,
    /// Records are acknowledged before they are on the disk, and the power goes.
    AckBeforeSync,
}

impl Mistakes for Planted {
    const ALL: &[(&str, Planted)] = &[
        #[cfg(feature = "planted")]
        ("p15-producers-forgotten", Planted::ProducersForgotten),
        ("ack-before-sync", Planted::AckBeforeSync),
    ];
}

/// What the seed draws before anything happens.
#[derive(Debug, Clone)]
pub struct Configuration {
    producers: usize,
    steps: u64,
    segment_bytes: u64,
    retention_bytes: Option<u64>,
    /// The topic has `flush.before.ack`, and the power may go. Otherwise processes are killed at worst.
    durable: bool,
    /// One step in so many is a fault.
    fault: u64,
}

impl Configuration {
    fn draw(random: &mut Random) -> Configuration {
        Configuration {
            producers: random.between(1, 4) as usize,
            steps: random.one_of(&[200, 800, 2000]),
            segment_bytes: random.one_of(&[1500, 4000, 20_000]),
            retention_bytes: random.one_of(&[None, None, Some(6000), Some(30_000)]),
            durable: random.coin(),
            fault: random.one_of(&[20, 60, 200]),
        }
    }
}

const ME: i32 = 1;
const NOW: i64 = 1_700_000_000_000;

/// The world.
#[derive(Debug)]
pub struct World {
    planted: Option<Planted>,
    configuration: Configuration,
    random: Random,
    faults: Random,
    disk: SimDisk,
    log: PartitionLog,
    leadership: Leadership,
    /// As the checkpoint files have it.
    options: LoadOptions,
    producers: Vec<Producer>,
    /// Appended, and to be acknowledged once it is on the disk.
    unsynced: VecDeque<(usize, Sent, i64, i64)>,
    /// Where the consumer is.
    position: i64,
    ledger: Ledger,
    events: u64,
    trace: Trace,
}

/// The machine stopped in the middle of something.
struct Stopped;

fn topic(configuration: &Configuration) -> Arc<TopicConfig> {
    Arc::new(TopicConfig {
        segment_bytes: configuration.segment_bytes,
        retention_bytes: configuration.retention_bytes,
        retention_ms: None,
        index_interval_bytes: 300,
        file_delete_delay_ms: 0,
        flush_before_ack: configuration.durable,
        cleanup_policy: CleanupPolicy { delete: true, compact: false },
        ..TopicConfig::default()
    })
}

fn open(
    disk: &SimDisk,
    configuration: &Configuration,
    options: &LoadOptions,
    epoch: i32,
) -> Result<(PartitionLog, Leadership), Violation> {
    let folder = Folder::new(Arc::new(disk.clone()), "t-0");
    let name = TopicPartition { topic: "t".into(), partition: 0 };
    let opened = PartitionLog::open(folder, name, topic(configuration), options, NOW);
    let (mut log, _) = opened.or_else(|error| violation("B12", format!("the log does not open: {error}")))?;
    log.check_invariants();
    let state = PartitionState {
        controller_epoch: 1,
        leader: ME,
        leader_epoch: epoch,
        isr: vec![ME],
        is_recovering: false,
        version: epoch,
    };
    let leadership = Leadership::new(ME, state, log.end_offset(), log.high_watermark());
    log.set_high_watermark(leadership.high_watermark());
    Ok((log, leadership))
}

impl World {
    /// Runs a seed from beginning to end.
    pub fn run(seed: u64, planted: Option<Planted>, detail: Detail) -> Outcome<Configuration> {
        #[cfg(feature = "planted")]
        broker::planted::plant(
            (planted == Some(Planted::ProducersForgotten))
                .then_some(broker::planted::Mistake::ProducersForgotten),
        );
        let mut world = World::new(seed, planted, detail);
        let violation = broken_in(|| world.live());
        let World { configuration, events, trace, .. } = world;
        Outcome { violation, configuration, events, time_us: 0, trace }
    }

    fn new(seed: u64, planted: Option<Planted>, detail: Detail) -> World {
        let mut configuration = Configuration::draw(&mut Random::stream(seed, 1));
        if planted == Some(Planted::AckBeforeSync) {
            configuration.durable = true;
        }
        let disk = SimDisk::new();
        let options = LoadOptions::default();
        let (log, leadership) = open(&disk, &configuration, &options, 0).expect("an empty disk opens");
        World {
            planted,
            random: Random::stream(seed, 2),
            faults: Random::stream(seed, 3),
            producers: (0..configuration.producers).map(Producer::new).collect(),
            disk,
            log,
            leadership,
            options,
            unsynced: VecDeque::new(),
            position: 0,
            ledger: Ledger::default(),
            events: 0,
            trace: Trace::new(detail),
            configuration,
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        for _ in 0..self.configuration.steps {
            self.step(true)?;
        }
        // From now on everything goes well.
        if self.disk.is_stopped() {
            self.restart()?;
        }
        self.disk.stop_at(u64::MAX);
        for producer in 0..self.producers.len() {
            self.producers[producer].reconnect(false);
            self.producers[producer].finish();
        }
        for _ in 0..20_000 {
            if self.producers.iter().all(Producer::is_done) {
                break;
            }
            self.step(false)?;
        }
        if let Some(waiting) = self.producers.iter().find(|producer| !producer.is_done()) {
            return violation("B14", format!("a producer waits for ever: {waiting:?}"));
        }
        self.position = self.log.log_start_offset();
        while self.read()? {}
        self.ledger.compare(self.log.log_start_offset(), self.log.end_offset())
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let count = self.events;
        self.trace.line(|| format!("{count:>6} {}", line()));
    }

    fn step(&mut self, faults: bool) -> Result<(), Violation> {
        self.events += 1;
        if faults && self.faults.one_in(self.configuration.fault) {
            self.fault()?;
        }
        let producer = self.random.below(self.producers.len() as u64) as usize;
        let done = match self.random.below(16) {
            0..=4 => {
                if let Some(sent) = self.producers[producer].send(&mut self.random) {
                    self.note(|| format!("producer {producer} sends {sent:?}"));
                }
                Ok(())
            }
            5..=9 => self.serve(producer)?,
            10 | 11 => self.sync()?,
            12 | 13 => self.read().map(|_| Ok(()))?,
            14 => self.log.roll(NOW).map_err(|_| Stopped),
            _ => match self.sync()? {
                // A broker has finished segments synced long before they are old.
                Ok(()) => self.keep_house(),
                stopped => stopped,
            },
        };
        self.log.check_invariants();
        self.ledger.watermark(self.leadership.high_watermark(), self.log.end_offset())?;
        self.trace.fold(self.log.end_offset() as u64);
        match done {
            Err(Stopped) if !self.disk.is_stopped() => violation("B12", "the log failed on a good disk"),
            _ if self.disk.is_stopped() => self.restart(),
            _ => Ok(()),
        }
    }

    /// The broker handles what comes next on one of a producer's connections.
    fn serve(&mut self, producer: usize) -> Result<Result<(), Stopped>, Violation> {
        let Some((sent, is_current)) = self.producers[producer].arrives(&mut self.random) else {
            return Ok(Ok(()));
        };
        let batch = self.producers[producer].batch(&sent);
        let epoch = self.leadership.state().leader_epoch;
        match self.log.append_as_leader(batch, epoch, NOW, AppendOrigin::Client) {
            Ok(info) => {
                let end = self.log.end_offset();
                if self.leadership.advance(end) {
                    self.log.set_high_watermark(self.leadership.high_watermark());
                }
                let (offset, duplicate) = (info.base_offset, info.is_duplicate);
                self.note(|| format!("producer {producer}: {sent:?} at {offset}, duplicate: {duplicate}"));
                if duplicate {
                    self.trace.mark("a duplicate was recognised");
                }
                self.ledger.appended(producer, &sent, info.base_offset, info.is_duplicate, epoch)?;
                if is_current {
                    // A duplicate may not be on the disk yet, either.
                    self.unsynced.push_back((producer, sent, info.base_offset, info.last_offset + 1));
                    if !self.configuration.durable || self.planted == Some(Planted::AckBeforeSync) {
                        self.acknowledge(i64::MAX)?;
                    }
                }
                Ok(Ok(()))
            }
            Err(AppendError::Storage(_)) => Ok(Err(Stopped)),
            Err(error) if is_current => {
                violation("B7", format!("producer {producer} sent {sent:?} in order, and hears: {error}"))
            }
            Err(_) => {
                self.trace.mark("what came late was refused");
                Ok(Ok(()))
            }
        }
    }

    fn sync(&mut self) -> Result<Result<(), Stopped>, Violation> {
        let Ok(flushed) = self.log.flush_job().run() else { return Ok(Err(Stopped)) };
        self.log.flushed(flushed, NOW);
        self.ledger.synced(flushed.up_to);
        self.acknowledge(flushed.up_to).map(Ok)
    }

    /// Whoever waits for what lies before this offset is told.
    fn acknowledge(&mut self, up_to: i64) -> Result<(), Violation> {
        while let Some((producer, sent, offset, _)) =
            self.unsynced.pop_front_if(|(_, _, _, end)| *end <= up_to)
        {
            self.ledger.acknowledged(producer, &sent, offset)?;
            if self.random.one_in(30) {
                // The answer is lost with its connection.
                self.trace.fault("answer lost");
                self.producers[producer].reconnect(self.random.coin());
                self.unsynced.retain(|(of, ..)| *of != producer);
            } else {
                self.producers[producer].hears(&sent);
            }
        }
        Ok(())
    }

    /// The consumer reads on. Whether there was anything.
    fn read(&mut self) -> Result<bool, Violation> {
        let up_to = self.leadership.high_watermark();
        let found = match self.log.read(self.position, 2000, up_to, true) {
            Ok(found) => found,
            Err(ReadError::OutOfRange { start, .. }) if self.position < start => {
                // Old records are gone; clients begin at the first that is left.
                self.position = start;
                return Ok(true);
            }
            Err(ReadError::OutOfRange { end, .. }) if self.position > end && self.ledger.lost() => {
                self.position = end;
                return Ok(true);
            }
            Err(error) => return violation("B10", format!("reading at {}: {error}", self.position)),
        };
        let Some(range) = found else { return Ok(false) };
        let bytes = range.verify().and_then(|range| range.read());
        let bytes =
            bytes.or_else(|error| violation("B10", format!("reading at {}: {error}", self.position)))?;
        let from = self.position;
        for batch in batches(bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                // As in a fetch, the last one may be cut off, but not the first.
                Err(_) if self.position > from => break,
                Err(error) => return violation("B10", format!("a batch at {from} cannot be read: {error}")),
            };
            self.ledger.read(&batch, self.leadership.high_watermark())?;
            self.position = batch.header().next_offset();
        }
        Ok(true)
    }

    /// Old segments go, and the checkpoints are written.
    fn keep_house(&mut self) -> Result<(), Stopped> {
        self.log.apply_retention(NOW).map_err(|_| Stopped)?;
        self.log.remove_retired(NOW).map_err(|_| Stopped)?;
        self.options.log_start_offset = self.log.log_start_offset();
        self.options.recovery_point = self.log.recovery_point();
        // What is on the disk of the checkpoint need not be what is on the disk of the log.
        self.options.high_watermark = self.log.high_watermark().min(self.log.recovery_point());
        Ok(())
    }

    fn fault(&mut self) -> Result<(), Violation> {
        match self.faults.below(3) {
            0 => {
                self.trace.fault("cut");
                let producer = self.faults.below(self.producers.len() as u64) as usize;
                let late = self.faults.coin();
                self.note(|| format!("producer {producer} is cut off, late: {late}"));
                self.producers[producer].reconnect(late);
                self.unsynced.retain(|(of, ..)| *of != producer);
                Ok(())
            }
            1 => {
                self.trace.fault("stop in the middle");
                self.disk.stop_at(self.disk.effects() + self.faults.below(30));
                Ok(())
            }
            _ => self.restart(),
        }
    }

    /// The process ends at once, perhaps with the machine, and begins anew.
    fn restart(&mut self) -> Result<(), Violation> {
        let power = self.configuration.durable && self.faults.coin();
        self.trace.fault(if power { "power cut" } else { "kill" });
        self.note(|| format!("the process ends, power cut: {power}"));
        self.disk =
            if power { self.disk.after_power_cut(self.faults.next_u64()) } else { self.disk.after_kill() };
        self.disk = self.disk.fork();
        let epoch = self.leadership.state().leader_epoch + 1;
        (self.log, self.leadership) = open(&self.disk, &self.configuration, &self.options, epoch)?;
        self.unsynced.clear();
        self.producers.iter_mut().for_each(Producer::loses_all_connections);
        let (start, end) = (self.log.log_start_offset(), self.log.end_offset());
        self.note(|| format!("the log holds {start} to {end}"));
        self.ledger.reopened(start, end, power)?;
        // What was being written when everything stopped may be there or not; from now on it is known.
        let position = std::mem::replace(&mut self.position, start);
        while self.read()? {}
        self.position = position.min(end);
        Ok(())
    }
}
