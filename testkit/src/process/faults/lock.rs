//! A lock of ephemeral sequential nodes whose holders hand a fencing token to what they protect.
//!
//! The token is the zxid that made the holder's node. Holders that sleep past their session must be refused by the
//! resource; that two believe to hold the lock at once is possible, and counted, but no harm.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Answer, Roamer, code, data_and_stat, names, path};
use super::field::Field;
use crate::raw::{Body, op};

pub(super) const CLIENTS: usize = 3;
const PARENT: &str = "/lock";
/// Short, so that sleepers lose it.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
const SLEEP: Duration = Duration::from_secs(9);

/// What the lock protects.
#[derive(Debug, Default)]
pub(super) struct Resource {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    highest: i64,
    holders: usize,
    counts: Counts,
}

/// How often things happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) granted: u64,
    pub(super) refused: u64,
    pub(super) overlaps: u64,
}

impl Resource {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Accepts a write unless a later holder was here.
    fn write(&self, token: i64) -> bool {
        self.with(|state| {
            let accepted = token >= state.highest;
            state.highest = state.highest.max(token);
            state.counts.refused += u64::from(!accepted);
            accepted
        })
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|state| state.counts)
    }
}

/// The lock was had: with which token, and the zxid of the list that said so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    pub(super) token: i64,
    pub(super) view: i64,
}

pub(super) fn prepare(field: &Field, client: &mut Roamer) -> bool {
    field.ensure_node(client, PARENT, b"")
}

pub(super) fn work(field: &Field, number: usize, resource: &Resource) -> (Vec<Grant>, Roamer) {
    let mut client = field.client_with("lock", number, SESSION_TIMEOUT);
    let mut grants = Vec::new();
    let mut round = 0;
    while !field.is_over() {
        round += 1;
        let prefix = format!("{number}-{round}-");
        let record = Body::new().create(&format!("{PARENT}/{prefix}"), b"", 3);
        let answer = client.call(op::CREATE, &record);
        field.count(&answer);
        let made = match &answer {
            Answer::Done { body, .. } => path(body).is_some(),
            // It may be there after all; the list will tell.
            Answer::Unknown => true,
            Answer::Refused { .. } | Answer::NotSent => false,
        };
        if made && let Some(grant) = acquire(field, &mut client, &prefix) {
            grants.push(grant);
            hold(&mut client, resource, grant.token);
        }
        release(field, &mut client, &prefix);
        client.pause(5, 30);
    }
    (grants, client)
}

/// Waits until the own node is the first one. `None` when it is gone.
fn acquire(field: &Field, client: &mut Roamer, prefix: &str) -> Option<Grant> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !field.is_over() && Instant::now() < deadline {
        let answer = client.call(op::GET_CHILDREN, &Body::new().bytes(PARENT).bool(false));
        field.count(&answer);
        let Answer::Done { zxid: view, body } = answer else { continue };
        let mut names = names(&body)?;
        names.sort_by_key(|name| sequence(name));
        let own = names.iter().position(|name| name.starts_with(prefix))?;
        if own == 0 {
            let record = Body::new().bytes(format!("{PARENT}/{}", names[own])).bool(false);
            let answer = client.call(op::GET_DATA, &record);
            let Answer::Done { body, .. } = answer else { continue };
            return Some(Grant { token: data_and_stat(&body)?.1.czxid, view });
        }
        client.pause(20, 60);
    }
    None
}

/// The counter at the end of a sequential node's name.
fn sequence(name: &str) -> Option<u64> {
    name.get(name.len().checked_sub(10)?..)?.parse().ok()
}

fn hold(client: &mut Roamer, resource: &Resource, token: i64) {
    resource.with(|state| {
        state.counts.granted += 1;
        state.counts.overlaps += u64::from(state.holders > 0);
        state.holders += 1;
    });
    if client.one_in(40) {
        std::thread::sleep(SLEEP);
    }
    for _ in 0..3 {
        if !resource.write(token) {
            break;
        }
        client.pause(1, 5);
    }
    resource.with(|state| state.holders -= 1);
}

/// Deletes the own node, however often that takes.
fn release(field: &Field, client: &mut Roamer, prefix: &str) {
    for _ in 0..20 {
        let answer = client.call(op::GET_CHILDREN, &Body::new().bytes(PARENT).bool(false));
        field.count(&answer);
        let Answer::Done { body, .. } = answer else { continue };
        let Some(name) =
            names(&body).and_then(|names| names.into_iter().find(|name| name.starts_with(prefix)))
        else {
            return;
        };
        let answer = client.call(op::DELETE, &Body::new().bytes(format!("{PARENT}/{name}")).int(-1));
        field.count(&answer);
        if matches!(answer, Answer::Done { .. } | Answer::Refused { code: code::NO_NODE, .. }) {
            return;
        }
    }
}

/// The holder with the smaller token must have been seen first: a later view that shows a larger token in front
/// shows that the smaller one is gone.
pub(super) fn check(grants: &[Grant]) -> Vec<String> {
    let mut sorted = grants.to_vec();
    sorted.sort_by_key(|grant| grant.token);
    let mut wrong = Vec::new();
    for pair in sorted.windows(2) {
        if pair[0].token == pair[1].token {
            wrong.push(format!("C10 the token {:#x} was given out twice", pair[0].token));
        } else if pair[0].view >= pair[1].view {
            wrong.push(format!(
                "C8 the list at {:#x} has {:#x} in front, and the one at {:#x} still {:#x}",
                pair[1].view, pair[1].token, pair[0].view, pair[0].token
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_views_rise_together() {
        let grant = |token, view| Grant { token, view };
        assert_eq!(check(&[grant(3, 4), grant(9, 12), grant(5, 7)]), [""; 0]);
        assert_eq!(check(&[grant(3, 9), grant(5, 7)]).len(), 1);
        assert_eq!(check(&[grant(3, 4), grant(3, 5)]).len(), 1);
        assert_eq!(sequence("2-17-0000000041"), Some(41));
    }

    #[test]
    fn a_late_holder_is_refused() {
        let resource = Resource::default();
        assert!(resource.write(5) && resource.write(9) && !resource.write(5));
        assert_eq!(resource.counts().refused, 1);
    }
}
