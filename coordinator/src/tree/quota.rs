//! How much may be stored below a path, and how much is.
//!
//! Limits and usage are znodes that tools read and write: `/zookeeper/quota<path>/zookeeper_limits` and
//! `…/zookeeper_stats`, holding `count=N,bytes=N`, optionally followed by `=;byteHardLimit=N;countHardLimit=N`
//! (the odd `=` hides the hard limits from the oldest parsers).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Where quota nodes live.
pub const QUOTA_ROOT: &str = "/zookeeper/quota";
pub const LIMITS: &str = "zookeeper_limits";
pub const STATS: &str = "zookeeper_stats";

/// Paths that have a limit node.
#[derive(Debug, Default)]
pub struct QuotaPaths {
    paths: BTreeSet<Box<str>>,
}

impl QuotaPaths {
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    pub fn set(&mut self, path: &str, present: bool) {
        if present {
            self.paths.insert(path.into());
        } else {
            self.paths.remove(path);
        }
    }

    pub fn contains(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The nearest path at or above `path` that has limits. None for the root and for ZooKeeper's own subtree.
    pub fn enclosing<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.paths.is_empty() {
            return None;
        }
        let mut prefix = path;
        while !prefix.is_empty() {
            if self.paths.contains(prefix) {
                return (prefix != "/zookeeper").then_some(prefix);
            }
            prefix = &prefix[..prefix.rfind('/').unwrap_or(0)];
        }
        None
    }
}

/// The path a quota node is about, if its parent lies in the quota subtree.
pub fn subject(parent: &str) -> Option<&str> {
    parent.strip_prefix(QUOTA_ROOT).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub fn limits_path(path: &str) -> String {
    format!("{QUOTA_ROOT}{path}/{LIMITS}")
}

pub fn stats_path(path: &str) -> String {
    format!("{QUOTA_ROOT}{path}/{STATS}")
}

/// The numbers in a limit or stats node; −1 stands for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    pub count: i64,
    pub bytes: i64,
    /// Everything else that was there, hard limits among them, kept as it was.
    others: BTreeMap<String, i64>,
}

impl Default for Track {
    fn default() -> Self {
        Track { count: -1, bytes: -1, others: BTreeMap::new() }
    }
}

impl Track {
    pub fn new(count: i64, bytes: i64) -> Track {
        Track { count, bytes, ..Track::default() }
    }

    /// Reads the text of a quota node. What cannot be understood limits nothing.
    pub fn parse(data: &[u8]) -> Track {
        let mut track = Track::default();
        for pair in String::from_utf8_lossy(data).split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let key = parts.next().unwrap_or_default().trim();
            let value = parts.next().and_then(|value| value.trim().parse().ok()).unwrap_or(-1);
            match key {
                "count" => track.count = value,
                "bytes" => track.bytes = value,
                "" => {}
                _ => {
                    track.others.insert(key.to_owned(), value);
                }
            }
        }
        track
    }

    pub fn count_hard(&self) -> i64 {
        self.others.get("countHardLimit").copied().unwrap_or(-1)
    }

    pub fn bytes_hard(&self) -> i64 {
        self.others.get("byteHardLimit").copied().unwrap_or(-1)
    }

    /// Whether growing `usage` by this much breaks a hard limit.
    pub fn forbids(&self, usage: &Track, count_more: i64, bytes_more: i64) -> bool {
        let over =
            |limit: i64, used: i64, more: i64| limit > -1 && more != 0 && used.saturating_add(more) > limit;
        over(self.count_hard(), usage.count, count_more) || over(self.bytes_hard(), usage.bytes, bytes_more)
    }

    /// Whether `usage` is above a soft limit.
    pub fn is_passed_by(&self, usage: &Track) -> bool {
        let over = |limit: i64, used: i64| limit > -1 && used > limit;
        over(self.count, usage.count) || over(self.bytes, usage.bytes)
    }

    /// The text of a quota node.
    pub fn format(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        if !self.others.is_empty() {
            text.push('=');
            for (key, value) in &self.others {
                let _ = write!(text, ";{key}={value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_a_round_trip() {
        for text in ["count=5,bytes=-1", "count=-1,bytes=10=;byteHardLimit=100;countHardLimit=3"] {
            assert_eq!(Track::parse(text.as_bytes()).format(), text);
        }
        assert_eq!(Track::parse(b"garbage,,=;=5\xff"), Track::parse(b"garbage"));
        assert_eq!(Track::parse(b""), Track::default());
    }

    #[test]
    fn hard_limits() {
        let limit = Track::parse(b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=2");
        assert!(!limit.forbids(&Track::new(1, 5), 1, 5));
        assert!(limit.forbids(&Track::new(2, 5), 1, 0));
        assert!(limit.forbids(&Track::new(1, 5), 0, 6));
        assert!(!limit.forbids(&Track::new(9, 50), 0, 0), "what does not grow is never refused");
    }

    #[test]
    fn enclosing() {
        let mut paths = QuotaPaths::default();
        paths.set("/a/b", true);
        assert_eq!(paths.enclosing("/a/b"), Some("/a/b"));
        assert_eq!(paths.enclosing("/a/b/c/d"), Some("/a/b"));
        assert_eq!(paths.enclosing("/a/bc"), None);
        assert_eq!(paths.enclosing("/a"), None);
        paths.set("/a/b", false);
        assert!(paths.is_empty());
    }
}
