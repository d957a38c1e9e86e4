//! Who the members are, as the shell of a real server keeps it: in files, for its links, and for a replica that starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::wire::zk::Zxid;
use coordinator::config;
use coordinator::member::{KnownMembers, membership, neighbours};
use coordinator::tree::Tree;
use coordinator::zab::{MemberId, Membership};

use super::super::World;
use super::super::agenda::At;
use super::super::network::Break;
use super::Planted;
use crate::check::service::{Violation, violation};
use crate::model::members::CONFIG;

/// As files and the config node say it: member 3 is on the host m3.
pub(super) fn text(members: &Membership) -> String {
    let servers = members.ids().map(|id| {
        let role = if members.is_voter(id) { "participant" } else { "observer" };
        format!("server.{id}=m{id}:2888:3888:{role};0.0.0.0:2181")
    });
    let mut groups: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (id, voter) in &members.voters {
        if let Some(group) = voter.group {
            groups.entry(group).or_default().push(id.to_string());
        }
    }
    let groups = groups.into_iter().map(|(group, ids)| format!("group.{group}={}", ids.join(":")));
    let weighty = members.voters.iter().filter(|(_, voter)| voter.weight != 1);
    let weights = weighty.map(|(id, voter)| format!("weight.{id}={}", voter.weight));
    servers.chain(groups).chain(weights).collect::<Vec<_>>().join("\n")
}

/// What such a text means.
pub(super) fn read(text: &str) -> Result<Membership, Violation> {
    match config::Membership::parse(text) {
        Ok(members) => Ok(membership(&members)),
        Err(error) => violation("C14", format!("{text:?} cannot be read: {error}")),
    }
}

impl World {
    /// Who the members are when a server starts: by its tree, or by its files if those are later.
    pub(in crate::sim::zab) fn members_by(&mut self, at: At, tree: &Tree) -> KnownMembers {
        let (since, configured) = self.members[at].configured.clone();
        if self.servers.as_ref().is_some_and(|servers| servers.plants(Planted::MembersByFiles)) {
            return KnownMembers::unchanged(self.configuration.membership.clone());
        }
        let version = Zxid(tree.members().version);
        let known = KnownMembers::of(tree, tree.zxid()).filter(|_| version >= since);
        let known = known.unwrap_or_else(|| KnownMembers::unchanged(Membership::clone(&configured)));
        if known.next.is_none() && version > since {
            // It stopped before it wrote this down.
            self.write_down(at, version, known.membership.clone());
        }
        known
    }

    /// Its files say so from now on, if they can be written.
    fn write_down(&mut self, at: At, version: Zxid, members: Membership) {
        let in_files = self.servers.as_ref().is_some_and(|servers| servers.serving.members_in_files);
        let member = &mut self.members[at];
        if in_files && version > member.configured.0 {
            member.configured = (version, Arc::new(members));
        }
    }

    /// Whom a server that starts connects to.
    pub(super) fn links_of(&self, at: At, tree: &Tree) -> BTreeSet<MemberId> {
        let (since, members) = &self.members[at].configured;
        let files = config::Membership::parse(&text(members)).expect("just written");
        let files = config::Membership { version: since.0, ..files };
        neighbours(self.members[at].id.0, &files, tree).iter().map(|member| MemberId(member.id)).collect()
    }

    /// At the end of a turn: clients may have changed the members.
    pub(super) fn note_members(&mut self, at: At) -> Result<(), Violation> {
        let id = self.members[at].id;
        let Some(server) = self.server_at(at) else { return Ok(()) };
        let Some(said) = server.member.take_members() else { return Ok(()) };
        let version = Zxid(server.member.service.tree().members().version);
        let members = read(&said)?;
        let agreed = self
            .servers
            .as_ref()
            .and_then(|servers| servers.promises.at(version))
            .map(|model| model.get(CONFIG).and_then(|node| node.data.clone()).unwrap_or_default());
        if agreed.is_some_and(|agreed| agreed != said.as_bytes()) {
            return violation("C14", format!("{id} takes {said:?} for the members of {version}"));
        }
        self.write_down(at, version, members.clone());
        let is_member = members.contains(id);
        if !is_member {
            self.trace.mark("a member learned that it is none any more");
        }
        let Some(server) = self.server_at(at) else { return Ok(()) };
        if !is_member {
            // It keeps its links, and looks for those who came: it may have to hand over, or be added again.
            server.links.extend(members.ids());
            return Ok(());
        }
        let before = std::mem::replace(&mut server.links, members.ids().collect());
        for gone in before.into_iter().filter(|gone| !members.contains(*gone)) {
            let peer = self.at(gone);
            self.network.cut(&mut self.agenda, at, peer, Break { notice_us: (0, 0) });
        }
        Ok(())
    }

    /// Whether one of two members looks for the other: whoever is looked for lets guests in.
    pub(in crate::sim::zab) fn may_link(&self, one: At, other: At) -> bool {
        let looks = |at: At, peer: At| {
            let process = self.members[at].process.as_ref();
            let server = process.and_then(|process| process.server());
            server.is_none_or(|server| server.links.contains(&self.members[peer].id))
        };
        looks(one, other) || looks(other, one)
    }
}
