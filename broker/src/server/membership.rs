//! Is this broker part of the cluster, and is it the controller?
//!
//! One session after the other: connect, register, take part in elections, until the session is over. Without a session
//! this broker leads nothing: somebody else may.

use std::sync::Arc;
use std::time::Duration;

use client::zk::SessionState;
use tokio::sync::{mpsc, watch};

use super::config_changes;
use super::controlling::{Ask, Orders};
use super::elections::Candidate;
use super::metrics::add;
use super::{Broker, Session, clock, log_dirs};
use crate::registry::schema::Registration;
use crate::registry::{Registry, RegistryError};

/// How long to wait before a session is tried again that could not be had.
const RETRY: Duration = Duration::from_millis(500);

/// What a member needs.
#[derive(Debug)]
pub(super) struct Member {
    pub broker: Arc<Broker>,
    pub registration: Registration,
    pub asks: mpsc::Receiver<Ask>,
    pub orders: mpsc::Sender<Orders>,
    pub stop: watch::Receiver<bool>,
    /// The session before, whose nodes are ours to remove.
    pub last_session: Option<i64>,
}

impl Member {
    /// Stays a member with this session and its successors, until it is told to stop.
    pub(super) async fn run(mut self, mut registry: Registry, mut epoch: i64) {
        self.last_session = registry.session().session_id().map(|session| session.0);
        loop {
            let mut stop = self.stop.clone();
            tokio::select! {
                ended = self.live(&registry, epoch) => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, "the session with the coordinator is over");
                    }
                    add(&self.broker.metrics.sessions_lost, 1);
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
            self.broker.session.send_replace(None);
            self.broker.replicas.stop_leading();
            tokio::select! {
                again = self.again() => (registry, epoch) = again,
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
        self.broker.session.send_replace(None);
        // Ephemerals go with the session, so that others need not wait for it to expire.
        if let Err(error) = registry.session().close().await {
            tracing::warn!(%error, "the session was not closed");
        }
    }

    /// A new session, however long that takes.
    async fn again(&mut self) -> (Registry, i64) {
        loop {
            match self.try_again().await {
                Ok(again) => return again,
                Err(error) => tracing::warn!(%error, "not registered; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn try_again(&mut self) -> Result<(Registry, i64), RegistryError> {
        let registry = Registry::open(&self.broker.config.coordinator).await?;
        let epoch = registry.register(self.broker.id, &self.registration, self.last_session).await?;
        self.last_session = registry.session().session_id().map(|session| session.0);
        super::start::note_session(&self.broker.config, &registry);
        tracing::info!(epoch, "registered again");
        Ok((registry, epoch))
    }

    /// Lives as long as the session does.
    async fn live(&mut self, registry: &Registry, epoch: i64) -> Result<(), RegistryError> {
        let mut states = registry.session().states();
        let broker = Arc::clone(&self.broker);
        let (asks, orders) = (&mut self.asks, &self.orders);
        let values = &broker.config.values;
        let candidate = Candidate { registry, me: broker.id, values, asks, orders };
        let session = |is_controller| Some(Session { registry: registry.clone(), epoch, is_controller });
        let tell = |is_controller| drop(broker.session.send_replace(session(is_controller)));
        tokio::select! {
            result = candidate.run(clock::wall_ms, tell) => result,
            result = config_changes::follow(&broker, registry) => result,
            result = log_dirs::tell(&broker, registry) => result,
            () = async {
                while let Some(state) = states.next().await {
                    if state == SessionState::Suspended {
                        add(&broker.metrics.coordinator_lost, 1);
                    }
                    if state.is_final() {
                        return;
                    }
                }
            } => Err(client::zk::Error::SessionExpired.into()),
        }
    }
}
