//! What the server counts, under the names ZooKeeper's dashboards know.
//!
//! [`Metrics`] is plain data that the core thread owns; a copy goes to whoever renders it. `mntr` prefixes every name with
//! `zk_`, `/metrics` shows them bare, and `/commands/monitor` as a JSON map. Gauges come from
//! [`ServerView`], process figures from `/proc` at the moment they are asked for. Names that mean nothing here
//! (caches, queues and pools we do not have, the Java virtual machine, ensembles) are left out rather than made up.

use crate::view::{LatencyView, ServerView, version_line};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Top-level names that get figures of their own; the rest is not told apart.
const NAMESPACES_MAX: usize = 256;

macro_rules! metrics {
    (
        counters { $( #[doc = $counter_help:literal] $counter:ident, )* }
        summaries { $( #[doc = $summary_help:literal] $summary:ident: $kind:ident, )* }
    ) => {
        /// Every counter and summary. Plain numbers: their owner is one thread.
        #[derive(Debug, Clone)]
        pub struct Metrics {
            $( #[doc = $counter_help] pub $counter: u64, )*
            $( #[doc = $summary_help] pub $summary: Summary, )*
            /// Bytes of replies to reads, by the first segment of the path.
            pub read_per_namespace: NamespaceSummaries,
            /// Bytes of requests to write, by the first segment of the path.
            pub write_per_namespace: NamespaceSummaries,
            /// From receiving any request to sending its reply; the latency of `srvr`.
            pub request_latency: Summary,
            /// Bytes of replies.
            pub response_size: crate::view::SizeView,
            /// Frames received from clients.
            pub packets_received: u64,
            /// Frames sent to clients.
            pub packets_sent: u64,
        }

        impl Default for Metrics {
            fn default() -> Metrics {
                Metrics {
                    $( $counter: 0, )*
                    $( $summary: Summary::new(Kind::$kind), )*
                    read_per_namespace: NamespaceSummaries::default(),
                    write_per_namespace: NamespaceSummaries::default(),
                    request_latency: Summary::new(Kind::Latency),
                    response_size: crate::view::SizeView::default(),
                    packets_received: 0,
                    packets_sent: 0,
                }
            }
        }

        impl Metrics {
            fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![ $( (stringify!($counter), $counter_help, self.$counter), )* ]
            }

            fn summaries(&self) -> Vec<(&'static str, &'static str, &Summary)> {
                vec![ $( (stringify!($summary), $summary_help, &self.$summary), )* ]
            }

            fn summaries_mut(&mut self) -> Vec<&mut Summary> {
                vec![ $( &mut self.$summary, )* &mut self.request_latency ]
            }
        }
    };
}

metrics! {
    counters {
        #[doc = "Bytes of requests received from clients"]
        bytes_received_count,
        #[doc = "Bytes of replies sent to clients"]
        response_bytes,
        #[doc = "Bytes of watch notifications sent to clients"]
        watch_bytes,
        #[doc = "Handshakes that asked for a session"]
        connection_request_count,
        #[doc = "Handshakes that asked for an existing session"]
        connection_revalidate_count,
        #[doc = "Connections refused because of maxClientCnxns, maxCnxns or open files"]
        connection_rejected,
        #[doc = "Connections closed by the server because of what the client sent or did not read"]
        connection_drop_count,
        #[doc = "Connections closed because no session was asked for in time"]
        sessionless_connections_expired,
        #[doc = "Sessions that expired"]
        stale_sessions_expired,
        #[doc = "Replies to connections that were closed meanwhile"]
        stale_replies,
        #[doc = "Connections closed because large requests took too much memory"]
        large_requests_rejected,
        #[doc = "Writes handed to the log"]
        sync_processor_request_queued,
        #[doc = "Flushes of the log that took longer than fsync.warningthresholdms"]
        fsync_threshold_exceed_count,
        #[doc = "Times the tree did not have the digest it must have"]
        digest_mismatches_count,
        #[doc = "Errors the server cannot go on with"]
        unrecoverable_error_count,
        #[doc = "Snapshots that could not be finished"]
        snapshot_error_count,
        #[doc = "Snapshot commands refused because the last one was too recent"]
        snapshot_rate_limited_count,
        #[doc = "Restore commands that failed"]
        restore_error_count,
        #[doc = "Restore commands refused because the last one was too recent"]
        restore_rate_limited_count,
        #[doc = "Authentications that failed"]
        auth_failed_count,
        #[doc = "Clients that named this ensemble correctly"]
        ensemble_auth_success,
        #[doc = "Clients that named another ensemble"]
        ensemble_auth_fail,
        #[doc = "Clients that named an ensemble although none is configured"]
        ensemble_auth_skip,
        #[doc = "TLS handshakes that failed"]
        unsuccessful_handshake,
        #[doc = "Connections that had to wait because too many TLS handshakes were under way"]
        tls_handshake_exceeded,
        #[doc = "Containers deleted because they were empty"]
        container_node_deleted_count,
        #[doc = "TTL nodes deleted because they were due"]
        ttl_node_deleted_count,
        #[doc = "Writes refused because of the memory limit"]
        rookery_memory_refused_count,
        #[doc = "Writes refused because the disk was full"]
        rookery_disk_refused_count,
        #[doc = "Replies larger than a client with default settings takes"]
        rookery_large_reply_count,
        #[doc = "Watches refused because there are too many"]
        rookery_watch_refused_count,
        #[doc = "Operations that took longer than rookery.slowOperationMs"]
        rookery_slow_operation_count,
        #[doc = "Lines missing from the audit log because its disk was too slow"]
        rookery_audit_lost_count,
    }
    summaries {
        #[doc = "Milliseconds from receiving a read to sending its reply"]
        readlatency: Latency,
        #[doc = "Milliseconds from receiving a write to sending its reply"]
        updatelatency: Latency,
        #[doc = "Milliseconds from proposing a write to having executed it"]
        propagation_latency: Latency,
        #[doc = "Milliseconds a write waited for the log"]
        sync_processor_queue_time_ms: Latency,
        #[doc = "Milliseconds the log needed to write and flush a batch"]
        sync_processor_queue_flush_time_ms: Latency,
        #[doc = "Milliseconds from handing a write to the log to having it on disk"]
        sync_processor_queue_and_flush_time_ms: Latency,
        #[doc = "Milliseconds of one flush of the log"]
        fsynctime: Millis,
        #[doc = "Milliseconds to write and flush one batch"]
        sync_process_time: Millis,
        #[doc = "Writes that shared one flush"]
        sync_processor_batch_size: Count,
        #[doc = "Writes waiting for the log when one is added"]
        sync_processor_queue_size: Count,
        #[doc = "Milliseconds to take a snapshot"]
        snapshottime: Millis,
        #[doc = "Milliseconds to replace all data by a restored snapshot"]
        restore_time: Millis,
        #[doc = "Milliseconds to load all data at start"]
        dbinittime: Millis,
        #[doc = "Milliseconds to load the snapshot at start"]
        startup_snap_load_time: Millis,
        #[doc = "Milliseconds to replay the log at start"]
        startup_txns_load_time: Millis,
        #[doc = "Writes replayed from the log at start"]
        startup_txns_loaded: Count,
        #[doc = "Watches fired by one created node"]
        node_created_watch_count: Count,
        #[doc = "Watches fired by one deleted node"]
        node_deleted_watch_count: Count,
        #[doc = "Watches fired by one change of data"]
        node_changed_watch_count: Count,
        #[doc = "Watches fired by one change of children"]
        node_children_watch_count: Count,
    }
}

impl Metrics {
    /// Starts a new window of percentiles. Called by the owner every few minutes, so that they speak of the recent past;
    /// counts and sums go on.
    pub fn rotate(&mut self) {
        for summary in self.summaries_mut() {
            summary.rotate();
        }
    }

    /// Forgets everything, as the `srst` command asks.
    pub fn reset(&mut self) {
        *self = Metrics::default();
    }
}

/// What the samples of a summary are, and what is shown of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Microseconds, shown as milliseconds with percentiles.
    Latency,
    /// Microseconds, shown as milliseconds without percentiles.
    Millis,
    /// A number of things, without percentiles.
    Count,
}

/// Count, sum, extremes and percentiles of a series of samples.
#[derive(Debug, Clone)]
pub struct Summary {
    kind: Kind,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
    current: Histogram,
    previous: Histogram,
}

impl Summary {
    const fn new(kind: Kind) -> Summary {
        Summary {
            kind,
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
            current: Histogram::new(),
            previous: Histogram::new(),
        }
    }

    /// Adds a duration to a summary of times.
    pub fn record(&mut self, duration: Duration) {
        debug_assert_ne!(self.kind, Kind::Count);
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds a number to a summary of counts.
    pub fn record_count(&mut self, count: u64) {
        debug_assert_eq!(self.kind, Kind::Count);
        self.add(count);
    }

    fn add(&mut self, sample: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(sample);
        self.min = self.min.min(sample);
        self.max = self.max.max(sample);
        self.current.add(sample);
    }

    fn rotate(&mut self) {
        self.previous = std::mem::replace(&mut self.current, Histogram::new());
    }

    /// How many samples there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sample below which `share` of the recent ones lie, in the unit shown; `None` without samples.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.current.total + self.previous.total;
        if total == 0 {
            return None;
        }
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for index in 0..BUCKETS {
            seen += self.current.at(index) + self.previous.at(index);
            if seen >= rank {
                // A bucket is known by its upper end, but nothing is longer than the longest.
                return Some(self.scale(bucket_end(index).min(self.max) as f64));
            }
        }
        Some(self.scale(self.max as f64))
    }

    /// Minimum, mean and maximum in whole milliseconds and fractions, as `srvr` shows latencies.
    pub fn latency(&self) -> LatencyView {
        LatencyView { min_ms: self.whole(self.min()), avg_ms: self.average(), max_ms: self.whole(self.max) }
    }

    fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.scale(self.sum as f64 / self.count as f64) }
    }

    fn unit(&self) -> u64 {
        if self.kind == Kind::Count { 1 } else { 1000 }
    }

    fn scale(&self, raw: f64) -> f64 {
        raw / self.unit() as f64
    }

    fn whole(&self, raw: u64) -> u64 {
        raw / self.unit()
    }
}

/// Buckets that grow with the sample: sixteen per power of two, so a percentile is off by 6 % at most. Empty ones cost
/// nothing until the first sample.
#[derive(Debug, Clone)]
struct Histogram {
    buckets: Vec<u64>,
    total: u64,
}

/// Buckets per power of two, as a power of two.
const PRECISION_BITS: u32 = 4;
/// Samples above this power of two (12 days in microseconds) share the last bucket.
const SAMPLE_BITS_MAX: u32 = 40;
const BUCKETS: usize = bucket_of((1 << SAMPLE_BITS_MAX) - 1) + 1;

const fn bucket_of(sample: u64) -> usize {
    let sample = if sample >> SAMPLE_BITS_MAX == 0 { sample } else { (1 << SAMPLE_BITS_MAX) - 1 };
    if sample < 1 << PRECISION_BITS {
        return sample as usize;
    }
    let shift = sample.ilog2() - PRECISION_BITS;
    (((shift as u64) << PRECISION_BITS) + (sample >> shift)) as usize
}

/// The largest sample that falls into a bucket.
const fn bucket_end(index: usize) -> u64 {
    let index = index as u64;
    if index < 1 << (PRECISION_BITS + 1) {
        return index;
    }
    let shift = (index >> PRECISION_BITS) - 1;
    let mantissa = (index & ((1 << PRECISION_BITS) - 1)) | (1 << PRECISION_BITS);
    ((mantissa + 1) << shift) - 1
}

impl Histogram {
    const fn new() -> Histogram {
        Histogram { buckets: Vec::new(), total: 0 }
    }

    fn add(&mut self, sample: u64) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
        }
        self.buckets[bucket_of(sample)] += 1;
        self.total += 1;
    }

    fn at(&self, index: usize) -> u64 {
        self.buckets.get(index).copied().unwrap_or(0)
    }
}

/// Sizes by the first segment of a path, for the first [`NAMESPACES_MAX`] segments that appear.
#[derive(Debug, Clone, Default)]
pub struct NamespaceSummaries(BTreeMap<Box<str>, Totals>);

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl NamespaceSummaries {
    /// Adds the size of one operation on `path`.
    pub fn record(&mut self, path: &str, bytes: u64) {
        let Some(namespace) = path.split('/').nth(1).filter(|segment| !segment.is_empty()) else { return };
        if !self.0.contains_key(namespace) {
            if self.0.len() == NAMESPACES_MAX {
                return;
            }
            self.0.insert(namespace.into(), Totals { min: u64::MAX, ..Totals::default() });
        }
        let Some(totals) = self.0.get_mut(namespace) else { return };
        totals.count += 1;
        totals.sum = totals.sum.saturating_add(bytes);
        totals.min = totals.min.min(bytes);
        totals.max = totals.max.max(bytes);
    }
}

/// Figures of the process, read from `/proc`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessView {
    /// Open files.
    pub open_files: u64,
    /// How many files may be open.
    pub open_files_max: u64,
    /// Memory in use.
    pub resident_bytes: u64,
    /// Addresses in use.
    pub virtual_bytes: u64,
    /// Processor time used.
    pub cpu_seconds: f64,
}

impl ProcessView {
    /// Reads the figures of this process; what cannot be read is zero.
    pub fn read() -> ProcessView {
        // Fields of /proc/self/stat behind the name in parentheses, which may hold anything: 12 and 13 are user and system
        // ticks. statm counts pages.
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let cpu_ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = statm.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
        ProcessView {
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            open_files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(u64::MAX),
            virtual_bytes: pages.next().unwrap_or(0) * page,
            resident_bytes: pages.next().unwrap_or(0) * page,
            cpu_seconds: cpu_ticks as f64 / ticks,
        }
    }
}

/// Everything that is rendered, gathered for one moment.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Gauges.
    pub server: &'a ServerView,
    /// Counters and summaries.
    pub metrics: &'a Metrics,
    /// Figures of the process.
    pub process: ProcessView,
}

/// A value as text, in the form its readers parse: a number, or (version and state) a word.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(i64),
    /// A fraction, at most four digits behind the point.
    Fraction(f64),
    /// Anything else.
    Text(String),
}

impl Value {
    /// As `mntr` prints it.
    pub fn text(&self) -> String {
        match self {
            Value::Whole(number) => number.to_string(),
            Value::Fraction(number) => fraction(*number),
            Value::Text(text) => text.clone(),
        }
    }
}

impl Report<'_> {
    fn gauges(&self) -> Vec<(&'static str, &'static str, Value)> {
        let (server, process) = (self.server, self.process);
        let whole = |number: u64| Value::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        vec![
            (
                "avg_latency",
                "Mean milliseconds from request to reply",
                Value::Fraction(server.latency.avg_ms),
            ),
            ("max_latency", "Most milliseconds from request to reply", whole(server.latency.max_ms)),
            ("min_latency", "Fewest milliseconds from request to reply", whole(server.latency.min_ms)),
            ("packets_received", "Frames received from clients", whole(server.packets_received)),
            ("packets_sent", "Frames sent to clients", whole(server.packets_sent)),
            ("num_alive_connections", "Connections", whole(server.connections)),
            ("outstanding_requests", "Requests under way", whole(server.outstanding)),
            ("znode_count", "Nodes of the tree", whole(server.node_count)),
            ("watch_count", "Watches", whole(server.watch_count)),
            ("ephemerals_count", "Ephemeral nodes", whole(server.ephemerals_count)),
            ("approximate_data_size", "Bytes of paths and data", whole(server.approximate_data_size)),
            ("open_file_descriptor_count", "Open files", whole(process.open_files)),
            ("max_file_descriptor_count", "Files that may be open", whole(process.open_files_max)),
            ("global_sessions", "Sessions", whole(server.sessions)),
            ("local_sessions", "Sessions known to this server only", Value::Whole(0)),
            ("uptime", "Milliseconds since the server began to serve", whole(server.uptime_ms)),
            (
                "connection_drop_probability",
                "Share of new connections that are refused",
                Value::Fraction(0.0),
            ),
            ("last_client_response_size", "Bytes of the last reply", Value::Whole(server.response_size.last)),
            (
                "max_client_response_size",
                "Bytes of the biggest reply",
                Value::Whole(server.response_size.max),
            ),
            (
                "min_client_response_size",
                "Bytes of the smallest reply",
                Value::Whole(server.response_size.min),
            ),
            ("outstanding_tls_handshake", "TLS handshakes under way", whole(server.handshakes)),
            (
                "non_mtls_remote_conn_count",
                "Plain connections from elsewhere",
                whole(server.plain_remote_connections),
            ),
            (
                "non_mtls_local_conn_count",
                "Plain connections from this machine",
                whole(server.plain_local_connections),
            ),
            (
                "rookery_memory_bytes",
                "Estimated bytes of tree, sessions and watches",
                whole(server.memory_bytes),
            ),
            (
                "rookery_memory_limit_bytes",
                "Bytes above which writes are refused",
                whole(server.memory_bytes_max),
            ),
        ]
    }

    /// What only members of an ensemble have to say.
    fn ensemble_gauges(&self) -> Vec<(&'static str, &'static str, Value)> {
        let Some(ensemble) = &self.server.ensemble else { return Vec::new() };
        let whole = |number: u64| Value::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        let mut gauges = vec![("quorum_size", "Members with a voice", whole(ensemble.voters))];
        if ensemble.leader == Some(ensemble.my_id) {
            let observers = ensemble.synced_observers.len() as u64;
            gauges.extend([
                ("learners", "Members that learn from this leader", whole(ensemble.learners)),
                ("synced_followers", "Members in step, with a voice", whole(ensemble.synced_followers)),
                ("synced_non_voting_followers", "Members in step, without a voice", whole(observers)),
                ("synced_observers", "Observers in step", whole(observers)),
            ]);
        }
        gauges
    }

    /// Every name with its value, without a prefix, in the order of `mntr`.
    pub fn values(&self) -> Vec<(String, Value)> {
        let state = self.server.mode.map_or_else(|| "initializing".to_owned(), |mode| mode.to_string());
        let mut values = vec![
            ("version".to_owned(), Value::Text(version_line())),
            ("server_state".to_owned(), Value::Text(state)),
        ];
        let whole = |number: u64| Value::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        values.extend(self.gauges().into_iter().map(|(name, _, value)| (name.to_owned(), value)));
        values.extend(self.ensemble_gauges().into_iter().map(|(name, _, value)| (name.to_owned(), value)));
        values.extend(
            self.metrics.counters().into_iter().map(|(name, _, count)| (name.to_owned(), whole(count))),
        );
        for (name, _, summary) in self.metrics.summaries() {
            values.push((format!("avg_{name}"), Value::Fraction(summary.average())));
            values.push((format!("min_{name}"), whole(summary.whole(summary.min()))));
            values.push((format!("max_{name}"), whole(summary.whole(summary.max))));
            values.push((format!("cnt_{name}"), whole(summary.count)));
            values.push((format!("sum_{name}"), whole(summary.whole(summary.sum))));
            if summary.kind == Kind::Latency {
                for (percent, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
                    values.push((
                        format!("{percent}_{name}"),
                        whole(summary.quantile(share).unwrap_or(0.0) as u64),
                    ));
                }
            }
        }
        for (name, namespaces) in self.namespaces() {
            for (key, totals) in &namespaces.0 {
                let average = totals.sum as f64 / totals.count as f64;
                values.push((format!("avg_{key}_{name}"), Value::Fraction(average)));
                values.push((format!("min_{key}_{name}"), whole(totals.min)));
                values.push((format!("max_{key}_{name}"), whole(totals.max)));
                values.push((format!("cnt_{key}_{name}"), whole(totals.count)));
                values.push((format!("sum_{key}_{name}"), whole(totals.sum)));
            }
        }
        values
    }

    fn namespaces(&self) -> [(&'static str, &NamespaceSummaries); 2] {
        [
            ("read_per_namespace", &self.metrics.read_per_namespace),
            ("write_per_namespace", &self.metrics.write_per_namespace),
        ]
    }

    /// The answer to `mntr`.
    pub fn mntr(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.values() {
            // Names of nodes may hold blanks, which separate a key from its value here.
            let name = name.replace(|c: char| c.is_whitespace(), "_");
            let _ = writeln!(text, "zk_{name}\t{}", value.text());
        }
        text
    }

    /// The answer to `/metrics`, in Prometheus's text format.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut plain = |name: &str, help: &str, kind: &str, value: String| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        for (name, help, value) in self.gauges().into_iter().chain(self.ensemble_gauges()) {
            plain(name, help, "gauge", value.text());
        }
        for (name, help, count) in self.metrics.counters() {
            // ZooKeeper shows this one as a gauge, and dashboards chose their functions by that.
            let kind = if name == "auth_failed_count" { "gauge" } else { "counter" };
            plain(name, help, kind, count.to_string());
        }
        let process = self.process;
        plain(
            "process_cpu_seconds_total",
            "Processor time used, seconds",
            "counter",
            process.cpu_seconds.to_string(),
        );
        plain("process_open_fds", "Open files", "gauge", process.open_files.to_string());
        plain("process_max_fds", "Files that may be open", "gauge", process.open_files_max.to_string());
        plain("process_resident_memory_bytes", "Memory in use", "gauge", process.resident_bytes.to_string());
        plain("process_virtual_memory_bytes", "Addresses in use", "gauge", process.virtual_bytes.to_string());
        for (name, help, summary) in self.metrics.summaries() {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} summary");
            let quantiles: &[(&str, f64)] = match summary.kind {
                Kind::Latency => {
                    &[("0.5", 0.5), ("0.9", 0.9), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999)]
                }
                Kind::Millis | Kind::Count => &[("0.5", 0.5)],
            };
            for (label, share) in quantiles {
                let value =
                    summary.quantile(*share).map_or_else(|| "NaN".to_owned(), |value| value.to_string());
                let _ = writeln!(text, "{name}{{quantile=\"{label}\"}} {value}");
            }
            let _ = writeln!(
                text,
                "{name}_count {}\n{name}_sum {}",
                summary.count,
                summary.scale(summary.sum as f64)
            );
        }
        for (name, namespaces) in self.namespaces() {
            if namespaces.0.is_empty() {
                continue;
            }
            let _ = writeln!(
                text,
                "# HELP {name} Bytes, by the first segment of the path\n# TYPE {name} summary"
            );
            for (key, totals) in &namespaces.0 {
                let key = escape_label(key);
                let _ = writeln!(text, "{name}_count{{key=\"{key}\"}} {}", totals.count);
                let _ = writeln!(text, "{name}_sum{{key=\"{key}\"}} {}", totals.sum);
            }
        }
        let version = escape_label(&version_line());
        let _ = writeln!(text, "# HELP version_info The version, as a label\n# TYPE version_info gauge");
        let _ = writeln!(text, "version_info{{version=\"{version}\"}} 1");
        text
    }
}

fn escape_label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A fraction with at least one and at most four digits behind the point, as ZooKeeper prints them.
pub fn fraction(number: f64) -> String {
    format!("{:?}", (number * 10_000.0).round() / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Mode;
    use proptest::prelude::*;

    fn render(metrics: &Metrics, render: impl Fn(&Report<'_>) -> String) -> String {
        let server = ServerView { mode: Some(Mode::Standalone), node_count: 5, ..ServerView::default() };
        let process = ProcessView { open_files: 7, open_files_max: 1024, ..ProcessView::default() };
        render(&Report { server: &server, metrics, process })
    }

    fn sample() -> Metrics {
        let mut metrics = Metrics { connection_rejected: 3, ..Metrics::default() };
        for ms in [4, 6, 22] {
            metrics.updatelatency.record(Duration::from_millis(ms));
        }
        metrics.sync_processor_batch_size.record_count(7);
        metrics.write_per_namespace.record("/a/b", 16);
        metrics.write_per_namespace.record("/a", 2);
        metrics.write_per_namespace.record("/", 2);
        metrics
    }

    #[test]
    fn mntr_as_the_real_server_prints_it() {
        let text = render(&sample(), |report| report.mntr());
        for line in [
            "zk_server_state\tstandalone",
            "zk_znode_count\t5",
            "zk_open_file_descriptor_count\t7",
            "zk_avg_latency\t0.0",
            "zk_connection_rejected\t3",
            "zk_avg_updatelatency\t10.6667",
            "zk_min_updatelatency\t4",
            "zk_max_updatelatency\t22",
            "zk_cnt_updatelatency\t3",
            "zk_sum_updatelatency\t32",
            "zk_p50_updatelatency\t6",
            "zk_p999_updatelatency\t22",
            "zk_avg_fsynctime\t0.0",
            "zk_cnt_sync_processor_batch_size\t1",
            "zk_avg_a_write_per_namespace\t9.0",
            "zk_cnt_a_write_per_namespace\t2",
            "zk_last_client_response_size\t-1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is missing from\n{text}");
        }
        assert!(!text.contains("p50_fsynctime"), "simple summaries have no percentiles");
        assert!(text.starts_with("zk_version\t3.9."), "{text}");
    }

    #[test]
    fn prometheus_text() {
        let text = render(&sample(), |report| report.prometheus());
        for line in [
            "# TYPE znode_count gauge",
            "znode_count 5",
            "# TYPE connection_rejected counter",
            "connection_rejected 3",
            "# TYPE updatelatency summary",
            "updatelatency{quantile=\"0.5\"} 6.143",
            "updatelatency_count 3",
            "updatelatency_sum 32",
            "fsynctime{quantile=\"0.5\"} NaN",
            "write_per_namespace_sum{key=\"a\"} 18",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is missing from\n{text}");
        }
        // Every sample belongs to the family announced last, and no family is announced twice.
        let mut families = std::collections::BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "{family} is announced twice");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&family), "{line} under {family}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn names_of_nodes_cannot_break_the_formats() {
        let mut metrics = Metrics::default();
        metrics.read_per_namespace.record("/a \"b\"\n\\c/x", 1);
        assert!(render(&metrics, |report| report.prometheus()).contains("{key=\"a \\\"b\\\"\\n\\\\c\"} 1"));
        assert!(
            render(&metrics, |report| report.mntr()).contains("zk_cnt_a_\"b\"_\\c_read_per_namespace\t1\n")
        );
        for index in 0..2 * NAMESPACES_MAX {
            metrics.read_per_namespace.record(&format!("/{index}"), 1);
        }
        assert_eq!(metrics.read_per_namespace.0.len(), NAMESPACES_MAX);
    }

    #[test]
    fn percentiles_forget_and_counts_do_not() {
        let mut metrics = Metrics::default();
        metrics.readlatency.record(Duration::from_millis(500));
        metrics.rotate();
        assert!(metrics.readlatency.quantile(0.5).unwrap() >= 500.0);
        metrics.rotate();
        assert_eq!(metrics.readlatency.quantile(0.5), None);
        assert_eq!(metrics.readlatency.count(), 1);
        metrics.reset();
        assert_eq!(metrics.readlatency.count(), 0);
    }

    #[test]
    fn fractions() {
        for (number, text) in [(0.0, "0.0"), (20.0, "20.0"), (10.66666, "10.6667"), (0.42857, "0.4286")] {
            assert_eq!(fraction(number), text);
        }
    }

    #[test]
    fn the_process_is_seen() {
        let process = ProcessView::read();
        assert!(process.open_files > 2 && process.open_files_max >= process.open_files, "{process:?}");
        assert!(
            process.resident_bytes > 100_000 && process.virtual_bytes >= process.resident_bytes,
            "{process:?}"
        );
    }

    proptest! {
        #[test]
        fn buckets_hold_their_samples(sample in 0u64..1 << 41) {
            let bucket = bucket_of(sample);
            prop_assert!(bucket < BUCKETS);
            let capped = sample.min((1 << SAMPLE_BITS_MAX) - 1);
            let end = bucket_end(bucket);
            prop_assert!(capped <= end && end as f64 <= capped as f64 * 1.07 + 1.0, "{sample} in {bucket}..={end}");
            prop_assert!(bucket == 0 || bucket_end(bucket - 1) < capped);
        }

        #[test]
        fn quantiles_are_near_the_truth(mut samples in prop::collection::vec(0u64..10_000_000, 1..200), share in 0.0f64..=1.0) {
            let mut summary = Summary::new(Kind::Count);
            samples.iter().for_each(|&sample| summary.record_count(sample));
            samples.sort_unstable();
            let rank = ((share * samples.len() as f64).ceil() as usize).clamp(1, samples.len());
            let truth = samples[rank - 1] as f64;
            let estimate = summary.quantile(share).unwrap();
            prop_assert!(truth <= estimate && estimate <= truth * 1.07 + 1.0, "{truth} {estimate}");
        }
    }
}
