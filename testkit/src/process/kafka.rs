//! An unmodified Apache Kafka broker in ZooKeeper mode.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::child::{Freeze, Process};
use super::java::{JavaProject, java_command};
use super::ports::free_port;
use super::tools::command_output;

/// A broker of Apache Kafka 3.9 whose metadata live behind `zookeeper.connect`.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    port: u16,
    class_path: String,
    home: TempDir,
}

impl Kafka {
    /// Starts a broker with the given `zookeeper.connect` (chroot included) and session timeout. It is not
    /// waited for: see [`Kafka::await_log`].
    pub fn start(zookeeper_connect: &str, session_timeout: Duration) -> Result<Kafka> {
        Kafka::start_one_of(1, 1, zookeeper_connect, session_timeout)
    }

    /// The same for one of several brokers, which replicate what they keep for themselves so often.
    pub fn start_one_of(
        id: u32,
        replicas: u32,
        zookeeper_connect: &str,
        session_timeout: Duration,
    ) -> Result<Kafka> {
        Kafka::start_on(None, id, replicas, zookeeper_connect, session_timeout)
    }

    /// The same with a data directory that may hold something, and stays.
    pub fn start_on(
        log_dir: Option<&Path>,
        id: u32,
        replicas: u32,
        zookeeper_connect: &str,
        session_timeout: Duration,
    ) -> Result<Kafka> {
        let home = TempDir::with_prefix("rookery-kafka-")?;
        let log_dir = log_dir.map_or_else(|| home.path().join("logs"), Path::to_path_buf);
        let port = free_port();
        let settings = [
            ("broker.id", id.to_string()),
            ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            ("log.dirs", log_dir.display().to_string()),
            ("zookeeper.connect", zookeeper_connect.to_owned()),
            ("zookeeper.session.timeout.ms", session_timeout.as_millis().to_string()),
            ("offsets.topic.replication.factor", replicas.to_string()),
            ("offsets.topic.num.partitions", "4".to_owned()),
            ("transaction.state.log.replication.factor", replicas.to_string()),
            ("transaction.state.log.min.isr", "1".to_owned()),
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
            ("controlled.shutdown.enable", "false".to_owned()),
        ];
        let text: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        std::fs::write(home.path().join("server.properties"), text)?;
        let mut command = command(home.path())?;
        let process = Process::start(&mut command, &home.path().join("broker.log"))?;
        Ok(Kafka { process, port, class_path: class_path()?, home })
    }

    /// `host:port` of the broker.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until the broker's log holds `text` at least `times` times.
    pub fn await_log(&mut self, text: &str, times: usize, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if self.log().matches(text).count() >= times {
                return Ok(());
            }
            if let Some(status) = self.process.ended() {
                bail!("the broker ended with {status}:\n{}", self.process.log_tail(4000));
            }
            if Instant::now() > deadline {
                bail!("the broker did not log {text:?}:\n{}", self.process.log_tail(4000));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Everything the broker logged.
    pub fn log(&self) -> String {
        let path: PathBuf = self.home.path().join("broker.log");
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Stops the broker cleanly.
    pub fn stop(&mut self) -> Result<()> {
        self.process.terminate(Duration::from_secs(60)).map(drop)
    }

    /// Ends the broker at once (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Holds the broker (SIGSTOP) until the guard is dropped.
    pub fn freeze(&self) -> Result<Freeze> {
        self.process.freeze()
    }

    /// Runs one of Kafka's own command-line classes to its end and returns what it printed.
    pub fn tool(&self, main: &str, arguments: &[&str]) -> Result<String> {
        command_output(java_command(&self.class_path, self.home.path()).arg(main).args(arguments))
    }

    /// The class path of the broker and its tools.
    pub fn class_path(&self) -> &str {
        &self.class_path
    }
}

fn class_path() -> Result<String> {
    JavaProject::new("kafka").class_path()
}

/// What starts a broker on the `server.properties` in that directory.
pub(super) fn command(home: &Path) -> Result<Command> {
    std::fs::write(
        home.join("log4j.properties"),
        "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
         log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
         log4j.appender.out.layout.ConversionPattern=%d %p %c %m%n\n",
    )?;
    let mut command = Command::new("java");
    command
        .current_dir(home)
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Djava.net.preferIPv4Stack=true")
        .arg("-Dlog4j.configuration=file:log4j.properties")
        .args(["-cp", &class_path()?, "kafka.Kafka", "server.properties"]);
    Ok(command)
}
