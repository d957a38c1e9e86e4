//! Who is told when a data directory fails?

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::Broker;
use crate::registry::{Registry, RegistryError};

/// How soon a failure is noticed.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Leaves a notice for the controller whenever a directory fails. What failed before this session is told again: the
/// controller may have missed it, and asks the broker for what it lost.
pub(super) async fn tell(broker: &Broker, registry: &Registry) -> Result<(), RegistryError> {
    let mut told: BTreeSet<PathBuf> = BTreeSet::new();
    loop {
        let dirs = broker.replicas.logs().dirs().iter();
        let failed = dirs.filter(|dir| dir.failure().is_some()).map(|dir| dir.path().to_path_buf());
        let new: Vec<PathBuf> = failed.filter(|path| !told.contains(path)).collect();
        if !new.is_empty() {
            registry.tell_log_dir_failure(broker.id).await?;
            told.extend(new);
        }
        tokio::time::sleep(LOOKED_AT_EVERY).await;
    }
}
