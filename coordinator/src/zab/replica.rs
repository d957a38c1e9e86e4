//! One member's part in the agreed order: what every role shares, and how roles follow each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use client::wire::zk::Zxid;

use super::broadcast::Leading;
use super::election::Looking;
use super::history::History;
use super::learner::Learning;
use super::message::{Blob, Message, Stance, Vote};
use super::planted::{self, Mistake};
use super::{Effect, Entry, Epochs, Input, MemberId, Membership, Standing};

/// How long things may take, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A leader pings this often.
    pub ping_us: u64,
    /// A learner that hears nothing from its leader for so long looks for another one; a leader that hears no quorum
    /// for so long leads no more.
    pub silence_us: u64,
    /// When a quorum agrees whom to follow, better votes may come in for so long.
    pub gather_us: u64,
    /// The first word from a leader that was just chosen takes at most this long.
    pub join_us: u64,
    /// From being chosen to serving.
    pub init_us: u64,
    /// Members without any data wait so long for all the others, before a quorum of them begins a new history.
    pub bootstrap_us: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            ping_us: 150_000,
            silence_us: 1_500_000,
            gather_us: 40_000,
            join_us: 500_000,
            init_us: 20_000_000,
            bootstrap_us: 3_000_000,
        }
    }
}

/// What a replica is configured with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub id: MemberId,
    pub membership: Membership,
    pub timing: Timing,
    /// Entries and bytes of the window of recent entries.
    pub window_entries: usize,
    pub window_bytes: usize,
    /// Bytes on the way to a learner, and not yet on its disk.
    pub flight_bytes: usize,
    /// The counter at which an epoch ends; the whole range, except where a test wants to see the end.
    pub counter_max: u32,
    /// The highest feature level that this member supports.
    pub level: u16,
}

impl Settings {
    pub fn new(id: MemberId, membership: Membership) -> Settings {
        Settings {
            id,
            membership,
            timing: Timing::default(),
            window_entries: 16 << 10,
            window_bytes: 16 << 20,
            flight_bytes: 8 << 20,
            counter_max: u32::MAX,
            level: 0,
        }
    }
}

/// What recovery found. Everything in the log was executed.
#[derive(Debug, Clone, Default)]
pub struct Persistent {
    pub epochs: Epochs,
    /// The zxid before the first of `recent`.
    pub before: Zxid,
    /// The end of the log.
    pub recent: Vec<Entry>,
    /// The last committed change of the members; zero if they are what files say.
    pub members_at: Zxid,
    /// A change of the members that is in the history and not known to be committed; the settings say who they were before.
    pub next: Option<(Zxid, Membership)>,
}

/// Digests of the last executed entries are kept, to be compared with those of others.
const DIGESTS_KEPT: usize = 8192;

/// Epochs beyond this would make zxids negative in the eyes of clients.
pub(super) const EPOCH_MAX: u32 = 0x7fff_fff0;

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

    pub(super) fn is_linked(&self, peer: MemberId) -> bool {
        self.links.contains_key(&peer)
    }

    /// Everybody who can be reached: the other members, and whoever wants to become one.
    pub(super) fn peers(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.links.keys().copied()
    }

    /// A leader has answered, or this member has become one.
    pub(super) fn note_leader(&mut self) {
        self.adrift_us = None;
    }

    /// Whoever is asked whom to follow answers. A connection from which nothing comes in spite of that is no use, even
    /// if neither end notices: something between them loses what is sent, or a damaged length makes one of them wait
    /// for the rest of something that is never sent.
    fn reset_silent_links(&mut self, now: u64, out: &mut Vec<Effect>) {
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
    fn settle_members(&mut self) {
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

    /// The last executed entry, and the digest after it.
    pub(super) fn executed(&self) -> (Zxid, u64) {
        self.digests.back().copied().unwrap_or_default()
    }
}

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
        let mut common = Common {
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
        };
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
                common.links.insert(peer, now);
                out.push(Effect::Send(peer, self.say(true)));
                Next::Stay
            }
            Input::LinkDown(peer) => {
                common.links.remove(&peer);
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
                if common.digests.back().is_none_or(|(last, _)| *last < zxid) {
                    common.digests.push_back((zxid, digest));
                }
                if common.digests.len() > DIGESTS_KEPT {
                    common.digests.pop_front();
                }
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
        if let Some(heard_us) = common.links.get_mut(&from) {
            *heard_us = now;
        }
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
                    common.adrift_us.get_or_insert(now);
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
