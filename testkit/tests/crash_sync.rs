//! The machine stops at every effect of what a member does to its log to agree with a leader: truncation, replacement by
//! a received snapshot, saving epochs. Afterwards there must be the old history or the new one, whole, and never a mix.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use coordinator::store::{
    CourierEvent, CourierHandle, Disk, Epochs, Log, LogEvent, LogHandle, LogOptions, LogReader, Recovery,
    RecoveryReport, SnapshotReceiver, SnapshotSource, SnapshotWriter, StoreError,
};
use testkit::sim::disk::SimDisk;
use testkit::sim::random::Random;

fn options() -> LogOptions {
    // Small segments make them many.
    LogOptions { segment_bytes_max: 1000, salt_seed: 7, ..LogOptions::default() }
}

/// Every record of a history, the oldest first. A snapshot holds the same, one record per chunk.
type History = Vec<(u64, Vec<u8>)>;

fn zxid(epoch: u64, counter: u64) -> u64 {
    epoch << 32 | counter
}

/// What the leader of an epoch gave this zxid: no two leaders give the same.
fn record(zxid: u64) -> (u64, Vec<u8>) {
    let mut random = Random::new(zxid);
    let length = random.below(900);
    let mut body = zxid.to_le_bytes().to_vec();
    body.extend((0..length).map(|_| random.next_u64() as u8));
    (zxid, body)
}

fn records(epoch: u64, counters: std::ops::RangeInclusive<u64>) -> History {
    counters.map(|counter| record(zxid(epoch, counter))).collect()
}

fn last_zxid(history: &[(u64, Vec<u8>)]) -> u64 {
    history.last().map_or(0, |(zxid, _)| *zxid)
}

/// Starts and returns the history that is there; `act` gets the log.
fn recover<T>(
    disk: &SimDisk,
    act: impl FnOnce(Log, RecoveryReport) -> Result<T, StoreError>,
) -> Result<(History, T), StoreError> {
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options())?;
    let mut history = History::new();
    if let Some(snapshot) = recovery.snapshot() {
        while let Some(chunk) = snapshot.next_chunk()? {
            let (zxid, _) = chunk.split_first_chunk().expect("a chunk begins with its zxid");
            history.push((u64::from_le_bytes(*zxid), chunk));
        }
        assert_eq!(last_zxid(&history), snapshot.zxid());
    }
    while let Some((zxid, body)) = recovery.next_record()? {
        assert!(zxid > last_zxid(&history));
        history.push((zxid, body.to_vec()));
    }
    let (log, report) = recovery.finish()?;
    assert_eq!(log.last_zxid(), last_zxid(&history));
    assert_eq!(report.last_zxid, last_zxid(&history));
    let acted = act(log, report)?;
    Ok((history, acted))
}

fn seen(disk: &SimDisk) -> Result<History, StoreError> {
    recover(disk, |_, _| Ok(())).map(|(history, ())| history)
}

fn append(log: &mut Log, history: &[(u64, Vec<u8>)]) -> Result<(), StoreError> {
    for batch in history.chunks(3) {
        for (zxid, body) in batch {
            log.append(*zxid, body.clone().into());
        }
        log.flush()?;
    }
    Ok(())
}

fn write_snapshot(disk: &SimDisk, history: &[(u64, Vec<u8>)]) {
    let mut writer = SnapshotWriter::create(disk.as_disk(), last_zxid(history), b"header").expect("space");
    for (_, body) in history {
        writer.chunk(body).expect("space");
    }
    writer.finish(b"trailer").expect("space");
}

/// A member with this history, that took snapshots after some counters of the first epoch.
fn member(history: &[(u64, Vec<u8>)], snapshots: &[u64]) -> SimDisk {
    let disk = SimDisk::new();
    recover(&disk, |mut log, _| {
        append(&mut log, history)?;
        log.close()
    })
    .expect("nothing goes wrong");
    for &counter in snapshots {
        let end = history.iter().position(|(at, _)| *at == zxid(1, counter)).expect("it is there") + 1;
        write_snapshot(&disk, &history[..end]);
    }
    disk
}

/// Whatever state was found, it must be there after the next power cut too, and go on.
fn goes_on(disk: &SimDisk, history: &History, seed: u64, what: &str) {
    let cut = disk.after_power_cut(seed);
    let again = seen(&cut).unwrap_or_else(|error| panic!("{what}, cut again: refused: {error}"));
    assert!(again == *history, "{what}: another power cut changed what is there");
    let next = record(zxid(9, 1));
    recover(&cut, |mut log, _| append(&mut log, std::slice::from_ref(&next)))
        .unwrap_or_else(|error| panic!("{what}, goes on: {error}"));
    let mut longer = history.clone();
    longer.push(next);
    let found = seen(&cut.after_power_cut(seed + 1)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(found == longer, "{what}: what was appended does not follow");
}

/// Stops the machine, or fails a sync, at every effect of `act`, and the machine again at effects of the start that
/// follows. What is there then must be `old` or `new`.
fn disturb(
    disk: &SimDisk,
    old: &History,
    new: &History,
    act: impl Fn(&SimDisk) -> Result<(), StoreError>,
    what: &str,
) {
    let undisturbed = disk.fork();
    let begin = undisturbed.effects();
    act(&undisturbed).unwrap_or_else(|error| panic!("{what}: {error}"));
    let end = undisturbed.effects();
    assert!(seen(&undisturbed.after_kill()).expect("a start") == *new, "{what}: undisturbed, after a kill");
    for seed in 0..4 {
        let cut = undisturbed.after_power_cut(seed);
        assert!(seen(&cut).expect("a start") == *new, "{what}: undisturbed, after a power cut");
    }

    let check = |disk: &SimDisk, seed: u64, what: &str| {
        let found = seen(disk).unwrap_or_else(|error| panic!("{what}: refused: {error}"));
        assert!(
            found == *old || found == *new,
            "{what}: {} records up to 0x{:x} are neither the old nor the new history",
            found.len(),
            last_zxid(&found)
        );
        goes_on(disk, &found, seed, what);
        found == *new
    };
    let mut random = Random::new(end);
    // The start that follows is cut short too, twice.
    let mut check_starts = |image: &SimDisk, what: &str| {
        for _ in 0..2 {
            let whole = image.fork();
            let first = whole.effects();
            seen(&whole).expect("it started before");
            let stop = first + random.below(whole.effects() - first);
            let stopped = image.fork();
            stopped.stop_at(stop);
            assert!(seen(&stopped).is_err(), "the machine stopped");
            let what = format!("{what}, then at effect {stop} of the start");
            check(&stopped.after_kill(), stop, &what);
            check(&stopped.after_power_cut(random.next_u64()), stop, &what);
        }
    };
    let (mut olds, mut news) = (0, 0);
    for effect in begin..end {
        let stopped = disk.fork();
        stopped.stop_at(effect);
        act(&stopped).expect_err("the machine stopped");
        let mut images = vec![(stopped.after_kill(), format!("{what}, kill at effect {effect}"))];
        for seed in 0..3 {
            let what = format!("{what}, power cut {seed} at effect {effect}");
            images.push((stopped.after_power_cut(seed), what));
        }
        let failing = disk.fork();
        failing.fail_sync_at(effect);
        if let Err(error) = act(&failing) {
            assert!(!error.is_full(), "never tried again: {error}");
            images.push((failing.after_kill(), format!("{what}, sync failed at effect {effect}")));
        }
        for (image, what) in images {
            check_starts(&image, &what);
            if check(&image, effect, &what) { news += 1 } else { olds += 1 }
        }
    }
    // No other change has effects; one without is its own old state.
    if old != new {
        assert!(olds > 0 && news > 0, "{what}: both outcomes were seen: {olds} old, {news} new");
    }
}

fn up_to(history: &History, zxid: u64) -> History {
    history.iter().filter(|(at, _)| *at <= zxid).cloned().collect()
}

fn truncate(disk: &SimDisk, zxid: u64) -> Result<bool, StoreError> {
    recover(disk, |mut log, _| log.truncate_after(zxid)).map(|(_, done)| done)
}

/// Truncates everywhere. `possible` says where the log can end.
fn truncate_everywhere(disk: &SimDisk, zxids: &[u64], possible: impl Fn(u64) -> bool, what: &str) {
    let history = seen(&disk.fork()).expect("a start");
    for (index, &zxid) in zxids.iter().enumerate() {
        let what = format!("{what}, after 0x{zxid:x}");
        let whole = disk.fork();
        let done = truncate(&whole, zxid).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(done, possible(zxid), "{what}");
        if !done {
            assert_eq!(whole.names(), disk.names(), "{what}: nothing changes");
            assert!(seen(&whole).expect("a start") == history, "{what}: nothing changes");
            continue;
        }
        let new = up_to(&history, zxid);
        if index.is_multiple_of(3) {
            disturb(disk, &history, &new, |disk| truncate(disk, zxid).map(drop), &what);
        }

        // The same log goes on at once, under the zxids of another leader; nothing of the old end comes back.
        let other = records(8, 1..=5);
        let disk = disk.fork();
        recover(&disk, |mut log, _| {
            assert!(log.truncate_after(zxid)?);
            assert_eq!(log.last_zxid(), zxid);
            append(&mut log, &other)
        })
        .expect("nothing goes wrong");
        let longer = [new, other].concat();
        for seed in 0..4 {
            assert!(seen(&disk.after_power_cut(seed)).expect("a start") == longer, "{what}, then more");
        }
    }
}

#[test]
fn a_truncation_leaves_the_old_end_or_the_new_one() {
    let history = [records(1, 1..=14), records(2, 1..=8)].concat();
    let all: Vec<u64> = history.iter().map(|(zxid, _)| *zxid).collect();
    let is_record = |at: u64| at == 0 || all.contains(&at);
    let mut zxids = vec![0, zxid(1, 15), zxid(2, 0), zxid(2, 9), zxid(3, 0)];
    zxids.extend(&all);
    truncate_everywhere(&member(&history, &[]), &zxids, is_record, "no snapshot");
    truncate_everywhere(&member(&history, &[5, 10]), &zxids, is_record, "two snapshots and the whole log");

    let disk = member(&history, &[5, 10]);
    assert!(remove_segments_before(&disk, zxid(1, 6)) > 0);
    let possible = |at: u64| at >= zxid(1, 5) && is_record(at);
    truncate_everywhere(&disk, &zxids, possible, "two snapshots and the log since");
}

/// As retention does when a snapshot makes them unneeded.
fn remove_segments_before(disk: &SimDisk, zxid: u64) -> usize {
    let first = |name: &String| name.strip_prefix("log.").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let firsts: Vec<u64> = {
        let mut firsts: Vec<u64> = disk.names().iter().filter_map(first).collect();
        firsts.sort_unstable();
        firsts
    };
    let old: Vec<u64> = firsts.windows(2).filter(|pair| pair[1] <= zxid).map(|pair| pair[0]).collect();
    for first in &old {
        disk.tamper(&format!("log.{first:x}"), None);
    }
    old.len()
}

#[test]
fn damage_that_nobody_needs_does_not_stop_a_truncation() {
    let history = records(1, 1..=14);
    let disk = member(&history, &[10]);
    let oldest = format!("log.{:x}", zxid(1, 1));
    let mut damaged = disk.content(&oldest).expect("it is there");
    damaged[20] ^= 1;
    disk.tamper(&oldest, Some(damaged));
    truncate_everywhere(&disk, &[zxid(1, 12), zxid(1, 10), zxid(1, 9)], |at| at >= zxid(1, 10), "damage");
}

#[test]
fn a_truncation_that_would_leave_no_good_snapshot_changes_nothing() {
    let history = records(1, 1..=14);
    let disk = member(&history, &[5, 10]);
    assert!(remove_segments_before(&disk, zxid(1, 6)) > 0);
    let name = format!("snapshot.{:x}", zxid(1, 5));
    let mut damaged = disk.content(&name).expect("it is there");
    *damaged.last_mut().expect("not empty") ^= 1;
    disk.tamper(&name, Some(damaged));
    truncate_everywhere(
        &disk,
        &[zxid(1, 7), zxid(1, 12)],
        |at| at >= zxid(1, 10),
        "a damaged older snapshot",
    );
}

/// Receives the snapshot that `leader` took last and replaces the log with it.
fn replace(disk: &SimDisk, leader: &SimDisk) -> Result<(), StoreError> {
    recover(disk, |mut log, _| {
        let source = SnapshotSource::open(&leader.as_disk(), 0)?.expect("a snapshot");
        receive(disk, &source)?;
        log.replace_with_snapshot(source.id().zxid)?;
        assert_eq!(log.last_zxid(), source.id().zxid);
        Ok(())
    })
    .map(drop)
}

fn receive(disk: &SimDisk, source: &SnapshotSource) -> Result<(), StoreError> {
    let mut receiver = SnapshotReceiver::begin(disk.as_disk(), source.id())?;
    while let Some(piece) = source.piece(receiver.next())? {
        assert!(!receiver.is_whole());
        receiver.piece(receiver.next(), &piece)?;
    }
    assert!(receiver.is_whole());
    Ok(())
}

#[test]
fn a_replacement_leaves_the_old_log_or_the_new_snapshot() {
    let one = records(1, 1..=20);
    let diverged = [records(1, 1..=10), records(2, 1..=8)].concat();
    let cases: &[(&str, &History, &[u64], History)] = &[
        ("an empty member", &History::new(), &[], one.clone()),
        ("a snapshot ahead", &one, &[5, 10], records(1, 1..=30)),
        ("a snapshot behind", &one, &[5, 10], records(1, 1..=8)),
        ("a snapshot behind all that is left", &one, &[5, 10], records(1, 1..=2)),
        ("a snapshot that the member has itself", &one, &[5, 10], records(1, 1..=10)),
        ("a later epoch", &diverged, &[5], [records(1, 1..=12), records(3, 1..=2)].concat()),
        ("an end that was never agreed on", &diverged, &[5], records(1, 1..=15)),
    ];
    for (what, old, snapshots, new) in cases {
        let disk = member(old, snapshots);
        let leader = SimDisk::new();
        write_snapshot(&leader, new);
        disturb(&disk, old, new, |disk| replace(disk, &leader), what);

        // The same log goes on at once.
        let other = records(7, 1..=5);
        recover(&disk, |mut log, _| {
            let source = SnapshotSource::open(&leader.as_disk(), 0)?.expect("a snapshot");
            receive(&disk, &source)?;
            log.replace_with_snapshot(source.id().zxid)?;
            append(&mut log, &other)
        })
        .expect("nothing goes wrong");
        let names = disk.names();
        let old = |name: &&String| name.starts_with("log.") && !name.starts_with("log.7");
        assert_eq!(names.iter().find(old), None, "{what}: {names:?}");
        let longer = [new.clone(), other].concat();
        for seed in 0..4 {
            assert!(seen(&disk.after_power_cut(seed)).expect("a start") == longer, "{what}, then more");
        }
        // Back to where it began is possible, to what was before is not.
        let begin = last_zxid(new);
        truncate_everywhere(&disk, &[zxid(1, 1), begin, zxid(7, 2)], |at| at >= begin, what);
    }
}

#[test]
fn what_was_received_and_not_used_is_gone_after_a_start() {
    let history = records(1, 1..=9);
    let disk = member(&history, &[]);
    let names = disk.names();
    let leader = SimDisk::new();
    write_snapshot(&leader, &records(1, 1..=30));
    let source = SnapshotSource::open(&leader.as_disk(), 0).expect("good").expect("a snapshot");
    receive(&disk, &source).expect("space");
    assert_ne!(disk.names(), names);
    assert!(seen(&disk).expect("a start") == history);
    assert_eq!(disk.names(), names);
}

/// Epochs are saved between batches, as when a member follows one leader after another.
fn follow_leaders(disk: &SimDisk, told: &mut Epochs, asked: &mut Epochs) -> Result<(), StoreError> {
    recover(disk, |mut log, report| {
        *told = report.epochs;
        for epoch in 1..=4 {
            *asked = Epochs { accepted: epoch, ..*asked };
            log.save_epochs(*asked)?;
            *told = *asked;
            append(&mut log, &records(epoch.into(), 1..=4))?;
            *asked = Epochs { accepted: epoch, current: epoch, complete: true };
            log.save_epochs(*asked)?;
            *told = *asked;
        }
        Ok(())
    })
    .map(drop)
}

#[test]
fn epochs_never_go_back_and_come_after_the_history_that_they_speak_of() {
    let whole = SimDisk::new();
    follow_leaders(&whole, &mut Epochs::default(), &mut Epochs::default()).expect("nothing goes wrong");
    for effect in 0..whole.effects() {
        let disk = SimDisk::new();
        disk.stop_at(effect);
        let (mut told, mut asked) = (Epochs::default(), Epochs::default());
        follow_leaders(&disk, &mut told, &mut asked).expect_err("the machine stopped");
        let killed = disk.after_kill();
        let check = |disk: &SimDisk, told: Epochs, what: &str| {
            let (history, epochs) = recover(disk, |_, report| Ok(report.epochs))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(
                epochs.accepted >= told.accepted && epochs.accepted <= asked.accepted,
                "{what}: {epochs:?}"
            );
            assert!(epochs.current >= told.current && epochs.current <= asked.current, "{what}: {epochs:?}");
            assert!(epochs.accepted >= epochs.current, "{what}: {epochs:?}");
            assert_eq!(epochs.complete, epochs.current > 0, "{what}: {epochs:?}");
            for epoch in 1..=u64::from(epochs.current) {
                assert!(history.contains(&record(zxid(epoch, 4))), "{what}: epoch {epoch} is not all there");
            }
            epochs
        };
        // What a start after a kill was told must survive a power cut then.
        let told_again = check(&killed, told, &format!("kill at effect {effect}"));
        for seed in 0..8 {
            check(&disk.after_power_cut(seed), told, &format!("power cut {seed} at effect {effect}"));
            check(
                &killed.after_power_cut(seed),
                told_again,
                &format!("kill at effect {effect}, power cut {seed}"),
            );
        }
    }
}

#[test]
fn epochs_wait_for_space_and_the_old_ones_stay() {
    let disk = SimDisk::new();
    recover(&disk, |mut log, _| {
        let first = Epochs { accepted: 3, current: 2, complete: true };
        log.save_epochs(first)?;
        disk.set_capacity(Some(disk.used()));
        let second = Epochs { accepted: 4, current: 2, complete: true };
        assert!(log.save_epochs(second).expect_err("no space").is_full());
        assert_eq!(log.epochs(), first);
        disk.set_capacity(None);
        log.save_epochs(second)
    })
    .expect("space");
    let (_, epochs) = recover(&disk.after_power_cut(1), |_, report| Ok(report.epochs)).expect("a start");
    assert_eq!(epochs, Epochs { accepted: 4, current: 2, complete: true });
}

#[test]
fn the_log_thread_does_everything_in_the_order_of_its_queue() {
    let leader = SimDisk::new();
    let received = records(2, 1..=3);
    write_snapshot(&leader, &received);
    let disk = member(&records(1, 1..=6), &[]);
    let (sender, events) = channel();
    let (_, handle) = recover(&disk, |log, _| {
        LogHandle::spawn(log, move |event| sender.send(event).expect("the test listens"))
    })
    .expect("a start");
    let source = SnapshotSource::open(&leader.as_disk(), 0).expect("good").expect("a snapshot");
    receive(&disk, &source).expect("space");
    let queue = |(zxid, body): (u64, Vec<u8>)| handle.append(zxid, body.into()).expect("room");
    let epochs = Epochs { accepted: 2, current: 1, complete: true };

    records(1, 7..=8).into_iter().for_each(queue);
    handle.save_epochs(epochs);
    handle.truncate_after(zxid(1, 99));
    handle.truncate_after(zxid(1, 7));
    queue(record(zxid(3, 1)));
    handle.replace_with_snapshot(zxid(2, 3));
    queue(record(zxid(2, 4)));
    let mut steps = Vec::new();
    while steps.last() != Some(&format!("durable {:x}", zxid(2, 4))) {
        steps.push(match events.recv_timeout(Duration::from_secs(20)).expect("a report") {
            LogEvent::Durable(flushed) => format!("durable {:x}", flushed.zxid),
            LogEvent::EpochsSaved(saved) => {
                assert_eq!(saved, epochs);
                "epochs".into()
            }
            LogEvent::Truncated { zxid, done } => format!("truncated {zxid:x} {done}"),
            LogEvent::Replaced { zxid } => format!("replaced {zxid:x}"),
            other => panic!("unexpected {other:?}"),
        });
    }
    let expected = [
        "durable 100000008",
        "epochs",
        "truncated 100000063 false",
        "truncated 100000007 true",
        "durable 300000001",
        "replaced 200000003",
        "durable 200000004",
    ];
    // How many records share a flush depends on the threads.
    steps.retain(|step| step != "durable 100000007");
    assert_eq!(steps, expected);
    handle.shutdown().expect("a clean stop");
    let (history, saved) = recover(&disk.after_power_cut(1), |_, report| Ok(report.epochs)).expect("a start");
    assert!(history == [received, records(2, 4..=4)].concat());
    assert_eq!(saved, epochs);
}

#[test]
fn the_log_is_read_while_it_is_written() {
    let disk = SimDisk::new();
    let history = [records(1, 1..=20), records(2, 1..=20)].concat();
    recover(&disk, |mut log, _| {
        append(&mut log, &history[..6])?;
        let mut follower = LogReader::open(disk.as_disk(), 0, history[5].0)?.expect("all is there");
        let mut read = History::new();
        for batch in history[6..].chunks(2) {
            for (zxid, body) in batch {
                log.append(*zxid, body.clone().into());
            }
            // Nothing that is not durable is seen.
            while let Some((zxid, body)) = follower.next_record()? {
                read.push((zxid, body.to_vec()));
            }
            assert_eq!(last_zxid(&read), follower.after());
            assert!(last_zxid(&read) < batch[0].0);
            let flushed = log.flush()?.expect("a batch");
            follower.extend(flushed.zxid)?;
        }
        while let Some((zxid, body)) = follower.next_record()? {
            read.push((zxid, body.to_vec()));
        }
        assert!(read == history);

        for (index, (after, _)) in history.iter().enumerate() {
            for up_to in [*after, (*after).max(history[history.len() / 2].0), last_zxid(&history)] {
                let mut reader = LogReader::open(disk.as_disk(), *after, up_to)?.expect("all is there");
                assert_eq!(reader.after(), *after);
                let mut next = index + 1;
                while let Some((zxid, body)) = reader.next_record()? {
                    assert_eq!((zxid, body.to_vec()), history[next]);
                    next += 1;
                }
                assert!(next == index + 1 || history[next - 1].0 == up_to);
            }
        }
        // Zxids that another leader gave are not ours; what comes before them may be.
        for (foreign, ours) in
            [(zxid(1, 21), zxid(1, 20)), (zxid(2, 0), zxid(1, 20)), (zxid(3, 5), zxid(2, 20))]
        {
            let reader =
                LogReader::open(disk.as_disk(), foreign, last_zxid(&history))?.expect("all is there");
            assert_eq!(reader.after(), ours);
        }
        Ok(())
    })
    .expect("nothing goes wrong");
    assert!(remove_segments_before(&disk, zxid(1, 10)) > 0);
    assert!(LogReader::open(disk.as_disk(), zxid(1, 1), last_zxid(&history)).expect("good").is_none());
}

/// A snapshot of several pieces.
fn large_snapshot() -> (SimDisk, u64) {
    let disk = SimDisk::new();
    let mut random = Random::new(3);
    let mut writer = SnapshotWriter::create(disk.as_disk(), 77, b"header").expect("space");
    for _ in 0..9 {
        let chunk: Vec<u8> = (0..100_000).map(|_| random.next_u64() as u8).collect();
        writer.chunk(&chunk).expect("space");
    }
    writer.finish(b"trailer").expect("space");
    (disk, 77)
}

#[test]
fn a_transfer_that_was_cut_off_goes_on_and_bad_pieces_are_noticed() {
    let (leader, zxid) = large_snapshot();
    let source = SnapshotSource::open(&leader.as_disk(), zxid).expect("good").expect("new enough");
    assert!(SnapshotSource::open(&leader.as_disk(), zxid + 1).expect("good").is_none());
    assert_eq!(source.id().pieces(), 4);
    assert!(source.piece(4).expect("good").is_none());
    let piece = |index| source.piece(index).expect("good").expect("a piece");

    let disk = SimDisk::new();
    let mut receiver = SnapshotReceiver::begin(disk.as_disk(), source.id()).expect("space");
    receiver.piece(0, &piece(0)).expect("the first");
    receiver.piece(0, &piece(0)).expect("a repetition is ignored");
    assert!(receiver.piece(2, &piece(2)).is_err(), "one is missing");
    assert!(receiver.piece(1, &piece(1)[1..]).is_err(), "too short");
    assert_eq!(receiver.next(), 1);
    for index in 1..4 {
        assert!(!receiver.is_whole());
        receiver.piece(index, &piece(index)).expect("the next");
    }
    assert!(receiver.is_whole() && receiver.is_there().expect("a list"));
    assert_eq!(disk.content("received.4d"), leader.content("snapshot.4d"));

    for (index, at) in [(0, 5), (1, 100), (3, 7)] {
        let mut receiver = SnapshotReceiver::begin(disk.as_disk(), source.id()).expect("space");
        let sent = (0..4).try_for_each(|number| {
            let mut bytes = piece(number);
            bytes[at] ^= u8::from(number == index);
            receiver.piece(number, &bytes)
        });
        let error = sent.expect_err("the whole does not fit together");
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(!receiver.is_whole());
    }
}

#[test]
fn the_courier_carries_a_snapshot_across_and_resumes() {
    let (leader, zxid) = large_snapshot();
    let follower = SimDisk::new();
    let spawn = |disk: &SimDisk| {
        let (sender, events) = channel();
        let disk: Arc<dyn Disk> = disk.as_disk();
        let report = move |event| {
            // The test may have seen enough.
            let _ = sender.send(event);
        };
        (CourierHandle::spawn(Arc::clone(&disk), disk, report).expect("a thread"), events)
    };
    let (sender, sent) = spawn(&leader);
    let (taker, taken) = spawn(&follower);
    let patience = Duration::from_secs(20);

    sender.offer(5, zxid + 1).expect("room");
    assert!(matches!(
        sent.recv_timeout(patience).expect("a report"),
        CourierEvent::Offered { reader: 5, snapshot: None }
    ));
    sender.piece(5, 0).expect("room");
    assert!(matches!(
        sent.recv_timeout(patience).expect("a report"),
        CourierEvent::ReadFailed { reader: 5, .. }
    ));
    let mut steps = 0;
    'again: loop {
        sender.offer(6, zxid).expect("room");
        let CourierEvent::Offered { reader: 6, snapshot: Some(snapshot) } =
            sent.recv_timeout(patience).expect("a report")
        else {
            panic!("there is a snapshot")
        };
        taker.receive(snapshot).expect("room");
        loop {
            match taken.recv_timeout(patience).expect("a report") {
                CourierEvent::Receiving { snapshot: which, next } => {
                    assert_eq!((which, next), (snapshot, steps));
                    sender.piece(6, next).expect("room");
                    let CourierEvent::Piece { reader: 6, index, bytes, last } =
                        sent.recv_timeout(patience).expect("a report")
                    else {
                        panic!("there is a piece")
                    };
                    assert_eq!((index, last), (next, next == 3));
                    taker.take(snapshot, index, bytes).expect("room");
                    steps += 1;
                    if steps == 2 {
                        // The connection is lost behind this piece; the report about it is too.
                        assert!(matches!(
                            taken.recv_timeout(patience).expect("a report"),
                            CourierEvent::Receiving { next: 2, .. }
                        ));
                        sender.close(6);
                        continue 'again;
                    }
                }
                CourierEvent::Received { snapshot: which } => {
                    assert_eq!((which, steps), (snapshot, 4));
                    break 'again;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    assert_eq!(follower.content("received.4d"), leader.content("snapshot.4d"));
}

#[test]
fn the_courier_reads_the_log_in_bounded_steps() {
    let disk = SimDisk::new();
    let bodies: Vec<Vec<u8>> = (0..30).map(|number| vec![number; 200_000]).collect();
    recover(&disk, |mut log, _| {
        for (number, body) in bodies.iter().enumerate() {
            log.append(zxid(1, number as u64 + 1), body.clone().into());
        }
        log.flush().map(drop)
    })
    .expect("space");
    let (sender, events) = channel();
    let report = move |event| sender.send(event).expect("the test listens");
    let courier = CourierHandle::spawn(disk.as_disk(), disk.as_disk(), report).expect("a thread");
    let next = || events.recv_timeout(Duration::from_secs(20)).expect("a report");

    // Of a log that is longer than a small snapshot is worth, only the beginning is read.
    let opened =
        |event| matches!(event, CourierEvent::Opened { after: Some(after), .. } if after == zxid(1, 3));
    courier.open_log(1, zxid(1, 3), zxid(1, 20), 1000).expect("room");
    assert!(opened(next()));
    let mut read = 0;
    for _ in 0..3 {
        courier.records(1, zxid(1, 28)).expect("room");
        let CourierEvent::Records { records, .. } = next() else { panic!("records follow") };
        read += records.len();
    }
    assert_eq!(read, 6);

    disk.tamper("snapshot.1", Some(vec![0; 1 << 20]));
    courier.open_log(1, zxid(1, 3), zxid(1, 20), 10_000).expect("room");
    assert!(opened(next()));
    let (mut counter, mut batches) = (3, 0);
    loop {
        courier.records(1, zxid(1, 28)).expect("room");
        let CourierEvent::Records { reader: 1, records } = next() else { panic!("records follow") };
        assert!(records.iter().map(|(_, body)| body.len()).sum::<usize>() < 1_400_000);
        if records.is_empty() {
            break;
        }
        batches += 1;
        for (at, body) in records {
            counter += 1;
            assert_eq!((at, &body[..]), (zxid(1, counter), &bodies[counter as usize - 1][..]));
        }
    }
    assert_eq!(counter, 28);
    assert!(batches > 3);
}
