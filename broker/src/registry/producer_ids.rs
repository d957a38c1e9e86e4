//! Which producer ids may this broker give out?

use client::zk::Error;

use super::schema::ProducerIdBlock;
use super::{Registry, RegistryError, paths};

/// How many ids a broker takes at once.
const BLOCK: i64 = 1000;

impl Registry {
    /// Takes the next block of ids for a broker; nobody else gets any of them, ever.
    pub async fn take_producer_ids(&self, broker: i32) -> Result<ProducerIdBlock, RegistryError> {
        const PATH: &str = paths::LATEST_PRODUCER_ID_BLOCK;
        loop {
            let (data, stat) = self.zk.get(PATH).await?;
            let first = ProducerIdBlock::decode(PATH, &data)?.map_or(0, |block| block.last + 1);
            let block = ProducerIdBlock { broker, first, last: first + BLOCK - 1 };
            match self.zk.set(PATH, &block.encode(), stat.version).await {
                Ok(_) => return Ok(block),
                // Somebody else took it, or perhaps we did and shall never know: the next one is as good.
                Err(Error::BadVersion | Error::UnknownOutcome) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
