use super::*;
use proptest::prelude::*;
use std::path::Path;

fn sources(file: Option<&Path>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let owned =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Sources { file: file.map(Path::to_owned), environment: owned(environment), flags: owned(flags) }
}

/// Loads a `zoo.cfg` of the given text; `DIR` in it stands for a fresh directory.
fn load_file(text: &str) -> Result<Loaded, ConfigError> {
    load_with(text, &[], &[])
}

fn load_with(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zoo.cfg");
    std::fs::write(&path, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    sources(Some(&path), environment, flags).load()
}

fn config(flags: &[(&str, &str)]) -> Config {
    sources(None, &[], flags).load().unwrap_or_else(|error| panic!("{flags:?}: {error}")).config
}

#[track_caller]
fn refused(flags: &[(&str, &str)], parts: &[&str]) {
    let error = sources(None, &[], flags).load().expect_err("must not start").to_string();
    for part in parts {
        assert!(error.contains(part), "{flags:?}: {error}");
    }
}

#[track_caller]
fn warned(loaded: &Loaded, part: &str) {
    assert!(loaded.warnings.iter().any(|warning| warning.contains(part)), "{part}: {:#?}", loaded.warnings);
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn without_configuration_only_this_machine_is_served() {
    let loaded = sources(None, &[], &[]).load().unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let config = loaded.config;
    assert_eq!(config.listen.client, address("127.0.0.1:2181"));
    assert_eq!(config.listen.secure, None);
    assert_eq!(config.storage.data_dir, Path::new("./rookery-data/coordinator"));
    assert_eq!(config.storage.log_dir, config.storage.data_dir);
    assert_eq!(config.session.tick, Duration::from_millis(2000));
    assert_eq!(config.session.timeout_min, Duration::from_millis(4000));
    assert_eq!(config.session.timeout_max, Duration::from_millis(40_000));
    assert_eq!(config.limits.connections_per_address, Some(60));
    assert_eq!(config.limits.frame_bytes_max, 1_048_575);
    assert_eq!(config.storage.retain_snapshots, Some(3));
    assert!(config.tree.extended_types);
    assert_eq!(config.four_letter, Whitelist::Only(vec!["srvr".to_owned()]));
    let admin = config.admin.unwrap();
    assert_eq!((admin.listen.to_string().as_str(), admin.explicit), ("127.0.0.1:8080", false));
    assert_eq!(config.metrics, None);
    assert_eq!(config.server_id, 0);
}

#[test]
fn the_sample_file_of_zookeeper() {
    let loaded = load_file(
        "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=DIR/data\nclientPort=2181\n\
         autopurge.snapRetainCount=5\n#autopurge.purgeInterval=1\n",
    )
    .unwrap();
    assert_eq!(loaded.config.listen.client, address("[::]:2181"));
    assert_eq!(loaded.config.storage.retain_snapshots, Some(5));
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    warned(&loaded, "neither encrypted nor authenticated");
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let text = "dataDir=/file\ntickTime=1000\nmaxClientCnxns=1\n";
    let environment = [("ZOO_TICK_TIME", "1500"), ("ZOO_MAX_CLIENT_CNXNS", "2"), ("ZOO_DATA_DIR", "")];
    let config = load_with(text, &environment, &[("max-client-cnxns", "3")]).unwrap().config;
    assert_eq!(config.storage.data_dir, Path::new("/file"));
    assert_eq!(config.session.tick, Duration::from_millis(1500));
    assert_eq!(config.limits.connections_per_address, Some(3));
}

#[test]
fn variables_of_the_container_image() {
    let environment = [
        ("ZOO_MY_ID", "7"),
        ("ZOO_SERVERS", "server.7=localhost:2888:3888;2185"),
        ("ZOO_4LW_COMMANDS_WHITELIST", "ruok, mntr"),
        (
            "ZOO_CFG_EXTRA",
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider skipACL=yes",
        ),
        ("JVMFLAGS", "-Xmx512m -Dzookeeper.snapCount=5000 -Djute.maxbuffer=4194304"),
        ("ZOO_ADMINSERVER_ENABLED", "false"),
        ("ZOO_AUTOPURGE_PURGEINTERVAL", "0"),
        ("ZOO_SPEED", "fast"),
        ("ROOKERY_MEMORY_LIMIT", "64MiB"),
        ("PATH", "/bin"),
    ];
    let loaded = sources(None, &environment, &[]).load().unwrap();
    warned(&loaded, "-Xmx512m is for a Java virtual machine");
    warned(&loaded, "ZOO_SPEED is not known");
    warned(&loaded, "skipACL=yes");
    warned(&loaded, "never deleted");
    let config = loaded.config;
    assert_eq!(config.server_id, 7);
    assert_eq!(config.listen.client, address("[::]:2185"));
    assert_eq!(config.four_letter, Whitelist::Only(vec!["ruok".to_owned(), "mntr".to_owned()]));
    assert_eq!(config.metrics, address("[::]:7000"));
    assert_eq!(config.storage.snap_count, 5000);
    assert_eq!(config.limits.frame_bytes_max, 4_194_304);
    assert_eq!(config.limits.memory_bytes_max, 64 << 20);
    assert_eq!(config.admin, None);
    assert_eq!(config.storage.retain_snapshots, None);
    assert!(config.auth.skip_acl);
}

#[test]
fn services_of_kubernetes_are_no_settings() {
    let environment = [
        ("ZOO_PORT", "tcp://10.0.0.1:2181"),
        ("ZOO_PORT_2181_TCP_ADDR", "10.0.0.1"),
        ("ZOO_SERVICE_HOST", "10.0.0.1"),
        ("ROOKERY_SERVICE_PORT", "2181"),
    ];
    let loaded = sources(None, &environment, &[]).load().unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.listen.client, address("127.0.0.1:2181"));
}

#[test]
fn unknown_keys_are_answered_with_the_nearest_known_one() {
    let loaded = load_file("clientport=2181\nzookeeper.skipAcl=yes\nwhatever.this.is=1\n").unwrap();
    warned(&loaded, "did you mean clientPort?");
    warned(&loaded, "did you mean skipACL?");
    warned(&loaded, "whatever.this.is");
    refused(&[("clientPrt", "1")], &["--clientPrt is not known", "did you mean clientPort?"]);
}

#[test]
fn every_known_key_is_honoured_or_answered() {
    for key in KEYS {
        let name = key.name.replace('*', "x");
        let loaded = match load_file(&format!("{name}=\n")) {
            Ok(loaded) => loaded,
            // Patterns with a meaning complain about the x.
            Err(error) => {
                assert!(error.to_string().contains(&name), "{name}: {error}");
                continue;
            }
        };
        let answered = loaded.warnings.iter().any(|warning| warning.starts_with(&format!("{name} (")));
        let silent = matches!(key.effect, Effect::Honoured) || matches!(key.name, "initLimit" | "syncLimit");
        assert_eq!(answered, !silent, "{name}: {:?}", loaded.warnings);
    }
}

#[test]
fn wrong_values_stop_the_start_and_name_what_is_allowed() {
    refused(&[("tickTime", "0")], &["tickTime=0 (command line)", "between 1 and 3600000"]);
    refused(&[("clientPort", "70000")], &["clientPort=70000", "between 0 and 65535"]);
    refused(&[("clientPort", "0")], &["no client could connect"]);
    refused(&[("maxClientCnxns", "many")], &["maxClientCnxns=many", "whole number"]);
    refused(&[("forceSync", "perhaps")], &["forceSync=perhaps", "true or false"]);
    refused(&[("clientPortAddress", "no such host")], &["clientPortAddress", "resolves"]);
    refused(
        &[("minSessionTimeout", "50000")],
        &["minSessionTimeout=50000", "must not exceed the longest (40000 ms)"],
    );
    refused(&[("jute.maxbuffer", "100")], &["jute.maxbuffer=100", "between 1024 and"]);
    refused(&[("rookery.memoryLimit", "1MiB")], &["at least 16 MiB"]);
    refused(&[("rookery.log", "loud")], &["rookery.log=loud", "not a level"]);
    refused(&[("admin.forceHttps", "true")], &["admin.forceHttps=true", "only false"]);
    refused(&[("admin.commandURL", "commands")], &["/commands"]);
    refused(
        &[("DigestAuthenticationProvider.digestAlg", "SHA3-256")],
        &["SHA3-256", "SHA1 or SHA-256 or SHA-512"],
    );
    refused(&[("authProvider.1", "com.example.Mine")], &["authProvider.1=com.example.Mine", "built in are"]);
    refused(&[("metricsProvider.className", "com.example.Mine")], &["PrometheusMetricsProvider"]);
    refused(&[("enforce.auth.enabled", "true")], &["enforce.auth.schemes", "digest, x509, sasl"]);
    refused(&[("sessionRequireClientSASLAuth", "true")], &["java.security.auth.login.config"]);
    refused(
        &[("clientPort", "2181"), ("secureClientPort", "2181")],
        &["clientPort and secureClientPort both name port 2181"],
    );
    refused(&[("peerType", "observer")], &["peerType=observer", "participant"]);
    refused(&[("tickTime", "x"), ("snapCount", "y")], &["tickTime=x", "snapCount=y"]);
    let error = load_file("tickTime=2000\nsnapCount=1\n").unwrap_err().to_string();
    assert!(error.contains("zoo.cfg:2): must be a whole number between 2 and"), "{error}");
}

#[test]
fn secrets_are_not_shown() {
    refused(
        &[("DigestAuthenticationProvider.superDigest", "geheim")],
        &["superDigest=***", "exactly one colon"],
    );
    let loaded =
        sources(None, &[], &[("DigestAuthenticationProvider.superDigest", "super:geheim")]).load().unwrap();
    assert_eq!(loaded.config.auth.digest.as_ref().unwrap().super_digest, Some(Secret::new("super:geheim")));
    assert!(!format!("{:?}", loaded.config).contains("geheim"));
}

#[test]
fn members_of_an_ensemble() {
    let two = "dataDir=DIR\nserver.1=a:2888:3888\nserver.2=b:2888:3888\n";
    let error = load_file(two).unwrap_err().to_string();
    assert!(error.contains("ensembles are not supported yet"), "{error}");
    let error = load_file("server.1=a:2888\n").unwrap_err().to_string();
    assert!(error.contains("server.1=a:2888 ("), "{error}");
    let one = load_file("dataDir=DIR\nserver.4=a:2888:3888;127.0.0.1:2199\n").unwrap().config;
    assert_eq!((one.server_id, one.listen.client), (4, address("127.0.0.1:2199")));
    let error = load_file("clientPort=2181\nserver.4=a:2888:3888;2199\n").unwrap_err().to_string();
    assert!(error.contains("client port 2199"), "{error}");
}

#[test]
fn membership_file_and_myid() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zoo.cfg");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("zoo.cfg", &format!("dataDir={}\ndynamicConfigFile=zoo.cfg.dynamic\n", dir.path().display()));
    write("zoo.cfg.dynamic", "server.3=a:2888:3888:participant;[::1]:2183\nversion=100000000\n");
    write("myid", "3\n");
    let loaded = sources(Some(&file), &[], &[]).load().unwrap();
    assert_eq!((loaded.config.server_id, loaded.config.listen.client), (3, address("[::1]:2183")));

    write("myid", "4\n");
    let error = sources(Some(&file), &[], &[]).load().unwrap_err().to_string();
    assert!(error.contains("there is no server.4"), "{error}");
    write("myid", "four");
    let error = sources(Some(&file), &[], &[]).load().unwrap_err().to_string();
    assert!(error.contains("myid=four"), "{error}");
    write("myid", "3");
    write("zoo.cfg.dynamic", "tickTime=1\n");
    let error = sources(Some(&file), &[], &[]).load().unwrap_err().to_string();
    assert!(error.contains("only server.N"), "{error}");
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let error = sources(Some(Path::new("no/such.cfg")), &[], &[]).load().unwrap_err().to_string();
    assert!(error.contains("cannot read no/such.cfg"), "{error}");
}

#[test]
fn tls_needs_its_files() {
    refused(&[("secureClientPort", "2281")], &["ssl.keyStore.location is not set"]);
    let store = ("ssl.keyStore.location", "server.pem");
    refused(
        &[("secureClientPort", "2281"), store],
        &["ssl.trustStore.location is not set", "ssl.clientAuth=none"],
    );
    refused(
        &[("ssl.keyStore.location", "server.jks")],
        &["ssl.keyStore.location=server.jks", "only PEM", "keytool"],
    );
    refused(
        &[("ssl.keyStore.location", "server"), ("ssl.keyStore.type", "PKCS12")],
        &["ssl.keyStore.type=PKCS12", "only PEM"],
    );
    refused(&[("ssl.enabledProtocols", "TLSv1.1,TLSv1.2")], &["TLSv1.3, TLSv1.2 or both"]);
    refused(
        &[("ssl.ciphersuites", "TLS_RSA_WITH_RC4_128_MD5")],
        &["TLS_RSA_WITH_RC4_128_MD5 not supported", "TLS_AES_128_GCM_SHA256"],
    );
    refused(&[("ssl.crl", "true")], &["ssl.crl=true", "only false"]);
    let tls_only = config(&[
        ("secureClientPort", "2281"),
        store,
        ("ssl.clientAuth", "none"),
        ("ssl.enabledProtocols", "TLSv1.2"),
    ]);
    assert_eq!((tls_only.listen.client, tls_only.listen.secure), (None, address("[::]:2281")));
    let tls = tls_only.tls.unwrap();
    assert_eq!((tls.tls12, tls.tls13, tls.client_auth), (true, false, ClientAuth::None));
    let unified = config(&[("client.portUnification", "true"), store, ("ssl.trustStore.location", "ca.pem")]);
    assert_eq!(unified.listen.client, address("127.0.0.1:2181"));
    assert_eq!(unified.tls.unwrap().client_auth, ClientAuth::Need);
}

#[test]
fn sasl_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jaas.conf");
    std::fs::write(
        &path,
        "Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_bob=\"pw\"; };",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let key = "java.security.auth.login.config";
    let sasl = config(&[(key, path), ("superUser", "bob"), ("superUser.2", "eve")]).auth.sasl.unwrap();
    assert_eq!(sasl.users["bob"].reveal(), "pw");
    assert_eq!(sasl.super_users, ["bob", "eve", "super"]);
    refused(&[(key, "/no/such/file")], &["cannot be read"]);
    refused(&[(key, path), ("sasl.serverconfig", "Other")], &["no section \"Other\""]);
}

#[test]
fn numbers_that_mean_off() {
    let config = config(&[
        ("maxClientCnxns", "0"),
        ("snapSizeLimitInKb", "0"),
        ("txnLogSizeLimitInKb", "-1"),
        ("rookery.slowOperationMs", "0"),
        ("minSessionTimeout", "-1"),
        ("jute.maxbuffer", "0x200000"),
        ("rookery.memoryLimit", "2 GiB"),
    ]);
    assert_eq!(config.limits.connections_per_address, None);
    assert_eq!(config.storage.snap_size_limit_bytes, None);
    assert_eq!(config.storage.segment_bytes_max, None);
    assert_eq!(config.limits.slow_operation, None);
    assert_eq!(config.session.timeout_min, Duration::from_millis(4000));
    assert_eq!(config.limits.frame_bytes_max, 2 << 20);
    assert_eq!(config.limits.memory_bytes_max, 2 << 30);
}

#[test]
fn four_letter_words() {
    let whitelist = |words: &str| config(&[("4lw.commands.whitelist", words)]).four_letter;
    assert_eq!(whitelist("*"), Whitelist::All);
    assert!(whitelist("ruok,mntr").allows("mntr"));
    assert!(!whitelist("ruok,mntr").allows("srvr"));
    assert!(config(&[("readonlymode.enabled", "true")]).four_letter.allows("isro"));
    let loaded = sources(None, &[], &[("4lw.commands.whitelist", "ruok,quit")]).load().unwrap();
    warned(&loaded, "no command \"quit\"");
}

#[test]
fn audit_goes_where_logs_go() {
    let audit = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let mut flags = flags.to_vec();
        flags.push(("audit.enable", "true"));
        sources(None, environment, &flags).load().unwrap().config.audit
    };
    assert_eq!(audit(&[], &[]), Some(AuditTarget::Stdout));
    assert_eq!(
        audit(&[("ZOO_LOG_DIR", "/logs")], &[]),
        Some(AuditTarget::File("/logs/zookeeper_audit.log".into()))
    );
    assert_eq!(audit(&[], &[("rookery.audit.file", "a.log")]), Some(AuditTarget::File("a.log".into())));
    assert_eq!(config(&[]).audit, None);
}

#[test]
fn every_key_is_documented() {
    let text = include_str!("../../../docs/operations.md");
    for key in KEYS {
        let name = match key.name {
            "server.*" | "authProvider.*" => key.name.replace('*', "N"),
            name => name.to_owned(),
        };
        assert!(text.contains(&format!("`{name}`")), "docs/operations.md does not know {name}");
        if key.effect == Effect::Honoured {
            assert!(text.contains(key.help), "docs/operations.md: {name} is now \"{}\"", key.help);
        }
    }
}

proptest! {
    #[test]
    fn no_value_panics(index in 0..KEYS.len(), value in "[-0-9a-zA-Z*%:;,./\\[\\] ]{0,20}") {
        // Names are looked up; that must not leave this machine.
        prop_assume!(!KEYS[index].name.contains("ddress") && !KEYS[index].name.ends_with("Host"));
        let _ = sources(None, &[], &[(&KEYS[index].name.replace('*', "1"), &value)]).load();
    }
}
