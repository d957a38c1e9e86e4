//! From raw settings to a [`Config`]: every value is parsed, checked against what is allowed, and related to the others.

use super::sources::read_bounded;
use super::*;
use crate::limits;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::Path;

mod auth;
mod bounds;
mod ensemble;
mod network;
mod storage;
mod typed;

const EVERYWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FOUR_LETTER_WORDS: &[&str] = &[
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr",
    "stat", "stmk", "wchc", "wchp", "wchs",
];

impl Config {
    /// Validates settings. `warnings` and `problems` are those found while gathering.
    pub fn resolve(
        settings: Settings,
        warnings: Vec<String>,
        problems: Vec<String>,
    ) -> Result<Loaded, ConfigError> {
        let mut reader = Reader { settings: &settings, warnings, problems };
        let storage = reader.storage();
        let lines = reader.lines();
        let server_id = reader.server_id(&storage.data_dir, &lines);
        let listen = reader.listen(lines.membership.member(server_id));
        let session = reader.session();
        let ensemble = reader.ensemble(lines, server_id, session.tick);
        let read_only_mode = reader.flag("readonlymode.enabled", false);
        let config = Config {
            server_id,
            tls: reader.tls(&listen),
            session,
            limits: reader.limits(),
            tree: reader.tree(),
            auth: reader.auth(),
            four_letter: reader.four_letter(read_only_mode),
            admin: reader.admin(),
            metrics: reader.metrics(),
            log: reader.log(),
            audit: reader.audit(),
            // A server alone says no either way; an ensemble's super user may.
            reconfig_enabled: reader.flag("reconfigEnabled", ensemble.is_some()),
            shown: shown(&settings),
            read_only_mode,
            ensemble,
            listen,
            storage,
        };
        reader.relations(&config);
        let Reader { warnings, problems, .. } = reader;
        if problems.is_empty() {
            Ok(Loaded { config, warnings, settings })
        } else {
            Err(ConfigError { problems, warnings })
        }
    }
}

/// Reads typed values and remembers everything that is wrong, so that one start tells it all.
struct Reader<'a> {
    settings: &'a Settings,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn session(&mut self) -> SessionConfig {
        let tick = self.millis("tickTime", 2000, 1..=3_600_000);
        let ticks = |count: u32| tick * count;
        let longest = i64::from(i32::MAX);
        // −1 is how ZooKeeper's own defaults say "from tickTime".
        let min = self.number_or_none("minSessionTimeout", -1..=longest).filter(|&ms| ms >= 0);
        let max = self.number_or_none("maxSessionTimeout", -1..=longest).filter(|&ms| ms >= 0);
        let session = SessionConfig {
            tick,
            timeout_min: min.map_or(ticks(2), |ms| Duration::from_millis(ms as u64)),
            timeout_max: max.map_or(ticks(20), |ms| Duration::from_millis(ms as u64)),
            handshake_timeout: self.millis(
                "nio.sessionlessCnxnTimeout",
                limits::HANDSHAKE_SECONDS_DEFAULT * 1000,
                1..=600_000,
            ),
            local: self.flag("localSessionsEnabled", false),
            upgrade_local: self.flag("localSessionsUpgradingEnabled", false),
        };
        if session.timeout_min > session.timeout_max {
            self.wrong(
                if min.is_some() { "minSessionTimeout" } else { "maxSessionTimeout" },
                &format!(
                    "the shortest session timeout ({} ms) must not exceed the longest ({} ms)",
                    session.timeout_min.as_millis(),
                    session.timeout_max.as_millis()
                ),
            );
        }
        session
    }

    fn tree(&mut self) -> TreeConfig {
        let never_used = self.number("znode.container.maxNeverUsedIntervalMs", 0u64, 0..=i64::MAX);
        TreeConfig {
            extended_types: self.flag("extendedTypesEnabled", true),
            enforce_quota: self.flag("enforceQuota", false),
            digest: self.flag("digest.enabled", true),
            container_never_used_max: (never_used > 0).then(|| Duration::from_millis(never_used)),
        }
    }

    fn four_letter(&mut self, read_only_mode: bool) -> Whitelist {
        let key = "4lw.commands.whitelist";
        let mut words = self.list(key);
        if words.iter().any(|word| word == "*") {
            return Whitelist::All;
        }
        for word in words.iter().filter(|word| !FOUR_LETTER_WORDS.contains(&word.as_str())) {
            self.warnings.push(format!(
                "{key}: there is no command \"{word}\"; known are {}",
                FOUR_LETTER_WORDS.join(", ")
            ));
        }
        if !self.is_set(key) {
            words.push("srvr".to_owned());
        }
        if read_only_mode && !words.iter().any(|word| word == "isro") {
            words.push("isro".to_owned());
        }
        Whitelist::Only(words)
    }

    fn log(&mut self) -> LogConfig {
        let filter = self.text("rookery.log").unwrap_or("info").to_owned();
        if let Err(reason) = crate::logging::check_filter(&filter) {
            self.wrong(
                "rookery.log",
                &format!("must be error, warn, info, debug, trace or a filter by module: {reason}"),
            );
        }
        let choices = [("text", Some(LogFormat::Text)), ("json", Some(LogFormat::Json))];
        LogConfig { filter, format: self.choice("rookery.log.format", None, &choices) }
    }

    fn audit(&mut self) -> Option<AuditTarget> {
        let enabled = self.flag("audit.enable", false);
        let target = match (self.text("rookery.audit.file"), &self.settings.log_dir) {
            (Some("-"), _) | (None, None) => AuditTarget::Stdout,
            (Some(path), _) => AuditTarget::File(PathBuf::from(path)),
            // The name ZooKeeper's own logging configuration gives it.
            (None, Some(dir)) => AuditTarget::File(dir.join("zookeeper_audit.log")),
        };
        enabled.then_some(target)
    }

    fn relations(&mut self, config: &Config) {
        let everywhere = config.listen.client.filter(|address| !address.ip().is_loopback());
        let anybody = !config.auth.require_sasl && config.auth.required_schemes.is_empty();
        if let (Some(address), true) = (everywhere, anybody) {
            self.warnings.push(format!(
                "clients on {address} are neither encrypted nor authenticated: whoever reaches this port can read and change \
                 whatever ACLs leave open; set clientPortAddress=127.0.0.1 to serve this machine only"
            ));
        }
        if let Some(admin) = config.admin.as_ref().filter(|admin| !admin.listen.ip().is_loopback()) {
            self.warnings.push(format!(
                "the operations port on {} is neither encrypted nor authenticated",
                admin.listen
            ));
        }
        let own = config.ensemble.as_ref().and_then(|ensemble| ensemble.membership.member(ensemble.my_id));
        let own: Vec<_> = own.map_or(&[][..], |member| &member.addresses).iter().collect();
        let ours = own.iter().flat_map(|address| [address.quorum_port, address.election_port]);
        let ports = [
            ("clientPort", config.listen.client),
            ("secureClientPort", config.listen.secure),
            (
                "admin.serverPort",
                config.admin.as_ref().filter(|admin| admin.explicit).map(|admin| admin.listen),
            ),
            ("metricsProvider.httpPort", config.metrics),
        ];
        for port in ours {
            for (key, _) in ports.iter().filter(|(_, other)| other.is_some_and(|other| other.port() == port))
            {
                self.problems.push(format!(
                    "{key} and the own server.N line both name port {port}; each needs its own"
                ));
            }
        }
        for (index, (key, address)) in ports.iter().enumerate() {
            for (other_key, other) in &ports[index + 1..] {
                if let (Some(a), Some(b)) = (address, other)
                    && a.port() == b.port()
                    && a.port() != 0
                    && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
                {
                    self.problems.push(format!(
                        "{key} and {other_key} both name port {}; each needs its own",
                        a.port()
                    ));
                }
            }
        }
        if config.limits.frame_bytes_max > limits::FRAME_BYTES_DEFAULT {
            self.warnings.push(format!(
                "jute.maxbuffer={}: clients must be given the same limit to read what others wrote",
                config.limits.frame_bytes_max
            ));
        }
    }
}

fn shown(settings: &Settings) -> Vec<(String, String)> {
    let secret = |key: &str| keys::find(key).is_some_and(|(key, _)| key.secret);
    let value =
        |key: &str, setting: &Setting| if secret(key) { "***".to_owned() } else { setting.value.clone() };
    settings.iter().map(|(key, setting)| (key.to_owned(), value(key, setting))).collect()
}
