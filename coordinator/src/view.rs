//! What the core thread shows of itself: plain data for the four-letter words and the operations port.
//!
//! Both ask with a [`Query`] and get the matching [`Answer`]; the core thread has one function that turns one into the
//! other, so whatever `mntr` says, `/commands/monitor` and `/metrics` say too. Listings are cut at
//! [`LISTING_ENTRIES_MAX`](crate::limits::LISTING_ENTRIES_MAX) entries.

use crate::metrics::Metrics;
use bytes::Bytes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// The release of ZooKeeper whose behaviour this server has; tools compare the number.
pub const ZOOKEEPER_VERSION: &str = "3.9.4";

/// The version as ZooKeeper prints it: `x.y.z-commit, built on date`. Tools read the number and skip the rest.
pub fn version_line() -> String {
    format!("{ZOOKEEPER_VERSION}-rookery-{}, built on {}", env!("CARGO_PKG_VERSION"), BUILD_DATE)
}

/// ZooKeeper prints when it was built. Builds of ours are reproducible and know no date; the epoch stands for it.
const BUILD_DATE: &str = "1970-01-01 00:00 UTC";

/// A number of a session, printed as ZooKeeper prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub i64);

impl fmt::Display for SessionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// The part a server plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Alone, without an ensemble.
    Standalone,
    /// Leads an ensemble.
    Leader,
    /// Follows a leader, with a vote.
    Follower,
    /// Follows a leader, without a vote.
    Observer,
    /// Without a quorum, serving old data to clients that accept that.
    ReadOnly,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        })
    }
}

/// What a question to the core thread is about.
#[derive(Debug)]
pub enum Query {
    /// The figures of `srvr`.
    Server,
    /// The figures of `srvr`, or why nobody is served.
    Readiness,
    /// The figures of `srvr` and every metric.
    Metrics,
    /// The figures of `srvr` and every connection.
    Connections,
    /// Sessions by expiry, their ephemeral nodes, connections by expiry.
    Sessions,
    /// How many watches there are.
    WatchSummary,
    /// Every watch, by session.
    WatchesBySession,
    /// Every watch, by path.
    WatchesByPath,
    /// The last digests of the tree.
    Digests,
    /// The newest snapshot on disk.
    LastSnapshot,
    /// Forget counters and latencies.
    ResetStats,
    /// Forget the counters of every connection.
    ResetConnectionStats,
    /// Stream all data, if `caller` may do everything with the root node.
    Snapshot(Caller),
    /// Replace all data by a stream that [`Query::Snapshot`] gave, if `caller` may do everything with the root node.
    Restore(Caller, Chunks),
}

/// A stream of bytes between the operations port and the core, of at most
/// [`STREAM_QUEUE_CHUNKS_MAX`](crate::limits::STREAM_QUEUE_CHUNKS_MAX) chunks under way. An error ends it, and tells a
/// stream that was cut from one that is complete.
pub type Chunks = mpsc::Receiver<Result<Bytes, String>>;

/// Who asks for a snapshot or restore: what stood in the `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// For the `ip` scheme.
    pub address: IpAddr,
    /// A scheme as in an auth packet, such as `digest`.
    pub scheme: String,
    /// The credential as in an auth packet, such as `name:password`.
    pub auth: Vec<u8>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("address", &self.address)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// What the core thread says, variant for variant of [`Query`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Query::Server`] and [`Query::Readiness`].
    Server(Box<ServerView>),
    /// To [`Query::Readiness`], while nobody is served: why.
    NotReady(String),
    /// To [`Query::Metrics`].
    Metrics(Box<ServerView>, Box<Metrics>),
    /// To [`Query::Connections`].
    Connections(Box<ServerView>, Vec<ConnectionView>),
    /// To [`Query::Sessions`].
    Sessions(SessionsView),
    /// To [`Query::WatchSummary`].
    WatchSummary(WatchSummary),
    /// To [`Query::WatchesBySession`].
    WatchesBySession(Vec<(SessionNumber, Vec<String>)>),
    /// To [`Query::WatchesByPath`].
    WatchesByPath(Vec<(String, Vec<SessionNumber>)>),
    /// To [`Query::Digests`], oldest first.
    Digests(Vec<DigestView>),
    /// To [`Query::LastSnapshot`].
    LastSnapshot(Option<SnapshotView>),
    /// To both resets.
    Done,
    /// To [`Query::Snapshot`]: the zxid it is exact at, and its bytes.
    Snapshot(u64, Chunks),
    /// To [`Query::Restore`]: the zxid the tree stands at now.
    Restored(u64),
    /// The caller is not known by that scheme.
    NotAuthenticated,
    /// The caller is known, and may not.
    NotAuthorized,
    /// The server is starting, stopping, or without a quorum.
    NotServing,
    /// It was tried, and went wrong.
    Failed(String),
}

/// A question on its way to the core thread, and where its answer goes.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub query: Query,
    /// Where the answer goes; a caller who lost patience has dropped its end.
    pub answer: oneshot::Sender<Answer>,
}

/// The figures of `srvr`, and the gauges of `mntr`.
#[derive(Debug, Clone, Default)]
pub struct ServerView {
    /// The part the server plays; `None` while it serves nobody.
    pub mode: Option<Mode>,
    /// The server's place in its ensemble, if it has one.
    pub ensemble: Option<EnsembleView>,
    /// The last write executed.
    pub zxid: u64,
    /// Nodes of the tree, counted as ZooKeeper does: the root twice.
    pub node_count: u64,
    /// Ephemeral nodes.
    pub ephemerals_count: u64,
    /// Bytes of paths and data.
    pub approximate_data_size: u64,
    /// Watches set.
    pub watch_count: u64,
    /// Connections with and without a session.
    pub connections: u64,
    /// Those of them that are neither encrypted nor from this machine.
    pub plain_remote_connections: u64,
    /// Those of them that are not encrypted and from this machine.
    pub plain_local_connections: u64,
    /// TLS handshakes under way.
    pub handshakes: u64,
    /// Requests under way.
    pub outstanding: u64,
    /// Sessions.
    pub sessions: u64,
    /// Sessions that only this server knows.
    pub local_sessions: u64,
    /// Milliseconds since the server began to serve.
    pub uptime_ms: u64,
    /// Frames received from clients.
    pub packets_received: u64,
    /// Frames sent to clients.
    pub packets_sent: u64,
    /// From receiving a request to sending its reply.
    pub latency: LatencyView,
    /// Bytes of replies.
    pub response_size: SizeView,
    /// Flushes of the log that took longer than `fsync.warningthresholdms`.
    pub slow_sync_count: u64,
    /// Memory the tree, its sessions and watches are estimated to take.
    pub memory_bytes: u64,
    /// Memory above which writes are refused.
    pub memory_bytes_max: u64,
    /// Why writes are refused at the moment, for `/readyz`.
    pub writes_refused: Option<String>,
    /// Authentications that failed.
    pub auth_failed_count: u64,
}

/// A server's place in its ensemble.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnsembleView {
    /// Its number.
    pub my_id: u8,
    /// Whether it has a voice.
    pub voting: bool,
    /// The leader's number.
    pub leader: Option<u8>,
    /// What it does: ELECTION, DISCOVERY, SYNCHRONIZATION or BROADCAST.
    pub phase: &'static str,
    /// The epoch that it has made its own.
    pub epoch: u32,
    /// Members with a voice.
    pub voters: u64,
    /// Of a leader: members that learn from it, in step or not.
    pub learners: u64,
    /// Of a leader: members in step with it that have a voice.
    pub synced_followers: u64,
    /// Of a leader: members in step with it that have none, and how far their disks are.
    pub synced_observers: Vec<(u8, u64)>,
    /// Of a leader: milliseconds since it began to lead.
    pub led_ms: Option<u64>,
    /// Of a leader: requests for `sync` that wait.
    pub pending_syncs: u64,
    /// Of a leader: bytes of its proposals.
    pub proposal_size: SizeView,
    /// The feature level that the ensemble has reached.
    pub feature_level: u16,
    /// What the config node says about members.
    pub members: String,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LatencyView {
    /// The shortest.
    pub min_ms: u64,
    /// The mean.
    pub avg_ms: f64,
    /// The longest.
    pub max_ms: u64,
}

/// Bytes; −1 before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeView {
    /// The last.
    pub last: i64,
    /// The smallest.
    pub min: i64,
    /// The biggest.
    pub max: i64,
}

impl Default for SizeView {
    fn default() -> SizeView {
        SizeView { last: -1, min: -1, max: -1 }
    }
}

impl SizeView {
    /// Takes another size into account.
    pub fn record(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.last = bytes;
        self.min = if self.min < 0 { bytes } else { self.min.min(bytes) };
        self.max = self.max.max(bytes);
    }
}

/// One connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionView {
    /// The client's end.
    pub peer: SocketAddr,
    /// Over TLS.
    pub secure: bool,
    /// The server reads from it at the moment, rather than holding it back.
    pub reading: bool,
    /// Bytes wait to be sent to it.
    pub writing: bool,
    /// Requests under way.
    pub outstanding: u64,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Absent until the handshake is done.
    pub session: Option<SessionNumber>,
    /// The four letters of the last operation ([`crate::net::four_letter::operation_code`]), `NA` before the first.
    pub last_operation: &'static str,
    /// When it was accepted, milliseconds since 1970.
    pub established_ms: i64,
    /// Negotiated timeout of the session, milliseconds.
    pub timeout_ms: i32,
    /// xid of the last request; −1 before the first.
    pub last_cxid: i64,
    /// zxid of the last reply; −1 before the first.
    pub last_zxid: i64,
    /// When it was sent, milliseconds since 1970; 0 before the first.
    pub last_response_ms: i64,
    /// How long it took, milliseconds.
    pub last_latency_ms: u64,
    /// Over all requests of the connection.
    pub latency: LatencyView,
}

/// What ends together unless it is heard of.
#[derive(Debug, Clone, PartialEq)]
pub struct Expiring<T> {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Never empty.
    pub what: Vec<T>,
}

/// Sessions and connections by expiry, the next first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionsView {
    /// Every session.
    pub sessions: Vec<Expiring<SessionNumber>>,
    /// The paths of ephemeral nodes, by owner.
    pub ephemerals: Vec<(SessionNumber, Vec<String>)>,
    /// Every connection, with its session if it has one.
    pub connections: Vec<Expiring<(SocketAddr, Option<SessionNumber>)>>,
}

/// How many watches there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Connections that have any.
    pub connections: u64,
    /// Paths that have any.
    pub paths: u64,
    /// All of them.
    pub total: u64,
}

/// The digest of the tree at a zxid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestView {
    /// Where.
    pub zxid: u64,
    /// The digest.
    pub digest: u64,
    /// Which way of computing it; grows when that changes.
    pub version: u32,
}

/// A snapshot on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotView {
    /// The zxid it is exact at.
    pub zxid: u64,
    /// When it was finished, seconds since 1970.
    pub at_seconds: i64,
}

/// Bytes of all files directly in a directory, zero when it cannot be read.
pub fn directory_size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(|data| data.is_file())
        .map(|data| data.len())
        .sum()
}

/// Milliseconds since 1970 by the machine's clock.
pub fn unix_millis(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
