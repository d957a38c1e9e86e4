//! Elements that several put in and each one takes out once.

use bytes::Bytes;

use super::line::{Place, child, ensure_lasting};
use crate::zk::{Coordinator, CreateMode, Error};

/// What Curator's simple queue calls its elements, before the digits.
const SIMPLE: &str = "qn-";
/// What kazoo calls its elements; three digits of priority follow.
const ENTRY: &str = "entry-";

/// A queue: first in, first out, or by priority.
///
/// **It promises** that each element is taken at most once, and in order as far as one can speak of order among several.
///
/// **It does not promise** that a taken element is dealt with: whoever takes one and fails has lost it, also when the
/// future of [`Queue::take`] is dropped at the wrong moment, or [`Error::UnknownOutcome`] leaves open whether it was taken.
/// Where that matters, use a [`LockingQueue`].
///
/// Servers have to list all elements to find the first, so some thousands are the most that makes sense.
///
/// **Znodes**: `PATH/qn-0000000007`, persistent, with the element as data, as Curator's `SimpleDistributedQueue` has them; or
/// by priority `PATH/entry-100-0000000007`, as kazoo's `Queue` has them. `PATH` is made if it is not there, to stay: a
/// container that goes when it is empty counts from 0 when it comes again, and whoever was held up between reading an
/// element and deleting it would delete another of the same name.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let letters = zk.queue("/letters");
/// letters.put(b"dear all").await?;
/// println!("{:?}", letters.take().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Queue {
    zk: Coordinator,
    path: String,
    prefix: &'static str,
}

impl Coordinator {
    /// The queue at this path, first in, first out.
    pub fn queue(&self, path: &str) -> Queue {
        Queue { zk: self.clone(), path: path.to_owned(), prefix: SIMPLE }
    }

    /// The queue by priority at this path.
    pub fn priority_queue(&self, path: &str) -> PriorityQueue {
        PriorityQueue { queue: Queue { zk: self.clone(), path: path.to_owned(), prefix: ENTRY } }
    }

    /// The queue at this path whose elements stay until they have been dealt with.
    pub fn locking_queue(&self, path: &str) -> LockingQueue {
        LockingQueue { zk: self.clone(), path: path.to_owned() }
    }
}

/// Puts an element in and returns its name. An element whose answer was lost may be there once.
pub(super) async fn put(
    zk: &Coordinator,
    parent: &str,
    prefix: &str,
    element: &[u8],
) -> Result<String, Error> {
    loop {
        match zk.create(&child(parent, prefix), element, CreateMode::PersistentSequential).await {
            Ok(created) => return Ok(created.path),
            Err(Error::NoNode) => ensure_lasting(zk, parent).await?,
            Err(error) => return Err(error),
        }
    }
}

/// Elements in order, and a watch for more.
pub(super) async fn elements(
    zk: &Coordinator,
    parent: &str,
    prefix: &str,
) -> Result<(Vec<String>, crate::zk::Watch), Error> {
    loop {
        match zk.children_and_watch(parent).await {
            Ok((mut names, _, watch)) => {
                names.retain(|name| name.starts_with(prefix));
                names.sort();
                return Ok((names, watch));
            }
            Err(Error::NoNode) => ensure_lasting(zk, parent).await?,
            Err(error) => return Err(error),
        }
    }
}

/// The first that nobody else takes before us, as `read` makes it of the data; what that cannot read stays where it is.
pub(super) async fn take_first<T>(
    zk: &Coordinator,
    parent: &str,
    names: &[String],
    read: impl Fn(Bytes) -> Option<T>,
) -> Result<Option<T>, Error> {
    for name in names {
        let path = child(parent, name);
        let data = match zk.get(&path).await {
            Err(Error::NoNode) => continue,
            result => result?.0,
        };
        let Some(element) = read(data.into_bytes()) else { continue };
        match zk.delete(&path, None).await {
            Err(Error::NoNode) => {}
            result => return result.map(|()| Some(element)),
        }
    }
    Ok(None)
}

impl Queue {
    /// Puts an element in, at the end. After [`Error::UnknownOutcome`] it is there once or not at all.
    pub async fn put(&self, element: &[u8]) -> Result<(), Error> {
        put(&self.zk, &self.path, self.prefix, element).await.map(drop)
    }

    /// Waits for an element and takes it.
    ///
    /// # Cancel safety
    /// None: an element may be taken and lost.
    pub async fn take(&self) -> Result<Bytes, Error> {
        loop {
            let (names, mut watch) = elements(&self.zk, &self.path, self.prefix).await?;
            if let Some(element) = take_first(&self.zk, &self.path, &names, Some).await? {
                return Ok(element);
            }
            watch.changed().await;
        }
    }

    /// Takes an element if there is one.
    ///
    /// # Cancel safety
    /// None: an element may be taken and lost.
    pub async fn try_take(&self) -> Result<Option<Bytes>, Error> {
        let (names, _) = elements(&self.zk, &self.path, self.prefix).await?;
        take_first(&self.zk, &self.path, &names, Some).await
    }

    /// The first element, which stays where it is.
    pub async fn peek(&self) -> Result<Option<Bytes>, Error> {
        let (names, _) = elements(&self.zk, &self.path, self.prefix).await?;
        for name in names {
            match self.zk.get(&child(&self.path, &name)).await {
                Err(Error::NoNode) => {}
                result => return Ok(Some(result?.0.into_bytes())),
            }
        }
        Ok(None)
    }
}

/// A [`Queue`] whose elements have a priority: of those with the smallest number, the first one comes first.
///
/// It promises and does not promise what [`Queue`] does; an element may have to wait for ever while more urgent ones come.
///
/// **Znodes**: `PATH/entry-100-0000000007`, persistent, with the priority in three digits, as kazoo's `Queue` has them.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let calls = zk.priority_queue("/calls");
/// calls.put(b"some time", 100).await?;
/// calls.put(b"urgent", 1).await?;
/// assert_eq!(calls.take().await?, "urgent");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PriorityQueue {
    queue: Queue,
}

impl PriorityQueue {
    /// Puts an element in. `priority` is at most 999; 100 is what kazoo gives those without one.
    pub async fn put(&self, element: &[u8], priority: u16) -> Result<(), Error> {
        let prefix = prefix_with(priority)?;
        put(&self.queue.zk, &self.queue.path, &prefix, element).await.map(drop)
    }

    /// Waits for an element and takes it. See [`Queue::take`].
    pub async fn take(&self) -> Result<Bytes, Error> {
        self.queue.take().await
    }

    /// Takes an element if there is one. See [`Queue::try_take`].
    pub async fn try_take(&self) -> Result<Option<Bytes>, Error> {
        self.queue.try_take().await
    }

    /// The first element, which stays where it is.
    pub async fn peek(&self) -> Result<Option<Bytes>, Error> {
        self.queue.peek().await
    }
}

fn prefix_with(priority: u16) -> Result<String, Error> {
    if priority > 999 {
        return Err(Error::BadOption(format!("the priority {priority} is larger than 999")));
    }
    Ok(format!("{ENTRY}{priority:03}-"))
}

/// A queue whose elements stay until whoever has one says that it has been dealt with.
///
/// **It promises** that no element is lost: if the session of whoever has one ends, somebody else gets it. **It does not
/// promise** that it is dealt with only once: whoever was held up may still be at it. That [`Held::consume`] succeeds for one
/// only is promised.
///
/// **Znodes**: `PATH/entries/entry-100-0000000007` with the element, persistent, and of the same name `PATH/locks/…`,
/// ephemeral, while somebody has it. kazoo's `LockingQueue` does the same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let queue = zk.locking_queue("/jobs");
/// queue.put(b"job", 100).await?;
/// let job = queue.take().await?;
/// println!("{:?}", job.data());
/// job.consume().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LockingQueue {
    zk: Coordinator,
    path: String,
}

impl LockingQueue {
    fn entries(&self) -> String {
        child(&self.path, "entries")
    }

    fn locks(&self) -> String {
        child(&self.path, "locks")
    }

    /// Puts an element in. `priority` is at most 999, the smallest number comes first. After [`Error::UnknownOutcome`] it is
    /// there once or not at all.
    pub async fn put(&self, element: &[u8], priority: u16) -> Result<(), Error> {
        put(&self.zk, &self.entries(), &prefix_with(priority)?, element).await.map(drop)
    }

    /// Waits for an element that nobody else has.
    ///
    /// # Cancel safety
    /// An element that was got by then is free again when the session ends, or at once if its lock was confirmed.
    pub async fn take(&self) -> Result<Held, Error> {
        loop {
            // Both watches before the attempt: an element may come, or come back.
            let (names, mut more) = elements(&self.zk, &self.entries(), ENTRY).await?;
            let (_, mut freed) = elements(&self.zk, &self.locks(), ENTRY).await?;
            if let Some(held) = self.hold_first(&names).await? {
                return Ok(held);
            }
            tokio::select! {
                // In this order, not a random one: a simulated life must be repeatable.
                biased;
                _ = more.changed() => {}
                _ = freed.changed() => {}
            }
        }
    }

    /// Takes an element that nobody else has, if there is one.
    ///
    /// # Cancel safety
    /// As [`LockingQueue::take`].
    pub async fn try_take(&self) -> Result<Option<Held>, Error> {
        let (names, _) = elements(&self.zk, &self.entries(), ENTRY).await?;
        self.hold_first(&names).await
    }

    async fn hold_first(&self, names: &[String]) -> Result<Option<Held>, Error> {
        for name in names {
            if let Some(held) = self.hold(name).await? {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    async fn hold(&self, name: &str) -> Result<Option<Held>, Error> {
        let Some(place) = Place::take_by_name(&self.zk, &child(&self.locks(), name), b"").await? else {
            return Ok(None);
        };
        let entry = child(&self.entries(), name);
        match self.zk.get(&entry).await {
            Ok((data, _)) => Ok(Some(Held { place, entry, data: data.into_bytes() })),
            // Consumed since it was listed; dropping the place frees the lock.
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An element that nobody else has for now. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "the element goes back into the queue when this is dropped"]
pub struct Held {
    place: Place,
    entry: String,
    data: Bytes,
}

impl Held {
    /// The element.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The element has been dealt with, and leaves the queue. Fails if our session ended meanwhile, and with
    /// [`Error::Transaction`] if somebody else has it or has dealt with it.
    pub async fn consume(self) -> Result<(), Error> {
        let multi = self.place.zk().multi().delete(&self.entry, None).delete(&self.place.path(), None);
        multi.commit().await?;
        self.place.has_gone();
        Ok(())
    }
}
