//! Damage to a member's files at rest: whatever it is, the member starts after a salvage, with a beginning of its history,
//! and never claims that this is all; also when the machine stops at any effect of the salvage.

use std::collections::BTreeSet;

use coordinator::store::{
    Epochs, LogOptions, Recovery, Retention, Salvaged, SnapshotWriter, StoreError, salvage,
};
use testkit::sim::disk::SimDisk;
use testkit::sim::random::Random;

/// Records in the good directory, all in epoch 3.
const LAST: u64 = 40;
const FIRST_ZXID: u64 = 3 << 32 | 1;
const SNAPSHOTS: [u64; 2] = [10, 20];
const PROMISED: Epochs = Epochs { accepted: 5, current: 3, complete: true };

fn options() -> LogOptions {
    LogOptions { salt_seed: 7, ..LogOptions::default() }
}

fn zxid(counter: u64) -> u64 {
    FIRST_ZXID - 1 + counter
}

fn body(counter: u64) -> Vec<u8> {
    let mut random = Random::new(counter);
    (0..100 + counter * 3).map(|_| random.below(255) as u8 + 1).collect()
}

/// Four segments, two snapshots, a clean stop.
fn good_directory() -> SimDisk {
    let disk = SimDisk::new();
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options()).expect("empty");
    assert!(recovery.next_record().expect("empty").is_none());
    let (mut log, _) = recovery.finish().expect("empty");
    for counter in 1..=LAST {
        if [11, 21, 31].contains(&counter) {
            log.roll();
        }
        log.append(zxid(counter), body(counter).into());
        if counter.is_multiple_of(2) {
            log.flush().expect("space");
        }
    }
    log.save_epochs(PROMISED).expect("space");
    log.close().expect("space");
    for counter in SNAPSHOTS {
        write_snapshot(&disk, counter);
    }
    disk
}

fn write_snapshot(disk: &SimDisk, counter: u64) {
    let mut writer = SnapshotWriter::create(disk.as_disk(), zxid(counter), b"header").expect("space");
    for covered in 1..=counter {
        writer.chunk(&body(covered)).expect("space");
    }
    writer.finish(b"trailer").expect("space");
}

/// Starts, and returns how many records there are, which must be the first ones, and the epochs.
fn start(disk: &SimDisk) -> Result<(u64, Epochs), StoreError> {
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options())?;
    let mut last = 0;
    if let Some(snapshot) = recovery.snapshot() {
        while let Some(chunk) = snapshot.next_chunk()? {
            last += 1;
            assert_eq!(chunk, body(last));
        }
        assert_eq!(zxid(last), snapshot.zxid());
    }
    while let Some((found, bytes)) = recovery.next_record()? {
        last += 1;
        assert_eq!((found, &bytes[..]), (zxid(last), &body(last)[..]));
    }
    let (log, report) = recovery.finish()?;
    assert_eq!(log.epochs(), report.epochs);
    log.close()?;
    Ok((last, report.epochs))
}

fn try_salvage(disk: &SimDisk, damage: &StoreError) -> Result<Salvaged, StoreError> {
    salvage(&disk.as_disk(), &disk.as_disk(), damage)
}

/// A member that has less than it acknowledged must say so, and must remember what it promised if it can be known.
fn check(found: u64, epochs: Epochs, epochs_lost: bool, what: &str) {
    assert!(
        found == LAST || !epochs.complete,
        "{what}: {found} of {LAST} records pass for a complete history"
    );
    let least = if epochs_lost { Epochs { accepted: 3, ..PROMISED } } else { PROMISED };
    assert!(epochs.accepted >= least.accepted, "{what}: {epochs:?}");
    assert!(epochs.current >= least.current, "{what}: {epochs:?}");
}

/// Salvages if the start is refused, and returns how many records are left.
fn rescue(disk: &SimDisk, epochs_lost: bool, what: &str) -> (u64, Option<Salvaged>) {
    match start(disk) {
        Ok((found, epochs)) => {
            check(found, epochs, epochs_lost, what);
            assert_eq!(found, LAST, "{what}: less than was acknowledged, and no refusal");
            (found, None)
        }
        Err(error @ StoreError::Damaged { .. }) => {
            let before: Vec<_> = disk.names().iter().map(|name| disk.content(name)).collect();
            let salvaged = try_salvage(disk, &error).unwrap_or_else(|error| panic!("{what}: {error}"));
            for path in &salvaged.moved {
                let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
                assert!(name.ends_with(".damaged"), "{name}");
                assert!(before.contains(&disk.content(name)), "{what}: {name} is kept as it was");
            }
            let (found, epochs) =
                start(disk).unwrap_or_else(|error| panic!("{what}: refused after {salvaged}: {error}"));
            assert!(!epochs.complete, "{what}: {salvaged}");
            assert_eq!(salvaged.last_zxid, if found == 0 { 0 } else { zxid(found) }, "{what}");
            check(found, epochs, epochs_lost, what);
            (found, Some(salvaged))
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// All damages that the tests below do, each with a name.
fn damages(good: &SimDisk) -> Vec<(String, SimDisk)> {
    let mut damages = Vec::new();
    let files = good.names();
    for (index, name) in files.iter().enumerate() {
        let content = good.content(name).expect("it is there");
        let mut tamper = |what: String, content: Option<Vec<u8>>| {
            let disk = good.fork();
            disk.tamper(name, content);
            damages.push((format!("{name} {what}"), disk));
        };
        // A directory without the file is one that a server kept alone.
        if name != "epochs" {
            tamper("is missing".into(), None);
        }
        let used = content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let mut random = Random::new(index as u64);
        let places: BTreeSet<usize> = [0, 9, 30, used / 2, used - 1]
            .into_iter()
            .chain((0..8).map(|_| random.below(used as u64) as usize))
            .collect();
        for at in places {
            let mut flipped = content.clone();
            flipped[at] ^= 0x20;
            tamper(format!("flipped at {at}"), Some(flipped));
            tamper(format!("cut at {at}"), Some(content[..at].to_vec()));
            let mut zeroed = content.clone();
            let sector = at / 512 * 512;
            zeroed[sector..(sector + 512).min(content.len())].fill(0);
            tamper(format!("zeroed around {at}"), Some(zeroed));
        }
    }
    damages
}

#[test]
fn every_damage_leaves_a_beginning_and_no_claim_to_more() {
    let mut salvages = 0;
    let mut left = BTreeSet::new();
    for (what, disk) in damages(&good_directory()) {
        let epochs_lost = what.starts_with("epochs");
        let (found, salvaged) = rescue(&disk, epochs_lost, &what);
        salvages += usize::from(salvaged.is_some());
        left.insert(found);
        // It goes on from there, and what was moved aside stays when old files go.
        let aside: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".damaged")).collect();
        if found > 0 {
            write_snapshot(&disk, found);
            Retention::new(disk.as_disk(), disk.as_disk(), 1).purge(zxid(found)).expect("space");
        }
        assert_eq!(start(&disk.after_power_cut(1)).expect("a start").0, found, "{what}, and on");
        assert!(aside.iter().all(|name| disk.names().contains(name)), "{what}: {aside:?}");
    }
    assert!(salvages > 50, "{salvages} refusals");
    // From the newer snapshot on, up to each segment's end.
    assert!(left.is_superset(&BTreeSet::from([20, 30, 40])), "{left:?}");
}

#[test]
fn two_damages_at_once() {
    let good = good_directory();
    let all = damages(&good);
    let mut random = Random::new(5);
    let mut left = BTreeSet::new();
    for _ in 0..300 {
        let (first, disk) = &all[random.below(all.len() as u64) as usize];
        let (second, other) = &all[random.below(all.len() as u64) as usize];
        let disk = disk.fork();
        let name = second.split(' ').next().expect("a name");
        disk.tamper(name, other.content(name));
        let what = format!("{first} and {second}");
        let Err(error @ StoreError::Damaged { .. }) = start(&disk) else { continue };
        try_salvage(&disk, &error).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (found, epochs) = start(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!epochs.complete, "{what}");
        left.insert(found);
    }
    assert!(left.len() > 3, "{left:?}");
}

#[test]
fn both_snapshots_and_the_log_before_them_gone_leave_an_empty_member() {
    let disk = good_directory();
    for name in [format!("log.{:x}", zxid(1)), format!("log.{:x}", zxid(11))] {
        disk.tamper(&name, None);
    }
    for counter in SNAPSHOTS {
        let name = format!("snapshot.{:x}", zxid(counter));
        let mut content = disk.content(&name).expect("it is there");
        content[40] ^= 1;
        disk.tamper(&name, Some(content));
    }
    let (found, salvaged) = rescue(&disk, false, "no snapshot");
    assert_eq!(found, 0);
    let salvaged = salvaged.expect("it was refused");
    assert_eq!(salvaged.moved.len(), 4, "{salvaged}");
    let text = salvaged.to_string();
    assert!(text.contains("is damaged at byte") && text.contains(".damaged"), "{text}");
}

#[test]
fn a_salvage_that_is_cut_short_never_leaves_a_claim_to_a_history_that_is_not_there() {
    let mut cuts = 0;
    for (index, (what, disk)) in damages(&good_directory()).into_iter().enumerate().step_by(5) {
        let epochs_lost = what.starts_with("epochs");
        let Err(error @ StoreError::Damaged { .. }) = start(&disk.fork()) else { continue };
        let whole = disk.fork();
        let begin = whole.effects();
        try_salvage(&whole, &error).unwrap_or_else(|error| panic!("{what}: {error}"));
        for effect in begin..whole.effects() {
            let stopped = disk.fork();
            stopped.stop_at(effect);
            try_salvage(&stopped, &error).expect_err("the machine stopped");
            let mut images = vec![stopped.after_kill()];
            images.extend((0..3).map(|seed| stopped.after_power_cut(seed + index as u64)));
            for image in images {
                cuts += 1;
                let what = format!("{what}, stopped at effect {effect}");
                let image = match start(&image.fork()) {
                    // Enough was done.
                    Ok((found, epochs)) => {
                        check(found, epochs, epochs_lost, &what);
                        continue;
                    }
                    Err(_) => image,
                };
                let (found, _) = rescue(&image, epochs_lost, &what);
                assert!(found <= LAST);
            }
        }
    }
    assert!(cuts > 500, "{cuts}");
}
