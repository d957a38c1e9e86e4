//! Our client library beside Apache's Java client and kazoo, each with one session on the same coordinator, ours.
//!
//! Every client keeps so many requests under way and sends the next one when an answer comes. What is compared is the
//! client's process: how many answers it takes, and its CPU time.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use client::zk::{Coordinator, CreateMode, Error, Pending};
use rustix::time::{ClockId, clock_gettime};

use super::report::{machine, number};
use crate::interop;
use crate::process::{JavaProject, Options, Server, command_output, scratch, workspace};

/// The znode that everybody reads and writes.
const PATH: &str = "/bench-client";
const DATA: &[u8] = &[0; 100];
/// Stands where the reader of a table looks for ours.
const OURS: Library = Library::Rookery;

/// A client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Library {
    /// Ours.
    #[value(skip)]
    Rookery,
    /// Apache's Java client, version 3.9.5.
    Java,
    /// kazoo, version 2.11.0.
    Kazoo,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Library::Rookery => "rookery",
            Library::Java => "Java 3.9.5",
            Library::Kazoo => "kazoo 2.11.0",
        })
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Get,
    Set,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Set => "set",
        }
    }
}

/// What to run, and for how long.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// In the order in which one round visits them.
    pub libraries: Vec<Library>,
    /// How often each is visited.
    pub rounds: usize,
    /// How many requests are under way.
    pub depths: Vec<usize>,
    /// Measured seconds of each case.
    pub seconds: f64,
    /// Where the coordinator keeps its data.
    pub directory: PathBuf,
}

impl ClientPlan {
    /// Everything at full length.
    pub fn full(directory: PathBuf) -> ClientPlan {
        ClientPlan { libraries: vec![OURS], rounds: 2, depths: vec![1, 100, 1000], seconds: 5.0, directory }
    }

    /// The same, shorter.
    pub fn quick(directory: PathBuf) -> ClientPlan {
        ClientPlan { rounds: 1, seconds: 1.0, ..ClientPlan::full(directory) }
    }
}

/// What one visit came to.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    operations: f64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Figures {
    fn rate(&self) -> f64 {
        self.operations / self.seconds.max(1e-9)
    }

    fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.operations.max(1.0)
    }

    fn add(&mut self, other: Figures) {
        self.operations += other.operations;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
    }
}

#[derive(Debug)]
struct Line {
    operation: Operation,
    depth: usize,
    library: Library,
    figures: Figures,
}

/// All figures of a run.
#[derive(Debug)]
pub struct ClientReport {
    conditions: String,
    lines: Vec<Line>,
}

/// Puts every client of the plan through every case, in turn.
pub fn run_clients(plan: &ClientPlan) -> Result<ClientReport> {
    std::fs::create_dir_all(&plan.directory)?;
    let home = tempfile::TempDir::with_prefix_in("client-", &plan.directory)?;
    let options = Options::default().key("maxClientCnxns", 0).directory(home.path());
    let server = Server::coordinator(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let hosts = server.connect_string();
    runtime.block_on(async {
        let zk = Coordinator::connect(&hosts).await?;
        zk.create(PATH, DATA, CreateMode::Persistent).await?;
        zk.close().await
    })?;
    let conditions = format!(
        "{}Each client was visited {} time(s) in turn, {:.1} s a case after as long a warm-up; data of 100 bytes.\n",
        machine(),
        plan.rounds,
        plan.seconds
    );
    let mut report = ClientReport { conditions, lines: Vec::new() };
    for _ in 0..plan.rounds {
        for operation in [Operation::Get, Operation::Set] {
            for &depth in &plan.depths {
                for &library in &plan.libraries {
                    let case = Case { hosts: &hosts, operation, depth, seconds: plan.seconds };
                    let figures = match library {
                        Library::Rookery => runtime.block_on(case.ours()),
                        Library::Java => case.java(),
                        Library::Kazoo => case.kazoo(),
                    };
                    let figures = figures.with_context(|| format!("{library}, {operation:?} × {depth}"))?;
                    report.add(Line { operation, depth, library, figures });
                }
            }
        }
    }
    Ok(report)
}

struct Case<'a> {
    hosts: &'a str,
    operation: Operation,
    depth: usize,
    seconds: f64,
}

impl Case<'_> {
    async fn ours(&self) -> Result<Figures> {
        let zk = Coordinator::connect(self.hosts).await?;
        let figures = match self.operation {
            Operation::Get => self.keep_asking(|| zk.get(PATH)).await?,
            Operation::Set => self.keep_asking(|| zk.set(PATH, DATA, None)).await?,
        };
        zk.close().await?;
        Ok(figures)
    }

    async fn keep_asking<T>(&self, ask: impl Fn() -> Pending<T>) -> Result<Figures, Error> {
        let mut under_way: VecDeque<_> = (0..self.depth).map(|_| ask()).collect();
        let mut go_on = async |seconds: f64| {
            let end = Instant::now() + Duration::from_secs_f64(seconds);
            let mut done = 0.0;
            while Instant::now() < end {
                if let Some(answer) = under_way.pop_front() {
                    answer.await?;
                }
                under_way.push_back(ask());
                done += 1.0;
            }
            Ok::<f64, Error>(done)
        };
        // Virtual machines compile their hot paths first; everybody gets that time.
        go_on(self.seconds).await?;
        let (begin, cpu) = (Instant::now(), process_cpu_seconds());
        let operations = go_on(self.seconds).await?;
        let (seconds, cpu_seconds) = (begin.elapsed().as_secs_f64(), process_cpu_seconds() - cpu);
        for answer in under_way {
            answer.await?;
        }
        Ok(Figures { operations, seconds, cpu_seconds })
    }

    fn java(&self) -> Result<Figures> {
        let jars = JavaProject::new("client-3.9").class_path()?;
        let mut command = Command::new("java");
        command
            .current_dir(scratch("java")?)
            .args(["-Djava.net.preferIPv4Stack=true", "-Dzookeeper.sasl.client=false"])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", &jars])
            .arg(workspace().join("testkit/interop/java/suites/ClientLoad.java"));
        self.ask_program(command)
    }

    fn kazoo(&self) -> Result<Figures> {
        let mut command = Command::new(interop::python()?);
        command.args(["-W", "ignore"]).arg(workspace().join("testkit/interop/python/kazoo_load.py"));
        self.ask_program(command)
    }

    /// Runs a program that does the same as [`Case::ours`] and prints the figures.
    fn ask_program(&self, mut command: Command) -> Result<Figures> {
        let (depth, seconds) = (self.depth.to_string(), self.seconds.to_string());
        command.args([self.hosts, self.operation.name(), PATH, &depth, &seconds]);
        let text = command_output(&mut command)?;
        let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [operations, seconds, cpu_seconds] =
            figures[..].try_into().ok().with_context(|| format!("the program printed {text:?}"))?;
        Ok(Figures { operations, seconds, cpu_seconds })
    }
}

fn process_cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

impl ClientReport {
    fn add(&mut self, line: Line) {
        println!(
            "  {} × {:<5} {:<13} {:>9.0}/s  CPU {:>6.2} s/M",
            line.operation.name(),
            line.depth,
            line.library.to_string(),
            line.figures.rate(),
            line.figures.cpu_per_million()
        );
        match self.find(line.operation, line.depth, line.library) {
            Some(at) => self.lines[at].figures.add(line.figures),
            None => self.lines.push(line),
        }
    }

    fn find(&self, operation: Operation, depth: usize, library: Library) -> Option<usize> {
        let key = (operation, depth, library);
        self.lines.iter().position(|line| (line.operation, line.depth, line.library) == key)
    }

    /// Everything as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = self.conditions.clone();
        text.push_str("\nCPU is that of the client's process in seconds per million operations; ratios are ours to theirs.\n\n");
        text.push_str(
            "| case | under way | client | operations/s | CPU | operations/s, ratio | CPU, ratio |\n",
        );
        text.push_str("|---|---:|---|---:|---:|---:|---:|\n");
        for line in &self.lines {
            let (name, figures) = (line.operation.name(), &line.figures);
            let ratios = self
                .find(line.operation, line.depth, OURS)
                .filter(|_| line.library != OURS)
                .map(|at| &self.lines[at].figures)
                .map_or(" | ".to_owned(), |ours| {
                    let cpu = ours.cpu_per_million() / figures.cpu_per_million().max(1e-9);
                    format!("{:.2} | {cpu:.2}", ours.rate() / figures.rate().max(1e-9))
                });
            let (rate, cpu) = (number(figures.rate()), number(figures.cpu_per_million()));
            let _ =
                writeln!(text, "| {name} | {} | {} | {rate} | {cpu} | {ratios} |", line.depth, line.library);
        }
        text
    }
}
