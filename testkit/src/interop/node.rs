//! Programs for Node, with what npm fetches for them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{command_output, scratch, workspace};

/// A folder with the packages that the manifest in `testkit/interop/node` names, fetched once.
fn home() -> Result<PathBuf> {
    let (sources, home) = (workspace().join("testkit/interop/node"), scratch("node")?);
    let (manifest, stamp) = (sources.join("package.json"), home.join("installed.json"));
    let text = std::fs::read_to_string(&manifest)?;
    if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&text) {
        std::fs::copy(&manifest, home.join("package.json"))?;
        let install = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"];
        command_output(Command::new("npm").current_dir(&home).args(install))
            .context("installing the clients for Node")?;
        std::fs::write(&stamp, text)?;
    }
    Ok(home)
}

/// `node` with that program of `testkit/interop/node`; its arguments are the caller's to add.
pub(super) fn program(name: &str) -> Result<Command> {
    let mut command = Command::new("node");
    command.env("NODE_PATH", home()?.join("node_modules"));
    command.arg(workspace().join("testkit/interop/node").join(name));
    Ok(command)
}
