//! Those who follow what others change: copies of a subtree, and services that come and go.

use std::collections::{BTreeMap, BTreeSet};

use client::zk::recipes::{Cache, CacheEvent, CacheScope, Cached, ServiceInstance, Strategy};
use client::zk::{Coordinator, CreateMode};
use coordinator::tree::Tree;

use super::actors::Actor;
use super::ledger::{Ledger, children, number};
use super::{COUNT, GARDEN, Planted, SERVICES};

/// The service that everybody offers.
const SERVICE: &str = "s";

/// What is there: paths, and the zxids of their last changes.
type Plants = BTreeMap<String, u64>;

/// What followers believe, by the places where they run.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    plants: BTreeMap<usize, Plants>,
    instances: BTreeMap<usize, BTreeSet<u64>>,
    counts: BTreeSet<i32>,
}

impl Mirrors {
    pub(super) fn killed(&mut self, at: usize) {
        self.plants.remove(&at);
        self.instances.remove(&at);
    }

    /// Why not everything is as it should be in the end: everybody offers the service, and everybody knows everything.
    pub(super) fn unsettled(&self, tree: &Tree, clients: usize) -> Result<(), String> {
        let mut garden = Plants::new();
        collect(tree, GARDEN, &mut garden);
        for at in 0..clients {
            let seen = self.plants.get(&at);
            if seen != Some(&garden) {
                return Err(format!("process {at} sees {seen:x?} in the garden, not {garden:x?}"));
            }
        }
        let offered: BTreeSet<u64> = children(tree, &format!("{SERVICES}/{SERVICE}"))
            .into_iter()
            .filter_map(|node| number(node.name_str().as_bytes()))
            .collect();
        if offered != (0..clients as u64).collect() {
            return Err(format!("{offered:?} offer the service"));
        }
        match (0..clients).find(|at| self.instances.get(at) != Some(&offered)) {
            Some(at) => Err(format!("process {at} knows {:?} of the service", self.instances.get(&at))),
            None => Ok(()),
        }
    }
}

fn collect(tree: &Tree, path: &str, found: &mut Plants) {
    let Some(id) = tree.lookup(path) else { return };
    found.insert(path.to_owned(), tree.node(id).mzxid.0);
    for child in tree.children(id) {
        collect(tree, &format!("{path}/{}", child.name_str()), found);
    }
}

fn mzxid(node: &Cached) -> u64 {
    node.stat.mzxid as u64
}

impl Ledger {
    /// Events tell a story in which nothing comes twice, and nothing goes that was not there. `false` if not.
    fn follows(&mut self, at: usize, shown: &mut Plants, event: &CacheEvent, cache: &Cache) {
        let is_possible = match event {
            CacheEvent::Created(path, node) => shown.insert(path.clone(), mzxid(node)).is_none(),
            CacheEvent::Changed(path, node) => {
                shown.insert(path.clone(), mzxid(node)).is_some_and(|before| before < mzxid(node))
            }
            CacheEvent::Deleted(path, node) => shown.remove(path) == Some(mzxid(node)),
            CacheEvent::Lagged(_) => {
                *shown = cache.snapshot().iter().map(|(path, node)| (path.clone(), mzxid(node))).collect();
                true
            }
            _ => true,
        };
        // Whoever has the event finds at least that change, unless the znode has gone since.
        let is_found = match event {
            CacheEvent::Created(path, node) | CacheEvent::Changed(path, node) => {
                cache.get(path).is_none_or(|found| mzxid(&found) >= mzxid(node))
            }
            CacheEvent::Deleted(path, node) => {
                cache.get(path).is_none_or(|found| mzxid(&found) > mzxid(node))
            }
            _ => true,
        };
        if !(is_possible && is_found) {
            self.breaks("cache", format!("{event:?} at process {at}, after {shown:x?}"));
        }
        self.reached.push("a cache told an event");
        self.mirrors.plants.insert(at, shown.clone());
    }

    fn counts(&mut self, count: i32) {
        if !self.mirrors.counts.insert(count) {
            self.breaks("count", format!("two were told that they made it {count}"));
        }
    }
}

impl Actor {
    pub(super) async fn gardens(mut self, zk: Coordinator) {
        while self.goes_on(&zk).await {
            let bed = format!("{GARDEN}/{}", self.random.below(3));
            let path = if self.random.coin() { format!("{bed}/{}", self.random.below(2)) } else { bed };
            // Nobody minds what becomes of it.
            let _ = match self.random.below(5) {
                0 => zk.delete(&path, None).await,
                1 => zk
                    .multi()
                    .delete(&path, None)
                    .create(&path, b"2", CreateMode::Persistent)
                    .commit()
                    .await
                    .map(drop),
                2 => zk.set(&path, b"1", None).await.map(drop),
                _ => {
                    let _ = zk.create(GARDEN, b"", CreateMode::Persistent).await;
                    zk.create(&path, b"0", CreateMode::Persistent).await.map(drop)
                }
            };
        }
    }

    pub(super) async fn mirrors(self, zk: Coordinator) {
        let mut cache = zk.cache(GARDEN, CacheScope::Tree);
        let mut shown = Plants::new();
        while let Some(event) = cache.next().await {
            let is_ignored =
                matches!(event, CacheEvent::Deleted(..)) && self.planted == Some(Planted::ForgetsDeletions);
            if !is_ignored {
                self.ledger().follows(self.at, &mut shown, &event, &cache);
            }
        }
    }

    pub(super) async fn offers(mut self, zk: Coordinator) {
        let services = zk.service_discovery(SERVICES);
        let instance =
            ServiceInstance { id: self.at.to_string(), ..ServiceInstance::new(SERVICE, "10.0.0.1", 80) };
        while !zk.state().is_final() {
            let Ok(registration) = services.register(&instance).await else {
                self.pause().await;
                continue;
            };
            while {
                self.pause().await;
                !zk.state().is_final()
                    && (self.quiet.load(std::sync::atomic::Ordering::Relaxed) || !self.random.one_in(4))
            } {}
            if self.random.coin() {
                let _ = registration.unregister().await;
            }
        }
    }

    pub(super) async fn looks_for_services(mut self, zk: Coordinator) {
        while !zk.state().is_final() {
            let Ok(provider) = zk.service_discovery(SERVICES).provider(SERVICE, Strategy::Random).await
            else {
                self.pause().await;
                continue;
            };
            while !zk.state().is_final() {
                self.pause().await;
                let mut ids: BTreeSet<u64> =
                    provider.all().iter().filter_map(|instance| number(instance.id.as_bytes())).collect();
                if self.planted == Some(Planted::ForgetsServices) {
                    ids.pop_first();
                }
                self.ledger().mirrors.instances.insert(self.at, ids);
            }
        }
    }

    pub(super) async fn counts(mut self, zk: Coordinator) {
        let count = zk.shared_count(COUNT);
        while self.goes_on(&zk).await {
            let Ok(old) = count.get().await else { continue };
            let (number, version) = old.map_or((0, None), |(number, version)| (number, Some(version)));
            let result = match self.planted {
                Some(Planted::BlindCount) => count.set(number + 1).await.map(|()| true),
                _ => count.set_if(number + 1, version).await,
            };
            if result == Ok(true) {
                self.ledger().counts(number + 1);
            }
        }
    }
}
