//! What the server shows of itself: one function from question to answer, whoever asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Core;
use crate::audit::Audit;
use crate::limits::LISTING_ENTRIES_MAX;
use crate::net::four_letter::operation_code;
use crate::net::tls::HandshakeCounts;
use crate::request::connection::{Connection, Phase};
use crate::view::{
    Answer, ConnectionView, DigestView, EnsembleView, Expiring, LatencyView, Mode, Query, ServerView,
    SessionNumber, SessionsView, SnapshotView, WatchSummary,
};
use crate::zab::{MemberId, Standing};

/// Which way of computing the running digest; grows when that changes.
const DIGEST_VERSION: u32 = 1;

impl Core {
    /// Answers everything but streams.
    pub fn answer(&mut self, query: Query) -> Answer {
        if !self.member.service.is_serving() && !self.member.service.is_read_only() {
            return match query {
                Query::Readiness => Answer::NotReady(self.why_not_ready()),
                _ => Answer::NotServing,
            };
        }
        match query {
            Query::Server | Query::Readiness => Answer::Server(Box::new(self.server_view())),
            Query::Metrics => {
                let mut metrics = self.member.service.metrics().clone();
                metrics.unsuccessful_handshake = self.handshakes(|counts| &counts.failed);
                metrics.tls_handshake_exceeded = self.handshakes(|counts| &counts.exceeded);
                metrics.rookery_audit_lost_count = self.audit.as_ref().map_or(0, Audit::lost);
                Answer::Metrics(Box::new(self.server_view()), Box::new(metrics))
            }
            Query::Connections => {
                let mut connections: Vec<_> = self.member.service.connections().collect();
                connections.sort_unstable_by_key(|(id, _)| *id);
                connections.truncate(LISTING_ENTRIES_MAX);
                let views =
                    connections.into_iter().map(|(_, connection)| connection_view(connection)).collect();
                Answer::Connections(Box::new(self.server_view()), views)
            }
            Query::Sessions => Answer::Sessions(self.sessions_view()),
            Query::WatchSummary => {
                let watches = self.member.service.watches();
                Answer::WatchSummary(WatchSummary {
                    connections: watches.connection_count() as u64,
                    paths: watches.path_count() as u64,
                    total: watches.count() as u64,
                })
            }
            Query::WatchesBySession => Answer::WatchesBySession(
                self.watches_by_session()
                    .into_iter()
                    .map(|(session, paths)| (session, paths.into_iter().map(str::to_owned).collect()))
                    .collect(),
            ),
            Query::WatchesByPath => {
                let mut by_path: BTreeMap<&str, Vec<SessionNumber>> = BTreeMap::new();
                for (session, paths) in self.watches_by_session() {
                    for path in paths {
                        by_path.entry(path).or_default().push(session);
                    }
                }
                Answer::WatchesByPath(
                    by_path.into_iter().map(|(path, sessions)| (path.to_owned(), sessions)).collect(),
                )
            }
            Query::Digests => Answer::Digests(
                self.member
                    .service
                    .digests()
                    .map(|(zxid, digest)| DigestView { zxid: zxid.0, digest, version: DIGEST_VERSION })
                    .collect(),
            ),
            Query::LastSnapshot => Answer::LastSnapshot(
                self.last_snapshot.map(|(zxid, at_seconds)| SnapshotView { zxid: zxid.0, at_seconds }),
            ),
            Query::ResetStats => {
                self.member.service.metrics_mut().reset();
                Answer::Done
            }
            Query::ResetConnectionStats => {
                self.member.service.reset_connection_counters();
                Answer::Done
            }
            Query::Snapshot(_) | Query::Restore(..) => {
                Answer::Failed("streams are answered elsewhere".to_owned())
            }
        }
    }

    fn why_not_ready(&self) -> String {
        let replica = self.member.replica();
        match self.diverged {
            Some(zxid) => format!("the state at {zxid} is not that of the other members"),
            None if self.member.is_alone() => "the server starts".to_owned(),
            None => format!("not in step with the ensemble ({})", replica.phase().to_lowercase()),
        }
    }

    fn ensemble_view(&self) -> Option<EnsembleView> {
        if !self.member.service.is_member() {
            return None;
        }
        let replica = self.member.replica();
        let members = replica.membership();
        let learners = replica.learners();
        let (voters, others): (Vec<_>, Vec<_>) = learners
            .iter()
            .filter(|(_, in_step, _)| *in_step)
            .map(|(id, _, durable)| (id.0, durable.0))
            .partition(|(id, _)| members.is_voter(MemberId(*id)));
        let leads = matches!(replica.standing(), Standing::Leading { .. });
        Some(EnsembleView {
            my_id: replica.id().0,
            voting: members.is_voter(replica.id()),
            leader: replica.standing().leader(replica.id()).map(|id| id.0),
            phase: replica.phase(),
            epoch: replica.epochs().current,
            voters: members.voters.len() as u64,
            learners: learners.len() as u64,
            synced_followers: voters.len() as u64,
            synced_observers: others,
            led_ms: leads.then(|| self.standing_since.elapsed().as_millis() as u64),
            pending_syncs: self.member.service.pending_syncs() as u64,
            proposal_size: self.member.service.metrics().proposal_size,
            feature_level: self.member.service.tree().feature_level(),
            members: self.member.service.tree().members_text().to_owned(),
        })
    }

    fn server_view(&self) -> ServerView {
        let (service, metrics) = (&self.member.service, self.member.service.metrics());
        let tree = service.tree();
        let (mut plain_local, mut plain_remote) = (0, 0);
        for (_, connection) in service.connections().filter(|(_, connection)| !connection.secure) {
            match connection.address.is_loopback() {
                true => plain_local += 1,
                false => plain_remote += 1,
            }
        }
        ServerView {
            mode: Some(match self.member.replica().standing() {
                Standing::Looking if service.is_read_only() => Mode::ReadOnly,
                Standing::Leading { .. } if self.member.is_alone() => Mode::Standalone,
                Standing::Leading { .. } => Mode::Leader,
                Standing::Observing { .. } => Mode::Observer,
                Standing::Following { .. } | Standing::Looking => Mode::Follower,
            }),
            ensemble: self.ensemble_view(),
            zxid: tree.zxid().0,
            // ZooKeeper keeps its root under two names and counts both.
            node_count: tree.node_count() as u64 + 1,
            ephemerals_count: tree.sessions().ephemeral_count() as u64,
            approximate_data_size: tree.data_bytes(),
            watch_count: service.watches().count() as u64,
            connections: service.connections().count() as u64,
            plain_remote_connections: plain_remote,
            plain_local_connections: plain_local,
            handshakes: self.handshakes(|counts| &counts.under_way),
            outstanding: service.outstanding() as u64,
            sessions: tree.sessions().count() as u64,
            local_sessions: service.local_sessions().count() as u64,
            uptime_ms: self.started.elapsed().as_millis() as u64,
            packets_received: metrics.packets_received,
            packets_sent: metrics.packets_sent,
            latency: metrics.request_latency.latency(),
            response_size: metrics.response_size,
            slow_sync_count: metrics.fsync_threshold_exceed_count,
            memory_bytes: service.memory_bytes(),
            memory_bytes_max: self.memory_bytes_max,
            writes_refused: service.writes_refused().map(str::to_owned),
            auth_failed_count: metrics.auth_failed_count,
        }
    }

    fn handshakes(&self, which: impl Fn(&HandshakeCounts) -> &AtomicU64) -> u64 {
        self.gate.as_ref().map_or(0, |gate| which(gate.counts()).load(Ordering::Relaxed))
    }

    fn sessions_view(&self) -> SessionsView {
        let now_ms = self.now().wall_ms;
        let number = |session: client::wire::zk::SessionId| SessionNumber(session.0);
        let mut by_time_left = self.member.service.clock().by_time_left();
        for (left_ms, sessions) in self.member.service.local_sessions().by_time_left() {
            by_time_left.entry(left_ms).or_default().extend(sessions);
        }
        let at = |left_ms: &u64| now_ms + *left_ms as i64;
        let sessions = by_time_left
            .iter()
            .map(|(left_ms, sessions)| Expiring {
                at_ms: at(left_ms),
                what: sessions.iter().map(|id| number(*id)).collect(),
            })
            .take(LISTING_ENTRIES_MAX)
            .collect();
        let mut connections = Vec::new();
        for (left_ms, sessions) in &by_time_left {
            let here: Vec<(SocketAddr, Option<SessionNumber>)> = sessions
                .iter()
                .filter_map(|session| {
                    let connection =
                        self.member.service.connection(self.member.service.attached_to(*session)?)?;
                    let peer = SocketAddr::new(connection.address, connection.port);
                    Some((peer, Some(number(*session))))
                })
                .collect();
            if !here.is_empty() {
                connections.push(Expiring { at_ms: at(left_ms), what: here });
            }
        }
        let tree = self.member.service.tree();
        let ephemerals = tree
            .sessions()
            .iter()
            .filter(|(_, session)| !session.ephemerals.is_empty())
            .map(|(id, _)| (number(id), tree.ephemerals(id)))
            .take(LISTING_ENTRIES_MAX)
            .collect();
        SessionsView { sessions, ephemerals, connections }
    }

    fn watches_by_session(&self) -> Vec<(SessionNumber, Vec<&str>)> {
        let mut left = LISTING_ENTRIES_MAX;
        let mut listing = Vec::new();
        for (id, paths) in self.member.service.watches().iter() {
            let Some(connection) = self.member.service.connection(id) else { continue };
            let paths: Vec<&str> = paths.take(left).collect();
            left -= paths.len();
            listing.push((SessionNumber(connection.session.0), paths));
            if left == 0 {
                break;
            }
        }
        listing
    }
}

fn connection_view(connection: &Connection) -> ConnectionView {
    let counters = &connection.counters;
    let millis = |us: u64| us / 1000;
    ConnectionView {
        peer: SocketAddr::new(connection.address, connection.port),
        secure: connection.secure,
        reading: matches!(connection.phase, Phase::New | Phase::Open),
        writing: !connection.out.is_empty(),
        outstanding: connection.waiting.len() as u64,
        received: counters.received,
        sent: counters.sent,
        session: matches!(connection.phase, Phase::Open | Phase::Leaving)
            .then_some(SessionNumber(connection.session.0)),
        last_operation: counters.last_op.map_or("NA", |op| operation_code(op.to_wire())),
        established_ms: counters.established_ms,
        timeout_ms: connection.timeout_ms as i32,
        last_cxid: i64::from(counters.last_xid),
        last_zxid: counters.last_zxid,
        last_response_ms: counters.last_response_ms,
        last_latency_ms: millis(counters.latency.last_us),
        latency: LatencyView {
            min_ms: millis(counters.latency.min_us),
            avg_ms: counters.latency.average_us() as f64 / 1000.0,
            max_ms: millis(counters.latency.max_us),
        },
    }
}
