//! How do changed settings get into effect?
//!
//! Whoever changes some leaves a notice in the coordinator; every broker reads there what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::quotas::address_limit;
use super::topic_configs::Dynamic;
use super::{Broker, clock};
use crate::config::ConnectionLimits;
use crate::quota::Entity;
use crate::registry::{Registry, RegistryError};

/// Notices of changes are kept so long for brokers that were away.
const CHANGES_KEPT_MS: i64 = 15 * 60 * 1000;
pub(super) const ALL_BROKERS: &str = "brokers/<default>";

/// Takes over settings as they change.
pub(super) async fn follow(broker: &Arc<Broker>, registry: &Registry) -> Result<(), RegistryError> {
    let mut watch = registry.watch_config_changes().await?;
    let mut seen = -1;
    // Whatever was noted before this session may have been missed.
    broker_changed(broker, registry).await?;
    for (topic, values) in registry.configs("topics").await? {
        topic_changed(broker, &topic, values);
    }
    all_quotas(broker, registry).await?;
    let own = format!("brokers/{}", broker.id);
    loop {
        let changes = registry.config_changes(seen).await?;
        seen = changes.keys().next_back().copied().unwrap_or(seen);
        // What is read is the newest, however often it changed.
        let changed: BTreeSet<String> = changes.into_values().collect();
        for entity in changed {
            if let Some(topic) = entity.strip_prefix("topics/") {
                topic_changed(broker, topic, registry.config(&entity).await?.values);
            } else if entity == own || entity == ALL_BROKERS {
                broker_changed(broker, registry).await?;
            } else if let Ok(entity) = Entity::parse(&entity) {
                let values = registry.config(&entity.path()).await?.values;
                broker.quotas.set(&entity, &values);
                if let Some((address, limit)) = address_limit(&entity, &values).await {
                    broker.places.limit_address(address, limit);
                }
            }
        }
        registry.purge_config_changes(clock::wall_ms() - CHANGES_KEPT_MS).await?;
        watch.changed().await.ok_or(client::zk::Error::SessionExpired)?;
    }
}

/// Takes over all limits of clients that there are, in place of those that were known.
async fn all_quotas(broker: &Broker, registry: &Registry) -> Result<(), RegistryError> {
    let entities = registry.quota_entities().await?;
    broker.quotas.replace(&entities);
    let mut addresses = Vec::new();
    for (entity, values) in &entities {
        addresses.extend(address_limit(entity, values).await);
    }
    broker.places.replace_address_limits(addresses);
    Ok(())
}

fn topic_changed(broker: &Broker, topic: &str, values: BTreeMap<String, String>) {
    let settings = broker.topic_configs.set(topic, values);
    broker.replicas.set_settings(topic, &settings);
}

async fn broker_changed(broker: &Broker, registry: &Registry) -> Result<(), RegistryError> {
    let dynamic = Dynamic {
        own: registry.config(&format!("brokers/{}", broker.id)).await?.values,
        all: registry.config(ALL_BROKERS).await?.values,
    };
    if dynamic == broker.topic_configs.of_broker().1 {
        return Ok(());
    }
    let values = broker.config.values.overlaid(&dynamic.all).overlaid(&dynamic.own);
    let understood = ConnectionLimits::of(&values)
        .and_then(|limits| broker.topic_configs.set_dynamic(dynamic).map(|()| limits));
    match understood {
        Ok(limits) => {
            broker.places.set_limits(limits);
            broker.refresh_certificates();
            broker.replicas.set_all_settings(|topic| broker.topic_configs.of(topic));
        }
        Err(error) => {
            tracing::warn!(error, "brokers have settings that cannot be understood; nothing changes");
        }
    }
    Ok(())
}
