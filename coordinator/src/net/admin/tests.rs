use super::*;
use crate::config::Sources;
use crate::limits::STREAM_QUEUE_CHUNKS_MAX;
use crate::view::{
    Caller, Expiring, LatencyView, Mode, SessionNumber, SessionsView, SnapshotView, WatchSummary,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

const SESSION: SessionNumber = SessionNumber(72_057_717_961_195_520);

/// A port on loopback with a stand-in for the core thread.
struct Server {
    listening: Listening,
}

fn config(flags: &[(&str, &str)]) -> Arc<Config> {
    let mut all = vec![("admin.serverPort", "0"), ("dataDir", "/no/such/data"), ("clientPort", "12181")];
    all.extend(flags);
    let flags = all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Arc::new(Sources { flags, ..Sources::default() }.load().unwrap().config)
}

impl Server {
    fn start(flags: &[(&str, &str)], core: impl Fn(Query) -> Option<Answer> + Send + 'static) -> Server {
        let (sender, mut asks) = mpsc::channel::<Ask>(4);
        let listening = spawn(config(flags), sender).unwrap();
        std::thread::spawn(move || {
            while let Some(Ask { query, answer }) = asks.blocking_recv() {
                match core(query) {
                    Some(reply) => drop(answer.send(reply)),
                    // A core that is stuck keeps the question.
                    None => std::mem::forget(answer),
                }
            }
        });
        Server { listening }
    }

    fn usual() -> Server {
        Server::start(&[], |query| Some(usual(query)))
    }

    /// Status, head and body of an HTTP exchange.
    fn exchange(&self, request: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        exchange(self.listening.admin.unwrap(), request, body)
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.exchange(&format!("GET {path}"), b"");
        (status, String::from_utf8(body).unwrap())
    }

    fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let request = format!("POST {path}\n{headers}content-length: {}", body.len());
        let (status, _, body) = self.exchange(&request, body);
        (status, String::from_utf8(body).unwrap())
    }

    #[track_caller]
    fn command(&self, name: &str, expected: &Value) {
        let (status, body) = self.get(&format!("/commands/{name}"));
        assert_eq!((status, &serde_json::from_str::<Value>(&body).unwrap()), (200, expected), "{name}");
    }
}

/// `request` is the request line without its version, then headers, a line each.
fn exchange(address: SocketAddr, request: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let host = if headers.to_ascii_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
    let headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
    let head = format!("{line} HTTP/1.1\r\n{host}connection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_off((end + 4).min(answer.len()));
    let body = if head.contains("transfer-encoding: chunked") { dechunk(&body) } else { body };
    (status, head, body)
}

/// The data of a chunked body; empty when it was cut.
fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
    Vec::new()
}

fn server_view() -> Box<ServerView> {
    Box::new(ServerView {
        mode: Some(Mode::Standalone),
        node_count: 8,
        zxid: 5,
        packets_sent: 3,
        latency: LatencyView { min_ms: 0, avg_ms: 1.5, max_ms: 9 },
        memory_bytes: 5 << 20,
        memory_bytes_max: 100 << 20,
        ..ServerView::default()
    })
}

fn usual(query: Query) -> Answer {
    match query {
        Query::Server | Query::Readiness => Answer::Server(server_view()),
        Query::Metrics => Answer::Metrics(server_view(), Box::default()),
        Query::Connections => Answer::Connections(server_view(), Vec::new()),
        Query::Sessions => Answer::Sessions(SessionsView {
            sessions: vec![Expiring { at_ms: 1_944_000, what: vec![SESSION] }],
            ephemerals: vec![(SESSION, vec!["/a/e-0000000001".to_owned()])],
            connections: Vec::new(),
        }),
        Query::WatchSummary => Answer::WatchSummary(WatchSummary { connections: 1, paths: 2, total: 3 }),
        Query::WatchesBySession => Answer::WatchesBySession(vec![(SESSION, vec!["/zz".to_owned()])]),
        Query::WatchesByPath => Answer::WatchesByPath(vec![("/zz".to_owned(), vec![SESSION])]),
        Query::Digests => Answer::Digests(Vec::new()),
        Query::LastSnapshot => {
            Answer::LastSnapshot(Some(SnapshotView { zxid: 31, at_seconds: 1_795_275_246 }))
        }
        Query::ResetStats | Query::ResetConnectionStats => Answer::Done,
        Query::Snapshot(caller) => match verdict(&caller) {
            Some(refusal) => refusal,
            None => {
                let (sender, chunks) = mpsc::channel(STREAM_QUEUE_CHUNKS_MAX);
                std::thread::spawn(move || {
                    for index in 0..1000_u32 {
                        sender.blocking_send(Ok(Bytes::from(vec![index as u8; 4096]))).unwrap();
                    }
                    if caller.auth == b"root:cut" {
                        sender.blocking_send(Err("the disk failed".to_owned())).unwrap();
                    }
                });
                Answer::Snapshot(31, chunks)
            }
        },
        Query::Restore(caller, mut chunks) => match verdict(&caller) {
            Some(refusal) => refusal,
            None => {
                let mut bytes = 0;
                while let Some(chunk) = chunks.blocking_recv() {
                    match chunk {
                        Ok(chunk) => bytes += chunk.len() as u64,
                        Err(error) => return Answer::Failed(error),
                    }
                }
                Answer::Restored(bytes)
            }
        },
    }
}

fn verdict(caller: &Caller) -> Option<Answer> {
    assert_eq!(caller.address, IpAddr::from([127, 0, 0, 1]));
    match (caller.scheme.as_str(), caller.auth.as_slice()) {
        ("digest", b"root:secret" | b"root:cut") => None,
        ("digest", _) => Some(Answer::NotAuthorized),
        _ => Some(Answer::NotAuthenticated),
    }
}

// The keys and values are those of a 3.9.4 server on its own.
#[test]
fn commands_have_the_keys_of_the_real_server() {
    let server = Server::usual();
    server.command("ruok", &json!({ "command": "ruok", "error": null }));
    server.command(
        "conf",
        &json!({
            "client_port": 12181, "data_dir": "/no/such/data", "data_log_dir": "/no/such/data", "tick_time": 2000,
            "max_client_cnxns": 60, "min_session_timeout": 4000, "max_session_timeout": 40000, "server_id": 0,
            "client_port_listen_backlog": 1024, "command": "configuration", "error": null,
        }),
    );
    server.command(
        "dump",
        &json!({
            "expiry_time_to_session_ids": { "1944000": [SESSION.0] },
            "session_id_to_ephemeral_paths": { "72057717961195520": ["/a/e-0000000001"] },
            "command": "dump", "error": null,
        }),
    );
    server.command("isro", &json!({ "read_only": false, "command": "is_read_only", "error": null }));
    server.command("dirs", &json!({ "datadir_size": 0, "logdir_size": 0, "command": "dirs", "error": null }));
    server.command("hash", &json!({ "digests": [], "command": "hash", "error": null }));
    server.command(
        "lsnp",
        &json!({ "zxid": "0x1f", "timestamp": 1_795_275_246, "command": "last_snapshot", "error": null }),
    );
    server.command("lead", &json!({ "command": "leader", "error": "server is not initialized" }));
    server.command(
        "obsr",
        &json!({ "synced_observers": 0, "observers": [], "command": "observers", "error": null }),
    );
    server.command("voting_view", &json!({ "current_config": {}, "command": "voting_view", "error": null }));
    server.command(
        "zabstate",
        &json!({ "voting": false, "zabstate": "", "command": "zabstate", "error": null }),
    );
    server.command(
        "wchs",
        &json!({ "num_connections": 1, "num_paths": 2, "num_total_watches": 3, "command": "watch_summary", "error": null }),
    );
    let watched = json!({ "72057717961195520": ["/zz"] });
    server.command(
        "watches",
        &json!({ "session_id_to_watched_paths": watched, "command": "watches", "error": null }),
    );
    let watching = json!({ "/zz": [SESSION.0] });
    server.command(
        "wchp",
        &json!({ "path_to_session_ids": watching, "command": "watches_by_path", "error": null }),
    );
    server.command(
        "cons",
        &json!({ "connections": [], "secure_connections": [], "command": "connections", "error": null }),
    );
    server.command("nosuch", &json!({ "command": "nosuch", "error": "Unknown command: nosuch" }));

    let stats: Value = serde_json::from_str(&server.get("/commands/stat").1).unwrap();
    assert_eq!((&stats["node_count"], &stats["server_stats"]["last_processed_zxid"]), (&json!(8), &json!(5)));
    assert_eq!((&stats["server_stats"]["avg_latency"], &stats["connections"]), (&json!(1.5), &json!([])));
    let monitor: Value = serde_json::from_str(&server.get("/commands/monitor").1).unwrap();
    assert_eq!((&monitor["znode_count"], &monitor["server_state"]), (&json!(8), &json!("standalone")));
    assert!(server.get("/commands").1.contains("<a href=\"/commands/zabstate\">zabstate</a>"));
}

#[test]
fn every_command_is_answered() {
    let server =
        Server::start(&[("superUser", "x"), ("admin.commandURL", "/zk")], |query| Some(usual(query)));
    for line in server.get("/zk").1.lines().filter(|line| line.contains("href")) {
        let name = line.split(['>', '<']).nth(2).unwrap();
        let (status, body) = match server.get(&format!("/zk/{name}")) {
            (405, _) => server.post(&format!("/zk/{name}"), "", b""),
            answer => answer,
        };
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["command"], name);
        let fine = ![&"snapshot", &"restore", &"leader", &"set_trace_mask"].contains(&&name);
        assert_eq!((body["error"].is_null(), status == 200), (fine, fine || status == 200), "{name}: {body}");
    }
}

#[test]
fn secrets_stay_secret() {
    let flags = [("DigestAuthenticationProvider.superDigest", "super:geheim"), ("tickTime", "1000")];
    let server = Server::start(&flags, |query| Some(usual(query)));
    for command in ["icfg", "sysp"] {
        let (_, body) = server.get(&format!("/commands/{command}"));
        assert!(body.contains("tickTime") && body.contains("***") && !body.contains("geheim"), "{body}");
    }
}

#[test]
fn health() {
    let server = Server::usual();
    assert_eq!(server.get("/livez"), (200, "ok\n".to_owned()));
    assert_eq!(server.get("/readyz"), (200, "ok\n".to_owned()));
    let verbose = "[+] serving: standalone\n[+] writes\n[+] memory: 5 of 100 MiB\n".to_owned();
    assert_eq!(server.get("/readyz?verbose"), (200, verbose));

    let full = Server::start(&[], |_| {
        let server = ServerView { writes_refused: Some("the disk is full".to_owned()), ..*server_view() };
        Some(Answer::Server(Box::new(server)))
    });
    let (status, text) = full.get("/readyz?verbose=1");
    assert!(status == 200 && text.contains("[!] writes: the disk is full"), "{text}");

    let starting = Server::start(&[], |_| Some(Answer::NotServing));
    assert_eq!(starting.get("/livez").0, 200);
    assert_eq!(starting.get("/readyz").0, 503);
    assert!(starting.get("/readyz?verbose").1.starts_with("[-] serving"));
    assert!(starting.get("/commands/srvr").1.contains("not currently serving requests"));

    let stuck = Server::start(&[], |_| None);
    assert_eq!(stuck.get("/livez").0, 503);
}

#[test]
fn metrics_here_and_on_their_own_port() {
    let flags = [
        ("metricsProvider.className", "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"),
        ("metricsProvider.httpHost", "127.0.0.1"),
        ("metricsProvider.httpPort", "0"),
    ];
    let server = Server::start(&flags, |query| Some(usual(query)));
    for address in [server.listening.admin.unwrap(), server.listening.metrics.unwrap()] {
        let (status, head, body) = exchange(address, "GET /metrics", b"");
        assert!(status == 200 && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        assert!(String::from_utf8(body).unwrap().contains("\nznode_count 8\n"));
    }
    assert_eq!(exchange(server.listening.metrics.unwrap(), "GET /commands/conf", b"").0, 404);
}

#[test]
fn a_snapshot_is_streamed_to_whom_it_may() {
    let server = Server::usual();
    let snapshot =
        |authorization: &str| server.exchange(&format!("GET /commands/snapshot{authorization}"), b"");
    assert_eq!(snapshot("").0, 401);
    assert_eq!(snapshot("\nauthorization: basic xyz").0, 401);
    assert_eq!(snapshot("\nauthorization: digest root:wrong").0, 403);
    let (status, head, body) = snapshot("\nauthorization: digest root:secret");
    assert!(status == 200 && head.contains("last_zxid: 0x1f"), "{head}");
    assert!(body.len() == 4_096_000 && body[4096 * 999] == 231, "{}", body.len());
    assert_eq!(snapshot("\nauthorization: digest root:secret").0, 429);
    std::thread::sleep(Duration::from_millis(350));
    assert_eq!(snapshot("\nauthorization: digest root:cut").2, b"", "a cut stream must not look complete");
    assert!(server.get("/metrics").1.contains("\nsnapshot_rate_limited_count 1\n"));

    let off = Server::start(&[("admin.snapshot.enabled", "false")], |query| Some(usual(query)));
    assert_eq!(off.exchange("GET /commands/snap\nauthorization: digest root:secret", b"").0, 503);
}

#[test]
fn a_restore_takes_a_body_of_any_size() {
    let server = Server::start(&[("admin.rateLimiterIntervalInMS", "0")], |query| Some(usual(query)));
    let restore = |headers: &str, body: &[u8]| server.post("/commands/restore", headers, body);
    assert_eq!(restore("", b"").0, 401);
    assert_eq!(restore("authorization: digest root:wrong\n", b"x").0, 403);
    let (status, body) = restore("authorization: digest root:secret\n", &vec![7; 10 << 20]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["last_zxid"]), (200, &json!(10 << 20)));
    // A client that goes away in the middle must not leave a tree that is half replaced.
    let mut cut = TcpStream::connect(server.listening.admin.unwrap()).unwrap();
    let head = "POST /commands/restore HTTP/1.1\r\nhost: localhost\r\nauthorization: digest root:secret\r\n";
    cut.write_all(format!("{head}content-length: 100\r\n\r\nhalf").as_bytes()).unwrap();
    cut.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    cut.read_to_string(&mut answer).unwrap();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");

    let paced = Server::usual();
    assert_eq!(paced.post("/commands/restore", "authorization: digest root:secret\n", b"").0, 200);
    assert_eq!(paced.post("/commands/restore", "authorization: digest root:secret\n", b"").0, 429);
    assert_eq!(paced.get("/commands/restore").0, 405);
}

#[test]
fn web_pages_are_kept_out() {
    let server = Server::usual();
    for host in ["localhost:8080", "127.0.0.1", "[::1]:8080", "10.1.2.3:1"] {
        assert_eq!(server.exchange(&format!("GET /version\nhost: {host}"), b"").0, 200, "{host}");
    }
    assert_eq!(server.exchange("GET /commands/dump\nhost: rebound.example:8080", b"").0, 403);
    assert_eq!(server.get("/commands/stat_reset").0, 405);
    let reset = |headers: &str| server.post("/commands/srst", headers, b"").0;
    assert_eq!(reset(""), 200);
    assert_eq!(reset("origin: http://localhost\n"), 200);
    assert_eq!(reset("origin: http://elsewhere.example\n"), 403);
    assert_eq!(reset("origin: null\n"), 403);
}

#[test]
fn the_log_level_answers_mistakes() {
    let server = Server::usual();
    assert_eq!(server.post("/log-level", "", b"").0, 400);
    assert_eq!(server.post("/log-level?level=loud", "", b"").0, 400);
}

#[test]
fn idle_and_too_many_connections_are_bounded() {
    let server = Server::start(&[("admin.idleTimeout", "300")], |query| Some(usual(query)));
    let address = server.listening.admin.unwrap();
    let silent: Vec<_> =
        (0..2 * ADMIN_CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(server.get("/livez").0, 200, "silent connections end and make room");
    drop(silent);
    let long = format!("GET /version\nx: {}", "y".repeat(1 << 20));
    assert_ne!(server.exchange(&long, b"").0, 200);
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (sender, _asks) = mpsc::channel(1);
    let wanted = config(&[("admin.serverPort", &address.port().to_string())]);
    let error = spawn(wanted.clone(), sender.clone()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("admin.serverPort: cannot listen on {address}")), "{error}");
    let mut by_default = Config::clone(&wanted);
    if let Some(admin) = &mut by_default.admin {
        admin.explicit = false;
    }
    assert_eq!(spawn(Arc::new(by_default), sender).unwrap(), Listening::default());
}
