//! What operators ask over HTTP: is it alive, is it ready, and what does it count?

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use client::wire::kafka::ApiKey;
use tokio::sync::watch;

use crate::cluster::NO_LEADER;
use crate::server::{Broker, StartError};

/// Serves the operations port, and says where it is.
pub async fn serve(
    broker: Arc<Broker>,
    address: SocketAddr,
    mut stop: watch::Receiver<bool>,
) -> Result<SocketAddr, StartError> {
    let failed = |error| StartError::Listen {
        name: "operations".into(),
        host: address.ip().to_string(),
        port: address.port(),
        error,
    };
    let socket = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
        .route("/metrics", get(metrics))
        .with_state(broker);
    tokio::spawn(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(socket, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the operations port is closed");
        }
    });
    Ok(bound)
}

async fn ready(State(broker): State<Arc<Broker>>) -> (StatusCode, &'static str) {
    match broker.session() {
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no session with the coordinator\n"),
        Ok(_) if !broker.image().brokers.contains_key(&broker.id) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not known to the controller yet\n")
        }
        Ok(_) => (StatusCode::OK, "ok\n"),
    }
}

/// The names are those that the JMX exporter gives to Kafka's own.
async fn metrics(State(broker): State<Arc<Broker>>) -> String {
    let mut text = Text::default();
    let is_controller = broker.controlling().is_ok();
    text.one("kafka_controller_kafkacontroller_activecontrollercount", "gauge", u64::from(is_controller));
    let image = broker.image();
    let partitions = || image.topics.values().flat_map(|topic| topic.partitions.values());
    let offline = partitions().filter(|partition| partition.state.leader == NO_LEADER).count();
    text.one("kafka_controller_kafkacontroller_offlinepartitionscount", "gauge", offline as u64);
    text.one("kafka_controller_kafkacontroller_globaltopiccount", "gauge", image.topics.len() as u64);
    text.one("kafka_controller_kafkacontroller_globalpartitioncount", "gauge", partitions().count() as u64);

    let mine = broker.replicas.all();
    let led: Vec<_> = mine.iter().filter_map(|replica| replica.leads()).collect();
    let mut under_replicated = 0;
    for (replica, state) in mine.iter().filter_map(|replica| Some((replica, replica.leads()?))) {
        let name = replica.name();
        let assigned = image.partition(&name.topic, name.partition).map_or(0, |known| known.replicas.len());
        under_replicated += u64::from(state.isr.len() < assigned);
    }
    text.one("kafka_server_replicamanager_partitioncount", "gauge", mine.len() as u64);
    text.one("kafka_server_replicamanager_leadercount", "gauge", led.len() as u64);
    text.one("kafka_server_replicamanager_underreplicatedpartitions", "gauge", under_replicated);
    let offline_dirs = broker.replicas.logs().dirs().iter().filter(|dir| dir.failure().is_some()).count();
    text.one("kafka_log_logmanager_offlinelogdirectorycount", "gauge", offline_dirs as u64);

    let counted = &broker.metrics;
    text.one("kafka_server_brokertopicmetrics_messagesin_total", "counter", read(&counted.messages_in));
    text.one("kafka_server_brokertopicmetrics_bytesin_total", "counter", read(&counted.bytes_in));
    text.one("kafka_server_brokertopicmetrics_bytesout_total", "counter", read(&counted.bytes_out));
    text.one("rookery_broker_sendfile_bytes_total", "counter", read(&counted.sendfile_bytes));
    text.one(
        "kafka_server_brokertopicmetrics_failedproducerequests_total",
        "counter",
        read(&counted.produce_failures),
    );
    text.one(
        "kafka_server_brokertopicmetrics_failedfetchrequests_total",
        "counter",
        read(&counted.fetch_failures),
    );
    text.one("kafka_server_socket_server_metrics_connection_count", "gauge", broker.places.count() as u64);
    let groups = broker.groups.look(|groups| groups.list().len());
    text.one("kafka_coordinator_group_groupmetadatamanager_numgroups", "gauge", groups as u64);
    requests(&mut text, &broker);
    text.0
}

fn requests(text: &mut Text, broker: &Broker) {
    for (name, what) in [
        ("kafka_network_requestmetrics_requests_total", Which::Count),
        ("kafka_network_requestmetrics_localtimems_total", Which::Handled),
        ("kafka_network_requestmetrics_totaltimems_total", Which::Total),
    ] {
        text.kind(name, "counter");
        for key in ApiKey::ALL {
            let timed = broker.metrics.of(*key);
            if read(&timed.count) == 0 {
                continue;
            }
            let value = match what {
                Which::Count => read(&timed.count),
                Which::Handled => read(&timed.handled_us) / 1000,
                Which::Total => read(&timed.total_us) / 1000,
            };
            // Writing into a string does not fail.
            let _ = writeln!(text.0, "{name}{{request=\"{}\"}} {value}", key.name());
        }
    }
}

#[derive(Clone, Copy)]
enum Which {
    Count,
    Handled,
    Total,
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Metrics in Prometheus' text format.
#[derive(Default)]
struct Text(String);

impl Text {
    fn kind(&mut self, name: &str, kind: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, value: u64) {
        self.kind(name, kind);
        let _ = writeln!(self.0, "{name} {value}");
    }
}
