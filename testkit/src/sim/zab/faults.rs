//! What goes wrong, and how.

use std::collections::BTreeSet;

use coordinator::zab::{Epochs, Membership};

use super::World;
use super::agenda::{At, Happening};
use super::network::Break;
use crate::check::service::Violation;
use crate::sim::random::Random;

/// A kind of mishap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A connection breaks, now or at one of the next messages.
    Cut,
    /// Nothing arrives in one direction for a while, or as long as the connection lasts.
    Stall,
    /// The network falls apart.
    Partition,
    /// A process dies.
    Kill,
    /// A machine loses its power.
    PowerCut,
    /// All machines do.
    Blackout,
    /// A process stands still for a while.
    Freeze,
    /// Syncs take a second.
    SlowDisk,
    /// A sync fails.
    BadSync,
    /// Everything on a disk is lost.
    Wipe,
    /// A piece of a snapshot cannot be read, or is not what it was.
    BadPiece,
    /// A member is asked to stop.
    HandOver,
}

impl Fault {
    pub const ALL: [Fault; 12] = [
        Fault::Cut,
        Fault::Stall,
        Fault::Partition,
        Fault::Kill,
        Fault::PowerCut,
        Fault::Blackout,
        Fault::Freeze,
        Fault::SlowDisk,
        Fault::BadSync,
        Fault::Wipe,
        Fault::BadPiece,
        Fault::HandOver,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Cut => "cut",
            Fault::Stall => "stall",
            Fault::Partition => "partition",
            Fault::Kill => "kill",
            Fault::PowerCut => "power-cut",
            Fault::Blackout => "blackout",
            Fault::Freeze => "freeze",
            Fault::SlowDisk => "slow-disk",
            Fault::BadSync => "bad-sync",
            Fault::Wipe => "wipe",
            Fault::BadPiece => "bad-piece",
            Fault::HandOver => "hand-over",
        }
    }
}

/// Kinds of mishaps, and how often each happens compared with the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultSet(Vec<(Fault, u64)>);

impl FaultSet {
    pub fn draw(random: &mut Random) -> FaultSet {
        let all = Fault::ALL.into_iter().filter_map(|fault| {
            let weight = if random.one_in(3) { 0 } else { 1 << random.below(4) };
            (weight > 0).then_some((fault, weight))
        });
        FaultSet(all.collect())
    }

    pub fn contains(&self, fault: Fault) -> bool {
        self.0.iter().any(|(kind, _)| *kind == fault)
    }

    /// It happens no more; the others as often as before.
    pub fn remove(&mut self, fault: Fault) {
        self.0.retain(|(kind, _)| *kind != fault);
    }

    fn pick(&self, random: &mut Random) -> Option<Fault> {
        // A fault that was switched off leaves the others as they are.
        let fault = Fault::ALL[random.below(Fault::ALL.len() as u64) as usize];
        let weight = self.0.iter().find(|(kind, _)| *kind == fault)?.1;
        (random.below(8) < weight).then_some(fault)
    }
}

/// Directions in which nothing passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition(Vec<(At, At)>);

impl Partition {
    fn draw(random: &mut Random, members: usize) -> (&'static str, Partition) {
        let mut order: Vec<At> = (0..members).collect();
        for at in (1..members).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        let all = || (0..members).flat_map(|from| (0..members).map(move |to| (from, to)));
        let pairs = |keep: &dyn Fn(At, At) -> bool| {
            Partition(all().filter(|(from, to)| from != to && keep(*from, *to)).collect())
        };
        let place = |at: At| order.iter().position(|other| *other == at).unwrap_or_default();
        let first = order[0];
        match random.below(7) {
            0 => ("alone", pairs(&|from, to| from == first || to == first)),
            1 => ("halves", pairs(&|from, to| (place(from) * 2 < members) != (place(to) * 2 < members))),
            // One that both halves can reach.
            2 => (
                "bridge",
                pairs(&|from, to| {
                    from != first && to != first && ((place(from) * 2 < members) != (place(to) * 2 < members))
                }),
            ),
            // Everybody hears two neighbours.
            3 => (
                "ring",
                pairs(&|from, to| {
                    let distance = place(from).abs_diff(place(to));
                    distance != 1 && distance != members - 1
                }),
            ),
            4 => ("deaf", pairs(&|_, to| to == first)),
            5 => ("mute", pairs(&|from, _| from == first)),
            _ => {
                let other = order[members - 1];
                ("one way", pairs(&|from, to| (from, to) == (first, other)))
            }
        }
    }
}

impl World {
    /// Plans the next mishap.
    pub(super) fn plan_fault(&mut self) {
        let after_us = self.faults.below(self.configuration.fault_us * 2);
        self.agenda.after(after_us, Happening::Fault);
    }

    /// Lets something go wrong.
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        // What is drawn must not depend on what is possible.
        let mut random = Random::new(self.faults.next_u64());
        self.plan_fault();
        let Some(fault) = self.configuration.faults.pick(&mut random) else { return Ok(()) };
        let count = self.members.len() as u64;
        let at = random.below(count) as At;
        let other = (at + 1 + random.below(count.max(2) - 1) as usize) % self.members.len();
        let now_us = self.agenda.now_us();
        let member = &mut self.members[at];
        match fault {
            Fault::Cut if at == other => return Ok(()),
            Fault::Cut if random.coin() => self.network.cut_in(at, other, random.below(20)),
            Fault::Cut => self.cut(at, other),
            Fault::Stall => {
                self.network.stall(at, other, now_us + random.below(2_000_000));
                if random.coin() {
                    self.network.lose(at, other);
                    self.trace.mark("a connection is deaf");
                }
            }
            Fault::Partition => {
                if count < 2 {
                    return Ok(());
                }
                let (shape, partition) = Partition::draw(&mut random, self.members.len());
                self.block(&partition, true);
                // Most connections are found dead while it lasts; some outlive it.
                if random.below(4) > 0 {
                    for (from, to) in &partition.0 {
                        let mut slow = || random.between(100_000, 3_000_000);
                        let notice_us = (slow(), slow());
                        self.network.cut(&mut self.agenda, *from, *to, Break { notice_us });
                    }
                }
                self.trace.mark(shape);
                let after_us = random.between(50_000, 4_000_000);
                self.note(at, "partition", after_us, || format!("{shape}: {:?}", partition.0));
                self.agenda.after(after_us, Happening::Heal(Box::new(partition)));
            }
            Fault::Kill | Fault::PowerCut => {
                let power = fault == Fault::PowerCut;
                member.crash_in = Some((random.below(30), power));
                if random.coin() {
                    self.crash(at, power)?;
                }
            }
            Fault::Blackout => {
                for at in 0..self.members.len() {
                    self.crash(at, true)?;
                }
            }
            Fault::Freeze => {
                let us = if random.coin() { random.below(300_000) } else { random.below(5_000_000) };
                member.frozen_until_us = now_us + us;
                self.note(at, "freeze", us, || format!("for {us} us"));
            }
            Fault::SlowDisk => {
                member.slow_until_us = now_us + random.between(200_000, 3_000_000);
                self.note(at, "slow-disk", 0, String::new);
            }
            Fault::BadSync => member.sync_fails = true,
            Fault::Wipe => {
                if !self.may_wipe(at) {
                    return Ok(());
                }
                self.crash(at, true)?;
                self.wipe(at);
                if self.configuration.change_us > 0 {
                    self.trace.mark("a disk was lost where members change");
                }
            }
            Fault::BadPiece => self.bad_pieces += 1,
            Fault::HandOver => self.hand_over(at)?,
        }
        self.trace.fault(fault.name());
        Ok(())
    }

    /// Everything on a disk is lost.
    pub(super) fn wipe(&mut self, at: At) {
        let member = &mut self.members[at];
        member.lost = Some(std::mem::take(&mut member.device));
        member.promised = Default::default();
        self.note(at, "wipe", 0, String::new);
    }

    /// A disk may be lost as long as all others know everything, and it was not enough on its own: then somebody else
    /// in every quorum has what was agreed on. Where members change, that goes for all whom anybody might take for the members,
    /// by files, too, which is all that is left to this one. And nobody may still lead, or follow, in an epoch before the one that
    /// this one promised: it would join them, since they know more of the members than it does, and break the promise.
    fn may_wipe(&self, at: At) -> bool {
        let id = self.members[at].id;
        let promised = self.members[at].device.epochs();
        let mut sets = self.possible_members();
        let changing = self.configuration.change_us > 0;
        if changing {
            sets.extend(self.members.iter().map(|member| Membership::clone(&member.configured.1)));
        }
        let knows_everything =
            |epochs: Epochs| epochs.complete && (!changing || epochs.accepted >= promised.accepted);
        promised != Epochs::default()
            && sets.iter().all(|set| !set.is_quorum(|voter| voter == id))
            && self.members.iter().all(|member| {
                let has_voice = sets.iter().any(|set| set.is_voter(member.id));
                member.id == id || !has_voice || knows_everything(member.device.epochs())
            })
    }

    /// A connection breaks, and its ends learn of it at once or late.
    pub(super) fn cut(&mut self, one: At, other: At) {
        if !self.network.is_connected(one, other) {
            return;
        }
        let mut notice = || match self.faults.below(3) {
            0 => self.faults.below(3_000_000),
            _ => self.faults.below(5_000),
        };
        let notice_us = (notice(), notice());
        self.network.cut(&mut self.agenda, one, other, Break { notice_us });
        self.note(one, "cut", other as u64, || format!("from member at {other}"));
    }

    fn block(&mut self, partition: &Partition, block: bool) {
        for (from, to) in &partition.0 {
            self.network.block(&mut self.agenda, *from, *to, block);
        }
        if block {
            self.partitions.push(partition.clone());
        } else if let Some(index) = self.partitions.iter().position(|other| other == partition) {
            self.partitions.swap_remove(index);
        }
    }

    /// A partition ends, unless it has ended before.
    pub(super) fn heal(&mut self, partition: &Partition) {
        if self.partitions.contains(partition) {
            self.block(partition, false);
            self.note(0, "heal", 0, String::new);
        }
    }

    /// All partitions end, except around those who are left behind.
    pub(super) fn heal_all(&mut self) {
        for partition in self.partitions.clone() {
            self.block(&partition, false);
        }
    }

    /// Cuts a member off for good.
    pub(super) fn isolate(&mut self, at: At) {
        let others: BTreeSet<At> = (0..self.members.len()).filter(|other| *other != at).collect();
        let both = others.iter().flat_map(|other| [(at, *other), (*other, at)]);
        self.block(&Partition(both.collect()), true);
    }
}
