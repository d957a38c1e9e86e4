//! Subtrees on their way: copies, exports, imports.

use std::fmt;
use std::io::{BufRead, Read, Write};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access;
use super::output::data_field;
use super::progress::Progress;
use super::walk::{child, walk};
use super::znodes::make_parents;
use crate::zk::{Acl, Coordinator, CreateMode, Error};

/// Longer than the export of any znode that servers take.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// What servers keep for themselves is theirs.
const RESERVED: &str = "/zookeeper";

/// One line of an export.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Below the znode that was exported; empty for itself.
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    acl: String,
}

impl Line {
    fn data(self) -> Result<Vec<u8>> {
        match (self.data, self.data_base64) {
            (Some(text), None) => Ok(text.into_bytes()),
            (None, Some(base64)) => BASE64_STANDARD.decode(base64).context("data_base64 is no base64"),
            _ => anyhow::bail!("a line needs either data or data_base64"),
        }
    }
}

/// A znode that is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) below: String,
    pub(super) data: Vec<u8>,
    pub(super) acl: Vec<Acl<'static>>,
}

/// Everything below a znode, parents first, without ephemerals and without what servers keep for themselves.
pub(super) async fn collect(zk: &Coordinator, root: &str) -> Result<Vec<Kept>> {
    let (mut found, mut progress) = (Vec::new(), Progress::new("read", None));
    walk(zk, root, u32::MAX, |znode| {
        let is_reserved = znode.path.starts_with(RESERVED) && !root.starts_with(RESERVED);
        if znode.stat.ephemeral_owner == 0 && !is_reserved {
            found.push((znode.path, znode.data));
        }
        progress.step(1);
        Ok(())
    })
    .await?;
    let mut kept = Vec::with_capacity(found.len());
    for batch in found.chunks(500) {
        let lists: Vec<_> = batch.iter().map(|(path, _)| zk.get_acl(path)).collect();
        for ((path, data), list) in batch.iter().zip(lists) {
            let acl = match list.await {
                Err(Error::NoNode) => continue,
                result => result.with_context(|| path.clone())?.0,
            };
            let below = if root == "/" { path.as_str() } else { &path[root.len()..] };
            kept.push(Kept { below: below.trim_end_matches('/').to_owned(), data: data.to_vec(), acl });
        }
    }
    Ok(kept)
}

pub(super) async fn export(zk: &Coordinator, root: &str) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let all = collect(zk, root).await?;
    let mut progress = Progress::new("export", Some(all.len() as u64));
    for Kept { below, data, acl } in all {
        progress.step(1);
        let (name, value) = data_field(&data);
        let Value::String(value) = value else { unreachable!("data is a text or its base64") };
        let (data, data_base64) = if name == "data" { (Some(value), None) } else { (None, Some(value)) };
        serde_json::to_writer(&mut out, &Line { path: below, data, data_base64, acl: access::print(&acl) })?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

pub(super) async fn import(zk: &Coordinator, root: &str, overwrite: bool) -> Result<()> {
    let mut input = std::io::stdin().lock();
    let (mut counts, mut progress) = (Counts::default(), Progress::new("import", None));
    for number in 1.. {
        let mut line = Vec::new();
        input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        ensure!((line.len() as u64) < LINE_BYTES_MAX, "line {number} is longer than any export makes one");
        let kept = parse(&line).with_context(|| format!("line {number}"))?;
        put(zk, root, &kept, overwrite, &mut counts).await?;
        progress.step(1);
    }
    drop(progress);
    eprintln!("{counts}");
    Ok(())
}

fn parse(line: &[u8]) -> Result<Kept> {
    let line: Line = serde_json::from_slice(line)?;
    let (below, acl) = (line.path.clone(), access::parse(&line.acl)?);
    Ok(Kept { below, data: line.data()?, acl })
}

pub(super) async fn copy(
    zk: &Coordinator,
    from: &str,
    other: &Coordinator,
    to: &str,
    overwrite: bool,
) -> Result<()> {
    let (mut counts, all) = (Counts::default(), collect(zk, from).await?);
    let mut progress = Progress::new("copy", Some(all.len() as u64));
    for kept in all {
        put(other, to, &kept, overwrite, &mut counts).await?;
        progress.step(1);
    }
    drop(progress);
    eprintln!("{counts}");
    Ok(())
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    created: usize,
    replaced: usize,
    left: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} created, {} replaced, {} left as they were", self.created, self.replaced, self.left)
    }
}

/// Where a znode belongs below another root.
pub(super) fn place(root: &str, below: &str) -> String {
    match below.strip_prefix('/') {
        Some(below) => child(root, below),
        None => root.to_owned(),
    }
}

/// Puts one znode where it belongs.
pub(super) async fn put(
    zk: &Coordinator,
    root: &str,
    kept: &Kept,
    overwrite: bool,
    counts: &mut Counts,
) -> Result<()> {
    let path = place(root, &kept.below);
    let named = || path.clone();
    if kept.below.is_empty() {
        make_parents(zk, &path).await?;
    }
    let created = match zk.create(&path, &kept.data, CreateMode::Persistent.acl(kept.acl.clone())).await {
        Err(Error::NoNode) => {
            make_parents(zk, &path).await?;
            zk.create(&path, &kept.data, CreateMode::Persistent.acl(kept.acl.clone())).await
        }
        result => result,
    };
    match created {
        Ok(_) => counts.created += 1,
        Err(Error::NodeExists) if overwrite => {
            zk.set(&path, &kept.data, None).await.with_context(named)?;
            zk.set_acl(&path, &kept.acl, None).await.with_context(named)?;
            counts.replaced += 1;
        }
        Err(Error::NodeExists) => counts.left += 1,
        Err(error) => return Err(error).with_context(named),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked() {
        let kept = parse(br#"{"path":"/a","data":"x","acl":"world:anyone:r"}"#).unwrap();
        assert_eq!((kept.below.as_str(), &kept.data[..]), ("/a", &b"x"[..]));
        let kept = parse(br#"{"path":"","data_base64":"/w==","acl":"world:anyone:r"}"#).unwrap();
        assert_eq!(kept.data, [0xff]);
        for bad in [
            &b"{}"[..],
            br#"{"path":"/a","acl":"world:anyone:r"}"#,
            br#"{"path":"/a","data":"x","data_base64":"","acl":"world:anyone:r"}"#,
            br#"{"path":"/a","data":"x","acl":"nonsense"}"#,
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
