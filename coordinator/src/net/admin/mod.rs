//! The operations port: HTTP for people, dashboards and orchestrators, on a thread of its own.
//!
//! `/livez`, `/readyz` (`?verbose`), `/metrics`, `/version`, `/log-level`, and ZooKeeper's `/commands/*`. It holds nothing of
//! the server's state: every figure is asked of the core thread through a bounded queue.
//!
//! What changes something needs POST, so that no link or image in a web page can do it; a page's own scripts are kept out by
//! the `Host` and `Origin` headers.

mod commands;
mod transport;

use crate::config::Config;
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_SECONDS_MAX};
use crate::logging::level_switch;
use crate::metrics::{Metrics, ProcessView, Report};
use crate::view::{Answer, Ask, EnsembleView, Query, ServerView, version_line};
use axum::Router;
use axum::extract::{ConnectInfo, Query as Parameters, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use transport::{Bounded, Peer};

/// A core thread that says nothing for so long is stuck: something should restart the process.
const LIVE_WITHIN: Duration = Duration::from_secs(5);

/// Why the operations port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody asked for it, and the address cannot be had.
    #[error("{key}: cannot listen on {address}: {error}")]
    Listen {
        /// The setting that asks for it.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The thread could not be started.
    #[error("the operations thread cannot be started: {0}")]
    Thread(io::Error),
}

/// Where the ports ended up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listening {
    /// The operations port; absent when switched off, or when its default was taken.
    pub admin: Option<SocketAddr>,
    /// The additional metrics port.
    pub metrics: Option<SocketAddr>,
}

/// Listens as configured and serves until the process ends. `core` takes questions to the core thread, which must read it
/// from the start.
pub fn spawn(config: Arc<Config>, core: mpsc::Sender<Ask>) -> Result<Listening, AdminError> {
    let admin = match &config.admin {
        None => None,
        Some(admin) => match listen(admin.listen) {
            Ok(listener) => Some(listener),
            Err(error) if admin.explicit => {
                return Err(AdminError::Listen { key: "admin.serverPort", address: admin.listen, error });
            }
            Err(error) => {
                let address = admin.listen;
                tracing::warn!(%address, %error, "no operations port; set admin.serverPort to another one");
                None
            }
        },
    };
    let metrics = match config.metrics {
        None => None,
        Some(address) => Some(listen(address).map_err(|error| AdminError::Listen {
            key: "metricsProvider.httpPort",
            address,
            error,
        })?),
    };
    let address =
        |listener: &Option<TcpListener>| listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let listening = Listening { admin: address(&admin), metrics: address(&metrics) };
    if admin.is_none() && metrics.is_none() {
        return Ok(listening);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Thread)?;
    let desk = Arc::new(Desk::new(config, core, listening));
    let serve = async move {
        let admin = serve(admin, admin_routes(desk.clone()), &desk);
        let metrics = serve(metrics, metrics_routes(desk.clone()), &desk);
        tokio::join!(admin, metrics);
    };
    std::thread::Builder::new()
        .name("operations".to_owned())
        .spawn(move || runtime.block_on(serve))
        .map_err(AdminError::Thread)?;
    Ok(listening)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    // A machine without IPv6 still has all of its IPv4 addresses.
    let listener = TcpListener::bind(address).or_else(|error| match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port()))
        }
        _ => Err(error),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(listener: Option<TcpListener>, routes: Router, desk: &Desk) {
    let Some(listener) = listener else { return };
    let idle = desk.config.admin.as_ref().map_or(Duration::from_secs(30), |admin| admin.idle_timeout);
    match Bounded::new(listener, ADMIN_CONNECTIONS_MAX, idle) {
        Ok(listener) => {
            let service = routes.into_make_service_with_connect_info::<Peer>();
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!(%error, "the operations port failed");
            }
        }
        Err(error) => tracing::error!(%error, "the operations port failed"),
    }
}

/// What every handler shares.
#[derive(Debug)]
struct Desk {
    config: Arc<Config>,
    core: mpsc::Sender<Ask>,
    listening: Listening,
    snapshots: commands::Pace,
    restores: commands::Pace,
    /// Refusals of this port, which the core does not see.
    refused_snapshots: AtomicU64,
    refused_restores: AtomicU64,
}

impl Desk {
    fn new(config: Arc<Config>, core: mpsc::Sender<Ask>, listening: Listening) -> Desk {
        let interval = config.admin.as_ref().map_or(Duration::ZERO, |admin| admin.stream_interval);
        Desk {
            config,
            core,
            listening,
            // ZooKeeper reads the same number as microseconds for snapshots, and backup tools rely on it.
            snapshots: commands::Pace::new(interval / 1000),
            restores: commands::Pace::new(interval),
            refused_snapshots: AtomicU64::new(0),
            refused_restores: AtomicU64::new(0),
        }
    }

    /// Asks the core thread; `None` when it does not answer in time or is gone.
    async fn ask(&self, query: Query, patience: Duration) -> Option<Answer> {
        let (answer, reply) = oneshot::channel();
        let asked = async {
            self.core.send(Ask { query, answer }).await.ok()?;
            reply.await.ok()
        };
        tokio::time::timeout(patience, asked).await.ok()?
    }

    async fn report(&self) -> Option<(Box<ServerView>, Box<Metrics>)> {
        match self.ask(Query::Metrics, Duration::from_secs(ADMIN_REQUEST_SECONDS_MAX)).await? {
            Answer::Metrics(server, mut metrics) => {
                metrics.snapshot_rate_limited_count += self.refused_snapshots.load(Ordering::Relaxed);
                metrics.restore_rate_limited_count += self.refused_restores.load(Ordering::Relaxed);
                Some((server, metrics))
            }
            _ => None,
        }
    }
}

type Shared = State<Arc<Desk>>;

fn metrics_routes(desk: Arc<Desk>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(desk)
}

fn admin_routes(desk: Arc<Desk>) -> Router {
    let commands = desk.config.admin.as_ref().map_or("/commands", |admin| &admin.command_path).to_owned();
    Router::new()
        .route("/", get(index))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/log-level", get(log_level).post(set_log_level))
        .route(&commands, get(commands::list))
        .route(&format!("{commands}/"), get(commands::list))
        .route(&format!("{commands}/{{name}}"), get(commands::run).post(commands::run))
        .layer(middleware::from_fn_with_state(desk.clone(), keep_pages_out))
        .with_state(desk)
}

/// Refuses requests that a web page caused.
///
/// A name that a page's owner points at this machine (DNS rebinding) shows in `Host`; on loopback only addresses and
/// `localhost` are meant. A page that sends a form here shows in `Origin`.
async fn keep_pages_out(State(desk): Shared, request: Request, next: Next) -> Response {
    match caused_by_a_page(&desk, request.method(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

fn caused_by_a_page(desk: &Desk, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let local_only = desk.listening.admin.is_some_and(|address| address.ip().is_loopback());
    if local_only && !names_this_machine(host) {
        return Some("the Host header must be localhost or an address\n");
    }
    let from = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, from)| from));
    if method != Method::GET && from.is_some_and(|from| from != host) {
        return Some("requests from web pages may not change anything\n");
    }
    None
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

async fn index(State(desk): Shared) -> String {
    let commands = desk.config.admin.as_ref().map_or("/commands", |admin| &admin.command_path);
    format!("/livez\n/readyz?verbose\n/metrics\n/version\n/log-level\n{commands}\n")
}

/// Is the process worth keeping?
async fn livez(State(desk): Shared) -> (StatusCode, &'static str) {
    match desk.ask(Query::Server, LIVE_WITHIN).await {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the core thread does not answer\n"),
    }
}

/// Should clients be sent here? Refused writes are told and do not count: reads, and deletes that make room, still work.
async fn readyz(State(desk): Shared, uri: Uri) -> (StatusCode, String) {
    let (server, reason) = match desk.ask(Query::Readiness, LIVE_WITHIN).await {
        Some(Answer::Server(server)) => (Some(server), String::new()),
        Some(Answer::NotReady(reason)) => (None, reason),
        _ => (None, "the core thread says nothing yet".to_owned()),
    };
    let mode = server.as_ref().and_then(|server| server.mode);
    let status = if mode.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !uri
        .query()
        .unwrap_or_default()
        .split('&')
        .any(|parameter| parameter.split('=').next() == Some("verbose"))
    {
        return (status, if mode.is_some() { "ok\n" } else { "not ready\n" }.to_owned());
    }
    let mut text = match (&server, mode) {
        (None, _) => format!("[-] serving: {reason}\n"),
        (Some(_), None) => "[-] serving: clients are not served\n".to_owned(),
        (Some(_), Some(mode)) => format!("[+] serving: {mode}\n"),
    };
    if let Some(server) = server {
        if let Some(EnsembleView { leader: Some(leader), epoch, .. }) = &server.ensemble {
            text.push_str(&format!("[+] ensemble: led by {leader} in epoch {epoch}\n"));
        }
        match &server.writes_refused {
            None => text.push_str("[+] writes\n"),
            Some(reason) => text.push_str(&format!("[!] writes: {reason}\n")),
        }
        let (memory, limit) = (server.memory_bytes >> 20, server.memory_bytes_max >> 20);
        text.push_str(&format!("[+] memory: {memory} of {limit} MiB\n"));
    }
    (status, text)
}

async fn metrics(State(desk): Shared) -> Response {
    let Some((server, metrics)) = desk.report().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the core thread does not answer\n").into_response();
    };
    let text = Report { server: &server, metrics: &metrics, process: ProcessView::read() }.prometheus();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn version() -> Response {
    let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "zookeeper": version_line() });
    json(StatusCode::OK, &version)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

async fn log_level() -> (StatusCode, String) {
    match level_switch() {
        Some(switch) => (StatusCode::OK, format!("{}\n", switch.get())),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing is logged\n".to_owned()),
    }
}

type Pairs = Parameters<BTreeMap<String, String>>;

/// For whoever is on this machine: a filter that logs everything can fill a disk.
async fn set_log_level(
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    Parameters(parameters): Pairs,
) -> (StatusCode, String) {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "the log level is changed from this machine only\n".to_owned());
    }
    let (Some(switch), Some(level)) = (level_switch(), parameters.get("level")) else {
        return (
            StatusCode::BAD_REQUEST,
            "say ?level=error, warn, info, debug, trace or a filter by module\n".to_owned(),
        );
    };
    match switch.set(level) {
        Ok(()) => {
            tracing::info!(level, "log level changed");
            (StatusCode::OK, format!("{}\n", switch.get()))
        }
        Err(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")),
    }
}

/// The `Authorization` header as ZooKeeper reads it: a scheme, a blank, and what an auth packet would hold.
fn credential(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let mut parts = value.splitn(2, |byte| *byte == b' ');
    let scheme = String::from_utf8(parts.next()?.to_vec()).ok()?;
    Some((scheme, parts.next().unwrap_or_default().to_vec()))
}

#[cfg(test)]
mod tests;
