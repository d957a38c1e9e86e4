//! What a seed draws before anything happens. Small limits make rare paths common.

use std::time::Duration;

use coordinator::config::{
    AuthConfig, DigestAlgorithm, DigestConfig, LimitsConfig, SessionConfig, TreeConfig,
};
use coordinator::request::Settings;

use crate::sim::random::Random;

/// The server's id.
pub const SERVER: u8 = 1;

/// What a seed draws before anything happens. Small limits make rare paths common.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub(super) steps: u64,
    pub(super) clients: u64,
    pub(super) tick_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) segment_bytes_max: u64,
    pub(super) snapshot_every: u64,
    pub(super) snapshots_kept: usize,
    pub(super) outstanding_per_connection_max: u32,
    pub(super) enforce_quota: bool,
    /// How often each fault happens in ten thousand steps.
    pub(super) cuts: u64,
    pub(super) crashes: u64,
    pub(super) freezes: u64,
    pub(super) full_disks: u64,
    pub(super) failing_syncs: u64,
}

impl Configuration {
    pub(crate) fn draw(random: &mut Random) -> Configuration {
        let mut rate = |most: u64| if random.below(3) == 0 { 0 } else { random.below(most) };
        let (cuts, crashes, freezes, full_disks, failing_syncs) =
            (rate(300), rate(120), rate(60), rate(60), rate(30));
        let random_steps = random.below(1500);
        let tick_ms = 100 + random.below(300);
        Configuration {
            steps: 300 + random_steps,
            clients: 1 + random.below(5),
            tick_ms,
            timeout_ms: tick_ms * (2 + random.below(10)),
            segment_bytes_max: 2000 + random.below(60_000),
            snapshot_every: 3 + random.below(40),
            snapshots_kept: 1 + random.below(3) as usize,
            outstanding_per_connection_max: 1 + random.below(12) as u32,
            enforce_quota: random.coin(),
            cuts,
            crashes,
            freezes,
            full_disks,
            failing_syncs,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            server_id: SERVER,
            session: SessionConfig {
                tick: Duration::from_millis(self.tick_ms),
                timeout_min: Duration::from_millis(self.timeout_ms),
                timeout_max: Duration::from_millis(self.timeout_ms * 2),
                handshake_timeout: Duration::from_secs(10),
                local: false,
                upgrade_local: false,
            },
            limits: LimitsConfig {
                frame_bytes_max: 1 << 20,
                connections_per_address: None,
                connections_max: 1000,
                outstanding_max: 1000,
                outstanding_per_connection_max: self.outstanding_per_connection_max,
                large_request_threshold: None,
                large_request_bytes_max: 1 << 20,
                memory_bytes_max: 1 << 30,
                sessions_max: 10_000,
                watches_max: 100_000,
                watches_per_connection_max: 10_000,
                slow_operation: None,
            },
            tree: TreeConfig {
                extended_types: true,
                enforce_quota: self.enforce_quota,
                digest: true,
                container_never_used_max: None,
            },
            auth: AuthConfig {
                skip_acl: false,
                digest: Some(DigestConfig { algorithm: DigestAlgorithm::Sha1, super_digest: None }),
                x509_super_user: None,
                sasl: None,
                require_sasl: false,
                allow_sasl_failed: false,
                required_schemes: Vec::new(),
                ensemble_names: None,
            },
            reconfig_enabled: false,
            read_only_mode: false,
            leader_serves: true,
            members_text: None,
        }
    }
}
