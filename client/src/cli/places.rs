//! Where the tool keeps what it keeps.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The directory of the profiles.
pub(super) fn profiles() -> Result<PathBuf> {
    below("XDG_CONFIG_HOME", ".config")
}

/// The directory of what is no loss when it is lost.
pub(super) fn state() -> Result<PathBuf> {
    below("XDG_STATE_HOME", ".local/state")
}

fn below(variable: &str, usual: &str) -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set(variable).or_else(|| Some(set("HOME")?.join(usual)));
    Ok(base.with_context(|| format!("neither {variable} nor HOME is set"))?.join("coordctl"))
}
