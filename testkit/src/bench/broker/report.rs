//! Results as they come, and as tables for `docs/benchmarks.md`.

use std::fmt::Write;

use super::{BrokerPlan, Maker};
use crate::bench::Tally;
use crate::bench::report::{machine, number};

#[derive(Debug)]
struct Line {
    maker: Maker,
    case: String,
    tally: Tally,
}

#[derive(Debug)]
struct Single {
    maker: Maker,
    name: String,
    more_is_better: bool,
    /// One per visit.
    values: Vec<f64>,
}

/// All figures of a run.
#[derive(Debug)]
pub struct BrokerReport {
    conditions: String,
    makers: Vec<Maker>,
    generator: Vec<(usize, Tally)>,
    lines: Vec<Line>,
    singles: Vec<Single>,
}

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

fn rate(tally: &Tally) -> f64 {
    tally.bytes as f64 / MIB / tally.elapsed.as_secs_f64().max(1e-9)
}

fn per_gib(cpu: std::time::Duration, tally: &Tally) -> f64 {
    cpu.as_secs_f64() * GIB / (tally.bytes.max(1) as f64)
}

fn ms(tally: &Tally, share: f64) -> f64 {
    tally.latencies.quantile(share).as_secs_f64() * 1e3
}

/// One line's figures: MiB/s, records/s, p50, p99 and p99.9 in ms, the broker's and the generator's CPU seconds per GiB, and
/// resident MiB.
fn figures(tally: &Tally) -> [f64; 8] {
    [
        rate(tally),
        tally.rate(),
        ms(tally, 0.5),
        ms(tally, 0.99),
        ms(tally, 0.999),
        per_gib(tally.server_cpu, tally),
        per_gib(tally.own_cpu, tally),
        tally.resident as f64 / MIB,
    ]
}

impl BrokerReport {
    pub(super) fn new(plan: &BrokerPlan) -> BrokerReport {
        let mut conditions = machine();
        let _ = writeln!(
            conditions,
            "Each broker was visited {} time(s) in turn on a fresh directory; {:.1} s measured per throughput case after a \
             warm-up of a quarter of that. Four connections produce with five requests under way on each. Neither broker \
             waits for its disk before it acknowledges (the default of both); replication factor 1.",
            plan.rounds, plan.seconds
        );
        if plan.makers.contains(&Maker::Kafka) {
            conditions.push_str("Apache Kafka 3.9.1 ran on Apache ZooKeeper with the flags of its own start script (1 GiB of heap, G1).\n");
        }
        BrokerReport {
            conditions,
            makers: plan.makers.clone(),
            generator: Vec::new(),
            lines: Vec::new(),
            singles: Vec::new(),
        }
    }

    pub(super) fn generator(&mut self, batch_bytes: usize, tally: &Tally) {
        println!(
            "  generator alone, batches of {} KiB: {:.0} MiB/s, {:.2} CPU s per GiB",
            batch_bytes >> 10,
            rate(tally),
            per_gib(tally.own_cpu, tally)
        );
        self.generator.push((batch_bytes, tally.clone()));
    }

    pub(super) fn throughput(&mut self, maker: Maker, case: &str, tally: &Tally) {
        let [mib, records, p50, p99, p999, cpu, own, resident] = figures(tally);
        println!(
            "  {case:<52} {mib:>7.0} MiB/s {records:>9.0}/s  p50 {p50:>7.2} p99 {p99:>7.2} p99.9 {p999:>7.2} ms  \
             CPU {cpu:>6.2} s/GiB  own {own:>5.2}  {resident:>5.0} MiB"
        );
        match self.lines.iter_mut().find(|line| line.maker == maker && line.case == case) {
            Some(line) => line.tally.merge(tally),
            None => self.lines.push(Line { maker, case: case.to_owned(), tally: tally.clone() }),
        }
    }

    /// A figure of which less is better.
    pub(super) fn figure(&mut self, maker: Maker, name: &str, value: f64) {
        self.single(maker, name, value, false);
    }

    /// A figure of which more is better.
    pub(super) fn figure_more(&mut self, maker: Maker, name: &str, value: f64) {
        self.single(maker, name, value, true);
    }

    fn single(&mut self, maker: Maker, name: &str, value: f64, more_is_better: bool) {
        println!("  {name}: {}", number(value));
        match self.singles.iter_mut().find(|single| single.maker == maker && single.name == name) {
            Some(single) => single.values.push(value),
            None => {
                let values = vec![value];
                self.singles.push(Single { maker, name: name.to_owned(), more_is_better, values });
            }
        }
    }

    /// How many records a maker's broker took and gave in all throughput cases.
    pub fn operations(&self, maker: Maker) -> u64 {
        self.lines.iter().filter(|line| line.maker == maker).map(|line| line.tally.operations).sum()
    }

    /// Everything as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = self.conditions.clone();
        text.push_str("\n#### Records\n\nLatencies in ms: of produce requests, of fetches, and end to end from sending a record to having it; CPU in seconds of the broker per GiB of records.\n\n");
        self.throughput_table(&mut text);
        text.push_str("\n#### Everything else\n\n");
        self.single_table(&mut text);
        if !self.generator.is_empty() {
            text.push_str("\n#### The load generator by itself\n\nAgainst a responder that reads and acknowledges and does nothing else.\n\n| batches | MiB/s | own CPU s per GiB |\n|---|---:|---:|\n");
            for (batch_bytes, tally) in &self.generator {
                let (mib, cpu) = (number(rate(tally)), number(per_gib(tally.own_cpu, tally)));
                let _ = writeln!(text, "| {} KiB | {mib} | {cpu} |", batch_bytes >> 10);
            }
        }
        text
    }

    fn throughput_table(&self, text: &mut String) {
        text.push_str("| case | broker | MiB/s | records/s | p50 | p99 | p99.9 | CPU | generator's CPU | resident MiB | MiB/s, ratio | CPU, ratio | p99, ratio |\n");
        text.push_str("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        let of = |maker, case: &str| self.lines.iter().find(|line| line.maker == maker && line.case == case);
        for case in distinct(self.lines.iter().map(|line| line.case.as_str())) {
            let control = of(Maker::Kafka, case);
            for &maker in &self.makers {
                let Some(Line { tally, .. }) = of(maker, case) else { continue };
                let ratios = match control {
                    Some(Line { tally: control, .. }) if maker != Maker::Kafka => [
                        rate(tally) / rate(control).max(1e-9),
                        per_gib(tally.server_cpu, tally) / per_gib(control.server_cpu, control).max(1e-9),
                        ms(tally, 0.99) / ms(control, 0.99).max(1e-9),
                    ]
                    .map(|ratio| format!("{ratio:.2}")),
                    _ => [const { String::new() }; 3],
                };
                let figures = figures(tally).map(number);
                let _ =
                    writeln!(text, "| {case} | {maker} | {} | {} |", figures.join(" | "), ratios.join(" | "));
            }
        }
    }

    fn single_table(&self, text: &mut String) {
        let columns: Vec<String> = self.makers.iter().map(Maker::to_string).collect();
        let _ = writeln!(text, "| figure | {} | ratio | better |", columns.join(" | "));
        let _ = writeln!(text, "|---|{}---:|---|", "---:|".repeat(columns.len()));
        for name in distinct(self.singles.iter().map(|single| single.name.as_str())) {
            let of = |maker| self.singles.iter().find(|single| single.maker == maker && single.name == name);
            let mean = |maker| {
                of(maker).map(|single| single.values.iter().sum::<f64>() / single.values.len() as f64)
            };
            let cells: Vec<String> =
                self.makers.iter().map(|maker| mean(*maker).map(number).unwrap_or_default()).collect();
            let ratio = match (mean(Maker::Ours), mean(Maker::Kafka)) {
                (Some(ours), Some(theirs)) if theirs != 0.0 => format!("{:.3}", ours / theirs),
                _ => String::new(),
            };
            let more = self.singles.iter().any(|single| single.name == name && single.more_is_better);
            let better = if more { "more" } else { "less" };
            let _ = writeln!(text, "| {name} | {} | {ratio} | {better} |", cells.join(" | "));
        }
    }
}

/// Each text once, in order of its first appearance.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}
