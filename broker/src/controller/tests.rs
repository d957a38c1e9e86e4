//! A controller, and a coordinator that holds what it writes.

use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::Uuid;

use super::*;
use crate::cluster::{Broker, NO_LEADER};

/// A coordinator in memory, with one controller that acts on it.
struct World {
    controller: Controller,
    states: BTreeMap<PartitionName, PartitionState>,
    removed: Vec<String>,
    /// Topics that were to be given an id, with the one that they had.
    given_ids: Vec<(String, Option<Uuid>)>,
    orders: Vec<(i32, Order)>,
    answers: Vec<(Ticket, Answer)>,
    signals: Vec<Command>,
}

/// The id of every topic here.
const ID: Uuid = Uuid([7; 16]);

fn broker(epoch: i64) -> Broker {
    Broker { epoch, endpoints: Vec::new(), rack: None }
}

fn brokers(ids: &[i32]) -> BTreeMap<i32, Broker> {
    ids.iter().map(|&id| (id, broker(i64::from(id) * 10))).collect()
}

fn topic(replicas: &[&[i32]]) -> TopicView {
    let replicas =
        replicas.iter().enumerate().map(|(partition, ids)| (partition as i32, ids.to_vec())).collect();
    let assignment = Assignment { topic_id: Some(ID), replicas, ..Assignment::default() };
    TopicView { assignment, states: BTreeMap::new() }
}

fn name(topic: &str, partition: i32) -> PartitionName {
    (topic.to_owned(), partition)
}

impl World {
    fn new(ids: &[i32], topics: &[(&str, TopicView)]) -> World {
        let topics = topics.iter().map(|(name, topic)| ((*name).to_owned(), topic.clone())).collect();
        let view = View { brokers: brokers(ids), topics, ..View::default() };
        let mut commands = Vec::new();
        let controller = Controller::new(4, view, &mut commands);
        let mut world = World {
            controller,
            states: BTreeMap::new(),
            removed: Vec::new(),
            given_ids: Vec::new(),
            orders: Vec::new(),
            answers: Vec::new(),
            signals: Vec::new(),
        };
        world.run(commands);
        world
    }

    fn step(&mut self, event: Event) {
        let mut commands = Vec::new();
        self.controller.step(event, &mut commands);
        self.run(commands);
    }

    /// Does what is asked for until nothing is left to do.
    fn run(&mut self, commands: Vec<Command>) {
        let mut queue: std::collections::VecDeque<Command> = commands.into();
        while let Some(command) = queue.pop_front() {
            match command {
                Command::Write { id, write } => {
                    let result = self.apply(write);
                    let mut more = Vec::new();
                    self.controller.step(Event::Written { id, result }, &mut more);
                    queue.extend(more);
                }
                Command::Order { broker, order } => self.orders.push((broker, order)),
                Command::Answer(ticket, answer) => self.answers.push((ticket, answer)),
                signal => self.signals.push(signal),
            }
        }
    }

    fn apply(&mut self, write: Write) -> Result<Vec<i32>, WriteError> {
        match write {
            Write::CreateStates(states) => {
                if states.iter().any(|(name, _)| self.states.contains_key(name)) {
                    return Err(WriteError::Conflict);
                }
                let versions = states.iter().map(|_| 0).collect();
                self.states.extend(states);
                Ok(versions)
            }
            Write::SetStates(states) => {
                let fits = |(name, new): &(PartitionName, PartitionState)| {
                    self.states.get(name).is_some_and(|old| old.version == new.version)
                };
                if !states.iter().all(fits) {
                    return Err(WriteError::Conflict);
                }
                let mut versions = Vec::new();
                for (name, state) in states {
                    let version = state.version + 1;
                    self.states.insert(name, PartitionState { version, ..state });
                    versions.push(version);
                }
                Ok(versions)
            }
            Write::RemoveTopic(topic, _) => {
                self.states.retain(|(name, _), _| *name != topic);
                self.removed.push(topic);
                Ok(Vec::new())
            }
            Write::GiveTopicId(topic, assignment) => {
                self.given_ids.push((topic, assignment.topic_id));
                Ok(Vec::new())
            }
            Write::RemoveWish(_) => Ok(Vec::new()),
        }
    }

    fn leader(&self, topic: &str, partition: i32) -> (i32, i32, Vec<i32>) {
        let state = &self.states[&name(topic, partition)];
        (state.leader, state.leader_epoch, state.isr.clone())
    }
}

#[test]
fn a_new_topic_gets_leaders_and_its_brokers_are_told() {
    let mut world = World::new(&[1, 2], &[]);
    world.orders.clear();
    world.step(Event::Topics(BTreeMap::from([("t".to_owned(), topic(&[&[1, 2], &[2, 3]]))])));
    assert_eq!(world.leader("t", 0), (1, 0, vec![1, 2]));
    assert_eq!(world.leader("t", 1), (2, 0, vec![2]));
    assert_eq!(world.states[&name("t", 0)].controller_epoch, 4);
    let lead = |broker: i32| {
        let found = world.orders.iter().find_map(|(id, order)| match order {
            Order::Lead(partitions) if *id == broker => Some(partitions.len()),
            _ => None,
        });
        found.unwrap_or(0)
    };
    assert_eq!((lead(1), lead(2)), (1, 2));
    let informed = world.orders.iter().filter(|(_, order)| matches!(order, Order::Inform { .. })).count();
    assert_eq!(informed, 2);
}

#[test]
fn the_dead_stop_leading_and_lead_again_only_by_election() {
    let mut world = World::new(&[1, 2], &[("t", topic(&[&[1, 2]])), ("alone", topic(&[&[1]]))]);
    world.step(Event::Brokers(brokers(&[2])));
    assert_eq!(world.leader("t", 0), (2, 1, vec![2]));
    assert_eq!(world.leader("alone", 0), (NO_LEADER, 1, vec![1]));
    world.step(Event::Brokers(brokers(&[1, 2])));
    assert_eq!(world.leader("t", 0), (2, 1, vec![2]), "coming back is no reason to lead");
    assert_eq!(world.leader("alone", 0), (1, 2, vec![1]));
}

#[test]
fn a_topic_goes_once_its_replicas_are_gone() {
    let mut world = World::new(&[1, 2], &[("t", topic(&[&[1, 2]]))]);
    world.orders.clear();
    world.step(Event::Deletions(BTreeSet::from(["t".to_owned(), "unknown".to_owned()])));
    let deletes = world.orders.iter().filter(|(_, order)| matches!(order, Order::Delete { .. })).count();
    assert_eq!((deletes, world.removed.len()), (2, 0));
    let another = Uuid([8; 16]);
    world.step(Event::Deleted { broker: 1, topic_id: another, partition: name("t", 0), result: Ok(()) });
    world.step(Event::Deleted { broker: 1, topic_id: ID, partition: name("t", 0), result: Ok(()) });
    assert!(world.removed.is_empty());
    world.step(Event::Deleted { broker: 2, topic_id: ID, partition: name("t", 0), result: Ok(()) });
    assert_eq!(world.removed, ["t"]);
    assert!(!world.controller.is_available("t"));
}

#[test]
fn a_topic_waits_for_brokers_that_hold_replicas() {
    let mut world = World::new(&[1], &[("t", topic(&[&[1, 2]]))]);
    world.orders.clear();
    world.step(Event::Deletions(BTreeSet::from(["t".to_owned()])));
    assert!(world.orders.is_empty());
    world.step(Event::Brokers(brokers(&[1, 2])));
    assert!(world.orders.iter().any(|(broker, order)| *broker == 2 && matches!(order, Order::Delete { .. })));
}

#[test]
fn who_is_in_sync_changes_only_as_the_leader_of_now_says() {
    let mut world = World::new(&[1, 2, 3], &[("t", topic(&[&[1, 2]]))]);
    let change = IsrChange {
        broker: 1,
        broker_epoch: 10,
        partition: name("t", 0),
        topic_id: ID,
        leader_epoch: 0,
        version: 0,
        isr: vec![1],
        is_recovering: false,
    };
    let mut ask = |change: IsrChange| {
        let ticket = Ticket(world.answers.len() as u64);
        world.step(Event::ChangeIsr { ticket, change });
        match world.answers.pop() {
            Some((_, Answer::Isr(result))) => {
                result.map(|state| (state.leader_epoch, state.version, state.isr))
            }
            other => panic!("no answer but {other:?}"),
        }
    };
    assert_eq!(ask(change.clone()), Ok((0, 1, vec![1])));
    assert_eq!(ask(change.clone()), Ok((0, 1, vec![1])), "asking twice is asking once");
    let ask_again = IsrChange { version: 1, isr: vec![1, 2], ..change.clone() };
    assert_eq!(ask(IsrChange { broker_epoch: 9, ..ask_again.clone() }), Err(IsrChangeError::StaleBroker));
    assert_eq!(ask(IsrChange { version: 0, ..ask_again.clone() }), Err(IsrChangeError::VersionConflict));
    assert_eq!(ask(IsrChange { version: 2, ..ask_again.clone() }), Err(IsrChangeError::NotController));
    assert_eq!(ask(IsrChange { leader_epoch: -1, ..ask_again.clone() }), Err(IsrChangeError::Fenced));
    for not_alive_or_no_replica in [4, 3] {
        let isr = vec![1, not_alive_or_no_replica];
        assert_eq!(ask(IsrChange { isr, ..ask_again.clone() }), Err(IsrChangeError::Ineligible));
    }
    let of_another_topic = IsrChange { topic_id: Uuid::ZERO, ..ask_again.clone() };
    assert_eq!(ask(of_another_topic), Err(IsrChangeError::UnknownPartition));
    assert_eq!(ask(ask_again), Ok((0, 2, vec![1, 2])));
}

#[test]
fn a_broker_that_leaves_hands_over_what_others_hold() {
    let mut world = World::new(&[1, 2], &[("t", topic(&[&[1, 2]])), ("alone", topic(&[&[1]]))]);
    world.step(Event::Leaving { ticket: Ticket(1), broker: 1, epoch: 9 });
    assert_eq!(world.answers.pop(), Some((Ticket(1), Answer::Leaving(Err(ErrorCode::STALE_BROKER_EPOCH)))));
    world.step(Event::Leaving { ticket: Ticket(2), broker: 1, epoch: 10 });
    assert_eq!(world.leader("t", 0), (2, 1, vec![2]));
    assert_eq!(world.answers.pop(), Some((Ticket(2), Answer::Leaving(Ok(vec![name("alone", 0)])))));
}

#[test]
fn preferred_replicas_lead_again_when_asked() {
    let mut world = World::new(&[1, 2], &[("t", topic(&[&[1, 2]]))]);
    world.step(Event::Brokers(brokers(&[2])));
    world.step(Event::Brokers(brokers(&[1, 2])));
    let prefer = |ticket| Event::Prefer { ticket: Some(Ticket(ticket)), partitions: None };
    world.step(prefer(1));
    let not_yet = Answer::Preferred(vec![(name("t", 0), ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)]);
    assert_eq!(world.answers.pop(), Some((Ticket(1), not_yet)));
    let change = IsrChange {
        broker: 2,
        broker_epoch: 20,
        partition: name("t", 0),
        topic_id: ID,
        leader_epoch: 1,
        version: 1,
        isr: vec![2, 1],
        is_recovering: false,
    };
    world.step(Event::ChangeIsr { ticket: Ticket(2), change });
    world.step(prefer(3));
    assert_eq!(world.leader("t", 0), (1, 2, vec![2, 1]));
    assert_eq!(world.answers.pop().expect("an answer").0, Ticket(3));
}

#[test]
fn a_write_that_fails_ends_the_controller_or_makes_it_look_again() {
    for (error, signal) in [(WriteError::Fenced, Command::Resign), (WriteError::Conflict, Command::Reread)] {
        let mut commands = Vec::new();
        let view = View {
            brokers: brokers(&[1]),
            topics: BTreeMap::from([("t".to_owned(), topic(&[&[1]]))]),
            ..View::default()
        };
        let mut controller = Controller::new(1, view, &mut commands);
        let id = commands.iter().find_map(|command| match command {
            Command::Write { id, .. } => Some(*id),
            _ => None,
        });
        let mut commands = Vec::new();
        let id = id.expect("it wants to write a state");
        controller.step(Event::Written { id, result: Err(error) }, &mut commands);
        assert!(commands.contains(&signal), "{commands:?}");
    }
}

#[test]
fn a_topic_keeps_its_id_when_an_old_tool_writes_its_node_without() {
    let mut world = World::new(&[1], &[("t", topic(&[&[1]]))]);
    let grown = topic(&[&[1], &[1]]).assignment;
    world.step(Event::Assigned("t".into(), Assignment { topic_id: None, ..grown.clone() }));
    assert_eq!(world.given_ids, [("t".to_owned(), grown.topic_id)]);
    let led = world.orders.iter().flat_map(|(_, order)| match order {
        Order::Lead(partitions) => partitions.clone(),
        _ => Vec::new(),
    });
    let led: BTreeSet<(i32, Uuid)> = led.map(|order| (order.partition, order.topic_id)).collect();
    assert_eq!(led, BTreeSet::from([(0, ID), (1, ID)]));
    world.step(Event::Assigned("t".into(), grown));
    world.step(Event::Brokers(brokers(&[1])));
    assert_eq!(world.given_ids.len(), 1);
}

#[test]
fn a_topic_that_is_being_given_its_id_goes_afterwards() {
    let mut world = World::new(&[1], &[("t", topic(&[&[1]]))]);
    let without = Assignment { topic_id: None, ..topic(&[&[1], &[1]]).assignment };
    let mut commands = Vec::new();
    let wish = Event::Deletions(BTreeSet::from(["t".to_owned()]));
    // The second change is somebody else's: the write is still under way.
    for event in [Event::Assigned("t".into(), without.clone()), Event::Assigned("t".into(), without), wish] {
        world.controller.step(event, &mut commands);
    }
    let names = |command: &&Command| matches!(command, Command::Write { write: Write::GiveTopicId(..), .. });
    assert_eq!(commands.iter().filter(names).count(), 1);
    let deletes = |world: &World| {
        world.orders.iter().filter(|(_, order)| matches!(order, Order::Delete { .. })).count()
    };
    let orders_deletion =
        |command: &Command| matches!(command, Command::Order { order: Order::Delete { .. }, .. });
    assert!(!commands.iter().any(orders_deletion), "{commands:?}");
    world.run(commands);
    assert_eq!(deletes(&world), 1);
}

#[test]
fn a_failed_directory_takes_its_partitions_from_the_broker_until_it_begins_anew() {
    let mut world = World::new(&[1, 2], &[("t", topic(&[&[1], &[1, 2], &[1]]))]);
    world.orders.clear();
    world.step(Event::LogDirsFailed(BTreeSet::from([1, 9])));
    let asked = world.orders.iter().map(|(broker, order)| match order {
        Order::Lead(partitions) => (*broker, partitions.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(asked.collect::<Vec<_>>(), [(1, 3)]);
    let partitions = vec![name("t", 0), name("t", 1)];
    world.step(Event::ReplicasFailed { broker: 1, partitions });
    assert_eq!(world.leader("t", 0), (NO_LEADER, 1, vec![1]), "only it holds everything");
    assert_eq!(world.leader("t", 1), (2, 1, vec![2]));
    assert_eq!(world.leader("t", 2), (1, 0, vec![1]), "it lies in another directory");
    world.step(Event::Prefer { ticket: None, partitions: None });
    assert_eq!(world.leader("t", 1), (2, 1, vec![2]));

    let mut again = brokers(&[1, 2]);
    again.insert(1, broker(11));
    world.step(Event::Brokers(again));
    assert_eq!(world.leader("t", 0), (1, 2, vec![1]));
}

#[test]
fn anybody_leads_if_that_is_asked_for_and_nobody_leads() {
    let mut world = World::new(&[1, 2], &[("t", topic(&[&[1, 2], &[1]]))]);
    let elect = |world: &mut World, partitions: &[i32]| {
        let partitions = partitions.iter().map(|&partition| name("t", partition)).collect();
        world.answers.clear();
        world.step(Event::ElectAnybody { ticket: Ticket(1), partitions: Some(partitions) });
        match world.answers.pop() {
            Some((Ticket(1), Answer::Preferred(results))) => {
                results.into_iter().map(|(_, code)| code).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(elect(&mut world, &[0]), [ErrorCode::ELECTION_NOT_NEEDED]);
    world.step(Event::Brokers(brokers(&[1])));
    assert_eq!(world.leader("t", 0), (1, 1, vec![1]));
    world.step(Event::Brokers(brokers(&[2])));
    assert_eq!(world.leader("t", 0), (NO_LEADER, 2, vec![1]), "2 lacks records");
    assert_eq!(
        elect(&mut world, &[0, 1, 7]),
        [ErrorCode::NONE, ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]
    );
    assert_eq!(world.leader("t", 0), (2, 3, vec![2]));
    assert!(world.states[&name("t", 0)].is_recovering);
}
