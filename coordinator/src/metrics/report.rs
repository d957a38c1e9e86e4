//! Everything that is counted, as `mntr`, Prometheus and `/commands/monitor` print it.

use std::fmt::Write;

use super::summary::{Kind, NamespaceSummaries};
use super::{Metrics, ProcessView};
use crate::view::{EnsembleView, Mode, ServerView, version_line};

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
            ("local_sessions", "Sessions known to this server only", whole(server.local_sessions)),
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
        let mut gauges = vec![
            ("quorum_size", "Members with a voice", whole(ensemble.voters)),
            (
                "rookery_feature_level",
                "What every member is known to support",
                whole(ensemble.feature_level.into()),
            ),
        ];
        if let Some(led_ms) = ensemble.led_ms {
            let observers = ensemble.synced_observers.len() as u64;
            let size = ensemble.proposal_size;
            gauges.extend([
                ("learners", "Members that learn from this leader", whole(ensemble.learners)),
                ("synced_followers", "Members in step, with a voice", whole(ensemble.synced_followers)),
                ("synced_non_voting_followers", "Members in step, without a voice", whole(observers)),
                ("synced_observers", "Observers in step", whole(observers)),
                ("leader_uptime", "Milliseconds for which this member has led", whole(led_ms)),
                ("pending_syncs", "Requests for sync that wait", whole(ensemble.pending_syncs)),
                ("last_proposal_size", "Bytes of the last proposal", Value::Whole(size.last)),
                ("max_proposal_size", "Bytes of the biggest proposal", Value::Whole(size.max)),
                ("min_proposal_size", "Bytes of the smallest proposal", Value::Whole(size.min)),
            ]);
        }
        if self.server.mode == Some(Mode::Observer)
            && let Some(leader) = ensemble.leader
        {
            gauges.push((
                "observer_master_id",
                "The member that this observer learns from",
                whole(leader.into()),
            ));
        }
        gauges
    }

    /// In ZooKeeper's words.
    fn peer_state(&self, ensemble: &EnsembleView) -> String {
        let role = match self.server.mode {
            _ if ensemble.phase == "ELECTION" => return "looking".to_owned(),
            Some(Mode::Leader) => "leading",
            Some(Mode::Observer) => "observing",
            _ => "following",
        };
        format!("{role} - {}", ensemble.phase.to_lowercase())
    }

    /// Every name with its value, without a prefix, in the order of `mntr`.
    pub fn values(&self) -> Vec<(String, Value)> {
        let state = self.server.mode.map_or_else(|| "initializing".to_owned(), |mode| mode.to_string());
        let mut values = vec![
            ("version".to_owned(), Value::Text(version_line())),
            ("server_state".to_owned(), Value::Text(state)),
        ];
        if let Some(ensemble) = &self.server.ensemble {
            values.push(("peer_state".to_owned(), Value::Text(self.peer_state(ensemble))));
        }
        let whole = |number: u64| Value::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        values.extend(self.gauges().into_iter().map(|(name, _, value)| (name.to_owned(), value)));
        values.extend(self.ensemble_gauges().into_iter().map(|(name, _, value)| (name.to_owned(), value)));
        values.extend(
            self.metrics.counters().into_iter().map(|(name, _, count)| (name.to_owned(), whole(count))),
        );
        for (name, _, summary) in self.metrics.summaries() {
            values.push((format!("avg_{name}"), Value::Fraction(summary.average())));
            values.push((format!("min_{name}"), whole(summary.min())));
            values.push((format!("max_{name}"), whole(summary.max())));
            values.push((format!("cnt_{name}"), whole(summary.count())));
            values.push((format!("sum_{name}"), whole(summary.sum() as u64)));
            if summary.kind() == Kind::Latency {
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
            let quantiles: &[(&str, f64)] = match summary.kind() {
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
            let _ = writeln!(text, "{name}_count {}\n{name}_sum {}", summary.count(), summary.sum());
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
    use super::super::summary::NAMESPACES_MAX;
    use super::*;
    use crate::view::Mode;
    use std::time::Duration;

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
    fn fractions() {
        for (number, text) in [(0.0, "0.0"), (20.0, "20.0"), (10.66666, "10.6667"), (0.42857, "0.4286")] {
            assert_eq!(fraction(number), text);
        }
    }
}
