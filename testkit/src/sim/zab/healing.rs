//! The second life: enough members are healed, the rest is left behind, and those that are enough must serve again.

use std::collections::BTreeSet;

use coordinator::zab::{MemberId, Membership, Standing};

use super::World;
use super::agenda::{At, Happening};
use super::member::Member;
use crate::check::service::{Violation, violation};

/// Where the second life is.
#[derive(Debug)]
pub(super) struct Healing {
    core: BTreeSet<At>,
    deadline_us: u64,
    /// Requests that have to be agreed on, one per member.
    wanted: Vec<u64>,
    asked_us: u64,
    done: bool,
}

impl Healing {
    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

const PROBE_US: u64 = 50_000;
const ASK_AGAIN_US: u64 = 1_000_000;

impl World {
    pub(super) fn begin_healing(&mut self) -> Result<(), Violation> {
        let core = self.draw_core();
        let now_us = self.agenda.now_us();
        self.note(0, "heal", core.len() as u64, || format!("from now on members at {core:?} are well"));
        self.heal_all();
        self.bad_pieces = 0;
        for at in 0..self.members.len() {
            if core.contains(&at) {
                // Whoever was asked to stop would have been gone by now.
                if self.members[at].process.as_ref().is_some_and(|process| process.retiring) {
                    self.crash(at, false)?;
                }
                let member = &mut self.members[at];
                member.crash_in = None;
                member.frozen_until_us = member.frozen_until_us.min(now_us);
                member.slow_until_us = 0;
                member.sync_fails = false;
                self.agenda.after(0, Happening::Start { at });
                // Whatever had been put off until it thaws.
                if let Some(process) = &mut self.members[at].process {
                    process.turn_planned = false;
                    self.plan_turn(at);
                }
            } else {
                self.members[at].abandoned = true;
                if self.faults.coin() {
                    self.crash(at, true)?;
                } else {
                    self.isolate(at);
                }
            }
        }
        let deadline_us = now_us + self.configuration.healing_us();
        self.healing = Some(Healing { core, deadline_us, wanted: Vec::new(), asked_us: 0, done: false });
        self.agenda.after(PROBE_US, Happening::Probe);
        Ok(())
    }

    /// All members, or fewer that are still enough: whatever was agreed on is known among them, and they know that.
    fn draw_core(&mut self) -> BTreeSet<At> {
        let mut core: BTreeSet<At> = (0..self.members.len()).collect();
        // What clients asked for, or what is on its way to a disk, may change the members yet, and those of then may be anybody.
        let asked = self.servers.is_some() && self.configuration.change_us > 0;
        let processes = self.members.iter().filter_map(|member| member.process.as_ref());
        let changing = processes.into_iter().any(|process| process.replica().is_changing_members());
        if self.faults.one_in(3) || asked || changing {
            return core;
        }
        let sets = self.possible_members();
        let mut order: Vec<At> = core.iter().copied().collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.faults.below(at as u64 + 1) as usize);
        }
        for at in order {
            core.remove(&at);
            let is_whole = |id: MemberId| {
                let at = self.at(id);
                core.contains(&at) && self.members[at].device.epochs().complete
            };
            let is_enough = |set: &Membership| {
                set.is_quorum(is_whole) && set.ids().any(|id| is_whole(id) && set.may_lead(id))
            };
            if !sets.iter().all(is_enough) {
                core.insert(at);
            }
        }
        core
    }

    /// Is everything well again?
    pub(super) fn probe(&mut self) -> Result<(), Violation> {
        let Some(mut healing) = self.healing.take() else { return Ok(()) };
        let now_us = self.agenda.now_us();
        let united = self.is_united(&healing.core);
        if self.servers.is_some() {
            let converged = self.has_converged(&healing);
            healing.done = self.is_serving_again(united, converged)?;
            if healing.done {
                self.compare_trees()?;
            }
        } else if united {
            if healing.asked_us + ASK_AGAIN_US <= now_us || healing.wanted.is_empty() {
                healing.asked_us = now_us;
                let core = healing.core.clone();
                let members = core.into_iter().filter(|at| self.is_member(self.members[*at].id));
                let members: Vec<At> = members.collect();
                healing.wanted = members.into_iter().filter_map(|at| self.ask(at)).collect();
            }
            healing.done = !healing.wanted.is_empty() && self.has_converged(&healing);
        }
        if !healing.done && now_us > healing.deadline_us {
            let members = healing.core.iter().map(|at| self.describe(*at)).collect::<Vec<_>>().join("; ");
            let clients = self.servers.as_ref().map_or_else(String::new, |servers| servers.describe());
            return violation(
                "C15",
                format!("those that are enough do not serve in time: {members}{clients}"),
            );
        }
        self.healing = Some(healing);
        self.agenda.after(PROBE_US, Happening::Probe);
        Ok(())
    }

    fn is_united(&self, core: &BTreeSet<At>) -> bool {
        // Whoever is no member (any more) may do as it likes.
        let members = || core.iter().map(|at| &self.members[*at]).filter(|member| self.is_member(member.id));
        let standing_of =
            |member: &Member| member.process.as_ref().map_or(Standing::Looking, |process| process.standing);
        let mut leaders = members().filter_map(|member| match standing_of(member) {
            Standing::Leading { epoch } => Some((member.id, epoch)),
            _ => None,
        });
        let (Some((id, led)), None) = (leaders.next(), leaders.next()) else { return false };
        members().all(|member| match standing_of(member) {
            Standing::Looking => false,
            Standing::Leading { .. } => true,
            Standing::Following { leader, epoch } | Standing::Observing { leader, epoch } => {
                leader == id && epoch == led
            }
        })
    }

    /// Every request was executed by everybody, and all are in the same state.
    fn has_converged(&self, healing: &Healing) -> bool {
        let mut members = healing.core.iter().filter(|at| self.is_member(self.members[**at].id));
        members.all(|at| {
            self.members[*at].process.as_ref().is_some_and(|process| {
                let applied = process.state.applied();
                let recent = &applied[applied.len().saturating_sub(10_000)..];
                applied.len() == self.ledger.agreed_count()
                    && healing
                        .wanted
                        .iter()
                        .all(|wanted| recent.iter().rev().any(|applied| applied.identity == *wanted))
            })
        })
    }

    fn describe(&self, at: At) -> String {
        let member = &self.members[at];
        match &member.process {
            None => format!("{} does not run", member.id),
            Some(process) => format!(
                "{} is {:?} in {} with {:?}, last {}, durable {}, committed {}, delivered {}",
                member.id,
                process.standing,
                process.replica().phase(),
                process.replica().epochs(),
                process.replica().last(),
                process.replica().durable(),
                process.replica().committed(),
                process.replica().delivered(),
            ),
        }
    }
}
