//! What does a member know whatever its role is?

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use client::wire::zk::Zxid;

use super::history::History;
use super::message::{Message, Stance, Vote};
use super::planted::{self, Mistake};
use super::settings::{Persistent, Settings, Timing};
use super::{Effect, Entry, Epochs, MemberId, Membership};

/// Digests of the last executed entries are kept, to be compared with those of others.
const DIGESTS_KEPT: usize = 8192;

/// What all roles need.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) id: MemberId,
    /// Who belongs to the ensemble, by the last change that is known to be committed.
    pub(super) membership: Membership,
    /// Where that change is; zero for what files say.
    pub(super) members_at: Zxid,
    /// A change that is not known to be committed yet: until it is, both sets have to agree to everything.
    pub(super) next: Option<(Zxid, Membership)>,
    pub(super) timing: Timing,
    pub(super) flight_bytes: usize,
    pub(super) counter_max: u32,
    pub(super) level: u16,
    /// As they are on disk.
    pub(super) epochs: Epochs,
    /// As they will be when everything that was asked for is saved.
    intended: Epochs,
    pub(super) history: History,
    /// To whom the accepted epoch was promised, as long as this process remembers.
    pub(super) promised: Option<(MemberId, u32)>,
    /// The log is being cut or replaced: until that is done nobody knows how far this history goes.
    pub(super) settling: bool,
    pub(super) round: u64,
    pub(super) attempt: u64,
    pub(super) diverged: bool,
    /// It is about to stop and wants nobody's vote.
    pub(super) retiring: bool,
    pub(super) digests: VecDeque<(Zxid, u64)>,
    /// Who can be reached, and when something last came from there.
    links: BTreeMap<MemberId, u64>,
    /// Since when no leader has answered, for one that needs it to.
    adrift_us: Option<u64>,
    started_us: u64,
}

impl Common {
    /// `seed` makes the attempts of this life different from those of earlier ones.
    pub(super) fn new(settings: Settings, persistent: Persistent, seed: u64, now: u64) -> Common {
        let Settings {
            id,
            membership,
            timing,
            window_entries,
            window_bytes,
            flight_bytes,
            counter_max,
            level,
        } = settings;
        let Persistent { epochs, before, recent, members_at, next } = persistent;
        Common {
            id,
            membership,
            members_at,
            next,
            timing,
            flight_bytes,
            counter_max,
            level,
            epochs,
            intended: epochs,
            history: History::new(before, recent, window_entries, window_bytes),
            promised: None,
            settling: false,
            round: 0,
            attempt: seed >> 16,
            diverged: false,
            retiring: false,
            digests: VecDeque::new(),
            links: BTreeMap::new(),
            adrift_us: Some(now),
            started_us: now,
        }
    }

    /// A member can be reached.
    pub(super) fn link_up(&mut self, peer: MemberId, now: u64) {
        self.links.insert(peer, now);
    }

    pub(super) fn link_down(&mut self, peer: MemberId) {
        self.links.remove(&peer);
    }

    /// Something came from a member.
    pub(super) fn note_heard(&mut self, peer: MemberId, now: u64) {
        if let Some(heard_us) = self.links.get_mut(&peer) {
            *heard_us = now;
        }
    }

    pub(super) fn is_voter(&self) -> bool {
        self.is_voter_id(self.id)
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &Membership> {
        std::iter::once(&self.membership).chain(self.next.iter().map(|(_, next)| next))
    }

    pub(super) fn is_voter_id(&self, id: MemberId) -> bool {
        self.sets().any(|set| set.is_voter(id))
    }

    pub(super) fn may_lead(&self, id: MemberId) -> bool {
        self.sets().any(|set| set.may_lead(id))
    }

    pub(super) fn voters(&self) -> impl Iterator<Item = MemberId> {
        self.sets().flat_map(|set| set.voters.keys().copied()).collect::<BTreeSet<_>>().into_iter()
    }

    pub(super) fn is_quorum(&self, supports: impl Fn(MemberId) -> bool) -> bool {
        self.sets().all(|set| set.is_quorum(&supports))
    }

    /// An entry is in the history now; it may change who the members are.
    pub(super) fn note_members(&mut self, entry: &Entry) {
        if let Some(members) = &entry.members {
            self.next = Some((entry.zxid, Membership::clone(members)));
        }
    }

    /// Everybody who can be reached: the other members, and whoever wants to become one.
    pub(super) fn peers(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.links.keys().copied()
    }

    /// This member needs a leader and has none.
    pub(super) fn note_adrift(&mut self, now: u64) {
        self.adrift_us.get_or_insert(now);
    }

    /// A leader has answered, or this member has become one.
    pub(super) fn note_leader(&mut self) {
        self.adrift_us = None;
    }

    /// Whoever is asked whom to follow answers. A connection from which nothing comes in spite of that is no use, even
    /// if neither end notices: something between them loses what is sent, or a damaged length makes one of them wait
    /// for the rest of something that is never sent.
    pub(super) fn reset_silent_links(&mut self, now: u64, out: &mut Vec<Effect>) {
        let Some(adrift_us) = self.adrift_us else { return };
        for (peer, heard_us) in &mut self.links {
            let is_silent = now > adrift_us.max(*heard_us) + self.timing.silence_us;
            if is_silent && !planted::is(Mistake::SilentLinksStay) {
                *heard_us = now;
                out.push(Effect::ResetLink(*peer));
            }
        }
    }

    pub(super) fn next_attempt(&mut self) -> u64 {
        self.attempt += 1;
        self.attempt
    }

    pub(super) fn intended(&self) -> Epochs {
        self.intended
    }

    /// Has epochs saved; neither ever goes back. With a current epoch goes a complete history.
    pub(super) fn save_epochs(&mut self, accepted: u32, current: Option<u32>, out: &mut Vec<Effect>) {
        let before = self.intended;
        self.intended = Epochs {
            accepted: accepted.max(before.accepted),
            current: current.unwrap_or(0).max(before.current),
            complete: before.complete || current.is_some(),
        };
        out.push(Effect::SaveEpochs(self.intended));
    }

    /// The vote for itself; none if this member must not lead. One that lost a part of its history may not even stand
    /// for what is left; one that never had any may, if everybody is like that.
    pub(super) fn own_vote(&self) -> Option<Vote> {
        let may = self.may_lead(self.id)
            && !self.settling
            && !self.diverged
            && !self.retiring
            && (self.epochs.complete || self.is_blank());
        may.then(|| Vote {
            complete: self.epochs.complete,
            epoch: self.epochs.current,
            zxid: self.history.last().0,
            settled: self.membership.may_lead(self.id),
            leader: self.id,
        })
    }

    /// Whether this member never had any history. One that lost it remembers at least an epoch.
    fn is_blank(&self) -> bool {
        !self.epochs.complete && self.epochs.current == 0 && self.history.is_empty()
    }

    /// Whether this member's history is complete, and whether it never had any.
    pub(super) fn voice(&self) -> (bool, bool) {
        (self.epochs.complete, self.is_blank())
    }

    /// What this member says about an election.
    pub(super) fn notice(&self, vote: Option<Vote>, stance: Stance, asks: bool) -> Message {
        let (complete, empty) = self.voice();
        let members_at = self.members_at.0;
        Message::Notice { round: self.round, vote, stance, complete, empty, asks, members_at }
    }

    /// Whether supporters are enough to make somebody the leader. `voice` says of a supporter whether its history is
    /// complete, and whether it is empty.
    ///
    /// A quorum of members with complete histories knows everything that was ever committed. So do all voters together,
    /// whatever happened to single ones. And where all is empty, there is nothing to know: but a quorum of empty members
    /// first waits for the others, which may have brought data along.
    pub(super) fn is_enough(
        &self,
        complete: bool,
        now: u64,
        voice: impl Fn(MemberId) -> Option<(bool, bool)>,
    ) -> bool {
        let unanimous = self.sets().all(|set| set.is_unanimous(|id| voice(id).is_some()));
        if complete {
            return unanimous || self.is_quorum(|id| voice(id).is_some_and(|(complete, _)| complete));
        }
        let patient = unanimous || now >= self.started_us + self.timing.bootstrap_us;
        patient && self.is_quorum(|id| voice(id) == Some((false, true)))
    }

    /// A change of the members that is committed leaves no doubt who they are. It may have been executed long ago, when the
    /// log was read.
    pub(super) fn settle_members(&mut self) {
        let committed = self.history.committed();
        if let Some((zxid, members)) = self.next.take_if(|(zxid, _)| *zxid <= committed) {
            self.membership = members;
            self.members_at = zxid;
        }
    }

    /// Executes what is committed.
    pub(super) fn deliver(&mut self, out: &mut Vec<Effect>) {
        self.settle_members();
        while let Some(entry) = self.history.deliver_next() {
            out.push(Effect::Deliver(entry));
        }
    }

    pub(super) fn digest_at(&self, zxid: Zxid) -> Option<u64> {
        let index = self.digests.partition_point(|(at, _)| *at < zxid);
        self.digests.get(index).filter(|(at, _)| *at == zxid).map(|(_, digest)| *digest)
    }

    /// This member has executed an entry.
    pub(super) fn note_executed(&mut self, zxid: Zxid, digest: u64) {
        if self.digests.back().is_none_or(|(last, _)| *last < zxid) {
            self.digests.push_back((zxid, digest));
        }
        if self.digests.len() > DIGESTS_KEPT {
            self.digests.pop_front();
        }
    }

    /// The last executed entry, and the digest after it.
    pub(super) fn executed(&self) -> (Zxid, u64) {
        self.digests.back().copied().unwrap_or_default()
    }
}
