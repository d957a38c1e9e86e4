//! What does it cost to append to a partition's log and to read from it? CPU seconds per GiB, without any network.
//!
//! `cargo bench -p broker` writes and reads a GiB per line; as a test, a few MiB, to see that it still works.

use std::sync::Arc;
use std::time::Duration;

use broker::log::{AppendOrigin, Disk, Folder, PartitionLog, RealDisk, TopicConfig, TopicPartition};
use bytes::Bytes;
use client::wire::kafka::batch::{BatchBuilder, BatchOptions};
use client::wire::kafka::compression::Codec;
use rustix::time::{ClockId, clock_gettime};

const NOW: i64 = 1_790_000_000_000;
const GIB: u64 = 1 << 30;
const FETCH_BYTES: u64 = 1 << 20;

fn main() {
    let bytes = if std::env::args().any(|argument| argument == "--bench") { GIB } else { 4 << 20 };
    println!("{:<34} {:>10} {:>10} {:>10}", "CPU seconds per GiB on disk", "append", "read", "verified");
    for (codec, record_bytes, batch_bytes) in [
        (Codec::None, 1024, 64 << 10),
        (Codec::None, 100, 64 << 10),
        (Codec::None, 1024, 4 << 10),
        (Codec::None, 100, 4 << 10),
        (Codec::Lz4, 100, 64 << 10),
        (Codec::Zstd, 100, 64 << 10),
    ] {
        let records = batch(codec, record_bytes, batch_bytes);
        let [append, read, verified] = measure(&records, bytes);
        let name =
            format!("{} records of {record_bytes} B, batches of {} KiB", codec.name(), batch_bytes >> 10);
        println!("{name:<34} {append:>10.3} {read:>10.3} {verified:>10.3}");
    }
}

/// A batch as a producer sends it. Its values pack about as well as text does.
fn batch(codec: Codec, record_bytes: usize, batch_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
    let mut number: u32 = 1;
    while builder.size_unpacked() + record_bytes < batch_bytes {
        let value: Vec<u8> = (0..record_bytes)
            .map(|_| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (number >> 28) as u8
            })
            .collect();
        builder.push(NOW, None, Some(&value));
    }
    builder.build().expect("built")
}

/// CPU seconds per GiB for appending so many bytes, reading them, and reading them for the first time after a restart.
fn measure(records: &Bytes, bytes: u64) -> [f64; 3] {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).expect("disk"));
    disk.create_dir("t-0").expect("directory");
    let (folder, partition) = (Folder::new(disk, "t-0"), TopicPartition { topic: "t".into(), partition: 0 });
    let config = Arc::new(TopicConfig::default());
    let mut log =
        PartitionLog::create(folder.clone(), partition.clone(), Arc::clone(&config), NOW).expect("created");
    let append = per_gib(|| {
        while log.size() < bytes {
            log.append_as_leader(records.clone(), 0, NOW, AppendOrigin::Client).expect("appended");
        }
        log.size()
    });
    let read = per_gib(|| read_all(&mut log));
    log.close(NOW).expect("closed");
    let options = broker::log::LoadOptions { was_clean: true, ..Default::default() };
    let (mut log, _) = PartitionLog::open(folder, partition, config, &options, NOW).expect("opened");
    let verified = per_gib(|| read_all(&mut log));
    [append, read, verified]
}

fn read_all(log: &mut PartitionLog) -> u64 {
    let (mut from, mut total) = (0, 0);
    while let Some(range) = log.read(from, FETCH_BYTES, i64::MAX, true).expect("within the log") {
        let bytes = range.verify().expect("good").read().expect("read");
        total += bytes.len() as u64;
        let next =
            client::wire::kafka::batch::batches(bytes).map_while(Result::ok).last().expect("a whole batch");
        from = next.header().next_offset();
    }
    total
}

fn per_gib(work: impl FnOnce() -> u64) -> f64 {
    let start = cpu();
    let bytes = work();
    (cpu() - start).as_secs_f64() / (bytes as f64 / GIB as f64)
}

fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("time is positive")
}
