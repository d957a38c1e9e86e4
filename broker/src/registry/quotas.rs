//! How are limits of users, client ids and addresses kept?

use std::collections::BTreeMap;

use client::zk::Error;

use super::{Registry, RegistryError, paths, schema};
use crate::quota::{BadEntity, Entity, Kind};

/// The limit of an address: connections a second.
pub const CONNECTION_RATE: &str = "connection_creation_rate";

type Settings = BTreeMap<String, String>;

/// The limits among the settings of an entity; what is no number is passed over, and said.
pub fn limits(entity: &Entity, values: &Settings) -> BTreeMap<Kind, f64> {
    let known = Kind::ALL.into_iter().filter_map(|kind| {
        let value = values.get(kind.key())?;
        let limit = value.parse::<f64>().ok().filter(|limit| limit.is_finite() && *limit >= 0.0);
        if limit.is_none() {
            tracing::warn!(
                entity = entity.path(),
                key = kind.key(),
                value,
                "is no limit, and is passed over"
            );
        }
        Some((kind, limit?))
    });
    known.collect()
}

impl Registry {
    /// All entities that have settings of their own.
    pub async fn quota_entities(&self) -> Result<BTreeMap<Entity, Settings>, RegistryError> {
        let mut found = BTreeMap::new();
        for kind in ["clients", "users", "ips"] {
            self.gather(kind, &mut found).await?;
        }
        for user in self.names("users").await? {
            self.gather(&format!("users/{user}/clients"), &mut found).await?;
        }
        Ok(found)
    }

    async fn gather(&self, kind: &str, found: &mut BTreeMap<Entity, Settings>) -> Result<(), RegistryError> {
        for (name, values) in self.configs(kind).await? {
            match Entity::parse(&format!("{kind}/{name}")) {
                Ok(entity) => drop(found.insert(entity, values)),
                Err(BadEntity(..)) => tracing::warn!(kind, name, "a node whose name nobody can have written"),
            }
        }
        Ok(())
    }

    async fn names(&self, kind: &str) -> Result<Vec<String>, RegistryError> {
        match self.zk.children(&paths::config(kind)).await {
            Ok((names, _)) => Ok(names),
            Err(Error::NoNode) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces an entity's settings, provided that nobody changed them since they were read, and tells all brokers. Nodes
    /// that hold nothing any more are removed.
    pub async fn set_quota(
        &self,
        entity: &Entity,
        values: &Settings,
        known: Option<i32>,
    ) -> Result<(), RegistryError> {
        let path = entity.path();
        if !values.is_empty() || !self.remove_empty(entity, known).await? {
            self.put_config(&path, values, known).await?;
        }
        self.notice_config_change(&path).await
    }

    /// Whether the entity's node could go; a user with client ids keeps its own.
    async fn remove_empty(&self, entity: &Entity, known: Option<i32>) -> Result<bool, RegistryError> {
        if known.is_some() {
            match self.zk.delete(&paths::config(&entity.path()), known).await {
                Ok(()) | Err(Error::NoNode) => {}
                Err(Error::NotEmpty) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        let Entity::UserClient(user, _) = entity else { return Ok(true) };
        let user = paths::config(&Entity::User(user.clone()).path());
        match self.zk.delete(&format!("{user}/clients"), None).await {
            Ok(()) | Err(Error::NoNode) => {}
            // It has other client ids.
            Err(Error::NotEmpty) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        if let Some((data, stat)) = self.read(&user).await?
            && schema::decode_config(&user, &data)?.is_empty()
        {
            match self.zk.delete(&user, Some(stat.version)).await {
                // Somebody has just given it something.
                Ok(()) | Err(Error::NoNode | Error::NotEmpty | Error::BadVersion) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}
