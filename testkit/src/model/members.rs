//! What the config node says, and what a client that asks for other members must be told.

use std::collections::BTreeMap;

use client::wire::zk::{ErrorCode, EventType, Request};
use coordinator::tree::Outcome;
use coordinator::tree::command::Command;

use super::znodes::{Changed, Model};

/// Where ensembles describe themselves.
pub const CONFIG: &str = "/zookeeper/config";

/// What the last change of the members left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Members {
    /// Where the change is; zero if nobody changed what files say.
    pub version: u64,
    /// It is not known yet to be committed.
    pub unsettled: bool,
}

impl Model {
    /// The config node's lines but the last, which is the version.
    pub fn members_text(&self) -> String {
        let data = self.get(CONFIG).and_then(|node| node.data.clone()).unwrap_or_default();
        let text = String::from_utf8(data).expect("only texts are written");
        text.rsplit_once('\n').map(|(members, _)| members.to_owned()).unwrap_or_default()
    }

    /// Who the members will be, or why not, by what is known here; whether enough of them are in step nobody knows here.
    pub fn judge_change(&self, request: &Request<'_>) -> Result<String, ErrorCode> {
        let Request::Reconfig { joining, leaving, members, config } = request else {
            unreachable!("nothing else changes the members")
        };
        if self.members.unsettled {
            return Err(ErrorCode::ReconfigInProgress);
        }
        if *config != -1 && *config != self.members.version as i64 {
            return Err(ErrorCode::BadVersion);
        }
        let next = match members {
            Some(members) => members.replace(',', "\n"),
            None => incremental(&self.members_text(), joining.as_deref(), leaving.as_deref())
                .ok_or(ErrorCode::BadArguments)?,
        };
        let votes = |line: &&str| line.starts_with("server.") && line.contains(":participant");
        let voters: Vec<&str> = next.lines().filter(votes).collect();
        let groups: Vec<&str> = next.lines().filter(|line| line.starts_with("group.")).collect();
        let has_voice = |voter: &&str| {
            let (id, _) = numbered(voter);
            let named = |group: &&str| group.split(['=', ':']).skip(1).any(|of| of == id.to_string());
            groups.is_empty() || groups.iter().any(named)
        };
        if voters.len() < 2 || !voters.iter().all(has_voice) {
            return Err(ErrorCode::BadArguments);
        }
        Ok(next)
    }

    pub(super) fn set_members(
        &mut self,
        command: &Command<'_>,
        text: &str,
        dynamic: bool,
    ) -> Outcome<'static> {
        let version = if dynamic { self.zxid } else { 0 };
        self.members = Members { version, unsettled: dynamic };
        let data = format!("{text}\nversion={version:x}");
        let node = self.nodes.get_mut(CONFIG).expect("nobody can delete it");
        node.data = Some(data.clone().into_bytes());
        // What files say is not even a change.
        (node.versions[0], node.zxids[1]) = (-1, version);
        node.times[1] = if dynamic { command.time_ms } else { 0 };
        let readers = node.acl.clone();
        if dynamic {
            let parent_readers = readers.clone();
            let kind = EventType::NodeDataChanged;
            self.changes.push(Changed { kind, path: CONFIG.into(), readers, parent_readers });
        }
        Outcome::MembersSet { data, stat: self.stat(CONFIG) }
    }
}

/// A member's line: its number, and all of it.
fn numbered(line: &str) -> (u8, &str) {
    let number = line.strip_prefix("server.").and_then(|rest| rest.split('=').next());
    (number.and_then(|number| number.parse().ok()).expect("a line of the config node"), line)
}

/// Members go, then others come, each in the place of who had its number.
fn incremental(now: &str, joining: Option<&str>, leaving: Option<&str>) -> Option<String> {
    let (members, rules): (Vec<&str>, Vec<&str>) = now.lines().partition(|line| line.starts_with("server."));
    if rules.iter().any(|rule| rule.starts_with("group.")) {
        return None;
    }
    let mut lines: BTreeMap<u8, &str> = members.into_iter().map(numbered).collect();
    for id in leaving.unwrap_or_default().split(',').filter(|id| !id.is_empty()) {
        lines.remove(&id.parse().ok()?);
    }
    for line in joining.unwrap_or_default().split(',').filter(|line| !line.is_empty()) {
        line.contains('=').then_some(())?;
        let (id, line) = numbered(line);
        lines.insert(id, line);
    }
    Some(lines.into_values().chain(rules).collect::<Vec<_>>().join("\n"))
}
