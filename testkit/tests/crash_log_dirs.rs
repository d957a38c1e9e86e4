//! The machine stops at every effect of moving a partition from one data directory to another. Whatever was reported as
//! durable must be there afterwards, once, and the move goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::log::disk::{DiskFile, Entry};
use broker::log::{
    AppendOrigin, Disk, Intervals, LogDir, LogManager, SharedLog, TopicConfig, TopicPartition,
};
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, batches};
use testkit::sim::disk::SimDisk;

const NOW: i64 = 1_000_000;
/// Appended before the move, and meanwhile.
const RECORDS: usize = 20;

/// One of several directories on the same simulated disk, which stop together.
#[derive(Debug)]
struct SubDisk {
    disk: SimDisk,
    name: &'static str,
    path: PathBuf,
}

impl SubDisk {
    fn at(&self, name: &str) -> String {
        if name.is_empty() { self.name.to_owned() } else { format!("{}/{name}", self.name) }
    }
}

impl Disk for SubDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        Disk::list(&self.disk, &self.at(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(&self.at(dir))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Disk::open(&self.disk, &self.at(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Disk::create(&self.disk, &self.at(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Disk::rename(&self.disk, &self.at(from), &self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Disk::remove(&self.disk, &self.at(name))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.remove_dir(&self.at(dir))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        Disk::sync_dir(&self.disk, &self.at(dir))
    }
}

fn name() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn config() -> Arc<TopicConfig> {
    Arc::new(TopicConfig { segment_bytes: 600, index_interval_bytes: 200, ..TopicConfig::default() })
}

/// `None`: the power went before everything was open.
fn start(disk: &SimDisk) -> Option<LogManager> {
    let dir = |name: &'static str| {
        LogDir::new(Arc::new(SubDisk { disk: disk.clone(), name, path: Path::new("/sim").join(name) }))
    };
    LogManager::open(vec![dir("a"), dir("b")], &|_| config(), 1, Intervals::default(), NOW).ok()
}

fn append(log: &SharedLog, number: usize) -> Option<()> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(NOW, None, Some(format!("value {number}").as_bytes()));
    let records = builder.build().expect("built");
    log.lock().ok()?.append_as_leader(records, 0, NOW, AppendOrigin::Client).ok().map(drop)
}

/// What somebody knows who watched from outside.
#[derive(Debug, Default)]
struct Knowledge {
    /// Records that were appended, or perhaps were.
    attempted: usize,
    /// Records that were reported durable.
    durable: usize,
    /// The place to move to was accepted.
    is_moving: bool,
}

/// Moves the partition from `a` to `b` while it is appended to; `None` if the power went.
fn run(disk: &SimDisk, known: &mut Knowledge) -> Option<()> {
    let manager = start(disk)?;
    // Both directories are as empty; the first gets it.
    let log = manager.get_or_create(&name(), config(), NOW).ok()?;
    for _ in 0..RECORDS {
        known.attempted += 1;
        append(&log, known.attempted - 1)?;
    }
    log.flush(NOW).ok()?;
    known.durable = known.attempted;
    manager.move_to(&name(), Path::new("/sim/b"), NOW).ok()?;
    known.is_moving = true;
    let mut steps = 0;
    while !manager.futures().is_empty() {
        manager.advance_moves(300, NOW);
        if steps < RECORDS {
            known.attempted += 1;
            append(&log, known.attempted - 1)?;
            if steps % 3 == 0 {
                log.flush(NOW).ok()?;
                known.durable = known.attempted;
            }
        }
        steps += 1;
        assert!(steps < 500, "it never catches up");
    }
    known.attempted += 1;
    append(&log, known.attempted - 1)?;
    log.flush(NOW).ok()?;
    known.durable = known.attempted;
    manager.tick(NOW);
    Some(())
}

fn values(log: &SharedLog) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let from = found.len() as i64;
        let range = log.lock().expect("online").read(from, 1, i64::MAX, true).expect("within the log");
        let Some(range) = range else { return found };
        for batch in batches(range.verify().expect("whole").read().expect("read")) {
            for record in batch.expect("whole").records(1 << 20).expect("readable") {
                let value = record.expect("readable").value.expect("a value");
                found.push(String::from_utf8(value.to_vec()).expect("text"));
            }
        }
    }
}

/// Starts again, and looks.
fn check(disk: &SimDisk, known: &Knowledge, case: &str) {
    let manager = start(disk).unwrap_or_else(|| panic!("{case}: nothing can be opened"));
    let refused: Vec<String> = manager.refused().values().map(|refused| refused.error.to_string()).collect();
    assert!(refused.is_empty(), "{case}: {refused:?}");
    if known.durable == 0 {
        // Of what nobody was promised any part may be there.
        return;
    }
    let log = manager.get(&name()).unwrap_or_else(|| panic!("{case}: the partition is gone"));
    assert_eq!(log.lock().expect("online").log_start_offset(), 0, "{case}: its beginning is gone");
    let found = values(&log);
    assert!((known.durable..=known.attempted).contains(&found.len()), "{case}: {} of {known:?}", found.len());
    for (number, value) in found.iter().enumerate() {
        assert_eq!(*value, format!("value {number}"), "{case}");
    }
    // Whatever was begun is brought to its end.
    append(&log, found.len()).expect("appended");
    for _ in 0..200 {
        manager.advance_moves(1 << 20, NOW);
    }
    assert!(manager.futures().is_empty(), "{case}: it moves for ever");
    assert_eq!(values(&log).len(), found.len() + 1, "{case}");
    if known.is_moving {
        assert_eq!(log.dir().path(), Path::new("/sim/b"), "{case}");
    }
    manager.tick(NOW);
    let folders: Vec<String> =
        disk.names().iter().filter_map(|name| Some(name.rsplit_once('/')?.0.to_owned())).collect();
    let mine = format!("{}/t-0", log.dir().path().file_name().expect("a name").to_string_lossy());
    let others: Vec<&String> =
        folders.iter().filter(|folder| folder.contains('/') && **folder != mine).collect();
    assert!(others.is_empty(), "{case}: {others:?} are left");
    manager.close(1, NOW);
}

#[test]
fn a_stop_at_any_effect_of_a_move_loses_nothing() {
    let disk = SimDisk::new();
    let mut known = Knowledge::default();
    run(&disk, &mut known).expect("nothing stops it");
    check(&disk, &known, "no stop");
    let effects = disk.effects();
    assert!(effects > 100, "{effects}");
    for stop in 0..effects {
        let disk = SimDisk::new();
        disk.stop_at(stop);
        let mut known = Knowledge::default();
        if run(&disk, &mut known).is_some() && !disk.is_stopped() {
            continue;
        }
        check(&disk.after_kill(), &known, &format!("killed at {stop}"));
        for seed in 0..6 {
            check(&disk.after_power_cut(seed), &known, &format!("power cut at {stop}, seed {seed}"));
        }
    }
}
