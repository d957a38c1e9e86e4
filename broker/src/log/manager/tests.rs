use std::fs;

use client::wire::kafka::batch::{BatchBuilder, BatchOptions};

use super::*;
use crate::log::batch::AppendOrigin;
use crate::log::disk::RealDisk;

const NOW: i64 = 1_000_000;

struct Broker {
    dirs: Vec<tempfile::TempDir>,
    config: Arc<TopicConfig>,
}

impl Broker {
    fn new(dirs: usize) -> Broker {
        let config = Arc::new(TopicConfig { file_delete_delay_ms: 1000, ..TopicConfig::default() });
        let dirs = (0..dirs).map(|_| tempfile::tempdir().expect("temporary directory")).collect();
        Broker { dirs, config }
    }

    fn start(&self) -> LogManager {
        let disks = self
            .dirs
            .iter()
            .map(|dir| Arc::new(RealDisk::open(dir.path()).expect("disk")) as Arc<dyn Disk>)
            .collect();
        let config_of = |_: &str| Arc::clone(&self.config);
        LogManager::open(disks, &config_of, 2, Intervals::default(), NOW).expect("opened")
    }
}

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn append(log: &SharedLog, value: &str) -> i64 {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(NOW, Some(b"key"), Some(value.as_bytes()));
    let records = builder.build().expect("built");
    let info = log.lock().expect("online").append_as_leader(records, 0, NOW, AppendOrigin::Client);
    info.expect("appended").base_offset
}

#[test]
fn partitions_spread_and_survive_both_kinds_of_stop() {
    let broker = Broker::new(2);
    let manager = broker.start();
    for number in 0..6 {
        let log =
            manager.get_or_create(&partition("a-b", number), Arc::clone(&broker.config), NOW).expect("made");
        for _ in 0..=number {
            append(&log, "v");
        }
        log.lock().expect("online").set_high_watermark(i64::from(number));
        let again = manager.get_or_create(&partition("a-b", number), Arc::clone(&broker.config), NOW);
        assert!(Arc::ptr_eq(&again.expect("there"), &log));
    }
    for dir in &broker.dirs {
        let count = fs::read_dir(dir.path()).expect("listed").flatten().filter(|e| e.path().is_dir()).count();
        assert_eq!(count, 3);
    }
    manager.close(7, NOW);
    drop(manager);
    let marker = broker.dirs[0].path().join(".kafka_cleanshutdown");
    assert_eq!(fs::read_to_string(&marker).expect("marked"), r#"{"version":0,"brokerEpoch":7}"#);
    for _ in 0..2 {
        // The second time there is no marker.
        let manager = broker.start();
        assert!(!marker.exists());
        let ends: Vec<_> =
            manager.logs().iter().map(|(_, log)| log.lock().expect("online").end_offset()).collect();
        assert_eq!(ends, [1, 2, 3, 4, 5, 6]);
        let watermark = |number| {
            manager.get(&partition("a-b", number)).expect("there").lock().expect("online").high_watermark()
        };
        assert_eq!([0, 3, 5].map(watermark), [0, 3, 5]);
        assert!(manager.get(&partition("a-b", 6)).is_none());
        manager.tick(NOW);
    }
}

#[test]
fn a_deleted_partition_is_gone_at_once_and_its_files_later() {
    let broker = Broker::new(1);
    let manager = broker.start();
    let name = partition(&"long".repeat(62), 3);
    let log = manager.get_or_create(&name, Arc::clone(&broker.config), NOW).expect("made");
    append(&log, "v");
    let range = log.lock().expect("online").read(0, 1, 1, true).expect("within").expect("some");
    manager.delete(&name, NOW).expect("deleted");
    manager.delete(&name, NOW).expect("gone already");
    assert!(manager.get(&name).is_none());
    assert!(matches!(log.lock(), Err(LogError::Deleted)), "whoever still has it is told");
    assert!(matches!(log.flush(NOW), Err(LogError::Deleted)));
    let dirs = || -> Vec<String> {
        let entries = fs::read_dir(broker.dirs[0].path()).expect("listed").flatten();
        entries.filter(|e| e.path().is_dir()).map(|e| e.file_name().into_string().expect("text")).collect()
    };
    assert!(matches!(&dirs()[..], [only] if only.ends_with("-delete") && only.len() <= 255), "{:?}", dirs());
    manager.tick(NOW + 999);
    assert_eq!(dirs().len(), 1);
    let anew = manager.get_or_create(&name, Arc::clone(&broker.config), NOW).expect("made");
    assert_eq!(append(&anew, "w"), 0, "nothing is left of the old one");
    manager.tick(NOW + 1000);
    assert_eq!(dirs(), [name.to_string()]);
    assert!(range.read().is_ok(), "readers finish with what they hold");

    manager.delete(&name, NOW).expect("deleted");
    // The directory's lock lives as long as anybody holds a part of it.
    drop((manager, log, anew, range));
    broker.start().tick(NOW);
    assert!(dirs().is_empty(), "a restart does not wait");
}

#[test]
fn a_damaged_partition_stays_away_alone_and_is_looked_at_again() {
    let broker = Broker::new(1);
    let manager = broker.start();
    for topic in ["good", "bad"] {
        let log = manager.get_or_create(&partition(topic, 0), Arc::clone(&broker.config), NOW).expect("made");
        for value in ["one", "two", "three"] {
            append(&log, value);
        }
        log.lock().expect("online").set_high_watermark(3);
    }
    manager.tick(NOW + 5000);
    drop(manager);
    let file = broker.dirs[0].path().join("bad-0/00000000000000000000.log");
    let mut bytes = fs::read(&file).expect("read");
    let third = bytes.len() / 3;
    bytes[third + 70] ^= 1;
    fs::write(&file, bytes).expect("damaged");
    for _ in 0..2 {
        let manager = broker.start();
        assert!(manager.get(&partition("good", 0)).is_some());
        assert!(manager.get(&partition("bad", 0)).is_none());
        let refused = manager.refused();
        match &refused[&partition("bad", 0)].error {
            LogError::Damaged { file: named, position, .. } => {
                assert_eq!((named, *position), (&file, third as u64))
            }
            other => panic!("expected damage, got {other}"),
        }
        drop(refused);
        assert!(manager.get_or_create(&partition("bad", 0), Arc::clone(&broker.config), NOW).is_err());
        manager.close(1, NOW);
    }
}

#[test]
fn a_failed_directory_takes_its_partitions_only() {
    let broker = Broker::new(2);
    let manager = broker.start();
    for number in 0..4 {
        manager.get_or_create(&partition("t", number), Arc::clone(&broker.config), NOW).expect("made");
    }
    let lost = manager.get(&partition("t", 0)).expect("there");
    let error = LogError::Io { action: "read", file: "x".into(), source: std::io::Error::other("broken") };
    lost.note(&error);
    assert!(matches!(lost.lock(), Err(LogError::Offline { .. })));
    assert!(matches!(lost.commit(0, NOW), Err(LogError::Offline { .. })));
    manager.tick(NOW);
    assert_eq!(manager.logs().len(), 2);
    let made =
        manager.get_or_create(&partition("t", 9), Arc::clone(&broker.config), NOW).expect("made elsewhere");
    assert!(!Arc::ptr_eq(made.dir(), lost.dir()));
    manager.close(1, NOW);
    let marked = |dir: &tempfile::TempDir| dir.path().join(".kafka_cleanshutdown").exists();
    assert_eq!(broker.dirs.iter().filter(|dir| marked(dir)).count(), 1);
}

#[test]
fn directories_know_whom_they_belong_to() {
    let broker = Broker::new(2);
    let manager = broker.start();
    assert!(manager.meta_properties().expect("read").iter().all(|(_, meta)| meta.is_none()));
    let meta = MetaProperties { broker_id: Some(3), cluster_id: Some("c".into()), directory_id: None };
    manager.claim(&meta).expect("written");
    assert!(manager.meta_properties().expect("read").iter().all(|(_, known)| known.as_ref() == Some(&meta)));
}

#[test]
fn the_dirtiest_log_is_cleaned_first_and_that_is_remembered() {
    let mut broker = Broker::new(1);
    broker.config = Arc::new(TopicConfig {
        cleanup_policy: crate::log::config::CleanupPolicy { delete: false, compact: true },
        ..TopicConfig::default()
    });
    let manager = broker.start();
    let make = |name: &str| {
        let log = manager.get_or_create(&partition(name, 0), Arc::clone(&broker.config), NOW).expect("made");
        for value in ["1", "2", "3"] {
            append(&log, value);
        }
        let mut locked = log.lock().expect("online");
        locked.set_high_watermark(3);
        locked.roll(NOW).expect("rolled");
        drop(locked);
        log
    };
    let log = make("a");
    let size = || log.lock().expect("online").size();
    let before = size();
    assert!(manager.clean_one(1 << 20, NOW));
    assert!(size() < before);
    assert!(!manager.clean_one(1 << 20, NOW), "it is clean");
    let checkpoint = broker.dirs[0].path().join("cleaner-offset-checkpoint");
    assert_eq!(fs::read_to_string(&checkpoint).expect("written"), "0\n1\na 0 3\n");
    make("b");
    assert!(manager.clean_one(1 << 20, NOW));
    log.truncate_to(1, NOW).expect("truncated");
    assert_eq!(fs::read_to_string(&checkpoint).expect("written"), "0\n2\na 0 0\nb 0 3\n");
    manager.delete(&partition("b", 0), NOW).expect("deleted");
    assert_eq!(fs::read_to_string(&checkpoint).expect("written"), "0\n1\na 0 0\n");
}
