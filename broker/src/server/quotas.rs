//! The limits of clients, as everybody in this process shares them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock;
use crate::config::QuotasConfig;
use crate::quota::{Entity, Kind, Quotas, Who};
use crate::registry::quotas::{self, CONNECTION_RATE};

/// The limits, and what is measured against them. As long as nobody is limited, nothing is measured.
#[derive(Debug)]
pub struct QuotaShell {
    any: AtomicBool,
    quotas: Mutex<Quotas>,
}

impl QuotaShell {
    pub fn new(config: QuotasConfig) -> QuotaShell {
        let quotas = Mutex::new(Quotas::new(config.windows, config.mutation_windows));
        QuotaShell { any: AtomicBool::new(false), quotas }
    }

    fn lock(&self) -> MutexGuard<'_, Quotas> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn if_any<T: Default>(&self, ask: impl FnOnce(&mut Quotas, u64) -> T) -> T {
        if !self.any.load(Ordering::Relaxed) {
            return T::default();
        }
        ask(&mut self.lock(), clock::steady_ms())
    }

    /// Adds what a client did, and says how long it must wait for it.
    pub fn charge(&self, kind: Kind, who: Who<'_>, amount: f64) -> Duration {
        self.if_any(|quotas, now_ms| Duration::from_millis(quotas.charge(kind, who, amount, now_ms)))
    }

    /// Adds to what a client did, or takes away, without any consequence now.
    pub fn note(&self, kind: Kind, who: Who<'_>, amount: f64) {
        self.if_any(|quotas, now_ms| quotas.note(kind, who, amount, now_ms));
    }

    /// The most that a client may do at once, if there is a limit.
    pub fn at_once(&self, kind: Kind, who: Who<'_>) -> Option<f64> {
        self.if_any(|quotas, _| quotas.at_once(kind, who))
    }

    /// Makes or deletes partitions; see [`Quotas::mutate`].
    pub fn mutate(&self, who: Who<'_>, partitions: usize, is_strict: bool) -> Duration {
        self.if_any(|quotas, now_ms| Duration::from_millis(quotas.mutate(who, partitions, is_strict, now_ms)))
    }

    /// Takes over the settings of a user, a client id or both.
    pub(super) fn set(&self, entity: &Entity, values: &BTreeMap<String, String>) {
        let mut quotas = self.lock();
        quotas.set(entity, quotas::limits(entity, values));
        self.any.store(!quotas.is_empty(), Ordering::Relaxed);
    }

    /// Takes over the settings of all that have some; others are not limited any more.
    pub(super) fn replace(&self, entities: &BTreeMap<Entity, BTreeMap<String, String>>) {
        let mut quotas = self.lock();
        quotas.unlimit();
        for (entity, values) in entities {
            quotas.set(entity, quotas::limits(entity, values));
        }
        self.any.store(!quotas.is_empty(), Ordering::Relaxed);
    }
}

/// The limit of connections a second that an address has, or all others; `None` if it is not about addresses, or has none.
pub(super) async fn address_limit(
    entity: &Entity,
    values: &BTreeMap<String, String>,
) -> Option<(Option<IpAddr>, Option<f64>)> {
    let Entity::Address(name) = entity else { return None };
    let limit = values.get(CONNECTION_RATE).and_then(|value| value.parse().ok());
    let address = match name.exact() {
        None => None,
        Some(name) => Some(resolve(name).await?),
    };
    Some((address, limit))
}

/// An address as it stands there, or the first one of a host.
pub(crate) async fn resolve(name: &str) -> Option<IpAddr> {
    if let Ok(address) = name.parse() {
        return Some(address);
    }
    Some(tokio::net::lookup_host((name, 0)).await.ok()?.next()?.ip())
}
