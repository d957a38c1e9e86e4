//! Which brokers are there, and am I one of them?

use std::collections::{BTreeMap, BTreeSet};

use client::zk::{CreateMode, Error, MultiOutcome, Stat};

use super::schema::{self, Registration};
use super::{Registry, RegistryError, paths};
use crate::cluster::Broker;

/// How many notices are read at once; the others are read when these are gone.
const NOTICES_MAX: usize = 1000;

impl Registry {
    /// Tells the controller that a data directory of this broker failed.
    pub async fn tell_log_dir_failure(&self, id: i32) -> Result<(), RegistryError> {
        let notice = schema::encode_log_dir_failure(id);
        self.zk.create(paths::LOG_DIR_EVENT_PREFIX, &notice, CreateMode::PersistentSequential).await?;
        Ok(())
    }

    /// The brokers that left notices of failed data directories, and the notices.
    pub async fn log_dir_failures(&self) -> Result<(BTreeSet<i32>, Vec<String>), RegistryError> {
        let (names, _) = self.zk.children(paths::LOG_DIR_EVENTS).await?;
        let notices: Vec<String> =
            names.iter().take(NOTICES_MAX).map(|name| format!("{}/{name}", paths::LOG_DIR_EVENTS)).collect();
        let sent: Vec<_> = notices.iter().map(|path| self.zk.get(path)).collect();
        let mut brokers = BTreeSet::new();
        for (path, pending) in notices.iter().zip(sent) {
            match pending.await {
                Ok((data, _)) => match schema::decode_log_dir_failure(path, &data) {
                    Ok(broker) => {
                        brokers.insert(broker);
                    }
                    Err(error) => tracing::warn!(%error, "the notice is not understood, and is removed"),
                },
                Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((brokers, notices))
    }

    /// A broker id that nobody had: above `reserved_max`, rising by one with every call of anybody.
    pub async fn draw_broker_id(&self, reserved_max: i32) -> Result<i32, RegistryError> {
        let stat = self.zk.set(paths::BROKER_SEQUENCE, b"", None).await?;
        Ok(reserved_max.saturating_add(stat.version))
    }

    /// Registers this broker until the session ends, and returns its epoch.
    ///
    /// A node that the session `over` left is removed. One of any other session is waited for a while: it may be ours as
    /// well, and goes when that session expires.
    pub async fn register(
        &self,
        id: i32,
        registration: &Registration,
        over: Option<i64>,
    ) -> Result<i64, RegistryError> {
        let path = paths::broker(id);
        let data = registration.encode();
        let patience = self.zk.session_timeout().unwrap_or_default() * 2;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            // A plain create gives no numbers back in older servers, and Kafka's brokers begin at version 1 as well.
            let made =
                self.zk.multi().create(&path, b"", CreateMode::Ephemeral).set(&path, &data, 0).commit().await;
            match made {
                Ok(outcomes) => {
                    if let Some(MultiOutcome::Set(stat)) = outcomes.last() {
                        return Ok(stat.czxid);
                    }
                }
                Err(Error::Transaction { index: 0, error }) if *error == Error::NodeExists => {}
                Err(Error::UnknownOutcome) => {}
                Err(error) => return Err(error.into()),
            }
            let (stat, mut watch) = self.zk.exists_and_watch(&path).await?;
            let Some(stat) = stat else { continue };
            if self.is_mine(&stat) {
                return Ok(stat.czxid);
            }
            if Some(stat.ephemeral_owner) == over {
                match self.zk.delete(&path, stat.version).await {
                    Ok(()) | Err(Error::NoNode | Error::BadVersion | Error::UnknownOutcome) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
                return Err(RegistryError::IdTaken(id));
            }
        }
    }

    /// Tells the others that this broker is reached in another way.
    pub async fn update_registration(
        &self,
        id: i32,
        registration: &Registration,
    ) -> Result<(), RegistryError> {
        self.zk.set(&paths::broker(id), &registration.encode(), None).await?;
        Ok(())
    }

    pub(super) fn is_mine(&self, stat: &Stat) -> bool {
        self.zk.session_id().is_some_and(|session| stat.ephemeral_owner == session.0)
    }

    /// All brokers that are registered. A registration that cannot be read is left out, and said.
    pub async fn brokers(&self) -> Result<BTreeMap<i32, Broker>, RegistryError> {
        let (ids, _) = self.zk.children(paths::BROKER_IDS).await?;
        let ids: Vec<i32> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let sent: Vec<_> = ids.iter().map(|&id| self.zk.get(&paths::broker(id))).collect();
        let mut brokers = BTreeMap::new();
        for (id, pending) in ids.into_iter().zip(sent) {
            let (data, stat) = match pending.await {
                Ok(found) => found,
                Err(Error::NoNode) => continue,
                Err(error) => return Err(error.into()),
            };
            match Registration::decode(&paths::broker(id), &data) {
                Ok(Registration { endpoints, rack, .. }) => {
                    brokers.insert(id, Broker { epoch: stat.czxid, endpoints, rack });
                }
                Err(error) => tracing::warn!(%error, "a broker is passed over"),
            }
        }
        Ok(brokers)
    }
}
