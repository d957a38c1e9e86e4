//! One process: what is shared, what runs, and in which order it starts and stops.

pub mod clock;
mod config_changes;
pub mod controlling;
pub mod elections;
pub mod group_shell;
mod log_dirs;
mod log_threads;
mod membership;
pub mod metrics;
pub mod producer_ids;
pub mod quotas;
pub mod random;
mod replica_task;
pub(crate) mod seldom;
mod start;
mod times;
mod topic_configs;

use std::sync::{Arc, Mutex};

use client::wire::kafka::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::FetchSessions;
use crate::cluster::Image;
use crate::config::{Config, tls_configs};
use crate::controller::Answer;
use crate::limits;
use crate::net::listener::Places;
use crate::net::memory::RequestMemory;
use crate::net::tls::Certificates;
use crate::registry::Registry;
use crate::replicas::Replicas;

use controlling::{Ask, Request};
use group_shell::GroupShell;
use metrics::Metrics;
use producer_ids::ProducerIds;
use quotas::QuotaShell;
use topic_configs::TopicConfigs;

pub use start::{Running, StartError};
pub use topic_configs::Dynamic;

/// What everybody in this process shares.
#[derive(Debug)]
pub struct Broker {
    pub config: Config,
    pub id: i32,
    pub cluster_id: String,
    /// The cluster as the controller describes it.
    pub image: watch::Sender<Arc<Image>>,
    pub replicas: Replicas,
    pub topic_configs: TopicConfigs,
    pub groups: GroupShell,
    pub producer_ids: ProducerIds,
    pub fetch_sessions: Mutex<FetchSessions>,
    pub places: Arc<Places>,
    pub request_memory: RequestMemory,
    pub quotas: QuotaShell,
    pub certificates: Certificates,
    pub metrics: Metrics,
    /// The session with the coordinator, while there is one.
    session: watch::Sender<Option<Session>>,
    /// Requests to the controller; it answers only while it is this broker.
    asks: mpsc::Sender<Ask>,
}

/// What holds while this broker is registered.
#[derive(Debug, Clone)]
pub struct Session {
    pub registry: Registry,
    /// The epoch of the registration.
    pub epoch: i64,
    /// This broker is the controller.
    pub is_controller: bool,
}

impl Broker {
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.borrow())
    }

    /// The session; without one nothing can be changed.
    pub fn session(&self) -> Result<Session, ErrorCode> {
        self.session.borrow().clone().ok_or(ErrorCode::BROKER_NOT_AVAILABLE)
    }

    /// The session, if this broker is the controller.
    pub fn controlling(&self) -> Result<Session, ErrorCode> {
        let session = self.session.borrow().clone();
        session.filter(|session| session.is_controller).ok_or(ErrorCode::NOT_CONTROLLER)
    }

    /// Reads certificates again that have changed, or that are other files now.
    pub(crate) fn refresh_certificates(&self) {
        match tls_configs(&self.topic_configs.broker(), &self.config.listeners) {
            Ok(configs) => self.certificates.refresh(&configs),
            Err(error) => tracing::error!(error, "certificates stay as they were"),
        }
    }

    /// Asks the controller, if it is this broker.
    pub async fn ask_controller(&self, request: Request) -> Result<Answer, ErrorCode> {
        self.controlling()?;
        let (answer, answered) = oneshot::channel();
        let sent = self.asks.send(Ask::Request(request, answer)).await;
        sent.map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        // The controller may have been replaced between the question and the answer.
        let answer = tokio::time::timeout(limits::CONTROLLER_ANSWERS_WITHIN, answered).await;
        answer.map_err(|_| ErrorCode::REQUEST_TIMED_OUT)?.map_err(|_| ErrorCode::NOT_CONTROLLER)
    }

    /// Waits until the cluster looks as wanted, or until the time is up.
    pub async fn wait_until(&self, deadline: tokio::time::Instant, wanted: impl Fn(&Image) -> bool) -> bool {
        let mut image = self.image.subscribe();
        let seen = tokio::time::timeout_at(deadline, image.wait_for(|image| wanted(image)));
        matches!(seen.await, Ok(Ok(_)))
    }
}
