//! Data directories that move between our broker and Apache Kafka 3.9, and Kafka's dump tool on our files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broker::log::{
    AppendOrigin, CleanupPolicy, Intervals, LogDir, LogManager, PartitionLog, RealDisk, SharedLog,
    TopicConfig, TopicPartition,
};
use client::wire::kafka::batch::{BatchBuilder, BatchOptions, ControlType, batches, control_batch};
use client::wire::kafka::compression::Codec;
use tempfile::TempDir;

use super::foreign::Report;
use super::kafka::eventually;
use crate::process::{JavaProject, Kafka, Options, Target, command_output, java_command, scratch};

const SESSION_TIMEOUT: Duration = Duration::from_secs(18);
/// The time of all records; only differences matter.
const NOW: i64 = 1_790_000_000_000;

/// Kafka's names for its tools.
const DUMP: &str = "kafka.tools.DumpLogSegments";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PRODUCER: &str = "org.apache.kafka.tools.ProducerPerformance";

pub(super) fn run(target: Target) -> Result<Report> {
    let mut report = Report::default();
    let home = TempDir::with_prefix("rookery-logs-")?;
    let written = write_ours(home.path())?;
    report.check("DumpLogSegments reads our segments", dump_segments(home.path()));
    report.check("DumpLogSegments believes our indexes", dump_indexes(home.path()));
    report.check("DumpLogSegments reads our snapshots and aborted transactions", dump_state(home.path()));

    let service = target.start(Options::for_tests())?;
    let connect = format!("{}/kafka", service.connect_string());
    let start = || -> Result<Kafka> {
        let mut broker = Kafka::start_on(Some(home.path()), 1, 1, &connect, SESSION_TIMEOUT)?;
        broker.await_log("[KafkaServer id=1] started", 1, Duration::from_secs(180))?;
        Ok(broker)
    };
    let mut broker = start()?;
    report.check("Kafka finds a clean directory", found_clean(&broker));
    create_topics(&broker)?;
    report.check("Kafka serves our records", kafka_reads(&broker, "ours", written.ours));
    report.check("Kafka hides what was aborted", kafka_reads_committed(&broker, written.committed));
    report.check("Kafka serves what we compacted", kafka_reads(&broker, "compacted", written.compacted));
    let mut expected = written.ours;
    for (codec, extra) in
        [("none", &[][..]), ("gzip", &[]), ("snappy", &[]), ("lz4", &[]), ("zstd", TRANSACTIONAL)]
    {
        report.check(&format!("Kafka appends {codec} to our log"), produce(&broker, codec, extra));
    }
    expected.end = end_offset(&broker, "ours")?;
    broker.stop()?;
    report.check("ours opens what Kafka closed", ours_reads(home.path(), expected));
    expected.end += 1;
    expected.count += 1;

    let mut broker = start()?;
    report.check("Kafka finds the directory clean again", found_clean(&broker));
    report.check("Kafka serves the record that came between", kafka_end_is(&broker, expected.end));
    report.check("Kafka appends more", produce(&broker, "snappy", &[]));
    expected.end = end_offset(&broker, "ours")?;
    broker.kill()?;
    report.check("ours opens what a killed Kafka left", ours_reads(home.path(), expected));
    Ok(report)
}

const TRANSACTIONAL: &[&str] = &["--transactional-id", "perf", "--transaction-duration-ms", "50"];

/// The records of a log that somebody should find.
#[derive(Debug, Clone, Copy)]
struct Expected {
    end: i64,
    count: usize,
}

struct Written {
    ours: Expected,
    committed: usize,
    compacted: Expected,
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition: 0 }
}

fn config(topic: &str) -> Arc<TopicConfig> {
    Arc::new(TopicConfig {
        cleanup_policy: CleanupPolicy { delete: topic != "compacted", compact: topic == "compacted" },
        segment_bytes: 20_000,
        index_interval_bytes: 500,
        ..TopicConfig::default()
    })
}

fn open(dir: &Path) -> Result<LogManager> {
    let dirs = vec![LogDir::new(Arc::new(RealDisk::open(dir)?))];
    let manager = LogManager::open(dirs, &|topic| config(topic), 2, Intervals::default(), NOW)?;
    let refused: Vec<String> =
        manager.refused().iter().map(|(name, refused)| format!("{name}: {}", refused.error)).collect();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(manager)
}

fn write_ours(dir: &Path) -> Result<Written> {
    let manager = open(dir)?;
    let log = manager.get_or_create(&partition("ours"), config("ours"), NOW)?;
    let mut count = 0;
    let mut aborted = 0;
    for round in 0..60_i32 {
        let transactional = round % 10 == 5;
        let options = BatchOptions {
            codec: Codec::ALL[round as usize % 5],
            producer_id: if transactional { 2000 } else { 1000 },
            producer_epoch: 0,
            base_sequence: if transactional { round / 10 * 7 } else { (round - (round + 4) / 10) * 7 },
            transactional,
            ..BatchOptions::default()
        };
        append(&log, options, i64::from(round), 7, round / 20, AppendOrigin::Client)?;
        count += 7;
        if transactional {
            let kind = if round % 20 == 5 { ControlType::Abort } else { ControlType::Commit };
            aborted += if kind == ControlType::Abort { 7 } else { 0 };
            let marker = control_batch(kind, 2000, 0, 1, NOW + i64::from(round));
            log.lock()?.append_as_leader(marker, round / 20, NOW, AppendOrigin::Coordinator)?;
        }
    }
    let ours = settle(&log, count)?;

    let log = manager.get_or_create(&partition("compacted"), config("compacted"), NOW)?;
    for round in 0..200 {
        let codec = Codec::ALL[round % 5];
        append(
            &log,
            BatchOptions { codec, ..BatchOptions::default() },
            round as i64,
            5,
            0,
            AppendOrigin::Client,
        )?;
    }
    settle(&log, 0)?;
    log.lock()?.roll(NOW)?;
    ensure!(manager.clean_one(1 << 20, NOW), "there was something to clean");
    let records = read_all(&mut *log.lock()?)?;
    let compacted = Expected { end: log.lock()?.end_offset(), count: records };
    ensure!(records == 5, "{records} records are left");
    manager.close(1, NOW);
    Ok(Written { ours, committed: count - aborted, compacted })
}

fn append(
    log: &SharedLog,
    options: BatchOptions,
    round: i64,
    records: usize,
    epoch: i32,
    origin: AppendOrigin,
) -> Result<()> {
    let mut builder = BatchBuilder::new(options);
    for at in 0..records {
        let value = format!("value {round} {}", "x".repeat(200));
        // Times that go back now and then, as those of real producers do.
        let timestamp = NOW + round * 10 - if round % 7 == 3 { 25 } else { 0 };
        builder.push_with_headers(
            timestamp,
            Some(format!("key {at}").as_bytes()),
            Some(value.as_bytes()),
            &[(b"round", Some(round.to_string().as_bytes())), (b"round", None)],
        );
    }
    log.lock()?.append_as_leader(builder.build()?, epoch, NOW, origin)?;
    Ok(())
}

fn settle(log: &SharedLog, count: usize) -> Result<Expected> {
    let mut log = log.lock()?;
    let end = log.end_offset();
    log.set_high_watermark(end);
    Ok(Expected { end, count })
}

/// Reads everything, checks every checksum and offset, and counts the records.
fn read_all(log: &mut PartitionLog) -> Result<usize> {
    let mut from = log.log_start_offset();
    let mut count = 0;
    while let Some(range) = log.read(from, 1 << 20, i64::MAX, true)? {
        for batch in batches(range.verify()?.read()?) {
            let Ok(batch) = batch else { break };
            batch.check_crc()?;
            ensure!(batch.header().base_offset >= from, "offset {} comes again", batch.header().base_offset);
            for record in batch.records(1 << 20)? {
                let record = record?;
                count += usize::from(!batch.header().attributes.is_control() && record.value.is_some());
            }
            from = batch.header().next_offset();
        }
    }
    Ok(count)
}

/// Opens the directory, reads our topic, appends a record and closes it again.
fn ours_reads(dir: &Path, expected: Expected) -> Result<()> {
    let manager = open(dir)?;
    let meta = manager.meta_properties()?;
    ensure!(
        meta.iter().all(|(_, meta)| meta.as_ref().is_some_and(|meta| meta.broker_id == Some(1))),
        "{meta:?}"
    );
    let log = manager.get(&partition("ours")).context("our topic is there")?;
    ensure!(log.lock()?.topic_id().is_some(), "Kafka gave the topic an id");
    ensure!(log.lock()?.end_offset() == expected.end, "it ends at {}", log.lock()?.end_offset());
    let count = read_all(&mut *log.lock()?)?;
    ensure!(count >= expected.count, "{count} records are there");
    for (name, other) in manager.logs() {
        read_all(&mut *other.lock()?).with_context(|| format!("reading {name}"))?;
    }
    let at = log.lock()?.offset_for_timestamp(NOW + 300)?.context("a record of that time")?;
    ensure!(at.timestamp >= NOW + 300, "{at:?}");
    append(&log, BatchOptions::default(), 1000, 1, 50, AppendOrigin::Client)?;
    settle(&log, 0)?;
    manager.close(1, NOW);
    Ok(())
}

fn dump(dir: &Path, arguments: &[&str], suffix: &str) -> Result<String> {
    let mut files = Vec::new();
    for topic in ["ours-0", "compacted-0"] {
        for entry in std::fs::read_dir(dir.join(topic))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == suffix) {
                files.push(path.display().to_string());
            }
        }
    }
    ensure!(!files.is_empty(), "there are {suffix} files");
    files.sort();
    let class_path = JavaProject::new("kafka").class_path()?;
    let mut command = java_command(&class_path, &scratch("java")?);
    command.arg(DUMP).args(["--files", &files.join(",")]).args(arguments);
    let text = command_output(&mut command)?;
    for complaint in ["Found", "ismatch", "corrupt", "Exception", "isvalid: false", "not valid"] {
        if let Some(line) = text.lines().find(|line| line.contains(complaint)) {
            bail!("{line}");
        }
    }
    Ok(text)
}

fn dump_segments(dir: &Path) -> Result<()> {
    let text = dump(dir, &["--deep-iteration", "--print-data-log"], "log")?;
    let values = text.matches("payload: value").count();
    ensure!(values == 60 * 7 + 5, "{values} values");
    ensure!(text.matches("endTxnMarker: ABORT").count() == 3, "three aborts");
    let codecs = ["NONE", "GZIP", "SNAPPY", "LZ4", "ZSTD"];
    for codec in codecs.map(|codec| [codec.to_owned(), codec.to_lowercase()]) {
        ensure!(codec.iter().any(|codec| text.contains(&format!("compresscodec: {codec}"))), "{codec:?}");
    }
    Ok(())
}

fn dump_indexes(dir: &Path) -> Result<()> {
    for suffix in ["index", "timeindex"] {
        let text = dump(dir, &["--index-sanity-check"], suffix)?;
        ensure!(text.contains("passed sanity check"), "{text}");
        dump(dir, &["--verify-index-only"], suffix)?;
        let text = dump(dir, &[], suffix)?;
        ensure!(text.lines().any(|line| line.contains("offset: ")), "there are entries: {text}");
    }
    Ok(())
}

fn dump_state(dir: &Path) -> Result<()> {
    let text = dump(dir, &[], "snapshot")?;
    ensure!(text.contains("producerId: 1000") && text.contains("producerId: 2000"), "{text}");
    let text = dump(dir, &[], "txnindex")?;
    ensure!(text.matches("producerId: 2000").count() == 3, "{text}");
    Ok(())
}

fn found_clean(broker: &Kafka) -> Result<()> {
    let log = broker.log();
    for complaint in
        ["Attempting recovery", "Found a corrupted", "Recovering", "Rebuilding", "WARN kafka.log"]
    {
        if let Some(line) = log.lines().find(|line| line.contains(complaint)) {
            bail!("{line}");
        }
    }
    ensure!(log.contains("since clean shutdown file was found"), "it found the marker");
    Ok(())
}

fn create_topics(broker: &Kafka) -> Result<()> {
    for (topic, policy) in [("ours", "delete"), ("compacted", "compact")] {
        broker.tool(
            TOPICS,
            &[
                "--bootstrap-server",
                &broker.bootstrap(),
                "--create",
                "--topic",
                topic,
                "--partitions",
                "1",
                "--replication-factor",
                "1",
                "--config",
                &format!("cleanup.policy={policy}"),
                "--config",
                "retention.ms=-1",
            ],
        )?;
    }
    Ok(())
}

fn end_offset(broker: &Kafka, topic: &str) -> Result<i64> {
    let text = broker.tool(OFFSETS, &["--bootstrap-server", &broker.bootstrap(), "--topic", topic])?;
    let end = text.lines().find_map(|line| line.strip_prefix(&format!("{topic}:0:"))?.trim().parse().ok());
    end.with_context(|| format!("no offset in {text:?}"))
}

/// A Kafka that has just started may not know its topics yet.
fn kafka_end_is(broker: &Kafka, expected: i64) -> Result<()> {
    eventually(|| {
        let end = end_offset(broker, "ours")?;
        ensure!(end == expected, "it ends at {end}, not {expected}");
        Ok(())
    })
}

fn consume(broker: &Kafka, topic: &str, count: usize, extra: &[&str]) -> Result<usize> {
    let bootstrap = broker.bootstrap();
    let count = count.to_string();
    let mut arguments = vec!["--bootstrap-server", &bootstrap, "--topic", topic, "--from-beginning"];
    arguments.extend([
        "--max-messages",
        &count,
        "--timeout-ms",
        "120000",
        "--property",
        "print.headers=true",
    ]);
    arguments.extend(extra);
    let text = broker.tool(CONSUMER, &arguments)?;
    Ok(text.lines().filter(|line| line.contains("value ") && line.contains("round:null")).count())
}

fn kafka_reads(broker: &Kafka, topic: &str, expected: Expected) -> Result<()> {
    let end = end_offset(broker, topic)?;
    ensure!(end == expected.end, "it ends at {end}, not {}", expected.end);
    let count = consume(broker, topic, expected.count, &[])?;
    ensure!(count == expected.count, "{count} records, not {}", expected.count);
    Ok(())
}

fn kafka_reads_committed(broker: &Kafka, expected: usize) -> Result<()> {
    let count = consume(broker, "ours", expected, &["--isolation-level", "read_committed"])?;
    ensure!(count == expected, "{count} records, not {expected}");
    Ok(())
}

fn produce(broker: &Kafka, codec: &str, extra: &[&str]) -> Result<()> {
    let bootstrap = format!("bootstrap.servers={}", broker.bootstrap());
    let codec = format!("compression.type={codec}");
    let mut arguments = vec!["--topic", "ours", "--num-records", "3000", "--record-size", "100"];
    arguments.extend(["--throughput", "-1", "--producer-props", &bootstrap, &codec, "acks=all"]);
    arguments.extend(extra);
    let text = broker.tool(PRODUCER, &arguments)?;
    ensure!(text.contains("3000 records sent"), "{text}");
    Ok(())
}
