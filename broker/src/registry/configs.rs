//! How are settings kept that may change while brokers run?

use std::collections::BTreeMap;

use client::zk::{CreateMode, Error, Watch};

use super::{Registry, RegistryError, make_all, paths, schema};

/// Settings of one entity, and the version of the node that holds them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntityConfig {
    pub values: BTreeMap<String, String>,
    /// `None`: there is no node.
    pub version: Option<i32>,
}

impl Registry {
    /// The settings of an entity, for example of `topics/payments` or `brokers/<default>`.
    pub async fn config(&self, entity: &str) -> Result<EntityConfig, RegistryError> {
        let path = paths::config(entity);
        Ok(match self.read(&path).await? {
            Some((data, stat)) => {
                EntityConfig { values: schema::decode_config(&path, &data)?, version: Some(stat.version) }
            }
            None => EntityConfig::default(),
        })
    }

    /// The settings of all entities directly below `kind`, such as `topics`.
    pub async fn configs(
        &self,
        kind: &str,
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, RegistryError> {
        let (names, _) = match self.zk.children(&paths::config(kind)).await {
            Ok(found) => found,
            Err(Error::NoNode) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let sent: Vec<_> =
            names.iter().map(|name| self.zk.get(&paths::config(&format!("{kind}/{name}")))).collect();
        let mut configs = BTreeMap::new();
        for (name, pending) in names.into_iter().zip(sent) {
            match pending.await {
                Ok((data, _)) => {
                    let values = schema::decode_config(&paths::config(&format!("{kind}/{name}")), &data)?;
                    configs.insert(name, values);
                }
                Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(configs)
    }

    /// Replaces an entity's settings, provided that nobody changed them since they were read, and tells all brokers.
    pub async fn set_config(
        &self,
        entity: &str,
        values: &BTreeMap<String, String>,
        known: Option<i32>,
    ) -> Result<(), RegistryError> {
        self.put_config(entity, values, known).await?;
        self.notice_config_change(entity).await
    }

    /// Tells all brokers that an entity has other settings.
    pub(super) async fn notice_config_change(&self, entity: &str) -> Result<(), RegistryError> {
        let notice = schema::encode_config_change(entity);
        self.zk.create(paths::CONFIG_CHANGE_PREFIX, &notice, CreateMode::PersistentSequential).await?;
        Ok(())
    }

    pub(super) async fn put_config(
        &self,
        entity: &str,
        values: &BTreeMap<String, String>,
        known: Option<i32>,
    ) -> Result<(), RegistryError> {
        let path = paths::config(entity);
        let data = schema::encode_config(values);
        if let Some(version) = known {
            self.zk.set(&path, &data, version).await?;
            return Ok(());
        }
        let parents: Vec<String> = super::ancestors(&path);
        make_all(&self.zk, &parents[..parents.len().saturating_sub(1)]).await?;
        self.zk.create(&path, &data, CreateMode::Persistent).await?;
        Ok(())
    }

    /// Everything that happens below `/config/changes`, and the entities named there after `seen`, in order.
    pub async fn watch_config_changes(&self) -> Result<Watch, RegistryError> {
        Ok(self.zk.watch(paths::CONFIG_CHANGES).await?)
    }

    /// The entities whose settings changed, by the number of the notice; only those after `seen`.
    pub async fn config_changes(&self, seen: i64) -> Result<BTreeMap<i64, String>, RegistryError> {
        let (names, _) = self.zk.children(paths::CONFIG_CHANGES).await?;
        let mut changes = BTreeMap::new();
        for name in names {
            let Some(number) = name.rsplit('_').next().and_then(|digits| digits.parse::<i64>().ok()) else {
                continue;
            };
            if number <= seen {
                continue;
            }
            let path = format!("{}/{name}", paths::CONFIG_CHANGES);
            if let Some((data, _)) = self.read(&path).await? {
                match schema::decode_config_change(&path, &data) {
                    Ok(entity) => {
                        changes.insert(number, entity);
                    }
                    Err(error) => tracing::warn!(%error, "a notice is passed over"),
                }
            }
        }
        Ok(changes)
    }

    /// Removes notices that every broker has had time to see.
    pub async fn purge_config_changes(&self, older_than_ms: i64) -> Result<(), RegistryError> {
        let (names, _) = self.zk.children(paths::CONFIG_CHANGES).await?;
        for name in names {
            let path = format!("{}/{name}", paths::CONFIG_CHANGES);
            if let Some(stat) = self.zk.exists(&path).await?
                && stat.ctime < older_than_ms
            {
                match self.zk.delete(&path, None).await {
                    Ok(()) | Err(Error::NoNode) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
