//! The parts together, on a real directory.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::segment::{Next, SegmentReader};
use super::*;

fn disk(dir: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::open(dir).expect("the directory is free"))
}

type Records = Vec<(u64, Vec<u8>)>;

fn recover(disk: &Arc<dyn Disk>, options: LogOptions) -> Result<(Records, Log, RecoveryReport), StoreError> {
    let mut recovery = Recovery::open(Arc::clone(disk), Arc::clone(disk), options)?;
    if let Some(snapshot) = recovery.snapshot() {
        while snapshot.next_chunk()?.is_some() {}
    }
    let mut records = Vec::new();
    while let Some((zxid, body)) = recovery.next_record()? {
        records.push((zxid, body.to_vec()));
    }
    let (log, report) = recovery.finish()?;
    Ok((records, log, report))
}

fn body(zxid: u64) -> Vec<u8> {
    vec![zxid as u8; 10 + zxid as usize % 700]
}

fn spawn(log: Log) -> (LogHandle, Receiver<LogEvent>) {
    let (sender, events) = channel();
    let handle = LogHandle::spawn(log, move |event| sender.send(event).expect("the test listens"));
    (handle.expect("a thread"), events)
}

/// Waits until everything up to `zxid` is durable.
fn wait_durable(events: &Receiver<LogEvent>, zxid: u64) {
    loop {
        match events.recv_timeout(Duration::from_secs(20)).expect("a report") {
            LogEvent::Durable(flushed) if flushed.zxid == zxid => return,
            LogEvent::Durable(flushed) => assert!(flushed.zxid < zxid),
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn what_was_appended_is_read_back_after_a_clean_stop_and_goes_on() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut expected = Records::new();
    for round in 0..4 {
        let disk = disk(dir.path());
        let options = LogOptions { segment_bytes_max: 100_000, ..LogOptions::default() };
        let (records, log, report) = recover(&disk, options).expect("a start");
        assert_eq!(records, expected);
        assert_eq!(report.records, expected.len() as u64);
        assert_eq!((report.torn_bytes, report.warnings.len()), (None, 0));
        let (handle, events) = spawn(log);
        for zxid in round * 500 + 1..=(round + 1) * 500 {
            handle.append(zxid, body(zxid).into()).expect("room");
            expected.push((zxid, body(zxid)));
        }
        wait_durable(&events, (round + 1) * 500);
        handle.shutdown().expect("a clean stop");
    }
}

#[test]
fn a_snapshot_shortens_the_replay_and_old_files_go() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = disk(dir.path());
    let (_, log, _) = recover(&disk, LogOptions::default()).expect("a start");
    let (handle, log_events) = spawn(log);
    let (sender, snapshot_events) = channel();
    let retention = Retention::new(Arc::clone(&disk), Arc::clone(&disk), 2);
    let snapshots = SnapshotHandle::spawn(Arc::clone(&disk), Some(retention), move |event| {
        sender.send(event).expect("listens")
    })
    .expect("a thread");
    for round in 1..=4 {
        for zxid in (round - 1) * 10 + 1..=round * 10 {
            handle.append(zxid, body(zxid).into()).expect("room");
        }
        wait_durable(&log_events, round * 10);
        handle.roll();
        assert!(snapshots.begin(round * 10, b"header".to_vec()));
        assert!(!snapshots.begin(99, Vec::new()), "one at a time");
        snapshots.chunk(vec![7; 100_000]).expect("room");
        snapshots.chunk(b"short".to_vec()).expect("room");
        snapshots.finish(b"trailer".to_vec());
        match snapshot_events.recv_timeout(Duration::from_secs(20)).expect("a report") {
            SnapshotEvent::Done { summary, removed } => {
                assert_eq!((summary.zxid, summary.chunks, summary.content_bytes), (round * 10, 2, 100_005));
                assert_eq!(removed.is_empty(), round == 1, "{removed:?}");
            }
            other => panic!("unexpected {other:?}"),
        }
        assert!(!snapshots.is_busy());
    }
    snapshots.shutdown();
    handle.append(41, body(41).into()).expect("room");
    handle.shutdown().expect("a clean stop");

    let mut names = disk.list().expect("list");
    names.sort();
    assert_eq!(names, ["lock", "log.1f", "log.29", "position", "snapshot.1e", "snapshot.28"]);
    let mut recovery =
        Recovery::open(Arc::clone(&disk), Arc::clone(&disk), LogOptions::default()).expect("a start");
    let snapshot = recovery.snapshot().expect("a snapshot");
    assert_eq!((snapshot.zxid(), snapshot.header()), (40, &b"header"[..]));
    assert_eq!(snapshot.next_chunk().expect("good"), Some(vec![7; 100_000]));
    assert_eq!(snapshot.next_chunk().expect("good"), Some(b"short".to_vec()));
    assert_eq!(snapshot.next_chunk().expect("good"), None);
    assert_eq!(snapshot.trailer(), Some(&b"trailer"[..]));
    assert_eq!(recovery.next_record().expect("good"), Some((41, Bytes::from(body(41)))));
    assert_eq!(recovery.next_record().expect("good"), None);
}

#[test]
fn a_snapshot_given_up_leaves_nothing_and_the_next_one_may_begin() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = disk(dir.path());
    let snapshots = SnapshotHandle::spawn(Arc::clone(&disk), None, |_| {}).expect("a thread");
    assert!(snapshots.begin(5, Vec::new()));
    snapshots.chunk(vec![1; 1000]).expect("room");
    snapshots.abort();
    while snapshots.is_busy() {
        std::thread::yield_now();
    }
    assert!(snapshots.begin(6, Vec::new()));
    snapshots.shutdown();
    assert_eq!(disk.list().expect("list"), ["lock"]);
}

#[test]
fn chunks_wait_for_room() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = disk(dir.path());
    let (sender, events) = channel();
    let snapshots = SnapshotHandle::spawn(disk, None, move |event| sender.send(event).expect("listens"));
    let snapshots = snapshots.expect("a thread");
    assert!(snapshots.begin(5, Vec::new()));
    let mut chunk = vec![3; 1 << 20];
    let mut sent = 0;
    while sent < 40 {
        match snapshots.chunk(chunk) {
            Ok(()) => {
                sent += 1;
                chunk = vec![3; 1 << 20];
            }
            Err(back) => {
                chunk = back;
                match events.recv_timeout(Duration::from_secs(20)).expect("a report") {
                    SnapshotEvent::Room => {}
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }
    snapshots.finish(Vec::new());
    loop {
        match events.recv_timeout(Duration::from_secs(20)).expect("a report") {
            SnapshotEvent::Room => {}
            SnapshotEvent::Done { summary, .. } => break assert_eq!(summary.chunks, 40),
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn a_panic_on_the_log_thread_is_reported() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = disk(dir.path());
    let (_, log, _) = recover(&disk, LogOptions::default()).expect("a start");
    let (handle, events) = spawn(log);
    handle.append(2, Bytes::new()).expect("room");
    match events.recv_timeout(Duration::from_secs(20)).expect("a report") {
        LogEvent::Failed(StoreError::Thread(text)) => assert!(text.contains("does not follow"), "{text}"),
        other => panic!("unexpected {other:?}"),
    }
    handle.shutdown().expect("it was reported already");
}

#[test]
fn the_queue_is_bounded() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = disk(dir.path());
    let (_, log, _) = recover(&disk, LogOptions::default()).expect("a start");
    let stall = Arc::new(Mutex::new(()));
    let held = stall.lock().expect("not poisoned");
    let reports = Arc::clone(&stall);
    let handle = LogHandle::spawn(log, move |_| drop(reports.lock())).expect("a thread");
    let mut zxid = 1;
    while handle.append(zxid, vec![0; 100_000].into()).is_ok() {
        zxid += 1;
        assert!(zxid < 10_000, "no bound");
    }
    assert!(!handle.has_room());
    drop(held);
    handle.shutdown().expect("a clean stop");
}

#[test]
fn a_member_follows_one_leader_after_another() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let leader_dir = tempfile::tempdir().expect("temporary directory");
    let leader = disk(leader_dir.path());
    let mut writer = SnapshotWriter::create(Arc::clone(&leader), 0x2_0000_0005, b"header").expect("space");
    writer.chunk(b"all that the other leader knows").expect("space");
    writer.finish(b"trailer").expect("space");

    let disk = disk(dir.path());
    let (_, log, report) = recover(&disk, LogOptions::default()).expect("a start");
    assert_eq!(report.epochs, Epochs::default());
    let (handle, events) = spawn(log);
    let next = || loop {
        match events.recv_timeout(Duration::from_secs(20)).expect("a report") {
            LogEvent::Durable(_) => {}
            other => return other,
        }
    };
    for zxid in 1..=20 {
        handle.append(zxid, body(zxid).into()).expect("room");
    }
    let epochs = Epochs { accepted: 1, current: 1, complete: true };
    handle.save_epochs(epochs);
    handle.truncate_after(7);
    handle.append(0x1_0000_0001, body(1).into()).expect("room");
    assert!(matches!(next(), LogEvent::EpochsSaved(saved) if saved == epochs));
    assert!(matches!(next(), LogEvent::Truncated { zxid: 7, done: true }));
    handle.shutdown().expect("a clean stop");

    let (records, log, report) = recover(&disk, LogOptions::default()).expect("a start");
    let zxids: Vec<u64> = records.iter().map(|(zxid, _)| *zxid).collect();
    assert_eq!(zxids, [1, 2, 3, 4, 5, 6, 7, 0x1_0000_0001]);
    assert_eq!(report.epochs, epochs);
    let source = SnapshotSource::open(&leader, 1).expect("good").expect("new enough");
    let mut receiver = SnapshotReceiver::begin(Arc::clone(&disk), source.id()).expect("space");
    receiver.piece(0, &source.piece(0).expect("good").expect("the only one")).expect("good");
    assert!(receiver.is_whole());
    let (handle, events) = spawn(log);
    handle.replace_with_snapshot(0x2_0000_0005);
    handle.append(0x2_0000_0006, body(6).into()).expect("room");
    let replaced = events.recv_timeout(Duration::from_secs(20)).expect("a report");
    assert!(matches!(replaced, LogEvent::Replaced { zxid: 0x2_0000_0005 }));
    handle.shutdown().expect("a clean stop");

    let (records, _, report) = recover(&disk, LogOptions::default()).expect("a start");
    assert_eq!(records, [(0x2_0000_0006, body(6))]);
    assert_eq!(report.snapshot_zxid, Some(0x2_0000_0005));
    let mut names = disk.list().expect("list");
    names.sort();
    assert_eq!(names, ["epochs", "lock", "log.200000006", "position", "snapshot.200000005"]);
}

#[test]
fn a_reader_goes_on_when_reserved_space_is_given_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = disk(dir.path());
    let (_, log, _) = recover(&disk, LogOptions::default()).expect("a start");
    let (handle, events) = spawn(log);
    handle.append(1, body(1).into()).expect("room");
    assert!(matches!(events.recv_timeout(Duration::from_secs(20)), Ok(LogEvent::Durable(_))));
    let mut reader = SegmentReader::open(disk.as_ref(), 1).expect("good");
    let reserved = reader.size();
    handle.roll();
    handle.append(2, body(2).into()).expect("room");
    handle.shutdown().expect("a clean stop");

    assert!(matches!(reader.next(), Ok(Next::Record(1, found)) if found[..] == body(1)[..]));
    assert!(reader.size() < reserved, "the next segment's beginning trims this one");
    assert!(matches!(reader.next(), Ok(Next::Stop(_))));
}

#[test]
fn a_reader_keeps_up_with_the_log_thread() {
    const LAST: u64 = 3000;
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = disk(dir.path());
    let options = LogOptions { segment_bytes_max: 100_000, ..LogOptions::default() };
    let (_, log, _) = recover(&disk, options).expect("a start");
    let (handle, events) = spawn(log);
    let writer = std::thread::spawn(move || {
        for zxid in 1..=LAST {
            handle.append(zxid, body(zxid).into()).expect("room");
        }
        handle
    });
    let mut reader: Option<LogReader> = None;
    let mut read = 0;
    while read < LAST {
        let LogEvent::Durable(flushed) = events.recv_timeout(Duration::from_secs(20)).expect("a report")
        else {
            panic!("nothing else happens")
        };
        let reader = match &mut reader {
            Some(reader) => {
                reader.extend(flushed.zxid).expect("good");
                reader
            }
            none => none.insert(
                LogReader::open(Arc::clone(&disk), 0, flushed.zxid).expect("good").expect("all is there"),
            ),
        };
        while let Some((zxid, found)) = reader.next_record().expect("good") {
            read += 1;
            assert_eq!((zxid, &found[..]), (read, &body(read)[..]));
        }
        assert_eq!(read, flushed.zxid, "all that is durable, and no more");
    }
    writer.join().expect("it appended").shutdown().expect("a clean stop");
}
