//! Which partitions exist, who leads them, and who has to be told?
//!
//! The controller's decisions, made by the one broker that holds `/controller`. It is told what stands in the coordinator
//! ([`Event`]) and asks for what should happen ([`Command`]). The rule everywhere: write to the coordinator first, believe
//! it second, tell the brokers third. A write that another controller's epoch fences means that this one is over.
//!
//! Whatever happens, it compares what should be with what is ([`Controller::settle`]): partitions without a state get one,
//! the dead stop leading, topics that are to go lose their replicas first. So no event has to be remembered, and a
//! new controller does what the last one left undone.

mod context;
mod deletion;
mod elections;
mod isr_changes;
mod placement;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::{ErrorCode, Uuid};

pub use context::{TopicView, Unclean, View};
pub use isr_changes::{IsrChange, IsrChangeError};
pub use placement::{PlacementError, place};

use crate::cluster::{Assignment, Broker, PartitionState};
use context::{Context, Naming};
use elections::Election;

/// A partition of a topic, by name.
pub type PartitionName = (String, i32);

/// A write that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// A request that waits for the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the controller is told.
#[derive(Debug)]
pub enum Event {
    /// The brokers that are registered now.
    Brokers(BTreeMap<i32, Broker>),
    /// All topics that exist now; states only of those not known yet.
    Topics(BTreeMap<String, TopicView>),
    /// A topic's assignment changed.
    Assigned(String, Assignment),
    /// The topics that somebody wants to be deleted.
    Deletions(BTreeSet<String>),
    /// These partitions should be led by their preferred replica; `None`: all.
    Prefer { ticket: Option<Ticket>, partitions: Option<Vec<PartitionName>> },
    /// These partitions should be led by anybody if nobody leads them, though records are lost; `None`: all.
    ElectAnybody { ticket: Ticket, partitions: Option<Vec<PartitionName>> },
    /// A leader wants to change who is in sync.
    ChangeIsr { ticket: Ticket, change: IsrChange },
    /// A broker is going to stop.
    Leaving { ticket: Ticket, broker: i32, epoch: i64 },
    /// A broker has stopped a replica that was to be deleted, or could not.
    Deleted { broker: i32, topic_id: Uuid, partition: PartitionName, result: Result<(), ErrorCode> },
    /// Brokers have data directories that failed.
    LogDirsFailed(BTreeSet<i32>),
    /// A broker cannot use its replicas of these partitions.
    ReplicasFailed { broker: i32, partitions: Vec<PartitionName> },
    /// A write was done, with the versions of the states it wrote; or it failed.
    Written { id: WriteId, result: Result<Vec<i32>, WriteError> },
    /// In which topics a replica may lead without being in sync.
    Unclean(Unclean),
}

/// Why a write was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// There is a later controller.
    Fenced,
    /// The coordinator holds something else than was thought.
    Conflict,
}

/// What the controller wants.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Write this, provided that the controller's epoch is still this one's, and report by [`Event::Written`].
    Write { id: WriteId, write: Write },
    /// Tell a broker.
    Order { broker: i32, order: Order },
    /// Answer whoever waits.
    Answer(Ticket, Answer),
    /// A topic was removed, and there may be another of its name already, or a new wish: tell by [`Event::Deletions`] and
    /// [`Event::Topics`] what there is.
    LookAgain,
    /// What is known is not what stands in the coordinator: read everything and begin anew.
    Reread,
    /// There is a later controller.
    Resign,
}

/// A change in the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Makes the partitions' nodes with these states.
    CreateStates(Vec<(PartitionName, PartitionState)>),
    /// Replaces states, each only if it still has the version that it names.
    SetStates(Vec<(PartitionName, PartitionState)>),
    /// Writes a topic's id, which the shell draws if there never was one: a core has no chance of its own.
    GiveTopicId(String, Assignment),
    /// Removes a topic's nodes: its partitions, itself, its settings, and the wish to delete it.
    RemoveTopic(String, Vec<i32>),
    /// Removes the wish to delete a topic that does not exist.
    RemoveWish(String),
}

/// What a broker is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Lead or follow these partitions.
    Lead(Vec<PartitionOrder>),
    /// This is how the cluster looks; only the partitions that changed are named.
    Inform { partitions: Vec<PartitionOrder> },
    /// Delete these replicas of the topic with this id, which the reports repeat.
    Delete { topic_id: Uuid, partitions: Vec<PartitionName> },
}

/// One partition in an [`Order`].
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionOrder {
    pub topic: String,
    pub partition: i32,
    pub topic_id: Uuid,
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
    pub state: PartitionState,
    pub is_new: bool,
}

/// What a request to the controller gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Of [`Event::ChangeIsr`].
    Isr(Result<PartitionState, IsrChangeError>),
    /// Of [`Event::Prefer`] and [`Event::ElectAnybody`].
    Preferred(Vec<(PartitionName, ErrorCode)>),
    /// Of [`Event::Leaving`]: the partitions that it still leads.
    Leaving(Result<Vec<PartitionName>, ErrorCode>),
}

/// The controller of one epoch.
#[derive(Debug)]
pub struct Controller {
    epoch: i32,
    context: Context,
    writes: BTreeMap<WriteId, Writing>,
    writes_count: u64,
}

/// What happens when a write is reported.
#[derive(Debug)]
enum Writing {
    Created(Vec<(PartitionName, PartitionState)>),
    Set {
        states: Vec<(PartitionName, PartitionState)>,
        then: Option<(Ticket, Then)>,
    },
    Removed(String),
    WishRemoved(String),
    /// The id is seen in the coordinator, and told by an event.
    Named(String),
}

/// Whom a state that was written concerns.
#[derive(Debug)]
enum Then {
    Isr,
    Preferred(Vec<(PartitionName, ErrorCode)>),
    Leaving(i32),
}

impl Controller {
    /// Takes over in this epoch, from what stands in the coordinator.
    pub fn new(epoch: i32, view: View, out: &mut Vec<Command>) -> Controller {
        let context = Context::new(view);
        let mut controller = Controller { epoch, context, writes: BTreeMap::new(), writes_count: 0 };
        let everybody: Vec<i32> = controller.context.brokers.keys().copied().collect();
        controller.introduce(&everybody, out);
        controller.settle(out);
        controller
    }

    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The brokers that are registered.
    pub fn brokers(&self) -> &BTreeMap<i32, Broker> {
        &self.context.brokers
    }

    /// The topics that are known, so that only the others need be read.
    pub fn topics(&self) -> BTreeSet<String> {
        self.context.topics.keys().cloned().collect()
    }

    /// Who holds a partition, the preferred leader first.
    pub fn replicas(&self, topic: &str, partition: i32) -> Option<&[i32]> {
        let topic = self.context.topics.get(topic)?;
        topic.assignment.replicas.get(&partition).map(Vec::as_slice)
    }

    /// Takes in what happened, and says what is to be done.
    pub fn step(&mut self, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Brokers(brokers) => self.brokers_changed(brokers, out),
            Event::Topics(topics) => self.context.topics_changed(topics),
            Event::Assigned(topic, assignment) => self.assigned(&topic, assignment, out),
            Event::Deletions(topics) => self.context.deletions_changed(topics),
            Event::Unclean(unclean) => self.context.unclean = unclean,
            Event::Prefer { ticket, partitions } => self.elect(Election::Preferred, ticket, partitions, out),
            Event::ElectAnybody { ticket, partitions } => {
                self.elect(Election::Unclean, Some(ticket), partitions, out);
            }
            Event::ChangeIsr { ticket, change } => self.change_isr(ticket, change, out),
            Event::Leaving { ticket, broker, epoch } => self.leaving(ticket, broker, epoch, out),
            Event::Deleted { broker, topic_id, partition, result } => {
                self.replica_deleted(broker, topic_id, &partition, result);
            }
            Event::LogDirsFailed(brokers) => self.ask_what_failed(&brokers, out),
            Event::ReplicasFailed { broker, partitions } => {
                for name in partitions {
                    self.context.failed.entry(name).or_default().insert(broker);
                }
            }
            Event::Written { id, result } => self.written(id, result, out),
        }
        self.settle(out);
    }

    /// A topic that was given its id is told anew: without one it would be another topic.
    fn assigned(&mut self, topic: &str, assignment: Assignment, out: &mut Vec<Command>) {
        let id = |context: &Context| context.topics.get(topic).and_then(|known| known.assignment.topic_id);
        let before = id(&self.context);
        self.context.assigned(topic.to_owned(), assignment);
        if id(&self.context) != before {
            let orders: Vec<_> = self.context.orders().filter(|order| order.topic == topic).collect();
            if !orders.is_empty() {
                self.tell(&orders, out);
            }
        }
    }

    fn brokers_changed(&mut self, brokers: BTreeMap<i32, Broker>, out: &mut Vec<Command>) {
        let known = std::mem::replace(&mut self.context.brokers, brokers);
        let is_same = |id: &i32, broker: &Broker| known.get(id).is_some_and(|old| old.epoch == broker.epoch);
        let now = &self.context.brokers;
        let came: Vec<i32> = now.iter().filter(|(id, new)| !is_same(id, new)).map(|(&id, _)| id).collect();
        let changed = now != &known;
        self.context.leaving.retain(|id| now.contains_key(id) && !came.contains(id));
        if changed {
            let staying: Vec<i32> = now.keys().copied().filter(|id| !came.contains(id)).collect();
            for broker in staying {
                out.push(Command::Order { broker, order: Order::Inform { partitions: Vec::new() } });
            }
        }
        for &id in &came {
            // A new life of this broker has deleted nothing yet.
            self.context.deleted.retain(|(broker, _)| *broker != id);
            self.context.failed.retain(|_, brokers| {
                brokers.remove(&id);
                !brokers.is_empty()
            });
        }
        self.context.order_deletions_again(&came);
        self.introduce(&came, out);
    }

    /// Tells brokers that have just come everything: first who there is, then what to do.
    fn introduce(&self, brokers: &[i32], out: &mut Vec<Command>) {
        let everything: Vec<PartitionOrder> = self.context.orders().collect();
        for &broker in brokers {
            out.push(Command::Order { broker, order: Order::Inform { partitions: everything.clone() } });
            out.push(Command::Order { broker, order: Order::Lead(held_by(broker, &everything)) });
        }
    }

    /// Orders once more what was ordered before: whatever cannot be done is reported.
    fn ask_what_failed(&self, brokers: &BTreeSet<i32>, out: &mut Vec<Command>) {
        let everything: Vec<PartitionOrder> = self.context.orders().collect();
        for &broker in brokers.iter().filter(|broker| self.context.brokers.contains_key(broker)) {
            out.push(Command::Order { broker, order: Order::Lead(held_by(broker, &everything)) });
        }
    }

    fn written(&mut self, id: WriteId, result: Result<Vec<i32>, WriteError>, out: &mut Vec<Command>) {
        let Some(writing) = self.writes.remove(&id) else { return };
        let versions = match result {
            Ok(versions) => versions,
            Err(WriteError::Fenced) => return out.push(Command::Resign),
            Err(WriteError::Conflict) => {
                if let Writing::Set { then: Some((ticket, then)), .. } = writing {
                    out.push(Command::Answer(ticket, refused_by_version(then)));
                }
                return out.push(Command::Reread);
            }
        };
        match writing {
            Writing::Created(states) => self.believe(states, &versions, true, out),
            Writing::Set { states, then } => {
                self.believe(states.clone(), &versions, false, out);
                if let Some((ticket, then)) = then {
                    let answer = self.answer(then, states.first().map(|(name, _)| name));
                    out.push(Command::Answer(ticket, answer));
                }
            }
            Writing::Removed(topic) => {
                self.context.forget(&topic);
                out.push(Command::LookAgain);
            }
            Writing::WishRemoved(topic) => {
                self.context.busy_topics.remove(&topic);
                self.context.wanted_gone.remove(&topic);
                out.push(Command::LookAgain);
            }
            Writing::Named(topic) => {
                self.context.named(&topic, Naming::Written);
            }
        }
    }

    /// What was written is so: remember it, and tell those whom it concerns.
    fn believe(
        &mut self,
        states: Vec<(PartitionName, PartitionState)>,
        versions: &[i32],
        is_new: bool,
        out: &mut Vec<Command>,
    ) {
        let mut orders = Vec::new();
        for ((name, state), &version) in states.into_iter().zip(versions) {
            self.context.busy.remove(&name);
            self.context.set_state(&name, PartitionState { version, ..state });
            orders.extend(self.context.order(&name, is_new));
        }
        self.tell(&orders, out);
    }

    /// Orders replicas to follow the new states, and everybody to know them.
    fn tell(&self, orders: &[PartitionOrder], out: &mut Vec<Command>) {
        for &broker in self.context.brokers.keys() {
            let theirs = held_by(broker, orders);
            if !theirs.is_empty() {
                out.push(Command::Order { broker, order: Order::Lead(theirs) });
            }
        }
        for &broker in self.context.brokers.keys() {
            let partitions = orders.to_vec();
            out.push(Command::Order { broker, order: Order::Inform { partitions } });
        }
    }

    fn write(&mut self, write: Write, then: Writing, out: &mut Vec<Command>) {
        let id = WriteId(self.writes_count);
        self.writes_count += 1;
        self.writes.insert(id, then);
        out.push(Command::Write { id, write });
    }

    fn answer(&self, then: Then, changed: Option<&PartitionName>) -> Answer {
        match then {
            Then::Isr => {
                let state = changed.and_then(|name| self.context.state(name)).cloned();
                Answer::Isr(state.ok_or(IsrChangeError::UnknownPartition))
            }
            Then::Preferred(results) => Answer::Preferred(results),
            Then::Leaving(broker) => Answer::Leaving(Ok(self.context.led_by(broker))),
        }
    }
}

/// The answer to a request whose write met something unexpected.
fn refused_by_version(then: Then) -> Answer {
    match then {
        Then::Isr => Answer::Isr(Err(IsrChangeError::VersionConflict)),
        Then::Preferred(results) => {
            let unknown = |(name, _)| (name, ErrorCode::UNKNOWN_SERVER_ERROR);
            Answer::Preferred(results.into_iter().map(unknown).collect())
        }
        Then::Leaving(_) => Answer::Leaving(Err(ErrorCode::UNKNOWN_SERVER_ERROR)),
    }
}

fn held_by(broker: i32, orders: &[PartitionOrder]) -> Vec<PartitionOrder> {
    orders.iter().filter(|order| order.replicas.contains(&broker)).cloned().collect()
}
