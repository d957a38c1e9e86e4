//! The machine stops at every effect of a script of appends, flushes, rolls, snapshots and removals. Whatever was reported
//! as durable must be there afterwards, and what is there must be a beginning of what was appended.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use coordinator::store::{
    LogEvent, LogHandle, LogOptions, Recovery, RecoveryReport, Retention, SnapshotWriter, StoreError,
};
use testkit::sim::disk::SimDisk;
use testkit::sim::random::Random;

fn options() -> LogOptions {
    // Small segments make rolls common.
    LogOptions { segment_bytes_max: 4000, salt_seed: 7, ..LogOptions::default() }
}

/// The body of each command follows from its zxid, so that what is recovered can be checked.
fn body(zxid: u64) -> Vec<u8> {
    let mut random = Random::new(zxid);
    let length = match random.below(20) {
        0 => 70_000,
        1..=4 => random.below(3000),
        _ => random.below(200),
    };
    // Some bodies are mostly zeros: they look like space that was never written.
    let zeros = random.below(4) == 0;
    (0..length).map(|index| if zeros && index > 8 { 0 } else { random.next_u64() as u8 }).collect()
}

/// What survives of a history: it reaches from the first command to `last_zxid`.
#[derive(Debug)]
struct Recovered {
    last_zxid: u64,
    report: RecoveryReport,
}

/// Recovers and checks that snapshot and records are exactly the history up to some zxid. `act` then gets the log.
fn recover<T>(
    disk: &SimDisk,
    options: LogOptions,
    act: impl FnOnce(coordinator::store::Log) -> Result<T, StoreError>,
) -> Result<(Recovered, T), StoreError> {
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options)?;
    let mut last_zxid = 0;
    if let Some(snapshot) = recovery.snapshot() {
        last_zxid = snapshot.zxid();
        assert_eq!(snapshot.header(), last_zxid.to_le_bytes());
        let mut covered = 0;
        while let Some(chunk) = snapshot.next_chunk()? {
            covered += 1;
            assert_eq!(chunk, body(covered), "chunk {covered} of the snapshot at {last_zxid}");
        }
        assert_eq!(covered, last_zxid);
    }
    while let Some((zxid, bytes)) = recovery.next_record()? {
        last_zxid += 1;
        assert_eq!(zxid, last_zxid);
        assert_eq!(bytes, body(zxid), "record {zxid}");
    }
    let (log, report) = recovery.finish()?;
    assert_eq!(log.last_zxid(), last_zxid);
    let acted = act(log)?;
    Ok((Recovered { last_zxid, report }, acted))
}

/// How far a run of the script came.
#[derive(Debug, Default)]
struct Progress {
    appended: u64,
    durable: u64,
}

fn write_snapshot(disk: &SimDisk, zxid: u64) -> Result<(), StoreError> {
    let mut writer = SnapshotWriter::create(disk.as_disk(), zxid, &zxid.to_le_bytes())?;
    for covered in 1..=zxid {
        writer.chunk(&body(covered))?;
    }
    writer.finish(b"end").map(drop)
}

/// Starts from whatever is on disk and goes on until `target` or an error.
fn run(disk: &SimDisk, options: LogOptions, target: u64, progress: &mut Progress) -> Result<(), StoreError> {
    let mut random = Random::new(42);
    // One snapshot only: what goes missing with it is missed.
    let mut retention = Retention::new(disk.as_disk(), disk.as_disk(), 1);
    recover(disk, options, |mut log| {
        progress.durable = log.last_zxid();
        progress.appended = progress.appended.max(log.last_zxid());
        let mut zxid = log.last_zxid();
        while zxid < target {
            for _ in 0..=random.below(4) {
                zxid += 1;
                log.append(zxid, body(zxid).into());
                progress.appended = progress.appended.max(zxid);
            }
            if let Some(flushed) = log.flush()? {
                assert_eq!(flushed.zxid, zxid);
                progress.durable = zxid;
            }
            if random.below(5) == 0 {
                log.roll();
                write_snapshot(disk, zxid)?;
                retention.purge(zxid)?;
            }
        }
        log.close()
    })
    .map(drop)
}

const TARGET: u64 = 40;

/// How many effects the script has when nothing goes wrong.
fn effects_of_script() -> u64 {
    let disk = SimDisk::new();
    run(&disk, options(), TARGET, &mut Progress::default()).expect("nothing goes wrong");
    disk.effects()
}

/// Checks that a disk recovers to something between `progress.durable` and `progress.appended`.
fn check(disk: &SimDisk, progress: &Progress, what: &str) -> Recovered {
    let (recovered, ()) =
        recover(disk, options(), |_| Ok(())).unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    let last = recovered.last_zxid;
    assert!(last >= progress.durable, "{what}: {last} recovered, {} was durable", progress.durable);
    assert!(last <= progress.appended, "{what}: {last} recovered, {} was appended", progress.appended);
    recovered
}

#[test]
fn nothing_durable_is_lost_at_any_effect() {
    let effects = effects_of_script();
    assert!(effects > 100, "the script does a lot: {effects}");
    let (mut torn, mut clean) = (0, 0);
    for effect in 0..effects {
        let disk = SimDisk::new();
        disk.stop_at(effect);
        let mut progress = Progress::default();
        run(&disk, options(), TARGET, &mut progress).expect_err("the machine stopped");
        check(&disk.after_kill(), &progress, &format!("kill at effect {effect}"));
        for seed in 0..12 {
            let what = format!("power cut at effect {effect}, seed {seed}");
            let cut = disk.after_power_cut(seed);
            match check(&cut, &progress, &what).report.torn_bytes {
                Some(_) => torn += 1,
                None => clean += 1,
            }
            // What was recovered was shown to clients: it must survive the next power cut, and the script must go on.
            let again = cut.after_power_cut(seed + 1000);
            let first = check(&cut, &progress, &what).last_zxid;
            let mut second = Progress { appended: first, durable: first };
            check(&again, &second, &format!("{what}, cut again"));
            run(&again, options(), TARGET, &mut second)
                .unwrap_or_else(|error| panic!("{what}, goes on: {error}"));
            assert!(second.durable >= TARGET);
        }
    }
    assert!(torn > 20 && clean > 20, "both kinds of ends were seen: {torn} torn, {clean} clean");
}

#[test]
fn a_recovery_that_is_itself_cut_short_loses_nothing() {
    let effects = effects_of_script();
    let mut random = Random::new(1);
    for effect in (0..effects).step_by(3) {
        let disk = SimDisk::new();
        disk.stop_at(effect);
        let mut progress = Progress::default();
        run(&disk, options(), TARGET, &mut progress).expect_err("the machine stopped");
        let cut = disk.after_power_cut(effect);
        let whole = cut.fork();
        check(&whole, &progress, "an undisturbed recovery");
        for effect_of_recovery in 0..whole.effects() {
            let disk = cut.fork();
            disk.stop_at(effect_of_recovery);
            assert!(recover(&disk, options(), |_| Ok(())).is_err(), "the machine stopped");
            let what =
                format!("power cut at effect {effect}, then at effect {effect_of_recovery} of the recovery");
            check(&disk.after_power_cut(random.next_u64()), &progress, &what);
        }
    }
}

#[test]
fn a_failed_sync_stops_the_log_and_loses_nothing_durable() {
    for effect in 0..effects_of_script() {
        let disk = SimDisk::new();
        disk.fail_sync_at(effect);
        let mut progress = Progress::default();
        let Err(error) = run(&disk, options(), TARGET, &mut progress) else {
            // That effect was no sync.
            continue;
        };
        assert!(!error.is_full(), "never tried again: {error}");
        // The process restarts at once, sees what it wrote, and shows it to clients; only then the power goes.
        let restarted = disk.after_kill();
        let seen = check(&restarted, &progress, &format!("sync failed at effect {effect}"));
        let seen = Progress { appended: progress.appended, durable: seen.last_zxid };
        for seed in 0..4 {
            check(
                &restarted.after_power_cut(seed),
                &seen,
                &format!("sync failed at effect {effect}, restart, power cut {seed}"),
            );
        }
    }
}

/// One life of the log in [`what_a_crash_left_behind_never_comes_back`]: checks what is there against `history`, in which
/// everything up to `durable` was reported, then goes on with other content until the machine stops.
fn live(
    disk: &SimDisk,
    history: &mut Vec<Vec<u8>>,
    durable: &mut usize,
    random: &mut Random,
) -> Result<(), StoreError> {
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options())?;
    let mut found = 0;
    while let Some((zxid, body)) = recovery.next_record()? {
        assert_eq!(zxid, found as u64 + 1);
        assert_eq!(body, history[found], "record {zxid}");
        found += 1;
    }
    assert!(found >= *durable, "{found} found, {durable} were durable");
    let (mut log, _) = recovery.finish()?;
    history.truncate(found);
    *durable = found;
    disk.stop_at(disk.effects() + random.below(12));
    loop {
        for _ in 0..random.below(6) {
            let length_max = if random.below(3) == 0 { 2000 } else { 60 };
            let length = random.below(length_max);
            let body: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
            history.push(body.clone());
            log.append(history.len() as u64, body.into());
        }
        if random.below(8) == 0 {
            log.roll();
        }
        log.flush()?;
        *durable = history.len();
    }
}

#[test]
fn what_a_crash_left_behind_never_comes_back() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let mut disk = SimDisk::new();
        let (mut history, mut durable) = (Vec::new(), 0);
        for life in 0..12 {
            let error = live(&disk, &mut history, &mut durable, &mut random).expect_err("it ends");
            assert!(disk.is_stopped(), "seed {seed}, life {life}: refused: {error}");
            disk = if random.below(4) == 0 {
                disk.after_kill()
            } else {
                disk.after_power_cut(random.next_u64())
            };
        }
    }
}

#[test]
fn a_full_disk_keeps_the_batch_until_there_is_space() {
    let disk = SimDisk::new();
    let mut waits = 0;
    let (_, ()) = recover(&disk, options(), |mut log| {
        disk.set_capacity(Some(disk.used()));
        for zxid in 1..=60 {
            log.append(zxid, body(zxid).into());
            while let Err(error) = log.flush() {
                assert!(error.is_full(), "{error}");
                assert!(log.last_zxid() < zxid, "not acknowledged");
                // Whatever happens now, what was acknowledged is there.
                let progress = Progress { appended: zxid, durable: zxid - 1 };
                check(&disk.after_kill(), &progress, "kill while full");
                check(&disk.after_power_cut(zxid), &progress, "power cut while full");
                waits += 1;
                disk.set_capacity(Some(disk.used() + 10_000 + waits * 1000));
            }
            assert_eq!(log.last_zxid(), zxid);
        }
        log.close()
    })
    .expect("it goes on");
    assert!(waits > 10, "the disk was full often: {waits}");
    check(&disk, &Progress { appended: 60, durable: 60 }, "afterwards");
}

#[test]
fn a_snapshot_that_finds_no_space_leaves_nothing_behind() {
    let disk = SimDisk::new();
    recover(&disk, options(), |mut log| {
        for zxid in 1..=20 {
            log.append(zxid, body(zxid).into());
        }
        log.flush()?;
        let before = disk.names();
        disk.set_capacity(Some(disk.used() + 3000));
        let error = write_snapshot(&disk, 20).expect_err("no space");
        assert!(error.is_full(), "{error}");
        assert_eq!(disk.names(), before);
        disk.set_capacity(None);
        write_snapshot(&disk, 20)
    })
    .expect("nothing else goes wrong");
}

#[test]
fn without_syncs_a_power_cut_costs_writes_but_never_the_start() {
    let options = LogOptions { sync: false, ..options() };
    let effects = {
        let disk = SimDisk::new();
        run(&disk, options.clone(), TARGET, &mut Progress::default()).expect("nothing goes wrong");
        disk.effects()
    };
    for effect in 0..effects {
        let disk = SimDisk::new();
        disk.stop_at(effect);
        let mut progress = Progress::default();
        run(&disk, options.clone(), TARGET, &mut progress).expect_err("the machine stopped");
        check(&disk.after_kill(), &progress, &format!("kill at effect {effect}"));
        for seed in 0..4 {
            let anything = Progress { durable: 0, ..progress };
            check(
                &disk.after_power_cut(seed),
                &anything,
                &format!("power cut at effect {effect}, seed {seed}"),
            );
        }
    }
}

/// Starts the log thread on an empty disk.
fn spawn(disk: &SimDisk) -> (LogHandle, Receiver<LogEvent>) {
    let (sender, events) = channel();
    let (_, handle) = recover(disk, options(), |log| {
        LogHandle::spawn(log, move |event| {
            // The test may have seen enough.
            let _ = sender.send(event);
        })
    })
    .expect("an empty disk");
    (handle, events)
}

fn next(events: &Receiver<LogEvent>) -> LogEvent {
    events.recv_timeout(Duration::from_secs(20)).expect("a report")
}

#[test]
fn the_log_thread_waits_for_space_and_says_so() {
    let disk = SimDisk::new();
    let (handle, events) = spawn(&disk);
    disk.set_capacity(Some(disk.used()));
    handle.append(1, body(1).into()).expect("room");
    assert!(matches!(next(&events), LogEvent::Full(error) if error.is_full()));
    handle.append(2, body(2).into()).expect("the queue has room");
    disk.set_capacity(None);
    assert!(matches!(next(&events), LogEvent::Recovered));
    let mut durable = 0;
    while durable < 2 {
        match next(&events) {
            LogEvent::Durable(flushed) => durable = flushed.zxid,
            other => panic!("unexpected {other:?}"),
        }
    }
    handle.shutdown().expect("a clean stop");
    check(&disk.after_power_cut(1), &Progress { appended: 2, durable: 2 }, "after a clean stop");
}

#[test]
fn the_log_thread_can_be_stopped_while_the_disk_is_full() {
    let disk = SimDisk::new();
    let (handle, events) = spawn(&disk);
    handle.append(1, body(1).into()).expect("room");
    assert!(matches!(next(&events), LogEvent::Durable(_)));
    disk.set_capacity(Some(disk.used()));
    handle.append(2, vec![2; 100_000].into()).expect("room");
    assert!(matches!(next(&events), LogEvent::Full(_)));
    assert!(handle.shutdown().expect_err("one record was never written").is_full());
    check(&disk.after_power_cut(1), &Progress { appended: 1, durable: 1 }, "afterwards");
}

#[test]
fn a_failed_sync_is_reported_once_and_ends_the_log_thread() {
    let disk = SimDisk::new();
    let (handle, events) = spawn(&disk);
    handle.append(1, body(1).into()).expect("room");
    assert!(matches!(next(&events), LogEvent::Durable(_)));
    // The effect after the write is the sync.
    disk.fail_sync_at(disk.effects() + 1);
    handle.append(2, b"two".as_slice().into()).expect("room");
    assert!(matches!(next(&events), LogEvent::Failed(error) if !error.is_full()));
    assert!(events.recv().is_err(), "the thread ended");
    handle.shutdown().expect("it was reported already");
}
