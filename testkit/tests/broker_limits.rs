//! What a broker allows its clients, as they feel it.

mod support;
#[path = "support/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use broker::config::UNCLEAN;
use broker::log::LogError;
use broker::server::Running;
use client::wire::kafka::ErrorCode;
use client::wire::kafka::messages::alter_client_quotas as alter;
use client::wire::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use client::wire::kafka::messages::describe_client_quotas::{ComponentData, DescribeClientQuotasRequest};
use client::wire::kafka::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use client::wire::kafka::messages::metadata::MetadataRequest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use support::{connect, start, until};
use tempfile::TempDir;
use testkit::certificates::Authority;
use testkit::process::{Options, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::{Wire, address, batch, start_broker};

type Parts<'a> = &'a [(&'a str, Option<&'a str>)];

async fn alter(wire: &mut Wire, entity: Parts<'_>, key: &str, value: Option<f64>) -> ErrorCode {
    let entity = entity.iter().map(|&(kind, name)| alter::EntityData {
        entity_type: kind.into(),
        entity_name: name.map(Into::into),
    });
    let op = alter::OpData { key: key.into(), value: value.unwrap_or_default(), remove: value.is_none() };
    let entry = alter::EntryData { entity: entity.collect(), ops: vec![op] };
    let request = alter::AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
    wire.ask(&request, 1).await.entries[0].error_code
}

/// Everybody's limits, as `user=u,client-id=c key=value`.
async fn described(wire: &mut Wire) -> Vec<String> {
    let all = DescribeClientQuotasRequest { components: Vec::<ComponentData>::new(), strict: false };
    let entries = wire.ask(&all, 1).await.entries.expect("no error");
    let told = entries.iter().flat_map(|entry| {
        let parts = entry.entity.iter().map(|part| {
            format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("<default>"))
        });
        let entity = parts.collect::<Vec<_>>().join(",");
        entry.values.iter().map(move |value| format!("{entity} {}={}", value.key, value.value))
    });
    told.collect()
}

/// The time that somebody who asks for a small thing has to wait.
async fn pace(wire: &mut Wire) -> Duration {
    let begun = Instant::now();
    wire.ask(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, 9).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_clients_are_kept_told_and_taken_away() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    for (entity, key, value) in [
        (&[("user", Some("a b")), ("client-id", None)][..], "consumer_byte_rate", 1000.0),
        (&[("client-id", Some("test"))][..], "producer_byte_rate", 100.0),
        (&[("ip", Some("127.0.0.9"))][..], "connection_creation_rate", 5.0),
    ] {
        assert_eq!(alter(&mut wire, entity, key, Some(value)).await, ErrorCode::NONE);
    }
    assert_eq!(
        described(&mut wire).await,
        [
            "client-id=test producer_byte_rate=100",
            "user=a b,client-id=<default> consumer_byte_rate=1000",
            "ip=127.0.0.9 connection_creation_rate=5",
        ]
    );
    assert_eq!(
        alter(&mut wire, &[("user", Some(""))], "producer_byte_rate", Some(1.0)).await,
        ErrorCode::INVALID_REQUEST
    );

    // Ten seconds' worth may come at once; what is more must be waited for, also by the next request.
    let value = "x".repeat(1000);
    let waits = async |wire: &mut Wire| {
        wire.produce("t", batch(&[&value])).await;
        pace(wire).await
    };
    until("the limit of producers holds", || async {
        let mut wire = Wire::to(&broker).await;
        waits(&mut wire).await > Duration::from_millis(500)
    })
    .await;
    assert_eq!(
        alter(&mut wire, &[("client-id", Some("test"))], "producer_byte_rate", None).await,
        ErrorCode::NONE
    );
    until("it holds no more", || async {
        let mut wire = Wire::to(&broker).await;
        waits(&mut wire).await < Duration::from_millis(100)
    })
    .await;
    assert_eq!(described(&mut wire).await.len(), 2);
    broker.stop().await;

    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    assert_eq!(described(&mut wire).await.len(), 2, "kept over a restart");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_too_fast_gets_nothing_for_a_while() {
    let Some((broker, mut wire, _home)) = serve(&[]).await else { return };
    let value = "x".repeat(700);
    wire.produce("t", batch(&[&value])).await;
    assert_eq!(
        alter(&mut wire, &[("client-id", None)], "consumer_byte_rate", Some(100.0)).await,
        ErrorCode::NONE
    );
    // One read is within ten seconds' worth; the second is too much, and is taken back.
    until("nothing is read", || async {
        let mut wire = Wire::to(&broker).await;
        wire.fetch_throttled("t").await
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_not_made_faster_than_allowed() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    let set = alter(&mut wire, &[("user", None)], "controller_mutation_rate", Some(0.2)).await;
    assert_eq!(set, ErrorCode::NONE);
    let mut refused = None;
    for round in 0..50 {
        let topic = CreatableTopic {
            name: format!("t{round}").into(),
            num_partitions: 3,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let made = wire.ask(&request, 6).await;
        if made.topics[0].error_code != ErrorCode::NONE {
            refused = Some((made.topics[0].error_code, made.throttle_time_ms > 0));
            break;
        }
    }
    assert_eq!(refused, Some((ErrorCode::THROTTLING_QUOTA_EXCEEDED, true)));
    broker.stop().await;
}

/// A broker with these settings, a client that made a topic `t`, and what the broker stands on.
async fn serve(settings: &[(&str, &str)]) -> Option<(Running, Wire, (Server, TempDir))> {
    let coordinator = start(Options::for_tests())?;
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), settings).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    Some((broker, wire, (coordinator, data)))
}

/// Whether the broker answers on a new connection.
async fn is_served(broker: &Running, within: Duration) -> Option<TcpStream> {
    let stream = TcpStream::connect(address(broker)).await.ok()?;
    let mut wire = Wire(stream);
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    tokio::time::timeout(within, wire.try_ask(&request, 9)).await.ok()??;
    Some(wire.0)
}

async fn set_broker(wire: &mut Wire, name: &str, value: &str) {
    let (code, why) = alter_broker(wire, "", name, value).await;
    assert_eq!(code, ErrorCode::NONE, "{why}");
}

/// Sets something for one broker, or for all.
async fn alter_broker(wire: &mut Wire, broker: &str, name: &str, value: &str) -> (ErrorCode, String) {
    set(wire, 4, broker, name, value).await
}

/// Sets something for a resource of this type: 2 is a topic, 4 a broker.
async fn set(
    wire: &mut Wire,
    resource_type: i8,
    resource: &str,
    name: &str,
    value: &str,
) -> (ErrorCode, String) {
    let config = AlterableConfig { name: name.into(), config_operation: 0, value: Some(value.into()) };
    let resource =
        AlterConfigsResource { resource_type, resource_name: resource.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = wire.ask(&request, 1).await.responses.remove(0);
    (answer.error_code, answer.error_message.map(|why| why.as_str().to_owned()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_in_all_and_by_address() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[("max.connections.per.ip", "3")]).await;
    let long = Duration::from_secs(5);
    let mut within = Vec::new();
    for _ in 0..3 {
        within.push(is_served(&broker, long).await.expect("within the limit"));
    }
    let mut over = TcpStream::connect(address(&broker)).await.expect("connected");
    assert_eq!(over.read(&mut [0; 1]).await.expect("an end"), 0, "closed at once");
    drop(over);

    // Limits change while the broker runs.
    let mut admin = Wire(within.pop().expect("three"));
    set_broker(&mut admin, "max.connections.per.ip.overrides", "127.0.0.1:4").await;
    until("a fourth is served", || async { is_served(&broker, long).await.is_some() }).await;
    set_broker(&mut admin, "max.connections.per.ip.overrides", "127.0.0.1:100").await;
    set_broker(&mut admin, "max.connections", "3").await;
    until("the one over the limit waits", || async {
        is_served(&broker, Duration::from_millis(300)).await.is_none()
    })
    .await;
    drop(within);
    is_served(&broker, long).await.expect("there is room again");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_may_have_fewer_connections_than_the_broker() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let settings = [
        ("listeners", "PLAINTEXT://127.0.0.1:0,OTHER://127.0.0.1:0"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT"),
        ("listener.name.plaintext.max.connections", "1"),
    ];
    let broker = start_broker(&coordinator, data.path(), &settings).await;
    let first = is_served(&broker, Duration::from_secs(5)).await.expect("within the limit");
    assert!(is_served(&broker, Duration::from_millis(300)).await.is_none(), "the second waits");
    let mut other = Wire(TcpStream::connect(broker.addresses[1].1).await.expect("connected"));
    other.ask(&MetadataRequest::default(), 9).await;
    let name = "listener.name.plaintext.max.connections";
    let set = alter_broker(&mut other, "1", name, "2").await;
    assert_eq!(set.0, ErrorCode::NONE, "{}", set.1);
    until("the second is served", || async {
        is_served(&broker, Duration::from_millis(300)).await.is_some()
    })
    .await;
    drop((first, other));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_connects_too_often_is_turned_away_for_a_while() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let settings = [("quota.window.num", "3")];
    let broker = start_broker(&coordinator, data.path(), &settings).await;
    let mut wire = Wire::to(&broker).await;
    let set = alter(&mut wire, &[("ip", None)], "connection_creation_rate", Some(2.0)).await;
    assert_eq!(set, ErrorCode::NONE);
    let long = Duration::from_secs(5);
    until("one is turned away", || async { is_served(&broker, long).await.is_none() }).await;
    until("others come in later", || async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        is_served(&broker, long).await.is_some()
    })
    .await;
    broker.stop().await;
}

/// A connection of a client that trusts nobody but this authority.
async fn connect_encrypted(
    address: SocketAddr,
    authority: &Authority,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.pem.as_bytes()) {
        roots.add(certificate.expect("a certificate")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = "localhost".try_into().expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn is_trusted(address: SocketAddr, authority: &Authority) -> bool {
    connect_encrypted(address, authority).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_while_the_broker_runs() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let (old, new) = (Authority::new("old").expect("made"), Authority::new("new").expect("made"));
    let (used, other) = (data.path().join("used.pem"), data.path().join("other.pem"));
    std::fs::write(&used, old.issue("broker").expect("issued")).expect("written");
    let logs = data.path().join("logs");
    let settings = [
        ("listeners", "PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", used.to_str().expect("plain")),
    ];
    let broker = start_broker(&coordinator, &logs, &settings).await;
    let encrypted = broker.addresses[1].1;
    assert!(is_trusted(encrypted, &old).await && !is_trusted(encrypted, &new).await);

    std::fs::write(&used, new.issue("broker").expect("issued")).expect("written");
    until("the file is read again", || is_trusted(encrypted, &new)).await;
    assert!(!is_trusted(encrypted, &old).await);
    std::fs::write(&used, "nothing of use").expect("written");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(is_trusted(encrypted, &new).await, "what was good before stays");

    let mut admin = Wire::to(&broker).await;
    let name = "listener.name.ssl.ssl.keystore.location";
    let missing = alter_broker(&mut admin, "1", name, other.to_str().expect("plain")).await;
    assert_eq!(missing.0, ErrorCode::INVALID_REQUEST, "{}", missing.1);
    std::fs::write(&other, old.issue("broker").expect("issued")).expect("written");
    let set = alter_broker(&mut admin, "1", name, other.to_str().expect("plain")).await;
    assert_eq!(set.0, ErrorCode::NONE, "{}", set.1);
    until("another file holds", || is_trusted(encrypted, &old)).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_directory_takes_its_partitions_and_nobody_elses() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let (first, second) = (data.path().join("a"), data.path().join("b"));
    let both = format!("{},{}", first.display(), second.display());
    let broker = start_broker(&coordinator, data.path(), &[("log.dirs", both.as_str())]).await;
    let mut wire = Wire::to(&broker).await;
    for topic in ["t0", "t1", "t2", "t3"] {
        wire.create(topic).await;
        assert_eq!(wire.produce(topic, batch(&["a"])).await.0, ErrorCode::NONE);
    }
    let logs = broker.broker.replicas.logs();
    let failed = &logs.dirs()[1];
    failed.fail(&LogError::Offline { dir: second.clone() });
    for topic in ["t0", "t1", "t2", "t3"] {
        let is_lost = second.join(format!("{topic}-0")).exists();
        let expected = if is_lost { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NONE };
        assert_eq!(wire.produce(topic, batch(&["b"])).await.0, expected, "{topic}");
        assert_eq!(wire.fetch(topic, 0).await.err().unwrap_or(ErrorCode::NONE), expected, "{topic}");
    }
    let (lost, kept): (Vec<_>, Vec<_>) =
        ["t0", "t1", "t2", "t3"].into_iter().partition(|topic| second.join(format!("{topic}-0")).exists());
    assert!(!lost.is_empty() && !kept.is_empty(), "{lost:?}, {kept:?}");
    let session = connect(&coordinator).await;
    let is_told = |broker: &Running| {
        let image = broker.broker.image();
        let led_by = |topic: &str, leader: i32| {
            image.partition(topic, 0).is_some_and(|partition| partition.state.leader == leader)
        };
        lost.iter().all(|topic| led_by(topic, -1)) && kept.iter().all(|topic| led_by(topic, 1))
    };
    until("everybody knows that nobody leads what is lost", || async { is_told(&broker) }).await;
    until("the notices are gone", || async {
        let notices = "/cluster/log_dir_event_notification";
        session.children(notices).await.expect("there is such a node").0.is_empty()
    })
    .await;
    assert_eq!(wire.produce(lost[0], batch(&["b"])).await.0, ErrorCode::KAFKA_STORAGE_ERROR);
    broker.stop().await;

    // The directory cannot be used at the next starts either: nothing takes the place of what is in it.
    let (aside, checkpoint) = (data.path().join("aside"), second.join("recovery-point-offset-checkpoint"));
    let still_lost = || async {
        let broker = start_broker(&coordinator, data.path(), &[("log.dirs", both.as_str())]).await;
        until("it is told again", || async { is_told(&broker) }).await;
        assert!(lost.iter().all(|topic| !first.join(format!("{topic}-0")).exists()));
        broker.stop().await;
    };
    let _ = std::fs::remove_file(&checkpoint);
    std::fs::create_dir(&checkpoint).expect("made");
    still_lost().await;
    std::fs::remove_dir(&checkpoint).expect("removed");
    std::fs::rename(&second, &aside).expect("moved");
    std::fs::write(&second, "not a directory").expect("written");
    still_lost().await;
    std::fs::remove_file(&second).expect("removed");
    std::fs::rename(&aside, &second).expect("moved back");

    let broker = start_broker(&coordinator, data.path(), &[("log.dirs", both.as_str())]).await;
    let mut wire = Wire::to(&broker).await;
    let image = || broker.broker.image();
    for topic in ["t0", "t1", "t2", "t3"] {
        let is_led = || image().partition(topic, 0).is_some_and(|partition| partition.state.leader == 1);
        until("it is led again", || async { is_led() }).await;
        assert!(!wire.fetch(topic, 0).await.expect("read").is_empty(), "{topic}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_miss_records_lead_where_that_is_allowed() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    let topics = ["any", "none", "later"];
    for topic in topics {
        wire.create(topic).await;
        assert_eq!(wire.produce(topic, batch(&["a"])).await.0, ErrorCode::NONE);
    }
    assert_eq!(set(&mut wire, 2, "none", UNCLEAN, "false").await.0, ErrorCode::NONE);
    broker.stop().await;
    // Somebody else was in sync, and is gone.
    let session = connect(&coordinator).await;
    let lose = async |topic: &str| {
        let node = format!("/cluster/brokers/topics/{topic}");
        let (assignment, _) = session.get(&node).await.expect("there");
        let assignment = String::from_utf8(assignment.to_vec()).expect("text").replace("[1]", "[2,1]");
        session.set(&node, assignment.as_bytes(), None).await.expect("set");
        let state = br#"{"controller_epoch":1,"leader":-1,"version":1,"leader_epoch":9,"isr":[2]}"#;
        session.set(&format!("{node}/partitions/0/state"), state, None).await.expect("set");
    };
    for topic in topics {
        lose(topic).await;
    }
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let mut wire = Wire::to(&broker).await;
    let leads = |broker: &Running, topic: &str| {
        let image = broker.broker.image();
        image.partition(topic, 0).map(|partition| partition.state.leader)
    };
    until("the topics are known", || async { topics.iter().all(|topic| leads(&broker, topic) == Some(-1)) })
        .await;
    // What topics say goes before what their broker says, now and at a start.
    assert_eq!(set(&mut wire, 2, "any", UNCLEAN, "true").await.0, ErrorCode::NONE);
    until("one may lead", || async { leads(&broker, "any") == Some(1) }).await;
    assert_eq!(leads(&broker, "later"), Some(-1));
    set_broker(&mut wire, UNCLEAN, "true").await;
    until("all but one may lead", || async { leads(&broker, "later") == Some(1) }).await;
    assert_eq!(leads(&broker, "none"), Some(-1));
    set_broker(&mut wire, UNCLEAN, "false").await;
    broker.stop().await;
    lose("later").await;
    let broker = start_broker(&coordinator, data.path(), &[(UNCLEAN, "true")]).await;
    until("it is known", || async { leads(&broker, "later").is_some() }).await;
    assert_eq!(leads(&broker, "later"), Some(-1), "what was set since goes before the start's");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_in_clear_text_goes_from_the_file_to_the_socket() {
    let Some(coordinator) = start(Options::for_tests()) else { return };
    let data = tempfile::tempdir().expect("a directory");
    let (authority, key) = (Authority::new("any").expect("made"), data.path().join("key.pem"));
    std::fs::write(&key, authority.issue("broker").expect("issued")).expect("written");
    let settings = [
        ("listeners", "PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", key.to_str().expect("plain")),
    ];
    let broker = start_broker(&coordinator, &data.path().join("logs"), &settings).await;
    let mut wire = Wire::to(&broker).await;
    wire.create("t").await;
    let value = "x".repeat(100_000);
    wire.produce("t", batch(&[&value])).await;
    let counted = || {
        let metrics = &broker.broker.metrics;
        (metrics.sendfile_bytes.load(Ordering::Relaxed), metrics.all_topics.bytes_out.load(Ordering::Relaxed))
    };
    assert_eq!(counted(), (0, 0));
    for _ in 0..3 {
        assert_eq!(wire.fetch("t", 0).await.expect("read").len(), 1);
    }
    // What is sent is counted a moment later.
    until("everything is counted", || async { counted().0 > 300_000 }).await;
    let (untouched, all) = counted();
    assert_eq!(untouched, all);
    // What is encrypted passes through this process.
    let mut encrypted =
        Wire(connect_encrypted(broker.addresses[1].1, &authority).await.expect("a connection"));
    assert_eq!(encrypted.fetch("t", 0).await.expect("read").len(), 1);
    let (untouched_now, all_now) = counted();
    assert_eq!((untouched_now, all_now), (untouched, all + all / 3));
    drop((wire, encrypted));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_gives_its_place_back_at_once() {
    let Some((broker, _wire, _home)) = serve(&[]).await else { return };
    let mut reader = Wire::to(&broker).await;
    let waiting = tokio::spawn(async move { reader.fetch_waiting("t", 0, Duration::from_secs(50)).await });
    until("two are connected", || async { broker.broker.places.count() == 2 }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    waiting.abort();
    until("one is connected", || async { broker.broker.places.count() == 1 }).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    broker.stop().await;
}

/// Half of a request that is as large as all may be together, and then silence.
async fn half_a_request(broker: &Running, size: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address(broker)).await.expect("connected");
    stream.write_all(&i32::try_from(size).expect("small").to_be_bytes()).await.expect("sent");
    stream.write_all(&vec![0; size / 2]).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_wait_for_memory_and_small_ones_do_not() {
    const SIZE: usize = 1 << 20;
    let limits = SIZE.to_string();
    let settings =
        [("queued.max.request.bytes", limits.as_str()), ("socket.request.max.bytes", limits.as_str())];
    let Some((broker, mut wire, _home)) = serve(&settings).await else { return };
    // One takes most of the memory, the other goes beyond it.
    let first = half_a_request(&broker, SIZE - 4).await;
    until("the memory is taken", || async { broker.broker.request_memory.free() == 0 }).await;
    let second = half_a_request(&broker, SIZE - 4).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut large = Wire::to(&broker).await;
    let value = "x".repeat(SIZE / 2);
    let mut waiting = tokio::spawn(async move { large.produce("t", batch(&[&value])).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(wire.produce("t", batch(&["a"])).await, (ErrorCode::NONE, 0));
    drop((first, second));
    assert_eq!((&mut waiting).await.expect("no panic"), (ErrorCode::NONE, 1));
    until("the memory is free", || async { broker.broker.request_memory.taken() == 0 }).await;
    drop(wire);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_keeps_nobody_waiting() {
    let Some((broker, mut wire, _home)) = serve(&[]).await else { return };
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut reader = Wire::to(&broker).await;
        waiting
            .push(tokio::spawn(async move { reader.fetch_waiting("t", 0, Duration::from_secs(20)).await }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let took = pace(&mut wire).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let begun = Instant::now();
    wire.produce("t", batch(&["a"])).await;
    for reader in waiting {
        assert_eq!(reader.await.expect("no panic").expect("read").len(), 1);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "all were woken, after {:?}", begun.elapsed());
    broker.stop().await;
}

/// What the operations port says of the broker.
async fn metrics(broker: &Running) -> String {
    let mut stream = TcpStream::connect(broker.operations.expect("a port")).await.expect("connected");
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_shows_in_the_metrics() {
    let settings = [("operations.listener", "127.0.0.1:0")];
    let Some((broker, mut wire, _home)) = serve(&settings).await else { return };
    assert_eq!(wire.produce("t", batch(&["a", "b"])).await.0, ErrorCode::NONE);
    assert_eq!(wire.produce("unknown", batch(&["a"])).await.0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(wire.fetch("t", 0).await.expect("read").len(), 2);
    let mut garbage = TcpStream::connect(address(&broker)).await.expect("connected");
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    assert!(matches!(garbage.read(&mut [0]).await, Ok(0) | Err(_)), "it is closed");
    let mut reader = Wire::to(&broker).await;
    let waiting = tokio::spawn(async move { reader.fetch_waiting("t", 2, Duration::from_secs(50)).await });
    let waits = "kafka_server_delayedoperationpurgatory_purgatorysize{delayedoperation=\"Fetch\"} 1";
    until("a reader waits", || async { metrics(&broker).await.contains(waits) }).await;
    let told = metrics(&broker).await;
    for line in [
        "kafka_server_brokertopicmetrics_messagesin_total 2",
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"t\"} 2",
        "kafka_server_brokertopicmetrics_totalproducerequests_total{topic=\"t\"} 1",
        "kafka_server_brokertopicmetrics_failedproducerequests_total 1",
        "kafka_network_requestmetrics_requests_total{request=\"Produce\"} 2",
        "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 2",
        "kafka_network_requestmetrics_errors_total{request=\"Produce\",error=\"NONE\"} 1",
        "kafka_network_requestmetrics_errors_total{request=\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1",
        "kafka_log_log_logendoffset{topic=\"t\",partition=\"0\"} 2",
        "kafka_log_log_numlogsegments{topic=\"t\",partition=\"0\"} 1",
        "kafka_coordinator_group_groupmetadatamanager_numgroupsstable 0",
        "rookery_broker_connections_ended_total{reason=\"size\"} 1",
        "kafka_server_replicamanager_leadercount 1",
        "kafka_server_replicamanager_atminisrpartitioncount 1",
        "kafka_server_replicamanager_offlinereplicacount 0",
        "kafka_cluster_partition_insyncreplicascount{topic=\"t\",partition=\"0\"} 1",
        "kafka_cluster_partition_underminisr{topic=\"t\",partition=\"0\"} 0",
        "kafka_server_kafkaserver_brokerstate 3",
        "kafka_server_fetchsessioncache_numincrementalfetchsessions 0",
        "kafka_network_requestmetrics_requestbytes_count{request=\"Produce\"} 2",
        "kafka_server_socket_server_metrics_connection_close_total 1",
        "kafka_network_socketserver_expiredconnectionskilledcount 0",
        "kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total 0",
        "kafka_server_replicamanager_produceridcount 0",
        "kafka_server_sessionexpirelistener_zookeeperdisconnects_total 0",
        "kafka_server_sessionexpirelistener_zookeeperexpires_total 0",
        "kafka_server_group_coordinator_metrics_group_completed_rebalance_count 0",
        "kafka_server_group_coordinator_metrics_offset_commit_count 0",
        "kafka_log_logcleanermanager_max_dirty_percent 0",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is missing in\n{told}");
    }
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
        line.trim().parse::<f64>().expect("a number")
    };
    assert!(value("kafka_network_requestmetrics_totaltimems{request=\"Produce\",quantile=\"0.99\"}") > 0.0);
    assert!(value("kafka_server_socket_server_metrics_connection_creation_total") >= 3.0);
    let uncleanable = "kafka_log_logcleanermanager_uncleanable_partitions_count{logDirectory=";
    assert!(told.lines().any(|line| line.starts_with(uncleanable) && line.ends_with("} 0")), "{told}");
    assert!(value("kafka_log_logflushstats_logflushrateandtimems_count") >= 0.0);
    let bytes = value("kafka_server_brokertopicmetrics_bytesin_total{topic=\"t\"}");
    assert_eq!(value("kafka_server_brokertopicmetrics_bytesout_total{topic=\"t\"}"), bytes);
    assert_eq!(value("kafka_log_log_size{topic=\"t\",partition=\"0\"}"), bytes);
    let idle = value("kafka_network_socketserver_networkprocessoravgidlepercent");
    assert!((0.0..=1.0).contains(&idle), "{idle}");
    waiting.abort();
    drop(wire);
    broker.stop().await;
}
