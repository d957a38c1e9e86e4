//! Going through a subtree, many requests at a time.

use anyhow::{Context, Result};

use crate::zk::{Coordinator, Data, Error, Stat};

/// Znodes that are asked for at once: enough to keep the servers busy, few enough to hold.
const AT_ONCE: usize = 500;

/// A znode as it was when it was read.
#[derive(Debug)]
pub(super) struct Znode {
    pub(super) path: String,
    pub(super) data: Data,
    pub(super) stat: Stat,
}

/// A child's path.
pub(super) fn child(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

/// Shows every znode from `root` down to `depth`, level by level, so parents come before children. What vanishes meanwhile
/// is left out; so is what may not be read, except for the root itself.
pub(super) async fn walk(
    zk: &Coordinator,
    root: &str,
    depth: u32,
    mut visit: impl FnMut(Znode) -> Result<()>,
) -> Result<()> {
    let mut level = vec![root.to_owned()];
    let mut at = 0;
    while !level.is_empty() {
        let mut below = Vec::new();
        for batch in level.chunks(AT_ONCE) {
            let reads: Vec<_> = batch.iter().map(|path| (zk.get(path), zk.children(path))).collect();
            for (path, (data, children)) in batch.iter().zip(reads) {
                let (data, stat) = match data.await {
                    Err(Error::NoNode | Error::NoAuth) if path != root => continue,
                    result => result.with_context(|| path.clone())?,
                };
                visit(Znode { path: path.clone(), data, stat })?;
                match children.await {
                    Ok((names, _)) if at < depth => below.extend(names.iter().map(|name| child(path, name))),
                    Ok(_) | Err(Error::NoNode) => {}
                    Err(error) => return Err(error).with_context(|| path.clone()),
                }
            }
        }
        level = below;
        at = at.saturating_add(1);
    }
    Ok(())
}

/// The paths of a znode and all below it, parents first.
pub(super) async fn paths_below(zk: &Coordinator, root: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    walk(zk, root, u32::MAX, |znode| {
        paths.push(znode.path);
        Ok(())
    })
    .await?;
    Ok(paths)
}
