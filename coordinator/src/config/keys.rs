//! Every configuration key: ZooKeeper's own, and the few of ours.
//!
//! One table serves the file, the flags, the container variables, `--help`, the man page and `config check`, so none of
//! them can know a key that the others do not.

/// What setting a key does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The server acts on it.
    Honoured,
    /// It is accepted and changes nothing; the text says why, and is printed at start.
    Inert(&'static str),
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// ZooKeeper's name without the `zookeeper.` prefix. A trailing `*` stands for any suffix.
    pub name: &'static str,
    /// What holds when nobody sets it, as text for people.
    pub default: &'static str,
    /// One line of explanation.
    pub help: &'static str,
    /// What setting it does.
    pub effect: Effect,
    /// Its value must not be shown.
    pub secret: bool,
}

const fn honoured(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, help, effect: Effect::Honoured, secret: false }
}

const fn secret(name: &'static str, help: &'static str) -> Key {
    Key { name, default: "", help, effect: Effect::Honoured, secret: true }
}

const fn inert(name: &'static str, why: &'static str) -> Key {
    Key {
        name,
        default: "",
        help: "Accepted for compatibility; changes nothing",
        effect: Effect::Inert(why),
        secret: false,
    }
}

const EDGE: &str = "one thread serves all client sockets, so there are no pools or queues to size";
const MEMORY: &str = "replies are encoded straight from the tree, so there is no cache to size";
const SNAPSHOTS: &str = "snapshots are always compressed, checksummed and exact";
const THROTTLE: &str =
    "overload is met by not reading from the socket, never by delaying or dropping queued requests";
const JVM: &str = "there is no Java virtual machine here";
const BATCH: &str =
    "whatever is queued while one fsync runs becomes the next batch, so there is no timer to set";
const KERBEROS: &str = "only DIGEST-MD5 is offered; there is no Kerberos";
const CLIENT: &str = "it is a setting of clients";
const PURGE: &str =
    "containers and TTL nodes are deleted within milliseconds of being due, not by a periodic sweep";

const OBSERVERS: &str = "observers always keep log and snapshots";
const DIAL: &str = "a link that is down is dialled again within a second";
const PINGS: &str = "members prove to each other several times a second that they live (rookery.pingMs)";
const CATCHING_UP: &str =
    "members that catch up share the core thread in small steps; there are no pools or queues to size";

/// The table.
pub const KEYS: &[Key] = &[
    // Where clients connect.
    honoured("clientPort", "2181", "Port for plain clients; 0 = none"),
    honoured(
        "clientPortAddress",
        "127.0.0.1, or all addresses when clientPort is set",
        "Address for plain clients",
    ),
    honoured("secureClientPort", "none", "Port for TLS clients"),
    honoured("secureClientPortAddress", "all addresses", "Address for TLS clients"),
    honoured("client.portUnification", "false", "Serve TLS and plain clients on clientPort"),
    honoured("clientPortListenBacklog", "1024", "Connections the system may queue before they are accepted"),
    honoured("clientTcpKeepAlive", "false", "TCP keep-alive on client connections"),
    // Time.
    honoured("tickTime", "2000", "Milliseconds of one tick, the unit of session expiry"),
    honoured("minSessionTimeout", "2 ticks", "Shortest session timeout granted, milliseconds"),
    honoured("maxSessionTimeout", "20 ticks", "Longest session timeout granted, milliseconds"),
    honoured(
        "nio.sessionlessCnxnTimeout",
        "10000",
        "Milliseconds a new connection may take to send its handshake",
    ),
    // Storage.
    honoured("dataDir", "./rookery-data/coordinator", "Directory of snapshots and myid"),
    honoured("dataLogDir", "dataDir", "Directory of the log; a device of its own is best"),
    honoured("datadir.autocreate", "true", "Create missing data directories"),
    honoured("snapCount", "100000", "Writes between two snapshots (randomised between half of it and all)"),
    honoured("snapSizeLimitInKb", "4194304", "KiB of log between two snapshots; 0 or less = no limit"),
    honoured("txnLogSizeLimitInKb", "off", "KiB after which a log segment is closed"),
    honoured("preAllocSize", "65536", "KiB by which a log segment grows ahead of its contents, at most"),
    honoured("forceSync", "yes", "\"no\" acknowledges writes that a power failure can still lose"),
    honoured(
        "fsync.warningthresholdms",
        "1000",
        "Report a flush of the log that takes this long, milliseconds",
    ),
    honoured("autopurge.snapRetainCount", "3", "Snapshots to keep, with the log they need; at least 3"),
    honoured(
        "autopurge.purgeInterval",
        "after every snapshot",
        "0 keeps every snapshot and log for ever; anything else purges",
    ),
    honoured("snapshot.trust.empty", "false", "Start although there is a log but no snapshot before it"),
    inert("snapshot.compression.method", SNAPSHOTS),
    inert("serializeLastProcessedZxid.enabled", SNAPSHOTS),
    inert("flushDelay", BATCH),
    inert("maxWriteQueuePollTime", BATCH),
    honoured("maxBatchSize", "1000", "Writes that may share one fsync"),
    inert("db.autocreate", "an empty data directory is always initialised"),
    inert("forceSnapshotSync", "it is a test aid of ZooKeeper"),
    // Limits.
    honoured("maxClientCnxns", "60", "Connections from one address; 0 = no limit"),
    honoured(
        "maxCnxns",
        "as many as open files allow",
        "Connections in all; 0 = as many as open files allow",
    ),
    honoured("jute.maxbuffer", "1048575", "Bytes of the longest request accepted"),
    inert("jute.maxbuffer.extrasize", "a write is checked against the log's limit before it is accepted"),
    honoured("globalOutstandingLimit", "1000", "Requests under way before connections are read no further"),
    honoured("largeRequestThreshold", "-1", "Bytes from which a request counts as large; -1 = none does"),
    honoured("largeRequestMaxBytes", "104857600", "Bytes of large requests that may be under way together"),
    inert("requestThrottleLimit", THROTTLE),
    inert("requestThrottleStallTime", THROTTLE),
    inert("requestThrottleDropStale", THROTTLE),
    inert("requestStaleLatencyCheck", THROTTLE),
    inert("requestStaleConnectionCheck", THROTTLE),
    inert("request_throttle_max_requests", THROTTLE),
    inert("request_throttle_stall_time", THROTTLE),
    inert("request_throttle_drop_stale", THROTTLE),
    inert("request_stale_latency_check", THROTTLE),
    inert("request_stale_connection_check", THROTTLE),
    inert("request_throttler.shutdownTimeout", THROTTLE),
    inert("throttledOpWaitTime", THROTTLE),
    inert("throttled_op_wait_time", THROTTLE),
    inert("connectionMaxTokens", THROTTLE),
    inert("connectionTokenFillTime", THROTTLE),
    inert("connectionTokenFillCount", THROTTLE),
    inert("connectionFreezeTime", THROTTLE),
    inert("connectionDropIncrease", THROTTLE),
    inert("connectionDropDecrease", THROTTLE),
    inert("connectionDecreaseRatio", THROTTLE),
    inert("connection_throttle_*", THROTTLE),
    inert("maxResponseCacheSize", MEMORY),
    inert("maxGetChildrenResponseCacheSize", MEMORY),
    inert("bitHashCacheSize", MEMORY),
    inert("intBufferStartingSizeBytes", MEMORY),
    inert("watchManagerName", "there is one watch registry, compact at every size"),
    inert("watcherCleanThreadsNum", "watches of a closed connection are removed at once"),
    inert("watcherCleanThreshold", "watches of a closed connection are removed at once"),
    inert("watcherCleanIntervalInSeconds", "watches of a closed connection are removed at once"),
    inert("maxInProcessingDeadWatchers", "watches of a closed connection are removed at once"),
    inert("serverCnxnFactory", "TLS and plain connections are served by the same code"),
    inert("commitProcessor.*", EDGE),
    inert("nio.numSelectorThreads", EDGE),
    inert("nio.numWorkerThreads", EDGE),
    inert("nio.directBufferBytes", EDGE),
    inert("nio.shutdownTimeout", EDGE),
    inert("nio.workerShutdownTimeoutMS", EDGE),
    inert("netty.advancedFlowControl.enabled", EDGE),
    inert("netty.server.earlyDropSecureConnectionHandshakes", EDGE),
    honoured(
        "netty.server.outstandingHandshake.limit",
        "256",
        "TLS handshakes under way at once; further connections wait",
    ),
    inert("messageTracker.BufferSize", "the log tells slow operations with their stages"),
    inert("messageTracker.Enabled", "the log tells slow operations with their stages"),
    inert("pathStats.*", "requests are not counted by path"),
    inert("request.timeout", CLIENT),
    // The tree.
    honoured("extendedTypesEnabled", "true", "TTL nodes"),
    inert("emulate353TTLNodes", "the format of that release is not stored here"),
    honoured("enforceQuota", "false", "Refuse writes above a hard quota instead of reporting them"),
    inert("znode.container.checkIntervalMs", PURGE),
    inert("znode.container.maxPerMinute", PURGE),
    honoured(
        "znode.container.maxNeverUsedIntervalMs",
        "0",
        "Milliseconds after which a never used container goes; 0 = never",
    ),
    honoured("digest.enabled", "true", "Maintain the digest shown by the hash command"),
    inert("closeSessionTxn.enabled", "closing a session always names the nodes it removes"),
    honoured(
        "reconfigEnabled",
        "true in an ensemble",
        "Members may be added and removed by who may write the configuration",
    ),
    // Who may do what.
    honoured("skipACL", "no", "\"yes\" lets everybody do everything"),
    secret("DigestAuthenticationProvider.superDigest", "name:digest of the user that no ACL stops"),
    honoured("DigestAuthenticationProvider.enabled", "true", "The digest scheme"),
    honoured("DigestAuthenticationProvider.digestAlg", "SHA1", "SHA1, SHA-256 or SHA-512"),
    honoured(
        "X509AuthenticationProvider.superUser",
        "none",
        "Subject of the client certificate that no ACL stops",
    ),
    honoured("superUser", "none", "SASL user that no ACL stops"),
    honoured("superUser.*", "none", "Further SASL users that no ACL stops"),
    honoured("authProvider.*", "", "Java class of an authentication provider; the built-in ones are known"),
    honoured("java.security.auth.login.config", "none", "File with the accounts for SASL (JAAS format)"),
    honoured("sasl.serverconfig", "Server", "Section of that file"),
    secret("SASLAuthenticationProvider.superPassword", "Password of the SASL user \"super\""),
    honoured("sessionRequireClientSASLAuth", "false", "Serve only clients that authenticated with SASL"),
    honoured("allowSaslFailedClients", "false", "Keep serving a client whose SASL exchange failed"),
    honoured("enforce.auth.enabled", "false", "Serve only clients with an identity of enforce.auth.schemes"),
    honoured("enforce.auth.schemes", "none", "Schemes of which a client must have one, separated by commas"),
    honoured(
        "ensembleAuthName",
        "none",
        "Names a client may give the ensemble, separated by commas; others are refused",
    ),
    inert("enableEagerACLCheck", "ACLs are checked where the write is executed, at no extra cost"),
    inert(
        "IPAuthenticationProvider.usexforwardedfor",
        "the operations port knows callers by their own address only",
    ),
    inert("kerberos.*", KERBEROS),
    inert("requireKerberosConfig", KERBEROS),
    inert("letAnySaslUserDoX", KERBEROS),
    inert("server.principal", KERBEROS),
    inert("server.realm", KERBEROS),
    inert("security.auth_to_local", KERBEROS),
    inert("kinit", KERBEROS),
    inert("jaasLoginRenew", KERBEROS),
    // TLS.
    honoured("ssl.keyStore.location", "none", "PEM file with the certificate chain and its private key"),
    secret(
        "ssl.keyStore.password",
        "Not needed: PEM keys are stored unencrypted and protected by file permissions",
    ),
    honoured("ssl.keyStore.passwordPath", "none", "Not needed, as ssl.keyStore.password"),
    honoured("ssl.keyStore.type", "PEM", "PEM; convert Java key stores first"),
    honoured(
        "ssl.trustStore.location",
        "none",
        "PEM file with the authorities whose client certificates are accepted",
    ),
    secret("ssl.trustStore.password", "Not needed, as ssl.keyStore.password"),
    honoured("ssl.trustStore.passwordPath", "none", "Not needed, as ssl.keyStore.password"),
    honoured("ssl.trustStore.type", "PEM", "PEM; convert Java trust stores first"),
    honoured("ssl.clientAuth", "need", "Client certificates: none, want or need"),
    honoured("ssl.protocol", "TLSv1.3", "Newest TLS version offered: TLSv1.2 or TLSv1.3"),
    honoured("ssl.enabledProtocols", "TLSv1.3,TLSv1.2", "TLS versions offered"),
    honoured("ssl.ciphersuites", "all secure ones", "Cipher suites offered, by their standard names"),
    honoured("ssl.handshakeDetectionTimeoutMillis", "5000", "Milliseconds a TLS handshake may take"),
    honoured("ssl.authProvider", "x509", "How a client certificate becomes an identity: x509"),
    honoured("ssl.x509.*", "subject", "Not supported: a client certificate is known by its subject only"),
    honoured("client.certReload", "false", "Load changed key and trust stores without a restart"),
    honoured("ssl.crl", "false", "Only false: certificates are not looked up in revocation lists"),
    honoured("ssl.ocsp", "false", "Only false: certificates are not looked up at an OCSP responder"),
    honoured(
        "ssl.clientHostnameVerification",
        "false",
        "Only false: clients are known by their certificate, not by its host name",
    ),
    inert("ssl.hostnameVerification", CLIENT),
    inert("ssl.allowReverseDnsLookup", CLIENT),
    inert("ssl.context.supplier.class", "TLS is built in and loads no Java classes"),
    inert("ssl.sslProvider", "TLS is built in and loads no other implementation"),
    inert("fips-mode", "TLS uses one modern implementation; there is no second mode"),
    inert("client.secure", CLIENT),
    inert("clientCnxnSocket", CLIENT),
    // Operations.
    honoured("4lw.commands.whitelist", "srvr", "Four-letter words answered, separated by commas; * = all"),
    honoured("admin.enableServer", "true", "The operations port (HTTP)"),
    honoured("admin.serverAddress", "127.0.0.1", "Address of the operations port"),
    honoured("admin.serverPort", "8080", "Port of the operations port"),
    honoured("admin.commandURL", "/commands", "Path of ZooKeeper's administration commands"),
    honoured("admin.idleTimeout", "30000", "Milliseconds an HTTP connection may be idle"),
    honoured(
        "admin.snapshot.enabled",
        "true",
        "The snapshot command, which streams all data to an authorised caller",
    ),
    honoured("admin.restore.enabled", "true", "The restore command, which replaces all data"),
    honoured(
        "admin.rateLimiterIntervalInMS",
        "300000",
        "Milliseconds between two snapshot or restore commands",
    ),
    honoured(
        "admin.forceHttps",
        "false",
        "Only false: the operations port is plain HTTP; put a proxy before it",
    ),
    honoured("admin.needClientAuth", "false", "Only false, as admin.forceHttps"),
    inert("admin.portUnification", "the operations port is plain HTTP; put a proxy before it"),
    inert("admin.httpVersion", "the operations port speaks HTTP/1.1"),
    honoured(
        "metricsProvider.className",
        "none",
        "Set to the Prometheus provider, also serve /metrics on metricsProvider.httpPort",
    ),
    honoured("metricsProvider.httpHost", "0.0.0.0", "Address of the additional metrics port"),
    honoured("metricsProvider.httpPort", "7000", "Port of the additional metrics port"),
    inert("metricsProvider.httpsPort", "metrics are served as plain HTTP; put a proxy before it"),
    inert("metricsProvider.ssl.*", "metrics are served as plain HTTP; put a proxy before it"),
    inert("metricsProvider.exportJvmInfo", JVM),
    inert(
        "metricsProvider.prometheusMetricsSummaryRotateIntervalSeconds",
        "percentiles always speak of the last minutes",
    ),
    inert("metricsProvider.numWorkerThreads", EDGE),
    inert("metricsProvider.maxQueueSize", EDGE),
    inert("metricsProvider.workerShutdownTimeoutMs", EDGE),
    honoured("audit.enable", "false", "Write one line for every change a client asks for"),
    inert("audit.impl.class", "the audit log is built in"),
    inert("controllerPort", "it is a test aid of ZooKeeper"),
    inert("jvm.pause.*", JVM),
    inert("jmx.*", JVM),
    inert("sasl.client", CLIENT),
    inert("sasl.client.*", CLIENT),
    inert("sasl.clientconfig", CLIENT),
    inert("disableAutoWatchReset", CLIENT),
    inert("hostProvider.*", CLIENT),
    inert("shuffleDnsResponse", CLIENT),
    // Membership and ensembles.
    honoured(
        "server.*",
        "",
        "A member: host:quorumPort:electionPort[:observer][;clientPort]; one line alone stands for this server alone",
    ),
    honoured("myid", "the file myid in dataDir", "Number of this server, when dataDir has no file myid"),
    honoured("group.*", "", "Ids of a group of voting members, separated by colons"),
    honoured("weight.*", "", "Weight of a member's vote in its group; 0 never leads"),
    honoured("dynamicConfigFile", "none", "File with the server.N, group.N and weight.N lines"),
    honoured("version", "0", "In a membership file: its version, hexadecimal"),
    honoured("standaloneEnabled", "true", "A single server.N line runs a server alone"),
    honoured("peerType", "participant", "participant or observer; the server.N line decides"),
    honoured("initLimit", "10", "Ticks a member may take to connect to the leader and catch up"),
    honoured(
        "syncLimit",
        "5",
        "Shown by conf; who is silent for too long is judged by rookery.leaderSilenceMs",
    ),
    inert(
        "connectToLearnerMasterLimit",
        "a leader that was just elected has half a second to say its first word",
    ),
    honoured("cnxTimeout", "5000", "Milliseconds a link between members may take to come up"),
    honoured("electionAlg", "3", "Only 3: fast leader election"),
    honoured(
        "electionPortBindRetry",
        "3",
        "How often the ports for members are tried at start; 0 = for ever",
    ),
    honoured(
        "quorumListenOnAllIPs",
        "false",
        "Listen for members on all addresses, not only those of the server.N line",
    ),
    honoured("leaderServes", "yes", "\"no\" leaves clients to the other members while this one leads"),
    honoured("commitLogCount", "500", "Recent writes kept in memory for members that catch up"),
    honoured(
        "snapshotSizeFactor",
        "0.33",
        "Part of a snapshot's size up to which a member catches up from the log on disk instead; negative = never",
    ),
    honoured(
        "readonlymode.enabled",
        "false",
        "Serve read-only clients while there is no quorum; also allows the isro command",
    ),
    honoured("localSessionsEnabled", "false", "In an ensemble, new sessions are known to their server only"),
    honoured(
        "localSessionsUpgradingEnabled",
        "false",
        "A local session that creates an ephemeral znode becomes known to all, instead of being refused",
    ),
    honoured("sslQuorum", "false", "TLS between members"),
    honoured("sslQuorumReloadCertFiles", "false", "Use changed stores for new links without a restart"),
    honoured(
        "portUnification",
        "false",
        "Accept members with and without TLS, while an ensemble changes over",
    ),
    honoured(
        "ssl.quorum.keyStore.location",
        "none",
        "PEM file with this member's certificate chain and its private key",
    ),
    secret("ssl.quorum.keyStore.password", "Not needed, as ssl.keyStore.password"),
    honoured("ssl.quorum.keyStore.passwordPath", "none", "Not needed, as ssl.keyStore.password"),
    honoured("ssl.quorum.keyStore.type", "PEM", "PEM; convert Java key stores first"),
    honoured(
        "ssl.quorum.trustStore.location",
        "none",
        "PEM file with the authorities whose members are accepted",
    ),
    secret("ssl.quorum.trustStore.password", "Not needed, as ssl.keyStore.password"),
    honoured("ssl.quorum.trustStore.passwordPath", "none", "Not needed, as ssl.keyStore.password"),
    honoured("ssl.quorum.trustStore.type", "PEM", "PEM; convert Java trust stores first"),
    honoured("ssl.quorum.clientAuth", "need", "Only need: members are known by their certificates"),
    honoured(
        "ssl.quorum.hostnameVerification",
        "true",
        "A member's certificate must name the host of its server.N line",
    ),
    honoured(
        "ssl.quorum.clientHostnameVerification",
        "ssl.quorum.hostnameVerification",
        "The same for members that dial this one",
    ),
    honoured("ssl.quorum.protocol", "TLSv1.3", "Newest TLS version offered: TLSv1.2 or TLSv1.3"),
    honoured("ssl.quorum.enabledProtocols", "TLSv1.3,TLSv1.2", "TLS versions offered"),
    honoured("ssl.quorum.ciphersuites", "all secure ones", "Cipher suites offered, by their standard names"),
    honoured("ssl.quorum.crl", "false", "Only false: certificates are not looked up in revocation lists"),
    honoured("ssl.quorum.ocsp", "false", "Only false: certificates are not looked up at an OCSP responder"),
    inert("ssl.quorum.*", "TLS is built in; links have one time limit, cnxTimeout"),
    honoured(
        "quorum.auth.enableSasl",
        "false",
        "Members prove that they know user and password of quorum.auth.learner.saslLoginContext",
    ),
    honoured(
        "quorum.auth.learnerRequireSasl",
        "false",
        "Needs quorum.auth.enableSasl, with which every link is authenticated",
    ),
    honoured(
        "quorum.auth.serverRequireSasl",
        "false",
        "Needs quorum.auth.learnerRequireSasl, as in ZooKeeper",
    ),
    honoured(
        "quorum.auth.learner.saslLoginContext",
        "QuorumLearner",
        "Section of java.security.auth.login.config with user and password of all members",
    ),
    honoured(
        "quorum.auth.server.saslLoginContext",
        "QuorumServer",
        "Section of java.security.auth.login.config with the accounts of members",
    ),
    inert("quorum.auth.kerberos.servicePrincipal", KERBEROS),
    inert("quorum.*", "links between members are served by the core thread; there is no pool to size"),
    inert("syncEnabled", OBSERVERS),
    inert("observer.syncEnabled", OBSERVERS),
    inert("observerMasterPort", "observers follow the leader over the same links as everybody"),
    inert("observerMaster.sizeLimit", "observers follow the leader over the same links as everybody"),
    inert("observer.reconnectDelayMs", DIAL),
    inert("observer.election.DelayMs", DIAL),
    inert("leaderConnectDelayDuringRetryMs", DIAL),
    inert("quorumCnxnTimeoutMs", PINGS),
    inert("tcpKeepAlive", PINGS),
    inert("fastleader.minNotificationInterval", "votes travel over standing links"),
    inert("fastleader.maxNotificationInterval", "votes travel over standing links"),
    inert("leader.*", CATCHING_UP),
    inert("learner.*", CATCHING_UP),
    inert("follower.*", CATCHING_UP),
    inert("forward_learner_requests_to_commit_processor_disabled", CATCHING_UP),
    inert("multiAddress.*", "several addresses of a member are always tried in turn"),
    inert("configuration", "it is set by ZooKeeper itself"),
    inert("initialConfig", "it is set by ZooKeeper itself"),
    inert("oraclePath", "a quorum is counted; let a third voting member break ties"),
    // Ours.
    secret(
        "rookery.peerSecret",
        "What all members know and prove to each other; at least 16 characters, never as a flag",
    ),
    honoured("rookery.peerSecretFile", "none", "File that rookery.peerSecret is read from"),
    honoured("rookery.pingMs", "150", "Milliseconds between two signs of life from member to member"),
    honoured(
        "rookery.featureLevelMax",
        "what the release supports",
        "The highest feature level that this member agrees to; below that of a new release it keeps the way back open",
    ),
    honoured(
        "rookery.leaderSilenceMs",
        "1500",
        "Milliseconds a leader may be silent before the others elect a new one",
    ),
    honoured(
        "rookery.memoryLimit",
        "75% of the machine or container",
        "Memory above which writes are refused: bytes, KiB, MiB, GiB or %",
    ),
    honoured("rookery.maxSessions", "1000000", "Sessions that may exist"),
    honoured("rookery.maxWatches", "10000000", "Watches that may be set in all"),
    honoured("rookery.maxWatchesPerConnection", "1000000", "Watches that one connection may set"),
    honoured(
        "rookery.maxOutstandingPerConnection",
        "1000",
        "Requests of one connection that may be under way",
    ),
    honoured(
        "rookery.slowOperationMs",
        "1000",
        "Report an operation that takes this long, with its stages; 0 = none",
    ),
    honoured(
        "rookery.log",
        "info",
        "Log level: error, warn, info, debug, trace, or a filter such as coordinator::net=debug",
    ),
    honoured("rookery.log.format", "text on a terminal, else json", "text or json"),
    honoured("rookery.audit.file", "standard output", "File of the audit log; - = standard output"),
];

/// Finds a key by its exact name, in either spelling (`key` or `zookeeper.key`).
pub fn find(name: &str) -> Option<(&'static Key, String)> {
    let name = name.strip_prefix("zookeeper.").unwrap_or(name);
    let exact = KEYS.iter().find(|key| key.name == name);
    let key = exact.or_else(|| KEYS.iter().find(|key| key.matches_pattern(name)))?;
    Some((key, name.to_owned()))
}

/// Finds a key by a name that ignores case, hyphens, underscores and dots, as flags and variables are written.
pub fn find_loosely(name: &str) -> Option<(&'static Key, String)> {
    find(name).or_else(|| {
        let wanted = loosely(name.strip_prefix("zookeeper.").unwrap_or(name));
        let key = KEYS.iter().find(|key| !key.name.ends_with('*') && loosely(key.name) == wanted)?;
        Some((key, key.name.to_owned()))
    })
}

/// The known key that a mistyped one probably meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let wanted = loosely(name.strip_prefix("zookeeper.").unwrap_or(name));
    let candidates = KEYS.iter().filter(|key| !key.name.ends_with('*'));
    let (distance, key) = candidates
        .map(|key| {
            let known = loosely(key.name);
            // The last part alone is what people remember of a long dotted key.
            let last = loosely(key.name.rsplit('.').next().unwrap_or_default());
            let whole = client::properties::distance(&wanted, &known);
            (if last == wanted { 1 } else { whole }, key.name)
        })
        .min()?;
    (distance <= 1 + wanted.len() / 4).then_some(key)
}

impl Key {
    /// Does the name stand for many keys, such as `server.1` and `server.2`?
    pub fn is_pattern(&self) -> bool {
        self.name.ends_with('*')
    }

    /// Does `name` fall under this key's `prefix*`?
    fn matches_pattern(&self, name: &str) -> bool {
        self.name
            .strip_suffix('*')
            .is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix))
    }
}

fn loosely(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '.' | '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_spelling() {
        let name = |found: Option<(&Key, String)>| found.map(|(key, full)| (key.name, full));
        assert_eq!(name(find("zookeeper.skipACL")), Some(("skipACL", "skipACL".into())));
        assert_eq!(name(find("server.12")), Some(("server.*", "server.12".into())));
        assert_eq!(name(find("skipacl")), None);
        assert_eq!(name(find_loosely("client-port")), Some(("clientPort", "clientPort".into())));
        assert_eq!(
            name(find_loosely("ROOKERY_MEMORY_LIMIT")),
            Some(("rookery.memoryLimit", "rookery.memoryLimit".into()))
        );
        let retain = "autopurge.snapRetainCount";
        assert_eq!(name(find_loosely("autopurge-snap-retain-count")), Some((retain, retain.into())));
        assert_eq!(name(find("server.principal")), Some(("server.principal", "server.principal".into())));
    }

    #[test]
    fn mistyped_names_get_a_suggestion() {
        let check = |typed: &str, expected: Option<&str>| assert_eq!(nearest(typed), expected, "{typed}");
        check("clientport", Some("clientPort"));
        check("tickTme", Some("tickTime"));
        check("maxClientConnections", None);
        check("whitelist", Some("4lw.commands.whitelist"));
        check("superDigest", Some("DigestAuthenticationProvider.superDigest"));
        check("zzz", None);
    }

    #[test]
    fn no_key_stands_twice_in_any_spelling() {
        let mut names: Vec<_> = KEYS.iter().map(|key| loosely(key.name)).collect();
        names.sort();
        // ZooKeeper itself has old and new names for the request throttle that differ in underscores only.
        names.retain(|name| !name.starts_with("request") && !name.starts_with("throttled"));
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
