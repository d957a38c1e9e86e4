//! ZooKeeper's administration commands as JSON, with the keys a 3.9.4 server uses on its own.

use super::transport::{Peer, forward, streaming};
use super::{Desk, Shared, credential, json};
use crate::config::{Config, Member, MemberAddress, Membership};
use crate::limits::{ADMIN_REQUEST_SECONDS_MAX, STREAM_QUEUE_CHUNKS_MAX};
use crate::metrics::{ProcessView, Report, Value as Figure};
use crate::net::four_letter::{NOT_SERVING, environment, interest, is_voter, ticks};
use crate::view::{
    Answer, Caller, ConnectionView, EnsembleView, Query, ServerView, SizeView, directory_size, version_line,
};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Restoring takes as long as the data is big; somebody who waits longer than this looks at the log instead.
const RESTORE_PATIENCE: Duration = Duration::from_secs(3600);

/// Primary name, other names.
const COMMANDS: &[(&str, &[&str])] = &[
    ("configuration", &["conf", "config"]),
    ("connection_stat_reset", &["crst"]),
    ("connections", &["cons"]),
    ("dirs", &[]),
    ("dump", &[]),
    ("environment", &["env", "envi"]),
    ("get_trace_mask", &["gtmk"]),
    ("hash", &[]),
    ("initial_configuration", &["icfg"]),
    ("is_read_only", &["isro"]),
    ("last_snapshot", &["lsnp"]),
    ("leader", &["lead"]),
    ("monitor", &["mntr"]),
    ("observer_connection_stat_reset", &["orst"]),
    ("observers", &["obsr"]),
    ("restore", &["rest"]),
    ("ruok", &[]),
    ("server_stats", &["srvr"]),
    ("set_trace_mask", &["stmk"]),
    ("snapshot", &["snap"]),
    ("stat_reset", &["srst"]),
    ("stats", &["stat"]),
    ("system_properties", &["sysp"]),
    ("voting_view", &[]),
    ("watch_summary", &["wchs"]),
    ("watches", &["wchc"]),
    ("watches_by_path", &["wchp"]),
    ("zabstate", &[]),
];

/// Commands that change something.
const POST_ONLY: &[&str] =
    &["restore", "stat_reset", "connection_stat_reset", "observer_connection_stat_reset"];

/// The shortest time between two runs of a command.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Pace {
        Pace { interval, last: Mutex::new(None) }
    }

    fn is_over(&self) -> bool {
        self.lock().is_none_or(|last| last.elapsed() >= self.interval)
    }

    /// Starts the interval. Only a caller who was let in does, else anybody could keep everybody out.
    fn restart(&self) {
        *self.lock() = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /commands`: links to all of them.
pub(super) async fn list(State(desk): Shared) -> Html<String> {
    let path = desk.config.admin.as_ref().map_or("/commands", |admin| &admin.command_path);
    let links = COMMANDS.iter().map(|(name, _)| format!("<a href=\"{path}/{name}\">{name}</a>\n<br/>\n"));
    Html(links.collect())
}

/// `/commands/<name>`.
pub(super) async fn run(
    State(desk): Shared,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Path(asked): Path<String>,
    request: Request,
) -> Response {
    let found = COMMANDS.iter().find(|(name, others)| *name == asked || others.contains(&asked.as_str()));
    let Some((name, _)) = found else {
        return reply(StatusCode::OK, &asked, Err(format!("Unknown command: {asked}")));
    };
    let post = request.method() == Method::POST;
    if post != POST_ONLY.contains(name) {
        let needed = if post { "GET" } else { "POST" };
        let error = format!("{name} needs {needed}");
        return reply(StatusCode::METHOD_NOT_ALLOWED, name, Err(error));
    }
    match *name {
        "snapshot" => snapshot(&desk, peer, credential(request.headers())).await,
        "restore" => restore(&desk, peer, request).await,
        _ => match answer(&desk, name).await {
            Ok(fields) => reply(StatusCode::OK, name, Ok(fields)),
            Err(error) => reply(StatusCode::OK, name, Err(error)),
        },
    }
}

/// What a command says, or its error.
type Outcome = Result<Value, String>;

fn reply(status: StatusCode, command: &str, outcome: Outcome) -> Response {
    let (mut fields, error) = match outcome {
        Ok(Value::Object(fields)) => (fields, Value::Null),
        Ok(_) => (Map::new(), Value::Null),
        Err(error) => (Map::new(), error.into()),
    };
    fields.insert("command".to_owned(), command.into());
    fields.insert("error".to_owned(), error);
    json(status, &Value::Object(fields))
}

async fn answer(desk: &Desk, command: &str) -> Outcome {
    let config = &*desk.config;
    // What needs no server.
    match command {
        "ruok" => return Ok(json!({})),
        "environment" => {
            return Ok(environment().into_iter().map(|(key, value)| (key, Value::from(value))).collect());
        }
        "get_trace_mask" => return Ok(json!({ "tracemask": 0 })),
        "set_trace_mask" => {
            return Err("there is no trace mask here; POST /log-level?level=… changes the log".to_owned());
        }
        "initial_configuration" => {
            let lines: String = config.shown.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            return Ok(json!({ "initial_configuration": lines }));
        }
        "system_properties" => {
            let named =
                config.shown.iter().map(|(key, value)| (format!("zookeeper.{key}"), value.clone().into()));
            return Ok(Value::Object(named.collect()));
        }
        _ => {}
    }
    if command == "monitor" {
        let (server, metrics) = desk.report().await.ok_or(NOT_SERVING)?;
        return Ok(monitor(&Report { server: &server, metrics: &metrics, process: ProcessView::read() }));
    }
    let query = match command {
        "connections" | "stats" => Query::Connections,
        "dump" => Query::Sessions,
        "hash" => Query::Digests,
        "last_snapshot" => Query::LastSnapshot,
        "stat_reset" => Query::ResetStats,
        "connection_stat_reset" | "observer_connection_stat_reset" => Query::ResetConnectionStats,
        "watches" => Query::WatchesBySession,
        "watches_by_path" => Query::WatchesByPath,
        "watch_summary" => Query::WatchSummary,
        // Even what is said without figures is said only while the server serves.
        _ => Query::Server,
    };
    let answer = desk.ask(query, Duration::from_secs(ADMIN_REQUEST_SECONDS_MAX)).await;
    match (command, answer.ok_or("the core thread does not answer in time")?) {
        ("configuration", Answer::Server(_)) => Ok(configuration(config)),
        ("dirs", Answer::Server(_)) => Ok(json!({
            "datadir_size": directory_size(&config.storage.data_dir),
            "logdir_size": directory_size(&config.storage.log_dir),
        })),
        ("is_read_only", Answer::Server(server)) => Ok(json!({ "read_only": is_read_only(&server) })),
        ("leader", Answer::Server(server)) => match &server.ensemble {
            None => Err("server is not initialized".to_owned()),
            Some(ensemble) => Ok(leader(ensemble)),
        },
        ("observers", Answer::Server(server)) => {
            let observers = server.ensemble.map(|ensemble| ensemble.synced_observers).unwrap_or_default();
            let list: Vec<Value> =
                observers.iter().map(|(id, zxid)| json!({ "sid": id, "last_zxid": zxid })).collect();
            Ok(json!({ "synced_observers": observers.len(), "observers": list }))
        }
        ("voting_view", Answer::Server(server)) => {
            let view = server.ensemble.as_ref().map_or_else(|| json!({}), voting_view);
            Ok(json!({ "current_config": view }))
        }
        ("zabstate", Answer::Server(server)) => Ok(match &server.ensemble {
            None => json!({ "voting": false, "zabstate": "" }),
            Some(ensemble) => zab_state(config, ensemble, server.zxid),
        }),
        ("server_stats", Answer::Server(server)) => Ok(Value::Object(server_stats(config, &server))),
        ("stats", Answer::Connections(server, connections)) => {
            let mut fields = server_stats(config, &server);
            fields.extend(connection_lists(&connections, true));
            Ok(Value::Object(fields))
        }
        ("connections", Answer::Connections(_, connections)) => {
            Ok(Value::Object(connection_lists(&connections, false)))
        }
        ("dump", Answer::Sessions(view)) => {
            let expiring = view.sessions.iter().map(|set| {
                let sessions: Vec<i64> = set.what.iter().map(|session| session.0).collect();
                (set.at_ms.to_string(), sessions.into())
            });
            let ephemerals =
                view.ephemerals.iter().map(|(session, paths)| (session.0.to_string(), json!(paths)));
            Ok(json!({
                "expiry_time_to_session_ids": expiring.collect::<Map<_, _>>(),
                "session_id_to_ephemeral_paths": ephemerals.collect::<Map<_, _>>(),
            }))
        }
        ("hash", Answer::Digests(digests)) => {
            let digest = |view: &crate::view::DigestView| json!({ "zxid": view.zxid, "digest": view.digest, "digestVersion": view.version });
            Ok(json!({ "digests": digests.iter().map(digest).collect::<Vec<_>>() }))
        }
        ("last_snapshot", Answer::LastSnapshot(snapshot)) => {
            let (zxid, at) = snapshot.map_or((u64::MAX, 0), |snapshot| (snapshot.zxid, snapshot.at_seconds));
            Ok(json!({ "zxid": format!("0x{zxid:x}"), "timestamp": at }))
        }
        ("watch_summary", Answer::WatchSummary(summary)) => Ok(json!({
            "num_connections": summary.connections,
            "num_paths": summary.paths,
            "num_total_watches": summary.total,
        })),
        ("watches", Answer::WatchesBySession(watches)) => {
            let sessions = watches.iter().map(|(session, paths)| (session.0.to_string(), json!(paths)));
            Ok(json!({ "session_id_to_watched_paths": sessions.collect::<Map<_, _>>() }))
        }
        ("watches_by_path", Answer::WatchesByPath(watches)) => {
            let paths = watches.iter().map(|(path, sessions)| {
                let sessions: Vec<i64> = sessions.iter().map(|session| session.0).collect();
                (path.clone(), sessions.into())
            });
            Ok(json!({ "path_to_session_ids": paths.collect::<Map<_, _>>() }))
        }
        (_, Answer::Done) => Ok(json!({})),
        (_, Answer::Failed(reason)) => Err(reason),
        _ => Err(NOT_SERVING.to_owned()),
    }
}

fn is_read_only(server: &ServerView) -> bool {
    server.mode == Some(crate::view::Mode::ReadOnly)
}

fn monitor(report: &Report<'_>) -> Value {
    let figure = |figure| match figure {
        Figure::Whole(number) => json!(number),
        Figure::Fraction(number) => json!((number * 10_000.0).round() / 10_000.0),
        Figure::Text(text) => text.into(),
    };
    report.values().into_iter().map(|(name, value)| (name, figure(value))).collect()
}

fn configuration(config: &Config) -> Value {
    let mut fields = json!({
        "client_port": config.listen.client.map_or(-1, |address| i32::from(address.port())),
        "data_dir": config.storage.data_dir,
        "data_log_dir": config.storage.log_dir,
        "tick_time": millis(config.session.tick),
        "max_client_cnxns": config.limits.connections_per_address.unwrap_or(0),
        "min_session_timeout": millis(config.session.timeout_min),
        "max_session_timeout": millis(config.session.timeout_max),
        "server_id": config.server_id,
        "client_port_listen_backlog": config.listen.backlog,
    });
    if let Some(ensemble) = &config.ensemble {
        let own = ensemble.membership.member(ensemble.my_id).map(|member| &member.addresses[0]);
        fields["init_limit"] = ticks(ensemble.init_limit, config).into();
        fields["sync_limit"] = ticks(ensemble.sync_limit, config).into();
        fields["election_alg"] = 3.into();
        fields["election_port"] = own.map(|address| address.election_port).into();
        fields["quorum_port"] = own.map(|address| address.quorum_port).into();
        fields["peer_type"] = u8::from(!is_voter(ensemble)).into();
    }
    if let Some(secure) = config.listen.secure {
        fields["secure_client_port"] = secure.port().into();
    }
    fields
}

fn own(ensemble: &EnsembleView, id: Option<u8>) -> Option<Member> {
    let membership = Membership::parse(&ensemble.members).ok()?;
    membership.member(id?).cloned()
}

fn leader(ensemble: &EnsembleView) -> Value {
    let host = own(ensemble, ensemble.leader).map(|member| member.addresses[0].host.clone());
    json!({
        "is_leader": ensemble.leader == Some(ensemble.my_id),
        "leader_id": ensemble.leader,
        "leader_ip": host.unwrap_or_default(),
    })
}

fn voting_view(ensemble: &EnsembleView) -> Value {
    let Ok(membership) = Membership::parse(&ensemble.members) else { return json!({}) };
    let mut view = Map::new();
    for member in membership.voters() {
        let addresses = |port: fn(&MemberAddress) -> u16| -> Vec<String> {
            member.addresses.iter().map(|address| format!("{}:{}", address.host, port(address))).collect()
        };
        let client = member
            .client
            .as_ref()
            .map(|client| format!("{}:{}", client.host.as_deref().unwrap_or("0.0.0.0"), client.port));
        view.insert(
            member.id.to_string(),
            json!({
                "server_addresses": addresses(|address| address.quorum_port),
                "election_addresses": addresses(|address| address.election_port),
                "client_address": client.unwrap_or_default(),
                "learner_type": "participant",
            }),
        );
    }
    Value::Object(view)
}

fn zab_state(config: &Config, ensemble: &EnsembleView, zxid: u64) -> Value {
    let member = own(ensemble, Some(ensemble.my_id));
    let address = |port: fn(&MemberAddress) -> u16| {
        member.as_ref().map(|member| format!("{}:{}", member.addresses[0].host, port(&member.addresses[0])))
    };
    json!({
        "myid": ensemble.my_id,
        "is_leader": ensemble.leader == Some(ensemble.my_id),
        "quorum_address": address(|address| address.quorum_port),
        "election_address": address(|address| address.election_port),
        "client_address": config.listen.client.map(|address| address.to_string()),
        "voting": ensemble.voting,
        "last_zxid": format!("0x{zxid:x}"),
        "zab_epoch": zxid >> 32,
        "zab_counter": zxid & 0xffff_ffff,
        "zabstate": ensemble.phase.to_lowercase(),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn server_stats(config: &Config, server: &ServerView) -> Map<String, Value> {
    let sizes = |size: SizeView| json!({ "last_buffer_size": size.last, "min_buffer_size": size.min, "max_buffer_size": size.max });
    let stats = json!({
        "packets_sent": server.packets_sent,
        "packets_received": server.packets_received,
        "fsync_threshold_exceed_count": server.slow_sync_count,
        "client_response_stats": sizes(server.response_size),
        "uptime": server.uptime_ms,
        "provider_null": server.mode.is_none(),
        "data_dir_size": directory_size(&config.storage.data_dir),
        "log_dir_size": directory_size(&config.storage.log_dir),
        "last_processed_zxid": server.zxid,
        "outstanding_requests": server.outstanding,
        "server_state": server.mode.map_or_else(|| "initializing".to_owned(), |mode| mode.to_string()),
        "avg_latency": server.latency.avg_ms,
        "max_latency": server.latency.max_ms,
        "min_latency": server.latency.min_ms,
        "num_alive_client_connections": server.connections,
        "auth_failed_count": server.auth_failed_count,
        "non_mtlsremote_conn_count": server.plain_remote_connections,
        "non_mtlslocal_conn_count": server.plain_local_connections,
    });
    let mut fields = vec![
        ("version", version_line().into()),
        ("read_only", is_read_only(server).into()),
        ("server_stats", stats),
        ("client_response", sizes(server.response_size)),
        ("node_count", server.node_count.into()),
    ];
    if let Some(EnsembleView { led_ms: Some(_), proposal_size, .. }) = &server.ensemble {
        fields.push(("proposal_stats", sizes(*proposal_size)));
    }
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn connection_lists(connections: &[ConnectionView], brief: bool) -> Map<String, Value> {
    let listed = |secure| -> Value {
        connections
            .iter()
            .filter(|connection| connection.secure == secure)
            .map(|c| connection(c, brief))
            .collect()
    };
    [("connections", listed(false)), ("secure_connections", listed(true))]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}

fn connection(view: &ConnectionView, brief: bool) -> Value {
    let mut fields = json!({
        "remote_socket_address": view.peer.to_string(),
        "interest_ops": interest(view),
        "outstanding_requests": view.outstanding,
        "packets_received": view.received,
        "packets_sent": view.sent,
    });
    if let (false, Value::Object(fields)) = (brief, &mut fields) {
        let more = json!({
            "session_id": view.session.map_or(0, |session| session.0),
            "last_operation": view.last_operation,
            "established": view.established_ms,
            "session_timeout": view.timeout_ms,
            "last_cxid": view.last_cxid,
            "last_zxid": view.last_zxid,
            "last_response_time": view.last_response_ms,
            "last_latency": view.last_latency_ms,
            "min_latency": view.latency.min_ms,
            "avg_latency": view.latency.avg_ms as u64,
            "max_latency": view.latency.max_ms,
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
    }
    fields
}

// ---- Snapshot and restore ----

/// Streams all data, with `last_zxid` in a header, to a caller who may do everything with the root node.
async fn snapshot(desk: &Desk, peer: SocketAddr, credential: Option<(String, Vec<u8>)>) -> Response {
    let name = "snapshot";
    let Some((scheme, auth)) = credential else { return not_identified(name) };
    if desk.config.admin.as_ref().is_none_or(|admin| !admin.snapshot) {
        return refused(name, StatusCode::SERVICE_UNAVAILABLE, "Snapshot command is disabled");
    }
    if !desk.snapshots.is_over() {
        desk.refused_snapshots.fetch_add(1, Ordering::Relaxed);
        return refused(name, StatusCode::TOO_MANY_REQUESTS, "the last snapshot command was too recent");
    }
    let caller = Caller { address: peer.ip().to_canonical(), scheme, auth };
    let answer = desk.ask(Query::Snapshot(caller), Duration::from_secs(ADMIN_REQUEST_SECONDS_MAX)).await;
    match answer {
        Some(Answer::Snapshot(zxid, chunks)) => {
            desk.snapshots.restart();
            let headers = [
                ("last_zxid", format!("0x{zxid:x}")),
                ("content-type", "application/octet-stream".to_owned()),
            ];
            (headers, streaming(chunks)).into_response()
        }
        other => not_done(name, other),
    }
}

/// Replaces all data by the body.
async fn restore(desk: &Desk, peer: SocketAddr, request: Request) -> Response {
    let name = "restore";
    let Some((scheme, auth)) = credential(request.headers()) else { return not_identified(name) };
    if desk.config.admin.as_ref().is_none_or(|admin| !admin.restore) {
        return refused(name, StatusCode::SERVICE_UNAVAILABLE, "Restore command is disabled");
    }
    if !desk.restores.is_over() {
        desk.refused_restores.fetch_add(1, Ordering::Relaxed);
        return refused(name, StatusCode::TOO_MANY_REQUESTS, "the last restore command was too recent");
    }
    let caller = Caller { address: peer.ip().to_canonical(), scheme, auth };
    let (sender, chunks) = mpsc::channel(STREAM_QUEUE_CHUNKS_MAX);
    let body = forward(request.into_body(), sender);
    // A core that refuses drops its end, which ends the forwarding; the answer decides.
    let (answer, ()) = tokio::join!(desk.ask(Query::Restore(caller, chunks), RESTORE_PATIENCE), body);
    match answer {
        Some(Answer::Restored(zxid)) => {
            desk.restores.restart();
            reply(StatusCode::OK, name, Ok(json!({ "last_zxid": zxid })))
        }
        other => not_done(name, other),
    }
}

fn refused(command: &str, status: StatusCode, error: &str) -> Response {
    tracing::warn!(command, error, "administration command refused");
    reply(status, command, Err(error.to_owned()))
}

fn not_identified(command: &str) -> Response {
    refused(command, StatusCode::UNAUTHORIZED, "Auth info is missing for the command")
}

fn not_done(command: &str, answer: Option<Answer>) -> Response {
    match answer {
        Some(Answer::NotAuthenticated) => refused(command, StatusCode::UNAUTHORIZED, "Not authenticated"),
        Some(Answer::NotAuthorized) => refused(command, StatusCode::FORBIDDEN, "Not authorized"),
        Some(Answer::NotServing) => refused(command, StatusCode::OK, NOT_SERVING),
        Some(Answer::Failed(reason)) => refused(command, StatusCode::INTERNAL_SERVER_ERROR, &reason),
        _ => refused(command, StatusCode::SERVICE_UNAVAILABLE, "the core thread does not answer"),
    }
}
