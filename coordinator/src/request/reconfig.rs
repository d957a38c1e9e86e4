//! Other members: from what a client wants to what they will be, decided by the leader alone.

use client::wire::zk::{ErrorCode, perms};

use super::Service;
use crate::config::{Member, Membership};
use crate::tree::CONFIG_NODE;
use crate::tree::command::{Command, Op};

/// What a change of the members comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersChange {
    pub membership: Membership,
    /// What is proposed instead if no quorum of the new members is in step.
    pub otherwise: bytes::Bytes,
}

impl Service {
    /// Who the members will be, or why not. The checks and their order are ZooKeeper's, but that what is wrong with the members
    /// is told only to those who may change them: there are numbers of servers that only ZooKeeper takes.
    pub(super) fn change_members(&self, command: &Command<'_>) -> Result<Membership, ErrorCode> {
        let Op::Reconfig { joining, leaving, members, version } = &command.op else {
            return Err(ErrorCode::BadArguments);
        };
        if !self.settings.reconfig_enabled {
            return Err(ErrorCode::ReconfigDisabled);
        }
        let now = Membership::parse(self.tree.members_text()).map_err(|_| ErrorCode::SystemError)?;
        // That a change is settled is proposed with its commit, so whatever is proposed now comes after that.
        if self.ties.changing_members {
            return Err(ErrorCode::ReconfigInProgress);
        }
        if *version != -1 && *version != self.tree.members().version as i64 {
            return Err(ErrorCode::BadVersion);
        }
        let node = self.tree.lookup(CONFIG_NODE).ok_or(ErrorCode::NoNode)?;
        if !self.settings.auth.skip_acl && !self.tree.permits(node, perms::WRITE, &command.identities) {
            return Err(ErrorCode::NoAuth);
        }
        let next = match members {
            Some(members) => {
                Membership::parse(&members.replace(',', "\n")).map_err(|_| ErrorCode::BadArguments)?
            }
            None => incremental(now, joining.unwrap_or_default(), leaving.unwrap_or_default())
                .ok_or(ErrorCode::BadArguments)?,
        };
        let grouped = |member: &Member| next.groups.is_empty() || next.group(member.id).is_some();
        // A voter outside all groups would have no voice, and a server that runs alone could not come back.
        if next.voters().count() < 2 || !next.voters().all(grouped) {
            return Err(ErrorCode::BadArguments);
        }
        Ok(next)
    }
}

/// Some join, some leave; whoever joins under a number that is taken takes its place.
fn incremental(mut membership: Membership, joining: &str, leaving: &str) -> Option<Membership> {
    if !membership.groups.is_empty() {
        return None;
    }
    for id in leaving.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        let id: i64 = id.parse().ok()?;
        membership.members.retain(|member| i64::from(member.id) != id);
    }
    for line in joining.split(',').map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=')?;
        let member = Member::parse(key.strip_prefix("server.").unwrap_or(key), value).ok()?;
        membership.members.retain(|other| other.id != member.id);
        let taken = |other: &Member| other.addresses.iter().any(|address| member.addresses.contains(address));
        if membership.members.iter().any(taken) {
            return None;
        }
        membership.members.push(member);
    }
    membership.members.sort_by_key(|member| member.id);
    Some(membership)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(joining: &str, leaving: &str) -> Option<String> {
        let now =
            Membership::parse("server.1=a:1:2:participant\nserver.2=b:1:2:participant\nversion=0").unwrap();
        incremental(now, joining, leaving).map(|members| members.text().replace('\n', " "))
    }

    #[test]
    fn members_join_leave_and_take_places() {
        let one = "server.1=a:1:2:participant";
        let two = "server.2=b:1:2:participant";
        let three = "server.3=c:1:2:observer;0.0.0.0:2181";
        assert_eq!(after("server.3=c:1:2:observer;2181", "").unwrap(), format!("{one} {two} {three}"));
        assert_eq!(after("3=c:1:2:observer;2181", "1").unwrap(), format!("{two} {three}"));
        assert_eq!(after("server.2=d:1:2", "").unwrap(), format!("{one} server.2=d:1:2:participant"));
        assert_eq!(after("server.3=a:1:2", ""), None, "somebody else is there");
        assert_eq!(after("server.3=a:1:2", "1").unwrap(), format!("{two} server.3=a:1:2:participant"));
        assert_eq!(after("server.3", ""), None);
        assert_eq!(after("", "x"), None);
    }
}
