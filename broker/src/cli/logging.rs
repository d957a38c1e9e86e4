//! The broker's log: text on a terminal, one JSON object per line otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What filters the log, as the coordinator's variable of that name does.
const VARIABLE: &str = "ROOKERY_LOG";

/// Starts logging to standard error.
pub(super) fn start() -> anyhow::Result<()> {
    let filter = std::env::var(VARIABLE).unwrap_or_else(|_| "info".to_owned());
    let filter =
        EnvFilter::try_new(&filter).map_err(|error| anyhow::anyhow!("{VARIABLE}={filter}: {error}"))?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if is_terminal {
        lines.with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
