//! Values that several write.

use bytes::Bytes;

use super::line::{child, ensure};
use crate::wire::zk::path;
use crate::zk::{Coordinator, CreateMode, Error, Watch};

/// How often an addition is tried without a lock before it takes one.
const OPTIMISTIC_TRIES: usize = 10;

/// A value of bytes with a version.
///
/// **Znodes**: the one at `PATH`, persistent, with the value as its data, as Curator's `SharedValue` and
/// `DistributedAtomicValue` have it.
///
/// **It promises** that [`SharedValue::set_if`] and [`SharedValue::update`] overwrite nothing that they have not seen. **It does
/// not promise** that what was read is still so.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let leader = zk.shared_value("/config/primary");
/// leader.set(b"10.0.0.1").await?;
/// if let Some((value, version)) = leader.get().await? {
///     println!("{value:?}, version {version}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SharedValue {
    zk: Coordinator,
    path: String,
}

impl Coordinator {
    /// The value at this path.
    pub fn shared_value(&self, path: &str) -> SharedValue {
        SharedValue { zk: self.clone(), path: path.to_owned() }
    }

    /// The number at this path.
    pub fn shared_count(&self, path: &str) -> SharedCount {
        SharedCount { value: self.shared_value(path) }
    }

    /// The number at this path, to count with.
    pub fn atomic_long(&self, path: &str) -> AtomicLong {
        AtomicLong { value: self.shared_value(path) }
    }
}

impl SharedValue {
    /// The value and its version, or `None` if it was never set.
    pub async fn get(&self) -> Result<Option<(Bytes, i32)>, Error> {
        match self.zk.get(&self.path).await {
            Ok((data, stat)) => Ok(Some((data.into_bytes(), stat.version))),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the value whatever it is.
    pub async fn set(&self, value: &[u8]) -> Result<(), Error> {
        loop {
            match self.zk.set(&self.path, value, None).await {
                Ok(_) => return Ok(()),
                Err(Error::NoNode) => match self.create(value).await {
                    Err(Error::NodeExists) => {}
                    result => return result,
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the value if it still has this version (`None`: if it was never set), and says whether it had.
    pub async fn set_if(&self, value: &[u8], version: Option<i32>) -> Result<bool, Error> {
        let result = match version {
            Some(version) => self.zk.set(&self.path, value, version).await.map(drop),
            None => self.create(value).await,
        };
        match result {
            Ok(()) => Ok(true),
            Err(Error::BadVersion | Error::NodeExists | Error::NoNode) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, value: &[u8]) -> Result<(), Error> {
        loop {
            match self.zk.create(&self.path, value, CreateMode::Persistent).await {
                Err(Error::NoNode) => ensure(&self.zk, path::parent(&self.path).unwrap_or_default()).await?,
                result => return result.map(drop),
            }
        }
    }

    /// Changes the value by what it was; `change` may be called several times. Returns the new value.
    ///
    /// After [`Error::UnknownOutcome`] the change was made once or not at all.
    pub async fn update(
        &self,
        change: impl Fn(Option<&[u8]>) -> Result<Vec<u8>, Error>,
    ) -> Result<Vec<u8>, Error> {
        for _ in 0..OPTIMISTIC_TRIES {
            if let Some(value) = self.try_update(&change).await? {
                return Ok(value);
            }
        }
        // Too many want the same: one after the other from here on. Those who still try without the lock make this loop
        // more than once, not for ever, since they come here too.
        let turn = self.zk.lock(&child(&self.path, "lock")).acquire().await?;
        let value = loop {
            if let Some(value) = self.try_update(&change).await? {
                break value;
            }
        };
        turn.release().await?;
        Ok(value)
    }

    async fn try_update(
        &self,
        change: &impl Fn(Option<&[u8]>) -> Result<Vec<u8>, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let old = self.get().await?;
        let new = change(old.as_ref().map(|(value, _)| &value[..]))?;
        Ok(self.set_if(&new, old.map(|(_, version)| version)).await?.then_some(new))
    }

    /// Everything that happens to the value.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.zk.watch(&self.path).await
    }
}

/// A number of 32 bits with a version, stored as Curator's `SharedCount` stores it: four bytes, the most significant first.
/// It promises and does not promise what [`SharedValue`] does, on the same **znode**, `PATH`.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let workers = zk.shared_count("/config/workers");
/// workers.set(8).await?;
/// let mut watch = workers.watch().await?;
/// while watch.changed().await.is_some() {
///     println!("{:?}", workers.get().await?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SharedCount {
    value: SharedValue,
}

impl SharedCount {
    /// The number and its version, or `None` if it was never set.
    pub async fn get(&self) -> Result<Option<(i32, i32)>, Error> {
        match self.value.get().await? {
            Some((value, version)) => Ok(Some((i32::from_be_bytes(number(&value)?), version))),
            None => Ok(None),
        }
    }

    /// Sets the number whatever it is.
    pub async fn set(&self, count: i32) -> Result<(), Error> {
        self.value.set(&count.to_be_bytes()).await
    }

    /// Sets the number if it still has this version (`None`: if it was never set), and says whether it had.
    pub async fn set_if(&self, count: i32, version: Option<i32>) -> Result<bool, Error> {
        self.value.set_if(&count.to_be_bytes(), version).await
    }

    /// Everything that happens to the number.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.value.watch().await
    }
}

/// A number of 64 bits to count with, stored as Curator's `DistributedAtomicLong` stores it: eight bytes, the most
/// significant first. A number that was never set is 0.
///
/// A change is tried ten times on the chance that nobody else makes one; after that under a lock at `PATH/lock`.
///
/// **It promises** that no addition is lost or counted twice, except that one which ends in
/// [`Error::UnknownOutcome`](crate::zk::Error::UnknownOutcome) was made once or not at all. **It does not promise** that the sum
/// it returns is still the number.
///
/// **Znodes**: the one at `PATH`, persistent, and those of a [`Lock`](super::Lock) at `PATH/lock` while many count at once.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let served = zk.atomic_long("/counters/served");
/// println!("{} so far", served.add(1).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AtomicLong {
    value: SharedValue,
}

impl AtomicLong {
    /// The number.
    pub async fn get(&self) -> Result<i64, Error> {
        match self.value.get().await? {
            Some((value, _)) => long(Some(&value)),
            None => Ok(0),
        }
    }

    /// Sets the number whatever it is.
    pub async fn set(&self, number: i64) -> Result<(), Error> {
        self.value.set(&number.to_be_bytes()).await
    }

    /// Sets the number if it was never set, and says whether it was not.
    pub async fn initialize(&self, number: i64) -> Result<bool, Error> {
        self.value.set_if(&number.to_be_bytes(), None).await
    }

    /// Sets the number if it is `expected`, and says whether it was. Somebody who changes it meanwhile makes this fail too, to
    /// whatever it is changed.
    ///
    /// After [`Error::UnknownOutcome`] it was set or not.
    pub async fn compare_and_set(&self, expected: i64, number: i64) -> Result<bool, Error> {
        let old = self.value.get().await?;
        if long(old.as_ref().map(|(value, _)| &value[..]))? != expected {
            return Ok(false);
        }
        self.value.set_if(&number.to_be_bytes(), old.map(|(_, version)| version)).await
    }

    /// Adds, going round at the ends, and returns the sum.
    ///
    /// After [`Error::UnknownOutcome`] it was added once or not at all.
    pub async fn add(&self, delta: i64) -> Result<i64, Error> {
        let add = |old: Option<&[u8]>| Ok(long(old)?.wrapping_add(delta).to_be_bytes().to_vec());
        long(Some(&self.value.update(add).await?))
    }
}

fn long(value: Option<&[u8]>) -> Result<i64, Error> {
    match value {
        None | Some([]) => Ok(0),
        Some(value) => Ok(i64::from_be_bytes(number(value)?)),
    }
}

fn number<const N: usize>(value: &[u8]) -> Result<[u8; N], Error> {
    value
        .try_into()
        .map_err(|_| Error::BadOption(format!("the value has {} bytes, a number has {N}", value.len())))
}
