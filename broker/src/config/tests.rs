use std::collections::BTreeMap;

use client::wire::kafka::compression::Codec;

use super::*;
use crate::log::Compression;

fn load(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> (Option<Config>, Problems) {
    let own = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    Config::load(&Sources { file: None, environment: own(environment), flags: own(flags) })
}

fn errors(flags: &[(&str, &str)]) -> Vec<String> {
    let mut all = vec![("zookeeper.connect", "localhost:2181")];
    all.extend_from_slice(flags);
    load(&all, &[]).1.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn the_quick_file_of_kafka_is_understood() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("server.properties");
    let text = "broker.id=0\nnum.network.threads=3\nsocket.send.buffer.bytes=102400\nlog.dirs=/a,/b\nnum.partitions=1\n\
        offsets.topic.replication.factor=1\nlog.retention.hours=168\nzookeeper.connect=localhost:2181/kafka\n\
        zookeeper.connection.timeout.ms=18000\ngroup.initial.rebalance.delay.ms=0\n";
    std::fs::write(&path, text).expect("written");
    let (config, problems) = Config::load(&Sources { file: Some(path), ..Sources::default() });
    let config = config.expect("good");
    assert_eq!(config.broker_id, Some(0));
    assert_eq!(config.log_dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(config.coordinator.connect, "localhost:2181/kafka");
    assert_eq!(config.groups.settings.initial_rebalance_delay_ms, 0);
    assert_eq!(config.listeners.bind[0].port, 9092);
    assert_eq!(problems.warnings.len(), 2, "{:?}", problems.warnings);
}

#[test]
fn old_images_name_a_host() {
    let environment = [
        ("KAFKA_ADVERTISED_HOST_NAME", "192.168.99.100"),
        ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper:2181"),
        ("KAFKA_CREATE_TOPICS", "a:1:1,b:3:1:compact"),
    ];
    let config = load(&[], &environment).0.expect("good");
    let advertised = &config.listeners.advertised[0];
    assert_eq!((advertised.host.as_str(), advertised.port), ("192.168.99.100", 9092));
    assert_eq!(config.listeners.bind[0].host, "0.0.0.0");
    assert_eq!(config.create_topics.as_deref(), Some("a:1:1,b:3:1:compact"));
}

#[test]
fn several_listeners_are_told_apart() {
    let flags = [
        ("zookeeper.connect", "localhost:2181"),
        ("listeners", "INTERNAL://:19092,EXTERNAL://0.0.0.0:9092"),
        ("advertised.listeners", "INTERNAL://kafka:19092,EXTERNAL://localhost:9092"),
        ("listener.security.protocol.map", "INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT"),
        ("inter.broker.listener.name", "INTERNAL"),
    ];
    let listeners = load(&flags, &[]).0.expect("good").listeners;
    assert_eq!(listeners.between_brokers, "INTERNAL");
    assert_eq!(listeners.advertised[1].host, "localhost");
}

#[test]
fn what_is_wrong_is_said_with_what_is_allowed() {
    assert_eq!(
        errors(&[("num.partitions", "none")]),
        ["num.partitions=none: a whole number from 1 to 100000 is allowed (command line)"]
    );
    assert_eq!(
        errors(&[("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")])[0],
        "advertised.listeners=PLAINTEXT://0.0.0.0:9092: 0.0.0.0 is no address that a client could connect to (command line)"
    );
    for listeners in ["FOO://:9092", "PLAINTEXT://:9091,FOO://:9092", "SASL_PLAINTEXT://:9092"] {
        let name = listeners.rsplit(',').next().and_then(|last| last.split_once(':')).expect("a name").0;
        let flags = [("listeners", listeners), ("inter.broker.listener.name", name)];
        let what = format!(
            "listeners={listeners}: {name} has no protocol in listener.security.protocol.map that this release speaks \
             (PLAINTEXT, SSL) (command line)"
        );
        assert_eq!(errors(&flags[..1]), [&*what]);
        assert_eq!(errors(&flags), [&*what]);
        let advertised = ("advertised.listeners", &*format!("{name}://localhost:9092"));
        assert_eq!(errors(&[flags[0], flags[1], advertised]), [&*what]);
    }
    assert_eq!(
        errors(&[("listeners", "nowhere")]),
        ["listeners=nowhere: nowhere is not NAME://host:port (command line)"]
    );
    let other = [("listeners", "PLAINTEXT://:9092"), ("advertised.listeners", "SSL://localhost:9092")];
    assert_eq!(
        errors(&other)[0],
        "advertised.listeners=SSL://localhost:9092: SSL is not one of the listeners (command line)"
    );
    assert!(errors(&[("log.cleanup.policy", "burn")])[0].contains("delete, compact, or both"));
    let (none, problems) = load(&[], &[]);
    assert!(none.is_none());
    assert!(problems.errors[0].text.starts_with("zookeeper.connect="));
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let (_, problems) = load(&[("zookeeper.connect", "localhost:2181"), ("num.partition", "3")], &[]);
    assert_eq!(problems.warnings[0].text, "num.partition is not known; did you mean num.partitions?");
}

#[test]
fn topics_override_what_the_broker_says() {
    let flags =
        [("zookeeper.connect", "localhost:2181"), ("log.retention.hours", "1"), ("log.roll.hours", "2")];
    let values = load(&flags, &[]).0.expect("good").values;
    let none = topic_settings(&BTreeMap::new(), &values).expect("good");
    assert_eq!((none.log.retention_ms, none.log.segment_ms), (Some(3_600_000), 7_200_000));
    let pairs = [
        ("retention.ms", "-1"),
        ("cleanup.policy", "compact,delete"),
        ("compression.type", "zstd"),
        ("compression.zstd.level", "19"),
    ];
    let overrides = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let over = topic_settings(&overrides, &values).expect("good");
    assert_eq!(over.log.retention_ms, None);
    assert!(over.log.cleanup_policy.compact && over.log.cleanup_policy.delete);
    assert_eq!(over.log.compression_type, Compression::Fixed(Codec::Zstd, Some(19)));
    let bad = BTreeMap::from([("retention.ms".to_owned(), "soon".to_owned())]);
    assert!(topic_settings(&bad, &values).unwrap_err().contains("a whole number"));
    let unknown = BTreeMap::from([("flavour".to_owned(), "sweet".to_owned())]);
    assert_eq!(topic_settings(&unknown, &values).unwrap_err(), "flavour is not a setting of topics");
}

#[test]
fn settings_of_topics_that_change_nothing_are_checked_all_the_same() {
    let values = load(&[("zookeeper.connect", "localhost:2181")], &[]).0.expect("good").values;
    let check = |name: &str, value: &str| {
        new_topic_settings(&BTreeMap::from([(name.to_owned(), value.to_owned())]), &values).map(|_| ())
    };
    let good = [
        ("cleanup.policy", ""),
        ("preallocate", "TRUE"),
        ("remote.storage.enable", "false"),
        ("local.retention.ms", "-2"),
        ("leader.replication.throttled.replicas", "0:1,12:3"),
        ("follower.replication.throttled.replicas", "*"),
        ("message.format.version", "0.11.0"),
        ("message.format.version", "2.8-IV1"),
        ("message.format.version", "2.5.1"),
        ("retention.bytes", "-7"),
        ("retention.ms", "0"),
    ];
    for (name, value) in good {
        assert_eq!(check(name, value), Ok(()));
    }
    let bad = [
        ("cleanup.policy", "delete,keep"),
        ("preallocate", "yes"),
        ("remote.storage.enable", "true"),
        ("message.downconversion.enable", "1"),
        ("local.retention.bytes", "-3"),
        ("leader.replication.throttled.replicas", "0:1,all"),
        ("follower.replication.throttled.replicas", "0:1:2"),
        ("message.format.version", "0.9"),
        ("message.format.version", "3.10"),
    ];
    for (name, value) in bad {
        let why = check(name, value).expect_err(name);
        assert!(why.starts_with(&format!("{name}={value}")), "{why}");
    }
    let lags = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")];
    let lags = lags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let why = new_topic_settings(&lags, &values).map(|_| ()).expect_err("they contradict each other");
    assert!(topic_settings(&lags, &values).is_ok(), "who has them already keeps the others, too");
    assert_eq!(why, "min.compaction.lag.ms=10 is more than max.compaction.lag.ms=5");
    let at_once = [("zookeeper.connect", "localhost:2181"), ("log.retention.minutes", "0")];
    assert!(load(&at_once, &[]).0.is_none(), "no topic would keep anything");
}

#[test]
fn the_older_limit_of_timestamps_holds_where_no_newer_one_is_set() {
    let limits = |flags: &[(&str, &str)], topic: &[(&str, &str)]| {
        let flags = [&[("zookeeper.connect", "localhost:2181")], flags].concat();
        let values = load(&flags, &[]).0.expect("good").values;
        let overrides = topic.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let log = topic_settings(&overrides, &values).expect("good").log;
        (log.message_timestamp_before_max_ms, log.message_timestamp_after_max_ms)
    };
    let (both, before, after) = (
        "message.timestamp.difference.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.after.max.ms",
    );
    const NONE: i64 = i64::MAX;
    assert_eq!(limits(&[], &[]), (NONE, NONE));
    assert_eq!(limits(&[], &[(both, "5")]), (5, 5));
    assert_eq!(limits(&[], &[(both, "5"), (before, "7")]), (7, 5));
    assert_eq!(limits(&[], &[(both, "5"), (after, "7")]), (5, 7));
    assert_eq!(limits(&[], &[(both, "5"), (after, "9223372036854775807")]), (5, 5), "as if it were not set");
    let broker = [("log.message.timestamp.difference.max.ms", "3")];
    assert_eq!(limits(&broker, &[]), (3, 3));
    assert_eq!(limits(&broker, &[(both, "5"), (after, "7")]), (3, 7), "the broker's limits are set");
    assert_eq!(limits(&[("log.message.timestamp.after.max.ms", "3")], &[(both, "5")]), (5, 3));
    let bad = BTreeMap::from([(both.to_owned(), "-1".to_owned())]);
    let values = load(&[("zookeeper.connect", "localhost:2181")], &[]).0.expect("good").values;
    assert!(topic_settings(&bad, &values).unwrap_err().starts_with(both));
}
