//! What is not throughput: starting, many partitions, recovery, and the opinion of Kafka's own tools.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use client::wire::kafka::compression::Codec;
use client::wire::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use client::wire::kafka::{ErrorCode, Records};

use super::BrokerPlan;
use super::produce::{batch, fill};
use super::report::BrokerReport;
use super::side::{Maker, Side};
use crate::process::{JavaProject, command_output};

/// From the start of both processes on an empty directory to the first acknowledged record, and from a kill of the broker
/// to the next.
pub(super) fn starts(plan: &BrokerPlan, maker: Maker, report: &mut BrokerReport) -> Result<()> {
    for _ in 0..plan.starts {
        let begin = Instant::now();
        let side = Side::start(maker, &plan.directory)?;
        side.wire()?.create(&["first".to_owned()], 1)?;
        produce_one(&side, "first")?;
        report.figure(maker, "start to the first acknowledged record, s", begin.elapsed().as_secs_f64());
        report.figure(maker, "resident of both processes, idle, MiB", side.resident_mib_of_both()?);
    }
    Ok(())
}

fn produce_one(side: &Side, topic: &str) -> Result<()> {
    let records = Some(Records::Bytes(batch(Codec::None, 100, 1, 3)?));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: topic.into(), partition_data }];
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() };
    let answer = side.wire()?.ask(&request, 9)?;
    let code = answer.responses[0].partition_responses[0].error_code;
    ensure!(code == ErrorCode::NONE, "the first record: {code:?}");
    Ok(())
}

/// Many partitions: how long it takes to make them, and what they cost while nothing happens.
pub(super) fn partitions(plan: &BrokerPlan, maker: Maker, report: &mut BrokerReport) -> Result<()> {
    let side = Side::start(maker, &plan.directory)?;
    let mut wire = side.wire()?;
    let (each, at_once) = (50, 10);
    let names: Vec<String> = (0..plan.partitions / each).map(|index| format!("many-{index}")).collect();
    let begin = Instant::now();
    for names in names.chunks(at_once) {
        wire.create(names, each as i32)?;
    }
    let count = names.len() * each;
    report.figure(maker, &format!("creating {count} partitions, s"), begin.elapsed().as_secs_f64());
    report.figure(maker, &format!("resident with {count} partitions, MiB"), side.resident_mib()?);
    Ok(())
}

/// A kill with much in the log.
pub(super) fn recovery(plan: &BrokerPlan, maker: Maker, report: &mut BrokerReport) -> Result<()> {
    let mut side = Side::start(maker, &plan.directory)?;
    fill(&side, "recovered", plan.recovery_bytes)?;
    side.kill()?;
    let begin = Instant::now();
    side.restart()?;
    while produce_one(&side, "recovered").is_err() {
        std::thread::sleep(std::time::Duration::from_millis(2));
        ensure!(begin.elapsed().as_secs() < 600, "the partition does not come back");
    }
    let name =
        format!("start after kill -9 to the next record, {} GiB in the log, s", plan.recovery_bytes >> 30);
    report.figure(maker, &name, begin.elapsed().as_secs_f64());
    Ok(())
}

/// Kafka's own performance tools, as a second opinion.
pub(super) fn tools(side: &Side, report: &mut BrokerReport) -> Result<()> {
    let (topic, count) = ("tools", 500_000);
    side.wire()?.create(&[topic.to_owned()], 1)?;
    let class_path = JavaProject::new("kafka").class_path()?;
    let server = side.address().to_string();
    let cpu = side.usage()?.cpu;
    let produced = command_output(
        Command::new("java")
            .args(["-cp", &class_path, "org.apache.kafka.tools.ProducerPerformance"])
            .args(["--topic", topic, "--num-records", &count.to_string(), "--record-size", "1024"])
            .args(["--throughput", "-1", "--producer-props", "acks=1"])
            .arg(format!("bootstrap.servers={server}")),
    )?;
    // The last line is the whole run: `N records sent, R records/sec (M MB/sec), ...`.
    let rate = produced.lines().rev().find_map(|line| number_before(line, " records/sec"));
    let rate = rate.with_context(|| format!("no rate in {produced}"))?;
    report.figure_more(side.maker, "ProducerPerformance, 1 KiB, acks 1, records/s", rate);
    let spent = (side.usage()?.cpu - cpu).as_secs_f64();
    report.figure(side.maker, "its CPU in the broker, s per million records", spent * 1e6 / f64::from(count));
    let cpu = side.usage()?.cpu;
    let consumed = command_output(
        Command::new("java")
            .args(["-cp", &class_path, "org.apache.kafka.tools.ConsumerPerformance"])
            .args(["--bootstrap-server", &server, "--topic", topic])
            .args(["--messages", &count.to_string(), "--hide-header"]),
    )?;
    let line = consumed.lines().rev().find(|line| line.split(", ").count() >= 10);
    let line = line.with_context(|| format!("no figures in {consumed}"))?;
    // Start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, fetch MB/s, fetch records/s.
    let rate: f64 = line.split(", ").nth(9).context("short line")?.trim().parse()?;
    report.figure_more(side.maker, "ConsumerPerformance, records/s while fetching", rate);
    let spent = (side.usage()?.cpu - cpu).as_secs_f64();
    report.figure(side.maker, "its CPU in the broker, s per million records", spent * 1e6 / f64::from(count));
    side.wire()?.delete(topic)
}

/// The number that stands before a text.
fn number_before(line: &str, text: &str) -> Option<f64> {
    line.split_once(text)?.0.rsplit(' ').next()?.parse().ok()
}
