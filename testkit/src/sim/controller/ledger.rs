//! What controllers have written, and what they must not.

use std::collections::{BTreeMap, BTreeSet};

use broker::cluster::{Assignment, NO_LEADER, PartitionState};
use broker::registry::{paths, schema};
use client::wire::kafka::Uuid;
use coordinator::tree::Tree;
use coordinator::tree::command::{Command, Op};
use coordinator::tree::znode::Znode;

use super::broker::Replica;
use crate::check::service::{Violation, violation};
use crate::sim::host::Committed;
use crate::sim::trace::Trace;

/// One life of a topic: its name, and when its node was made.
type Life = (String, u64);

/// What was seen of a topic's life.
#[derive(Debug, Default)]
struct Topic {
    /// The id that its node has, and the last that it had.
    id: Option<Uuid>,
    last_id: Option<Uuid>,
    /// The last epoch whose controller knew the id, and the one in which it was lost if that was the same.
    known_in: i32,
    lost_in: Option<i32>,
    states: BTreeMap<i32, PartitionState>,
}

/// Everything that was written so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The last epoch that was given out, and to whom.
    epoch: i32,
    controller: i64,
    topics: BTreeMap<Life, Topic>,
    /// By its name: the life that lasts.
    alive: BTreeMap<String, u64>,
    ids: BTreeMap<[u8; 16], Life>,
    /// Topics that somebody wants to be gone.
    wishes: BTreeSet<String>,
}

impl Ledger {
    /// A command was executed, and this is the state since.
    pub(super) fn committed(
        &mut self,
        tree: &Tree,
        committed: &Committed,
        trace: &mut Trace,
        held: &dyn Fn(&str) -> Option<i32>,
    ) -> Result<(), Violation> {
        let command = Command::decode(&committed.bytes).expect("it was executed");
        let ops = match &command.op {
            Op::Multi(ops) => ops.as_slice(),
            op => std::slice::from_ref(op),
        };
        let mut touched: Vec<&str> =
            ops.iter().filter(|op| !matches!(op, Op::Check { .. })).map(Op::path).collect();
        // The epoch comes before what is written in it, and a wish goes after what was wished.
        touched
            .sort_by_key(|path| (*path != paths::CONTROLLER_EPOCH, path.starts_with(paths::DELETE_TOPICS)));
        for path in touched {
            let node = tree.lookup(path).map(|id| tree.node(id));
            let is_changed = node.is_some_and(|node| node.mzxid.0 == committed.zxid);
            if let Some(topic) =
                path.strip_prefix(paths::DELETE_TOPICS).map(|rest| rest.trim_start_matches('/'))
            {
                match node {
                    Some(_) => drop(self.wishes.insert(topic.to_owned())),
                    None => drop(self.wishes.remove(topic)),
                }
            }
            let mut parts = path.strip_prefix(paths::TOPICS).unwrap_or_default().split('/').skip(1);
            match (parts.next(), parts.next(), parts.next(), parts.next(), node) {
                (None, .., Some(node)) if path == paths::CONTROLLER_EPOCH && is_changed => {
                    self.epoch_given(tree, node, command.session, committed.zxid, trace)?;
                }
                (Some(name), None, .., Some(node)) if is_changed => self.topic_written(name, node, trace)?,
                (Some(name), None, .., None) => self.topic_gone(name, command.session, trace, held)?,
                (Some(name), Some("partitions"), Some(partition), Some("state"), Some(node))
                    if is_changed =>
                {
                    self.state_written(tree, name, partition, node, command.session, trace)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn epoch_given(
        &mut self,
        tree: &Tree,
        node: &Znode,
        session: i64,
        zxid: u64,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        let epoch: i32 = text(node).parse().unwrap_or(-1);
        if epoch == 0 && self.epoch == 0 {
            return Ok(());
        }
        let holder = tree.lookup(paths::CONTROLLER).map(|id| tree.node(id));
        let is_held = holder.is_some_and(|node| node.czxid.0 == zxid && node.owner.0 == session);
        if epoch != self.epoch + 1 || !is_held {
            return violation("B6", format!("epoch {epoch} after {}, held: {is_held}", self.epoch));
        }
        trace.mark("a controller was elected");
        (self.epoch, self.controller) = (epoch, session);
        Ok(())
    }

    fn topic_written(&mut self, name: &str, node: &Znode, trace: &mut Trace) -> Result<(), Violation> {
        let Assignment { topic_id, .. } = read(name, node)?;
        let life = (name.to_owned(), node.czxid.0);
        self.alive.insert(name.to_owned(), node.czxid.0);
        let topic = self.topics.entry(life.clone()).or_default();
        let Some(id) = topic_id else {
            if topic.id.take().is_some() {
                trace.mark("an old tool took an id");
                topic.lost_in = (topic.known_in == self.epoch).then_some(self.epoch);
            }
            return Ok(());
        };
        if let Some(last) = topic.last_id.filter(|last| *last != id)
            && (topic.id.is_some() || topic.lost_in == Some(self.epoch))
        {
            return violation("B13", format!("{name} had the id {last}, and now {id}"));
        }
        (topic.id, topic.last_id) = (Some(id), Some(id));
        match self.ids.insert(id.0, life.clone()) {
            Some(other) if other != life => {
                violation("B13", format!("{other:?} and {life:?} have the id {id}"))
            }
            _ => Ok(()),
        }
    }

    fn topic_gone(
        &mut self,
        name: &str,
        session: i64,
        trace: &mut Trace,
        held: &dyn Fn(&str) -> Option<i32>,
    ) -> Result<(), Violation> {
        if self.alive.remove(name).is_none() {
            return Ok(());
        }
        trace.mark("a topic was deleted");
        if session != self.controller {
            return violation(
                "B6",
                format!("{name} was removed by {session:#x}, which is not the controller"),
            );
        }
        if !self.wishes.contains(name) {
            return violation("B13", format!("{name} was removed, and nobody wanted it gone"));
        }
        match held(name) {
            Some(broker) => {
                violation("B13", format!("{name} was removed while broker {broker} held a replica"))
            }
            None => Ok(()),
        }
    }

    fn state_written(
        &mut self,
        tree: &Tree,
        name: &str,
        partition: &str,
        node: &Znode,
        session: i64,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        let what = format!("{name}-{partition}");
        let state = schema::decode_state(&what, node.data().unwrap_or_default(), node.version);
        let state = state.or_else(|error| violation("B4", error.to_string()))?;
        if (state.controller_epoch, session) != (self.epoch, self.controller) {
            let Ledger { epoch, controller, .. } = self;
            return violation(
                "B6",
                format!("{what}: {state:?} by {session:#x} in epoch {epoch}, which is {controller:#x}'s"),
            );
        }
        let (Some(&czxid), Ok(partition)) = (self.alive.get(name), partition.parse::<i32>()) else {
            return violation("B13", format!("{what} has a state, and there is no such topic"));
        };
        let topic = self.topics.entry((name.to_owned(), czxid)).or_default();
        // No state is written before the id is known.
        topic.known_in = self.epoch;
        let replicas = match tree.lookup(&paths::topic(name)) {
            Some(id) => read(name, tree.node(id))?.replicas.remove(&partition).unwrap_or_default(),
            None => Vec::new(),
        };
        let before = topic.states.insert(partition, state.clone());
        let in_sync: BTreeSet<i32> = state.isr.iter().copied().collect();
        let leads = state.leader == NO_LEADER || in_sync.contains(&state.leader);
        if !leads || in_sync.is_empty() || !in_sync.iter().all(|replica| replicas.contains(replica)) {
            return violation("B5", format!("{what}: {state:?} of the replicas {replicas:?}"));
        }
        let Some(before) = before else { return Ok(()) };
        if state.version != before.version + 1 {
            return violation("B4", format!("{what}: {state:?} overwrites {before:?}"));
        }
        let step = state.leader_epoch - before.leader_epoch;
        if state.leader != before.leader && step != 1 || !(0..=1).contains(&step) {
            return violation("B4", format!("{what}: {state:?} follows {before:?}"));
        }
        if state.leader != before.leader {
            trace.mark("another replica leads");
            if state.leader != NO_LEADER && !before.isr.contains(&state.leader) {
                return violation("B5", format!("{what}: {state:?} follows {before:?}, unclean"));
            }
        } else if step == 0 {
            trace.mark("the set in sync changed");
        }
        Ok(())
    }

    /// When nothing changes any more, everything is as it was wanted. What is not is told.
    pub(super) fn unsettled(
        &self,
        tree: &Tree,
        told: &dyn Fn(i32, &str, i32) -> Option<Replica>,
    ) -> Result<(), String> {
        let children = |path: &str| -> Vec<&Znode> {
            tree.lookup(path).map(|id| tree.children(id).collect()).unwrap_or_default()
        };
        if tree.lookup(paths::CONTROLLER).is_none() {
            return Err("there is no controller".to_owned());
        }
        if let Some(wish) = children(paths::DELETE_TOPICS).first() {
            return Err(format!("{} is still to be deleted", wish.name_str()));
        }
        for node in children(paths::TOPICS) {
            let name = node.name_str();
            let assignment = read(name, node).map_err(|error| error.what)?;
            let Some(id) = assignment.topic_id else { return Err(format!("{name} has no id")) };
            for (partition, replicas) in assignment.replicas {
                let path = paths::partition_state(name, partition);
                let Some(node) = tree.lookup(&path).map(|id| tree.node(id)) else {
                    return Err(format!("{name}-{partition} has no state"));
                };
                let state = schema::decode_state(&path, node.data().unwrap_or_default(), node.version);
                let state = state.map_err(|error| error.to_string())?;
                if state.leader == NO_LEADER {
                    return Err(format!("nobody leads {name}-{partition}"));
                }
                for broker in replicas {
                    let knows = told(broker, name, partition);
                    let should_know = Replica { id, state: state.clone() };
                    if knows.as_ref() != Some(&should_know) {
                        return Err(format!(
                            "broker {broker}, {name}-{partition}: {state:?}, knows {knows:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn text(node: &Znode) -> &str {
    std::str::from_utf8(node.data().unwrap_or_default()).unwrap_or_default().trim()
}

fn read(name: &str, node: &Znode) -> Result<Assignment, Violation> {
    let assignment = schema::decode_assignment(name, node.data().unwrap_or_default());
    assignment.or_else(|error| violation("B13", error.to_string()))
}
