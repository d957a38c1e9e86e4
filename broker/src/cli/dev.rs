//! One process to try things with: a coordinator and a broker on loopback.
//!
//! The two are as separate as ever: they talk through the coordinator's port.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use super::{asked_to_stop, load, logging, runtime};
use crate::config::Sources;
use crate::server::Running;

/// How `broker dev` is to be.
#[derive(Debug, Args)]
pub(super) struct DevFlags {
    /// Where data is kept; a second start finds everything again.
    #[arg(long, default_value = "rookery-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Keep nothing: data goes into a temporary directory that is removed at the end.
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// The broker's port.
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// The coordinator's port.
    #[arg(long, default_value_t = 2181)]
    coordinator_port: u16,
    /// A setting of the broker, as in server.properties; may be given many times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::pair)]
    settings: Vec<(String, String)>,
}

/// How long the coordinator may take to serve.
const COORDINATOR_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn run(flags: &DevFlags) -> anyhow::Result<()> {
    let began = Instant::now();
    logging::start()?;
    let temporary = flags.ephemeral.then(tempfile::tempdir).transpose().context("no temporary directory")?;
    let data_dir = temporary.as_ref().map_or(flags.data_dir.as_path(), |dir| dir.path());
    let coordinator = Coordinator::start(&data_dir.join("coordinator"), flags.coordinator_port)?;
    let config = load(&sources(flags, data_dir))?;
    runtime()?.block_on(async {
        let running = Running::start(config).await?;
        welcome(flags, data_dir, began.elapsed());
        asked_to_stop().await?;
        running.stop().await;
        anyhow::Ok(())
    })?;
    coordinator.stop()
}

/// The broker's settings: those of a single machine, and over them whatever was asked for.
fn sources(flags: &DevFlags, data_dir: &Path) -> Sources {
    let port = flags.port;
    let own = [
        ("broker.id", "0".to_owned()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("advertised.listeners", format!("PLAINTEXT://localhost:{port}")),
        ("log.dirs", data_dir.join("broker").display().to_string()),
        ("zookeeper.connect", format!("127.0.0.1:{}", flags.coordinator_port)),
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    Sources { flags: own.chain(flags.settings.clone()).collect(), ..Sources::default() }
}

fn welcome(flags: &DevFlags, data_dir: &Path, took: Duration) {
    let kept = if flags.ephemeral {
        "nowhere: it goes when this ends".to_owned()
    } else {
        data_dir.display().to_string()
    };
    let port = flags.port;
    println!(
        "ready after {} ms
  broker       localhost:{port}   (any Kafka client)
  coordinator  localhost:{}   (any ZooKeeper client)
  data         {kept}
try:
  echo hello | kcat -b localhost:{port} -t greetings -P
  kcat -b localhost:{port} -t greetings -C -e
Ctrl-C stops both.",
        took.as_millis(),
        flags.coordinator_port
    );
}

/// A coordinator on a thread of its own.
struct Coordinator {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
}

impl Coordinator {
    fn start(data_dir: &Path, port: u16) -> anyhow::Result<Coordinator> {
        let own = [
            ("dataDir", data_dir.display().to_string()),
            ("clientPort", port.to_string()),
            ("clientPortAddress", "127.0.0.1".to_owned()),
            ("admin.enableServer", "false".to_owned()),
        ];
        let flags = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let sources = coordinator::config::Sources { flags, ..Default::default() };
        let loaded = sources.load().map_err(|error| anyhow::anyhow!("coordinator: {error}"))?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let run = move || coordinator::server::run_until(loaded.config, Some(stopped));
        let thread = std::thread::Builder::new().name("coordinator".into()).spawn(run)?;
        let mut coordinator = Coordinator { stop, thread };
        coordinator.wait_until_it_serves(port)?;
        Ok(coordinator)
    }

    fn wait_until_it_serves(&mut self, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + COORDINATOR_WITHIN;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if self.thread.is_finished() || Instant::now() > deadline {
                anyhow::bail!("the coordinator does not serve on port {port}; the log says why");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn stop(self) -> anyhow::Result<()> {
        // It may have stopped by itself; the thread's result says so.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow::anyhow!("the coordinator ended in a panic"))?
    }
}
