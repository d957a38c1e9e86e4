//! Writing a subtree: many requests at a time, parents before children.

use std::collections::VecDeque;
use std::fmt;

use anyhow::{Context, Result};

use super::progress::Progress;
use super::transfer::Kept;
use super::walk::child;
use super::znodes::make_parents;
use crate::zk::{Coordinator, CreateMode, Created, Error, Pending, Stat};

/// Znodes under way at once: enough to keep the servers busy.
pub(super) const AT_ONCE: usize = 256;
/// Their data, so that large znodes are not held by the hundred.
const BYTES_AT_ONCE: usize = 8 << 20;

/// Asks for something of each path, in their order, many at a time. What has gone is passed over; a failure is that of the
/// first that failed.
pub(super) async fn each<T>(
    what: &'static str,
    paths: &[String],
    ask: impl Fn(&str) -> Pending<T>,
) -> Result<()> {
    let mut progress = Progress::new(what, Some(paths.len() as u64));
    let mut asked = paths.iter().map(|path| (path, ask(path)));
    let mut under_way: VecDeque<_> = asked.by_ref().take(AT_ONCE).collect();
    while let Some((path, answer)) = under_way.pop_front() {
        match answer.await {
            Ok(_) | Err(Error::NoNode) => {}
            Err(error) => return Err(error).with_context(|| path.clone()),
        }
        progress.step(1);
        under_way.extend(asked.next());
    }
    Ok(())
}

/// What became of znodes.
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

/// Puts znodes where they belong below a root.
///
/// A server carries out a session's requests in their order, so a child may be asked for before the answer to its parent is
/// there. Answers are looked at in that order too: whatever a failure says about a znode, all before it has been dealt with.
#[derive(Debug)]
pub(super) struct Putting<'a> {
    zk: &'a Coordinator,
    root: &'a str,
    overwrite: bool,
    counts: Counts,
    creating: VecDeque<(Target, Pending<Created>)>,
    /// Those that were there already and get new data, then a new access list.
    replacing: VecDeque<(Target, Replaced, Pending<Stat>)>,
    /// Of all that is under way.
    bytes: usize,
}

#[derive(Debug)]
struct Target {
    path: String,
    kept: Kept,
}

/// What is being replaced.
#[derive(Debug)]
enum Replaced {
    Data,
    Access,
}

impl<'a> Putting<'a> {
    /// Below `root` of `zk`; what is there already is left as it is unless `overwrite`.
    pub(super) fn new(zk: &'a Coordinator, root: &'a str, overwrite: bool) -> Putting<'a> {
        let (creating, replacing) = (VecDeque::new(), VecDeque::new());
        Putting { zk, root, overwrite, counts: Counts::default(), creating, replacing, bytes: 0 }
    }

    /// Asks for one more, and waits for others while too much is under way. A failure is that of the first that failed.
    pub(super) async fn put(&mut self, kept: Kept) -> Result<()> {
        while self.creating.len() + self.replacing.len() >= AT_ONCE || self.bytes > BYTES_AT_ONCE {
            self.settle_one().await?;
        }
        let target = Target { path: place(self.root, &kept.below), kept };
        if target.kept.below.is_empty() {
            make_parents(self.zk, &target.path).await?;
        }
        self.bytes += target.kept.data.len();
        let created = self.create(&target);
        self.creating.push_back((target, created));
        Ok(())
    }

    /// Waits for all of them, and says what became of them.
    pub(super) async fn finish(mut self) -> Result<Counts> {
        while !self.creating.is_empty() {
            self.settle_create().await?;
        }
        self.settle_replaced().await?;
        Ok(self.counts)
    }

    fn create(&self, Target { path, kept }: &Target) -> Pending<Created> {
        self.zk.create(path, &kept.data, CreateMode::Persistent.acl(kept.acl.clone()))
    }

    async fn settle_one(&mut self) -> Result<()> {
        // The longer line, so that both are long: what was asked for just now is not waited for.
        if self.creating.len() < self.replacing.len() {
            self.settle_replace().await
        } else {
            self.settle_create().await
        }
    }

    async fn settle_create(&mut self) -> Result<()> {
        let Some((target, created)) = self.creating.pop_front() else { return Ok(()) };
        let created = match created.await {
            // Perhaps asked for too early: before there was a parent, or before that had its new access list.
            Err(error @ (Error::NoNode | Error::NoAuth)) => {
                self.settle_replaced().await?;
                if error == Error::NoNode {
                    make_parents(self.zk, &target.path).await?;
                }
                self.create(&target).await
            }
            result => result,
        };
        match created {
            Ok(_) => self.counts.created += 1,
            Err(Error::NodeExists) if self.overwrite => {
                let data = self.zk.set(&target.path, &target.kept.data, None);
                self.replacing.push_back((target, Replaced::Data, data));
                return Ok(());
            }
            Err(Error::NodeExists) => self.counts.left += 1,
            Err(error) => return Err(error).with_context(|| target.path.clone()),
        }
        self.bytes -= target.kept.data.len();
        Ok(())
    }

    async fn settle_replaced(&mut self) -> Result<()> {
        while !self.replacing.is_empty() {
            self.settle_replace().await?;
        }
        Ok(())
    }

    async fn settle_replace(&mut self) -> Result<()> {
        let Some((target, replaced, answer)) = self.replacing.pop_front() else { return Ok(()) };
        answer.await.with_context(|| target.path.clone())?;
        match replaced {
            Replaced::Data => {
                let access = self.zk.set_acl(&target.path, &target.kept.acl, None);
                self.replacing.push_back((target, Replaced::Access, access));
            }
            Replaced::Access => {
                self.counts.replaced += 1;
                self.bytes -= target.kept.data.len();
            }
        }
        Ok(())
    }
}
