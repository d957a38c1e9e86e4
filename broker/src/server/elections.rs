//! When is this broker the controller?

use tokio::sync::mpsc;

use super::controlling::{self, Ask, Control, Orders};
use crate::config::Values;
use crate::registry::controller::Elected;
use crate::registry::{Registry, RegistryError};

/// A broker that takes part in elections, with one session.
#[derive(Debug)]
pub struct Candidate<'a> {
    pub registry: &'a Registry,
    pub me: i32,
    /// What this broker was started with.
    pub values: &'a Values,
    /// Where requests to the controller and reports come from.
    pub asks: &'a mut mpsc::Receiver<Ask>,
    /// Where the controller's orders go.
    pub orders: &'a mpsc::Sender<Orders>,
}

impl Candidate<'_> {
    /// Takes part in one election after the other, and is the controller whenever one is won, until the session is over.
    /// `tell` hears after each whether this broker is the controller now.
    pub async fn run(self, now_ms: fn() -> i64, tell: impl Fn(bool)) -> Result<(), RegistryError> {
        let Candidate { registry, me, values, asks, orders } = self;
        loop {
            let mut watch = registry.watch_controller().await?;
            match registry.elect(me, now_ms()).await? {
                Elected::Other(other) => {
                    tracing::info!(controller = other, "another broker is the controller");
                    tell(false);
                    watch.changed().await.ok_or(client::zk::Error::SessionExpired)?;
                }
                Elected::Me { epoch, epoch_version } => {
                    tell(true);
                    let control = Control { registry, me, values, epoch, epoch_version, asks, orders };
                    let over = controlling::control(control).await?;
                    tracing::info!(epoch, why = ?over, "this broker is the controller no more");
                    tell(false);
                    registry.resign().await?;
                }
            }
        }
    }
}
