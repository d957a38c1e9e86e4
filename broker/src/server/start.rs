//! In which order does a broker come up, and go?

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::group_shell::GroupShell;
use super::membership::Member;
use super::metrics::Metrics;
use super::producer_ids::ProducerIds;
use super::quotas::QuotaShell;
use super::topic_configs::TopicConfigs;
use super::{Broker, clock, log_threads, random, replica_task};
use crate::api::{self, FetchSessions};
use crate::cluster::Image;
use crate::config::{Config, ConnectionLimits, topic_settings};
use crate::limits;
use crate::log::checkpoint::MetaProperties;
use crate::log::{Intervals, LogDir, LogError, LogManager, RealDisk, TopicConfig};
use crate::net::listener::{Door, Places};
use crate::net::memory::RequestMemory;
use crate::net::operations;
use crate::net::tls::Certificates;
use crate::registry::schema::Registration;
use crate::registry::{Registry, RegistryError};
use crate::replicas::Replicas;

/// How long the controller may take to be there before topics are made that the configuration wants.
const WANTED_WITHIN: Duration = Duration::from_secs(30);
/// How long a stop waits for what clients still have under way.
const CONNECTIONS_END_WITHIN: Duration = Duration::from_secs(2);
/// How long clients wait outside until this broker leads what it should: those that come in before are sent away.
const LEADING_WITHIN: Duration = Duration::from_secs(10);

/// How long an advertised name may take to resolve.
const RESOLVES_WITHIN: Duration = Duration::from_secs(5);
/// How often the files of certificates are looked at.
const CERTIFICATES_CHECKED_EVERY: Duration = Duration::from_secs(2);

/// Why a broker does not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot listen on {name}://{host}:{port}: {error}")]
    Listen { name: String, host: String, port: u16, error: std::io::Error },
    #[error("{} belongs to broker {found}, and this is broker {wanted}; set broker.id={found}, or use another directory", dir.display())]
    OtherBroker { dir: PathBuf, found: i32, wanted: i32 },
    #[error("{} belongs to cluster {found}, and the coordinator has cluster {wanted}; check zookeeper.connect", dir.display())]
    OtherCluster { dir: PathBuf, found: String, wanted: String },
    #[error("{0}")]
    Settings(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A broker that runs.
#[derive(Debug)]
pub struct Running {
    pub broker: Arc<Broker>,
    /// Where it listens, by the listener's name.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Where operations are answered, if anywhere.
    pub operations: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    member: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
    doors: Vec<JoinHandle<()>>,
    log_threads: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Brings a broker up: when this returns, it is registered and serves.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let registry = Registry::open(&config.coordinator).await?;
        let cluster_id = registry.cluster_id(random::uuid).await?;
        let logs = Arc::new(open_logs(&config, &registry).await?);
        let id = identity(&config, &registry, &logs, &cluster_id).await?;

        let mut doors = Vec::new();
        for listener in &config.listeners.bind {
            let door = Door::open(listener, config.connections.backlog).await.map_err(|error| {
                StartError::Listen {
                    name: listener.name.clone(),
                    host: listener.host.clone(),
                    port: listener.port,
                    error,
                }
            })?;
            doors.push(door);
        }
        let certificates = Certificates::open(&config.tls).map_err(StartError::Tls)?;
        let registration = registration(&config, &doors);

        let (asks_in, asks) = mpsc::channel(limits::ASKS_MAX);
        let (orders, orders_out) = mpsc::channel(limits::ORDERS_MAX);
        let (stop, stopped) = watch::channel(false);
        let connection_limits = ConnectionLimits::of(&config.values).map_err(StartError::Settings)?;
        let broker = Arc::new(Broker {
            id,
            cluster_id,
            image: watch::Sender::new(Arc::new(Image::default())),
            replicas: Replicas::new(id, Arc::clone(&logs)),
            topic_configs: TopicConfigs::new(config.values.clone()).map_err(StartError::Settings)?,
            groups: GroupShell::new(config.groups.settings.clone()),
            producer_ids: ProducerIds::default(),
            fetch_sessions: Mutex::new(FetchSessions::new(config.fetch.sessions_max)),
            places: Places::new(connection_limits, config.quotas.windows),
            request_memory: RequestMemory::new(config.connections.request_memory_bytes),
            quotas: QuotaShell::new(config.quotas),
            certificates,
            metrics: Metrics::default(),
            session: watch::Sender::new(None),
            asks: asks_in.clone(),
            config,
        });
        let last_session = last_session(&broker.config);
        let epoch = registry.register(id, &registration, last_session).await?;
        note_session(&broker.config, &registry);
        tracing::info!(id, epoch, cluster = broker.cluster_id, "registered");

        let for_timers = Arc::clone(&broker);
        let mut tasks = vec![
            tokio::spawn(replica_task::run(Arc::clone(&broker), orders_out, asks_in)),
            tokio::spawn(async move { for_timers.groups.keep_time(&for_timers).await }),
        ];
        let member = Member {
            broker: Arc::clone(&broker),
            registration,
            asks,
            orders,
            stop: stopped.clone(),
            last_session: None,
        };
        let member = tokio::spawn(member.run(registry, epoch));
        let log_threads = log_threads::start(&broker, &stopped).map_err(StartError::Thread)?;
        let operations = match broker.config.operations {
            Some(address) => Some(operations::serve(Arc::clone(&broker), address, stopped.clone()).await?),
            None => None,
        };
        if !broker.config.tls.is_empty() {
            tasks.push(tokio::spawn(keep_certificates(Arc::clone(&broker))));
        }
        if let Some(wanted) = broker.config.create_topics.clone() {
            tasks.push(tokio::spawn(create_wanted(Arc::clone(&broker), wanted)));
        }

        broker
            .wait_until(tokio::time::Instant::now() + LEADING_WITHIN, |image| leads_its_share(&broker, image))
            .await;
        let mut addresses = Vec::new();
        let mut serving = Vec::new();
        for door in doors {
            if let Ok(address) = door.address() {
                addresses.push((door.listener.name.clone(), address));
            }
            serving.push(tokio::spawn(door.serve(Arc::clone(&broker), stopped.clone())));
        }
        tasks.push(tokio::spawn(check_names(Arc::clone(&broker))));
        Ok(Running { broker, addresses, operations, stop, member, tasks, doors: serving, log_threads })
    }

    /// Stops well: nobody is served any more, the logs are closed, and the session ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for door in self.doors {
            let _ = door.await;
        }
        let epoch = self.broker.session().map_or(-1, |session| session.epoch);
        let logs = Arc::clone(self.broker.replicas.logs());
        let _ = self.member.await;
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        let threads = self.log_threads;
        let closed = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
            logs.close(epoch, clock::wall_ms());
        });
        let _ = closed.await;
        // Connections end by themselves; the directories are free for another process, or another broker of this one, when
        // the last has gone.
        let deadline = tokio::time::Instant::now() + CONNECTIONS_END_WITHIN;
        while Arc::strong_count(&self.broker) > 1 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tracing::info!("stopped");
    }
}

/// Warns of advertised names that lead nowhere from here: most likely from elsewhere, too.
async fn check_names(broker: Arc<Broker>) {
    for told in &broker.config.listeners.advertised {
        let looked_up = tokio::net::lookup_host((told.host.as_str(), told.port));
        let why = match tokio::time::timeout(RESOLVES_WITHIN, looked_up).await {
            Ok(Ok(addresses)) => match addresses.count() {
                0 => "it has no address".to_owned(),
                _ => continue,
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {RESOLVES_WITHIN:?}"),
        };
        tracing::warn!(
            listener = told.listener,
            host = told.host,
            why,
            "the advertised host does not resolve; clients will not get there"
        );
    }
}

/// Reads certificates again when their files change.
async fn keep_certificates(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(CERTIFICATES_CHECKED_EVERY).await;
        let broker = Arc::clone(&broker);
        // Files may be on a disk that does not answer.
        let refreshed = tokio::task::spawn_blocking(move || broker.refresh_certificates());
        if let Err(panic) = refreshed.await {
            tracing::error!(%panic, "certificates are not looked after any more");
            return;
        }
    }
}

/// Makes the topics that a container's variable names: `name:partitions:replicas[:cleanup policy]`, with commas between.
async fn create_wanted(broker: Arc<Broker>, wanted: String) {
    broker.wait_until(tokio::time::Instant::now() + WANTED_WITHIN, |image| !image.brokers.is_empty()).await;
    for text in wanted.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match api::parse_wanted(text) {
            Some((name, new)) => api::create_and_wait(&broker, &name, new, WANTED_WITHIN).await,
            None => tracing::warn!(text, "KAFKA_CREATE_TOPICS: name:partitions:replicas[:policy] is wanted"),
        }
    }
}

/// Whether this broker leads every partition that it should.
fn leads_its_share(broker: &Broker, image: &Image) -> bool {
    let mut topics = image.topics.iter();
    image.brokers.contains_key(&broker.id)
        && topics.all(|(name, topic)| {
            let mut mine =
                topic.partitions.iter().filter(|(_, partition)| partition.state.leader == broker.id);
            mine.all(|(&partition, _)| {
                broker.replicas.get(name, partition).is_some_and(|replica| replica.leads().is_some())
            })
        })
}

async fn open_logs(config: &Config, registry: &Registry) -> Result<LogManager, StartError> {
    let overrides = registry.configs("topics").await?;
    let values = config.values.clone();
    let dirs = config.log_dirs.clone();
    let intervals = Intervals {
        retention_ms: millis(config.logs.retention_interval),
        recovery_point_ms: millis(config.logs.recovery_point_interval),
        log_start_ms: millis(config.logs.log_start_interval),
        high_watermark_ms: millis(config.logs.high_watermark_interval),
        producer_id_expiration_ms: millis(config.producer_expiration),
        ..Intervals::default()
    };
    let opened = tokio::task::spawn_blocking(move || {
        let dirs = dirs.iter().map(|dir| open_dir(dir)).collect::<Result<Vec<LogDir>, LogError>>()?;
        let none = std::collections::BTreeMap::new();
        let defaults = topic_settings(&none, &values).map_err(StartError::Settings)?.log;
        let config_of = |topic: &str| -> Arc<TopicConfig> {
            let settings = topic_settings(overrides.get(topic).unwrap_or(&none), &values);
            Arc::new(settings.map_or_else(|_| defaults.clone(), |settings| settings.log))
        };
        Ok(LogManager::open(dirs, &config_of, 1, intervals, clock::wall_ms())?)
    });
    opened.await.map_err(|panic| StartError::Settings(panic.to_string()))?
}

/// Opens a data directory. What the disk has against it keeps away what is in it, and nothing else; but somebody else
/// who uses it is no matter of disks.
fn open_dir(path: &Path) -> Result<LogDir, LogError> {
    // Clients tell directories by their whole paths.
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    match RealDisk::open(path) {
        Ok(disk) => Ok(LogDir::new(Arc::new(disk))),
        Err(error @ LogError::Io { .. }) => Ok(LogDir::unusable(path, &error)),
        Err(error) => Err(error),
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Which broker this is: as configured, as its directories say, or a new one. All must agree.
async fn identity(
    config: &Config,
    registry: &Registry,
    logs: &LogManager,
    cluster_id: &str,
) -> Result<i32, StartError> {
    let found = logs.meta_properties()?;
    let owner = found.iter().find_map(|(_, meta)| meta.as_ref()?.broker_id);
    let id = match config.broker_id.or(owner) {
        Some(id) => id,
        None => registry.draw_broker_id(config.reserved_broker_id_max).await?,
    };
    for (dir, meta) in found {
        let Some(meta) = meta else { continue };
        match (meta.broker_id, meta.cluster_id) {
            (Some(found), _) if found != id => {
                return Err(StartError::OtherBroker { dir, found, wanted: id });
            }
            (_, Some(found)) if found != cluster_id => {
                return Err(StartError::OtherCluster { dir, found, wanted: cluster_id.to_owned() });
            }
            _ => {}
        }
    }
    let meta = MetaProperties {
        broker_id: Some(id),
        cluster_id: Some(cluster_id.to_owned()),
        ..MetaProperties::default()
    };
    logs.claim(&meta)?;
    Ok(id)
}

/// What others are told of this broker, with the ports that were bound.
fn registration(config: &Config, doors: &[Door]) -> Registration {
    let mut endpoints = config.listeners.advertised.clone();
    for endpoint in &mut endpoints {
        let door = doors.iter().find(|door| door.listener.name == endpoint.listener);
        if endpoint.port == 0
            && let Some(Ok(address)) = door.map(Door::address)
        {
            endpoint.port = address.port();
        }
    }
    Registration { endpoints, rack: config.rack.clone(), timestamp_ms: clock::wall_ms() }
}

/// Which session was the last of the broker that this directory belongs to. The directory's lock says that it is over, so
/// what the session left in the coordinator need not be waited for.
fn last_session_file(config: &Config) -> PathBuf {
    config.log_dirs[0].join("coordinator-session")
}

fn last_session(config: &Config) -> Option<i64> {
    std::fs::read_to_string(last_session_file(config)).ok()?.trim().parse().ok()
}

pub(super) fn note_session(config: &Config, registry: &Registry) {
    let Some(session) = registry.session().session_id() else { return };
    if let Err(error) = std::fs::write(last_session_file(config), format!("{}\n", session.0)) {
        tracing::warn!(%error, "the session is not noted: a start after a crash will wait for it to expire");
    }
}
