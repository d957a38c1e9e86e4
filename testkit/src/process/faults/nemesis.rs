//! What is done to the ensemble.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::field::Field;
use super::pulse::Pulse;
use crate::process::disks::Disks;
use crate::process::ensemble::Ensemble;
use crate::process::proxy::{Conditions, Flow, Links};
use crate::process::server::Kind;
use crate::sim::random::Random;

/// The ensemble and what a fault needs to be told in time.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) ensemble: Ensemble,
    pub(super) field: Arc<Field>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) random: Random,
    /// Every member's own disk, if they have any.
    pub(super) disks: Option<Arc<Disks>>,
}

/// One kind of fault: its name, and what does it and ends it. Members that are down and links that do harm afterwards
/// are put right by [`Arena::recover`].
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) run: fn(&mut Arena) -> Result<()>,
}

/// No fault at all, one hopes: each member is replaced by one of this tree's binary.
pub(super) const UPGRADE: &Fault = &Fault { name: "rolling upgrade", run: |arena| arena.rolling_upgrade() };

/// Every fault, in the order of the report.
pub(super) const FAULTS: &[Fault] = &[
    Fault { name: "nothing", run: |arena| arena.wait(2.0) },
    Fault { name: "leader killed", run: |arena| arena.killed(Who::Leader) },
    Fault { name: "follower killed", run: |arena| arena.killed(Who::Follower) },
    Fault { name: "all killed", run: Arena::all_killed },
    Fault { name: "leader stopped", run: |arena| arena.stopped(Who::Leader) },
    Fault { name: "follower stopped", run: |arena| arena.stopped(Who::Follower) },
    Fault { name: "rolling restart", run: Arena::rolling_restart },
    Fault { name: "leader frozen", run: |arena| arena.frozen(Who::Leader) },
    Fault { name: "follower frozen", run: |arena| arena.frozen(Who::Follower) },
    Fault { name: "leader stutters", run: Arena::stutters },
    Fault { name: "leader cut off", run: |arena| arena.cut_off(Who::Leader) },
    Fault { name: "follower cut off", run: |arena| arena.cut_off(Who::Follower) },
    Fault { name: "leader mute", run: |arena| arena.one_way(|leader, other| (leader, other)) },
    Fault { name: "leader deaf", run: |arena| arena.one_way(|leader, other| (other, leader)) },
    Fault { name: "leader cut off from one follower", run: Arena::bridge },
    Fault { name: "everybody cut off from everybody", run: Arena::shattered },
    Fault { name: "leader killed beside an unheard follower", run: Arena::unheard },
    Fault { name: "link of a follower flaps", run: Arena::flapping },
    Fault { name: "all links between members reset", run: Arena::peers_reset },
    Fault { name: "links between members half closed", run: Arena::half_closed },
    Fault { name: "links between members slow", run: Arena::slow_links },
    Fault { name: "links between members byte by byte", run: Arena::sliced },
    Fault { name: "bits turned between members", run: Arena::corrupted },
    Fault { name: "clients' connections reset", run: Arena::clients_reset },
    Fault { name: "clients cut off from the leader", run: Arena::clients_cut },
    Fault { name: "follower's disk wiped", run: |arena| arena.wiped(Who::Follower) },
    Fault { name: "leader's disk wiped", run: |arena| arena.wiped(Who::Leader) },
];

/// Faults of disks, for ensembles that have their own.
pub(super) const DISK_FAULTS: &[Fault] = &[
    Fault { name: "leader's disk stalls for 1 s", run: |arena| arena.stalled(Who::Leader, 1.0) },
    Fault { name: "leader's disk stalls for 5 s", run: |arena| arena.stalled(Who::Leader, 5.0) },
    Fault { name: "follower's disk stalls for 5 s", run: |arena| arena.stalled(Who::Follower, 5.0) },
    Fault { name: "all disks stall for 1 s", run: |arena| arena.all_stalled() },
    Fault { name: "leader's disk slow", run: |arena| arena.slow_disk(Who::Leader) },
    Fault { name: "follower's disk slow", run: |arena| arena.slow_disk(Who::Follower) },
    Fault { name: "all disks slow", run: Arena::slow_disks },
    Fault { name: "leader's disk fails", run: |arena| arena.disk_fails(Who::Leader) },
    Fault { name: "follower's disk fails", run: |arena| arena.disk_fails(Who::Follower) },
    Fault { name: "power cut of the leader", run: |arena| arena.power_cut(Who::Leader) },
    Fault { name: "power cut of all", run: Arena::blackout },
    Fault { name: "leader's disk full", run: |arena| arena.filled(Who::Leader) },
    Fault { name: "follower's disk full", run: |arena| arena.filled(Who::Follower) },
];

#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Leader,
    Follower,
}

/// Writes may take so long to come back before that is a broken promise (C15). The control is given more: a leader
/// that it cannot reach costs it many ticks.
const WRITES_PATIENCE: Duration = Duration::from_secs(45);
const WRITES_PATIENCE_CONTROL: Duration = Duration::from_secs(90);

impl Fault {
    /// Lets it happen and puts everything right again. The time without acknowledged writes counts from the beginning
    /// to the end of both.
    pub(super) fn strike(&self, arena: &mut Arena) -> Result<Duration> {
        let from_us = arena.field.now_us();
        (self.run)(arena)?;
        arena.recover()?;
        Ok(arena.pulse.longest_gap(from_us, arena.field.now_us()))
    }
}

impl Arena {
    /// Heals all links, starts all members, and waits until everybody serves and writes are answered.
    fn recover(&mut self) -> Result<()> {
        if let Some(links) = self.ensemble.links() {
            links.heal();
        }
        for index in 0..self.ensemble.size() {
            let member = self.ensemble.member_mut(index);
            if !member.is_running() {
                // One that ended by itself leaves a handle behind that only a kill takes away.
                let _ = member.kill();
                member.launch()?;
            }
        }
        self.ensemble.await_whole(Duration::from_secs(60))?;
        self.writes_flow()
    }

    /// Kills and starts everybody, as an operator would who has run out of ideas.
    pub(super) fn start_over(&mut self) -> Result<()> {
        self.all_killed()?;
        self.recover()
    }

    fn links(&self) -> Result<&Links> {
        self.ensemble.links().ok_or_else(|| anyhow::anyhow!("the ensemble has no proxies"))
    }

    pub(super) fn wait(&self, seconds: f64) -> Result<()> {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        Ok(())
    }

    /// Waits until writes are answered again, steadily, which a slow disk may make few.
    fn writes_flow(&self) -> Result<()> {
        let patience = match self.ensemble.kind() {
            Kind::Coordinator => WRITES_PATIENCE,
            Kind::Zookeeper => WRITES_PATIENCE_CONTROL,
        };
        let deadline = Instant::now() + patience;
        let mut windows = 0;
        while Instant::now() < deadline {
            let from_us = self.field.now_us();
            self.wait(0.15)?;
            windows = if self.pulse.count_since(from_us) > 0 { windows + 1 } else { 0 };
            if windows == 3 {
                return Ok(());
            }
        }
        bail!("no writes for {patience:?}")
    }

    /// Lets the fault last until the others have gone on without whom it struck, and a second longer.
    fn until_others_go_on(&self) -> Result<()> {
        self.wait(1.0)?;
        self.writes_flow()?;
        self.wait(1.0)
    }

    pub(super) fn choose(&mut self, who: Who) -> Result<usize> {
        let leader = self.ensemble.await_leader(Duration::from_secs(30))?;
        Ok(match who {
            Who::Leader => leader,
            Who::Follower => {
                let step = 1 + self.random.below(self.ensemble.size() as u64 - 1) as usize;
                (leader + step) % self.ensemble.size()
            }
        })
    }

    fn others(&self, than: usize) -> Vec<usize> {
        (0..self.ensemble.size()).filter(|other| *other != than).collect()
    }

    fn killed(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        self.ensemble.member_mut(index).kill()?;
        if matches!(who, Who::Leader) {
            let leader = self.ensemble.await_leader(Duration::from_secs(30))?;
            ensure!(leader != index, "member {} is dead and leads", index + 1);
        }
        self.until_others_go_on()
    }

    fn all_killed(&mut self) -> Result<()> {
        for index in 0..self.ensemble.size() {
            let member = self.ensemble.member_mut(index);
            if member.is_running() {
                member.kill()?;
            }
        }
        Ok(())
    }

    fn stopped(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        self.ensemble.member_mut(index).stop()?;
        self.until_others_go_on()
    }

    fn rolling_restart(&mut self) -> Result<()> {
        for index in 0..self.ensemble.size() {
            self.ensemble.member_mut(index).stop()?;
            self.ensemble.member_mut(index).launch()?;
            self.ensemble.await_whole(Duration::from_secs(60))?;
        }
        Ok(())
    }

    /// Replaces member after member; the leader is killed while old and new ones work together.
    fn rolling_upgrade(&mut self) -> Result<()> {
        for index in 0..self.ensemble.size() {
            let member = self.ensemble.member_mut(index);
            member.stop()?;
            member.options_mut().binary = None;
            member.launch()?;
            self.ensemble.await_whole(Duration::from_secs(60))?;
            self.writes_flow()?;
            self.killed(Who::Leader)?;
            self.recover()?;
        }
        Ok(())
    }

    fn frozen(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        let _freeze = self.ensemble.member(index).freeze()?;
        self.until_others_go_on()
    }

    fn stutters(&mut self) -> Result<()> {
        let index = self.choose(Who::Leader)?;
        for _ in 0..6 {
            let freeze = self.ensemble.member(index).freeze()?;
            self.wait(0.3)?;
            drop(freeze);
            self.wait(0.3)?;
        }
        Ok(())
    }

    fn cut_off(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        for other in self.others(index) {
            self.links()?.cut(index, other);
        }
        self.until_others_go_on()
    }

    fn one_way(&mut self, blocked: fn(usize, usize) -> (usize, usize)) -> Result<()> {
        let leader = self.choose(Who::Leader)?;
        for other in self.others(leader) {
            let (from, to) = blocked(leader, other);
            self.links()?.block(from, to);
        }
        self.until_others_go_on()
    }

    fn bridge(&mut self) -> Result<()> {
        let leader = self.choose(Who::Leader)?;
        let other = self.choose(Who::Follower)?;
        self.links()?.cut(leader, other);
        self.until_others_go_on()
    }

    fn shattered(&mut self) -> Result<()> {
        for one in 0..self.ensemble.size() {
            for other in 0..one {
                self.links()?.cut(one, other);
            }
        }
        self.wait(4.0)
    }

    /// Followers do not notice a connection between them that loses everything, until they need each other.
    fn unheard(&mut self) -> Result<()> {
        let leader = self.choose(Who::Leader)?;
        let followers = self.others(leader);
        let unheard = followers[self.random.below(followers.len() as u64) as usize];
        for other in self.others(unheard).into_iter().filter(|other| *other != leader) {
            self.links()?.deafen(unheard, other);
        }
        self.ensemble.member_mut(leader).kill()?;
        self.until_others_go_on()
    }

    fn flapping(&mut self) -> Result<()> {
        let follower = self.choose(Who::Follower)?;
        for _ in 0..5 {
            for other in self.others(follower) {
                self.links()?.cut(follower, other);
            }
            self.wait(0.4)?;
            self.links()?.heal();
            self.wait(0.4)?;
        }
        Ok(())
    }

    fn peers_reset(&mut self) -> Result<()> {
        self.links()?.peers().for_each(|link| link.reset());
        self.until_others_go_on()
    }

    fn half_closed(&mut self) -> Result<()> {
        let flow = if self.random.coin() { Flow::Forth } else { Flow::Back };
        self.links()?.peers().for_each(|link| link.half_close(flow));
        self.until_others_go_on()
    }

    fn everywhere(&mut self, change: impl Fn(&mut Conditions)) -> Result<()> {
        for link in self.links()?.peers() {
            link.set(Flow::Forth, &change);
            link.set(Flow::Back, &change);
        }
        Ok(())
    }

    fn slow_links(&mut self) -> Result<()> {
        self.everywhere(|conditions| {
            conditions.delay = Duration::from_millis(40);
            conditions.jitter = Duration::from_millis(40);
        })?;
        self.wait(4.0)
    }

    fn sliced(&mut self) -> Result<()> {
        self.everywhere(|conditions| conditions.slice_bytes = 1)?;
        self.wait(3.0)
    }

    fn corrupted(&mut self) -> Result<()> {
        self.everywhere(|conditions| conditions.corrupt_one_in = 50)?;
        self.wait(3.0)
    }

    fn clients_reset(&mut self) -> Result<()> {
        for member in 0..self.ensemble.size() {
            self.links()?.client(member).reset();
        }
        self.wait(1.0)
    }

    fn clients_cut(&mut self) -> Result<()> {
        let leader = self.choose(Who::Leader)?;
        for flow in [Flow::Forth, Flow::Back] {
            self.links()?.client(leader).set(flow, |conditions| conditions.blocked = true);
        }
        self.until_others_go_on()
    }

    fn disks(&self) -> Result<Arc<Disks>> {
        self.disks.clone().context("the members have no disks of their own")
    }

    fn stalled(&mut self, who: Who, seconds: f64) -> Result<()> {
        let index = self.choose(who)?;
        let _stall = self.disks()?.stall(index)?;
        self.wait(seconds)
    }

    fn all_stalled(&mut self) -> Result<()> {
        let disks = self.disks()?;
        let stalls: Result<Vec<_>> = (0..self.ensemble.size()).map(|index| disks.stall(index)).collect();
        self.wait(1.0)?;
        stalls.map(drop)
    }

    fn slow_disk(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        self.slow(&[index])
    }

    fn slow_disks(&mut self) -> Result<()> {
        let all: Vec<usize> = (0..self.ensemble.size()).collect();
        self.slow(&all)
    }

    /// Every sync takes a third of a second, for some seconds: the disks stand still but for moments in which one fits.
    fn slow(&mut self, members: &[usize]) -> Result<()> {
        let disks = self.disks()?;
        let end = Instant::now() + Duration::from_secs(6);
        while Instant::now() < end {
            let stalls: Result<Vec<_>> = members.iter().map(|index| disks.stall(*index)).collect();
            self.wait(0.3)?;
            drop(stalls?);
            self.wait(0.02)?;
        }
        Ok(())
    }

    /// Writes and syncs fail; the member has to end by itself, and ours says why.
    fn disk_fails(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        self.disks()?.cut_power(index)?;
        self.until_others_go_on()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.ensemble.member_mut(index).is_running() {
            ensure!(Instant::now() < deadline, "member {} goes on without a disk", index + 1);
            self.wait(0.1)?;
        }
        let member = self.ensemble.member(index);
        let said = member.log_tail(2000);
        let is_clear = member.kind() != Kind::Coordinator || said.contains("Input/output error");
        ensure!(is_clear, "member {} does not say that its disk failed: {said}", index + 1);
        self.disks()?.restore_power(index)
    }

    fn power_cut(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        self.without_power(&[index])?;
        self.until_others_go_on()?;
        self.disks()?.restore_power(index)
    }

    fn blackout(&mut self) -> Result<()> {
        let all: Vec<usize> = (0..self.ensemble.size()).collect();
        self.without_power(&all)?;
        let disks = self.disks()?;
        all.into_iter().try_for_each(|index| disks.restore_power(index))
    }

    /// The disks stop first: a process that dies before its disk does could still have something written.
    fn without_power(&mut self, members: &[usize]) -> Result<()> {
        let disks = self.disks()?;
        members.iter().try_for_each(|index| disks.cut_power(*index))?;
        members.iter().try_for_each(|index| self.ensemble.member_mut(*index).kill())
    }

    fn filled(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        let _filler = self.disks()?.fill(index)?;
        self.wait(5.0)
    }

    fn wiped(&mut self, who: Who) -> Result<()> {
        let index = self.choose(who)?;
        self.ensemble.member_mut(index).kill()?;
        self.until_others_go_on()?;
        self.ensemble.wipe(index)
    }
}
