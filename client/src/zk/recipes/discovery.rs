//! Where services are to be found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::cache::{Cache, CacheScope};
use super::line::{child, unique};
use super::persistent_node::PersistentNode;
use crate::zk::builder::random_seed;
use crate::zk::random::Random;
use crate::zk::{Coordinator, CreateMode, Error};

/// How long an instance lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceType {
    /// As long as the session of whoever registered it.
    Dynamic,
    /// Until it is taken away. Meant for what is written down by hand.
    Static,
    /// Until it is taken away.
    Permanent,
    /// As `Dynamic`; Curator adds a number to the name.
    DynamicSequential,
}

/// One place where a service is to be found, in the form in which Curator writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInstance {
    /// The service's name.
    pub name: String,
    /// What tells this instance from others of the service.
    pub id: String,
    /// Where.
    pub address: Option<String>,
    /// On which port.
    #[serde(default)]
    pub port: Option<u16>,
    /// On which port with TLS.
    #[serde(default)]
    pub ssl_port: Option<u16>,
    /// Whatever else there is to say. To Curator this is an object of a Java class that it names in `@class`.
    #[serde(default)]
    pub payload: Value,
    /// When it was registered, in milliseconds since 1970.
    #[serde(rename = "registrationTimeUTC", default)]
    pub registration_time_ms: i64,
    /// How long it lives.
    #[serde(default = "dynamic")]
    pub service_type: ServiceType,
    /// How a URI is made of it, in Curator's form: `{"parts": [{"value": "scheme", "variable": true}, …]}`.
    #[serde(default)]
    pub uri_spec: Value,
    /// Whether it wants to be used.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn dynamic() -> ServiceType {
    ServiceType::Dynamic
}

fn enabled() -> bool {
    true
}

impl ServiceInstance {
    /// An instance that lives as long as our session, with an id of its own.
    pub fn new(name: &str, address: &str, port: u16) -> ServiceInstance {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ServiceInstance {
            name: name.to_owned(),
            id: unique(),
            address: Some(address.to_owned()),
            port: Some(port),
            ssl_port: None,
            payload: Value::Null,
            registration_time_ms: now.as_millis().try_into().unwrap_or(i64::MAX),
            service_type: ServiceType::Dynamic,
            uri_spec: Value::Null,
            enabled: true,
        }
    }

    fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self)
            .map_err(|error| Error::BadOption(format!("the instance is no JSON: {error}")))
    }
}

/// A directory of services.
///
/// **It promises** that an instance is listed while its registration lives, and that a [`ServiceProvider`] knows every change
/// sooner or later. **It does not promise** that an instance that is listed still answers: [`ServiceProvider::note_error`]
/// takes one out for a while.
///
/// **Znodes**: `PATH/NAME/ID` with the instance as JSON, ephemeral unless it is static or permanent, as Curator's service
/// discovery has them: what is registered here is found there, and the other way round.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// use client::zk::recipes::{ServiceInstance, Strategy};
/// let services = zk.service_discovery("/services");
/// let registration = services.register(&ServiceInstance::new("billing", "10.0.0.1", 8080)).await?;
///
/// let billing = services.provider("billing", Strategy::RoundRobin).await?;
/// let instance = billing.get();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServiceDiscovery {
    zk: Coordinator,
    path: String,
}

impl Coordinator {
    /// The directory at this path.
    pub fn service_discovery(&self, path: &str) -> ServiceDiscovery {
        ServiceDiscovery { zk: self.clone(), path: path.to_owned() }
    }
}

impl ServiceDiscovery {
    fn service(&self, name: &str) -> String {
        child(&self.path, name)
    }

    /// Makes an instance known, and keeps it so until the registration is dropped.
    pub async fn register(&self, instance: &ServiceInstance) -> Result<Registration, Error> {
        let mode = match instance.service_type {
            ServiceType::Dynamic | ServiceType::DynamicSequential => CreateMode::Ephemeral,
            ServiceType::Static | ServiceType::Permanent => CreateMode::Persistent,
        };
        for name in [&instance.name, &instance.id] {
            if name.is_empty() || name.contains('/') {
                return Err(Error::BadOption(format!("{name:?} is no name of a service or an instance")));
            }
        }
        let path = child(&self.service(&instance.name), &instance.id);
        let node = self.zk.persistent_node(&path, &instance.to_json()?, mode);
        node.created().await?;
        Ok(Registration { node })
    }

    /// The names of all services that have, or had, instances.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        match self.zk.children(&self.path).await {
            Ok((names, _)) => Ok(names),
            Err(Error::NoNode) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// All instances of a service. What is no instance in Curator's form is left out.
    pub async fn instances(&self, name: &str) -> Result<Vec<ServiceInstance>, Error> {
        let path = self.service(name);
        let ids = match self.zk.children(&path).await {
            Err(Error::NoNode) => return Ok(Vec::new()),
            result => result?.0,
        };
        let reads: Vec<_> = ids.iter().map(|id| self.zk.get(&child(&path, id))).collect();
        let mut instances = Vec::new();
        for read in reads {
            match read.await {
                Ok((data, _)) => instances.extend(serde_json::from_slice::<ServiceInstance>(&data).ok()),
                Err(Error::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(instances)
    }

    /// One instance of a service, if it is there and in Curator's form.
    pub async fn instance(&self, name: &str, id: &str) -> Result<Option<ServiceInstance>, Error> {
        match self.zk.get(&child(&self.service(name), id)).await {
            Ok((data, _)) => Ok(serde_json::from_slice(&data).ok()),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Somebody who always knows an instance of a service, and chooses by `strategy` if there are several.
    pub async fn provider(&self, name: &str, strategy: Strategy) -> Result<ServiceProvider, Error> {
        let path = self.service(name);
        let cache = self.zk.cache(&path, CacheScope::Children);
        cache.ready().await?;
        let choice = Choice { random: Random::new(random_seed()), turn: 0, favourite: None };
        let down = DownPolicy::default();
        Ok(ServiceProvider {
            cache,
            path,
            strategy,
            down,
            filter: None,
            choice: Mutex::new(choice),
            errors: Mutex::default(),
        })
    }
}

/// An instance that is known as long as this lives.
#[derive(Debug)]
#[must_use = "the instance is taken away when this is dropped"]
pub struct Registration {
    node: PersistentNode,
}

impl Registration {
    /// Says something else about the instance, which must keep its name and id.
    pub fn update(&self, instance: &ServiceInstance) -> Result<(), Error> {
        self.node.set(&instance.to_json()?);
        Ok(())
    }

    /// Takes the instance away and waits until it is gone.
    pub async fn unregister(self) -> Result<(), Error> {
        self.node.close().await
    }
}

/// How to choose among instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
    /// The same again, as long as it is there.
    Sticky,
}

/// When an instance counts as down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownPolicy {
    /// After so many errors ...
    pub errors: usize,
    /// ... within so long, for so long.
    pub period: Duration,
}

impl Default for DownPolicy {
    /// Two errors within thirty seconds, as Curator has it.
    fn default() -> DownPolicy {
        DownPolicy { errors: 2, period: Duration::from_secs(30) }
    }
}

/// Knows the instances of one service, and chooses among them.
pub struct ServiceProvider {
    cache: Cache,
    path: String,
    strategy: Strategy,
    down: DownPolicy,
    filter: Option<Filter>,
    choice: Mutex<Choice>,
    /// Of instances that are there: when they failed.
    errors: Mutex<BTreeMap<String, Vec<Instant>>>,
}

type Filter = Box<dyn Fn(&ServiceInstance) -> bool + Send + Sync>;

impl fmt::Debug for ServiceProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceProvider")
            .field("path", &self.path)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Choice {
    random: Random,
    turn: usize,
    favourite: Option<String>,
}

impl ServiceProvider {
    /// When instances count as down.
    #[must_use]
    pub fn down_policy(self, down: DownPolicy) -> ServiceProvider {
        ServiceProvider { down, ..self }
    }

    /// Looks only at those instances of which this says yes. Called again, it replaces what was said before.
    #[must_use]
    pub fn filter(
        self,
        filter: impl Fn(&ServiceInstance) -> bool + Send + Sync + 'static,
    ) -> ServiceProvider {
        ServiceProvider { filter: Some(Box::new(filter)), ..self }
    }

    /// All instances that want to be used, up or down, in the order of their ids.
    pub fn all(&self) -> Vec<ServiceInstance> {
        let nodes = self.cache.children(&self.path);
        let instances = nodes.values().filter_map(|node| serde_json::from_slice(&node.data).ok());
        let is_wanted = |instance: &ServiceInstance| {
            instance.enabled && self.filter.as_ref().is_none_or(|filter| filter(instance))
        };
        instances.filter(is_wanted).collect()
    }

    /// One instance, if there is one that is not down.
    pub fn get(&self) -> Option<ServiceInstance> {
        let down = self.down_now();
        let mut up: Vec<_> = self.all().into_iter().filter(|instance| !down.contains(&instance.id)).collect();
        if up.is_empty() {
            return None;
        }
        let mut choice = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match self.strategy {
            Strategy::Random => choice.random.below(up.len() as u64) as usize,
            Strategy::RoundRobin => {
                choice.turn = choice.turn.wrapping_add(1);
                choice.turn % up.len()
            }
            Strategy::Sticky => {
                let same = up.iter().position(|instance| Some(&instance.id) == choice.favourite.as_ref());
                same.unwrap_or_else(|| choice.random.below(up.len() as u64) as usize)
            }
        };
        let chosen = up.swap_remove(index);
        choice.favourite = Some(chosen.id.clone());
        Some(chosen)
    }

    /// Says that an instance did not work.
    pub fn note_error(&self, instance: &ServiceInstance) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.cache.children(&self.path);
        errors.retain(|id, _| known.contains_key(id));
        if known.contains_key(&instance.id) {
            let times = errors.entry(instance.id.clone()).or_default();
            times.push(Instant::now());
            // Older ones make no difference.
            let surplus = times.len().saturating_sub(self.down.errors);
            times.drain(..surplus);
        }
    }

    fn down_now(&self) -> BTreeSet<String> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let is_down = |times: &Vec<Instant>| {
            times.iter().filter(|time| time.elapsed() < self.down.period).count() >= self.down.errors.max(1)
        };
        errors.iter().filter(|(_, times)| is_down(times)).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Curator 5.9 writes it.
    const CURATOR: &str = r#"{"name":"billing","id":"7","address":"10.0.0.1","port":8080,"sslPort":null,"payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true}]},"enabled":true}"#;

    #[test]
    fn instances_are_written_as_curator_writes_them() {
        let instance: ServiceInstance = serde_json::from_str(CURATOR).unwrap();
        assert_eq!((instance.port, instance.ssl_port), (Some(8080), None));
        assert_eq!(instance.service_type, ServiceType::Dynamic);
        assert_eq!(String::from_utf8(instance.to_json().unwrap()).unwrap(), CURATOR);
        let brief: ServiceInstance = serde_json::from_str(r#"{"name":"n","id":"i","address":null}"#).unwrap();
        assert!(brief.enabled);
        assert!(serde_json::from_str::<ServiceInstance>("{}").is_err());
    }
}
