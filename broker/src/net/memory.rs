//! How much memory may requests take, all together?
//!
//! Small ones are bounded by the number of connections. What is larger is charged here, as it arrives: a request that is
//! announced and does not come costs nothing, and nobody can hold more than twice what was sent. When all is taken,
//! connections wait, and their clients with them; one at a time goes on beyond the bound, so that requests that have each
//! come half way do not wait for each other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What large requests may take.
#[derive(Debug, Clone)]
pub struct RequestMemory {
    bytes_max: usize,
    free: Arc<Semaphore>,
    beyond: Arc<Semaphore>,
}

/// What one request has taken, until it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    counted: Option<OwnedSemaphorePermit>,
    /// The right not to be counted any more.
    beyond: Option<OwnedSemaphorePermit>,
}

impl RequestMemory {
    pub fn new(bytes_max: usize) -> RequestMemory {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        RequestMemory {
            bytes_max,
            free: Arc::new(Semaphore::new(bytes_max)),
            beyond: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits until the request may take so many bytes in all.
    pub async fn grow(&self, held: &mut Held, bytes: usize) {
        let counted = held.counted.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if held.beyond.is_some() || bytes <= counted {
            return;
        }
        // Requests are smaller than 2 GiB.
        let missing = u32::try_from(bytes - counted).unwrap_or(u32::MAX);
        let (free, beyond) = (Arc::clone(&self.free), Arc::clone(&self.beyond));
        tokio::select! {
            biased;
            Ok(more) = free.acquire_many_owned(missing) => match &mut held.counted {
                Some(counted) => counted.merge(more),
                none => *none = Some(more),
            },
            Ok(right) = beyond.acquire_owned() => held.beyond = Some(right),
            else => unreachable!("they are never closed"),
        }
    }

    /// Bytes that nobody has taken.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Bytes that requests have taken, as far as they are counted.
    pub fn taken(&self) -> usize {
        self.bytes_max - self.free()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_can_be_taken_again() {
        let memory = RequestMemory::new(100);
        let mut held = Held::default();
        memory.grow(&mut held, 40).await;
        memory.grow(&mut held, 100).await;
        memory.grow(&mut held, 60).await;
        assert_eq!((memory.taken(), memory.free()), (100, 0));
        drop(held);
        assert_eq!((memory.taken(), memory.free()), (0, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn one_goes_beyond_and_the_others_wait() {
        let memory = RequestMemory::new(100);
        let (mut first, mut second, mut third) = (Held::default(), Held::default(), Held::default());
        memory.grow(&mut first, 60).await;
        memory.grow(&mut second, 200).await;
        memory.grow(&mut second, 1000).await;
        assert_eq!(memory.taken(), 60, "the second is not counted");
        let waits = tokio::time::timeout(Duration::from_secs(60), memory.grow(&mut third, 50));
        assert!(waits.await.is_err(), "and the third waits");
        drop(first);
        memory.grow(&mut third, 50).await;
        let waits = tokio::time::timeout(Duration::from_secs(60), memory.grow(&mut third, 120));
        assert!(waits.await.is_err());
        drop(second);
        memory.grow(&mut third, 120).await;
        assert_eq!(memory.taken(), 50);
    }
}
