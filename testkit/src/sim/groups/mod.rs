//! Groups of consumers, and the two brokers that take turns in coordinating them.
//!
//! The real [`Groups`] decide, on both brokers. Around them everything is simulated: one partition of the offsets topic
//! that the brokers lead in turn, consumers that join, read, commit, freeze, die and come back, and a network that
//! delays and loses what they say. A broker that was deposed does not know it for a while, and goes on answering.
//!
//! A seed lives twice, as those of ensembles do: first everything goes wrong, then everybody is well, and the group must
//! come to rest with every partition read by exactly one member.

mod consumer;
mod coordinating;
mod ledger;

use std::collections::BTreeMap;

use broker::group::{Answer, Effect, Millis, Ticket};
use client::wire::kafka::ErrorCode;

use self::consumer::{Consumer, Reply, Request};
use self::coordinating::{Broker, Kind, Waiting};
use self::ledger::Ledger;
use super::life::{Mistakes, Outcome, broken_in};
use super::random::Random;
use super::trace::{Detail, Trace};
use crate::check::service::{Violation, violation};

/// The group that everybody is in.
const GROUP: &str = "readers";
const TOPIC: &str = "read";

/// A mistake built into the world, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// P17: a commit that speaks of an old generation is taken.
    #[cfg(feature = "planted")]
    CommitOfOldGeneration,
    /// The broker that takes over misses the last record of the log.
    ShortReplay,
    /// A broker that was deposed goes on writing.
    DeposedWrites,
}

impl Mistakes for Planted {
    const ALL: &[(&str, Planted)] = &[
        #[cfg(feature = "planted")]
        ("commit-of-old-generation", Planted::CommitOfOldGeneration),
        ("short-replay", Planted::ShortReplay),
        ("deposed-writes", Planted::DeposedWrites),
    ];
}

/// What the seed draws before anything happens.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Consumers that may take part, and how many of them have a static name.
    consumers: usize,
    named: usize,
    partitions: i32,
    session_ms: Millis,
    rebalance_ms: Millis,
    initial_delay_ms: Millis,
    /// One message in so many is lost, and one in so many is late; zero for none.
    lost: u64,
    late: u64,
    /// Between two faults.
    fault_ms: Millis,
    chaos_ms: Millis,
}

impl Configuration {
    fn draw(random: &mut Random) -> Configuration {
        let consumers = random.between(1, 6) as usize;
        Configuration {
            consumers,
            named: random.below(consumers as u64 + 1) as usize,
            partitions: random.between(1, 8) as i32,
            session_ms: random.between(6_000, 12_000),
            rebalance_ms: random.between(3_000, 20_000),
            initial_delay_ms: random.one_of(&[0, 0, 500, 3_000]),
            lost: random.one_of(&[0, 0, 20, 100]),
            late: random.one_of(&[0, 10, 50]),
            fault_ms: random.one_of(&[500, 3_000, 15_000]),
            chaos_ms: random.one_of(&[30_000, 120_000]),
        }
    }
}

/// What is going to happen.
#[derive(Debug)]
enum Event {
    /// A consumer's request reaches a broker.
    Arrive {
        consumer: usize,
        life: u64,
        attempt: u64,
        broker: usize,
        request: Box<Request>,
    },
    /// A broker's reply reaches a consumer.
    Reply {
        consumer: usize,
        life: u64,
        attempt: u64,
        reply: Box<Reply>,
    },
    /// A consumer does what it does by itself.
    Wake {
        consumer: usize,
        alarm: u64,
    },
    /// A broker's timer fires.
    Tick {
        broker: usize,
        life: u64,
    },
    /// The oldest append that waits at a broker is reported.
    Appended {
        broker: usize,
        life: u64,
    },
    /// A broker learns that it leads no more.
    Deposed {
        broker: usize,
        epoch: i32,
    },
    /// A broker has read everything.
    Loaded {
        broker: usize,
        life: u64,
    },
    Fault,
}

/// The world.
#[derive(Debug)]
pub struct World {
    planted: Option<Planted>,
    configuration: Configuration,
    network: Random,
    faults: Random,
    now: Millis,
    sequence: u64,
    agenda: BTreeMap<(Millis, u64), Event>,
    brokers: [Broker; 2],
    /// Who leads the partition, and in which epoch.
    leader: usize,
    epoch: i32,
    consumers: Vec<Consumer>,
    tickets: u64,
    /// Every commit stands for another place, so that one can be told from another.
    places: i64,
    ledger: Ledger,
    healing: bool,
    events: u64,
    trace: Trace,
}

/// When lives begin; clocks never begin at zero.
const BEGIN_MS: Millis = 1_000_000;
/// How long a group may take to come to rest once everybody is well, and how long it must then stay so.
const REST_MS: Millis = 90_000;
const STAY_MS: Millis = 30_000;

impl World {
    /// Runs a seed from beginning to end.
    pub fn run(seed: u64, planted: Option<Planted>, detail: Detail) -> Outcome<Configuration> {
        #[cfg(feature = "planted")]
        broker::planted::plant(
            (planted == Some(Planted::CommitOfOldGeneration))
                .then_some(broker::planted::Mistake::CommitOfOldGeneration),
        );
        let mut world = World::new(seed, planted, detail);
        let violation = broken_in(|| world.live());
        let World { configuration, events, now, trace, .. } = world;
        Outcome { violation, configuration, events, time_us: (now - BEGIN_MS) * 1000, trace }
    }

    fn new(seed: u64, planted: Option<Planted>, detail: Detail) -> World {
        let configuration = Configuration::draw(&mut Random::stream(seed, 1));
        let consumers = (0..configuration.consumers)
            .map(|index| Consumer::new(index, index < configuration.named))
            .collect();
        let brokers = [0, 1].map(|_| Broker::new(&configuration));
        World {
            planted,
            network: Random::stream(seed, 2),
            faults: Random::stream(seed, 3),
            now: BEGIN_MS,
            sequence: 0,
            agenda: BTreeMap::new(),
            brokers,
            leader: 0,
            epoch: 0,
            consumers,
            tickets: 0,
            places: 0,
            ledger: Ledger::default(),
            healing: false,
            events: 0,
            trace: Trace::new(detail),
            configuration,
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        self.take_over(0)?;
        for consumer in 0..self.consumers.len() {
            let after = self.network.below(5_000);
            self.wake_after(consumer, after);
        }
        self.plan(self.configuration.fault_ms, Event::Fault);
        let end_of_chaos = self.now + self.configuration.chaos_ms;
        self.until(end_of_chaos)?;
        self.heal();
        let (rest, stay) = (self.now + REST_MS, self.now + REST_MS + STAY_MS);
        self.until(rest)?;
        let generation = self.at_rest()?;
        self.until(stay)?;
        if self.at_rest()? != generation {
            return violation("B9", "the group was at rest, and did not stay so");
        }
        let told = self.brokers[self.leader].groups.as_ref().map(|groups| groups.offsets(GROUP, None));
        match told {
            Some(Ok(told)) => self.ledger.read(&told),
            other => violation("B9", format!("the leader does not serve at the end: {other:?}")),
        }
    }

    fn until(&mut self, end: Millis) -> Result<(), Violation> {
        while let Some((&key, _)) = self.agenda.first_key_value().filter(|((at, _), _)| *at <= end) {
            let Some(event) = self.agenda.remove(&key) else { continue };
            self.now = key.0;
            self.events += 1;
            self.trace.fold(key.0);
            let (now, count) = (self.now, self.events);
            self.trace.line(|| format!("{count:>7} {:>9.3} {event:?}", (now - BEGIN_MS) as f64 / 1e3));
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn plan(&mut self, after: Millis, event: Event) {
        self.sequence += 1;
        self.agenda.insert((self.now + after, self.sequence), event);
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Arrive { consumer, life, attempt, broker, request } => {
                self.serve(broker, Waiting { consumer, life, attempt, kind: Kind::of(&request) }, *request)
            }
            Event::Reply { consumer, life, attempt, reply } => {
                self.hear(consumer, life, attempt, *reply);
                Ok(())
            }
            Event::Wake { consumer, alarm } => {
                self.wake(consumer, alarm);
                Ok(())
            }
            Event::Tick { broker, life } => {
                if self.brokers[broker].ticks_at == Some(self.now) {
                    self.brokers[broker].ticks_at = None;
                }
                self.with_groups(broker, life, |groups, now, out| groups.tick(now, out))
            }
            Event::Appended { broker, life } => {
                let held =
                    self.brokers[broker].appending.front().filter(|_| self.brokers[broker].life == life);
                let Some(&(id, epoch, place)) = held else { return Ok(()) };
                self.brokers[broker].appending.pop_front();
                let leads = epoch == self.epoch || self.planted == Some(Planted::DeposedWrites);
                let result = if leads && place.is_some() {
                    self.ledger.acknowledged = self.ledger.acknowledged.max(place.unwrap_or(0));
                    Ok(())
                } else {
                    Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
                };
                self.with_groups(broker, life, |groups, now, out| groups.appended(now, id, result, out))
            }
            Event::Deposed { broker, epoch } => {
                // It may lead again by now.
                if self.brokers[broker].epoch != epoch {
                    return Ok(());
                }
                self.brokers[broker].epoch = 0;
                let life = self.brokers[broker].life;
                self.with_groups(broker, life, |groups, _, out| groups.resign(0, out))
            }
            Event::Loaded { broker, life } => {
                let named = self.ledger.last_generation();
                if self.brokers[broker].life == life {
                    self.brokers[broker].announced = named;
                }
                self.with_groups(broker, life, |groups, now, _| groups.loaded(now, 0))
            }
            Event::Fault => self.fault(),
        }
    }

    /// Something that a broker's groups do, and what follows from it.
    fn with_groups(
        &mut self,
        broker: usize,
        life: u64,
        act: impl FnOnce(&mut broker::group::Groups, Millis, &mut Vec<Effect>),
    ) -> Result<(), Violation> {
        let now = self.now;
        let mut out = Vec::new();
        let acting = &mut self.brokers[broker];
        match acting.groups.as_mut().filter(|_| acting.life == life) {
            Some(groups) => act(groups, now, &mut out),
            None => return Ok(()),
        }
        self.carry_out(broker, out)
    }

    fn carry_out(&mut self, broker: usize, effects: Vec<Effect>) -> Result<(), Violation> {
        let life = self.brokers[broker].life;
        for effect in effects {
            match effect {
                Effect::Answer(ticket, answer) => self.answer(broker, ticket, answer)?,
                Effect::Append { id, records, .. } => {
                    let epoch = self.brokers[broker].epoch;
                    let leads = epoch == self.epoch || self.planted == Some(Planted::DeposedWrites);
                    let place = leads.then(|| self.ledger.append(records));
                    self.brokers[broker].appending.push_back((id, epoch, place));
                    // Reports come in the order of the appends.
                    let after = self.network.below(20);
                    let at = (self.now + after).max(self.brokers[broker].reports_until);
                    self.brokers[broker].reports_until = at;
                    self.plan(at - self.now, Event::Appended { broker, life });
                }
            }
        }
        let acting = &mut self.brokers[broker];
        let deadline = acting.groups.as_ref().and_then(|groups| groups.next_deadline());
        if let Some(at) = deadline.filter(|at| acting.ticks_at.is_none_or(|ticks_at| *at < ticks_at)) {
            acting.ticks_at = Some(at);
            self.plan(at.saturating_sub(self.now), Event::Tick { broker, life });
        }
        Ok(())
    }

    /// A broker answers a request.
    fn answer(&mut self, broker: usize, ticket: Ticket, answer: Answer) -> Result<(), Violation> {
        let Some(waiting) = self.brokers[broker].waiting.remove(&ticket) else {
            return violation("B9", format!("{ticket:?} was answered twice: {answer:?}"));
        };
        let leads = self.brokers[broker].epoch == self.epoch;
        self.ledger.answered(&mut self.brokers[broker], &waiting, &answer, leads)?;
        self.reply(&waiting, Reply::Answer(answer));
        Ok(())
    }

    fn reply(&mut self, to: &Waiting, reply: Reply) {
        let Some(after) = self.delay() else { return };
        let Waiting { consumer, life, attempt, .. } = *to;
        self.plan(after, Event::Reply { consumer, life, attempt, reply: Box::new(reply) });
    }

    /// A request reaches a broker.
    fn serve(&mut self, broker: usize, waiting: Waiting, request: Request) -> Result<(), Violation> {
        let life = self.brokers[broker].life;
        if self.brokers[broker].groups.is_none() {
            // Nobody listens: the connection is refused.
            self.reply(&waiting, Reply::Error(ErrorCode::COORDINATOR_NOT_AVAILABLE));
            return Ok(());
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut waiting = waiting;
        if let Kind::Commit { announced, .. } = &mut waiting.kind {
            *announced = self.brokers[broker].announced;
        }
        match request {
            Request::Join(mut join) => {
                join.unique = self.tickets.to_string();
                self.brokers[broker].waiting.insert(ticket, waiting);
                self.with_groups(broker, life, |groups, now, out| groups.join(now, ticket, join, out))
            }
            Request::Sync(sync) => {
                self.brokers[broker].waiting.insert(ticket, waiting);
                self.with_groups(broker, life, |groups, now, out| groups.sync(now, ticket, sync, out))
            }
            Request::Commit(commit) => {
                self.brokers[broker].waiting.insert(ticket, waiting);
                self.with_groups(broker, life, |groups, now, out| groups.commit(now, ticket, commit, out))
            }
            Request::Heartbeat(voice) => {
                let mut code = ErrorCode::NONE;
                self.with_groups(broker, life, |groups, now, _| code = groups.heartbeat(now, &voice))?;
                self.reply(&waiting, Reply::Error(code));
                Ok(())
            }
            Request::Leave(leaver) => {
                let mut code = ErrorCode::NONE;
                self.with_groups(broker, life, |groups, now, out| {
                    let left = groups.leave(now, GROUP, std::slice::from_ref(&leaver), out);
                    code = left.map_or_else(|error| error, |codes| codes[0]);
                })?;
                self.reply(&waiting, Reply::Error(code));
                Ok(())
            }
            Request::Offsets => {
                let read = self.brokers[broker].groups.as_ref().map(|groups| groups.offsets(GROUP, None));
                let Some(read) = read else { return Ok(()) };
                let code = read.as_ref().err().copied().unwrap_or(ErrorCode::NONE);
                if let (Ok(read), true) = (read, self.brokers[broker].epoch == self.epoch) {
                    self.trace.mark("offsets were read");
                    self.ledger.read(&read)?;
                }
                self.reply(&waiting, Reply::Error(code));
                Ok(())
            }
        }
    }

    /// How long a message takes; none if it is lost.
    fn delay(&mut self) -> Option<Millis> {
        let Configuration { lost, late, .. } = self.configuration;
        let usual = self.network.between(1, 10);
        if self.healing {
            return Some(usual);
        }
        if lost > 0 && self.network.one_in(lost) {
            self.trace.fault("lost");
            return None;
        }
        if late > 0 && self.network.one_in(late) {
            self.trace.fault("late");
            return Some(self.network.between(100, 15_000));
        }
        Some(usual)
    }

    /// Another broker leads the partition, or the same one again, and reads it from its begin.
    fn take_over(&mut self, broker: usize) -> Result<(), Violation> {
        self.leader = broker;
        self.epoch += 1;
        if self.brokers[broker].groups.is_none() {
            self.brokers[broker].start(&self.configuration);
        }
        let (life, now, epoch) = (self.brokers[broker].life, self.now, self.epoch);
        self.brokers[broker].epoch = epoch;
        // What the new leader finds stays, whoever was told of it.
        self.ledger.settle();
        let mut records = self.ledger.records();
        if self.planted == Some(Planted::ShortReplay) {
            records.pop();
        }
        self.with_groups(broker, life, |groups, _, out| {
            groups.resign(0, out);
            groups.load(0);
            records.into_iter().for_each(|record| groups.replay(now, record));
        })?;
        let after = self.faults.below(500);
        self.plan(after, Event::Loaded { broker, life });
        Ok(())
    }

    fn fault(&mut self) -> Result<(), Violation> {
        if self.healing {
            return Ok(());
        }
        let next = self.faults.below(self.configuration.fault_ms * 2);
        self.plan(next, Event::Fault);
        let consumer = self.faults.below(self.consumers.len() as u64) as usize;
        match self.faults.below(6) {
            0 => {
                self.trace.fault("move");
                let (old, epoch) = (self.leader, self.epoch);
                // It goes on in good faith for a while.
                let after = self.faults.below(10_000);
                self.plan(after, Event::Deposed { broker: old, epoch });
                self.take_over(1 - old)?;
            }
            1 => {
                self.trace.fault("crash");
                let old = self.leader;
                self.brokers[old].crash();
                // What nobody was told may be gone.
                if self.faults.coin() {
                    self.ledger.forget_unacknowledged();
                }
                let next = if self.faults.coin() { old } else { 1 - old };
                self.take_over(next)?;
            }
            2 => {
                self.trace.fault("freeze");
                self.consumers[consumer].frozen_until = self.now + self.faults.below(40_000);
            }
            3 => {
                self.trace.fault("die");
                self.consumers[consumer].die(self.now + self.faults.below(20_000));
                self.wake_after(consumer, 1);
            }
            4 => {
                self.trace.fault("leave");
                self.leave(consumer);
            }
            _ => {
                self.trace.fault("other protocol data");
                self.consumers[consumer].flavour += 1;
                self.consumers[consumer].joins_anew();
            }
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.healing = true;
        for consumer in 0..self.consumers.len() {
            self.consumers[consumer].frozen_until = self.now;
            self.consumers[consumer].absent_until =
                self.consumers[consumer].absent_until.min(self.now + 1_000);
            self.wake_after(consumer, 1);
        }
        let other = 1 - self.leader;
        let epoch = self.brokers[other].epoch;
        self.plan(0, Event::Deposed { broker: other, epoch });
    }

    /// Everybody is in one generation, and each partition has one reader.
    fn at_rest(&self) -> Result<i32, Violation> {
        let mut readers = BTreeMap::new();
        let mut generations = std::collections::BTreeSet::new();
        for consumer in &self.consumers {
            let Some((generation, partitions)) = consumer.reads() else {
                return violation("B9", format!("a consumer does not come to rest: {consumer:?}"));
            };
            generations.insert(generation);
            for partition in partitions {
                if readers.insert(*partition, consumer.index).is_some() {
                    return violation("B9", format!("partition {partition} has two readers at rest"));
                }
            }
        }
        if readers.len() != self.configuration.partitions as usize || generations.len() != 1 {
            return violation("B9", format!("at rest: generations {generations:?}, readers {readers:?}"));
        }
        Ok(generations.into_iter().next().unwrap_or_default())
    }
}
