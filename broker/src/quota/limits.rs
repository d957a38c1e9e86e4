//! Which limit holds for a client, and has it been kept?

use std::collections::BTreeMap;

use super::entity::{Entity, Name};
use super::rate::{Rate, Windows};
use super::tokens::Bucket;

/// Clients that are measured at a time for one kind of limit; those beyond share one measure.
const MEASURED_MAX: usize = 10_000;
/// Names are told apart by so much of them.
const NAME_BYTES: usize = 255;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes of requests to produce.
    Produce,
    /// Bytes of records that are read.
    Fetch,
    /// Time that requests take, in percent of one processor.
    Request,
    /// Partitions made and deleted.
    Mutation,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Produce, Kind::Fetch, Kind::Request, Kind::Mutation];

    /// The setting's name.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Produce => "producer_byte_rate",
            Kind::Fetch => "consumer_byte_rate",
            Kind::Request => "request_percentage",
            Kind::Mutation => "controller_mutation_rate",
        }
    }
}

/// A client, as limits see it.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub user: &'a str,
    pub client: &'a str,
}

/// Who shares one measure: a limit for a user is shared by all that it connects.
type Sharer = (String, String);

/// The limits of one entity.
type Limits = BTreeMap<Kind, f64>;

#[derive(Debug, Default)]
struct Measured {
    rates: BTreeMap<Sharer, Rate>,
    swept_ms: u64,
}

/// All limits of clients, and how close each client is to its own.
#[derive(Debug)]
pub struct Quotas {
    windows: Windows,
    mutation_windows: Windows,
    /// By user, then by client id; `None` where the limit is not about that.
    limits: BTreeMap<Option<Name>, BTreeMap<Option<Name>, Limits>>,
    measured: BTreeMap<Kind, Measured>,
    buckets: BTreeMap<Sharer, Bucket>,
}

impl Quotas {
    pub fn new(windows: Windows, mutation_windows: Windows) -> Quotas {
        Quotas {
            windows,
            mutation_windows,
            limits: BTreeMap::new(),
            measured: BTreeMap::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// Whether there is any limit at all.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Takes all limits away; what clients did is remembered.
    pub fn unlimit(&mut self) {
        self.limits.clear();
    }

    /// Replaces all limits of one entity. Those of addresses are kept elsewhere.
    pub fn set(&mut self, entity: &Entity, limits: BTreeMap<Kind, f64>) {
        let (user, client) = match entity {
            Entity::User(user) => (Some(user.clone()), None),
            Entity::Client(client) => (None, Some(client.clone())),
            Entity::UserClient(user, client) => (Some(user.clone()), Some(client.clone())),
            Entity::Address(_) => return,
        };
        let of_user = self.limits.entry(user.clone()).or_default();
        if limits.is_empty() {
            of_user.remove(&client);
        } else {
            of_user.insert(client, limits);
        }
        if of_user.is_empty() {
            self.limits.remove(&user);
        }
    }

    /// Adds what a client did, and says how long it must wait for it, in milliseconds.
    pub fn charge(&mut self, kind: Kind, who: Who<'_>, amount: f64, now_ms: u64) -> u64 {
        let Some((sharer, limit)) = self.holds(kind, who) else { return 0 };
        let windows = self.windows;
        let rate = self.rate(kind, sharer, now_ms);
        rate.add(windows, amount, now_ms);
        let wait_ms = rate.wait_ms(windows, limit, now_ms);
        // Time that was spent cannot be waited for longer than one window: what is too much then, waits again.
        if kind == Kind::Request { wait_ms.min(windows.size_ms) } else { wait_ms }
    }

    /// Adds to what a client did, or takes away, without any consequence now.
    pub fn note(&mut self, kind: Kind, who: Who<'_>, amount: f64, now_ms: u64) {
        if let Some((sharer, _)) = self.holds(kind, who) {
            let windows = self.windows;
            self.rate(kind, sharer, now_ms).add(windows, amount, now_ms);
        }
    }

    /// The most that a client may do at once and still not have to wait, if there is a limit.
    pub fn at_once(&self, kind: Kind, who: Who<'_>) -> Option<f64> {
        self.holds(kind, who).map(|(_, limit)| self.windows.at_once(limit))
    }

    /// Makes or deletes so many partitions. If it must wait, a strict client may not do it; another one has done it.
    pub fn mutate(&mut self, who: Who<'_>, partitions: usize, is_strict: bool, now_ms: u64) -> u64 {
        let Some((sharer, limit)) = self.holds(Kind::Mutation, who) else { return 0 };
        let windows = self.mutation_windows;
        let sharer = match self.buckets.contains_key(&sharer) || self.buckets.len() < MEASURED_MAX {
            true => sharer,
            false => {
                self.buckets.retain(|_, bucket| !bucket.is_full(windows, limit, now_ms));
                if self.buckets.len() < MEASURED_MAX { sharer } else { Sharer::default() }
            }
        };
        let bucket = self.buckets.entry(sharer).or_insert_with(|| Bucket::full(windows, limit, now_ms));
        if !is_strict {
            bucket.take(windows, limit, partitions as f64, now_ms);
            return bucket.wait_ms(windows, limit, now_ms);
        }
        let wait_ms = bucket.wait_ms(windows, limit, now_ms);
        if wait_ms == 0 {
            bucket.take(windows, limit, partitions as f64, now_ms);
        }
        wait_ms
    }

    /// The limit that holds, the closest one first, and who shares it.
    fn holds(&self, kind: Kind, who: Who<'_>) -> Option<(Sharer, f64)> {
        if self.limits.is_empty() {
            return None;
        }
        let (user, client) =
            (Some(Name::Exact(who.user.to_owned())), Some(Name::Exact(who.client.to_owned())));
        let (any, nobody) = (Some(Name::Default), None);
        let order = [
            (&user, &client),
            (&user, &any),
            (&user, &nobody),
            (&any, &client),
            (&any, &any),
            (&any, &nobody),
            (&nobody, &client),
            (&nobody, &any),
        ];
        order.into_iter().find_map(|(by_user, by_client)| {
            let limit = *self.limits.get(by_user)?.get(by_client)?.get(&kind)?;
            let part = |name: &str, matters: bool| match matters {
                true => name[..name.floor_char_boundary(NAME_BYTES)].to_owned(),
                false => String::new(),
            };
            Some(((part(who.user, by_user.is_some()), part(who.client, by_client.is_some())), limit))
        })
    }

    fn rate(&mut self, kind: Kind, sharer: Sharer, now_ms: u64) -> &mut Rate {
        let windows = self.windows;
        let measured = self.measured.entry(kind).or_default();
        let is_full = measured.rates.len() >= MEASURED_MAX;
        if is_full && now_ms.saturating_sub(measured.swept_ms) >= windows.size_ms {
            measured.swept_ms = now_ms;
            measured.rates.retain(|_, rate| !rate.is_idle(windows, now_ms));
        }
        let is_known = measured.rates.contains_key(&sharer);
        let sharer = if is_known || measured.rates.len() < MEASURED_MAX { sharer } else { Sharer::default() };
        measured.rates.entry(sharer).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { count: 11, size_ms: 1000 };

    fn quotas(limits: &[(&str, Kind, f64)]) -> Quotas {
        let mut quotas = Quotas::new(WINDOWS, WINDOWS);
        for &(path, kind, limit) in limits {
            quotas.set(&Entity::parse(path).expect("an entity"), BTreeMap::from([(kind, limit)]));
        }
        quotas
    }

    fn who<'a>(user: &'a str, client: &'a str) -> Who<'a> {
        Who { user, client }
    }

    #[test]
    fn the_closest_limit_holds() {
        let order = [
            "users/u/clients/c",
            "users/u/clients/<default>",
            "users/u",
            "users/<default>/clients/c",
            "users/<default>/clients/<default>",
            "users/<default>",
            "clients/c",
            "clients/<default>",
        ];
        for at in 0..order.len() {
            let known: Vec<_> =
                (at..order.len()).map(|at| (order[at], Kind::Produce, at as f64 + 1.0)).collect();
            let found = quotas(&known).holds(Kind::Produce, who("u", "c")).map(|(_, limit)| limit);
            assert_eq!(found, Some(at as f64 + 1.0), "{}", order[at]);
        }
        let other = quotas(&[("users/u", Kind::Produce, 1.0), ("clients/x", Kind::Produce, 2.0)]);
        assert_eq!(other.holds(Kind::Produce, who("v", "c")), None);
        assert_eq!(other.holds(Kind::Fetch, who("u", "c")), None, "another kind");
    }

    #[test]
    fn a_users_connections_share_its_limit_and_others_do_not() {
        let mut quotas = quotas(&[("users/<default>", Kind::Produce, 10.0)]);
        assert_eq!(quotas.charge(Kind::Produce, who("u", "a"), 100.0, 0), 0);
        assert!(quotas.charge(Kind::Produce, who("u", "b"), 100.0, 0) > 0, "another client, the same user");
        assert_eq!(quotas.charge(Kind::Produce, who("v", "a"), 100.0, 0), 0, "another user");
        quotas.set(&Entity::User(Name::Default), BTreeMap::new());
        assert!(quotas.is_empty());
        assert_eq!(quotas.charge(Kind::Produce, who("u", "a"), 1e9, 0), 0);
    }

    #[test]
    fn requests_wait_for_one_window_at_most() {
        let mut quotas = quotas(&[("clients/<default>", Kind::Request, 1.0), ("users/u", Kind::Fetch, 1.0)]);
        assert_eq!(quotas.charge(Kind::Request, who("", "a"), 1e6, 0), 1000);
        assert_eq!(quotas.charge(Kind::Fetch, who("u", "a"), 110.0, 0), 100_000);
        assert_eq!(quotas.at_once(Kind::Fetch, who("u", "a")), Some(10.0));
    }

    #[test]
    fn strict_clients_may_not_and_others_pay_afterwards() {
        let mut quotas = quotas(&[("users/u", Kind::Mutation, 1.0)]);
        assert_eq!(quotas.mutate(who("u", ""), 20, true, 0), 0, "the bucket was full");
        assert_eq!(quotas.mutate(who("u", ""), 1, true, 0), 9000, "refused");
        assert_eq!(quotas.mutate(who("u", ""), 1, false, 0), 10_000, "done");
        assert_eq!(quotas.mutate(who("u", ""), 1, true, 10_000), 0);
    }

    #[test]
    fn those_who_come_when_all_measures_are_taken_share_one() {
        let mut quotas = quotas(&[("clients/<default>", Kind::Produce, 1.0)]);
        for index in 0..MEASURED_MAX {
            assert_eq!(quotas.charge(Kind::Produce, who("", &format!("c{index}")), 10.0, 0), 0);
        }
        assert_eq!(quotas.charge(Kind::Produce, who("", "x"), 10.0, 0), 0);
        assert!(quotas.charge(Kind::Produce, who("", "y"), 10.0, 0) > 0, "shared with x");
        assert_eq!(quotas.measured[&Kind::Produce].rates.len(), MEASURED_MAX + 1);
        assert_eq!(quotas.charge(Kind::Produce, who("", "y"), 10.0, 20_000), 0, "the others have gone");
        assert_eq!(quotas.measured[&Kind::Produce].rates.len(), 1);
    }
}
