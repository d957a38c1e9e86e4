//! The broker under test, ours or Apache Kafka's, on a coordination service that somebody else runs.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::child::Process;
use super::kafka;
use super::ports::free_port;
use super::server::binary;

/// How long a broker may take to serve, or to stop.
const PATIENCE: Duration = Duration::from_secs(90);

/// Short, because a killed Apache Kafka does not start again while the session of its last life is there.
const KAFKA_SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// Which implementation of the broker to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Make {
    /// Our own binary.
    #[default]
    Ours,
    /// Apache Kafka 3.9, fetched from Maven Central: the control.
    Kafka,
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Make::Ours => "ours",
            Make::Kafka => "kafka",
        })
    }
}

impl FromStr for Make {
    type Err = String;

    fn from_str(text: &str) -> Result<Make, String> {
        match text {
            "ours" => Ok(Make::Ours),
            "kafka" => Ok(Make::Kafka),
            _ => Err(format!("unknown broker {text:?}: ours or kafka")),
        }
    }
}

/// A running broker with its directory and port, which stay the same over restarts.
#[derive(Debug)]
pub struct Broker {
    make: Make,
    process: Process,
    port: u16,
    // Declared last: the directory goes after the process that works in it.
    home: TempDir,
}

impl Broker {
    /// Starts broker 1 with the given `zookeeper.connect` (chroot included) and waits until it serves.
    pub fn start(make: Make, zookeeper_connect: &str) -> Result<Broker> {
        Broker::start_with(make, zookeeper_connect, |_| Vec::new())
    }

    /// The same with settings that depend on the port; they go before those that are usual here.
    pub fn start_with(
        make: Make,
        zookeeper_connect: &str,
        more: impl FnOnce(u16) -> Vec<(&'static str, String)>,
    ) -> Result<Broker> {
        let home = TempDir::with_prefix("rookery-broker-")?;
        let port = free_port();
        let mut settings = BTreeMap::from([
            ("broker.id", "1".to_owned()),
            ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            ("log.dirs", home.path().join("logs").display().to_string()),
            ("zookeeper.connect", zookeeper_connect.to_owned()),
            ("offsets.topic.replication.factor", "1".to_owned()),
            ("offsets.topic.num.partitions", "4".to_owned()),
            ("transaction.state.log.replication.factor", "1".to_owned()),
            ("transaction.state.log.min.isr", "1".to_owned()),
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ]);
        if make == Make::Kafka {
            settings.insert("zookeeper.session.timeout.ms", KAFKA_SESSION_TIMEOUT.as_millis().to_string());
        }
        settings.extend(more(port));
        let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        std::fs::write(home.path().join("server.properties"), text)?;
        let mut broker = Broker { make, process: launch(make, &home)?, port, home };
        broker.await_serving()?;
        Ok(broker)
    }

    /// `host:port` of the broker.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGTERM and a new start on the same directory and port.
    pub fn restart(&mut self) -> Result<()> {
        self.process.terminate(PATIENCE)?;
        self.relaunch()
    }

    /// SIGKILL, and the same.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        if self.make == Make::Kafka {
            std::thread::sleep(KAFKA_SESSION_TIMEOUT * 3 / 2);
        }
        self.relaunch()
    }

    fn relaunch(&mut self) -> Result<()> {
        self.process = launch(self.make, &self.home)?;
        self.await_serving()
    }

    fn await_serving(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let server = self.bootstrap();
        let asks = || -> Result<bool> {
            let mut command = Command::new(binary("broker")?);
            Ok(command.args(["healthcheck", "--server", &server]).output()?.status.success())
        };
        while !asks()? {
            if let Some(status) = self.process.ended() {
                bail!("the broker ended with {status} before it served:\n{}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!("the broker does not serve after {PATIENCE:?}:\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The end of what it logged.
    pub fn last_words(&self) -> String {
        self.process.log_tail(4000)
    }
}

fn launch(make: Make, home: &TempDir) -> Result<Process> {
    let mut command = match make {
        Make::Ours => {
            let mut command = Command::new(binary("broker")?);
            command.current_dir(home.path()).args(["--config", "server.properties"]);
            command
        }
        Make::Kafka => kafka::command(home.path())?,
    };
    Process::start(&mut command, &home.path().join("broker.log"))
}
