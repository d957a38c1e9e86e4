//! A set that only grows and a queue that is emptied while it fills, both of sequential znodes.
//!
//! Nothing acknowledged may be missing, nothing may be taken twice, and names rise in the agreed order.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Answer, Roamer, code, names, path};
use super::field::{Field, bytes_of};
use crate::raw::{Body, op};

pub(super) const CLIENTS: usize = 4;

/// What one client knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Items with the zxid that made them.
    pub(super) added: Vec<(String, i64)>,
    /// Items whose deletion was acknowledged to this client.
    pub(super) taken: Vec<String>,
    /// Items whose deletion this client does not know the outcome of.
    pub(super) perhaps_taken: Vec<String>,
    /// Listings: the zxid in the header and the names.
    pub(super) listed: Vec<(i64, BTreeSet<String>)>,
}

const SET: &str = "/set";
const QUEUE: &str = "/queue";
/// Listings of the growing set are kept whole; so many are enough.
const LISTINGS_MAX: usize = 200;

pub(super) fn prepare(field: &Field, client: &mut Roamer) -> bool {
    [SET, QUEUE].iter().all(|path| field.ensure_node(client, path, b""))
}

/// Adds to the set, and lists it now and then.
pub(super) fn work_set(field: &Field, number: usize) -> (Known, Roamer) {
    let mut client = field.client("set", number);
    let mut known = Known::default();
    while !field.is_over() {
        add(field, &mut client, SET, &mut known);
        if client.one_in(50) && known.listed.len() < LISTINGS_MAX {
            known.listed.extend(list(field, &mut client, SET));
        }
        client.pause(8, 40);
    }
    (known, client)
}

/// Even numbers fill the queue, odd ones empty it.
pub(super) fn work_queue(field: &Field, number: usize) -> (Known, Roamer) {
    let mut client = field.client("queue", number);
    let mut known = Known::default();
    while !field.is_over() {
        if number.is_multiple_of(2) {
            add(field, &mut client, QUEUE, &mut known);
            client.pause(8, 30);
            continue;
        }
        let Some((_, names)) = list(field, &mut client, QUEUE) else { continue };
        // Not always the first one: two who empty the queue must meet, but not at every step.
        let at = client.below(4) as usize;
        if let Some(name) = names.into_iter().nth(at) {
            let answer = client.call(op::DELETE, &Body::new().bytes(format!("{QUEUE}/{name}")).int(-1));
            field.count(&answer);
            match answer {
                Answer::Done { .. } => known.taken.push(name),
                Answer::Unknown => known.perhaps_taken.push(name),
                Answer::Refused { .. } | Answer::NotSent => {}
            }
        }
        client.pause(4, 20);
    }
    (known, client)
}

fn add(field: &Field, client: &mut Roamer, parent: &str, known: &mut Known) {
    let record = Body::new().create(&format!("{parent}/item-"), &bytes_of(field.now_us()), 2);
    let answer = client.call(op::CREATE, &record);
    field.count(&answer);
    if let Answer::Done { zxid, body } = answer
        && let Some(path) = path(&body)
        && let Some((_, name)) = path.rsplit_once('/')
    {
        known.added.push((name.to_owned(), zxid));
    }
}

fn list(field: &Field, client: &mut Roamer, parent: &str) -> Option<(i64, BTreeSet<String>)> {
    let answer = client.call(op::GET_CHILDREN, &Body::new().bytes(parent).bool(false));
    field.count(&answer);
    let Answer::Done { zxid, body } = answer else { return None };
    Some((zxid, names(&body)?.into_iter().collect()))
}

/// Lists what is left of the set and of the queue.
pub(super) fn last(field: &Field, client: &mut Roamer) -> Option<[BTreeSet<String>; 2]> {
    let mut left = [SET, QUEUE].map(|parent| {
        match field.insist(client, op::GET_CHILDREN, &Body::new().bytes(parent).bool(false)) {
            Some(Answer::Done { body, .. }) => names(&body).map(|names| names.into_iter().collect()),
            Some(Answer::Refused { code: code::NO_NODE, .. }) | Some(_) | None => None,
        }
    });
    Some([left[0].take()?, left[1].take()?])
}

pub(super) fn check(what: &str, known: &[Known], left: Option<&BTreeSet<String>>) -> Vec<String> {
    let Some(left) = left else { return vec![format!("C15 the {what} cannot be listed at the end")] };
    let mut wrong = Vec::new();
    let mut added: BTreeMap<&String, i64> = BTreeMap::new();
    for (name, zxid) in known.iter().flat_map(|known| &known.added) {
        if added.insert(name, *zxid).is_some() {
            wrong.push(format!("C12 {what}: {name} was given out twice"));
        }
    }
    let mut by_name = added.iter().map(|(name, zxid)| (*zxid, *name));
    if let Some(mut before) = by_name.next() {
        for next in by_name {
            if next.0 <= before.0 {
                wrong.push(format!(
                    "C12 {what}: {} at {:#x} after {} at {:#x}",
                    next.1, next.0, before.1, before.0
                ));
            }
            before = next;
        }
    }
    let mut taken = BTreeSet::new();
    for name in known.iter().flat_map(|known| &known.taken) {
        if !taken.insert(name) {
            wrong.push(format!("C7 {what}: {name} was taken twice"));
        }
        if left.contains(name) {
            wrong.push(format!("C3 {what}: {name} was taken and is there again"));
        }
    }
    let doubtful: BTreeSet<&String> = known.iter().flat_map(|known| &known.perhaps_taken).collect();
    for name in added.keys() {
        if !left.contains(*name) && !taken.contains(*name) && !doubtful.contains(*name) {
            wrong.push(format!("C3 {what}: {name} was acknowledged and is missing"));
        }
    }
    for (zxid, names) in known.iter().flat_map(|known| &known.listed) {
        let missing = added.iter().find(|(name, made)| **made <= *zxid && !names.contains(**name));
        if let Some((name, made)) = missing {
            wrong.push(format!("C8 {what}: the list at {zxid:#x} lacks {name}, made at {made:#x}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(added: &[(&str, i64)], taken: &[&str]) -> Known {
        Known {
            added: added.iter().map(|(name, zxid)| ((*name).to_owned(), *zxid)).collect(),
            taken: taken.iter().map(|name| (*name).to_owned()).collect(),
            ..Known::default()
        }
    }

    fn left(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_loss_is_found() {
        let good = || known(&[("item-1", 5), ("item-2", 9)], &["item-1"]);
        assert_eq!(check("queue", &[good()], Some(&left(&["item-2"]))), [""; 0]);
        let mut doubtful = good();
        doubtful.perhaps_taken.push("item-2".to_owned());
        assert_eq!(check("queue", &[doubtful], Some(&left(&[]))), [""; 0]);
        let mut listed = good();
        listed.listed.push((9, left(&["item-1"])));
        for (known, left) in [
            (vec![good()], left(&[])),
            (vec![good()], left(&["item-1", "item-2"])),
            (vec![good(), known(&[], &["item-1"])], left(&["item-2"])),
            (vec![known(&[("item-1", 9), ("item-2", 5)], &[])], left(&["item-1", "item-2"])),
            (vec![good(), known(&[("item-1", 11)], &[])], left(&["item-2"])),
            (vec![listed], left(&["item-2"])),
        ] {
            assert!(!check("queue", &known, Some(&left)).is_empty(), "{known:?} {left:?}");
        }
    }
}
