//! What is counted, in Prometheus' text format, under the names that the JMX exporter gives to Kafka's own.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use client::wire::kafka::ApiKey;

use crate::cluster::NO_LEADER;
use crate::group::State;
use crate::limits;
use crate::log::{Flushes, TopicPartition};
use crate::replicas::Replica;
use crate::server::metrics::{Timed, Traffic};
use crate::server::{Broker, clock};

/// All metrics of a broker.
pub(super) fn metrics(broker: &Broker) -> String {
    let mut text = Text::default();
    cluster(&mut text, broker);
    partitions(&mut text, broker);
    traffic(&mut text, broker);
    network(&mut text, broker);
    groups(&mut text, broker);
    requests(&mut text, broker);
    logs(&mut text, broker);
    disks(&mut text, broker);
    text.0
}

fn cluster(text: &mut Text, broker: &Broker) {
    let image = broker.image();
    let partitions = || image.topics.values().flat_map(|topic| topic.partitions.values());
    let offline = partitions().filter(|partition| partition.state.leader == NO_LEADER).count();
    let imbalanced =
        partitions().filter(|partition| partition.replicas.first() != Some(&partition.state.leader)).count();
    let controls = u64::from(broker.controlling().is_ok());
    for (name, value) in [
        ("activecontrollercount", controls),
        ("activebrokercount", image.brokers.len() as u64),
        ("offlinepartitionscount", offline as u64),
        ("globaltopiccount", image.topics.len() as u64),
        ("globalpartitioncount", partitions().count() as u64),
        ("preferredreplicaimbalancecount", imbalanced as u64),
    ] {
        text.one(&format!("kafka_controller_kafkacontroller_{name}"), "gauge", value);
    }
    let is_running = broker.session().is_ok() && image.brokers.contains_key(&broker.id);
    text.one("kafka_server_kafkaserver_brokerstate", "gauge", if is_running { RUNNING } else { STARTING });

    let dirs = broker.replicas.logs().dirs();
    let offline_dirs = dirs.iter().filter(|dir| dir.failure().is_some()).count();
    text.one("kafka_log_logmanager_offlinelogdirectorycount", "gauge", offline_dirs);
    let name = "kafka_log_logmanager_logdirectoryoffline";
    text.kind(name, "gauge");
    for dir in dirs {
        let path = escaped(&dir.path().to_string_lossy());
        text.line(name, &[("logDirectory", &path)], u8::from(dir.failure().is_some()));
    }
}

/// Kafka's numbers for what a broker is doing.
const STARTING: u8 = 1;
const RUNNING: u8 = 3;

/// What this broker holds, and how well it is replicated.
fn partitions(text: &mut Text, broker: &Broker) {
    const NAMES: [&str; 6] = [
        "replicascount",
        "insyncreplicascount",
        "underreplicated",
        "underminisr",
        "atminisr",
        "laststableoffsetlag",
    ];
    let (image, mine) = (broker.image(), broker.replicas.all());
    let mut shown: [Vec<(&TopicPartition, u64)>; NAMES.len()] = Default::default();
    let (mut led, mut under_replicated, mut under_min, mut at_min) = (0, 0, 0, 0);
    let producers =
        |replica: &Arc<Replica>| replica.log().lock().map_or(0, |log| log.producers().iter().count());
    for (replica, state) in mine.iter().filter_map(|replica| Some((replica, replica.leads()?))) {
        let name = replica.name();
        let assigned = image.partition(&name.topic, name.partition).map_or(0, |known| known.replicas.len());
        let (in_sync, min) = (state.isr.len(), replica.min_in_sync());
        let is = [in_sync < assigned, in_sync < min, in_sync == min].map(u64::from);
        led += 1;
        under_replicated += is[0];
        under_min += is[1];
        at_min += is[2];
        if led as usize > limits::PARTITIONS_SHOWN_MAX {
            continue;
        }
        let lag = replica.log().lock().map_or(0, |log| log.high_watermark() - log.last_stable_offset());
        let figures = [assigned as u64, in_sync as u64, is[0], is[1], is[2], to_u64(lag)];
        shown.iter_mut().zip(figures).for_each(|(column, figure)| column.push((name, figure)));
    }
    for (name, value) in [
        ("partitioncount", mine.len() as u64),
        ("leadercount", led),
        ("offlinereplicacount", mine.iter().filter(|replica| replica.log().lock().is_err()).count() as u64),
        ("underreplicatedpartitions", under_replicated),
        ("underminisrpartitioncount", under_min),
        ("atminisrpartitioncount", at_min),
        ("produceridcount", mine.iter().map(producers).sum::<usize>() as u64),
    ] {
        text.one(&format!("kafka_server_replicamanager_{name}"), "gauge", value);
    }
    for (name, column) in NAMES.iter().zip(shown) {
        text.by_partition(&format!("kafka_cluster_partition_{name}"), column);
    }
}

fn traffic(text: &mut Text, broker: &Broker) {
    let counted = &broker.metrics;
    let image = broker.image();
    let topics = counted.topics(|topic| image.topics.contains_key(topic));
    type Counted = fn(&Traffic) -> &AtomicU64;
    let count: [(&str, Counted); 8] = [
        ("messagesin", |traffic| &traffic.messages_in),
        ("bytesin", |traffic| &traffic.bytes_in),
        ("bytesout", |traffic| &traffic.bytes_out),
        ("totalproducerequests", |traffic| &traffic.produces),
        ("failedproducerequests", |traffic| &traffic.produces_failed),
        ("bytesrejected", |traffic| &traffic.bytes_rejected),
        ("totalfetchrequests", |traffic| &traffic.fetches),
        ("failedfetchrequests", |traffic| &traffic.fetches_failed),
    ];
    for (name, of) in count {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        text.one(&name, "counter", read(of(&counted.all_topics)));
        for (topic, traffic) in &topics {
            text.line(&name, &[("topic", topic)], read(of(traffic)));
        }
    }
    text.one("rookery_broker_sendfile_bytes_total", "counter", read(&counted.sendfile_bytes));
    for name in ["purgatorysize", "numdelayedoperations"] {
        let name = format!("kafka_server_delayedoperationpurgatory_{name}");
        text.kind(&name, "gauge");
        text.line(&name, &[("delayedoperation", "Fetch")], read(&counted.fetches_waiting));
    }
}

fn network(text: &mut Text, broker: &Broker) {
    text.one("kafka_server_socket_server_metrics_connection_count", "gauge", broker.places.count());
    let ended: u64 = broker.metrics.ended().map(|(_, count)| count).sum();
    let socket = "kafka_server_socket_server_metrics_connection";
    text.one(&format!("{socket}_creation_total"), "counter", read(&broker.metrics.connections_made));
    text.one(&format!("{socket}_close_total"), "counter", ended);
    let idle: u64 =
        broker.metrics.ended().filter(|(reason, _)| *reason == "idle").map(|(_, count)| count).sum();
    text.one("kafka_network_socketserver_expiredconnectionskilledcount", "gauge", idle);
    let memory = &broker.request_memory;
    text.one("kafka_network_socketserver_memorypoolavailable", "gauge", memory.free());
    text.one("kafka_network_socketserver_memorypoolused", "gauge", memory.taken());
    // One runtime does what Kafka has two pools of threads for.
    let idle = broker.metrics.idle_share();
    for name in ["networkprocessoravgidle_percent", "networkprocessoravgidlepercent"] {
        text.one(&format!("kafka_network_socketserver_{name}"), "gauge", idle);
    }
    text.one("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", "gauge", idle);
    let sessions = broker.fetch_sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, partitions, evicted) = (sessions.len(), sessions.partition_count(), sessions.evicted());
    drop(sessions);
    text.one("kafka_server_fetchsessioncache_numincrementalfetchsessions", "gauge", count);
    text.one("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", "gauge", partitions);
    let name = "kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total";
    text.one(name, "counter", evicted);
    for (name, count) in [
        ("zookeeperdisconnects", &broker.metrics.coordinator_lost),
        ("zookeeperexpires", &broker.metrics.sessions_lost),
    ] {
        text.one(&format!("kafka_server_sessionexpirelistener_{name}_total"), "counter", read(count));
    }
    let name = "rookery_broker_connections_ended_total";
    text.kind(name, "counter");
    for (reason, count) in broker.metrics.ended() {
        text.line(name, &[("reason", reason)], count);
    }
}

fn groups(text: &mut Text, broker: &Broker) {
    let (groups, offsets, counts) =
        broker.groups.look(|groups| (groups.list(), groups.offset_count(), groups.counts()));
    for (name, count) in [
        ("group_completed_rebalance", counts.rebalances),
        ("offset_commit", counts.commits),
        ("offset_expiration", counts.expired),
        ("offset_deletion", counts.deleted),
    ] {
        text.one(&format!("kafka_server_group_coordinator_metrics_{name}_count"), "counter", count);
    }
    text.one("kafka_coordinator_group_groupmetadatamanager_numoffsets", "gauge", offsets);
    let name = "kafka_coordinator_group_groupmetadatamanager_numgroups";
    text.one(name, "gauge", groups.len());
    for state in [State::Empty, State::PreparingRebalance, State::CompletingRebalance, State::Stable] {
        let count = groups.iter().filter(|group| group.state == state).count();
        text.one(&format!("{name}{}", state.name().to_ascii_lowercase()), "gauge", count);
    }
}

fn requests(text: &mut Text, broker: &Broker) {
    let asked = || {
        let all = ApiKey::ALL.iter().map(|&key| (key.name(), broker.metrics.of(key)));
        all.filter(|(_, timed)| read(&timed.count) > 0)
    };
    let name = "kafka_network_requestmetrics_requests_total";
    text.kind(name, "counter");
    for (request, timed) in asked() {
        text.line(name, &[("request", request)], read(&timed.count));
    }
    let name = "kafka_network_requestmetrics_errors_total";
    text.kind(name, "counter");
    for (request, timed) in asked() {
        for (code, count) in timed.told() {
            let number = code.0.to_string();
            text.line(name, &[("request", request), ("error", code.name().unwrap_or(&number))], count);
        }
    }
    let name = "kafka_network_requestmetrics_totaltimems";
    text.kind(name, "summary");
    for (request, timed) in asked() {
        let shares = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999)];
        let times = timed.lately.quantiles(shares.map(|(_, share)| share));
        for ((quantile, _), micros) in shares.iter().zip(times) {
            text.line(name, &[("request", request), ("quantile", quantile)], millis(micros));
        }
        text.line(&format!("{name}_sum"), &[("request", request)], millis(read(&timed.total_us)));
        text.line(&format!("{name}_count"), &[("request", request)], read(&timed.count));
    }
    type Sum = fn(&Timed) -> f64;
    let sums: [(&str, Sum); 4] = [
        ("localtimems", |timed| millis(read(&timed.handled_us))),
        ("responsesendtimems", |timed| millis(read(&timed.total_us).saturating_sub(read(&timed.handled_us)))),
        ("throttletimems", |timed| millis(read(&timed.throttled_us))),
        ("requestbytes", |timed| read(&timed.bytes) as f64),
    ];
    for (name, sum) in sums {
        let name = format!("kafka_network_requestmetrics_{name}");
        text.kind(&name, "summary");
        for (request, timed) in asked() {
            text.line(&format!("{name}_sum"), &[("request", request)], sum(timed));
            text.line(&format!("{name}_count"), &[("request", request)], read(&timed.count));
        }
    }
}

/// Of the disks: syncs, and the cleaner.
fn disks(text: &mut Text, broker: &Broker) {
    let logs = broker.replicas.logs();
    let sum = |of: fn(&Flushes) -> &AtomicU64| logs.dirs().iter().map(|dir| read(of(dir.flushes()))).sum();
    let name = "kafka_log_logflushstats_logflushrateandtimems";
    text.kind(name, "summary");
    text.value(&format!("{name}_sum"), millis(sum(|flushes| &flushes.micros)));
    text.value(&format!("{name}_count"), sum(|flushes| &flushes.count));
    if !broker.config.logs.cleaner {
        return;
    }
    let report = logs.cleaner_report();
    let name = "kafka_log_logcleanermanager";
    let percent = (report.ratio_max * 100.0).floor();
    text.one(&format!("{name}_max_dirty_percent"), "gauge", percent);
    if let Some(at_ms) = report.looked_at_ms {
        let ago_ms = clock::wall_ms().saturating_sub(at_ms).max(0);
        text.one(&format!("{name}_time_since_last_run_ms"), "gauge", ago_ms);
    }
    let name = format!("{name}_uncleanable_partitions_count");
    text.kind(&name, "gauge");
    for dir in logs.dirs() {
        let is_here =
            |failed: &&TopicPartition| logs.get(failed).is_some_and(|log| log.dir().path() == dir.path());
        let count = report.failed.iter().filter(is_here).count();
        text.line(&name, &[("logDirectory", &escaped(&dir.path().to_string_lossy()))], count);
    }
}

fn logs(text: &mut Text, broker: &Broker) {
    let shown: Vec<_> = broker.replicas.all().into_iter().take(limits::PARTITIONS_SHOWN_MAX).collect();
    let mut columns = [const { Vec::new() }; 4];
    for replica in &shown {
        // A log whose directory failed has nothing to say.
        let Ok(log) = replica.log().lock() else { continue };
        let figures = [
            log.size(),
            log.segment_count() as u64,
            to_u64(log.log_start_offset()),
            to_u64(log.end_offset()),
        ];
        for (column, figure) in columns.iter_mut().zip(figures) {
            column.push((replica.name(), figure));
        }
    }
    for (name, column) in ["size", "numlogsegments", "logstartoffset", "logendoffset"].iter().zip(columns) {
        text.by_partition(&format!("kafka_log_log_{name}"), column);
    }
}

/// A label's value that may have any characters.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn to_u64(offset: i64) -> u64 {
    offset.try_into().unwrap_or(0)
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Lines of the format. Writing into a string does not fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn kind(&mut self, name: &str, kind: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, value: impl Display) {
        self.kind(name, kind);
        self.value(name, value);
    }

    fn value(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn by_partition(&mut self, name: &str, figures: Vec<(&TopicPartition, u64)>) {
        self.kind(name, "gauge");
        for (of, figure) in figures {
            self.line(name, &[("topic", &of.topic), ("partition", &of.partition.to_string())], figure);
        }
    }

    /// The names of topics, the only labels that clients choose, have no characters that would have to be escaped.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect::<Vec<_>>();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }
}
