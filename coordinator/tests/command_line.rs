//! The program as people and containers use it: exit codes, output, and a server that starts, is healthy, and stops.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn coordinator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator"));
    // What the developer's shell sets must not change the outcome.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ZOO_") || name.starts_with("ROOKERY_") || name.ends_with("JVMFLAGS") {
            command.env_remove(name);
        }
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    coordinator().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A port on loopback that was free a moment ago, and that no outgoing connection is given: those begin at 32768.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7919);
    let ports = std::iter::repeat_with(|| 10_000 + start.wrapping_add(NEXT.fetch_add(1, Relaxed)) % 22_000);
    let mut ports = ports.map(|port| port as u16);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one is free")
}

/// A server that is killed when the test ends, however it ends.
struct Server {
    process: Child,
    client_port: u16,
    admin_port: u16,
    /// What it says.
    log: PathBuf,
}

impl Server {
    fn start(directory: &Path, more: &[&str]) -> Server {
        let (client_port, admin_port) = (free_port(), free_port());
        let log = directory.join("server.log");
        let process = coordinator()
            .args(["--data-dir", directory.to_str().unwrap(), "--clientPortAddress", "127.0.0.1"])
            .args(["--client-port", &client_port.to_string(), "--admin.serverPort", &admin_port.to_string()])
            .args(more)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Server { process, client_port, admin_port, log };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", client_port)).is_err() {
            assert!(server.process.try_wait().unwrap().is_none(), "the server ended early");
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn healthcheck(&self) -> Output {
        run(&["healthcheck", "--server", &format!("127.0.0.1:{}", self.client_port)])
    }

    fn say(&self, port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn http(&self, request: &str) -> String {
        self.say(
            self.admin_port,
            &format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_starts_is_healthy_and_stops_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--4lw.commands.whitelist", "srvr,mntr"]);
    let health = server.healthcheck();
    assert!(health.status.success(), "{}", text(&health.stderr));
    let admin = format!("127.0.0.1:{}", server.admin_port);
    assert!(run(&["healthcheck", "--admin", &admin]).status.success());

    // The three doors show the same.
    assert!(server.say(server.client_port, "mntr").contains("\nzk_znode_count\t5\n"));
    assert!(server.say(server.client_port, "ruok").contains("not in the whitelist"));
    assert!(server.http("GET /metrics").contains("\nznode_count 5\n"));
    assert!(server.http("GET /commands/monitor").contains("\"znode_count\": 5"));
    assert!(server.http("POST /log-level?level=debug").ends_with("debug\n"));
    assert!(server.http("GET /log-level").ends_with("debug\n"));

    let id = rustix::process::Pid::from_child(&server.process);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        match server.process.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "the server does not stop"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    let sick = server.healthcheck();
    assert_eq!(sick.status.code(), Some(1));
    assert!(text(&sick.stderr).contains("cannot connect"), "{}", text(&sick.stderr));
}

#[test]
fn a_healthcheck_needs_no_four_letter_word() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--4lw.commands.whitelist", "isro"]);
    let health = server.healthcheck();
    let log = || std::fs::read_to_string(&server.log).unwrap();
    assert!(health.status.success(), "{}{}", text(&health.stderr), log());
}

#[test]
fn config_check_tells_and_exits_accordingly() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("zoo.cfg");
    std::fs::write(
        &file,
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/data\nclientPort=2181\nmaxCnxn=5\n",
    )
    .unwrap();
    let good = run(&["config", "check", file.to_str().unwrap()]);
    assert!(good.status.success());
    assert!(text(&good.stdout).contains("# plain clients: [::]:2181\n"));
    assert!(text(&good.stderr).contains("did you mean maxCnxns?"), "{}", text(&good.stderr));

    let bad = run(&["config", "check", "--tickTime", "soon", "--snapCount", "0"]);
    assert_eq!(bad.status.code(), Some(1));
    let told = text(&bad.stderr);
    assert!(told.contains("tickTime=soon (command line)") && told.contains("snapCount=0"), "{told}");

    let start = run(&["--tickTime", "soon"]);
    assert_eq!(start.status.code(), Some(1));
    assert!(text(&start.stderr).contains("tickTime=soon"), "{}", text(&start.stderr));
}

#[test]
fn help_completions_and_manual() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["completions", "bash"], &["man"]] {
        let output = run(arguments);
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
    let mistake = run(&["--clientPrt", "1"]);
    assert_eq!(mistake.status.code(), Some(1));
    assert!(text(&mistake.stderr).contains("--clientPort"), "{}", text(&mistake.stderr));
}
