//! Subtrees on their way: copies, exports, imports.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::access;
use super::output::data_field;
use super::progress::Progress;
use super::putting::Putting;
use super::stdin::stdin;
use super::walk::walk;
use crate::zk::{Acl, Coordinator, Data, Error};

/// Longer than the export of any znode that servers take.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// What servers keep for themselves is theirs.
const RESERVED: &str = "/zookeeper";

/// One line of an export.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Below the znode that was exported; empty for itself.
    path: String,
    /// The outer one says whether the field is there, the inner one that it is null.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    data: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    acl: String,
}

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl Line {
    fn data(self) -> Result<Data> {
        match (self.data, self.data_base64) {
            (Some(None), None) => Ok(Data::NULL),
            (Some(Some(text)), None) => Ok(text.into_bytes().into()),
            (None, Some(base64)) => {
                let bytes = BASE64_STANDARD.decode(base64).context("data_base64 is no base64")?;
                Ok(bytes.into())
            }
            _ => anyhow::bail!("a line needs either data or data_base64"),
        }
    }
}

/// A znode that is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) below: String,
    pub(super) data: Data,
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
            kept.push(Kept { below: below.trim_end_matches('/').to_owned(), data: data.clone(), acl });
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
        let (data, data_base64) = match data_field(&data) {
            ("data", value) => (Some(value.as_str().map(str::to_owned)), None),
            (_, value) => (None, value.as_str().map(str::to_owned)),
        };
        serde_json::to_writer(&mut out, &Line { path: below, data, data_base64, acl: access::print(&acl) })?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

pub(super) async fn import(zk: &Coordinator, root: &str, overwrite: bool) -> Result<()> {
    // Not by std, which would hold up the session with everything else while there is nothing to read.
    let mut input = BufReader::new(stdin());
    let (mut putting, mut progress) = (Putting::new(zk, root, overwrite), Progress::new("import", None));
    for number in 1.. {
        match next(&mut input).await.with_context(|| format!("line {number}")) {
            Ok(Some(kept)) => putting.put(kept).await?,
            end => {
                let counts = putting.finish().await?;
                drop(progress);
                end?;
                eprintln!("{counts}");
                break;
            }
        }
        progress.step(1);
    }
    Ok(())
}

/// The znode of the next line; `None` after the last.
async fn next(input: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Kept>> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    ensure!((line.len() as u64) < LINE_BYTES_MAX, "it is longer than any export makes one");
    if line.is_empty() { Ok(None) } else { parse(&line).map(Some) }
}

fn parse(line: &[u8]) -> Result<Kept> {
    let line: Line = serde_json::from_slice(line)?;
    let (below, acl) = (line.path.clone(), access::parse(&line.acl)?);
    ensure!(below.is_empty() || below.starts_with('/'), "{below:?} is no path below what was exported");
    Ok(Kept { below, data: line.data()?, acl })
}

pub(super) async fn copy(
    zk: &Coordinator,
    from: &str,
    other: &Coordinator,
    to: &str,
    overwrite: bool,
) -> Result<()> {
    let all = collect(zk, from).await?;
    let mut progress = Progress::new("copy", Some(all.len() as u64));
    let mut putting = Putting::new(other, to, overwrite);
    for kept in all {
        putting.put(kept).await?;
        progress.step(1);
    }
    let counts = putting.finish().await?;
    drop(progress);
    eprintln!("{counts}");
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
        assert_eq!(*kept.data, [0xff]);
        for (text, is_null) in [("null", true), (r#""""#, false)] {
            let line = format!(r#"{{"path":"","data":{text},"acl":"world:anyone:r"}}"#);
            assert_eq!(parse(line.as_bytes()).unwrap().data.is_null(), is_null);
        }
        for bad in [
            &b"{}"[..],
            br#"{"path":"/a","acl":"world:anyone:r"}"#,
            br#"{"path":"/a","data":"x","data_base64":"","acl":"world:anyone:r"}"#,
            br#"{"path":"/a","data":"x","acl":"nonsense"}"#,
            br#"{"path":"a","data":"x","acl":"world:anyone:r"}"#,
        ] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
