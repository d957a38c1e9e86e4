//! Who is the controller?

use client::zk::{CreateMode, Error, Watch};

use super::schema::{self, SchemaError};
use super::{Registry, RegistryError, paths};

/// What an election came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elected {
    /// This broker, in this epoch. Writes are fenced by the version of the epoch's node.
    Me {
        epoch: i32,
        epoch_version: i32,
    },
    Other(i32),
}

impl Registry {
    /// Tries to become the controller; somebody is, afterwards.
    pub async fn elect(&self, me: i32, now_ms: i64) -> Result<Elected, RegistryError> {
        loop {
            if let Some((data, stat)) = self.read(paths::CONTROLLER).await? {
                let broker = schema::decode_controller(paths::CONTROLLER, &data)?;
                if broker != me || !self.is_mine(&stat) {
                    return Ok(Elected::Other(broker));
                }
                // It was won, and the answer was lost or is late. As long as it stands nobody raises the epoch.
                let (epoch, epoch_version) = self.controller_epoch().await?;
                let now = self.read(paths::CONTROLLER).await?;
                if now.is_some_and(|(_, now)| now.czxid == stat.czxid) {
                    return Ok(Elected::Me { epoch, epoch_version });
                }
                continue;
            }
            let (epoch, version) = self.controller_epoch().await?;
            let next = epoch + 1;
            let made = self
                .zk
                .multi()
                .create(paths::CONTROLLER, &schema::encode_controller(me, now_ms), CreateMode::Ephemeral)
                .set(paths::CONTROLLER_EPOCH, next.to_string().as_bytes(), version)
                .commit()
                .await;
            match made {
                Ok(_) => return Ok(Elected::Me { epoch: next, epoch_version: version + 1 }),
                Err(Error::Transaction { .. } | Error::UnknownOutcome) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The epoch that was given out last, and the version of the node that says so; made if there is none.
    async fn controller_epoch(&self) -> Result<(i32, i32), RegistryError> {
        loop {
            if let Some((data, stat)) = self.read(paths::CONTROLLER_EPOCH).await? {
                let text = String::from_utf8_lossy(&data);
                let epoch = text.trim().parse().map_err(|_| schema::not_an_epoch(&data))?;
                return Ok((epoch, stat.version));
            }
            match self.zk.create(paths::CONTROLLER_EPOCH, b"0", CreateMode::Persistent).await {
                Ok(_) | Err(Error::NodeExists | Error::UnknownOutcome) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether this session holds `/controller`.
    pub async fn is_controller(&self, me: i32) -> Result<bool, RegistryError> {
        let Some((data, stat)) = self.read(paths::CONTROLLER).await? else { return Ok(false) };
        Ok(self.is_mine(&stat) && schema::decode_controller(paths::CONTROLLER, &data)? == me)
    }

    /// The partitions that an old tool wants to be led by their preferred replicas; the wish is taken back with that.
    pub async fn take_preferred_wish(&self) -> Result<Option<Vec<(String, i32)>>, RegistryError> {
        self.take_wish(paths::PREFERRED_ELECTION, schema::decode_named_partitions).await
    }

    /// Where an old tool wants replicas to be; the same holds for this wish.
    pub async fn take_reassignment_wish(
        &self,
    ) -> Result<Option<Vec<(String, i32, Vec<i32>)>>, RegistryError> {
        self.take_wish(paths::REASSIGN_PARTITIONS, schema::decode_reassignment).await
    }

    async fn take_wish<T>(
        &self,
        path: &str,
        decode: fn(&str, &[u8]) -> Result<T, SchemaError>,
    ) -> Result<Option<T>, RegistryError> {
        let Some((data, stat)) = self.read(path).await? else { return Ok(None) };
        match self.zk.delete(path, stat.version).await {
            Ok(()) | Err(Error::NoNode | Error::BadVersion) => {}
            Err(error) => return Err(error.into()),
        }
        match decode(path, &data) {
            Ok(wish) => Ok(Some(wish)),
            Err(error) => {
                tracing::warn!(%error, "a wish is passed over");
                Ok(None)
            }
        }
    }

    /// Stops being the controller, if this session is.
    pub async fn resign(&self) -> Result<(), RegistryError> {
        if let Some((_, stat)) = self.read(paths::CONTROLLER).await?
            && self.is_mine(&stat)
        {
            match self.zk.delete(paths::CONTROLLER, stat.version).await {
                Ok(()) | Err(Error::NoNode | Error::BadVersion) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Everything that happens to `/controller`.
    pub async fn watch_controller(&self) -> Result<Watch, RegistryError> {
        Ok(self.zk.watch(paths::CONTROLLER).await?)
    }
}
