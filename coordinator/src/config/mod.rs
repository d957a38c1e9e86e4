//! What the server was told to do: `zoo.cfg` keys, flags and container variables become one validated [`Config`].
//!
//! [`Sources::load`] gathers raw settings in layers (default < file < environment < flag), [`Config::resolve`] checks them
//! all at once and gives plain data with durations and byte sizes. Warnings are for the start-up log; errors stop the start
//! and name key, value and what is allowed.

mod ensemble;
mod jaas;
mod keys;
mod members;
mod resolve;
mod sources;

pub use ensemble::{EnsembleConfig, LinkConfig, Membership, PeerTlsConfig};
pub use jaas::JaasError;
pub use keys::{Effect, KEYS, Key, find as find_key, find_loosely as find_key_loosely};
pub use members::{ClientAddress, Member, MemberAddress, MemberError, Role};
pub use sources::{Origin, Setting, Settings, Sources};

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the server needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The number of this server: from the file `myid`, `ZOO_MY_ID`, the flag, or the only `server.N` line; 0 when nobody
    /// says.
    pub server_id: u8,
    /// Present when this server is a member of an ensemble; absent when it runs alone.
    pub ensemble: Option<EnsembleConfig>,
    /// Where clients connect.
    pub listen: ListenConfig,
    /// Present when TLS clients are served.
    pub tls: Option<TlsConfig>,
    /// Ticks and timeouts.
    pub session: SessionConfig,
    /// Where and how data is kept.
    pub storage: StorageConfig,
    /// What clients may take.
    pub limits: LimitsConfig,
    /// How the tree behaves.
    pub tree: TreeConfig,
    /// Who may do what.
    pub auth: AuthConfig,
    /// The four-letter words that are answered.
    pub four_letter: Whitelist,
    /// The operations port; absent when switched off.
    pub admin: Option<AdminConfig>,
    /// The additional port for `/metrics`, when a Prometheus provider is configured.
    pub metrics: Option<SocketAddr>,
    /// What is written to the log.
    pub log: LogConfig,
    /// Where the audit log goes; absent when switched off.
    pub audit: Option<AuditTarget>,
    /// `readonlymode.enabled`.
    pub read_only_mode: bool,
    /// `reconfig` is allowed. A server alone answers "not possible on a standalone server" instead of "disabled".
    pub reconfig_enabled: bool,
    /// What was set, by whomever, in the order of the keys; secrets are stars. For people to look at.
    pub shown: Vec<(String, String)>,
}

/// Where clients connect. `[::]` means all addresses, IPv4 included; fall back to `0.0.0.0` where there is no IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// Plain clients (and TLS clients too, when `unified`).
    pub client: Option<SocketAddr>,
    /// TLS clients only.
    pub secure: Option<SocketAddr>,
    /// TLS and plain clients on `client`, told apart by their first bytes.
    pub unified: bool,
    /// Connections the system may queue before they are accepted.
    pub backlog: u32,
    /// TCP keep-alive on client connections.
    pub keep_alive: bool,
}

/// TLS for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file with the certificate chain and its key.
    pub key_store: PathBuf,
    /// PEM file with the authorities of client certificates.
    pub trust_store: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Offer TLS 1.2.
    pub tls12: bool,
    /// Offer TLS 1.3.
    pub tls13: bool,
    /// Standard names of the cipher suites to offer; all secure ones when empty.
    pub cipher_suites: Vec<String>,
    /// Load changed files without a restart.
    pub reload: bool,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way.
    pub handshakes_max: u32,
}

/// Whether a TLS client shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// It is not asked.
    None,
    /// It is asked; a certificate it shows must be valid.
    Want,
    /// It must show a valid one.
    Need,
}

/// Ticks and timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Sessions expire at multiples of this.
    pub tick: Duration,
    /// The shortest timeout granted.
    pub timeout_min: Duration,
    /// The longest timeout granted.
    pub timeout_max: Duration,
    /// How long a new connection may take to send its handshake.
    pub handshake_timeout: Duration,
    /// In an ensemble, a new session is known to its server only.
    pub local: bool,
    /// Such a session becomes known to all when it creates an ephemeral znode; else it may not.
    pub upgrade_local: bool,
}

/// Where and how data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// Snapshots, `myid`.
    pub data_dir: PathBuf,
    /// The log; often the same directory.
    pub log_dir: PathBuf,
    /// Create missing directories.
    pub create_dirs: bool,
    /// Writes between two snapshots.
    pub snap_count: u64,
    /// Bytes of log between two snapshots.
    pub snap_size_limit_bytes: Option<u64>,
    /// Bytes after which a log segment is closed.
    pub segment_bytes_max: Option<u64>,
    /// Bytes by which a segment grows ahead of its contents, at most.
    pub preallocate_bytes: u64,
    /// Acknowledge only what is on the disk. `false` is for people who can afford to lose data.
    pub force_sync: bool,
    /// Report a flush that takes this long.
    pub sync_warning: Duration,
    /// Commands that may share one flush.
    pub batch_commands_max: u32,
    /// Snapshots to keep; `None` keeps everything.
    pub retain_snapshots: Option<u32>,
    /// Start although there is a log but no snapshot before it.
    pub trust_empty_snapshot: bool,
}

/// What clients may take before they have to wait or are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// `jute.maxbuffer`: bytes of the longest request.
    pub frame_bytes_max: usize,
    /// Connections from one address; `None` = no limit.
    pub connections_per_address: Option<u32>,
    /// Connections in all, already cut to what open files allow by the default.
    pub connections_max: u32,
    /// Requests under way in all.
    pub outstanding_max: u32,
    /// Requests under way of one connection.
    pub outstanding_per_connection_max: u32,
    /// From how many bytes a request counts as large; `None` = never.
    pub large_request_threshold: Option<usize>,
    /// Bytes of large requests that may be under way together.
    pub large_request_bytes_max: u64,
    /// Memory above which writes are refused.
    pub memory_bytes_max: u64,
    /// Sessions that may exist.
    pub sessions_max: u32,
    /// Watches in all.
    pub watches_max: u32,
    /// Watches of one connection.
    pub watches_per_connection_max: u32,
    /// Report an operation that takes this long; `None` = never.
    pub slow_operation: Option<Duration>,
}

/// How the tree behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeConfig {
    /// TTL nodes.
    pub extended_types: bool,
    /// Hard quotas refuse writes instead of being reported.
    pub enforce_quota: bool,
    /// Maintain a digest of the tree.
    pub digest: bool,
    /// When a container that never had a child goes; `None` = never.
    pub container_never_used_max: Option<Duration>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// ACLs stop nobody.
    pub skip_acl: bool,
    /// The digest scheme; absent when switched off.
    pub digest: Option<DigestConfig>,
    /// Subject of the client certificate that becomes the super user.
    pub x509_super_user: Option<String>,
    /// Accounts for SASL DIGEST-MD5; absent when nobody configured any.
    pub sasl: Option<SaslConfig>,
    /// Serve only clients that authenticated with SASL (`sessionRequireClientSASLAuth`).
    pub require_sasl: bool,
    /// Keep serving a client whose SASL exchange failed.
    pub allow_sasl_failed: bool,
    /// Serve only clients with an identity of one of these schemes; empty = everybody.
    pub required_schemes: Vec<String>,
    /// What a client may call this ensemble in an `ensemble` auth packet; `None` = the scheme accepts any name.
    pub ensemble_names: Option<Vec<String>>,
}

/// The digest scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestConfig {
    /// What turns `name:password` into an id.
    pub algorithm: DigestAlgorithm,
    /// `name:digest` of the super user.
    pub super_digest: Option<Secret>,
}

/// The hash of the digest scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// What every client tool computes by default.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// SASL accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaslConfig {
    /// Password by user name.
    pub users: BTreeMap<String, Secret>,
    /// Users that no ACL stops.
    pub super_users: Vec<String>,
}

/// The operations port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Somebody asked for it, so the server must not start without it.
    pub explicit: bool,
    /// Path of ZooKeeper's administration commands, with its leading slash.
    pub command_path: String,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
    /// The snapshot command.
    pub snapshot: bool,
    /// The restore command.
    pub restore: bool,
    /// The shortest time between two snapshot or two restore commands.
    pub stream_interval: Duration,
}

/// The four-letter words that are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whitelist {
    /// `*`.
    All,
    /// Only these.
    Only(Vec<String>),
}

impl Whitelist {
    /// Is `word` answered?
    pub fn allows(&self, word: &str) -> bool {
        match self {
            Whitelist::All => true,
            Whitelist::Only(words) => words.iter().any(|allowed| allowed == word),
        }
    }
}

/// What is written to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or a filter by module.
    pub filter: String,
    /// How lines look; `None` = text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where the audit log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// A text that must not reach a log: `Debug` and `Display` show stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one who checks it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A valid configuration and what people should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the server runs with.
    pub config: Config,
    /// One line each; printed at start.
    pub warnings: Vec<String>,
    /// What was set, and by whom.
    pub settings: Settings,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One line each, naming key, value and what is allowed.
    pub problems: Vec<String>,
    /// What was noticed before the problems.
    pub warnings: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
