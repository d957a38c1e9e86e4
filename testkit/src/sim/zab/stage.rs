//! A world that does what a story says, and nothing by chance.

use client::wire::zk::Zxid;
use coordinator::zab::{Epochs, MemberId, Membership, Standing, Timing};

use super::agenda::{At, Happening};
use super::faults::FaultSet;
use super::network::Break;
use super::{Beginning, Configuration, Options, World};
use crate::check::service::{Violation, violation};
use crate::sim::trace::Detail;

/// A world under direction. All promises are checked as ever.
#[derive(Debug)]
pub struct Stage {
    world: World,
}

impl Configuration {
    /// An ensemble in which everything is fast and nothing goes wrong.
    pub fn calm(membership: Membership) -> Configuration {
        Configuration {
            membership,
            timing: Timing::default(),
            window_entries: 1000,
            window_bytes: 1 << 20,
            flight_bytes: 1 << 20,
            counter_max: u32::MAX,
            beginning: Beginning::Empty,
            safety_us: u64::MAX,
            delay_us: (100, 100),
            hiccup_us: 0,
            turn_us: 10,
            turn_inputs: 100,
            sync_us: (1_000, 1_000),
            work_us: 1,
            burst: 1,
            payload_bytes: 1,
            snapshot_every: u64::MAX,
            snapshots_kept: 1,
            pieces: 4,
            encoded: true,
            executed_at_once: true,
            drift: 0,
            fault_us: 1,
            faults: FaultSet::default(),
            change_us: 0,
            spares: 0,
            log_odds: 0,
            servers: None,
        }
    }
}

impl Stage {
    /// Members that do not run yet.
    pub fn new(configuration: Configuration) -> Stage {
        let options = Options { detail: Detail::Last, ..Options::default() };
        Stage { world: World::new(1, configuration, options) }
    }

    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.world.members.iter().map(|member| member.id)
    }

    fn at(&self, id: MemberId) -> Result<At, Violation> {
        let found = self.world.members.iter().position(|member| member.id == id);
        found.ok_or_else(|| Violation { invariant: "story", what: format!("there is no member {id}") })
    }

    pub fn now_us(&self) -> u64 {
        self.world.agenda.now_us()
    }

    /// What happened last, the last last.
    pub fn events(&self) -> impl Iterator<Item = &String> {
        self.world.trace.events()
    }

    /// Lets time pass until something is true. False if it does not become true in time.
    pub fn run_until(&mut self, us: u64, is_true: impl Fn(&Stage) -> bool) -> Result<bool, Violation> {
        let end_us = self.now_us() + us;
        // So that the clock arrives there.
        self.world.agenda.at(end_us, Happening::Nothing);
        while !is_true(self) {
            let Some(happening) = self.world.agenda.next_until(end_us) else { return Ok(false) };
            self.world.events += 1;
            self.world.happen(happening)?;
        }
        Ok(true)
    }

    // ---- What is done ----

    pub fn start(&mut self, id: MemberId) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.start(at)
    }

    /// The process dies, or the machine, and stays dead.
    pub fn crash(&mut self, id: MemberId, power: bool) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.stop(at, power)
    }

    pub fn wipe(&mut self, id: MemberId) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.stop(at, true)?;
        self.world.wipe(at);
        Ok(())
    }

    pub fn freeze(&mut self, id: MemberId, us: u64) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.members[at].frozen_until_us = self.now_us() + us;
        Ok(())
    }

    /// The next sync of its log fails.
    pub fn fail_sync(&mut self, id: MemberId) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.members[at].sync_fails = true;
        Ok(())
    }

    /// Its disk does so many more things, then nothing; without a number, it goes on.
    pub fn hold_disk(&mut self, id: MemberId, jobs: Option<u64>) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.members[at].jobs_left = jobs;
        if jobs.is_none() {
            self.world.resume_log(at);
        }
        Ok(())
    }

    /// One direction between two members lets nothing pass, or does again.
    pub fn block(&mut self, from: MemberId, to: MemberId, block: bool) -> Result<(), Violation> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        self.world.network.block(&mut self.world.agenda, from, to, block);
        Ok(())
    }

    /// A connection breaks; both ends learn of it at once.
    pub fn cut(&mut self, one: MemberId, other: MemberId) -> Result<(), Violation> {
        let (one, other) = (self.at(one)?, self.at(other)?);
        self.world.network.cut(&mut self.world.agenda, one, other, Break { notice_us: (0, 0) });
        Ok(())
    }

    /// It breaks when so many more messages were sent in this direction.
    pub fn cut_in(&mut self, from: MemberId, to: MemberId, messages: u64) -> Result<(), Violation> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        self.world.network.cut_in(from, to, messages);
        Ok(())
    }

    /// So many pieces of snapshots are going to be damaged or missing.
    pub fn spoil_pieces(&mut self, pieces: u64) {
        self.world.bad_pieces += pieces;
    }

    /// What a member has in memory is not what it executed.
    pub fn spoil_memory(&mut self, id: MemberId) -> Result<(), Violation> {
        let at = self.at(id)?;
        match &mut self.world.members[at].process {
            Some(process) => {
                process.spoiled = true;
                Ok(())
            }
            None => violation("story", format!("{id} does not run")),
        }
    }

    /// Clients of a member ask for something so many times.
    pub fn ask(&mut self, id: MemberId, count: u64) -> Result<(), Violation> {
        let at = self.at(id)?;
        for _ in 0..count {
            if self.world.ask(at).is_none() {
                return violation("story", format!("{id} does not serve"));
            }
        }
        Ok(())
    }

    /// Somebody wants to know whether a member leads.
    pub fn ask_whether_it_leads(&mut self, id: MemberId) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.ask_whether_it_leads(at);
        Ok(())
    }

    /// The leader proposes other members.
    pub fn change(&mut self, voters: Vec<MemberId>, observers: Vec<MemberId>) -> Result<(), Violation> {
        let leads = |standing| matches!(standing, Some(Standing::Leading { .. }));
        let leader = self.members().find(|id| leads(self.standing(*id)));
        let Some(leader) = leader else { return violation("story", "nobody leads") };
        let at = self.at(leader)?;
        let mut next = Membership::of_voters(voters);
        next.observers = observers.into_iter().collect();
        let local_us = self.world.members[at].local_us(self.now_us());
        self.world.propose_change(at, local_us, next)
    }

    pub fn hand_over(&mut self, id: MemberId) -> Result<(), Violation> {
        let at = self.at(id)?;
        self.world.give(at, coordinator::zab::Input::HandOver);
        Ok(())
    }

    // ---- What can be seen ----

    pub fn standing(&self, id: MemberId) -> Option<Standing> {
        let at = self.at(id).ok()?;
        self.world.members[at].process.as_ref().map(|process| process.standing)
    }

    /// Questions whether it leads that have no answer.
    pub fn open_questions(&self, id: MemberId) -> usize {
        let process = self.at(id).ok().and_then(|at| self.world.members[at].process.as_ref());
        process.map_or(0, |process| process.tickets.len())
    }

    pub fn epochs(&self, id: MemberId) -> Epochs {
        self.at(id).map_or_else(|_| Epochs::default(), |at| self.world.members[at].device.epochs())
    }

    /// The end of what is safe on its disk.
    pub fn synced(&self, id: MemberId) -> Zxid {
        self.at(id).map_or(Zxid::ZERO, |at| self.world.members[at].device.synced())
    }

    /// How many entries a member has executed.
    pub fn executed(&self, id: MemberId) -> usize {
        let process = self.at(id).ok().and_then(|at| self.world.members[at].process.as_ref());
        process.map_or(0, |process| process.state.applied().len())
    }

    pub fn agreed(&self) -> usize {
        self.world.ledger.agreed_count()
    }

    pub fn reached(&self, mark: &str) -> bool {
        self.world.trace.marks().contains_key(mark)
    }
}
