//! Two subtrees beside each other: moved, compared, made alike.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::timeout;

use super::flags::Format;
use super::output::{GREEN, RED, YELLOW, print_line, styled};
use super::progress::Progress;
use super::putting::{Putting, place};
use super::transfer::{Kept, collect};
use super::walk::{Znode, walk};
use super::znodes::{delete_from_below, make_parents};
use crate::zk::{Acl, Coordinator, CreateMode, Error, Notice};

/// Moves everything in one transaction: nobody ever sees it twice, or not at all, and nothing that changes meanwhile is
/// lost.
pub(super) async fn mv(zk: &Coordinator, from: &str, to: &str) -> Result<()> {
    ensure!(from != "/", "/ stays where it is");
    ensure!(to != from, "{from} is there already");
    ensure!(!is_inside(to, from), "{to} is inside of {from}");
    let mut found: Vec<Znode> = Vec::new();
    walk(zk, from, u32::MAX, |znode| {
        ensure!(znode.stat.ephemeral_owner == 0, "{}: ephemerals stay with their sessions", znode.path);
        found.push(znode);
        Ok(())
    })
    .await?;
    let mut multi = zk.multi();
    let lists: Vec<_> = found.iter().map(|znode| zk.get_acl(&znode.path)).collect();
    for (znode, list) in found.iter().zip(lists) {
        let (acl, _): (Vec<Acl<'static>>, _) = list.await.with_context(|| znode.path.clone())?;
        let target = place(to, &znode.path[from.len()..]);
        multi = multi.create(&target, &znode.data, CreateMode::Persistent.acl(acl));
    }
    for znode in found.iter().rev() {
        multi = multi.delete(&znode.path, znode.stat.version);
    }
    make_parents(zk, to).await?;
    match multi.commit().await {
        Ok(_) => Ok(()),
        Err(Error::RequestTooLarge { bytes, limit }) => {
            bail!("{from} is too large for one transaction, {bytes} bytes of {limit}: use cp and delete -r")
        }
        Err(Error::Transaction { index, error }) => {
            // First come the creates, then the deletes the other way round.
            let step = match found.get(index) {
                Some(znode) => place(to, &znode.path[from.len()..]),
                None => {
                    found.iter().rev().nth(index - found.len()).map_or("?", |znode| &znode.path).to_owned()
                }
            };
            Err(*error).with_context(|| format!("nothing was moved: {step}"))
        }
        Err(error) => Err(error).with_context(|| from.to_owned()),
    }
}

fn is_inside(path: &str, root: &str) -> bool {
    root == "/" || path.strip_prefix(root).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// A znode with all below it, where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subtree<'a> {
    pub(super) zk: &'a Coordinator,
    pub(super) root: &'a str,
}

/// What one side has and the other has not, or has otherwise.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    OnlyHere(Kept),
    OnlyThere(String),
    /// Ours, and whether data and access differ.
    Changed {
        ours: Kept,
        data: bool,
        acl: bool,
    },
}

/// In the order of the paths, so parents come before children.
fn differences(here: Vec<Kept>, there: Vec<Kept>) -> Vec<Difference> {
    let mut there: BTreeMap<String, Kept> =
        there.into_iter().map(|kept| (kept.below.clone(), kept)).collect();
    let mut found: BTreeMap<String, Difference> = BTreeMap::new();
    for ours in here {
        let difference = match there.remove(&ours.below) {
            None => Difference::OnlyHere(ours.clone()),
            Some(theirs) => {
                let (data, acl) = (ours.data != theirs.data, ours.acl != theirs.acl);
                if !data && !acl {
                    continue;
                }
                Difference::Changed { ours: ours.clone(), data, acl }
            }
        };
        found.insert(ours.below, difference);
    }
    found.extend(there.into_keys().map(|below| (below.clone(), Difference::OnlyThere(below))));
    found.into_values().collect()
}

impl Difference {
    fn print(&self, format: Format) -> Result<()> {
        let (sign, colour, below, what) = match self {
            Difference::OnlyHere(kept) => ("-", RED, &kept.below, None),
            Difference::OnlyThere(below) => ("+", GREEN, below, None),
            Difference::Changed { ours, data: true, acl: true } => {
                ("~", YELLOW, &ours.below, Some("data and acl"))
            }
            Difference::Changed { ours, data: true, .. } => ("~", YELLOW, &ours.below, Some("data")),
            Difference::Changed { ours, .. } => ("~", YELLOW, &ours.below, Some("acl")),
        };
        let below = if below.is_empty() { "." } else { below.trim_start_matches('/') };
        if format == Format::Table {
            let what = what.map(|what| format!(" ({what})")).unwrap_or_default();
            let line = format!("{sign} {below}{what}");
            writeln!(std::io::stdout(), "{}", styled(std::io::stdout().is_terminal(), colour, &line))?;
            return Ok(());
        }
        let what = what.map_or(Value::Null, Value::from);
        Ok(print_line(format, &["sign", "path", "what"], &[sign.into(), below.into(), what])?)
    }
}

/// Whether there are any.
pub(super) async fn diff(from: Subtree<'_>, to: Subtree<'_>, format: Format) -> Result<bool> {
    let found = differences(collect(from.zk, from.root).await?, collect(to.zk, to.root).await?);
    found.iter().try_for_each(|difference| difference.print(format))?;
    Ok(!found.is_empty())
}

/// How to make one subtree like another.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) delete: bool,
    pub(super) dry_run: bool,
    pub(super) follow: bool,
}

pub(super) async fn mirror(from: Subtree<'_>, to: Subtree<'_>, how: &Mirror, format: Format) -> Result<()> {
    if from.zk.session_id() == to.zk.session_id() {
        ensure!(
            !is_inside(from.root, to.root) && !is_inside(to.root, from.root),
            "one of {} and {} is inside of the other",
            from.root,
            to.root
        );
    }
    // Before the first look, so that no change falls between.
    let mut watch = if how.follow { Some(from.zk.watch_recursive(from.root).await?) } else { None };
    loop {
        once(from, to, how, format).await?;
        let Some(watch) = &mut watch else { return Ok(()) };
        match watch.next().await {
            Some(Notice::Expired) => bail!("the session has expired"),
            None | Some(Notice::Closed | Notice::Removed) => return Ok(()),
            // A look at everything makes up for whatever was missed.
            Some(_) => while matches!(timeout(Duration::ZERO, watch.next()).await, Ok(Some(_))) {},
        }
    }
}

async fn once(from: Subtree<'_>, to: Subtree<'_>, how: &Mirror, format: Format) -> Result<()> {
    let there = match to.zk.exists(to.root).await.with_context(|| to.root.to_owned())? {
        Some(_) => collect(to.zk, to.root).await?,
        None => Vec::new(),
    };
    let mut found = differences(collect(from.zk, from.root).await?, there);
    found.retain(|difference| how.delete || !matches!(difference, Difference::OnlyThere(_)));
    if how.dry_run {
        return found.iter().try_for_each(|difference| difference.print(format));
    }
    let mut progress = Progress::new("mirror", Some(found.len() as u64));
    let (mut putting, mut gone) = (Putting::new(to.zk, to.root, true), Vec::new());
    let is_different = !found.is_empty();
    for difference in found {
        progress.step(1);
        match difference {
            Difference::OnlyHere(kept) | Difference::Changed { ours: kept, .. } => putting.put(kept).await?,
            Difference::OnlyThere(below) => gone.push(place(to.root, &below)),
        }
    }
    let (counts, deleted) = (putting.finish().await?, gone.len());
    delete_from_below(to.zk, gone).await?;
    drop(progress);
    if is_different || !how.follow {
        eprintln!("{counts}, {deleted} deleted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(below: &str, data: &str) -> Kept {
        Kept { below: below.to_owned(), data: data.as_bytes().into(), acl: vec![Acl::open()] }
    }

    #[test]
    fn what_differs_comes_in_the_order_of_the_paths() {
        let here = vec![kept("", ""), kept("/b", "x"), kept("/a", "1"), kept("/a/c", "")];
        let there = vec![kept("", ""), kept("/b", "y"), kept("/a", "1"), kept("/0", "")];
        let expected = [
            Difference::OnlyThere("/0".to_owned()),
            Difference::OnlyHere(kept("/a/c", "")),
            Difference::Changed { ours: kept("/b", "x"), data: true, acl: false },
        ];
        assert_eq!(differences(here, there), expected);
    }
}
