use std::fs;
use std::path::PathBuf;

use client::wire::kafka::batch::{BatchBuilder, BatchOptions};

use super::*;
use crate::log::batch::AppendOrigin;
use crate::log::config::CleanupPolicy;
use crate::log::disk::{Disk, RealDisk};

const NOW: i64 = 1_000_000;

/// A partition on disk, nine batches of one record in three segments, never closed.
struct Site {
    dir: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    config: Arc<TopicConfig>,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).expect("disk"));
        disk.create_dir("t-0").expect("directory");
        let config = Arc::new(TopicConfig { segment_bytes: 2500, ..TopicConfig::default() });
        let site = Site { dir, disk, config };
        let mut log = PartitionLog::create(site.folder(), site.partition(), Arc::clone(&site.config), NOW)
            .expect("made");
        for at in 0..9 {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(NOW + at, None, Some(&[0xaa; 700]));
            log.append_as_leader(builder.build().expect("built"), at as i32 / 4, NOW, AppendOrigin::Client)
                .expect("appended");
        }
        assert_eq!(log.segments.keys().copied().collect::<Vec<_>>(), [0, 3, 6]);
        site
    }

    fn folder(&self) -> Folder {
        Folder::new(Arc::clone(&self.disk), "t-0")
    }

    fn partition(&self) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: 0 }
    }

    fn file(&self, base: i64, suffix: &str) -> PathBuf {
        self.dir.path().join("t-0").join(file_name(base, suffix))
    }

    fn change(&self, base: i64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.file(base, "log")).expect("read");
        change(&mut bytes);
        fs::write(self.file(base, "log"), bytes).expect("written");
    }

    fn open(&self, recovery_point: i64, high_watermark: i64) -> Result<(PartitionLog, Recovered), LogError> {
        self.open_with(&LoadOptions { recovery_point, high_watermark, ..LoadOptions::default() })
    }

    fn open_with(&self, options: &LoadOptions) -> Result<(PartitionLog, Recovered), LogError> {
        let opened =
            PartitionLog::open(self.folder(), self.partition(), Arc::clone(&self.config), options, NOW);
        opened.inspect(|(log, _)| log.check_invariants())
    }

    fn end_after(&self, recovery_point: i64, high_watermark: i64) -> i64 {
        self.open(recovery_point, high_watermark).expect("opened").0.end_offset()
    }
}

#[test]
fn only_what_was_not_synced_is_looked_at_again() {
    let site = Site::new();
    for (recovery_point, rebuilt) in [(9, 1), (7, 1), (6, 2), (5, 2), (3, 3), (0, 3)] {
        let (log, recovered) = site.open(recovery_point, 0).expect("opened");
        assert_eq!(recovered, Recovered { segments_rebuilt: rebuilt, bytes_cut: 0 }, "{recovery_point}");
        assert_eq!((log.end_offset(), log.recovery_point()), (9, recovery_point));
    }
    // A missing or broken index is made anew, however old.
    fs::remove_file(site.file(0, "index")).expect("removed");
    fs::write(site.file(3, "timeindex"), [1; 5]).expect("broken");
    let (mut log, recovered) = site.open(9, 0).expect("opened");
    assert_eq!(recovered.segments_rebuilt, 3);
    assert_eq!(log.offset_for_timestamp(NOW + 4).expect("readable").map(|found| found.offset), Some(4));
    assert_eq!(log.epochs.entries(), [(0, 0), (1, 4), (2, 8)]);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_was_torn() {
    for cut in [1, 60, 300, 761] {
        let site = Site::new();
        site.change(6, |bytes| bytes.truncate(bytes.len() - cut));
        assert_eq!(site.end_after(0, 0), 8, "{cut}");
        assert_eq!(site.end_after(0, 0), 8, "{cut}: the second start finds nothing to do");
    }
    // The end of the file is there, its bytes are not.
    let site = Site::new();
    site.change(6, |bytes| {
        let end = bytes.len();
        bytes[end - 600..].fill(0);
    });
    let (log, recovered) = site.open(0, 0).expect("opened");
    assert_eq!(log.end_offset(), 8);
    assert!(recovered.bytes_cut > 700);
    assert_eq!(log.epochs.entries(), [(0, 0), (1, 4)], "the epoch of what was cut is gone too");
}

#[test]
fn sectors_that_never_came_end_the_log_unless_replicas_had_them() {
    let hole = |site: &Site| site.change(3, |bytes| bytes[512..1536].fill(0));
    let site = Site::new();
    hole(&site);
    let (log, _) = site.open(0, 3).expect("opened");
    assert_eq!(log.end_offset(), 3);
    assert!(!site.file(6, "log").exists(), "what cannot follow is gone");

    let site = Site::new();
    hole(&site);
    let error = site.open(0, 4).expect_err("replicas had offset 3");
    assert!(
        matches!(error, LogError::Damaged { ref file, position: 0, .. } if *file == site.file(3, "log")),
        "{error}"
    );
    assert!(site.file(6, "log").exists(), "nothing is touched");
}

#[test]
fn a_hole_between_segments_ends_the_log_too() {
    let shorten = |site: &Site| site.change(3, |bytes| bytes.truncate(bytes.len() / 3 * 2));
    let site = Site::new();
    shorten(&site);
    assert_eq!(site.end_after(0, 5), 5, "the rest of the file and the next one were never synced");
    assert!(!site.file(6, "log").exists());

    let site = Site::new();
    shorten(&site);
    assert!(matches!(site.open(0, 6), Err(LogError::Damaged { .. })), "replicas had offset 5");

    let site = Site::new();
    shorten(&site);
    site.change(6, Vec::clear);
    assert_eq!(site.end_after(0, 9), 5, "nothing behind it says that there was more");
}

#[test]
fn a_hole_is_a_loss_in_a_compacted_log_too_unless_it_was_cleaned_or_synced() {
    let open = |cleaned_to, recovery_point, high_watermark| {
        let mut site = Site::new();
        let cleanup_policy = CleanupPolicy { delete: false, compact: true };
        site.config = Arc::new(TopicConfig { cleanup_policy, ..(*site.config).clone() });
        site.change(3, |bytes| bytes.truncate(bytes.len() / 3 * 2));
        let options = LoadOptions { cleaned_to, recovery_point, high_watermark, ..LoadOptions::default() };
        site.open_with(&options).map(|(log, _)| log.end_offset())
    };
    assert_eq!(open(0, 0, 5).expect("opened"), 5, "what follows would be without what it follows");
    assert_eq!(open(5, 5, 5).expect("opened"), 5, "the hole is not in what was cleaned");
    assert!(matches!(open(0, 0, 6), Err(LogError::Damaged { .. })), "replicas had offset 5");
    assert_eq!(open(6, 0, 6).expect("opened"), 9, "the cleaner was there");
    assert_eq!(open(0, 6, 6).expect("opened"), 9, "it was synced");
}

#[test]
fn a_flipped_bit_is_damage_whatever_was_replicated() {
    for (base, batch) in [(0, 1), (3, 0), (6, 1)] {
        let site = Site::new();
        let size = fs::read(site.file(base, "log")).expect("read").len() / 3;
        site.change(base, |bytes| bytes[batch * size + 400] ^= 4);
        let error = site.open(0, 0).expect_err("damaged");
        let position = (batch * size) as u64;
        let expected = site.file(base, "log");
        assert!(
            matches!(error, LogError::Damaged { ref file, position: at, .. } if *file == expected && at == position),
            "{error}"
        );
    }
    // In the last batch of all, nobody can tell it from a torn one.
    let site = Site::new();
    site.change(6, |bytes| *bytes.last_mut().expect("some") ^= 4);
    assert_eq!(site.end_after(0, 0), 8);
}

#[test]
fn damage_behind_the_recovery_point_is_never_served() {
    let site = Site::new();
    site.change(0, |bytes| bytes[1000] ^= 4);
    let (mut log, _) = site.open(7, 9).expect("what was synced is not read at the start");
    let range =
        |log: &mut PartitionLog, from| log.read(from, u64::MAX, 9, true).expect("within").expect("some");
    assert_eq!(range(&mut log, 0).verify().expect("the first batch is good").length, 770);
    let error = range(&mut log, 1).verify().expect_err("damaged");
    assert!(matches!(error, LogError::Damaged { position: 770, .. }), "{error}");
    range(&mut log, 2).verify().expect("what is behind it is good");
    range(&mut log, 3).verify().expect("and so is the next segment");
}

#[test]
fn a_swap_that_was_under_way_is_finished() {
    let site = Site::new();
    // What a compaction of the first two segments would leave: offsets 1 to 5 in a file of the first one's name.
    let (first, second) =
        (fs::read(site.file(0, "log")).expect("read"), fs::read(site.file(3, "log")).expect("read"));
    let compacted = [&first[first.len() / 3..], &second].concat();
    fs::write(site.file(0, "log.swap"), &compacted).expect("written");
    fs::write(site.file(6, "log.cleaned"), b"unfinished").expect("written");
    fs::write(site.file(0, "log.deleted"), b"old").expect("written");
    let (mut log, _) = site.open(9, 9).expect("opened");
    assert_eq!(log.segments.keys().copied().collect::<Vec<_>>(), [0, 6]);
    assert_eq!(log.end_offset(), 9);
    let range = log.read(0, 1, 9, true).expect("within").expect("some");
    assert_eq!(range.read().expect("read")[..8], 1_i64.to_be_bytes());
    let left = fs::read_dir(site.dir.path().join("t-0")).expect("listed").flatten();
    let odd: Vec<_> = left
        .filter(|e| {
            !e.path()
                .extension()
                .is_some_and(|x| "log index timeindex snapshot".contains(x.to_str().expect("text")))
        })
        .collect();
    assert!(odd.iter().all(|entry| entry.file_name() == "leader-epoch-checkpoint"), "{odd:?}");
}

#[test]
fn a_log_whose_start_was_lost_begins_anew_there() {
    let site = Site::new();
    let options = LoadOptions { log_start_offset: 20, ..LoadOptions::default() };
    let opened = PartitionLog::open(site.folder(), site.partition(), Arc::clone(&site.config), &options, NOW);
    let (log, _) = opened.expect("opened");
    assert_eq!((log.log_start_offset(), log.end_offset()), (20, 20));
    log.check_invariants();
}
