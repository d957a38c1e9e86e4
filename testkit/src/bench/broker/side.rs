//! A broker and the coordination service below it, ours or theirs, with the same settings.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use tempfile::TempDir;

use super::wire::Wire;
use crate::process::child::Process;
use crate::process::server::binary;
use crate::process::{JavaProject, Kind, Options, Server, Usage, free_port};

/// Whose broker, on whose coordination service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Maker {
    /// Our broker on our coordinator.
    #[value(name = "rookery")]
    Ours,
    /// Apache Kafka on Apache ZooKeeper.
    Kafka,
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Maker::Ours => "rookery",
            Maker::Kafka => "kafka",
        })
    }
}

/// What Kafka's own start script gives a broker.
const KAFKA_JVM: [&str; 7] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

/// How long the coordination service remembers a broker that was killed.
const SESSION: Duration = Duration::from_secs(6);

/// How long a broker may take until it serves.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running pair.
pub(super) struct Side {
    pub(super) maker: Maker,
    broker: Process,
    coordination: Server,
    port: u16,
    // Declared last: the directory goes after the processes that work in it.
    home: TempDir,
}

impl Side {
    /// Starts both on a fresh directory and waits until the broker serves.
    pub(super) fn start(maker: Maker, directory: &Path) -> Result<Side> {
        std::fs::create_dir_all(directory)?;
        let home = TempDir::with_prefix_in(format!("{maker}-"), directory)?;
        let kind = match maker {
            Maker::Ours => Kind::Coordinator,
            Maker::Kafka => Kind::Zookeeper,
        };
        let coordination =
            Server::start_new(kind, Options::default().directory(&home.path().join("coordination")))?;
        let port = free_port();
        let settings = [
            ("broker.id", "1".to_owned()),
            ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            ("log.dirs", home.path().join("logs").display().to_string()),
            ("zookeeper.connect", coordination.connect_string()),
            ("zookeeper.session.timeout.ms", SESSION.as_millis().to_string()),
            ("offsets.topic.replication.factor", "1".to_owned()),
            ("auto.create.topics.enable", "false".to_owned()),
            ("num.network.threads", "3".to_owned()),
            ("num.io.threads", "8".to_owned()),
            // Topics of one case must be gone from the disk before the next one fills it.
            ("log.segment.delete.delay.ms", "1000".to_owned()),
            ("log.retention.check.interval.ms", "5000".to_owned()),
        ];
        let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        std::fs::write(home.path().join("server.properties"), text)?;
        let broker = launch(maker, home.path())?;
        let mut side = Side { maker, broker, coordination, port, home };
        side.await_serving()?;
        Ok(side)
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(super) fn wire(&self) -> Result<Wire> {
        Ok(Wire::new(TcpStream::connect(self.address())?))
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        self.broker.usage()
    }

    pub(super) fn resident_mib(&self) -> Result<f64> {
        Ok(self.usage()?.resident as f64 / f64::from(1 << 20))
    }

    /// Memory of the coordination service, too.
    pub(super) fn resident_mib_of_both(&self) -> Result<f64> {
        Ok(self.resident_mib()? + self.coordination.usage()?.resident as f64 / f64::from(1 << 20))
    }

    pub(super) fn log_directory(&self) -> PathBuf {
        self.home.path().join("logs")
    }

    /// Ends the broker at once, and waits until its registration is gone: before that, neither of the two can start.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.broker.kill()?;
        std::thread::sleep(SESSION * 3 / 2);
        Ok(())
    }

    /// Starts a killed broker on what is left.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.broker = launch(self.maker, self.home.path())?;
        self.await_serving()
    }

    fn await_serving(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.wire().and_then(|mut wire| wire.brokers()).is_ok_and(|brokers| brokers > 0) {
                return Ok(());
            }
            if let Some(status) = self.broker.ended() {
                bail!("the broker ended with {status}:\n{}", self.broker.log_tail(4000));
            }
            ensure!(Instant::now() < deadline, "the broker does not serve:\n{}", self.broker.log_tail(4000));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn launch(maker: Maker, home: &Path) -> Result<Process> {
    let mut command = match maker {
        Maker::Ours => {
            let mut command = Command::new(binary("broker")?);
            command.arg("--config");
            command
        }
        Maker::Kafka => {
            let log4j = "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
                         log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
                         log4j.appender.out.layout.ConversionPattern=%d %p %c %m%n\n";
            std::fs::write(home.join("log4j.properties"), log4j)?;
            let mut command = Command::new("java");
            command
                .args(KAFKA_JVM)
                .args(["-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true"])
                .arg("-Dlog4j.configuration=file:log4j.properties")
                .args(["-cp", &JavaProject::new("kafka").class_path()?, "kafka.Kafka"]);
            command
        }
    };
    command.current_dir(home).arg("server.properties");
    Process::start(&mut command, &home.join("broker.log"))
}
