//! Hostile bytes against a broker: ours, or Apache Kafka with `BAD_INPUT_AGAINST=kafka`.

mod support;
#[path = "support/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::server::Running;
use client::wire::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use client::wire::kafka::messages::metadata::MetadataRequest;
use client::wire::kafka::{ApiKey, ErrorCode};
use testkit::badinput::Mutations;
use testkit::badinput::broker::{
    Input, MESSAGE_BYTES_MAX, Outcome, TOPIC, ask, good_requests, largest_counts, request_of, run, table,
};
use testkit::process::{Kafka, Kind, Need, Options, Server, has_or_fails};
use testkit::raw::{Connection, Next};
use wire::{address, start_broker};

enum Target {
    Ours(Box<Running>),
    Control(Box<Kafka>),
}

impl Target {
    fn address(&self) -> SocketAddr {
        match self {
            Target::Ours(broker) => address(broker),
            Target::Control(kafka) => kafka.bootstrap().parse().expect("an address"),
        }
    }

    fn is_control(&self) -> bool {
        matches!(self, Target::Control(_))
    }
}

async fn start(coordinator: &Server, data: &std::path::Path, more: &[(&str, &str)]) -> Option<Target> {
    let wants_kafka = std::env::var("BAD_INPUT_AGAINST").is_ok_and(|name| name == "kafka");
    if !wants_kafka {
        return Some(Target::Ours(Box::new(start_broker(coordinator, data, more).await)));
    }
    if !has_or_fails("bad input to Apache Kafka", &[Need::Java, Need::Maven]) {
        return None;
    }
    let connect = format!("{}/cluster", coordinator.connect_string());
    let mut kafka = Kafka::start(&connect, Duration::from_secs(10)).expect("Kafka starts");
    kafka.await_log("[KafkaServer id=1] started", 1, Duration::from_secs(120)).expect("it serves");
    Some(Target::Control(Box::new(kafka)))
}

fn coordinator() -> Server {
    Server::start_new(Kind::Coordinator, Options::for_tests()).expect("a coordinator")
}

/// How long a proper client waits for an answer.
fn served_within(proper: &mut Connection) -> Duration {
    let begun = Instant::now();
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    ask(proper, &request, 9).expect("an answer").expect("no end");
    begun.elapsed()
}

/// The same for one that has to connect first.
fn serves(address: SocketAddr) -> Duration {
    served_within(&mut Connection::open(address).expect("connected"))
}

fn make_topic(address: SocketAddr) {
    let limit = CreatableTopicConfig {
        name: "max.message.bytes".into(),
        value: Some(MESSAGE_BYTES_MAX.to_string().into()),
    };
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![limit],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let mut connection = Connection::open(address).expect("connected");
    let begun = Instant::now();
    loop {
        let made = ask(&mut connection, &request, 4).expect("an answer").expect("no end");
        match made.topics[0].error_code {
            ErrorCode::NONE => return,
            // Apache Kafka serves before its controller knows it.
            ErrorCode::INVALID_REPLICATION_FACTOR if begun.elapsed() < Duration::from_secs(60) => {
                std::thread::sleep(Duration::from_millis(200));
            }
            code => panic!("{code:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_gets_its_answer() {
    let _alone = ALONE.lock().await;
    let (coordinator, data) = (coordinator(), tempfile::tempdir().expect("a directory"));
    let Some(target) = start(&coordinator, data.path(), &[]).await else { return };
    let (address, is_control) = (target.address(), target.is_control());
    let played = tokio::task::spawn_blocking(move || {
        make_topic(address);
        let mut wrong = Vec::new();
        let mut bystander = Connection::open(address).expect("connected");
        for row in table() {
            let (expected, got) = (row.expected(is_control), run(address, &row));
            let waited = served_within(&mut bystander);
            match got {
                _ if waited > Duration::from_secs(2) && !is_control => {
                    wrong.push(format!("{}: somebody else waited {waited:?} after it", row.name));
                }
                Ok(got) if got == expected => println!("ok   {}: {got}", row.name),
                Ok(got) => wrong.push(format!("{}: expected {expected}, got {got}", row.name)),
                Err(error) => wrong.push(format!("{}: {error:#}", row.name)),
            }
        }
        serves(address);
        wrong
    });
    let wrong = played.await.expect("the rows were played");
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    if let Target::Ours(broker) = target {
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_damage_ends_at_most_its_own_connection() {
    let _alone = ALONE.lock().await;
    let (coordinator, data) = (coordinator(), tempfile::tempdir().expect("a directory"));
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let address = address(&broker);
    let seed = std::env::var("BAD_INPUT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_122);
    println!("BAD_INPUT_SEED={seed}");
    let played = tokio::task::spawn_blocking(move || {
        make_topic(address);
        let (samples, mut mutations) = (good_requests(), Mutations::new(seed));
        let mut bystander = Connection::open(address).expect("connected");
        let before = resident_bytes();
        for _ in 0..200 {
            let mut connection = Connection::open(address).expect("connected");
            for _ in 0..10 {
                // The server may have had enough.
                let _ = connection.send(&mutations.next_of(&samples));
            }
            while let Next::Frame(_) = connection.next(Duration::from_millis(5)) {}
            let waited = served_within(&mut bystander);
            assert!(waited < Duration::from_secs(2), "{waited:?}");
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 128 << 20, "{grown} bytes");
    });
    played.await.expect("nobody else suffered");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_counts_take_no_memory_whatever_is_asked() {
    let _alone = ALONE.lock().await;
    let (coordinator, data) = (coordinator(), tempfile::tempdir().expect("a directory"));
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let address = address(&broker);
    let played = tokio::task::spawn_blocking(move || {
        make_topic(address);
        let is_small = |row: &testkit::badinput::broker::Row| match &row.input {
            Input::Produce { records, .. } => records.len() < 1000,
            _ => false,
        };
        let batches: Vec<_> = table().into_iter().filter(is_small).collect();
        let before = resident_bytes();
        let mut most = before;
        for key in ApiKey::ALL {
            for version in key.versions() {
                for body in largest_counts() {
                    let mut connection = Connection::open(address).expect("connected");
                    let _ = connection.send(&request_of(key.to_wire(), version, &body));
                    // Some of it may even be a request, and have an answer.
                    let got = connection.next(Duration::from_secs(10));
                    assert_ne!(got, Next::Silence, "{}.{version} {:x?}", key.name(), &body[..6]);
                }
            }
            most = most.max(resident_bytes());
        }
        for row in batches {
            run(address, &row).expect("an answer or an end");
            most = most.max(resident_bytes());
        }
        // Anything that was reserved for one of the counts would be a hundred megabytes and more.
        assert!(most - before < 48 << 20, "{} bytes", most - before);
        assert!(serves(address) < Duration::from_secs(1));
    });
    played.await.expect("nobody else suffered");
    broker.stop().await;
}

/// The memory that this process uses, in which the broker is.
const SILENT_CONNECTIONS: usize = 2000;
/// What a connection that says nothing, or begins to, may cost; 13 KiB were measured.
const BYTES_PER_CONNECTION_MAX: u64 = 24 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_that_say_nothing_or_half_of_it_cost_little() {
    let _alone = ALONE.lock().await;
    let (coordinator, data) = (coordinator(), tempfile::tempdir().expect("a directory"));
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let address = address(&broker);
    let metadata = request_of(3, 1, &(-1i32).to_be_bytes());
    let announced = [&50_000i32.to_be_bytes()[..], &request_of(0, 9, &[0; 50])[4..]].concat();
    let beginnings = [vec![], metadata[..2].to_vec(), metadata[..9].to_vec(), announced];
    let open = move |count: usize| -> Vec<Connection> {
        let opened = beginnings.iter().cycle().take(count).map(|beginning| {
            let mut connection = Connection::open(address).expect("connected");
            connection.send(beginning).expect("sent");
            connection
        });
        opened.collect()
    };
    let opened = tokio::task::spawn_blocking({
        let server = Arc::clone(&broker.broker);
        move || {
            // What the first ones make the process take stays.
            drop(open(200));
            await_count(&server, 0);
            let before = resident_bytes();
            let silent = open(SILENT_CONNECTIONS);
            await_count(&server, SILENT_CONNECTIONS);
            let each = resident_bytes().saturating_sub(before) / SILENT_CONNECTIONS as u64;
            assert!(each < BYTES_PER_CONNECTION_MAX, "{each} bytes each");
            let took = serves(address);
            assert!(took < Duration::from_secs(1), "{took:?}");
            drop(silent);
            await_count(&server, 0);
        }
    });
    opened.await.expect("checked");
    broker.stop().await;
}

fn await_count(server: &broker::server::Broker, count: usize) {
    let begun = Instant::now();
    while server.places.count() != count {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} are connected", server.places.count());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("it says so");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// One test measures the memory of all of them.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn announced_bytes_take_no_memory_and_nobody_else_waits() {
    let _alone = ALONE.lock().await;
    let (coordinator, data) = (coordinator(), tempfile::tempdir().expect("a directory"));
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let address = address(&broker);
    let checked = tokio::task::spawn_blocking(move || {
        let before = resident_bytes();
        // A hundred times the largest request that there may be: 10 GB, of which nothing comes.
        let announced: Vec<Connection> = (0..100)
            .map(|_| {
                let mut connection = Connection::open(address).expect("connected");
                connection.send(&(100i32 << 20).to_be_bytes()).expect("sent");
                connection
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes for requests that never came");
        let took = serves(address);
        assert!(took < Duration::from_secs(1), "{took:?}");
        drop(announced);
    });
    checked.await.expect("checked");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_a_controller_are_taken_from_nobody_here() {
    let _alone = ALONE.lock().await;
    use client::wire::kafka::messages::controlled_shutdown::ControlledShutdownRequest;
    use client::wire::kafka::messages::leader_and_isr::LeaderAndIsrRequest;
    use client::wire::kafka::messages::stop_replica::StopReplicaRequest;
    use client::wire::kafka::messages::update_metadata::UpdateMetadataRequest;
    let (coordinator, data) = (coordinator(), tempfile::tempdir().expect("a directory"));
    let broker = start_broker(&coordinator, data.path(), &[]).await;
    let address = address(&broker);
    let checked = tokio::task::spawn_blocking(move || {
        let mut client = Connection::open(address).expect("connected");
        let (controller_id, controller_epoch) = (7, 999);
        let refused = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        for version in 0..=7 {
            let order = LeaderAndIsrRequest { controller_id, controller_epoch, ..Default::default() };
            let answer = ask(&mut client, &order, version).expect("sent").expect("an answer");
            assert_eq!(answer.error_code, refused);
        }
        let order = UpdateMetadataRequest { controller_id, controller_epoch, ..Default::default() };
        assert_eq!(ask(&mut client, &order, 8).expect("sent").expect("an answer").error_code, refused);
        let order = StopReplicaRequest { controller_id, controller_epoch, ..Default::default() };
        assert_eq!(ask(&mut client, &order, 4).expect("sent").expect("an answer").error_code, refused);
        let order = ControlledShutdownRequest { broker_id: 1, broker_epoch: i64::MAX };
        assert_eq!(ask(&mut client, &order, 3).expect("sent").expect("an answer").error_code, refused);
        // The real controller is still obeyed.
        make_topic(address);
        let good = table().into_iter().find(|row| row.name == "a good batch").expect("there is one");
        assert_eq!(run(address, &good).expect("an answer"), Outcome::Code(ErrorCode::NONE));
    });
    checked.await.expect("checked");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_half_requests_are_waited_for_so_long() {
    let _alone = ALONE.lock().await;
    let (coordinator, data) = (coordinator(), tempfile::tempdir().expect("a directory"));
    let broker = start_broker(&coordinator, data.path(), &[("connections.max.idle.ms", "700")]).await;
    let address = address(&broker);
    let checked = tokio::task::spawn_blocking(move || {
        let begun = std::time::Instant::now();
        let mut silent = Connection::open(address).expect("connected");
        assert_eq!(silent.next(Duration::from_secs(10)), Next::Closed);
        let took = begun.elapsed();
        assert!((Duration::from_millis(600)..Duration::from_secs(5)).contains(&took), "{took:?}");
    });
    checked.await.expect("checked");
    broker.stop().await;
}
