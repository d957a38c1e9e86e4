//! A coordination server under test: ours or Apache ZooKeeper, started the same way.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::child::{Freeze, Process, Usage, log_tail};
use super::clock;
use super::java::JavaProject;
use super::ports::free_port;
use super::tools::{command_output, workspace};
use crate::raw::{Body, Connection, op};

/// Which implementation to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Our own binary.
    Coordinator,
    /// Apache ZooKeeper, fetched from Maven Central: the control.
    Zookeeper,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Coordinator => "coordinator",
            Kind::Zookeeper => "zookeeper",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        match text {
            "coordinator" => Ok(Kind::Coordinator),
            "zookeeper" => Ok(Kind::Zookeeper),
            _ => Err(format!("unknown server {text:?}: coordinator or zookeeper")),
        }
    }
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keys of `zoo.cfg` beyond the directory and the ports, which the harness chooses.
    pub keys: BTreeMap<String, String>,
    /// Where the data goes; a temporary directory, deleted with the server, if none is given.
    pub directory: Option<PathBuf>,
    /// Flags for the Java virtual machine; ignored by our server.
    pub jvm_flags: Vec<String>,
    /// Users of SASL DIGEST-MD5, as (name, password).
    pub sasl_users: Vec<(String, String)>,
    /// Whether the admin HTTP port is open.
    pub admin: bool,
    /// The loopback address for clients and the admin port; 127.0.0.1 if none is given.
    pub host: Option<Ipv4Addr>,
    /// The number of a member of an ensemble, for the file `myid`. The `server.N` lines are keys like others.
    pub id: Option<u8>,
    /// The binary to run instead of the one that belongs to the sources; ignored by Apache ZooKeeper.
    pub binary: Option<PathBuf>,
    /// The process has a wall clock of its own, which [`Server::shift_clock`] sets.
    pub own_clock: bool,
    /// Our server reads `keys` from a `zoo.cfg` that is written once, and may be changed by the server.
    pub in_file: bool,
}

impl Options {
    /// Settings that suit tests: half-second ticks so that sessions expire soon, every four-letter word, TTL
    /// nodes, no limit on connections from this machine.
    pub fn for_tests() -> Options {
        Options::default()
            .key("tickTime", 500)
            .key("minSessionTimeout", 1000)
            .key("maxSessionTimeout", 60_000)
            .key("4lw.commands.whitelist", "*")
            .key("extendedTypesEnabled", true)
            .key("maxClientCnxns", 0)
            .key("znode.container.checkIntervalMs", 500)
    }

    /// Adds or replaces one key.
    #[must_use]
    pub fn key(mut self, key: &str, value: impl ToString) -> Options {
        self.keys.insert(key.to_owned(), value.to_string());
        self
    }

    /// Answers before the disk has what was written: the end of the process loses nothing, that of the machine can.
    #[must_use]
    pub fn without_sync(self) -> Options {
        self.key("forceSync", "no")
    }

    /// Opens the admin HTTP port.
    #[must_use]
    pub fn admin(mut self) -> Options {
        self.admin = true;
        self
    }

    /// Adds a SASL user.
    #[must_use]
    pub fn sasl_user(mut self, name: &str, password: &str) -> Options {
        self.sasl_users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Adds the super user, who may change the members; the password is "rookery".
    #[must_use]
    pub fn super_user(self) -> Options {
        self.key("reconfigEnabled", true)
            .key("DigestAuthenticationProvider.superDigest", "super:ft9aoVefWGgW15+ChrpL4a1Y2x4=")
    }

    /// Keeps the data in this directory instead of a temporary one.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Options {
        self.directory = Some(directory.to_path_buf());
        self
    }
}

/// A server process with its directory and ports, which stay the same over restarts.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    options: Options,
    process: Option<Process>,
    client_port: u16,
    admin_port: u16,
    home: PathBuf,
    // Declared last: the directory goes after the process that works in it.
    _temporary: Option<TempDir>,
}

impl Server {
    /// Starts our server.
    pub fn coordinator(options: Options) -> Result<Server> {
        Server::start_new(Kind::Coordinator, options)
    }

    /// Starts Apache ZooKeeper.
    pub fn zookeeper(options: Options) -> Result<Server> {
        Server::start_new(Kind::Zookeeper, options)
    }

    /// Starts a server and waits until it serves.
    pub fn start_new(kind: Kind, options: Options) -> Result<Server> {
        let mut server = Server::prepare(kind, options)?;
        server.start()?;
        Ok(server)
    }

    /// Chooses directory and ports without starting anything.
    pub fn prepare(kind: Kind, options: Options) -> Result<Server> {
        let (home, temporary) = match &options.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory)?;
                (directory.clone(), None)
            }
            None => {
                let temporary = TempDir::with_prefix("rookery-")?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let admin_port = if options.admin { free_port() } else { 0 };
        Ok(Server {
            kind,
            options,
            process: None,
            client_port: free_port(),
            admin_port,
            home,
            _temporary: temporary,
        })
    }

    /// Starts the process on its directory and port and waits until it serves.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.await_serving(Duration::from_secs(60))
    }

    /// Starts the process without waiting.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server already runs");
        let mut command = match self.kind {
            Kind::Coordinator => self.coordinator_command()?,
            Kind::Zookeeper => self.zookeeper_command()?,
        };
        if let Some(id) = self.options.id {
            std::fs::create_dir_all(self.data_dir())?;
            std::fs::write(self.data_dir().join("myid"), format!("{id}\n"))?;
        }
        if self.options.own_clock {
            clock::install(&mut command, &self.clock_file())?;
        }
        self.process = Some(Process::start(&mut command, &self.log_path())?);
        Ok(())
    }

    /// What the next start uses.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sets what the next start uses; directory and ports stay.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn host(&self) -> Ipv4Addr {
        self.options.host.unwrap_or(Ipv4Addr::LOCALHOST)
    }

    /// Where log, snapshots and `myid` lie.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The directory that holds data, log and configuration.
    pub fn home(&self) -> &Path {
        &self.home
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("server.log")
    }

    fn clock_file(&self) -> PathBuf {
        self.home.join("clock")
    }

    /// Sets the process's own wall clock wrong by so many seconds, or right by 0; only with [`Options::own_clock`].
    pub fn shift_clock(&self, seconds: i64) -> Result<()> {
        ensure!(self.options.own_clock, "the server has the machine's clock");
        clock::shift(&self.clock_file(), seconds)
    }

    fn login_file(&self) -> Result<Option<PathBuf>> {
        if self.options.sasl_users.is_empty() {
            return Ok(None);
        }
        let mut text =
            String::from("Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required");
        for (name, password) in &self.options.sasl_users {
            text.push_str(&format!("\n  user_{name}=\"{password}\""));
        }
        text.push_str(";\n};\n");
        let path = self.home.join("jaas.conf");
        std::fs::write(&path, text)?;
        Ok(Some(path))
    }

    fn coordinator_command(&self) -> Result<Command> {
        let mut command = Command::new(match &self.options.binary {
            Some(binary) => binary.clone(),
            None => binary("coordinator")?,
        });
        command.current_dir(&self.home);
        command.arg("--dataDir").arg(self.data_dir());
        command.args(["--clientPortAddress", &self.host().to_string()]);
        command.args(["--clientPort", &self.client_port.to_string()]);
        if self.options.admin {
            command.args(["--admin.serverAddress", &self.host().to_string()]);
            command.args(["--admin.serverPort", &self.admin_port.to_string()]);
        } else {
            command.args(["--admin.enableServer", "false"]);
        }
        if let Some(login) = self.login_file()? {
            command.arg("--java.security.auth.login.config").arg(login);
        }
        if self.options.in_file {
            let file = self.home.join("zoo.cfg");
            if !file.exists() {
                let lines = self.options.keys.iter().map(|(key, value)| format!("{key}={value}\n"));
                std::fs::write(&file, lines.collect::<String>())?;
            }
            command.arg(file);
            return Ok(command);
        }
        for (key, value) in &self.options.keys {
            command.args([format!("--{key}"), value.clone()]);
        }
        Ok(command)
    }

    fn zookeeper_command(&self) -> Result<Command> {
        let class_path = JavaProject::new("server").class_path()?;
        let mut text = format!(
            "dataDir={}\nclientPortAddress={}\nclientPort={}\nadmin.enableServer={}\n",
            self.data_dir().display(),
            self.host(),
            self.client_port,
            self.options.admin
        );
        if self.options.admin {
            let (host, port) = (self.host(), self.admin_port);
            text.push_str(&format!("admin.serverAddress={host}\nadmin.serverPort={port}\n"));
        }
        let login = self.login_file()?;
        if login.is_some() {
            text.push_str("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n");
        }
        for (key, value) in &self.options.keys {
            if !is_bare_property(key) {
                text.push_str(&format!("{key}={value}\n"));
            }
        }
        std::fs::create_dir_all(self.data_dir())?;
        let config = self.home.join("zoo.cfg");
        std::fs::write(&config, text)?;
        let mut command = Command::new("java");
        command.current_dir(&self.home);
        command.args(&self.options.jvm_flags);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=info");
        if !self.options.keys.contains_key("audit.enable") {
            // No log line per request in the control either: its bench would pay for it.
            command.arg("-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.audit=error");
        }
        for (key, value) in self.options.keys.iter().filter(|(key, _)| is_bare_property(key)) {
            command.arg(format!("-D{key}={value}"));
        }
        if let Some(login) = login {
            command.arg(format!("-Djava.security.auth.login.config={}", login.display()));
        }
        command.args(["-cp", &class_path, "org.apache.zookeeper.server.quorum.QuorumPeerMain"]).arg(config);
        Ok(command)
    }

    /// Waits until a session can be made, or fails with the end of the server's log.
    pub fn await_serving(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if self.makes_a_session().is_ok() {
                return Ok(());
            }
            let process = self.process.as_mut().context("the server does not run")?;
            if let Some(status) = process.ended() {
                let tail = process.log_tail(3000);
                self.process = None;
                bail!("the {} ended with {status} before it served:\n{tail}", self.kind);
            }
            if Instant::now() > deadline {
                bail!("the {} does not serve after {patience:?}:\n{}", self.kind, process.log_tail(3000));
            }
            std::thread::sleep(Duration::from_millis(if self.kind == Kind::Coordinator { 5 } else { 50 }));
        }
    }

    fn makes_a_session(&self) -> Result<()> {
        let mut connection = Connection::new_session(self.address())?;
        connection.call_ok(op::CLOSE_SESSION, &Body::new())?;
        Ok(())
    }

    /// Which implementation this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The address for plain clients.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.host(), self.client_port))
    }

    /// `host:port` for plain clients, as connect strings have it.
    pub fn connect_string(&self) -> String {
        self.address().to_string()
    }

    /// The admin HTTP address; only with [`Options::admin`].
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.options.admin.then(|| SocketAddr::from((self.host(), self.admin_port)))
    }

    /// Sends a four-letter word and returns the answer.
    pub fn four_letter(&self, word: &str) -> Result<String> {
        self.four_letter_within(word, Duration::from_secs(10))
    }

    /// The same with less patience.
    pub fn four_letter_within(&self, word: &str, patience: Duration) -> Result<String> {
        let mut socket = TcpStream::connect_timeout(&self.address(), patience)?;
        socket.set_read_timeout(Some(patience))?;
        socket.write_all(word.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let _ = socket.shutdown(Shutdown::Both);
        Ok(answer)
    }

    /// Ends the process as an operator would (SIGTERM) and waits for it.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the server does not run")?;
        process.terminate(Duration::from_secs(15))
    }

    /// Ends the process as a power cut of the process would (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server does not run")?;
        process.kill()
    }

    /// SIGTERM, then a start on the same directory and port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// SIGKILL, then a start on the same directory and port.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start()
    }

    /// Holds the process (SIGSTOP) until the guard is dropped.
    pub fn freeze(&self) -> Result<Freeze> {
        self.process.as_ref().context("the server does not run")?.freeze()
    }

    /// The id of the running process.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// CPU time and memory so far.
    pub fn usage(&self) -> Result<Usage> {
        self.process.as_ref().context("the server does not run")?.usage()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// The last `bytes` bytes of what the server wrote to its standard output and error.
    pub fn log_tail(&self, bytes: u64) -> String {
        log_tail(&self.log_path(), bytes)
    }
}

/// Keys that Apache ZooKeeper reads as system properties without its own prefix, so that its configuration file
/// cannot set them.
fn is_bare_property(key: &str) -> bool {
    key == "jute.maxbuffer" || key.starts_with("znode.container.")
}

/// One of our programs: `COORDINATOR_BIN` (or alike) if set; otherwise the binary of the same profile as the running test
/// or tool, built now unless it is newer than every source: it can never be older than they are.
pub(crate) fn binary(program: &'static str) -> Result<PathBuf> {
    let variable = format!("{}_BIN", program.to_ascii_uppercase());
    if let Some(path) = std::env::var_os(&variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} names {}, which is no file", path.display());
        return Ok(std::path::absolute(path)?);
    }
    static BUILT: Mutex<BTreeMap<&str, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let found = built.entry(program).or_insert_with(|| build(program).map_err(|error| format!("{error:#}")));
    found.clone().map_err(anyhow::Error::msg)
}

fn build(program: &str) -> Result<PathBuf> {
    // The broker can run a coordinator, so its sources are those of both.
    let (sources, flags): (&[&str], &[&str]) = match program {
        "coordctl" => (&["client"], &["--package", "client", "--features", "cli", "--bin", "coordctl"]),
        "coordinator" => (&["client", "coordinator"], &["--package", "coordinator"]),
        _ => (&["client", "coordinator", "broker"], &["--package", "broker"]),
    };
    built(&binary_name(program), sources, flags)
}

/// The client's command-line tool: `COORDCTL_BIN` if set, otherwise that of the same profile as the running test.
pub fn coordctl() -> Result<PathBuf> {
    binary("coordctl")
}

/// An example of the client, of the same profile as the running test.
pub fn client_example(name: &str) -> Result<PathBuf> {
    let file = Path::new("examples").join(binary_name(name));
    built(
        &file.to_string_lossy(),
        &["client"],
        &["--package", "client", "--features", "cli", "--example", name],
    )
}

/// A file of the target directory, built now unless it is newer than these folders: `cargo test --workspace` has built it
/// already, and a build of the one package would resolve features anew.
fn built(file: &str, sources: &[&str], flags: &[&str]) -> Result<PathBuf> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let path = target.join(if profile == "dev" { "debug" } else { profile }).join(file);
    if is_newer_than(&path, sources) {
        return Ok(path);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(workspace()).args(["build", "--quiet", "--profile", profile]).args(flags);
    command_output(&mut build).with_context(|| format!("building {file}"))?;
    ensure!(path.is_file(), "{} was not built", path.display());
    Ok(path)
}

fn is_newer_than(binary: &Path, sources: &[&str]) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let Some(built) = modified(binary) else { return false };
    let sources = ["Cargo.lock", "Cargo.toml"].iter().chain(sources);
    let mut open: Vec<PathBuf> = sources.map(|name| workspace().join(name)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() && ["tests", "benches"].iter().any(|name| path.ends_with(name)) {
            // No program contains these.
        } else if path.is_dir() {
            open.extend(path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if modified(&path).is_none_or(|changed| changed >= built) {
            return false;
        }
    }
    true
}

fn binary_name(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}
