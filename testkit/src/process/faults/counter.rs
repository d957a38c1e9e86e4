//! A counter in one znode, raised by compare-and-set: the data must always equal the version.

use std::collections::BTreeSet;

use super::client::{Answer, Roamer, code, data_and_stat};
use super::field::{Field, bytes_of, number_of};
use crate::raw::{Body, op};

pub(super) const CLIENTS: usize = 2;
const PATH: &str = "/counter";

/// What one client, or the last look, knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Values that were acknowledged as written.
    pub(super) raised_to: Vec<u64>,
    /// Raises that nobody knows the outcome of.
    pub(super) unknown: u64,
    /// Data and versions that were read.
    pub(super) seen: Vec<(u64, i32)>,
}

pub(super) fn prepare(field: &Field, client: &mut Roamer) -> bool {
    field.ensure_node(client, PATH, &bytes_of(0))
}

pub(super) fn work(field: &Field, number: usize) -> (Known, Roamer) {
    let mut client = field.client("counter", number);
    let mut known = Known::default();
    while !field.is_over() {
        let answer = client.call(op::GET_DATA, &Body::new().bytes(PATH).bool(false));
        field.count(&answer);
        if let Answer::Done { body, .. } = answer
            && let Some((data, stat)) = data_and_stat(&body)
            && let Some(value) = number_of(&data)
        {
            known.seen.push((value, stat.version));
            let record = Body::new().bytes(PATH).bytes(bytes_of(value + 1)).int(stat.version);
            let answer = client.call(op::SET_DATA, &record);
            field.count(&answer);
            match answer {
                Answer::Done { .. } => known.raised_to.push(value + 1),
                Answer::Unknown => known.unknown += 1,
                Answer::Refused { code: code::BAD_VERSION, .. }
                | Answer::Refused { .. }
                | Answer::NotSent => {}
            }
        }
        client.pause(4, 20);
    }
    (known, client)
}

/// Reads the counter once more.
pub(super) fn last(field: &Field, client: &mut Roamer) -> Option<(u64, i32)> {
    let answer = field.insist(client, op::GET_DATA, &Body::new().bytes(PATH).bool(false))?;
    let Answer::Done { body, .. } = answer else { return None };
    let (data, stat) = data_and_stat(&body)?;
    Some((number_of(&data)?, stat.version))
}

pub(super) fn check(known: &[Known], last: Option<(u64, i32)>) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some((value, _)) = last else {
        return vec!["C15 the counter cannot be read at the end".to_owned()];
    };
    for (seen, version) in known.iter().flat_map(|known| &known.seen).chain(last.as_ref()) {
        if *seen != *version as u64 {
            wrong.push(format!("C7 the counter is {seen} in version {version}"));
        }
    }
    let mut raised = BTreeSet::new();
    for to in known.iter().flat_map(|known| &known.raised_to) {
        if !raised.insert(*to) {
            wrong.push(format!("C7 two clients raised the counter to {to}"));
        }
        if *to > value {
            wrong.push(format!("C3 the counter was raised to {to}, and ends at {value}"));
        }
    }
    let unknown: u64 = known.iter().map(|known| known.unknown).sum();
    if value > raised.len() as u64 + unknown {
        wrong.push(format!(
            "C7 the counter is {value} after {} raises and {unknown} doubtful ones",
            raised.len()
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_bounds() {
        let known = |raised_to: &[u64], unknown| {
            vec![Known { raised_to: raised_to.to_vec(), unknown, seen: vec![(1, 1)] }]
        };
        assert_eq!(check(&known(&[1, 2], 1), Some((3, 3))), [""; 0]);
        for (known, last) in [
            (known(&[1, 2], 0), Some((3, 3))),
            (known(&[1, 2], 0), Some((1, 1))),
            (known(&[1, 1], 0), Some((1, 1))),
            (known(&[1, 2], 0), Some((2, 3))),
            (known(&[1], 0), None),
        ] {
            assert!(!check(&known, last).is_empty(), "{known:?} {last:?}");
        }
    }
}
