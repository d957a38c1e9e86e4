//! Whom to follow? Members vote until enough of them agree, or until they see that enough of them already do.
//!
//! Votes are cast in rounds, a logical clock. Whoever hears of a later round joins it; within a round everybody takes
//! over the best vote it hears of, so all arrive at the same one. A member that follows somebody answers with whom it
//! follows, and is not moved by a member that looks: as long as a quorum hears its leader, nobody can depose it.

use std::collections::BTreeMap;

use client::wire::zk::Zxid;

use super::common::Common;
use super::message::{Message, Stance, Vote};
use super::replica::Next;
use super::{Effect, MemberId};

/// A search for a leader.
#[derive(Debug)]
pub struct Looking {
    vote: Option<Vote>,
    heard: BTreeMap<MemberId, Notice>,
    resend_us: u64,
    resend_wait_us: u64,
    /// When to settle for what a quorum says, if nothing better comes.
    settle_us: Option<u64>,
}

/// The last that a member said.
#[derive(Debug, Clone, Copy)]
struct Notice {
    round: u64,
    vote: Option<Vote>,
    stance: Stance,
    complete: bool,
    empty: bool,
    members_at: Zxid,
}

const RESEND_US_MIN: u64 = 100_000;
const RESEND_US_MAX: u64 = 800_000;

impl Looking {
    /// Begins a round of its own, with a vote for `preferred` if that is better than itself.
    pub(super) fn begin(
        common: &mut Common,
        preferred: Option<Vote>,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Looking {
        common.round += 1;
        let vote = preferred.max(common.own_vote());
        let looking = Looking {
            vote,
            heard: BTreeMap::new(),
            resend_us: now + RESEND_US_MIN,
            resend_wait_us: RESEND_US_MIN,
            settle_us: None,
        };
        looking.broadcast(common, out);
        looking
    }

    /// Whoever looks votes; whether that voice counts is decided by those who hear it, by who the members are for them.
    pub(super) fn notice(&self, common: &Common, asks: bool) -> Message {
        common.notice(self.vote, Stance::Looking, asks)
    }

    fn broadcast(&self, common: &Common, out: &mut Vec<Effect>) {
        let notice = self.notice(common, true);
        out.extend(common.peers().map(|peer| Effect::Send(peer, notice.clone())));
    }

    pub(super) fn link_down(&mut self, peer: MemberId) {
        self.heard.remove(&peer);
    }

    pub(super) fn tick(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) -> Next {
        if now >= self.resend_us {
            self.resend_wait_us = (self.resend_wait_us * 2).min(RESEND_US_MAX);
            self.resend_us = now + self.resend_wait_us;
            self.broadcast(common, out);
        }
        self.conclude(common, now)
    }

    /// This member's own history has changed, or become certain.
    pub(super) fn reconsider(&mut self, common: &mut Common, now: u64, out: &mut Vec<Effect>) -> Next {
        let better = self.vote.max(common.own_vote());
        if better != self.vote {
            self.vote = better;
            self.broadcast(common, out);
        }
        self.conclude(common, now)
    }

    pub(super) fn hear(
        &mut self,
        common: &mut Common,
        from: MemberId,
        message: &Message,
        now: u64,
        out: &mut Vec<Effect>,
    ) -> Next {
        let Message::Notice { round, vote, stance, complete, empty, asks, members_at } = *message else {
            return Next::Stay;
        };
        let members_at = Zxid(members_at);
        if common.next.as_ref().is_some_and(|(zxid, _)| *zxid == members_at) {
            // Somebody knows that the change that is pending here is committed.
            common.history.commit(members_at);
            common.deliver(out);
        }
        self.heard.insert(from, Notice { round, vote, stance, complete, empty, members_at });
        // Nobody else's vote moves this one's.
        let counts = common.is_voter_id(from) || members_at > common.members_at;
        if counts && stance == Stance::Looking {
            if round > common.round {
                common.round = round;
                self.vote = vote.max(common.own_vote());
                self.settle_us = None;
                self.broadcast(common, out);
            } else if round < common.round {
                if asks {
                    out.push(Effect::Send(from, self.notice(common, false)));
                }
            } else if vote > self.vote {
                self.vote = vote;
                self.settle_us = None;
                self.broadcast(common, out);
            }
        }
        self.conclude(common, now)
    }

    fn conclude(&mut self, common: &Common, now: u64) -> Next {
        if common.settling || common.diverged {
            return Next::Stay;
        }
        if let Some(leader) = self.established(common) {
            return Next::Follow(leader);
        }
        let Some(vote) = self.vote.filter(|_| common.is_voter()) else { return Next::Stay };
        if !self.is_enough(common, vote, now) {
            self.settle_us = None;
            return Next::Stay;
        }
        let everybody = common.peers().all(|peer| match common.is_voter_id(peer) {
            true => self.supports(common, peer, vote),
            false => self.is_content(common, peer, vote),
        });
        let settle_us = *self.settle_us.get_or_insert(now + common.timing.gather_us);
        if !everybody && now < settle_us {
            return Next::Stay;
        }
        if vote.leader == common.id { Next::Lead(vote) } else { Next::Follow(vote.leader) }
    }

    /// Whom a quorum already follows, if that one says that it leads. Or who leads members that are others than this one
    /// knows: it cannot tell what a quorum of those is, and to follow is safe in any case.
    fn established(&self, common: &Common) -> Option<MemberId> {
        let later = self
            .heard
            .iter()
            .filter(|(_, notice)| notice.stance == Stance::Leading && notice.members_at > common.members_at)
            .max_by_key(|(_, notice)| notice.members_at);
        if let Some((leader, _)) = later {
            return Some(*leader);
        }
        let leads = |(id, notice): (&MemberId, &Notice)| {
            (notice.stance == Stance::Leading && common.may_lead(*id)).then_some(*id)
        };
        let follows = |voter: MemberId, leader: MemberId| {
            self.heard.get(&voter).is_some_and(|notice| {
                notice.stance != Stance::Looking && notice.vote.is_some_and(|vote| vote.leader == leader)
            })
        };
        // A change of the members that this one has may never be committed: either set will do.
        let mut leaders = self.heard.iter().filter_map(leads);
        leaders.find(|leader| common.sets().any(|set| set.is_quorum(|voter| follows(voter, *leader))))
    }

    fn supports(&self, common: &Common, voter: MemberId, vote: Vote) -> bool {
        if voter == common.id {
            return self.vote == Some(vote);
        }
        // One that has concluded already still supports whom it voted for in this round.
        self.heard.get(&voter).is_some_and(|notice| {
            notice.round == common.round
                && match notice.stance {
                    Stance::Looking => notice.vote == Some(vote),
                    _ => notice.vote.is_some_and(|its| its.leader == vote.leader),
                }
        })
    }

    /// Whether one whose voice does not count has nothing better to say. If it has, it may be about to become a voter, and
    /// voters who know that already will take its side.
    fn is_content(&self, common: &Common, peer: MemberId, vote: Vote) -> bool {
        self.heard.get(&peer).is_some_and(|notice| {
            notice.stance != Stance::Looking || (notice.round >= common.round && notice.vote <= Some(vote))
        })
    }

    /// Whether those who support a vote may make it a leader.
    fn is_enough(&self, common: &Common, vote: Vote, now: u64) -> bool {
        common.is_enough(vote.complete, now, |voter| {
            if !self.supports(common, voter, vote) {
                return None;
            }
            if voter == common.id {
                return Some(common.voice());
            }
            self.heard.get(&voter).map(|notice| (notice.complete, notice.empty))
        })
    }
}
