//! One member, decisions only: what its clients ask, and its part in the agreed order, tied together.
//!
//! [`Service`] knows clients and the tree, [`Replica`] knows the other members; neither knows the other. What the service
//! proposes gets its place from the replica, or from the leader's; what the replica delivers is executed by the service.
//! A server alone is a member of an ensemble of one.

use std::collections::VecDeque;

use bytes::Bytes;
use client::wire::zk::Zxid;

use crate::config;
use crate::request::{Duty, Now, Proposal, Service};
use crate::tree::Tree;
use crate::tree::command::CommandError;
use crate::zab::{Effect, Entry, Input, MemberId, Membership, Replica, Standing, Voter, epoch_of};

/// What a configuration says about members, in the words of the agreed order.
pub fn membership(configured: &config::Membership) -> Membership {
    let voter = |id| Voter { weight: configured.weight(id), group: configured.group(id) };
    let voters = configured.voters().map(|member| (MemberId(member.id), voter(member.id))).collect();
    let observers = configured.members.iter().filter(|member| !member.is_voter());
    Membership { voters, observers: observers.map(|member| MemberId(member.id)).collect() }
}

/// Who the members are, by what is on disk.
#[derive(Debug)]
pub struct KnownMembers {
    /// By the last change that is known to be committed.
    pub membership: Membership,
    /// Where that change is; zero if files say who they are.
    pub at: Zxid,
    /// A change that may not be committed.
    pub next: Option<(Zxid, Membership)>,
}

impl KnownMembers {
    /// Who they are without any change.
    pub fn unchanged(membership: Membership) -> KnownMembers {
        KnownMembers { membership, at: Zxid::ZERO, next: None }
    }

    /// What a tree says, whose last command is at `last`; nothing if clients never changed the members.
    pub fn of(tree: &Tree, last: Zxid) -> Option<KnownMembers> {
        let members = tree.members();
        let changed_at = Zxid(members.version);
        if changed_at == Zxid::ZERO {
            return None;
        }
        let now = membership(&config::Membership::parse(tree.members_text()).ok()?);
        // A leader of a later epoch has all of what came before committed, before it gives out the first place of its own.
        let settled = epoch_of(last) > epoch_of(changed_at);
        Some(match members.before.as_deref().filter(|_| !settled) {
            None => KnownMembers { membership: now, at: changed_at, next: None },
            Some(before) => {
                let before = config::Membership::parse(before).ok()?;
                let at = Zxid(before.version);
                KnownMembers { membership: membership(&before), at, next: Some((changed_at, now)) }
            }
        })
    }
}

/// Whom a member connects to when it starts: those of whom its data know, also by a change that may not be committed, unless its
/// files are later. It stays in the list itself, or it could not be added again.
pub fn neighbours(own: u8, configured: &config::Membership, tree: &Tree) -> Vec<config::Member> {
    let known = tree.members();
    if known.version == 0 || known.version < configured.version {
        return configured.members.clone();
    }
    let said = [Some(tree.members_text()), known.before.as_deref()];
    let said = said.into_iter().flatten().filter_map(|text| config::Membership::parse(text).ok());
    let own = configured.member(own).cloned();
    let mut members: Vec<config::Member> = Vec::new();
    for member in said.flat_map(|membership| membership.members).chain(own) {
        if members.iter().all(|other| other.id != member.id) {
            members.push(member);
        }
    }
    members
}

/// One member.
///
/// Call order: `input` for what happens at the disk and at the links, the service's own methods for what clients do, and
/// `pump` at the end of each turn. What is left for the shell to do comes out in order.
#[derive(Debug)]
pub struct Member {
    pub service: Service,
    replica: Replica,
    alone: bool,
    /// What has to wait until the leader gives out places again.
    held: VecDeque<Proposal>,
    effects: Vec<Effect>,
    /// What executing led to, behind everything that led to executing.
    late: Vec<Effect>,
    delivered: u64,
    members_version: u64,
    failure: Option<(Zxid, CommandError)>,
}

impl Member {
    pub fn new(service: Service, replica: Replica) -> Member {
        let alone = replica.membership().ids().eq([replica.id()]) && !service.is_member();
        let members_version = service.tree().members().version;
        Member {
            service,
            replica,
            alone,
            held: VecDeque::new(),
            effects: Vec::new(),
            late: Vec::new(),
            delivered: 0,
            members_version,
            failure: None,
        }
    }

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Whether there are no other members.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Something happened at the disk, at a link, or time has passed.
    pub fn input(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.replica.step(now.monotonic_us, input, &mut effects);
        self.absorb(now, effects, out);
    }

    /// Ends a turn: what the service wants gets its way, and everybody is told what there is to tell.
    pub fn pump(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut effects = std::mem::take(&mut self.effects);
        let reached = self.service.tree().feature_level();
        if !self.alone
            && self.replica.level() > reached
            && let Some(level) = self.replica.level_of_all().filter(|level| *level > reached)
        {
            self.service.raise(level, now);
        }
        self.held.extend(self.service.take_proposals());
        while let Some(proposal) = self.held.pop_front() {
            let asked = (MemberId(proposal.origin), proposal.serial);
            let (bytes, members) = self.weigh(&proposal);
            let (size, is_refused) = (bytes.len(), proposal.members.is_some() && members.is_none());
            let given =
                self.replica.propose_with_members(now.monotonic_us, asked, bytes, members, &mut effects);
            if given.is_none() {
                self.held.push_front(proposal);
                break;
            }
            if is_refused {
                self.service.forget_members_change();
            }
            if !self.alone {
                self.service.note_proposed(size);
            }
        }
        let own = self.replica.id();
        let leader = self.replica.standing().leader(own);
        for (to, body) in self.service.take_letters() {
            if let Some(to) = to.map(MemberId).or(leader) {
                self.replica.step(now.monotonic_us, Input::Letter { to, body: body.into() }, &mut effects);
            }
        }
        if let Some(ticket) = self.service.take_confirm() {
            self.replica.step(now.monotonic_us, Input::Confirm { ticket }, &mut effects);
        }
        self.replica.flush(now.monotonic_us, &mut effects);
        self.absorb(now, effects, out);
    }

    /// Commands executed since the last call.
    pub fn take_delivered(&mut self) -> u64 {
        std::mem::take(&mut self.delivered)
    }

    /// What the config node says, if clients have changed the members since the last call.
    pub fn take_members(&mut self) -> Option<String> {
        let version = self.service.tree().members().version;
        let changed = std::mem::replace(&mut self.members_version, version) != version;
        changed.then(|| self.service.tree().members_text().to_owned())
    }

    /// The tree was built anew, and with it what it says about members.
    pub fn tree_replaced(&mut self, now: Now, zxid: Zxid, out: &mut Vec<Effect>) {
        let known = KnownMembers::of(self.service.tree(), zxid);
        let KnownMembers { membership, at, next } =
            known.unwrap_or_else(|| KnownMembers::unchanged(self.replica.membership().clone()));
        self.input(now, Input::Members { membership, at, next }, out);
    }

    /// A committed command that cannot be executed: this server must stop.
    pub fn take_failure(&mut self) -> Option<(Zxid, CommandError)> {
        self.failure.take()
    }

    /// What is proposed: other members only if a quorum of them is in step, or nothing could be agreed any more.
    fn weigh(&self, proposal: &Proposal) -> (Bytes, Option<Membership>) {
        let Some(change) = &proposal.members else { return (proposal.bytes.clone(), None) };
        let members = membership(&change.membership);
        let own = self.replica.id();
        let learners = self.replica.learners();
        let in_step = |id| id == own || learners.iter().any(|(of, in_step, _)| *of == id && *in_step);
        if members.is_quorum(in_step) && !self.replica.is_changing_members() {
            return (proposal.bytes.clone(), Some(members));
        }
        (change.otherwise.clone(), None)
    }

    fn absorb(&mut self, now: Now, mut effects: Vec<Effect>, out: &mut Vec<Effect>) {
        while !effects.is_empty() {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Deliver(entry) => self.execute(now, entry),
                    Effect::Stand(standing) => self.stand(now, standing),
                    Effect::Letter { from, body } => self.service.letter(from.0, &body, now),
                    Effect::Confirmed { ticket } => self.service.confirmed(ticket, now),
                    effect => out.push(effect),
                }
            }
            effects.append(&mut self.late);
        }
        self.effects = effects;
    }

    fn execute(&mut self, now: Now, entry: Entry) {
        let Entry { zxid, origin, serial, bytes, .. } = entry;
        self.delivered += 1;
        if let Err(error) = self.service.committed(zxid, (origin.0, serial), &bytes, now) {
            self.failure.get_or_insert((zxid, error));
        }
        if !self.alone {
            let digest = self.service.tree().digest();
            // A leader may learn here that it is the one who is wrong.
            self.replica.step(now.monotonic_us, Input::Executed { zxid, digest }, &mut self.late);
        }
    }

    fn stand(&mut self, now: Now, standing: Standing) {
        let duty = match standing {
            Standing::Looking => Duty::Idle,
            Standing::Following { .. } | Standing::Observing { .. } => Duty::Following,
            Standing::Leading { .. } if self.alone => Duty::Alone,
            Standing::Leading { .. } => Duty::Leading,
        };
        if duty == Duty::Idle {
            self.held.clear();
        }
        self.service.stand(duty, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::command::{Command, Op, Rules};

    fn execute(tree: &mut Tree, op: Op<'_>) {
        let zxid = Zxid(tree.zxid().0 + 1);
        let command =
            Command { session: 0, time_ms: 0, identities: Vec::new(), rules: Rules::default(), op }.encode();
        tree.execute(zxid, &command, &mut Vec::new()).expect("a command");
    }

    fn file(version: u64, ids: &[u8]) -> config::Membership {
        let lines: Vec<String> = ids.iter().map(|id| format!("server.{id}=f{id}:1:2")).collect();
        config::Membership { version, ..config::Membership::parse(&lines.join("\n")).expect("members") }
    }

    #[test]
    fn a_start_connects_to_whom_clients_have_added() {
        let mut tree = Tree::new(1);
        let hosts = |own, configured: &config::Membership, tree: &Tree| -> Vec<String> {
            let members = neighbours(own, configured, tree);
            members.iter().map(|member| member.addresses[0].host.clone()).collect()
        };
        let configured = file(0, &[1, 2, 3]);
        assert_eq!(hosts(1, &configured, &tree), ["f1", "f2", "f3"], "nobody changed them");
        let text = "server.1=a:1:2\nserver.2=b:1:2";
        execute(&mut tree, Op::Members { text, dynamic: true });
        execute(&mut tree, Op::MembersSettled);
        assert_eq!(hosts(1, &configured, &tree), ["a", "b"]);
        assert_eq!(hosts(3, &configured, &tree), ["a", "b", "f3"], "who was removed is still there");
        assert_eq!(hosts(1, &file(2, &[1, 5]), &tree), ["f1", "f5"], "the file is later");
        let text = "server.1=a:1:2\nserver.4=d:1:2";
        execute(&mut tree, Op::Members { text, dynamic: true });
        assert_eq!(hosts(1, &configured, &tree), ["a", "d", "b"], "that may not be committed");
    }
}
