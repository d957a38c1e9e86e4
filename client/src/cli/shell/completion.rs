//! How a word may go on: commands, flags, znodes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::reader::Completions;
use super::words::{escaped, last, split};
use crate::cli::walk::child;
use crate::zk::Coordinator;

/// Nobody waits longer for the names of znodes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Completes the last word of a line as one of the names that may follow the words before it. Where none may, or where it
/// begins with `/`, it is a path.
pub(in crate::cli) async fn complete(
    zk: &Coordinator,
    before: &str,
    names: impl Fn(&[String], &str) -> Vec<String>,
) -> Completions {
    let word = last(before);
    let replaced = word.chars().count();
    let Ok(words) = split(&before[..before.len() - word.len()]) else { return Completions::default() };
    if word.starts_with('/') {
        return Completions { replaced, candidates: paths(zk, word).await };
    }
    let names = names(&words, word);
    if names.is_empty() && word.is_empty() {
        return Completions { replaced, candidates: paths(zk, "/").await };
    }
    let fitting = names.into_iter().filter(|name| name.starts_with(word));
    Completions { replaced, candidates: fitting.map(|name| name + " ").collect() }
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
    let found: BTreeSet<String> = names.map(|name| escaped(&child(parent, &name))).collect();
    if found.len() == 1 && found.contains(word) {
        // Complete, unless it goes on below.
        let below = tokio::time::timeout(PATIENCE, zk.children(&typed)).await;
        if matches!(below, Ok(Ok((names, _))) if !names.is_empty()) {
            return BTreeSet::from([format!("{word}/")]);
        }
    }
    found
}
