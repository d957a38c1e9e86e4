//! Results as they come, and as tables for `docs/benchmarks.md`.

use std::fmt::Write;
use std::time::Duration;

use super::cases::Plan;
use super::load::{Shape, Tally};
use crate::process::Kind;

/// One number, and which way is better.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    value: f64,
    more_is_better: bool,
}

impl Figure {
    pub(super) fn more_is_better(value: f64) -> Figure {
        Figure { value, more_is_better: true }
    }

    pub(super) fn less_is_better(value: f64) -> Figure {
        Figure { value, more_is_better: false }
    }

    pub(super) fn milliseconds(value: Duration) -> Figure {
        Figure::less_is_better(value.as_secs_f64() * 1e3)
    }

    pub(super) fn mebibytes(bytes: u64) -> Figure {
        Figure::less_is_better(bytes as f64 / f64::from(1 << 20))
    }
}

#[derive(Debug)]
struct Line {
    kind: Kind,
    case: String,
    shape: Shape,
    tally: Tally,
}

#[derive(Debug)]
struct Single {
    kind: Kind,
    name: String,
    /// One per round.
    figures: Vec<Figure>,
}

/// All figures of a run.
#[derive(Debug)]
pub struct Report {
    conditions: String,
    servers: Vec<Kind>,
    generator: Vec<(Shape, Tally)>,
    lines: Vec<Line>,
    singles: Vec<Single>,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Report {
        Report {
            conditions: conditions(plan),
            servers: plan.servers.clone(),
            generator: Vec::new(),
            lines: Vec::new(),
            singles: Vec::new(),
        }
    }

    pub(super) fn generator(&mut self, shape: Shape, tally: &Tally) {
        println!(
            "  generator alone, {} × {}: {:.0}/s, {:.1} CPU s per million",
            shape.connections,
            shape.depth,
            tally.rate(),
            tally.own_cpu_per_million()
        );
        self.generator.push((shape, tally.clone()));
    }

    pub(super) fn throughput(&mut self, kind: Kind, case: &str, shape: Shape, tally: &Tally) {
        println!(
            "  {case:<8} {:>3} × {:<3} {:>9.0}/s  p50 {:>8.3} p99 {:>8.3} p99.9 {:>8.3} ms  CPU {:>6.1} s/M  own {:>5.1} s/M  {:>5.0} MiB",
            shape.connections,
            shape.depth,
            tally.rate(),
            tally.latencies.quantile(0.5).as_secs_f64() * 1e3,
            tally.latencies.quantile(0.99).as_secs_f64() * 1e3,
            tally.latencies.quantile(0.999).as_secs_f64() * 1e3,
            tally.server_cpu_per_million(),
            tally.own_cpu_per_million(),
            tally.resident as f64 / f64::from(1 << 20),
        );
        let same = |line: &&mut Line| line.kind == kind && line.case == case && line.shape == shape;
        match self.lines.iter_mut().find(same) {
            Some(line) => line.tally.merge(tally),
            None => self.lines.push(Line { kind, case: case.to_owned(), shape, tally: tally.clone() }),
        }
    }

    pub(super) fn figure(&mut self, kind: Kind, name: &str, figure: Figure) {
        println!("  {name}: {}", number(figure.value));
        match self.singles.iter_mut().find(|single| single.kind == kind && single.name == name) {
            Some(single) => single.figures.push(figure),
            None => self.singles.push(Single { kind, name: name.to_owned(), figures: vec![figure] }),
        }
    }

    /// How many operations were measured in all throughput cases of a server.
    pub fn operations(&self, kind: Kind) -> u64 {
        self.lines.iter().filter(|line| line.kind == kind).map(|line| line.tally.operations).sum()
    }

    /// The value of a single figure, the mean over the rounds.
    pub fn value(&self, kind: Kind, name: &str) -> Option<f64> {
        let single = self.singles.iter().find(|single| single.kind == kind && single.name == name)?;
        Some(single.figures.iter().map(|figure| figure.value).sum::<f64>() / single.figures.len() as f64)
    }

    /// Everything as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = self.conditions.clone();
        text.push_str("\n### Throughput, latency, CPU\n\n");
        text.push_str("Connections × requests under way on each; latencies in ms; CPU in seconds of the server per million operations.\n\n");
        self.throughput_table(&mut text);
        if !self.singles.is_empty() {
            text.push_str("\n### Everything else\n\n");
            self.single_table(&mut text);
        }
        text.push_str("\n### The load generator by itself\n\n");
        text.push_str(
            "Against a responder that does no work: what it could reach at most, and what it costs.\n\n",
        );
        text.push_str("| connections × depth | operations/s | own CPU s per million |\n|---|---:|---:|\n");
        for (shape, tally) in &self.generator {
            let _ = writeln!(
                text,
                "| {} × {} | {} | {} |",
                shape.connections,
                shape.depth,
                number(tally.rate()),
                number(tally.own_cpu_per_million())
            );
        }
        text
    }

    fn throughput_table(&self, text: &mut String) {
        text.push_str("| case | connections × depth | server | operations/s | p50 | p99 | p99.9 | CPU | generator's CPU | resident MiB | operations/s, ratio | CPU, ratio |\n");
        text.push_str("|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        let mut done: Vec<(&str, Shape)> = Vec::new();
        for first in &self.lines {
            let key = (first.case.as_str(), first.shape);
            if done.contains(&key) {
                continue;
            }
            done.push(key);
            let of = |kind: Kind| {
                self.lines
                    .iter()
                    .find(|line| line.kind == kind && line.case == first.case && line.shape == first.shape)
            };
            let control = of(Kind::Zookeeper);
            for kind in &self.servers {
                let Some(line) = of(*kind) else { continue };
                let tally = &line.tally;
                let ms = |share: f64| number(tally.latencies.quantile(share).as_secs_f64() * 1e3);
                let (rate, cpu) = match control {
                    Some(control) if *kind != Kind::Zookeeper => (
                        format!("{:.2}", tally.rate() / control.tally.rate()),
                        format!(
                            "{:.2}",
                            tally.server_cpu_per_million() / control.tally.server_cpu_per_million().max(1e-9)
                        ),
                    ),
                    _ => (String::new(), String::new()),
                };
                let _ = writeln!(
                    text,
                    "| {} | {} × {} | {kind} | {} | {} | {} | {} | {} | {} | {} | {rate} | {cpu} |",
                    line.case,
                    line.shape.connections,
                    line.shape.depth,
                    number(tally.rate()),
                    ms(0.5),
                    ms(0.99),
                    ms(0.999),
                    number(tally.server_cpu_per_million()),
                    number(tally.own_cpu_per_million()),
                    number(tally.resident as f64 / f64::from(1 << 20)),
                );
            }
        }
    }

    fn single_table(&self, text: &mut String) {
        text.push_str("| figure |");
        for kind in &self.servers {
            let _ = write!(text, " {kind} |");
        }
        text.push_str(" ratio | better |\n|---|");
        text.push_str(&"---:|".repeat(self.servers.len()));
        text.push_str("---:|---|\n");
        let mut done: Vec<&str> = Vec::new();
        for single in &self.singles {
            if done.contains(&single.name.as_str()) {
                continue;
            }
            done.push(&single.name);
            let _ = write!(text, "| {} |", single.name);
            for kind in &self.servers {
                let value = self.value(*kind, &single.name).map(number).unwrap_or_default();
                let _ = write!(text, " {value} |");
            }
            let ours = self.value(Kind::Coordinator, &single.name);
            let theirs = self.value(Kind::Zookeeper, &single.name);
            let ratio = match (ours, theirs) {
                (Some(ours), Some(theirs)) if theirs != 0.0 => format!("{:.3}", ours / theirs),
                _ => String::new(),
            };
            let better = if single.figures[0].more_is_better { "more" } else { "less" };
            let _ = writeln!(text, " {ratio} | {better} |");
        }
    }
}

/// Three significant digits, with thousands marked in big numbers.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 && digit != '-' {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else if magnitude >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// What the figures were measured on.
pub(super) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = read("/proc/meminfo");
    let memory = memory.lines().next().and_then(|line| line.split_whitespace().nth(1));
    let memory = memory.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    format!(
        "{cores} cores ({}), {memory} GiB, Linux {}. Load generator and server share the machine.\n",
        model.trim_matches(|c: char| c == ':' || c.is_whitespace()),
        kernel.trim()
    )
}

/// What the figures were measured on and with.
fn conditions(plan: &Plan) -> String {
    let mut text = machine();
    let _ = writeln!(
        text,
        "Each server was visited {} time(s) in turn; {:.1} s measured per throughput case after a warm-up of a \
         quarter of that. Every write is synced to disk before it is answered (`forceSync=yes`), `snapCount` is \
         100,000 unless said otherwise, `maxClientCnxns=0`, data of 100 bytes.",
        plan.rounds, plan.seconds
    );
    if plan.servers.contains(&Kind::Zookeeper) {
        let _ = writeln!(text, "Apache ZooKeeper 3.9.5 ran with `java {}`.", plan.jvm_flags.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_read_well() {
        for (value, text) in
            [(1234567.0, "1,234,567"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")]
        {
            assert_eq!(number(value), text);
        }
    }
}
