//! `coordctl edit`: data in an editor and back, unless somebody else was faster.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::wire::zk::path::name;
use crate::zk::{Coordinator, Error};

pub(super) async fn edit(zk: &Coordinator, path: &str) -> Result<()> {
    let (data, stat) = zk.get(path).await.with_context(|| path.to_owned())?;
    let file = spread_out(path, &data)?;
    run_editor(&file).await.with_context(|| kept(&file))?;
    let edited = fs::read(&file).with_context(|| file.display().to_string())?;
    if *edited == *data {
        eprintln!("{path} is as it was");
    } else {
        match zk.set(path, &edited, stat.version).await {
            Ok(_) => {}
            Err(Error::BadVersion) => {
                bail!("{path}: somebody else has changed it meanwhile; {}", kept(&file));
            }
            Err(error) => return Err(error).context(path.to_owned()).context(kept(&file)),
        }
    }
    Ok(fs::remove_file(&file)?)
}

fn kept(file: &Path) -> String {
    format!("your text is in {}", file.display())
}

/// Puts data into a file that nobody else may read: the znode may be secret.
fn spread_out(path: &str, data: &[u8]) -> Result<PathBuf> {
    let stem = if path == "/" { "root" } else { name(path) };
    // A znode's name may be longer than a file's.
    let stem: String =
        stem.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(60).collect();
    for attempt in 0..100 {
        let file = std::env::temp_dir().join(format!("coordctl-{}-{attempt}-{stem}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
            Ok(mut open) => {
                open.write_all(data).with_context(|| file.display().to_string())?;
                return Ok(file);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        }
    }
    bail!("there is no free name for a file in {}", std::env::temp_dir().display())
}

/// The editor may have arguments, so it is the shell that starts it.
async fn run_editor(file: &Path) -> Result<()> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // An interrupt from the terminal is meant for the editor; without this it would end us.
    let _interrupts = signal(SignalKind::interrupt())?;
    let command = format!("{editor} \"$1\"");
    let status = Command::new("sh").args(["-c", &command, "sh"]).arg(file).status().await;
    let status = status.with_context(|| format!("cannot start {editor}"))?;
    ensure!(status.success(), "{editor} ended with {status}");
    Ok(())
}
