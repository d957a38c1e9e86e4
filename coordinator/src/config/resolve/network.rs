//! Where the server listens, and the keys it shows there.

use super::typed::resolve_host;
use super::*;

/// Key material and what it is used with.
pub(super) struct TlsStores {
    pub(super) key_store: Option<PathBuf>,
    pub(super) trust_store: Option<PathBuf>,
    pub(super) tls12: bool,
    pub(super) tls13: bool,
    pub(super) cipher_suites: Vec<String>,
}

impl Reader<'_> {
    /// `member` is the own `server.N` line.
    pub(super) fn listen(&mut self, member: Option<&Member>) -> ListenConfig {
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

    pub(super) fn tls(&mut self, listen: &ListenConfig) -> Option<TlsConfig> {
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
    pub(super) fn tls_stores(&mut self, prefix: &str) -> TlsStores {
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
    pub(super) fn pem_store(&mut self, prefix: &str) -> Option<PathBuf> {
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

    pub(super) fn admin(&mut self) -> Option<AdminConfig> {
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

    pub(super) fn metrics(&mut self) -> Option<SocketAddr> {
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
}
