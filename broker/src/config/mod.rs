//! What the broker was told to do: `server.properties`, flags and container variables become one validated [`Config`].
//!
//! [`Config::load`] gathers raw settings in layers, checks them all at once and gives plain data. Warnings are for the
//! start-up log; errors stop the start and name setting, value and what is allowed.

mod connections;
mod listeners;
pub mod settings;
mod sources;
mod tls;
mod topic;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use connections::ConnectionLimits;
pub use listeners::{Listener, Listeners, Protocol};
pub use settings::{MOVED_BYTES, UNCLEAN};
pub use sources::{Origin, Sources, Values};
pub use tls::{ClientAuth, TlsConfig, of_listener, tls_configs};
pub use topic::{TOPIC_ONLY, TopicSettings, default_settings, new_topic_settings, topic_settings};

use crate::quota::Windows;
use crate::{group, limits};

/// Something to say about the configuration, and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    pub origin: Option<Origin>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{} ({origin})", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// What stops the start, and what is only said.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// Everything the broker needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// `None`: one is drawn from the coordinator, above `reserved_broker_id_max`.
    pub broker_id: Option<i32>,
    pub reserved_broker_id_max: i32,
    pub rack: Option<String>,
    pub listeners: Listeners,
    /// Certificate, key and whom to trust, for each listener that speaks SSL.
    pub tls: BTreeMap<String, TlsConfig>,
    pub coordinator: CoordinatorConfig,
    pub log_dirs: Vec<PathBuf>,
    pub connections: ConnectionsConfig,
    pub quotas: QuotasConfig,
    pub topics: TopicsConfig,
    pub groups: GroupsConfig,
    pub logs: LogsConfig,
    pub fetch: FetchConfig,
    pub producer_expiration: Duration,
    /// The operations port; absent unless it is set.
    pub operations: Option<SocketAddr>,
    /// What was set and what holds otherwise.
    pub values: Values,
    /// `KAFKA_CREATE_TOPICS`.
    pub create_topics: Option<String>,
}

/// Where the coordinator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorConfig {
    /// Hosts, and a chroot after the last.
    pub connect: String,
    pub session_timeout: Duration,
    pub connect_timeout: Duration,
}

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionsConfig {
    pub request_bytes_max: usize,
    /// What requests larger than a read may take all together.
    pub request_memory_bytes: usize,
    pub backlog: u32,
    pub idle_max: Duration,
}

/// Over what the limits of clients are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotasConfig {
    pub windows: Windows,
    /// For partitions made and deleted.
    pub mutation_windows: Windows,
}

/// What topics are made like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicsConfig {
    pub auto_create: bool,
    pub partitions: i32,
    pub replicas: i16,
    pub may_delete: bool,
}

/// How groups are kept.
#[derive(Debug, Clone)]
pub struct GroupsConfig {
    pub settings: group::Settings,
    pub topic_replicas: i16,
    pub topic_segment_bytes: u64,
    pub expiry_interval: Duration,
}

/// When the logs are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogsConfig {
    pub retention_interval: Duration,
    pub recovery_point_interval: Duration,
    pub log_start_interval: Duration,
    pub high_watermark_interval: Duration,
    pub cleaner: bool,
    pub cleaner_backoff: Duration,
    pub cleaner_buffer_bytes: usize,
}

/// What a fetch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchConfig {
    pub bytes_max: usize,
    pub sessions_max: usize,
}

impl Config {
    /// Reads and checks everything; the errors are all there are, not just the first.
    pub fn load(sources: &Sources) -> (Option<Config>, Problems) {
        let mut problems = Problems::default();
        let values = sources.gather(&mut problems);
        let mut config = resolve(values, &mut problems);
        config.create_topics = sources.create_topics().map(str::to_owned);
        (problems.errors.is_empty().then_some(config), problems)
    }
}

fn resolve(values: Values, problems: &mut Problems) -> Config {
    const INT_MAX: i64 = i32::MAX as i64;
    // Each client that has a limit is remembered window by window.
    const WINDOWS_MAX: i64 = 1000;
    // Refuses what cannot be the default of any topic.
    let defaults = topic::resolve(&values, problems);
    topic::check_defaults(&values, &defaults, problems);
    connections::resolve(&values, problems);
    let listeners = listeners::resolve(&values, problems);
    if listeners.bind.is_empty() && problems.errors.is_empty() {
        values.complain("listeners", "there must be at least one", problems);
    }
    let tls = tls::resolve(&values, &listeners, problems);
    let connect = values.get("zookeeper.connect").unwrap_or_default().to_owned();
    if connect.is_empty() {
        values.complain("zookeeper.connect", "it must name the coordinator: host:port,.../chroot", problems);
    }
    let boolean = |name: &str, problems: &mut Problems| values.boolean(name, problems);
    let auto_create = boolean("auto.create.topics.enable", problems);
    let may_delete = boolean("delete.topic.enable", problems);
    let cleaner = boolean("log.cleaner.enable", problems);
    let operations = operations(&values, problems);

    let mut number = |name: &str, min: i64, max: i64| values.number(name, min, max, problems);
    let mut millis = |name: &str, min: i64| Duration::from_millis(number(name, min, INT_MAX).unsigned_abs());
    let session_timeout = millis("zookeeper.session.timeout.ms", 1);
    let connect_timeout = match values.get("zookeeper.connection.timeout.ms") {
        Some(_) => millis("zookeeper.connection.timeout.ms", 1),
        None => session_timeout,
    };
    let idle_max = match number("connections.max.idle.ms", -1, i64::MAX) {
        -1 => Duration::MAX,
        ms => Duration::from_millis(ms.unsigned_abs()),
    };
    let mut millis = |name: &str, min: i64| Duration::from_millis(number(name, min, INT_MAX).unsigned_abs());
    let logs = LogsConfig {
        retention_interval: millis("log.retention.check.interval.ms", 1),
        recovery_point_interval: millis("log.flush.offset.checkpoint.interval.ms", 1),
        log_start_interval: millis("log.flush.start.offset.checkpoint.interval.ms", 1),
        high_watermark_interval: millis("replica.high.watermark.checkpoint.interval.ms", 1),
        cleaner_backoff: millis("log.cleaner.backoff.ms", 1),
        cleaner,
        cleaner_buffer_bytes: 0,
    };
    let producer_expiration = millis("producer.id.expiration.ms", 1);
    let expiry_interval = millis("offsets.retention.check.interval.ms", 1);
    let cleaner_buffer = number("log.cleaner.dedupe.buffer.size", 1 << 20, i64::MAX);
    let broker_id = number("broker.id", -1, INT_MAX) as i32;
    let queued_bytes = number("queued.max.request.bytes", -1, i64::MAX);
    let request_memory_bytes = match usize::try_from(queued_bytes) {
        Ok(bytes) if bytes > 0 => bytes,
        _ => limits::REQUEST_MEMORY_BYTES,
    };
    let settings = group::Settings {
        partitions: number("offsets.topic.num.partitions", 1, 10_000) as i32,
        session_timeout_ms_min: number("group.min.session.timeout.ms", 1, INT_MAX) as u32,
        session_timeout_ms_max: number("group.max.session.timeout.ms", 1, INT_MAX) as u32,
        initial_rebalance_delay_ms: number("group.initial.rebalance.delay.ms", 0, INT_MAX).unsigned_abs(),
        members_max: number("group.max.size", 1, INT_MAX) as usize,
        groups_max: limits::GROUPS_MAX,
        offset_metadata_bytes_max: number("offset.metadata.max.bytes", 0, INT_MAX) as usize,
        offsets_retention_ms: number("offsets.retention.minutes", 1, INT_MAX).unsigned_abs() * 60_000,
    };
    Config {
        broker_id: Some(broker_id).filter(|&id| id >= 0),
        reserved_broker_id_max: number("reserved.broker.max.id", 0, INT_MAX) as i32,
        rack: values.get("broker.rack").map(str::to_owned),
        listeners,
        tls,
        coordinator: CoordinatorConfig { connect, session_timeout, connect_timeout },
        connections: ConnectionsConfig {
            request_bytes_max: number("socket.request.max.bytes", 1, INT_MAX) as usize,
            request_memory_bytes,
            backlog: number("socket.listen.backlog.size", -1, INT_MAX).clamp(1, 65_535) as u32,
            idle_max,
        },
        quotas: QuotasConfig {
            windows: Windows {
                count: number("quota.window.num", 1, WINDOWS_MAX) as usize,
                size_ms: number("quota.window.size.seconds", 1, INT_MAX).unsigned_abs() * 1000,
            },
            mutation_windows: Windows {
                count: number("controller.quota.window.num", 1, WINDOWS_MAX) as usize,
                size_ms: number("controller.quota.window.size.seconds", 1, INT_MAX).unsigned_abs() * 1000,
            },
        },
        topics: TopicsConfig {
            auto_create,
            partitions: number("num.partitions", 1, i64::from(limits::PARTITIONS_PER_TOPIC_MAX)) as i32,
            replicas: number("default.replication.factor", 1, i64::from(i16::MAX)) as i16,
            may_delete,
        },
        groups: GroupsConfig {
            settings,
            topic_replicas: number("offsets.topic.replication.factor", 1, i64::from(i16::MAX)) as i16,
            topic_segment_bytes: number("offsets.topic.segment.bytes", 1, INT_MAX).unsigned_abs(),
            expiry_interval,
        },
        logs: LogsConfig {
            cleaner_buffer_bytes: cleaner_buffer.min(limits::CLEANER_BUFFER_BYTES_MAX) as usize,
            ..logs
        },
        fetch: FetchConfig {
            bytes_max: number("fetch.max.bytes", 1024, INT_MAX) as usize,
            sessions_max: number("max.incremental.fetch.session.cache.slots", 0, 1_000_000) as usize,
        },
        producer_expiration,
        operations,
        log_dirs: log_dirs(&values),
        create_topics: None,
        values,
    }
}

fn log_dirs(values: &Values) -> Vec<PathBuf> {
    let several = values.list("log.dirs");
    if several.is_empty() {
        let single = values.explicit("log.dir").map(PathBuf::from);
        return vec![single.unwrap_or_else(|| std::env::temp_dir().join("kafka-logs"))];
    }
    several.into_iter().map(PathBuf::from).collect()
}

fn operations(values: &Values, problems: &mut Problems) -> Option<SocketAddr> {
    let text = values.explicit("operations.listener").filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            values.complain(
                "operations.listener",
                "an address and a port are allowed, as 127.0.0.1:9404",
                problems,
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
