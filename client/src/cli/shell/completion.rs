//! How a word may go on: commands, flags, znodes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::reader::Completions;
use super::words::{escaped, last, split};
use crate::cli::walk::child;
use crate::zk::Coordinator;

/// Nobody waits longer for the names of znodes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Completes the last word of a line: the first word as a command, what begins with `-` as a flag of the line's command,
/// and what begins with `/` as a path.
pub(in crate::cli) async fn complete(
    zk: &Coordinator,
    before: &str,
    commands: &[String],
    flags: impl Fn(&[String]) -> Vec<String>,
) -> Completions {
    let word = last(before);
    let head = &before[..before.len() - word.len()];
    let candidates = if word.starts_with('/') {
        paths(zk, word).await
    } else {
        let names = match split(head) {
            Ok(words) if words.is_empty() => commands.to_vec(),
            Ok(words) => flags(&words),
            Err(_) => Vec::new(),
        };
        names.into_iter().filter(|name| name.starts_with(word)).map(|name| name + " ").collect()
    };
    Completions { replaced: word.chars().count(), candidates }
}

/// The children whose names begin with what was typed behind the last slash.
async fn paths(zk: &Coordinator, word: &str) -> BTreeSet<String> {
    let typed = split(word).ok().and_then(|words| words.into_iter().next()).unwrap_or_default();
    let (parent, start) = typed.rsplit_once('/').unwrap_or_default();
    let parent = if parent.is_empty() { "/" } else { parent };
    let names = match tokio::time::timeout(PATIENCE, zk.children(parent)).await {
        Ok(Ok((names, _))) => names,
        // There is nothing to offer, and no line of its own to say why.
        Ok(Err(_)) | Err(_) => return BTreeSet::new(),
    };
    let names = names.into_iter().filter(|name| name.starts_with(start));
    names.map(|name| escaped(&child(parent, &name))).collect()
}
