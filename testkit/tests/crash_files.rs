//! Damage to files at rest: every kind of file, every class of byte in it, every kind of damage, each with the verdict it
//! must get. Never may the server start with less than was acknowledged, as long as the note beside the log is there; what
//! can slip through without the note is in the second table.

use std::collections::BTreeMap;
use std::ops::Range;

use coordinator::store::{LogOptions, Recovery, Retention, SnapshotWriter, StoreError, prepare_for_snapshot};
use testkit::sim::disk::SimDisk;
use testkit::sim::random::Random;

/// Commands in the good directory, in batches of two.
const LAST: u64 = 60;
/// Snapshots, and where the segments begin.
const OLDER_SNAPSHOT: u64 = 10;
const NEWER_SNAPSHOT: u64 = 20;
const UNNEEDED: &str = "log.b";
const CLOSED: &str = "log.15";
const ACTIVE: &str = "log.29";

const SEGMENT_HEADER: u64 = 64;
const RECORD_HEADER: u64 = 32;
const TRAILER: u64 = 8;

fn options() -> LogOptions {
    LogOptions { salt_seed: 7, ..LogOptions::default() }
}

/// Never zero, so that the verdicts do not depend on where sectors end; never a multiple of eight long.
fn body(zxid: u64) -> Vec<u8> {
    let mut random = Random::new(zxid);
    (0..900 + zxid * 8 + 3).map(|_| random.below(255) as u8 + 1).collect()
}

fn span(zxid: u64) -> u64 {
    RECORD_HEADER + TRAILER + (body(zxid).len() as u64).next_multiple_of(8)
}

/// Writes the good directory: a clean stop after `LAST` commands, two snapshots, four segments.
fn good_directory() -> SimDisk {
    let disk = SimDisk::new();
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options()).expect("empty");
    assert!(recovery.next_record().expect("empty").is_none());
    let (mut log, _) = recovery.finish().expect("empty");
    for zxid in 1..=LAST {
        if [OLDER_SNAPSHOT + 1, NEWER_SNAPSHOT + 1, 41].contains(&zxid) {
            log.roll();
        }
        log.append(zxid, body(zxid).into());
        if zxid.is_multiple_of(2) {
            log.flush().expect("space");
        }
    }
    log.close().expect("space");
    for zxid in [OLDER_SNAPSHOT, NEWER_SNAPSHOT] {
        write_snapshot(&disk, zxid);
    }
    disk.tamper("log.1", None);
    assert_eq!(disk.names(), [CLOSED, ACTIVE, UNNEEDED, "position", "snapshot.14", "snapshot.a"]);
    disk
}

fn write_snapshot(disk: &SimDisk, zxid: u64) {
    let mut writer = SnapshotWriter::create(disk.as_disk(), zxid, b"header").expect("space");
    for covered in 1..=zxid {
        writer.chunk(&body(covered)).expect("space");
    }
    writer.finish(b"trailer").expect("space");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Starts with everything.
    Whole,
    /// Does not start, and names the file and a byte at or before the damage.
    Refused,
    /// Starts with less than was acknowledged.
    Shorter,
}
use Verdict::{Refused, Shorter, Whole};

/// What a start makes of a directory. A refusal must name `file`; the byte it names is returned.
fn verdict(disk: &SimDisk, file: &str) -> (Verdict, u64) {
    match start(disk) {
        Ok(LAST) => {
            // What came back must be able to go on, and to start once more.
            assert_eq!(start(disk).expect("a second start"), LAST);
            (Whole, 0)
        }
        Ok(less) => {
            assert!(less < LAST);
            (Shorter, 0)
        }
        Err(StoreError::Damaged { file: named, offset, what, advice }) => {
            assert_eq!(
                named.file_name().and_then(|name| name.to_str()),
                Some(file),
                "at byte {offset}: {what}"
            );
            assert!(!what.is_empty() && !advice.is_empty());
            (Refused, offset)
        }
        Err(other) => panic!("unexpected error: {other}"),
    }
}

/// Starts, checks that the result is a beginning of the history, and returns the last zxid.
fn start(disk: &SimDisk) -> Result<u64, StoreError> {
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options())?;
    let mut last = 0;
    if let Some(snapshot) = recovery.snapshot() {
        while let Some(chunk) = snapshot.next_chunk()? {
            last += 1;
            assert_eq!(chunk, body(last));
        }
        assert_eq!(last, snapshot.zxid());
    }
    while let Some((zxid, bytes)) = recovery.next_record()? {
        last += 1;
        assert_eq!((zxid, &bytes[..]), (last, &body(last)[..]));
    }
    let (log, report) = recovery.finish()?;
    assert_eq!(report.last_zxid, last);
    log.close()?;
    Ok(last)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Flip,
    Zero512,
    Zero4096,
    Truncate,
}

const DAMAGES: [Damage; 4] = [Damage::Flip, Damage::Zero512, Damage::Zero4096, Damage::Truncate];

/// Damages the byte at `at`; `None` if that changes nothing.
fn damage(content: &[u8], at: usize, damage: Damage) -> Option<Vec<u8>> {
    let mut damaged = content.to_vec();
    let mut zero = |unit: usize| {
        let start = at / unit * unit;
        let end = (start + unit).min(content.len());
        damaged[start..end].fill(0);
    };
    match damage {
        Damage::Flip => damaged[at] ^= 0x10,
        Damage::Zero512 => zero(512),
        Damage::Zero4096 => zero(4096),
        Damage::Truncate => damaged.truncate(at),
    }
    (damaged != content).then_some(damaged)
}

/// The offset of each record of a segment that holds `zxids`, and of its end.
fn record_offsets(zxids: Range<u64>) -> BTreeMap<u64, u64> {
    let mut offset = SEGMENT_HEADER;
    let mut offsets = BTreeMap::new();
    for zxid in zxids.clone() {
        offsets.insert(zxid, offset);
        offset += span(zxid);
    }
    offsets.insert(zxids.end, offset);
    offsets
}

/// The byte classes of a segment: name and places.
fn segment_classes(zxids: Range<u64>, size: u64) -> Vec<(&'static str, Vec<u64>)> {
    let offsets = record_offsets(zxids.clone());
    let end = offsets[&zxids.end];
    let in_records = |of: &dyn Fn(u64, u64) -> Vec<u64>, which: &[u64]| {
        which.iter().flat_map(|&zxid| of(offsets[&zxid], body(zxid).len() as u64)).collect::<Vec<u64>>()
    };
    // First, second, one in the middle, the last two (one batch), and those before them (the batch before).
    let early = [zxids.start, zxids.start + 1, zxids.start + 8, zxids.end - 4, zxids.end - 3];
    let late = [zxids.end - 2, zxids.end - 1];
    let header = |start: u64, _| (0..RECORD_HEADER).map(|at| start + at).collect();
    let inside = |start: u64, length: u64| {
        [0, 1, length / 3, length / 2, length - 1].map(|at| start + RECORD_HEADER + at).to_vec()
    };
    let padding = |start: u64, length: u64| {
        (length..length.next_multiple_of(8)).map(|at| start + RECORD_HEADER + at).collect()
    };
    let trailer = |start: u64, length: u64| {
        let trailer = start + RECORD_HEADER + length.next_multiple_of(8);
        (trailer..trailer + TRAILER).collect()
    };
    let mut classes = vec![
        ("segment header", (0..SEGMENT_HEADER).collect()),
        ("record header", in_records(&header, &early)),
        ("body", in_records(&inside, &early)),
        ("padding", in_records(&padding, &early)),
        ("trailer", in_records(&trailer, &early)),
        ("last batch, record header", in_records(&header, &late)),
        ("last batch, body", in_records(&inside, &late)),
        ("last batch, padding", in_records(&padding, &late)),
        ("last batch, trailer", in_records(&trailer, &late)),
    ];
    if size > end {
        classes.push(("zeros right behind", vec![end, end + 1, end + 31]));
        classes.push(("zeros further behind", vec![end + 4096, (end + size) / 2, size - 1]));
    }
    classes
}

/// Applies every damage to every place, and returns the verdicts seen per class and damage.
fn matrix(
    good: &SimDisk,
    file: &str,
    classes: &[(&'static str, Vec<u64>)],
) -> BTreeMap<(&'static str, Damage), Vec<Verdict>> {
    let content = good.content(file).expect("it is there");
    let mut seen: BTreeMap<(&'static str, Damage), Vec<Verdict>> = BTreeMap::new();
    for (class, places) in classes {
        for kind in DAMAGES {
            let verdicts = seen.entry((class, kind)).or_default();
            for &place in places {
                let Some(damaged) = damage(&content, place as usize, kind) else { continue };
                let disk = good.fork();
                disk.tamper(file, Some(damaged));
                let (verdict, offset) = verdict(&disk, file);
                let truncated_to = if kind == Damage::Truncate { place } else { u64::MAX };
                assert!(
                    offset <= place.max(truncated_to),
                    "byte {offset} is named, byte {place} was damaged"
                );
                verdicts.push(verdict);
            }
            verdicts.sort_unstable();
            verdicts.dedup();
        }
    }
    seen
}

type Row = (&'static str, [&'static [Verdict]; 4]);

/// Compares what was seen with the table: every class is in it, and nothing else.
fn compare(seen: &BTreeMap<(&'static str, Damage), Vec<Verdict>>, table: &[Row]) {
    let mut expected = BTreeMap::new();
    for (class, verdicts) in table {
        for (kind, verdicts) in DAMAGES.into_iter().zip(verdicts) {
            expected.insert((*class, kind), verdicts.to_vec());
        }
    }
    assert_eq!(seen, &expected);
}

#[test]
fn a_needed_segment_that_is_damaged_stops_the_start() {
    let good = good_directory();
    let content = good.content(CLOSED).expect("it is there");
    let table: &[Row] = &[
        //                              flip         zero 512     zero 4 KiB   truncate
        ("segment header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("record header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("body", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("padding", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("trailer", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, record header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, body", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, padding", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, trailer", [&[Refused], &[Refused], &[Refused], &[Refused]]),
    ];
    compare(&matrix(&good, CLOSED, &segment_classes(21..41, content.len() as u64)), table);
}

#[test]
fn the_newest_segment_that_is_damaged_stops_the_start() {
    let good = good_directory();
    let content = good.content(ACTIVE).expect("it is there");
    let table: &[Row] = &[
        //                              flip         zero 512     zero 4 KiB   truncate
        ("segment header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("record header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("body", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("padding", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("trailer", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, record header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, body", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, padding", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("last batch, trailer", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        // Cut exactly behind the last record, everything is there. A zeroed sector takes the last record with it.
        ("zeros right behind", [&[Whole], &[Refused], &[Refused], &[Whole, Refused]]),
        // A flipped bit among the zeros reads as the trace of a batch that was never acknowledged.
        ("zeros further behind", [&[Whole], &[], &[], &[Whole]]),
    ];
    compare(&matrix(&good, ACTIVE, &segment_classes(41..61, content.len() as u64)), table);
}

#[test]
fn without_the_note_only_unwritten_looking_damage_to_the_last_batch_slips_through() {
    let good = good_directory();
    good.tamper("position", None);
    let content = good.content(ACTIVE).expect("it is there");
    let table: &[Row] = &[
        //                              flip         zero 512     zero 4 KiB   truncate
        ("segment header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("record header", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("body", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("padding", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        ("trailer", [&[Refused], &[Refused], &[Refused], &[Refused]]),
        // Zeros in the batch that was written last are what a crash before its sync leaves, unless they reach into the
        // batch before.
        ("last batch, record header", [&[Refused], &[Refused, Shorter], &[Refused, Shorter], &[Refused]]),
        ("last batch, body", [&[Refused], &[Refused, Shorter], &[Refused, Shorter], &[Refused]]),
        ("last batch, padding", [&[Refused], &[Shorter], &[Shorter], &[Refused]]),
        ("last batch, trailer", [&[Refused], &[Shorter], &[Shorter], &[Refused]]),
        ("zeros right behind", [&[Whole], &[Shorter], &[Shorter], &[Refused]]),
        ("zeros further behind", [&[Whole], &[], &[], &[Whole]]),
    ];
    compare(&matrix(&good, ACTIVE, &segment_classes(41..61, content.len() as u64)), table);
}

#[test]
fn damage_to_a_segment_that_no_newer_snapshot_needs_costs_nothing() {
    let good = good_directory();
    let content = good.content(UNNEEDED).expect("it is there");
    for (class, verdicts) in matrix(&good, UNNEEDED, &segment_classes(11..21, content.len() as u64)) {
        assert_eq!(verdicts, [Whole], "{class:?}");
    }
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let good = good_directory();
    let content = good.content("snapshot.14").expect("it is there");
    let end = content.len() as u64;
    // Every byte would do; these are all in the headers and the end, and some in each chunk.
    let places: Vec<u64> = (0..200).chain((200..end - 100).step_by(97)).chain(end - 100..end).collect();
    for (class, verdicts) in matrix(&good, "snapshot.14", &[("any", places.clone())]) {
        assert_eq!(verdicts, [Whole], "{class:?}");
    }

    // Without an older one, and without the log that it made unneeded, there is nothing to go on with.
    good.tamper("snapshot.a", None);
    good.tamper(UNNEEDED, None);
    for (class, verdicts) in matrix(&good, "snapshot.14", &[("any", places)]) {
        assert_eq!(verdicts, [Refused], "{class:?}");
    }
}

#[test]
fn a_damaged_older_snapshot_costs_nothing() {
    let good = good_directory();
    let end = good.content("snapshot.a").expect("it is there").len() as u64;
    let places: Vec<u64> = (0..end).step_by(61).collect();
    for (class, verdicts) in matrix(&good, "snapshot.a", &[("any", places)]) {
        assert_eq!(verdicts, [Whole], "{class:?}");
    }
}

#[test]
fn a_damaged_note_costs_nothing() {
    let good = good_directory();
    let end = good.content("position").expect("it is there").len() as u64;
    let places: Vec<u64> = (0..48).chain([48, 500, 4095]).chain(4096..end).collect();
    for (class, verdicts) in matrix(&good, "position", &[("any", places)]) {
        assert_eq!(verdicts, [Whole], "{class:?}");
    }
}

#[test]
fn any_flipped_bit_in_the_newest_segment_is_noticed() {
    let good = good_directory();
    let content = good.content(ACTIVE).expect("it is there");
    let end = record_offsets(41..61)[&61] as usize;
    for at in (0..end).step_by(7) {
        let mut damaged = content.clone();
        damaged[at] ^= 1 << (at % 8);
        let disk = good.fork();
        disk.tamper(ACTIVE, Some(damaged));
        assert_eq!(verdict(&disk, ACTIVE).0, Refused, "byte {at}");
    }
}

#[test]
fn missing_files() {
    let good = good_directory();
    let missing = |names: &[&str], refused_for: &str| {
        let disk = good.fork();
        for name in names {
            disk.tamper(name, None);
        }
        verdict(&disk, refused_for).0
    };
    assert_eq!(missing(&[ACTIVE], ACTIVE), Refused);
    // Named is the segment that should go on.
    assert_eq!(missing(&[CLOSED], UNNEEDED), Refused);
    assert_eq!(missing(&[CLOSED, ACTIVE], ACTIVE), Refused);
    assert_eq!(missing(&[UNNEEDED, CLOSED, ACTIVE], ACTIVE), Refused);
    assert_eq!(missing(&[UNNEEDED, CLOSED, ACTIVE, "position"], "position"), Refused);
    assert_eq!(missing(&["snapshot.a", "snapshot.14"], UNNEEDED), Refused);
    assert_eq!(missing(&[UNNEEDED], UNNEEDED), Whole);
    assert_eq!(missing(&["snapshot.14"], "snapshot.14"), Whole);
    assert_eq!(missing(&["snapshot.a"], "snapshot.a"), Whole);
    assert_eq!(missing(&["position"], "position"), Whole);
}

#[test]
fn emptied_files() {
    let good = good_directory();
    for name in good.names() {
        for kept in [0, 16, SEGMENT_HEADER as usize] {
            let disk = good.fork();
            let mut content = good.content(&name).expect("it is there");
            content.truncate(kept);
            disk.tamper(&name, Some(content));
            let expected = if [CLOSED, ACTIVE].contains(&&name[..]) { Refused } else { Whole };
            assert_eq!(verdict(&disk, &name).0, expected, "{name} cut to {kept} bytes");
        }
    }
}

/// Puts these records of a segment, by zxid, in the place of its own.
fn rearranged(good: &SimDisk, file: &str, zxids: Range<u64>, order: &[u64]) -> Vec<u8> {
    let content = good.content(file).expect("it is there");
    let offsets = record_offsets(zxids.clone());
    let mut out = content[..SEGMENT_HEADER as usize].to_vec();
    for &zxid in order {
        let start = offsets[&zxid] as usize;
        out.extend_from_slice(&content[start..start + span(zxid) as usize]);
    }
    out.extend_from_slice(&content[offsets[&zxids.end] as usize..]);
    out
}

#[test]
fn records_out_of_place() {
    for note in [true, false] {
        let good = good_directory();
        if !note {
            good.tamper("position", None);
        }
        for (file, zxids) in [(CLOSED, 21..41), (ACTIVE, 41..61)] {
            let order: Vec<u64> = zxids.clone().collect();
            for index in 0..order.len() {
                let mut doubled = order.clone();
                doubled.insert(index, order[index]);
                let mut left_out = order.clone();
                left_out.remove(index);
                let mut arrangements = vec![doubled];
                // Without the note, a last record that was never written looks the same.
                if note || file == CLOSED || index + 1 < order.len() {
                    arrangements.push(left_out);
                }
                if index + 1 < order.len() {
                    let mut swapped = order.clone();
                    swapped.swap(index, index + 1);
                    arrangements.push(swapped);
                }
                for arrangement in arrangements {
                    let disk = good.fork();
                    disk.tamper(file, Some(rearranged(&good, file, zxids.clone(), &arrangement)));
                    let (verdict, offset) = verdict(&disk, file);
                    assert_eq!(verdict, Refused, "{file} {arrangement:?}, note {note}");
                    assert!(offset >= SEGMENT_HEADER);
                }
            }
        }
    }
}

#[test]
fn files_in_each_others_place() {
    let good = good_directory();
    for (one, other) in [(CLOSED, ACTIVE), ("snapshot.a", "snapshot.14")] {
        let disk = good.fork();
        let (content, other_content) = (disk.content(one), disk.content(other));
        disk.tamper(one, other_content);
        disk.tamper(other, content);
        let refused = if one == CLOSED { ACTIVE } else { "snapshot.14" };
        assert_eq!(verdict(&disk, refused).0, Refused, "{one} and {other}");
    }
    // A segment of another server has another salt, or other checksums, though the names agree.
    let disk = good.fork();
    let other = SimDisk::new();
    let mut recovery = Recovery::open(other.as_disk(), other.as_disk(), options()).expect("empty");
    assert!(recovery.next_record().expect("empty").is_none());
    let (mut log, _) = recovery.finish().expect("empty");
    for zxid in 1..=LAST {
        if zxid == 41 {
            log.flush().expect("space");
            log.roll();
        }
        log.append(zxid, b"other".as_slice().into());
    }
    log.close().expect("space");
    disk.tamper(ACTIVE, other.content(ACTIVE));
    assert!(matches!(start(&disk), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_record_of_another_history_is_noticed() {
    // Two servers that share a beginning, and differ in one command of the same length.
    let write = |different: u64| {
        let disk = SimDisk::new();
        let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options()).expect("empty");
        assert!(recovery.next_record().expect("empty").is_none());
        let (mut log, _) = recovery.finish().expect("empty");
        for zxid in 1..=LAST {
            let mut body = body(zxid);
            body[0] ^= u8::from(zxid == different) << 7;
            log.append(zxid, body.into());
            log.flush().expect("space");
        }
        log.close().expect("space");
        disk
    };
    let (disk, other) = (write(0), write(30));
    let offsets = record_offsets(1..LAST + 1);
    let range = offsets[&30] as usize..offsets[&31] as usize;
    let mut content = disk.content("log.1").expect("it is there");
    content[range.clone()].copy_from_slice(&other.content("log.1").expect("it is there")[range]);
    disk.tamper("log.1", Some(content));
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options()).expect("so far");
    let mut last = 0;
    let refused = loop {
        match recovery.next_record() {
            Ok(Some((zxid, _))) => last = zxid,
            Ok(None) => panic!("nothing was noticed"),
            Err(error) => break error,
        }
    };
    // The record itself is sound, and continues the one before; it is the next one that does not continue it.
    assert_eq!(last, 30);
    assert!(matches!(refused, StoreError::Damaged { offset, .. } if offset == offsets[&31]), "{refused}");
}

#[test]
fn a_segment_lost_with_the_power_is_noticed() {
    let disk = SimDisk::new();
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options()).expect("empty");
    assert!(recovery.next_record().expect("empty").is_none());
    let (mut log, _) = recovery.finish().expect("empty");
    for zxid in 1..=20 {
        log.append(zxid, body(zxid).into());
        log.flush().expect("space");
        if zxid == 10 {
            log.roll();
        }
    }
    for seed in 0..30 {
        let cut = disk.after_power_cut(seed);
        cut.tamper("log.b", None);
        match start(&cut) {
            Err(StoreError::Damaged { file, .. }) => {
                assert!(file.ends_with("log.b"), "seed {seed}: {file:?}")
            }
            other => panic!("seed {seed}: expected a refusal, got {other:?}"),
        }
    }
}

#[test]
fn every_kept_snapshot_has_the_log_it_needs() {
    let disk = SimDisk::new();
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options()).expect("empty");
    assert!(recovery.next_record().expect("empty").is_none());
    let (mut log, _) = recovery.finish().expect("empty");
    let mut retention = Retention::new(disk.as_disk(), disk.as_disk(), 3);
    for zxid in 1..=LAST {
        log.append(zxid, body(zxid).into());
        log.flush().expect("space");
        if zxid.is_multiple_of(4) {
            // Segments that end elsewhere than at snapshots.
            log.roll();
        }
        if zxid.is_multiple_of(7) {
            write_snapshot(&disk, zxid);
            retention.purge(zxid).expect("space");
        }
    }
    log.close().expect("space");
    let mut snapshots: Vec<u64> = disk
        .names()
        .iter()
        .filter_map(|name| u64::from_str_radix(name.strip_prefix("snapshot.")?, 16).ok())
        .collect();
    snapshots.sort_unstable();
    assert_eq!(snapshots, [42, 49, 56]);
    let oldest_log =
        disk.names().iter().filter_map(|name| u64::from_str_radix(name.strip_prefix("log.")?, 16).ok()).min();
    assert_eq!(
        oldest_log,
        Some(41),
        "the segment with the first record after the oldest snapshot, and none before"
    );
    while let Some(newest) = snapshots.pop() {
        assert_eq!(start(&disk).expect("complete"), LAST, "with the snapshot at {newest}");
        disk.tamper(&format!("snapshot.{newest:x}"), None);
    }
}

#[test]
fn a_snapshot_from_elsewhere_is_indispensable() {
    const RESTORED: u64 = 1 << 32;
    let disk = SimDisk::new();
    let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options()).expect("empty");
    assert!(recovery.next_record().expect("empty").is_none());
    let (mut log, _) = recovery.finish().expect("empty");
    for zxid in 1..=10 {
        log.append(zxid, body(zxid).into());
    }
    log.flush().expect("space");
    write_snapshot(&disk, 10);
    let restored = SnapshotWriter::create(disk.as_disk(), RESTORED, b"restored").expect("space");
    restored.finish(b"").expect("space");
    log.restart_after(RESTORED).expect("space");

    // What is read after the snapshot, and the snapshot's zxid.
    let read = |disk: &SimDisk| -> Result<(u64, Vec<u64>), StoreError> {
        let mut recovery = Recovery::open(disk.as_disk(), disk.as_disk(), options())?;
        let snapshot = recovery.snapshot().map_or(0, |snapshot| snapshot.zxid());
        let mut zxids = Vec::new();
        while let Some((zxid, _)) = recovery.next_record()? {
            zxids.push(zxid);
        }
        recovery.finish()?;
        Ok((snapshot, zxids))
    };
    let refused_without_it = |disk: &SimDisk| {
        let damaged = disk.fork();
        let mut content = disk.content("snapshot.100000000").expect("it is there");
        content[40] ^= 1;
        damaged.tamper("snapshot.100000000", Some(content));
        match read(&damaged) {
            Err(StoreError::Damaged { file, .. }) => {
                assert!(file.ends_with("snapshot.100000000"), "{file:?}")
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        damaged.tamper("snapshot.100000000", None);
        assert!(matches!(read(&damaged), Err(StoreError::Damaged { .. })));
    };
    for seed in 0..10 {
        assert_eq!(read(&disk.after_power_cut(seed)).expect("whole"), (RESTORED, vec![]));
    }
    refused_without_it(&disk);
    log.append(RESTORED + 1, b"after".as_slice().into());
    log.flush().expect("space");
    for seed in 0..10 {
        assert_eq!(read(&disk.after_power_cut(seed)).expect("whole"), (RESTORED, vec![RESTORED + 1]));
    }
    refused_without_it(&disk);
}

#[test]
fn a_snapshot_may_be_put_into_a_prepared_directory_only() {
    let disk = SimDisk::new();
    prepare_for_snapshot(&disk.as_disk(), &disk.as_disk()).expect("empty");
    write_snapshot(&disk, 20);
    let copy = disk.fork();
    assert_eq!(start(&disk).expect("prepared"), 20);
    copy.tamper("position", None);
    assert!(
        matches!(start(&copy), Err(StoreError::Damaged { .. })),
        "the log may be on a disk that is not mounted"
    );
}

#[test]
fn a_stale_version_of_the_newest_segment_is_noticed() {
    let good = good_directory();
    let mut recovery = Recovery::open(good.as_disk(), good.as_disk(), options()).expect("good");
    while recovery.next_record().expect("good").is_some() {}
    let stale = good.content(ACTIVE);
    let (mut log, _) = recovery.finish().expect("good");
    log.append(LAST + 1, b"one more".as_slice().into());
    log.close().expect("space");
    good.tamper(ACTIVE, stale);
    assert_eq!(verdict(&good, ACTIVE).0, Refused);
}
