//! From raw settings to a [`Config`]: every value is parsed, checked against what is allowed, and related to the others.

use super::sources::read_bounded;
use super::*;
use crate::limits;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::Path;

mod ensemble;

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

/// Key material and what it is used with.
struct TlsStores {
    key_store: Option<PathBuf>,
    trust_store: Option<PathBuf>,
    tls12: bool,
    tls13: bool,
    cipher_suites: Vec<String>,
}

impl Reader<'_> {
    // ---- Typed values ----

    fn text(&self, key: &str) -> Option<&str> {
        debug_assert!(
            keys::find(key).is_some_and(|(k, _)| k.effect == Effect::Honoured),
            "{key} is not in the table"
        );
        self.settings.get(key).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())
    }

    fn is_set(&self, key: &str) -> bool {
        self.settings.get(key).is_some()
    }

    fn wrong(&mut self, key: &str, allowed: &str) {
        let (value, origin) = match self.settings.get(key) {
            Some(Setting { value, origin }) => (value.as_str(), origin.to_string()),
            None => ("", "not set".to_owned()),
        };
        let shown = if keys::find(key).is_some_and(|(key, _)| key.secret) { "***" } else { value };
        self.problems.push(format!("{key}={shown} ({origin}): {allowed}"));
    }

    fn number_or_none(&mut self, key: &str, allowed: RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(key)?;
        match text.parse::<i64>() {
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => {
                let (low, high) = allowed.into_inner();
                self.wrong(key, &format!("must be a whole number between {low} and {high}"));
                None
            }
        }
    }

    fn number<T: TryFrom<i64>>(&mut self, key: &str, default: T, allowed: RangeInclusive<i64>) -> T {
        match self.number_or_none(key, allowed) {
            // A range that T cannot hold is a mistake in the call, found by the first test that sets the key.
            Some(number) => T::try_from(number).unwrap_or(default),
            None => default,
        }
    }

    fn millis(&mut self, key: &str, default: u64, allowed: RangeInclusive<i64>) -> Duration {
        Duration::from_millis(self.number(key, default, allowed))
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "yes") => true,
            Some("false" | "no") => false,
            Some(_) => {
                self.wrong(key, "must be true or false (or yes or no)");
                default
            }
        }
    }

    /// A switch for a protection that is not built: whoever asks for it must not get less without noticing.
    fn only_false(&mut self, key: &str) {
        if self.flag(key, false) {
            self.wrong(key, "is not supported; only false is allowed");
        }
    }

    fn choice<T: Copy>(&mut self, key: &str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(key) else { return default };
        match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                self.wrong(key, &format!("must be {}", names.join(" or ")));
                default
            }
        }
    }

    fn list(&self, key: &str) -> Vec<String> {
        let items = self.text(key).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn port(&mut self, key: &str) -> Option<u16> {
        self.number_or_none(key, 0..=65535).map(|port| port as u16)
    }

    fn address(&mut self, key: &str, default: IpAddr) -> IpAddr {
        let Some(text) = self.text(key) else { return default };
        match resolve_host(text) {
            Some(address) => address,
            None => {
                self.wrong(key, "must be an address of this machine or a name that resolves to one");
                default
            }
        }
    }

    /// Bytes with an optional unit, or a share of the machine's memory.
    fn memory(&mut self, key: &str, total: u64) -> u64 {
        let default = total / 4 * 3;
        let Some(text) = self.text(key) else { return default };
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text[digits.len()..].trim().to_ascii_lowercase();
        let bytes = digits.parse::<u64>().ok().and_then(|number| match unit.as_str() {
            "" | "b" => Some(number),
            "k" | "kb" | "kib" => number.checked_mul(1 << 10),
            "m" | "mb" | "mib" => number.checked_mul(1 << 20),
            "g" | "gb" | "gib" => number.checked_mul(1 << 30),
            "%" if (1..=100).contains(&number) => Some((u128::from(total) * u128::from(number) / 100) as u64),
            _ => None,
        });
        match bytes {
            Some(bytes) if bytes >= 16 << 20 => bytes,
            _ => {
                self.wrong(key, "must be at least 16 MiB, written as bytes, 512MiB, 4GiB or 75%");
                default
            }
        }
    }

    // ---- Concerns ----

    /// `member` is the own `server.N` line.
    fn listen(&mut self, member: Option<&Member>) -> ListenConfig {
        let from_member = |wanted: Option<&ClientAddress>| {
            wanted.map(|address| (address.port, address.host.as_deref().and_then(resolve_host)))
        };
        let member_client = from_member(member.and_then(|m| m.client.as_ref()));
        let member_secure = from_member(member.and_then(|m| m.secure.as_ref()));

        // A port somebody wrote is obeyed on all addresses, as in ZooKeeper; only an unconfigured server hides on loopback.
        let client_port = self.port("clientPort");
        let secure_port =
            self.port("secureClientPort").or(member_secure.map(|(port, _)| port)).filter(|&port| port != 0);
        let client = match (client_port, member_client) {
            (Some(0), _) => None,
            (Some(port), Some((other, _))) if port != other => {
                self.wrong(
                    "clientPort",
                    &format!("the server.N line of this server names client port {other}"),
                );
                None
            }
            (Some(port), from_line) => {
                let default = from_line.and_then(|(_, host)| host).unwrap_or(EVERYWHERE);
                Some(SocketAddr::new(self.address("clientPortAddress", default), port))
            }
            (None, Some((port, host))) => {
                Some(SocketAddr::new(self.address("clientPortAddress", host.unwrap_or(EVERYWHERE)), port))
            }
            (None, None) if secure_port.is_some() && !self.is_set("clientPortAddress") => None,
            (None, None) => Some(SocketAddr::new(self.address("clientPortAddress", LOOPBACK), 2181)),
        };
        let secure = secure_port.map(|port| {
            let default = member_secure.and_then(|(_, host)| host).unwrap_or(EVERYWHERE);
            SocketAddr::new(self.address("secureClientPortAddress", default), port)
        });
        let unified = self.flag("client.portUnification", false);
        if client.is_none() && secure.is_none() {
            self.problems.push(
                "neither clientPort nor secureClientPort names a port, so no client could connect".to_owned(),
            );
        }
        if unified && client.is_none() {
            self.wrong("client.portUnification", "needs clientPort, the port it is about");
        }
        let backlog = self.number_or_none("clientPortListenBacklog", -1..=65535).filter(|&n| n > 0);
        ListenConfig {
            client,
            secure,
            unified,
            backlog: backlog.map_or(limits::ACCEPT_BACKLOG_DEFAULT, |n| n as u32),
            keep_alive: self.flag("clientTcpKeepAlive", false),
        }
    }

    fn tls(&mut self, listen: &ListenConfig) -> Option<TlsConfig> {
        let TlsStores { key_store, trust_store, tls12, tls13, cipher_suites } = self.tls_stores("ssl");
        for key in ["ssl.crl", "ssl.ocsp", "ssl.clientHostnameVerification"] {
            self.only_false(key);
        }
        let others: Vec<_> =
            self.settings.with_prefix("ssl.x509.").map(|(name, _)| name.to_owned()).collect();
        for name in others {
            self.wrong(
                &format!("ssl.x509.{name}"),
                "is not supported: a client certificate is known by its subject only",
            );
        }
        let () = self.choice("ssl.authProvider", (), &[("x509", ())]);
        let client_auth = self.choice(
            "ssl.clientAuth",
            ClientAuth::Need,
            &[("none", ClientAuth::None), ("want", ClientAuth::Want), ("need", ClientAuth::Need)],
        );
        let reload = self.flag("client.certReload", false);
        let handshake_timeout =
            self.millis("ssl.handshakeDetectionTimeoutMillis", limits::HANDSHAKE_MILLIS_DEFAULT, 1..=600_000);
        let handshakes_max = self
            .number_or_none(
                "netty.server.outstandingHandshake.limit",
                -1..=limits::HANDSHAKE_QUEUE_MAX as i64,
            )
            .filter(|&limit| limit > 0)
            .map_or(limits::HANDSHAKES_DEFAULT, |limit| limit as u32);
        if listen.secure.is_none() && !listen.unified {
            return None;
        }
        let Some(key_store) = key_store else {
            self.problems.push(
                "ssl.keyStore.location is not set: TLS needs a PEM file with certificate and key".to_owned(),
            );
            return None;
        };
        if client_auth != ClientAuth::None && trust_store.is_none() {
            self.problems.push(
                "ssl.trustStore.location is not set: client certificates cannot be checked without a PEM file with their \
                 authorities (or set ssl.clientAuth=none)"
                    .to_owned(),
            );
        }
        Some(TlsConfig {
            key_store,
            trust_store,
            client_auth,
            tls12,
            tls13,
            cipher_suites,
            reload,
            handshake_timeout,
            handshakes_max,
        })
    }

    /// What TLS for clients (`ssl`) and between members (`ssl.quorum`) have in common.
    fn tls_stores(&mut self, prefix: &str) -> TlsStores {
        let key_store = self.pem_store(&format!("{prefix}.keyStore"));
        let trust_store = self.pem_store(&format!("{prefix}.trustStore"));
        let (protocol, enabled, suites) = (
            format!("{prefix}.protocol"),
            format!("{prefix}.enabledProtocols"),
            format!("{prefix}.ciphersuites"),
        );
        let newest_is_13 =
            self.choice(&protocol, true, &[("TLSv1.3", true), ("TLSv1.2", false), ("TLS", true)]);
        let (mut tls12, mut tls13) = (true, newest_is_13);
        if self.text(&enabled).is_some() {
            let versions = self.list(&enabled);
            tls12 = versions.iter().any(|version| version == "TLSv1.2");
            tls13 = versions.iter().any(|version| version == "TLSv1.3");
            if versions.iter().any(|version| version != "TLSv1.2" && version != "TLSv1.3") {
                self.wrong(&enabled, "must be TLSv1.3, TLSv1.2 or both, separated by a comma");
            }
        }
        let cipher_suites = self.list(&suites);
        let unknown = crate::net::tls::unknown_cipher_suites(&cipher_suites);
        if !unknown.is_empty() {
            let known = crate::net::tls::cipher_suite_names().join(", ");
            self.wrong(&suites, &format!("{} not supported; known are {known}", unknown.join(", ")));
        }
        TlsStores { key_store, trust_store, tls12, tls13, cipher_suites }
    }

    /// A key or trust store. Java's own formats are told apart by type or ending and answered with how to convert them.
    fn pem_store(&mut self, prefix: &str) -> Option<PathBuf> {
        let (location, kind) = (format!("{prefix}.location"), format!("{prefix}.type"));
        let (password, password_path) = (format!("{prefix}.password"), format!("{prefix}.passwordPath"));
        let path = PathBuf::from(self.text(&location)?);
        let ending =
            path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let java = match self.text(&kind).map(str::to_ascii_uppercase) {
            Some(kind) => kind != "PEM",
            None => matches!(
                ending.as_str(),
                "jks" | "p12" | "pfx" | "pkcs12" | "bcfks" | "keystore" | "truststore"
            ),
        };
        if java {
            let at = if self.text(&kind).is_some() { kind } else { location };
            self.wrong(
                &at,
                "only PEM is supported; convert the store: keytool -importkeystore -srckeystore OLD -destkeystore new.p12 \
                 -deststoretype PKCS12 && openssl pkcs12 -in new.p12 -nodes -out new.pem",
            );
            return None;
        }
        if self.text(&password).is_some() || self.text(&password_path).is_some() {
            self.warnings.push(format!(
                "{password} changes nothing: PEM files are read unencrypted; protect them by permissions"
            ));
        }
        Some(path)
    }

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

    fn storage(&mut self) -> StorageConfig {
        let data_dir = PathBuf::from(self.text("dataDir").unwrap_or("./rookery-data/coordinator"));
        let log_dir = self.text("dataLogDir").map_or_else(|| data_dir.clone(), PathBuf::from);
        let kib = |number: i64| number as u64 * 1024;
        let most = 1 << 40;
        let retain = self.number("autopurge.snapRetainCount", limits::SNAPSHOTS_RETAINED_MIN, 1..=1_000_000);
        if retain < limits::SNAPSHOTS_RETAINED_MIN {
            self.warnings.push(format!(
                "autopurge.snapRetainCount={retain} is raised to {}, the least that is safe",
                limits::SNAPSHOTS_RETAINED_MIN
            ));
        }
        let purge = self.purge_interval();
        let storage = StorageConfig {
            data_dir,
            log_dir,
            create_dirs: self.flag("datadir.autocreate", true),
            snap_count: self.number("snapCount", 100_000, 2..=i64::from(i32::MAX)),
            snap_size_limit_bytes: match self.number_or_none("snapSizeLimitInKb", -1..=most) {
                None => Some(4 << 30),
                Some(limit) => (limit > 0).then_some(kib(limit)),
            },
            segment_bytes_max: self
                .number_or_none("txnLogSizeLimitInKb", -1..=most)
                .filter(|&n| n > 0)
                .map(kib),
            preallocate_bytes: kib(self.number("preAllocSize", 65_536, 64..=1 << 22)),
            force_sync: self.flag("forceSync", true),
            sync_warning: self.millis("fsync.warningthresholdms", 1000, 0..=3_600_000),
            batch_commands_max: match self.number(
                "maxBatchSize",
                0,
                0..=limits::LOG_QUEUE_COMMANDS_MAX as i64,
            ) {
                0 => limits::LOG_BATCH_COMMANDS_DEFAULT,
                count => count,
            },
            retain_snapshots: purge.then_some(retain.max(limits::SNAPSHOTS_RETAINED_MIN)),
            trust_empty_snapshot: self.flag("snapshot.trust.empty", false),
        };
        if !storage.force_sync {
            self.warnings
                .push("forceSync=no: acknowledged writes can be lost when the machine fails".to_owned());
        }
        storage
    }

    /// Purging follows every snapshot, so of the interval only "never" matters. 3.10 allows a unit behind the number.
    fn purge_interval(&mut self) -> bool {
        let key = "autopurge.purgeInterval";
        let Some(text) = self.text(key) else { return true };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        match (digits.trim().parse::<i64>(), text[digits.len()..].to_ascii_lowercase().as_str()) {
            (Ok(number), "" | "ms" | "s" | "m" | "h" | "d") => {
                if number > 0 {
                    return true;
                }
                self.warnings.push(format!("{key}={text}: snapshots and logs are never deleted"));
                false
            }
            _ => {
                self.wrong(
                    key,
                    "must be a whole number of hours, or a number followed by ms, s, m, h or d; 0 = never",
                );
                true
            }
        }
    }

    fn limits(&mut self) -> LimitsConfig {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let by_files =
            files.saturating_sub(limits::FILES_RESERVED).clamp(1, u64::from(limits::CONNECTIONS_MAX)) as u32;
        let connections = self.number("maxCnxns", 0u32, 0..=i64::from(limits::CONNECTIONS_MAX));
        if connections > by_files {
            self.warnings.push(format!(
                "maxCnxns={connections} is more than the {by_files} that this process may open files for (see ulimit -n)"
            ));
        }
        let count = i64::from(i32::MAX);
        // Java accepts this one in hexadecimal, as its own documentation writes the default.
        let frame = match self.text("jute.maxbuffer").and_then(|text| text.strip_prefix("0x")) {
            Some(hex) => i64::from_str_radix(hex, 16)
                .ok()
                .filter(|n| (1024..=limits::FRAME_BYTES_CEILING as i64).contains(n)),
            None => None,
        };
        let frame_bytes_max = match frame {
            Some(bytes) => bytes as usize,
            None => self.number(
                "jute.maxbuffer",
                limits::FRAME_BYTES_DEFAULT,
                1024..=limits::FRAME_BYTES_CEILING as i64,
            ),
        };
        let outstanding_max = self.number(
            "globalOutstandingLimit",
            limits::OUTSTANDING_DEFAULT,
            1..=i64::from(limits::OUTSTANDING_CEILING),
        );
        let slow = self.number("rookery.slowOperationMs", 1000u64, 0..=3_600_000);
        LimitsConfig {
            frame_bytes_max,
            connections_per_address: match self.number(
                "maxClientCnxns",
                limits::CONNECTIONS_PER_ADDRESS_DEFAULT,
                0..=count,
            ) {
                0 => None,
                limit => Some(limit),
            },
            connections_max: if connections == 0 { by_files } else { connections },
            outstanding_max,
            outstanding_per_connection_max: self.number(
                "rookery.maxOutstandingPerConnection",
                limits::OUTSTANDING_PER_CONNECTION_DEFAULT.min(outstanding_max),
                1..=i64::from(limits::OUTSTANDING_CEILING),
            ),
            large_request_threshold: self
                .number_or_none("largeRequestThreshold", -1..=count)
                .filter(|&bytes| bytes > 0)
                .map(|bytes| bytes as usize),
            large_request_bytes_max: self.number(
                "largeRequestMaxBytes",
                limits::LARGE_REQUEST_BYTES_DEFAULT,
                1..=1 << 40,
            ),
            memory_bytes_max: self.memory("rookery.memoryLimit", machine_memory()),
            sessions_max: self.number("rookery.maxSessions", limits::SESSIONS_DEFAULT, 1..=count),
            watches_max: self.number("rookery.maxWatches", limits::WATCHES_DEFAULT, 1..=count),
            watches_per_connection_max: self.number(
                "rookery.maxWatchesPerConnection",
                limits::WATCHES_PER_CONNECTION_DEFAULT,
                1..=count,
            ),
            slow_operation: (slow > 0).then(|| Duration::from_millis(slow)),
        }
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

    fn auth(&mut self) -> AuthConfig {
        let skip_acl = self.flag("skipACL", false);
        if skip_acl {
            self.warnings.push("skipACL=yes: every client may read and change everything".to_owned());
        }
        let digest_enabled = self.flag("DigestAuthenticationProvider.enabled", true);
        let algorithm = self.digest_algorithm();
        let super_digest = self.text("DigestAuthenticationProvider.superDigest").map(Secret::new);
        if super_digest.as_ref().is_some_and(|digest| digest.reveal().matches(':').count() != 1) {
            self.wrong(
                "DigestAuthenticationProvider.superDigest",
                "must be name:digest with exactly one colon",
            );
        }
        let sasl = self.sasl();
        let require_sasl = self.flag("sessionRequireClientSASLAuth", false);
        self.auth_providers(sasl.is_some());
        let mut required_schemes = Vec::new();
        if self.flag("enforce.auth.enabled", false) {
            required_schemes = self.list("enforce.auth.schemes");
            let known = ["digest", "x509", "sasl", "ip", "ensemble"];
            if required_schemes.is_empty()
                || required_schemes.iter().any(|scheme| !known.contains(&scheme.as_str()))
            {
                let allowed = format!("must name one or more of {}", known.join(", "));
                self.wrong("enforce.auth.schemes", &allowed);
            }
        }
        if sasl.is_none() && (require_sasl || required_schemes.iter().any(|scheme| scheme == "sasl")) {
            self.problems.push(
                "SASL is required of clients, but java.security.auth.login.config names no accounts"
                    .to_owned(),
            );
        }
        let ensemble_names = self.list("ensembleAuthName");
        AuthConfig {
            skip_acl,
            digest: digest_enabled.then_some(DigestConfig { algorithm, super_digest }),
            x509_super_user: self.text("X509AuthenticationProvider.superUser").map(str::to_owned),
            sasl,
            require_sasl,
            allow_sasl_failed: self.flag("allowSaslFailedClients", false),
            required_schemes,
            ensemble_names: (!ensemble_names.is_empty()).then_some(ensemble_names),
        }
    }

    fn digest_algorithm(&mut self) -> DigestAlgorithm {
        use DigestAlgorithm::{Sha1, Sha256, Sha512};
        let choices = [("SHA1", Sha1), ("SHA-256", Sha256), ("SHA-512", Sha512), ("SHA-1", Sha1)];
        self.choice("DigestAuthenticationProvider.digestAlg", Sha1, &choices)
    }

    fn sasl(&mut self) -> Option<SaslConfig> {
        let section = self.text("sasl.serverconfig").unwrap_or("Server").to_owned();
        let mut super_users: Vec<String> =
            self.settings.with_prefix("superUser").map(|(_, setting)| setting.value.clone()).collect();
        // The account called "super" is the super user of DIGEST-MD5 without being named one.
        super_users.push("super".to_owned());
        let super_password = self.text("SASLAuthenticationProvider.superPassword").map(Secret::new);
        let path = self.text("java.security.auth.login.config")?.to_owned();
        let text = match read_bounded(Path::new(&path)) {
            Ok(bytes) if bytes.len() > limits::CONFIG_FILE_BYTES_MAX => {
                self.wrong(
                    "java.security.auth.login.config",
                    "the file is too big to be a login configuration",
                );
                return None;
            }
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                self.wrong("java.security.auth.login.config", &format!("cannot be read: {error}"));
                return None;
            }
        };
        match jaas::users(&text, &section) {
            Ok(mut users) => {
                if let Some(password) = super_password {
                    users.insert("super".to_owned(), password);
                }
                Some(SaslConfig { users, super_users })
            }
            // Files that only configure the client side of a tool are common.
            Err(JaasError::NoSection(_)) if !self.is_set("sasl.serverconfig") => None,
            Err(error) => {
                self.wrong("java.security.auth.login.config", &error.to_string());
                None
            }
        }
    }

    fn auth_providers(&mut self, sasl: bool) {
        let built_in = [
            ("SASLAuthenticationProvider", "java.security.auth.login.config"),
            ("X509AuthenticationProvider", ""),
            ("DigestAuthenticationProvider", ""),
            ("IPAuthenticationProvider", ""),
            ("EnsembleAuthenticationProvider", ""),
        ];
        let providers: Vec<_> = self
            .settings
            .with_prefix("authProvider.")
            .map(|(n, s)| (n.to_owned(), s.value.clone()))
            .collect();
        for (suffix, class) in providers {
            let short = class.rsplit('.').next().unwrap_or_default();
            match built_in.iter().find(|(name, _)| *name == short) {
                Some(("SASLAuthenticationProvider", key)) if !sasl => self.warnings.push(format!(
                    "authProvider.{suffix}: SASL is offered only when {key} names accounts"
                )),
                Some(_) => {}
                None => self.wrong(
                    &format!("authProvider.{suffix}"),
                    "Java classes cannot be loaded here; built in are the SASL, X509, Digest, IP and Ensemble providers",
                ),
            }
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

    fn admin(&mut self) -> Option<AdminConfig> {
        for key in ["admin.forceHttps", "admin.needClientAuth"] {
            self.only_false(key);
        }
        let enabled = self.flag("admin.enableServer", true);
        let keys = ["admin.enableServer", "admin.serverAddress", "admin.serverPort"];
        let explicit = keys.iter().any(|key| self.is_set(key));
        let address = self.address("admin.serverAddress", LOOPBACK);
        let port = self.port("admin.serverPort").unwrap_or(8080);
        let command_path = self.text("admin.commandURL").unwrap_or("/commands").to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if !command_path.starts_with('/')
            || command_path.len() < 2
            || command_path.ends_with('/')
            || !command_path.chars().all(plain)
        {
            self.wrong("admin.commandURL", "must be a path such as /commands");
        }
        let admin = AdminConfig {
            listen: SocketAddr::new(address, port),
            explicit,
            command_path,
            idle_timeout: self.millis("admin.idleTimeout", 30_000, 1..=86_400_000),
            snapshot: self.flag("admin.snapshot.enabled", true),
            restore: self.flag("admin.restore.enabled", true),
            stream_interval: self.millis("admin.rateLimiterIntervalInMS", 300_000, 0..=86_400_000),
        };
        enabled.then_some(admin)
    }

    fn metrics(&mut self) -> Option<SocketAddr> {
        let address = self.address("metricsProvider.httpHost", EVERYWHERE);
        let port = self.number("metricsProvider.httpPort", 7000, 0..=65535);
        match self.text("metricsProvider.className")?.rsplit('.').next() {
            Some("PrometheusMetricsProvider") => Some(SocketAddr::new(address, port)),
            Some("DefaultMetricsProvider" | "NullMetricsProvider") => None,
            _ => {
                self.wrong(
                    "metricsProvider.className",
                    "must be org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider, or the default provider",
                );
                None
            }
        }
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

    // ---- Relations ----

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

fn resolve_host(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    // All IPv4 addresses and all addresses are the same wish, and the second serves both.
    if bare == "0.0.0.0" || bare == "*" {
        return Some(EVERYWHERE);
    }
    bare.parse().ok().or_else(|| Some((bare, 0).to_socket_addrs().ok()?.next()?.ip()))
}

/// The memory of the machine, or of the container if it has less.
fn machine_memory() -> u64 {
    let read =
        |path: &str| read_bounded(Path::new(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
    });
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| read(path)?.trim().parse::<u64>().ok())
        .min();
    // Where neither can be read, a size that any machine has.
    machine.into_iter().chain(container).min().unwrap_or(1 << 30)
}
