//! Limits of subtrees: znodes that servers read.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::flags::Format;
use super::output::Table;
use super::znodes::make_parents;
use crate::wire::zk::path;
use crate::zk::{Coordinator, CreateMode, Error};

const ROOT: &str = "/zookeeper/quota";

/// What somebody wants limited.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) count: Option<i64>,
    pub(super) bytes: Option<i64>,
    pub(super) hard_count: Option<i64>,
    pub(super) hard_bytes: Option<i64>,
}

impl Limits {
    pub(super) fn is_empty(&self) -> bool {
        [self.count, self.bytes, self.hard_count, self.hard_bytes].iter().all(Option::is_none)
    }
}

/// The numbers of a limits or stats znode by name, where −1 stands for none.
pub(super) type Numbers = BTreeMap<String, i64>;

fn parse(data: &[u8]) -> Numbers {
    let text = String::from_utf8_lossy(data);
    let pairs = text.split([',', ';']).filter_map(|pair| pair.split_once('='));
    pairs
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim_end_matches('=').parse().ok()?)))
        .collect()
}

/// In the form that the oldest servers understand too, which stop at the odd sign.
fn print(numbers: &Numbers) -> String {
    let number = |name: &str| numbers.get(name).copied().unwrap_or(-1);
    let mut text = format!("count={},bytes={}", number("count"), number("bytes"));
    let (bytes, count) = (number("byteHardLimit"), number("countHardLimit"));
    if bytes >= 0 || count >= 0 {
        text.push_str(&format!("=;byteHardLimit={bytes};countHardLimit={count}"));
    }
    text
}

/// Where the limits of a subtree are, and where what it has.
pub(super) fn znodes(subject: &str) -> (String, String) {
    (format!("{ROOT}{subject}/zookeeper_limits"), format!("{ROOT}{subject}/zookeeper_stats"))
}

/// The numbers of such a znode, if it is there.
pub(super) async fn numbers(zk: &Coordinator, znode: &str) -> Result<Option<Numbers>, Error> {
    match zk.get(znode).await {
        Ok((data, _)) => Ok(Some(parse(&data))),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn quota(
    zk: &Coordinator,
    subject: &str,
    wanted: Limits,
    remove_all: bool,
    format: Format,
) -> Result<()> {
    check(subject)?;
    if remove_all {
        remove(zk, subject).await
    } else if wanted.is_empty() {
        show(zk, subject, format).await
    } else {
        set(zk, subject, wanted).await
    }
}

/// Limits are kept by path below a place of their own, where the root and that place itself have none.
fn check(subject: &str) -> Result<()> {
    let is_theirs = subject == "/" || subject == "/zookeeper" || subject.starts_with("/zookeeper/");
    ensure!(!is_theirs, "{subject} cannot have limits");
    Ok(())
}

/// Changes those limits that are given; a negative one is none.
pub(super) async fn set(zk: &Coordinator, subject: &str, wanted: Limits) -> Result<()> {
    check(subject)?;
    let (limits, stats) = znodes(subject);
    let old = match zk.get(&limits).await {
        Ok((data, stat)) => Some((parse(&data), stat.version)),
        Err(Error::NoNode) => None,
        Err(error) => return Err(error).context(limits),
    };
    zk.exists(subject).await?.with_context(|| format!("there is no {subject}"))?;
    let (mut numbers, version) =
        old.map_or((Numbers::new(), None), |(numbers, version)| (numbers, Some(version)));
    let Limits { count, bytes, hard_count, hard_bytes } = wanted;
    let changes =
        [("count", count), ("bytes", bytes), ("countHardLimit", hard_count), ("byteHardLimit", hard_bytes)];
    numbers.extend(changes.into_iter().filter_map(|(name, change)| Some((name.to_owned(), change?))));
    match version {
        Some(version) => drop(zk.set(&limits, print(&numbers).as_bytes(), version).await.context(limits)?),
        None => {
            refuse_nesting(zk, subject).await?;
            make_parents(zk, &limits).await?;
            zk.create(&limits, print(&numbers).as_bytes(), CreateMode::Persistent).await.context(limits)?;
            // Servers fill this in themselves.
            zk.create(&stats, b"count=0,bytes=0", CreateMode::Persistent).await.context(stats)?;
        }
    }
    Ok(())
}

/// Servers look at the nearest limits only, so limits inside limits would not mean what they seem to.
async fn refuse_nesting(zk: &Coordinator, subject: &str) -> Result<()> {
    for (at, _) in subject.match_indices('/').skip(1) {
        if zk.exists(&format!("{ROOT}{}/zookeeper_limits", &subject[..at])).await?.is_some() {
            bail!("{} has limits already, which are those of everything below it", &subject[..at]);
        }
    }
    let below = format!("{ROOT}{subject}");
    if zk.exists(&below).await?.is_some() && zk.all_children_number(&below).await? > 0 {
        bail!("something below {subject} has limits already");
    }
    Ok(())
}

async fn show(zk: &Coordinator, subject: &str, format: Format) -> Result<()> {
    let (limits, stats) = znodes(subject);
    let limits = numbers(zk, &limits).await.context(limits)?;
    let limits = limits.with_context(|| format!("{subject} has no limits"))?;
    let stats = numbers(zk, &stats).await?.unwrap_or_default();
    let number = |numbers: &Numbers, name: &str| match numbers.get(name) {
        Some(number) if *number >= 0 => Value::from(*number),
        _ => Value::Null,
    };
    let mut table = Table::new(&["what", "used", "limit", "hard limit"]);
    for (what, hard) in [("count", "countHardLimit"), ("bytes", "byteHardLimit")] {
        table.row([what.into(), number(&stats, what), number(&limits, what), number(&limits, hard)]);
    }
    Ok(table.print(format)?)
}

/// Takes all limits away.
pub(super) async fn remove(zk: &Coordinator, subject: &str) -> Result<()> {
    let (limits, stats) = znodes(subject);
    match zk.delete(&limits, None).await {
        Err(Error::NoNode) => bail!("{subject} has no limits"),
        result => result.context(limits)?,
    }
    // Then everything that was only there for them.
    let mut left = &*stats;
    while left != ROOT {
        match zk.delete(left, None).await {
            Ok(()) | Err(Error::NoNode) => {}
            Err(Error::NotEmpty) => break,
            Err(error) => return Err(error).with_context(|| left.to_owned()),
        }
        left = path::parent(left).unwrap_or(ROOT);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_as_text() {
        for text in ["count=5,bytes=-1", "count=-1,bytes=10=;byteHardLimit=20;countHardLimit=-1"] {
            assert_eq!(print(&parse(text.as_bytes())), text);
        }
    }
}
