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
    assert_eq!(loaded.config.ensemble, None);
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
        let silent = matches!(key.effect, Effect::Honoured);
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
    refused(&[("peerType", "leader")], &["peerType=leader", "participant or observer"]);
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

const THREE: &str = "dataDir=DIR\nserver.1=a:2888:3888;2181\nserver.10=c:2888:3888:participant;2181\n\
    server.2=b:2888:3888;127.0.0.1:2199\nserver.11=d:2888:3888:observer\n";

/// Loads a file as member `id`.
fn load_as(id: &str, text: &str) -> Result<Loaded, ConfigError> {
    load_with(text, &[("ZOO_MY_ID", id)], &[])
}

#[track_caller]
fn refused_as(id: &str, text: &str, parts: &[&str]) {
    let error = load_as(id, text).expect_err("must not start").to_string();
    for part in parts {
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn members_of_an_ensemble() {
    let loaded = load_as("2", THREE).unwrap();
    warned(&loaded, "members are NOT AUTHENTICATED");
    assert_eq!(loaded.config.server_id, 2);
    assert_eq!(loaded.config.listen.client, address("127.0.0.1:2199"));
    assert!(loaded.config.reconfig_enabled);
    let ensemble = loaded.config.ensemble.unwrap();
    let ids: Vec<_> = ensemble.membership.members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [1, 2, 10, 11]);
    assert_eq!(ensemble.membership.voters().count(), 3);
    assert_eq!((ensemble.membership.weight(1), ensemble.membership.group(1)), (1, None));
    assert_eq!(ensemble.init_limit, Duration::from_secs(20));
    assert_eq!(ensemble.sync_limit, Duration::from_secs(10));
    assert_eq!(
        (ensemble.ping, ensemble.leader_silence),
        (Duration::from_millis(150), Duration::from_millis(1500))
    );
    assert_eq!((ensemble.recent_entries_max, ensemble.log_permille), (500, Some(330)));
    assert!(ensemble.members_file.is_some_and(|file| file.ends_with("zoo.cfg")));
    assert!(ensemble.leader_serves);
    let links = ensemble.links;
    assert_eq!((links.listen_everywhere, links.bind_attempts_max), (false, Some(3)));
    assert_eq!(links.handshake_timeout, Duration::from_secs(5));
    assert!(!links.is_authenticated());

    let never = load_as("2", &format!("{THREE}snapshotSizeFactor=-1\n")).unwrap();
    assert_eq!(never.config.ensemble.unwrap().log_permille, None);
    refused_as("2", &format!("{THREE}snapshotSizeFactor=much\n"), &["snapshotSizeFactor=much", "0.33"]);
    // Whoever sets the variable says it again at the next start, whatever is in the files by then.
    let told = [("ZOO_MY_ID", "1"), ("ZOO_SERVERS", "server.1=a:1:2;2181 server.2=b:1:2;2181")];
    let told = load_with("dataDir=DIR\nversion=100000007\n", &told, &[]).unwrap().config.ensemble.unwrap();
    assert_eq!((told.members_file, told.membership.version), (None, 0));

    let observer = load_as("11", &format!("{THREE}clientPort=2182\npeerType=participant\n")).unwrap();
    assert_eq!(observer.config.listen.client, address("[::]:2182"));
    warned(&observer, "peerType=participant changes nothing");
    let error = load_as("1", &format!("{THREE}clientPort=2185\n")).unwrap_err().to_string();
    assert!(error.contains("clientPort=2185") && error.contains("client port 2181"), "{error}");
}

#[test]
fn one_line_runs_alone_unless_that_is_switched_off() {
    let one = load_file("dataDir=DIR\nserver.4=a:2888:3888;127.0.0.1:2199\n").unwrap().config;
    assert_eq!((one.server_id, one.listen.client), (4, address("127.0.0.1:2199")));
    assert_eq!((one.ensemble, one.reconfig_enabled), (None, false));
    let error = load_file("clientPort=2181\nserver.4=a:2888:3888;2199\n").unwrap_err().to_string();
    assert!(error.contains("client port 2199"), "{error}");

    let loaded =
        load_file("dataDir=DIR\nstandaloneEnabled=false\nserver.4=localhost:2888:3888;2199\n").unwrap();
    warned(&loaded, "1 voting member: no server may fail");
    assert!(
        !loaded.warnings.iter().any(|warning| warning.contains("AUTHENTICATED")),
        "{:?}",
        loaded.warnings
    );
    assert_eq!(loaded.config.ensemble.unwrap().my_id, 4);
    refused(&[("standaloneEnabled", "false")], &["there is no server.N line"]);
    refused_as("1", "server.1=a:1:2\nserver.2=b:1:2:observer\n", &["observers with a single participant"]);
    refused_as("1", "server.1=a:1:2:observer\n", &["at least one member must be a participant"]);
    let observing = load_file("dataDir=DIR\npeerType=observer\n").unwrap();
    warned(&observing, "peerType=observer changes nothing");
}

#[test]
fn what_makes_no_ensemble_is_refused() {
    let two = "dataDir=DIR\nserver.1=a:2888:3888\nserver.2=b:2888:3888\n";
    let error = load_file(two).unwrap_err().to_string();
    assert!(error.contains("which member is this server?") && error.contains("myid"), "{error}");
    refused_as("3", two, &["myid=3 (variable ZOO_MY_ID)", "there is no server.3, only server.1, server.2"]);
    refused_as("300", two, &["myid=300", "between 0 and 254"]);
    warned(&load_as("1", two).unwrap(), "2 voting members: no server may fail");
    let four = format!("{two}server.3=c:1:2\nserver.4=d:1:2\n");
    warned(&load_as("1", &four).unwrap(), "4 voting members survive no more failures than 3");
    refused_as("1", "server.1=a:2888\n", &["server.1=a:2888 (", "host:quorumPort:electionPort"]);
    refused_as("1", "server.255=a:1:2\n", &["server.255=a:1:2", "between 0 and 254"]);
    refused_as("1", "server.1=a:0:2\n", &["\"0\" is not a port"]);
    refused_as("1", "server.1=a b:1:2\n", &["\"a b\" is neither a host name nor an address"]);
    refused_as("1", "server.1=a:1:2\nserver.01=b:1:2\n", &["two server.N lines name member 1"]);
    refused_as("1", "server.1=A:1:2\nserver.2=a:2:3\n", &["a:2: server.1 and server.2 both name it"]);
    refused_as("1", "server.1=a:1:1\nserver.2=b:2:3\n", &["a:1: server.1 names it twice"]);
    refused_as(
        "1",
        "server.1=a:1:2\nserver.2=0.0.0.0:1:2\n",
        &["server.2: 0.0.0.0 is no address to connect to"],
    );
    refused_as(
        "1",
        &format!("{two}clientPort=3888\n"),
        &["clientPort and the own server.N line both name port 3888"],
    );
    refused_as("1", &format!("{two}electionAlg=1\n"), &["electionAlg=1", "must be 3"]);
    refused_as("1", &format!("{two}initLimit=0\n"), &["initLimit=0", "between 1 and"]);
    refused_as(
        "1",
        &format!("{two}rookery.pingMs=600\n"),
        &["rookery.leaderSilenceMs= (not set)", "three times rookery.pingMs"],
    );
}

#[test]
fn groups_and_weights() {
    let nine: String = (1..=6).map(|id| format!("server.{id}=h{id}:1:2\n")).collect();
    let observer = "server.7=h7:1:2:observer\n";
    let groups = "group.1=1:2:3\ngroup.2=4:5:6\n";
    let grouped = format!("dataDir=DIR\n{nine}{observer}{groups}weight.6=0\nweight.1=3\n");
    let membership = load_as("1", &grouped).unwrap().config.ensemble.unwrap().membership;
    assert_eq!((membership.group(1), membership.group(6), membership.group(7)), (Some(1), Some(2), None));
    assert_eq!((membership.weight(1), membership.weight(2), membership.weight(6)), (3, 1, 0));
    let check = |lines: &str, part: &str| refused_as("1", &format!("{nine}{observer}{lines}"), &[part]);
    check("group.1=1:2:3\n", "server.4 is in no group");
    check("weight.1=2\n", "server.1 is in no group");
    check(&format!("{groups}group.3=1\n"), "server.1 is in another group already");
    check(&format!("{groups}group.3=7\n"), "server.7 is an observer");
    check(&format!("{groups}group.3=9\n"), "there is no server.9");
    check(&format!("{groups}group.x=1\n"), "such as group.1=1:2:3");
    check("group.1=1,2,3\n", "such as group.1=1:2:3");
    check(&format!("{groups}weight.8=1\n"), "there is no server.8");
    check(&format!("{groups}weight.1=-1\n"), "weight.1=-1");
    let nothing: String = (1..=6).map(|id| format!("weight.{id}=0\n")).collect();
    check(&format!("{groups}{nothing}"), "there could be no quorum");
}

#[test]
fn the_container_image_forms_an_ensemble() {
    let environment = [
        ("ZOO_MY_ID", "2"),
        (
            "ZOO_SERVERS",
            "server.1=zoo1:2888:3888;2181 server.2=zoo2:2888:3888;2181 server.3=zoo3:2888:3888;2181",
        ),
        ("ZOO_INIT_LIMIT", "5"),
        ("ZOO_SYNC_LIMIT", "2"),
        ("ZOO_STANDALONE_ENABLED", "true"),
        ("ROOKERY_PEER_SECRET", "correct horse battery staple"),
    ];
    let loaded = sources(None, &environment, &[]).load().unwrap();
    let config = loaded.config;
    assert_eq!(config.listen.client, address("[::]:2181"));
    let ensemble = config.ensemble.as_ref().unwrap();
    assert_eq!(
        (ensemble.my_id, ensemble.init_limit, ensemble.sync_limit),
        (2, Duration::from_secs(10), Duration::from_secs(4))
    );
    assert!(ensemble.links.is_authenticated());
    assert!(!format!("{config:?}").contains("horse"));
    assert!(config.shown.contains(&("rookery.peerSecret".to_owned(), "***".to_owned())));
}

#[test]
fn the_list_of_the_container_replaces_that_of_the_file() {
    let text = "dataDir=DIR\nserver.9=localhost:2888:3888\n";
    let environment =
        [("ZOO_MY_ID", "1"), ("ZOO_SERVERS", "server.1=zoo1:2888:3888 server.2=zoo2:2888:3888")];
    let ensemble = load_with(text, &environment, &[]).unwrap().config.ensemble.unwrap();
    let ids: Vec<_> = ensemble.membership.members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn which_member_is_this() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let load = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let mut all =
            vec![("dataDir", data), ("server.1", "a:1:2"), ("server.2", "b:1:2"), ("server.3", "c:1:2")];
        all.extend(flags);
        sources(None, environment, &all).load()
    };
    assert_eq!(load(&[], &[("myid", "3")]).unwrap().config.server_id, 3);
    assert_eq!(load(&[("ZOO_MY_ID", "2")], &[]).unwrap().config.server_id, 2);
    std::fs::write(dir.path().join("myid"), "1\n").unwrap();
    let loaded = load(&[("ZOO_MY_ID", "2")], &[]).unwrap();
    assert_eq!(loaded.config.server_id, 1);
    warned(&loaded, "myid=2 (variable ZOO_MY_ID) changes nothing");
}

#[test]
fn what_members_prove_to_each_other() {
    let three = "dataDir=DIR\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let secret =
        |lines: &str| load_as("1", &format!("{three}{lines}")).unwrap().config.ensemble.unwrap().links.secret;
    let file = write("secret", "0123456789abcdef0123456789abcdef\n");
    assert_eq!(
        secret(&format!("rookery.peerSecretFile={file}\n")).unwrap().reveal(),
        "0123456789abcdef0123456789abcdef"
    );
    let short = write("short", "hush");
    let check = |lines: &str, parts: &[&str]| refused_as("1", &format!("{three}{lines}"), parts);
    check(&format!("rookery.peerSecretFile={short}\n"), &["at least 16 characters", "openssl rand"]);
    check("rookery.peerSecretFile=/no/such\n", &["rookery.peerSecretFile=/no/such", "cannot be read"]);
    check("rookery.peerSecret=tooshort\n", &["rookery.peerSecret=***", "at least 16"]);
    check(
        &format!("rookery.peerSecretFile={file}\nrookery.peerSecret={}\n", "x".repeat(16)),
        &["one of them is enough"],
    );
    refused(
        &[("rookery.peerSecret", "correct horse battery")],
        &["no place for a secret", "ROOKERY_PEER_SECRET"],
    );

    let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    let jaas = write(
        "jaas.conf",
        &format!(
            "QuorumServer {{ {module} user_zk=\"pw\"; }}; QuorumLearner {{ {module} username=\"zk\" password=\"pw\"; }};\
             Other {{ {module} username=\"zk\" password=\"else\"; }};"
        ),
    );
    let enabled = format!("quorum.auth.enableSasl=true\njava.security.auth.login.config={jaas}\n");
    assert_eq!(secret(&enabled).unwrap().reveal(), "zk:pw");
    check("quorum.auth.enableSasl=true\n", &["java.security.auth.login.config"]);
    check("quorum.auth.learnerRequireSasl=true\n", &["needs quorum.auth.enableSasl=true"]);
    check(
        &format!("{enabled}quorum.auth.serverRequireSasl=true\n"),
        &["needs quorum.auth.learnerRequireSasl"],
    );
    check(
        &format!("{enabled}quorum.auth.learner.saslLoginContext=Other\n"),
        &["no account of \"zk\" with the password"],
    );
}

#[test]
fn tls_between_members() {
    let three = "dataDir=DIR\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
    let stores = "ssl.quorum.keyStore.location=me.pem\nssl.quorum.trustStore.location=ca.pem\n";
    let tls = |lines: &str| {
        load_as("1", &format!("{three}{stores}{lines}")).unwrap().config.ensemble.unwrap().links
    };
    assert_eq!(tls("").tls, None);
    let links = tls("sslQuorum=true\nsslQuorumReloadCertFiles=true\n");
    assert!(links.is_authenticated());
    let config = links.tls.unwrap();
    assert_eq!((config.dial, config.accept_plain), (true, false));
    assert_eq!((config.verify_acceptor_host, config.verify_dialer_host), (true, true));
    assert_eq!((config.tls.client_auth, config.tls.reload), (ClientAuth::Need, true));
    // Changing over: first all accept both, then all dial with TLS, then nobody accepts anything else.
    let first = tls("portUnification=true\n");
    assert!(!first.is_authenticated());
    let first = first.tls.unwrap();
    assert_eq!((first.dial, first.accept_plain), (false, true));
    let second = tls("portUnification=true\nsslQuorum=true\n");
    assert!(!second.is_authenticated(), "who comes without TLS is let in");
    let unverified = tls("sslQuorum=true\nssl.quorum.hostnameVerification=false\n").tls.unwrap();
    assert_eq!((unverified.verify_acceptor_host, unverified.verify_dialer_host), (false, false));
    let check = |lines: &str, part: &str| refused_as("1", &format!("{three}{lines}"), &[part]);
    check("sslQuorum=true\n", "needs ssl.quorum.keyStore.location and ssl.quorum.trustStore.location");
    check(&format!("{stores}sslQuorum=true\nssl.quorum.clientAuth=none\n"), "ssl.quorum.clientAuth=none");
    check("ssl.quorum.keyStore.location=a.jks\n", "only PEM");
    check("ssl.quorum.crl=true\n", "ssl.quorum.crl=true");
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
    assert!(error.contains("there is no server.4, only server.3"), "{error}");
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
            "server.*" | "group.*" | "weight.*" | "authProvider.*" => key.name.replace('*', "N"),
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
