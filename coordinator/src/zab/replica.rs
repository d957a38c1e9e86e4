//! One member's part in the agreed order: how roles follow each other.

use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::broadcast::Leading;
use super::common::Common;
use super::election::Looking;
use super::learner::Learning;
use super::message::{Blob, Message, Stance, Vote};
use super::settings::{Persistent, Settings};
use super::{Effect, Epochs, Input, MemberId, Membership, Standing};

/// Epochs beyond this would make zxids negative in the eyes of clients.
pub(super) const EPOCH_MAX: u32 = 0x7fff_fff0;

/// What a role wants to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    /// Look for a leader, perhaps with somebody in mind.
    Look(Option<Vote>),
    Follow(MemberId),
    Lead(Vote),
}

#[derive(Debug)]
enum Role {
    Looking(Looking),
    Learning(Learning),
    Leading(Leading),
}

/// One member's part in the agreed order.
///
/// Call order: `step` for everything that happens, [`Replica::propose`] while it leads, and [`Replica::flush`] at the end
/// of each turn. The effects are to be carried out in the order in which they came out.
#[derive(Debug)]
pub struct Replica {
    common: Common,
    role: Role,
    standing: Standing,
}

impl Replica {
    /// `seed` makes the attempts of this life different from those of earlier ones.
    pub fn new(settings: Settings, persistent: Persistent, seed: u64, now: u64) -> Replica {
        let mut common = Common::new(settings, persistent, seed, now);
        let looking = Looking::begin(&mut common, None, now, &mut Vec::new());
        Replica { common, role: Role::Looking(looking), standing: Standing::Looking }
    }

    pub fn id(&self) -> MemberId {
        self.common.id
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    pub fn epochs(&self) -> Epochs {
        self.common.epochs
    }

    /// Who belongs to the ensemble, as far as that is committed.
    pub fn membership(&self) -> &Membership {
        &self.common.membership
    }

    /// Whether a change of the members is under way.
    pub fn is_changing_members(&self) -> bool {
        self.common.next.is_some()
    }

    /// The end of the history, on disk or on its way there.
    pub fn last(&self) -> Zxid {
        self.common.history.last()
    }

    pub fn durable(&self) -> Zxid {
        self.common.history.durable()
    }

    pub fn committed(&self) -> Zxid {
        self.common.history.committed()
    }

    pub fn delivered(&self) -> Zxid {
        self.common.history.delivered()
    }

    /// Learners of this leader, in step or not, and how far their disks are.
    pub fn learners(&self) -> Vec<(MemberId, bool, Zxid)> {
        match &self.role {
            Role::Leading(leading) => leading.learners(),
            _ => Vec::new(),
        }
    }

    /// The highest feature level that this member supports.
    pub fn level(&self) -> u16 {
        self.common.level
    }

    /// As leader with everybody in step: the highest feature level that all of them support.
    pub fn level_of_all(&self) -> Option<u16> {
        match &self.role {
            Role::Leading(leading) => leading.level_of_all(&self.common),
            _ => None,
        }
    }

    /// What this member does, in the words of ZooKeeper's `zabstate`.
    pub fn phase(&self) -> &'static str {
        match &self.role {
            Role::Looking(_) => "ELECTION",
            Role::Learning(learning) => learning.phase(),
            Role::Leading(leading) => leading.phase(),
        }
    }

    /// Gives the bytes the next place in the order, if this member may do that now.
    pub fn propose(
        &mut self,
        now: u64,
        origin: MemberId,
        serial: u64,
        bytes: Bytes,
        out: &mut Vec<Effect>,
    ) -> Option<Zxid> {
        self.propose_with_members(now, (origin, serial), bytes, None, out)
    }

    /// As `propose`; from this place on the members are others.
    pub fn propose_with_members(
        &mut self,
        now: u64,
        (origin, serial): (MemberId, u64),
        bytes: Bytes,
        members: Option<Membership>,
        out: &mut Vec<Effect>,
    ) -> Option<Zxid> {
        let Role::Leading(leading) = &mut self.role else { return None };
        let members = members.map(Arc::new);
        leading.propose(&mut self.common, now, (origin, serial), bytes, members, out)
    }

    pub fn step(&mut self, now: u64, input: Input, out: &mut Vec<Effect>) {
        // A member that was frozen learns here that its time is over, before it believes anything it finds waiting.
        let next = match &mut self.role {
            Role::Looking(_) => Next::Stay,
            Role::Learning(learning) => learning.check(&mut self.common, now, out),
            Role::Leading(leading) => leading.check(&self.common, now),
        };
        self.become_next(next, now, out);
        let next = self.handle(now, input, out);
        self.become_next(next, now, out);
    }

    /// Sends what has gathered.
    pub fn flush(&mut self, now: u64, out: &mut Vec<Effect>) {
        let common = &mut self.common;
        match &mut self.role {
            Role::Looking(_) => {}
            Role::Learning(learning) => learning.flush(common, out),
            Role::Leading(leading) => leading.flush(common, now, out),
        }
        self.note_standing(out);
    }

    fn handle(&mut self, now: u64, input: Input, out: &mut Vec<Effect>) -> Next {
        let common = &mut self.common;
        match input {
            Input::Tick => {
                common.reset_silent_links(now, out);
                match &mut self.role {
                    Role::Looking(looking) => looking.tick(common, now, out),
                    Role::Learning(learning) => learning.tick(common, now, out),
                    Role::Leading(leading) => leading.tick(common, now, out),
                }
            }
            Input::LinkUp(peer) => {
                common.link_up(peer, now);
                out.push(Effect::Send(peer, self.say(true)));
                Next::Stay
            }
            Input::LinkDown(peer) => {
                common.link_down(peer);
                match &mut self.role {
                    Role::Looking(looking) => {
                        looking.link_down(peer);
                        Next::Stay
                    }
                    Role::Learning(learning) if learning.leader() == peer => Next::Look(None),
                    Role::Learning(_) => Next::Stay,
                    Role::Leading(leading) => leading.drop_learner(common, peer, out),
                }
            }
            Input::Heard(from, message) => self.receive(now, from, message, out),
            Input::Durable(zxid) => {
                common.history.note_durable(zxid);
                match &mut self.role {
                    Role::Looking(_) => Next::Stay,
                    Role::Learning(learning) => learning.durable(common, out),
                    Role::Leading(leading) => leading.durable(common, out),
                }
            }
            Input::EpochsSaved(epochs) => {
                common.epochs = epochs;
                match &mut self.role {
                    Role::Looking(looking) => looking.reconsider(common, now, out),
                    Role::Learning(learning) => learning.epochs_saved(common, out),
                    Role::Leading(leading) => leading.epochs_saved(common, out),
                }
            }
            Input::Truncated { zxid, done } => {
                common.settling = false;
                if done {
                    common.history.truncate(zxid);
                    common.digests.clear();
                    common.next.take_if(|(at, _)| *at > zxid);
                }
                match &mut self.role {
                    Role::Looking(looking) => looking.reconsider(common, now, out),
                    Role::Learning(learning) => learning.truncated(common, done, now, out),
                    Role::Leading(_) => Next::Stay,
                }
            }
            Input::Receiving { snapshot, next } => match &mut self.role {
                Role::Learning(learning) => learning.receiving(snapshot, next, out),
                _ => Next::Stay,
            },
            Input::Received { snapshot, done } => match &mut self.role {
                Role::Learning(learning) => learning.received(common, snapshot, done, now, out),
                _ => Next::Stay,
            },
            Input::Replaced { zxid } => {
                common.settling = false;
                // What the snapshot says about members was told before; all of it is committed.
                common.history.replace(zxid);
                common.digests.clear();
                common.settle_members();
                match &mut self.role {
                    Role::Looking(looking) => looking.reconsider(common, now, out),
                    Role::Learning(learning) => learning.replaced(common, now, out),
                    Role::Leading(leading) => leading.replaced(common, now, out),
                }
            }
            Input::SnapshotOpened { learner, attempt, snapshot } => {
                if let Role::Leading(leading) = &mut self.role {
                    leading.snapshot_opened(common, learner, attempt, snapshot, out);
                }
                Next::Stay
            }
            Input::LogOpened { learner, attempt, after } => {
                if let Role::Leading(leading) = &mut self.role {
                    leading.log_opened(common, learner, attempt, after, out);
                }
                Next::Stay
            }
            Input::LogRead { learner, attempt, entries } => {
                if let Role::Leading(leading) = &mut self.role {
                    leading.log_read(common, learner, attempt, entries, out);
                }
                Next::Stay
            }
            Input::PieceRead { learner, attempt, index, bytes } => match &mut self.role {
                Role::Leading(leading) => leading.piece_read(common, learner, attempt, index, bytes, out),
                _ => Next::Stay,
            },
            Input::Executed { zxid, digest } => {
                common.note_executed(zxid, digest);
                match &mut self.role {
                    Role::Leading(leading) => leading.compare_digests(common, zxid, out),
                    _ => Next::Stay,
                }
            }
            Input::Confirm { ticket } => {
                if let Role::Leading(leading) = &mut self.role {
                    leading.confirm(ticket);
                }
                Next::Stay
            }
            Input::Letter { to, body } => {
                match &mut self.role {
                    Role::Looking(_) => {}
                    Role::Learning(learning) => learning.send_letter(to, body, out),
                    Role::Leading(leading) => leading.send_letter(to, body, out),
                }
                Next::Stay
            }
            Input::HandOver => {
                common.retiring = true;
                match &mut self.role {
                    Role::Leading(leading) => leading.hand_over(now),
                    _ => Next::Stay,
                }
            }
            Input::Members { membership, at, next } => {
                common.membership = membership;
                common.members_at = at;
                common.next = next;
                Next::Stay
            }
        }
    }

    fn receive(&mut self, now: u64, from: MemberId, message: Message, out: &mut Vec<Effect>) -> Next {
        let common = &mut self.common;
        if from == common.id {
            return Next::Stay;
        }
        common.note_heard(from, now);
        if let Message::Notice { stance, asks, .. } = &message {
            let wants_answer = *asks && *stance == Stance::Looking;
            return match &mut self.role {
                Role::Looking(looking) => looking.hear(common, from, &message, now, out),
                Role::Learning(learning) => learning.hear_notice(common, from, &message, now, out),
                Role::Leading(leading) => {
                    let next = leading.hear_notice(common, from, &message);
                    if wants_answer && next == Next::Stay {
                        out.push(Effect::Send(from, self.say(false)));
                    }
                    next
                }
            };
        }
        match &mut self.role {
            // Whoever wants to join hears that there is nobody to join, yet.
            Role::Looking(looking) => {
                if matches!(message, Message::Join { .. }) {
                    out.push(Effect::Send(from, looking.notice(common, false)));
                }
                Next::Stay
            }
            Role::Learning(learning) if learning.leader() == from => {
                learning.receive(common, message, now, out)
            }
            Role::Learning(_) => {
                if matches!(message, Message::Join { .. }) {
                    out.push(Effect::Send(from, self.say(false)));
                }
                Next::Stay
            }
            Role::Leading(leading) => leading.receive(common, from, message, now, out),
        }
    }

    /// What this member would say to one that looks.
    fn say(&self, asks: bool) -> Message {
        match &self.role {
            Role::Looking(looking) => looking.notice(&self.common, asks),
            Role::Learning(learning) => learning.notice(&self.common),
            Role::Leading(leading) => leading.notice(&self.common),
        }
    }

    fn become_next(&mut self, mut next: Next, now: u64, out: &mut Vec<Effect>) {
        let common = &mut self.common;
        loop {
            next = match next {
                Next::Stay => break,
                Next::Look(preferred) => {
                    if let Role::Leading(leading) = &mut self.role {
                        leading.leave(common, out);
                    }
                    common.note_adrift(now);
                    let mut looking = Looking::begin(common, preferred, now, out);
                    let next = looking.reconsider(common, now, out);
                    self.role = Role::Looking(looking);
                    next
                }
                Next::Follow(leader) => {
                    self.role = Role::Learning(Learning::begin(common, leader, now, out));
                    Next::Stay
                }
                Next::Lead(vote) => {
                    common.note_leader();
                    self.role = Role::Leading(Leading::begin(common, vote, now, out));
                    Next::Stay
                }
            };
        }
        self.note_standing(out);
    }

    fn note_standing(&mut self, out: &mut Vec<Effect>) {
        let standing = match &self.role {
            Role::Looking(_) => Standing::Looking,
            Role::Learning(learning) => learning.standing(&self.common),
            Role::Leading(leading) => leading.standing(),
        };
        if standing != self.standing {
            self.standing = standing;
            // Clients are told nothing new before what came first was carried out: it goes behind the deliveries.
            out.push(Effect::Stand(standing));
        }
    }
}

/// A letter's message between a learner and its leader.
pub(super) fn letter(attempt: u64, body: Bytes) -> Message {
    Message::Letter { attempt, body: Blob(body) }
}
