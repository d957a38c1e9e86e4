//! Which producer id is the next?

use client::wire::kafka::ErrorCode;
use tokio::sync::Mutex;

use crate::registry::Registry;

/// Ids that this broker may give out, taken from the coordinator a block at a time.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// The next id, and the last of the block.
    block: Mutex<Option<(i64, i64)>>,
}

impl ProducerIds {
    /// An id that nobody has or had.
    pub async fn next(&self, broker: i32, registry: &Registry) -> Result<i64, ErrorCode> {
        let mut block = self.block.lock().await;
        let (next, last) = match *block {
            Some((next, last)) if next <= last => (next, last),
            _ => {
                let taken = registry.take_producer_ids(broker).await.map_err(|error| {
                    tracing::warn!(%error, "no producer ids");
                    ErrorCode::COORDINATOR_NOT_AVAILABLE
                })?;
                (taken.first, taken.last)
            }
        };
        *block = Some((next + 1, last));
        Ok(next)
    }
}
