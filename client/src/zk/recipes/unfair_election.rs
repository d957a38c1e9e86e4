//! Leadership for whoever is fastest.

use super::line::Place;
use super::lock::LockGuard;
use crate::zk::{Coordinator, Error};

/// An election without a line: when the leader has gone, whoever is fastest leads next.
///
/// It takes one znode and one request where a [`Lock`](super::Lock) takes a line, and tells everybody when the leader has gone.
/// So it suits few participants, or many that want to know who leads rather than to lead. Nothing keeps one participant from
/// winning every time.
///
/// It promises and does not promise what [`Lock`](super::Lock) does.
///
/// **Znodes**: the one at `PATH`, ephemeral, with the leader's data. Apache Kafka elects its controller in this way.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let leadership = zk.unfair_election("/controller").lead(b"broker 1").await?;
/// println!("we lead, with fence {}", leadership.fence());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct UnfairElection {
    zk: Coordinator,
    path: String,
}

impl Coordinator {
    /// The election at this path.
    pub fn unfair_election(&self, path: &str) -> UnfairElection {
        UnfairElection { zk: self.clone(), path: path.to_owned() }
    }
}

impl UnfairElection {
    /// Waits until we lead.
    ///
    /// # Cancel safety
    /// Dropping the future gives up.
    pub async fn lead(&self, data: &[u8]) -> Result<LockGuard, Error> {
        loop {
            if let Some(leadership) = self.try_lead(data).await? {
                return Ok(leadership);
            }
            super::barrier::await_absence(&self.zk, &self.path).await?;
        }
    }

    /// Leads if nobody does.
    ///
    /// # Cancel safety
    /// Dropping the future gives up.
    pub async fn try_lead(&self, data: &[u8]) -> Result<Option<LockGuard>, Error> {
        Ok(Place::take_by_name(&self.zk, &self.path, data).await?.map(LockGuard::new))
    }

    /// The leader's data, if there is one.
    pub async fn leader(&self) -> Result<Option<Vec<u8>>, Error> {
        match self.zk.get(&self.path).await {
            Ok((data, _)) => Ok(Some(data.to_vec())),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
