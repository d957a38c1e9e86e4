use std::fs;
use std::path::Path;

use client::wire::kafka::batch::{BatchBuilder, BatchOptions, batches};

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
        let dirs = self
            .dirs
            .iter()
            .map(|dir| LogDir::new(Arc::new(RealDisk::open(dir.path()).expect("disk"))))
            .collect();
        let config_of = |_: &str| Arc::clone(&self.config);
        LogManager::open(dirs, &config_of, 2, Intervals::default(), NOW).expect("opened")
    }
}

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn append(log: &SharedLog, value: &str) -> i64 {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(NOW, Some(b"key"), Some(value.as_bytes()));
    let records = builder.build().expect("built");
    let mut log = log.lock().expect("online");
    let epoch = log.latest_epoch().unwrap_or(0);
    let info = log.append_as_leader(records, epoch, NOW, AppendOrigin::Client);
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
    let error = LogError::Io {
        action: "read",
        file: lost.dir().path().join("x"),
        source: std::io::Error::other("broken"),
    };
    lost.note(&error);
    assert!(matches!(lost.lock(), Err(LogError::Offline { .. })));
    assert!(matches!(lost.commit(0, NOW), Err(LogError::Offline { .. })));
    manager.tick(NOW);
    assert_eq!(manager.logs().len(), 2);
    let made =
        manager.get_or_create(&partition("t", 9), Arc::clone(&broker.config), NOW).expect("made elsewhere");
    assert!(!Arc::ptr_eq(&made.dir(), &lost.dir()));
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

/// What a log holds, from its start.
fn values(log: &SharedLog) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = log.lock().expect("online").log_start_offset();
    loop {
        let range = log.lock().expect("online").read(from, 1 << 20, i64::MAX, true).expect("within");
        let Some(range) = range else { return found };
        for batch in batches(range.read().expect("read")) {
            for record in batch.expect("whole").records(1 << 20).expect("readable") {
                let record = record.expect("readable");
                found.push(String::from_utf8(record.value.expect("a value").to_vec()).expect("text"));
                from = record.offset + 1;
            }
        }
    }
}

/// The directories of partitions, by data directory.
fn folders(broker: &Broker) -> Vec<Vec<String>> {
    let of = |dir: &tempfile::TempDir| {
        let entries = fs::read_dir(dir.path()).expect("listed").flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    };
    broker.dirs.iter().map(of).collect()
}

#[test]
fn a_partition_moves_to_another_directory_while_it_is_written() {
    let mut broker = Broker::new(2);
    broker.config = Arc::new(TopicConfig { segment_bytes: 500, ..(*broker.config).clone() });
    let manager = broker.start();
    let name = partition("t", 0);
    manager.preferred().insert(name.clone(), Arc::clone(&manager.dirs()[1]));
    let log = manager.get_or_create(&name, Arc::clone(&broker.config), NOW).expect("made");
    assert!(Arc::ptr_eq(&log.dir(), &manager.dirs()[1]), "where it was wanted");
    let mut expected = Vec::new();
    let mut write = |log: &SharedLog| {
        expected.push(format!("value {}", expected.len()));
        append(log, expected.last().expect("just pushed"));
        expected.clone()
    };
    for _ in 0..40 {
        write(&log);
    }
    {
        let mut log = log.lock().expect("online");
        log.set_high_watermark(40);
        log.delete_records_before(15).expect("within");
        log.apply_retention(NOW).expect("dropped");
    }
    let target = broker.dirs[0].path();
    let nowhere = manager.move_to(&name, Path::new("/nowhere"), NOW);
    assert!(matches!(nowhere, Err(MoveError::NoSuchDir { .. })), "{nowhere:?}");
    assert!(matches!(manager.move_to(&partition("u", 0), target, NOW), Err(MoveError::NotHere)));
    let long = partition(&"long".repeat(60), 0);
    assert!(matches!(manager.move_to(&long, target, NOW), Err(MoveError::NameTooLong)));

    manager.move_to(&name, target, NOW).expect("begun");
    manager.move_to(&name, target, NOW).expect("under way");
    assert_eq!(folders(&broker)[0].len(), 1);
    assert!(folders(&broker)[0][0].starts_with("t-0.") && folders(&broker)[0][0].ends_with("-future"));
    let mut steps = 0;
    while !manager.futures().is_empty() {
        // About a batch at a time.
        assert!(manager.advance_moves(1, NOW) > 0 || steps > 10);
        match steps {
            0..20 => drop(write(&log)),
            20 => log.lock().expect("online").assign_epoch(3).expect("a leader that writes nothing"),
            _ => {}
        }
        steps += 1;
        assert!(steps < 200, "it never catches up");
    }
    assert!(Arc::ptr_eq(&log.dir(), &manager.dirs()[0]));
    {
        let log = log.lock().expect("online");
        log.check_invariants();
        assert_eq!((log.log_start_offset(), log.high_watermark(), log.latest_epoch()), (15, 40, Some(3)));
    }
    let all = write(&log);
    assert_eq!(values(&log), all[15..]);
    manager.tick(NOW);
    assert_eq!(folders(&broker), [vec!["t-0".to_owned()], vec![]]);
    assert!(!target.join("t-0").join("moved-from").exists());

    // Back, but not all the way; and on after a clean stop.
    let back = broker.dirs[1].path();
    manager.move_to(&name, back, NOW).expect("begun");
    manager.advance_moves(1, NOW);
    manager.move_to(&name, target, NOW).expect("stays");
    assert!(manager.futures().is_empty());
    manager.tick(NOW);
    assert_eq!(folders(&broker)[1].len(), 0);
    manager.move_to(&name, back, NOW).expect("begun");
    manager.advance_moves(1, NOW);
    let copied = |manager: &LogManager| {
        let futures = manager.futures();
        let future = futures[0].1.lock().expect("nobody panicked");
        future.log().expect("it grows").end_offset()
    };
    let before = copied(&manager);
    manager.close(1, NOW);
    drop((manager, log));
    let manager = broker.start();
    assert_eq!(copied(&manager), before, "nothing is copied twice");
    while manager.advance_moves(1 << 20, NOW) > 0 {}
    let log = manager.get(&name).expect("there");
    assert!(Arc::ptr_eq(&log.dir(), &manager.dirs()[1]));
    assert_eq!(values(&log), all[15..]);

    manager.move_to(&name, target, NOW).expect("begun");
    manager.delete(&name, NOW).expect("deleted");
    assert_eq!(manager.advance_moves(1 << 20, NOW), 0);
    manager.tick(NOW + 1000);
    assert_eq!(folders(&broker), [vec![] as Vec<String>, vec![]]);
}

#[test]
fn a_copy_beside_its_log_never_takes_the_logs_place() {
    let broker = Broker::new(2);
    let manager = broker.start();
    let name = partition("t", 0);
    manager.preferred().insert(name.clone(), Arc::clone(&manager.dirs()[1]));
    let log = manager.get_or_create(&name, Arc::clone(&broker.config), NOW).expect("made");
    append(&log, "first");
    manager.move_to(&name, broker.dirs[0].path(), NOW).expect("begun");
    manager.close(1, NOW);
    drop((manager, log));
    // Somebody carries the log to where its copy is.
    fs::rename(broker.dirs[1].path().join("t-0"), broker.dirs[0].path().join("t-0")).expect("carried");

    let manager = broker.start();
    assert!(manager.futures().is_empty(), "it is where it should be");
    manager.tick(NOW);
    assert_eq!(folders(&broker), [vec!["t-0".to_owned()], vec![]]);
    assert_eq!(values(&manager.get(&name).expect("there")), ["first"]);
}

#[test]
fn a_partition_made_anew_does_not_begin_where_the_one_before_did() {
    let broker = Broker::new(1);
    let manager = broker.start();
    let name = partition("t", 0);
    let log = manager.get_or_create(&name, Arc::clone(&broker.config), NOW).expect("made");
    for _ in 0..5 {
        append(&log, "old");
    }
    {
        let mut log = log.lock().expect("online");
        log.set_high_watermark(5);
        log.delete_records_before(5).expect("within");
    }
    manager.tick(NOW);
    manager.delete(&name, NOW).expect("deleted");
    drop(log);
    let log = manager.get_or_create(&name, Arc::clone(&broker.config), NOW).expect("made");
    append(&log, "new");
    // The process is killed before the checkpoints' time has come.
    drop((manager, log));
    let manager = broker.start();
    assert_eq!(values(&manager.get(&name).expect("there")), ["new"]);
}
