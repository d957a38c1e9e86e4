//! Commands that read and change znodes.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::access;
use super::flags::Format;
use super::output::{Table, data_field, time};
use super::putting::each;
use super::stdin::stdin;
use super::walk::{Znode, child, paths_below, walk};
use crate::wire::zk::path;
use crate::zk::{Acl, Coordinator, CreateMode, Error, Stat};

const STAT_COLUMNS: &[&str] =
    &["path", "version", "cversion", "aversion", "children", "bytes", "owner", "czxid", "mzxid", "modified"];

fn stat_row(path: &str, stat: &Stat, format: Format) -> Vec<Value> {
    vec![
        path.into(),
        stat.version.into(),
        stat.cversion.into(),
        stat.aversion.into(),
        stat.num_children.into(),
        stat.data_length.into(),
        owner(stat),
        format!("{:#x}", stat.czxid).into(),
        format!("{:#x}", stat.mzxid).into(),
        time(stat.mtime, format),
    ]
}

/// The session whose ephemeral it is.
fn owner(stat: &Stat) -> Value {
    match stat.ephemeral_owner {
        0 => Value::Null,
        owner => format!("{owner:#x}").into(),
    }
}

pub(super) async fn ls(
    zk: &Coordinator,
    path: &str,
    recursive: bool,
    with_stat: bool,
    format: Format,
) -> Result<()> {
    let mut found: BTreeMap<String, Stat> = BTreeMap::new();
    if recursive || with_stat {
        let depth = if recursive { u32::MAX } else { 1 };
        walk(zk, path, depth, |Znode { path, stat, .. }| {
            found.insert(path, stat);
            Ok(())
        })
        .await?;
    } else {
        let (names, _) = zk.children(path).await.with_context(|| path.to_owned())?;
        found.extend(names.into_iter().map(|name| (child(path, &name), Stat::default())));
    }
    if !recursive {
        found.remove(path);
    }
    // Everybody knows where they are when they list one znode.
    let shown = |full: &str| if recursive { full.to_owned() } else { path::name(full).to_owned() };
    if with_stat {
        let mut table = Table::new(STAT_COLUMNS);
        for (path, stat) in &found {
            table.row(stat_row(&shown(path), stat, format));
        }
        table.print(format)?;
    } else if format == Format::Json {
        let paths: Vec<String> = found.keys().map(|path| shown(path)).collect();
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&paths)?)?;
    } else {
        let mut out = std::io::stdout().lock();
        for path in found.keys() {
            writeln!(out, "{}", shown(path))?;
        }
    }
    Ok(())
}

pub(super) async fn tree(zk: &Coordinator, root: &str, depth: u32, format: Format) -> Result<()> {
    if format == Format::Table { draw(zk, root, depth).await } else { list(zk, root, depth, format).await }
}

/// What a drawing shows, for scripts.
async fn list(zk: &Coordinator, root: &str, depth: u32, format: Format) -> Result<()> {
    let mut found: BTreeMap<String, Stat> = BTreeMap::new();
    walk(zk, root, depth, |Znode { path, stat, .. }| {
        found.insert(path, stat);
        Ok(())
    })
    .await?;
    let mut table = Table::new(&["path", "bytes", "owner"]);
    for (path, stat) in found {
        table.row([path.into(), stat.data_length.into(), owner(&stat)]);
    }
    Ok(table.print(format)?)
}

async fn draw(zk: &Coordinator, root: &str, depth: u32) -> Result<()> {
    let mut below: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut notes: BTreeMap<String, String> = BTreeMap::new();
    walk(zk, root, depth, |Znode { path, stat, .. }| {
        if path != root {
            let parent = path::parent(&path).filter(|parent| !parent.is_empty()).unwrap_or("/");
            below.entry(parent.to_owned()).or_default().push(path.clone());
        }
        let bytes =
            if stat.data_length > 0 { format!("  {} bytes", stat.data_length) } else { String::new() };
        let owner = if stat.ephemeral_owner == 0 { "" } else { "  ephemeral" };
        notes.insert(path, format!("{bytes}{owner}"));
        Ok(())
    })
    .await?;
    below.values_mut().for_each(|paths| paths.sort());
    let mut out = std::io::stdout().lock();
    writeln!(out, "{root}{}", notes.get(root).map_or("", String::as_str))?;
    // What is left to draw: a path and what stands before it and before its children.
    let mut left: Vec<(&str, String, String)> = Vec::new();
    let push = |left: &mut Vec<_>, parent: &str, indent: &str| {
        for (index, path) in below.get(parent).into_iter().flatten().rev().enumerate() {
            let (branch, after) = if index == 0 { ("└── ", "    ") } else { ("├── ", "│   ") };
            left.push((path.as_str(), format!("{indent}{branch}"), format!("{indent}{after}")));
        }
    };
    push(&mut left, root, "");
    while let Some((path, before, indent)) = left.pop() {
        writeln!(out, "{before}{}{}", path::name(path), notes.get(path).map_or("", String::as_str))?;
        push(&mut left, path, &indent);
    }
    Ok(())
}

pub(super) async fn get(zk: &Coordinator, path: &str, format: Format, in_shell: bool) -> Result<()> {
    let (data, stat) = zk.get(path).await.with_context(|| path.to_owned())?;
    let mut out = std::io::stdout().lock();
    if format == Format::Json {
        let (name, value) = data_field(&data);
        writeln!(out, "{}", json!({ "path": path, name: value, "version": stat.version }))?;
    } else {
        out.write_all(&data)?;
        // Text that something follows ends its line; a file gets what is stored.
        if (in_shell || std::io::IsTerminal::is_terminal(&out)) && !data.ends_with(b"\n") {
            writeln!(out)?;
        }
    }
    Ok(())
}

pub(super) async fn stat(zk: &Coordinator, path: &str, format: Format) -> Result<()> {
    let stat =
        zk.exists(path).await.and_then(|stat| stat.ok_or(Error::NoNode)).with_context(|| path.to_owned())?;
    let mut table = Table::new(STAT_COLUMNS);
    table.row(stat_row(path, &stat, format));
    Ok(table.print(format)?)
}

/// What was typed, or the standard input for `-`; the session lives on while that is waited for.
pub(super) async fn data_of(argument: &str) -> Result<Vec<u8>> {
    if argument != "-" {
        return Ok(argument.as_bytes().to_vec());
    }
    let mut data = Vec::new();
    // One byte more than any server takes by default is enough to be told that it is too much.
    stdin().take(1 << 20).read_to_end(&mut data).await.context("cannot read the standard input")?;
    Ok(data)
}

pub(super) async fn set(zk: &Coordinator, path: &str, data: &str, version: Option<i32>) -> Result<()> {
    zk.set(path, &data_of(data).await?, version).await.with_context(|| path.to_owned())?;
    Ok(())
}

/// The mode that these flags mean together.
pub(super) fn mode(sequential: bool, ephemeral: bool, container: bool, ttl: Option<Duration>) -> CreateMode {
    match (sequential, container, ttl) {
        (_, true, _) => CreateMode::Container,
        (true, _, _) if ephemeral => CreateMode::EphemeralSequential,
        (false, _, _) if ephemeral => CreateMode::Ephemeral,
        (true, _, Some(ttl)) => CreateMode::TtlSequential(ttl),
        (false, _, Some(ttl)) => CreateMode::Ttl(ttl),
        (true, _, None) => CreateMode::PersistentSequential,
        (false, _, None) => CreateMode::Persistent,
    }
}

pub(super) async fn create(
    zk: &Coordinator,
    path: &str,
    data: &str,
    mode: CreateMode,
    parents: bool,
    acl: Option<&str>,
) -> Result<()> {
    let acl = match acl {
        Some(text) => access::parse(text)?,
        None => vec![Acl::open()],
    };
    if parents {
        make_parents(zk, path).await?;
    }
    let created = match zk.create(path, &data_of(data).await?, mode.acl(acl)).await {
        Err(Error::NoNode) if zk.exists("/").await != Ok(None) => {
            bail!("{path}: there is no znode above it; -p creates what is missing")
        }
        result => result.with_context(|| path.to_owned())?,
    };
    writeln!(std::io::stdout(), "{}", created.path)?;
    Ok(())
}

/// Creates everything above a path that is missing.
pub(super) async fn make_parents(zk: &Coordinator, path: &str) -> Result<()> {
    for (at, _) in path.match_indices('/').skip(1) {
        let parent = &path[..at];
        match zk.create(parent, b"", CreateMode::Persistent).await {
            Ok(_) | Err(Error::NodeExists) => {}
            // Who may not create it may still find it there.
            Err(Error::NoAuth) if matches!(zk.exists(parent).await, Ok(Some(_))) => {}
            Err(error) => return Err(error).with_context(|| parent.to_owned()),
        }
    }
    Ok(())
}

pub(super) async fn delete(
    zk: &Coordinator,
    path: &str,
    recursive: bool,
    version: Option<i32>,
) -> Result<()> {
    if !recursive {
        return match zk.delete(path, version).await {
            Err(Error::NotEmpty) => bail!("{path}: the znode has children; -r deletes them too"),
            result => result.with_context(|| path.to_owned()),
        };
    }
    if path == "/" {
        bail!("deleting / is asked for too easily; name its children");
    }
    let paths = paths_below(zk, path).await?;
    delete_from_below(zk, paths).await
}

/// Deletes znodes of which parents come before their children. What has gone already is no failure.
pub(super) async fn delete_from_below(zk: &Coordinator, mut paths: Vec<String>) -> Result<()> {
    // Requests arrive in the order in which they are made: children before parents.
    paths.reverse();
    each("delete", &paths, |path| zk.delete(path, None)).await
}

pub(super) async fn du(zk: &Coordinator, root: &str, format: Format) -> Result<()> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut total = (0, 0);
    walk(zk, root, u32::MAX, |znode| {
        let bytes = znode.data.len() as u64;
        total = (total.0 + 1, total.1 + bytes);
        let below = znode.path[if root == "/" { 0 } else { root.len() }..].trim_start_matches('/');
        if let Some(name) = below.split('/').next().filter(|name| !name.is_empty()) {
            let sum = sums.entry(child(root, name)).or_default();
            *sum = (sum.0 + 1, sum.1 + bytes);
        }
        Ok(())
    })
    .await?;
    let mut table = Table::new(&["path", "znodes", "bytes"]);
    for (path, (znodes, bytes)) in sums {
        table.row([path.into(), znodes.into(), bytes.into()]);
    }
    table.row([root.into(), total.0.into(), total.1.into()]);
    Ok(table.print(format)?)
}
