//! What does the broker keep in the coordinator, and what does it learn from there?
//!
//! The znodes are those of Apache Kafka with ZooKeeper ([`paths`], [`schema`]), so its brokers and its old tools can work on
//! the same cluster. A [`Registry`] is one session; when it expires, everything begins anew with another.

pub mod brokers;
pub mod configs;
pub mod controller;
pub mod paths;
pub mod producer_ids;
pub mod quotas;
pub mod schema;
pub mod topics;

use client::wire::kafka::Uuid;
use client::zk::{Coordinator, CreateMode, Error};

use crate::config::CoordinatorConfig;
use schema::SchemaError;

/// Why something could not be read from the coordinator, or written there.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("coordinator: {0}")]
    Coordinator(#[from] Error),
    #[error("{0}")]
    Schema(#[from] SchemaError),
    #[error("zookeeper.connect={connect}: {reason}")]
    Connect { connect: String, reason: Error },
    /// A broker with this id is alive, in another process.
    #[error("a broker with id {0} is registered already; set another broker.id, or stop that one")]
    IdTaken(i32),
}

/// A session with the coordinator, and the znodes of one cluster.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) zk: Coordinator,
}

impl Registry {
    /// Connects, and makes sure of the nodes that every broker expects.
    pub async fn open(config: &CoordinatorConfig) -> Result<Registry, RegistryError> {
        let (hosts, chroot) = match config.connect.split_once('/') {
            Some((hosts, chroot)) => (hosts, format!("/{}", chroot.trim_end_matches('/'))),
            None => (config.connect.as_str(), "/".to_owned()),
        };
        let bad = |reason| RegistryError::Connect { connect: config.connect.clone(), reason };
        let zk = Coordinator::builder(hosts)
            .session_timeout(config.session_timeout)
            .connect_timeout(config.connect_timeout)
            .connect()
            .await
            .map_err(bad)?;
        make_all(&zk, &ancestors(&chroot)).await?;
        let zk = if chroot == "/" { zk } else { zk.chroot(&chroot).map_err(bad)? };
        Registry::over(zk).await
    }

    /// The same over a session that is open already.
    pub async fn over(zk: Coordinator) -> Result<Registry, RegistryError> {
        make_all(&zk, paths::ALWAYS_THERE).await?;
        Ok(Registry { zk })
    }

    /// The session, for those who wait for its end.
    pub fn session(&self) -> &Coordinator {
        &self.zk
    }

    /// The cluster's id: the one that is there, or a new one, which `draw` makes.
    pub async fn cluster_id(&self, draw: impl FnOnce() -> Uuid) -> Result<String, RegistryError> {
        if let Some(id) = self.read_cluster_id().await? {
            return Ok(id);
        }
        make_all(&self.zk, &["/cluster"]).await?;
        let id = draw().to_string();
        match self.zk.create(paths::CLUSTER_ID, &schema::encode_cluster_id(&id), CreateMode::Persistent).await
        {
            Ok(_) => Ok(id),
            Err(Error::NodeExists | Error::UnknownOutcome) => {
                self.read_cluster_id().await?.ok_or(RegistryError::Coordinator(Error::UnknownOutcome))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_cluster_id(&self) -> Result<Option<String>, RegistryError> {
        match self.zk.get(paths::CLUSTER_ID).await {
            Ok((data, _)) => Ok(Some(schema::decode_cluster_id(paths::CLUSTER_ID, &data)?)),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The data of a node; `None` if there is no such node.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<(bytes::Bytes, client::zk::Stat)>, Error> {
        match self.zk.get(path).await {
            Ok((data, stat)) => Ok(Some((data.into_bytes(), stat))),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Makes persistent nodes that are not there yet, parents first.
pub(crate) async fn make_all(zk: &Coordinator, paths: &[impl AsRef<str>]) -> Result<(), Error> {
    let sent: Vec<_> =
        paths.iter().map(|path| zk.create(path.as_ref(), b"", CreateMode::Persistent)).collect();
    for (path, pending) in paths.iter().zip(sent) {
        match pending.await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(Error::UnknownOutcome) => match zk.create(path.as_ref(), b"", CreateMode::Persistent).await {
                Ok(_) | Err(Error::NodeExists) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `/a/b/c` → `/a`, `/a/b`, `/a/b/c`.
fn ancestors(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    ends.map(|end| path[..end].to_owned()).filter(|path| path.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chroot_has_parents() {
        assert_eq!(ancestors("/a/b/c"), ["/a", "/a/b", "/a/b/c"]);
        assert!(ancestors("/").is_empty());
    }
}
