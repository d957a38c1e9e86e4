//! Clients ask for other members, whatever the members are at that time.

use client::wire::zk::{ErrorCode, Request};
use coordinator::tree::Outcome;

use super::super::World;
use super::super::agenda::At;
use super::membership;

/// A place in the order that no change of the members has.
const NO_VERSION: i64 = 7;

impl World {
    /// Some client asks for members that differ from those of now: by who comes and goes, or by all of them; at the version of
    /// now, at any, or at a wrong one; and now and then for what nobody can have.
    pub(in crate::sim::zab) fn ask_for_members(&mut self, kind: u64, pick: usize) {
        let mut random = self.changing.split();
        let Some(next) = self.others(&self.members_now, kind, pick) else { return };
        let Some(servers) = &self.servers else { return };
        let client = random.below(servers.clients.len() as u64) as usize;
        if !servers.clients[client].is_welcomed() {
            return;
        }
        let (said, version) = servers.promises.members();
        let config = match random.below(6) {
            0 => NO_VERSION,
            1..=3 => version as i64,
            _ => -1,
        };
        let text = membership::text(&next);
        let whole = || Request::Reconfig {
            joining: None,
            leaving: None,
            members: Some(text.replace('\n', ",").into()),
            config,
        };
        let request = match random.below(8) {
            0 => {
                Request::Reconfig { joining: None, leaving: Some("everybody".into()), members: None, config }
            }
            1..=3 => whole(),
            _ => {
                let joining: Vec<&str> =
                    text.lines().filter(|line| !said.lines().any(|old| old == *line)).collect();
                let gone = self.members_now.ids().filter(|id| !next.contains(*id));
                let leaving: Vec<String> = gone.map(|id| id.to_string()).collect();
                Request::Reconfig {
                    joining: Some(joining.join(",").into()),
                    leaving: Some(leaving.join(",").into()),
                    members: None,
                    config,
                }
            }
        };
        self.ask_server(client, request);
    }

    /// The members as they are, once more: when all is well, whoever asks for them gets them.
    pub(super) fn request_for_same_members(&self) -> Request<'static> {
        let members = membership::text(&self.members_now).replace('\n', ",");
        Request::Reconfig { joining: None, leaving: None, members: Some(members.into()), config: -1 }
    }

    /// What came of a client's wish for other members is at this place.
    pub(super) fn note_change(&mut self, zxid: u64) {
        let Some(servers) = &mut self.servers else { return };
        let Some(outcome) = servers.promises.outcome(zxid) else { return };
        let is_done = matches!(outcome, Outcome::MembersSet { .. });
        servers.changed_members |= servers.calm_us.is_some() && is_done;
        self.trace.mark(match outcome {
            Outcome::MembersSet { .. } => "a client got other members",
            Outcome::Failed(ErrorCode::BadVersion) => "other members were refused: an old version",
            Outcome::Failed(ErrorCode::NewConfigNoQuorum) => "other members were refused: not enough in step",
            Outcome::Failed(ErrorCode::ReconfigInProgress) => {
                "other members were refused: a change is under way"
            }
            _ => "other members were refused: impossible",
        });
    }

    /// A client is on a member.
    pub(super) fn note_welcome(&mut self, at: At) {
        let id = self.members[at].id;
        match (self.configuration.membership.contains(id), self.members_now.contains(id)) {
            (false, true) => self.trace.mark("a member that was added welcomed a client"),
            (true, false) => self.trace.mark("a member that was removed welcomed a client"),
            _ => {}
        }
    }
}
