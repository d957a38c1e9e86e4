//! A set of items, divided among those who are there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cache::{Cache, CacheEvent, CacheScope};
use super::line::{child, unique};
use super::lock::LockGuard;
use super::persistent_node::PersistentNode;
use crate::zk::{Coordinator, CreateMode, Error};

/// Divides a set of items among all parties: each item belongs to one at a time.
///
/// All parties must know the same items. When somebody comes or goes, everybody gives up its share and gets a new one once
/// the company has been the same for a while.
///
/// **It promises** that no item belongs to two as far as the servers know, even while parties have different ideas of who is
/// there: each is protected by a lock. **It does not promise** that a party notices in time that it has lost its share
/// ([`Lock`](super::Lock) says why), nor that an item belongs to somebody at every moment.
///
/// **Znodes**: `PATH/party/UUID-ID`, ephemeral, one for each party, and a [`Lock`](super::Lock) for each item at
/// `PATH/locks/ITEM`. kazoo's `SetPartitioner` does the same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let mut partitioner = zk.set_partitioner("/shards", ["a", "b", "c"], "worker-1").await?;
/// loop {
///     let share = partitioner.acquire().await?;
///     println!("ours: {:?}", share.items());
///     partitioner.changed(&share).await?;
///     share.release().await?;
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it leaves the company"]
pub struct SetPartitioner {
    zk: Coordinator,
    path: String,
    items: BTreeSet<String>,
    name: String,
    settle: Duration,
    _node: PersistentNode,
    company: Cache,
}

impl Coordinator {
    /// Joins the company at this path, under an id that nobody else uses. Items must be names that znodes can have.
    pub async fn set_partitioner<I: Into<String>>(
        &self,
        path: &str,
        items: impl IntoIterator<Item = I>,
        id: &str,
    ) -> Result<SetPartitioner, Error> {
        let party = child(path, "party");
        let name = format!("{}-{id}", unique().replace('-', ""));
        let node = self.persistent_node(&child(&party, &name), b"", CreateMode::Ephemeral);
        node.created().await?;
        let company = self.cache(&party, CacheScope::Children);
        company.ready().await?;
        Ok(SetPartitioner {
            zk: self.clone(),
            path: path.to_owned(),
            items: items.into_iter().map(Into::into).collect(),
            name,
            settle: Duration::from_secs(1),
            _node: node,
            company,
        })
    }
}

impl SetPartitioner {
    /// How long the company must be the same before anything is divided: one second unless said otherwise.
    pub fn settle_time(&mut self, settle: Duration) {
        self.settle = settle;
    }

    /// The names of all parties, in the order of their ids.
    fn parties(&self) -> Vec<String> {
        let id = |name: &String| name.split_once('-').map_or(name.clone(), |(_, id)| id.to_owned());
        let mut parties: Vec<String> =
            self.company.children(&child(&self.path, "party")).into_keys().collect();
        parties.sort_by_key(|name| (id(name), name.clone()));
        parties
    }

    /// Waits until the company has settled and our share is ours.
    ///
    /// # Cancel safety
    /// Dropping the future gives up what was got by then.
    pub async fn acquire(&mut self) -> Result<Share, Error> {
        loop {
            let parties = self.settled().await?;
            let Some(own) = parties.iter().position(|name| *name == self.name) else { continue };
            let mine: Vec<String> = self.items.iter().skip(own).step_by(parties.len()).cloned().collect();
            tokio::select! {
                share = lock_all(&self.zk, &self.path, &mine, &parties) => return share,
                changed = next_change(&mut self.company) => changed?,
            }
        }
    }

    /// Waits until the company has changed or a part of the share is lost; then the share is to be released.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn changed(&mut self, share: &Share) -> Result<(), Error> {
        while self.parties() == share.parties {
            tokio::select! {
                changed = next_change(&mut self.company) => changed?,
                () = share.lost() => return Ok(()),
            }
        }
        Ok(())
    }

    async fn settled(&mut self) -> Result<Vec<String>, Error> {
        loop {
            let before = self.parties();
            let settle = self.settle;
            match tokio::time::timeout(settle, next_change(&mut self.company)).await {
                Ok(changed) => changed?,
                Err(_) if before == self.parties() => return Ok(before),
                Err(_) => {}
            }
        }
    }
}

async fn lock_all(
    zk: &Coordinator,
    path: &str,
    items: &[String],
    parties: &[String],
) -> Result<Share, Error> {
    let mut share = Share { parts: Vec::with_capacity(items.len()), parties: parties.to_vec() };
    for item in items {
        let guard = zk.lock(&child(&child(path, "locks"), item)).acquire().await?;
        share.parts.push((item.clone(), guard));
    }
    Ok(share)
}

async fn next_change(company: &mut Cache) -> Result<(), Error> {
    loop {
        match company.next().await {
            Some(CacheEvent::Created(..) | CacheEvent::Deleted(..) | CacheEvent::Lagged(_)) => return Ok(()),
            Some(CacheEvent::Over(error)) => return Err(error),
            None => return Err(Error::Closed),
            Some(_) => {}
        }
    }
}

/// The items that are ours, and their locks.
#[derive(Debug)]
#[must_use = "the items are given up when this is dropped"]
pub struct Share {
    parts: Vec<(String, LockGuard)>,
    /// Among whom everything was divided.
    parties: Vec<String>,
}

impl Share {
    /// Which items.
    pub fn items(&self) -> Vec<&str> {
        self.parts.iter().map(|(item, _)| item.as_str()).collect()
    }

    /// Each item with what proves that it is ours.
    pub fn parts(&self) -> &[(String, LockGuard)] {
        &self.parts
    }

    async fn lost(&self) {
        super::multi_lock::any_lost(self.parts.iter().map(|(_, guard)| guard)).await;
    }

    /// Gives everything up, and waits until others can have it.
    pub async fn release(self) -> Result<(), Error> {
        for (_, guard) in self.parts {
            guard.release().await?;
        }
        Ok(())
    }
}
