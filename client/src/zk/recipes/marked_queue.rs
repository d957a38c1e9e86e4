//! Queues whose elements carry something in their names: a time before which nobody gets them, or an id by which they can
//! be taken back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes};

use super::line::child;
use super::queue::{elements, put, take_first};
use crate::zk::{Coordinator, Error, Watch};

/// What Curator's queues call their elements; the mark follows, and the digits.
const ITEM: &str = "queue-";
const SEPARATOR: char = '|';
/// Curator's format of data.
const VERSION: i32 = 0x0001_0001;
const ITEM_FOLLOWS: u8 = 1;
const END: u8 = 2;

/// A queue whose elements are there for nobody before their time.
///
/// **It promises** that each element is taken at most once, and not before its time by the clock of whoever takes it.
///
/// **It does not promise** that a taken element is dealt with, as [`Queue`](super::Queue) does not, nor that clocks agree.
///
/// **Znodes**: `PATH/queue-|18BCFE56800|0000000007`, persistent: the time in milliseconds since 1970, hexadecimal. Data is in
/// the format of Curator's queues, which may hold several elements; those are taken together. Curator's
/// `DistributedDelayQueue` does the same. One with a lock path takes elements in another way, and must not meet this one.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// use std::time::Duration;
/// let reminders = zk.delay_queue("/reminders");
/// reminders.put_after(b"call home", Duration::from_secs(3600)).await?;
/// for reminder in reminders.take().await? {
///     println!("{reminder:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DelayQueue {
    zk: Coordinator,
    path: String,
}

/// A queue, first in, first out, whose elements have ids by which they can be taken back. Several may have the same.
///
/// It promises and does not promise what [`Queue`](super::Queue) does.
///
/// **Znodes**: `PATH/queue-|ID|0000000007`, persistent, with data as [`DelayQueue`] has it; `/` and `|` in an id become `_`.
/// Curator's `DistributedIdQueue` does the same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let orders = zk.id_queue("/orders");
/// orders.put(b"three apples", "order-17").await?;
/// println!("{} taken back", orders.remove("order-17").await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct IdQueue {
    zk: Coordinator,
    path: String,
}

impl Coordinator {
    /// The queue at this path whose elements wait for their time.
    pub fn delay_queue(&self, path: &str) -> DelayQueue {
        DelayQueue { zk: self.clone(), path: path.to_owned() }
    }

    /// The queue at this path whose elements have ids.
    pub fn id_queue(&self, path: &str) -> IdQueue {
        IdQueue { zk: self.clone(), path: path.to_owned() }
    }
}

impl DelayQueue {
    /// Puts an element in that nobody gets before this time. After [`Error::UnknownOutcome`] it is there once or not at all.
    pub async fn put_at(&self, element: &[u8], time: SystemTime) -> Result<(), Error> {
        let prefix = format!("{ITEM}{SEPARATOR}{:08X}{SEPARATOR}", ms(time));
        put(&self.zk, &self.path, &prefix, &wrap(element)).await.map(drop)
    }

    /// The same for as long from now.
    pub async fn put_after(&self, element: &[u8], delay: Duration) -> Result<(), Error> {
        self.put_at(element, SystemTime::now() + delay).await
    }

    /// Waits for the time of the next element and takes it: one, or those that Curator has put in together.
    ///
    /// # Cancel safety
    /// None: an element may be taken and lost.
    pub async fn take(&self) -> Result<Vec<Bytes>, Error> {
        loop {
            let (taken, next, mut watch) = self.take_due().await?;
            if let Some(elements) = taken {
                return Ok(elements);
            }
            let wait = async {
                match next {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = watch.changed() => {}
                () = wait => {}
            }
        }
    }

    /// Takes the next element if its time has come: one, or those that Curator has put in together.
    ///
    /// # Cancel safety
    /// None: an element may be taken and lost.
    pub async fn try_take(&self) -> Result<Option<Vec<Bytes>>, Error> {
        Ok(self.take_due().await?.0)
    }

    /// What was taken, how long it is until there is more to take, and a watch for more.
    async fn take_due(&self) -> Result<(Option<Vec<Bytes>>, Option<Duration>, Watch), Error> {
        let (names, watch) = elements(&self.zk, &self.path, ITEM).await?;
        let mut timed: Vec<(u64, String)> = names.into_iter().map(|name| (time(&name), name)).collect();
        timed.sort();
        let now = ms(SystemTime::now());
        let later = timed.split_off(timed.partition_point(|(time, _)| *time <= now));
        let due: Vec<String> = timed.into_iter().map(|(_, name)| name).collect();
        let taken = take_first(&self.zk, &self.path, &due, unwrap).await?;
        let next = later.first().map(|(time, _)| Duration::from_millis(time.saturating_sub(now)));
        Ok((taken, next, watch))
    }
}

impl IdQueue {
    /// Puts an element in, at the end, under an id that is not empty. After [`Error::UnknownOutcome`] it is there once or not
    /// at all.
    pub async fn put(&self, element: &[u8], id: &str) -> Result<(), Error> {
        if id.is_empty() {
            return Err(Error::BadOption("the id of an element is empty".to_owned()));
        }
        let prefix = format!("{ITEM}{SEPARATOR}{}{SEPARATOR}", fixed(id));
        put(&self.zk, &self.path, &prefix, &wrap(element)).await.map(drop)
    }

    /// Waits for an element and takes it: one, or those that Curator has put in together.
    ///
    /// # Cancel safety
    /// None: an element may be taken and lost.
    pub async fn take(&self) -> Result<Vec<Bytes>, Error> {
        loop {
            let (taken, mut watch) = self.take_next().await?;
            if let Some(elements) = taken {
                return Ok(elements);
            }
            watch.changed().await;
        }
    }

    /// Takes an element if there is one: one, or those that Curator has put in together.
    ///
    /// # Cancel safety
    /// None: an element may be taken and lost.
    pub async fn try_take(&self) -> Result<Option<Vec<Bytes>>, Error> {
        Ok(self.take_next().await?.0)
    }

    /// What was taken, and a watch for more.
    async fn take_next(&self) -> Result<(Option<Vec<Bytes>>, Watch), Error> {
        let (mut names, watch) = elements(&self.zk, &self.path, ITEM).await?;
        names.sort_by(|a, b| digits(a).cmp(digits(b)));
        Ok((take_first(&self.zk, &self.path, &names, unwrap).await?, watch))
    }

    /// Takes all elements with this id out of the queue, and says how many there were.
    ///
    /// # Cancel safety
    /// None: some may be gone and others not.
    pub async fn remove(&self, id: &str) -> Result<usize, Error> {
        let (names, _) = elements(&self.zk, &self.path, ITEM).await?;
        let (id, mut removed) = (fixed(id), 0);
        for name in names.iter().filter(|name| mark(name) == Some(&id)) {
            match self.zk.delete(&child(&self.path, name), None).await {
                Ok(()) => removed += 1,
                // Somebody has taken it.
                Err(Error::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}

fn ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}

/// What stands between the separators of a name.
fn mark(name: &str) -> Option<&str> {
    name.strip_prefix(ITEM)?.strip_prefix(SEPARATOR)?.rsplit_once(SEPARATOR).map(|(mark, _)| mark)
}

/// What has no time is there at once, as for Curator.
fn time(name: &str) -> u64 {
    mark(name).and_then(|mark| u64::from_str_radix(mark, 16).ok()).unwrap_or(0)
}

fn digits(name: &str) -> &str {
    name.rsplit_once(SEPARATOR).map_or(name, |(_, digits)| digits)
}

fn fixed(id: &str) -> String {
    id.replace(['/', SEPARATOR], "_")
}

/// One element as Curator's queues store it.
fn wrap(element: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(element.len() + 10);
    data.put_i32(VERSION);
    data.put_u8(ITEM_FOLLOWS);
    // More than four gigabytes are refused as a request before anybody reads this.
    data.put_i32(element.len().try_into().unwrap_or(i32::MAX));
    data.put_slice(element);
    data.put_u8(END);
    data
}

/// The elements in a znode's data; `None` if it is nothing of the kind.
fn unwrap(mut data: Bytes) -> Option<Vec<Bytes>> {
    if data.try_get_i32().ok()? != VERSION {
        return None;
    }
    let mut elements = Vec::new();
    loop {
        match data.try_get_u8().ok()? {
            END => return Some(elements),
            ITEM_FOLLOWS => {}
            _ => return None,
        }
        let length = usize::try_from(data.try_get_i32().ok()?).ok()?;
        if length > data.len() {
            return None;
        }
        elements.push(data.split_to(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_what_curator_stores() {
        assert_eq!(wrap(b"ab"), [0, 1, 0, 1, 1, 0, 0, 0, 2, b'a', b'b', 2]);
        let two = [&[0, 1, 0, 1][..], &[1, 0, 0, 0, 1, b'x'], &[1, 0, 0, 0, 0], &[2]].concat();
        assert_eq!(unwrap(two.into()).unwrap(), [&b"x"[..], b""]);
        for bad in [
            &b""[..],
            &[0, 1, 0, 1],
            &[0, 1, 0, 2, 2],
            &[0, 1, 0, 1, 3],
            &[0, 1, 0, 1, 1, 0x7f, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(unwrap(Bytes::from_static(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn names_carry_times_and_ids() {
        assert_eq!(time("queue-|000000FF|0000000007"), 255);
        assert_eq!((time("queue-0000000007"), time("queue-|x|0000000007")), (0, 0));
        assert_eq!(mark("queue-|order-17|0000000007"), Some("order-17"));
        assert_eq!((fixed("a/b|c").as_str(), digits("queue-|x|0000000007")), ("a_b_c", "0000000007"));
    }
}
