//! What the server counts, under the names ZooKeeper's dashboards know.
//!
//! [`Metrics`] is plain data that the core thread owns; a copy goes to whoever renders it. `mntr` prefixes every name with
//! `zk_`, `/metrics` shows them bare, and `/commands/monitor` as a JSON map. Gauges come from
//! [`ServerView`], process figures from `/proc` at the moment they are asked for. Names that mean nothing here
//! (caches, queues and pools we do not have, the Java virtual machine, ensembles) are left out rather than made up.

mod process;
mod report;
mod summary;

pub use self::process::ProcessView;
pub use self::report::{Report, Value, fraction};
pub use self::summary::{Kind, NamespaceSummaries, Summary};

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
            /// Bytes of proposals of this server as leader.
            pub proposal_size: crate::view::SizeView,
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
                    proposal_size: crate::view::SizeView::default(),
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
        #[doc = "Times this member looked for a leader"]
        looking_count,
        #[doc = "Writes that this member gave a place in the order as leader"]
        proposal_count,
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
        #[doc = "Milliseconds from looking for a leader to being in step with one"]
        election_time: Latency,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
}
