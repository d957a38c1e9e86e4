//! Registers: reads, writes and compare-and-set by several clients, checked with zxids as witnesses.
//!
//! Every answer carries its place in the agreed order, so nothing has to be searched: writes sorted by zxid must
//! respect real time, and a read must show the last write at or before the zxid in its header.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::client::{Answer, Roamer, code, data_and_stat, stat};
use super::field::{Field, bytes_of, number_of};
use crate::raw::{Body, Fields, op};

pub(super) const CLIENTS: usize = 4;
const KEYS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Write {
        value: u64,
        expected: Option<i32>,
    },
    /// A read; `synced` means that a `sync` came first, and the time counts from it.
    Read {
        synced: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Written {
        zxid: i64,
        version: i32,
    },
    Seen {
        zxid: i64,
        value: u64,
        version: i32,
        mzxid: i64,
    },
    /// The version was another one.
    Mismatch {
        zxid: i64,
    },
    Unknown,
}

/// One operation of one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) key: usize,
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    pub(super) asked: Asked,
    pub(super) told: Told,
}

fn path(key: usize) -> String {
    format!("/register-{key}")
}

/// Makes the registers, with the value 0 in version 0.
pub(super) fn prepare(field: &Field, client: &mut Roamer) -> bool {
    (0..KEYS).all(|key| field.ensure_node(client, &path(key), &bytes_of(0)))
}

/// One client until the run is over.
pub(super) fn work(field: &Field, number: usize) -> (Vec<Step>, Roamer) {
    let mut client = field.client("register", number);
    let (mut steps, mut counter) = (Vec::new(), 0);
    let mut versions = [0; KEYS];
    while !field.is_over() {
        let key = client.below(KEYS as u64) as usize;
        let path = path(key);
        let start_us = field.now_us();
        let choice = client.below(10);
        let asked = match choice {
            0..4 => {
                counter += 1;
                let value = (number as u64 + 1) << 32 | counter;
                Asked::Write { value, expected: (choice < 2).then_some(versions[key]) }
            }
            4 => Asked::Read { synced: true },
            _ => Asked::Read { synced: false },
        };
        let answer = match asked {
            Asked::Write { value, expected } => {
                let record = Body::new().bytes(&path).bytes(bytes_of(value)).int(expected.unwrap_or(-1));
                client.call(op::SET_DATA, &record)
            }
            Asked::Read { synced } => {
                let connections = client.connections;
                let sync = synced.then(|| client.call(op::SYNC, &Body::new().bytes(&path)));
                let answer = client.call(op::GET_DATA, &Body::new().bytes(&path).bool(false));
                // What a sync says holds for the member it was asked of.
                let is_kept = client.connections == connections.max(1);
                if sync.is_some_and(|sync| !matches!(sync, Answer::Done { .. }) || !is_kept) {
                    continue;
                }
                answer
            }
        };
        field.count(&answer);
        let told = match (asked, answer) {
            (_, Answer::NotSent) => continue,
            (Asked::Write { .. }, Answer::Done { zxid, body }) => match stat(&mut Fields(&body)) {
                Some(stat) => Told::Written { zxid, version: stat.version },
                None => Told::Unknown,
            },
            (Asked::Write { .. }, Answer::Refused { zxid, code: code::BAD_VERSION }) => {
                Told::Mismatch { zxid }
            }
            (Asked::Read { .. }, Answer::Done { zxid, body }) => match data_and_stat(&body) {
                Some((data, stat)) => {
                    versions[key] = stat.version;
                    let value = number_of(&data).unwrap_or(u64::MAX);
                    Told::Seen { zxid, value, version: stat.version, mzxid: stat.mzxid }
                }
                None => Told::Unknown,
            },
            (Asked::Write { .. }, Answer::Unknown) => Told::Unknown,
            // Refused for the session's sake: nothing happened.
            _ => continue,
        };
        if let Told::Written { version, .. } = told {
            versions[key] = version;
        }
        steps.push(Step { key, start_us, end_us: field.now_us(), asked, told });
        client.pause(2, 14);
    }
    (steps, client)
}

/// What is wrong with the steps of all clients.
pub(super) fn check(steps: &[Step]) -> Vec<String> {
    let mut wrong = Vec::new();
    real_time(steps, &mut wrong);
    for key in 0..KEYS {
        let of_key: Vec<&Step> = steps.iter().filter(|step| step.key == key).collect();
        one_register(key, &of_key, &mut wrong);
    }
    wrong
}

/// Whoever is answered before another begins comes first in the order.
fn real_time(steps: &[Step], wrong: &mut Vec<String>) {
    let mut writes: Vec<(i64, &Step)> = steps
        .iter()
        .filter_map(|step| match step.told {
            Told::Written { zxid, .. } => Some((zxid, step)),
            _ => None,
        })
        .collect();
    writes.sort_by_key(|(zxid, _)| *zxid);
    let mut latest_start = 0;
    for pair in writes.windows(2) {
        if pair[0].0 == pair[1].0 {
            wrong.push(format!("C2 two writes were told the zxid {:#x}", pair[0].0));
        }
    }
    for (zxid, step) in writes {
        if step.end_us < latest_start {
            wrong.push(format!("C7 the write {zxid:#x} ended before one with a smaller zxid began"));
        }
        latest_start = latest_start.max(step.start_us);
    }
}

fn one_register(key: usize, steps: &[&Step], wrong: &mut Vec<String>) {
    // Acknowledged writes by zxid, with value, version and when they were known.
    let mut written: BTreeMap<i64, (u64, i32, u64)> = BTreeMap::new();
    let mut possible: BTreeSet<u64> = BTreeSet::from([0]);
    for step in steps {
        match (step.asked, step.told) {
            (Asked::Write { value, .. }, Told::Written { zxid, version }) => {
                written.insert(zxid, (value, version, step.end_us));
                possible.insert(value);
            }
            (Asked::Write { value, .. }, Told::Unknown) => {
                possible.insert(value);
            }
            _ => {}
        }
    }
    let mut newest = 0;
    for (zxid, (_, version, _)) in &written {
        if *version <= newest {
            wrong.push(format!("C7 register {key}: version {version} at {zxid:#x} after version {newest}"));
        }
        newest = *version;
    }
    let by_version: BTreeMap<i32, i64> =
        written.iter().map(|(zxid, (_, version, _))| (*version, *zxid)).collect();
    let by_value: BTreeMap<u64, i64> = written.iter().map(|(zxid, (value, ..))| (*value, *zxid)).collect();
    // What was known to be written at a time: for reads behind a sync.
    let mut known: Vec<(u64, i64)> = written.iter().map(|(zxid, (.., end_us))| (*end_us, *zxid)).collect();
    known.sort_unstable();
    let mut highest = i64::MIN;
    for (_, zxid) in &mut known {
        highest = highest.max(*zxid);
        *zxid = highest;
    }
    let mut seen: BTreeMap<i64, (u64, i32)> = BTreeMap::new();
    for step in steps {
        match (step.asked, step.told) {
            (Asked::Read { synced }, Told::Seen { zxid, value, version, mzxid }) => {
                let at = format!("register {key}, read at {zxid:#x}");
                if mzxid > zxid {
                    wrong.push(format!("C8 {at}: shows {mzxid:#x}, which is later"));
                }
                let later = (Bound::Excluded(mzxid), Bound::Included(zxid));
                if mzxid < zxid
                    && let Some((missed, _)) = written.range(later).next_back()
                {
                    wrong.push(format!("C8 {at}: shows {mzxid:#x}, not {missed:#x}"));
                }
                if let Some((wanted, expected, _)) = written.get(&mzxid)
                    && (*wanted, *expected) != (value, version)
                {
                    wrong.push(format!(
                        "C8 {at}: {value:#x} in version {version} is not what {mzxid:#x} wrote"
                    ));
                }
                if let Some(wrote) = by_value.get(&value)
                    && *wrote != mzxid
                {
                    wrong.push(format!("C8 {at}: {value:#x} was written by {wrote:#x}, not by {mzxid:#x}"));
                }
                if !possible.contains(&value) {
                    wrong.push(format!("C8 {at}: nobody wrote {value:#x}, or it was refused"));
                }
                if *seen.entry(mzxid).or_insert((value, version)) != (value, version) {
                    wrong.push(format!("C6 {at}: others saw something else at {mzxid:#x}"));
                }
                let before = known.partition_point(|(end_us, _)| *end_us < step.start_us);
                if synced && before > 0 && known[before - 1].1 > mzxid {
                    let missed = known[before - 1].1;
                    wrong.push(format!("C8-sync {at}: after a sync, {missed:#x} is missing"));
                }
            }
            (Asked::Write { expected: Some(expected), .. }, Told::Written { zxid, version })
                if version != expected + 1 =>
            {
                wrong.push(format!("C7 register {key}: {zxid:#x} replaced version {}", version - 1));
            }
            (Asked::Write { expected: Some(expected), .. }, Told::Mismatch { zxid }) => {
                let (from, to) = (by_version.get(&expected), by_version.get(&(expected + 1)));
                if let (Some(from), Some(to)) = (from, to)
                    && (*from..*to).contains(&zxid)
                {
                    wrong.push(format!(
                        "C7 register {key}: {zxid:#x} was refused although version {expected} stood"
                    ));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(start_us: u64, end_us: u64, value: u64, zxid: i64, version: i32) -> Step {
        let asked = Asked::Write { value, expected: None };
        Step { key: 0, start_us, end_us, asked, told: Told::Written { zxid, version } }
    }

    fn read(start_us: u64, zxid: i64, value: u64, version: i32, mzxid: i64) -> Step {
        let (asked, told) = (Asked::Read { synced: true }, Told::Seen { zxid, value, version, mzxid });
        Step { key: 0, start_us, end_us: start_us + 1, asked, told }
    }

    #[test]
    fn a_good_history_passes() {
        let steps = [write(0, 5, 7, 1, 1), write(3, 9, 8, 2, 2), read(6, 1, 7, 1, 1), read(10, 3, 8, 2, 2)];
        assert_eq!(check(&steps), [""; 0]);
    }

    #[test]
    fn each_lie_is_found() {
        let first = write(0, 5, 7, 1, 1);
        let second = write(10, 15, 8, 2, 2);
        let found = |steps: &[Step], name: &str| {
            let wrong = check(steps);
            assert!(wrong.iter().any(|line| line.starts_with(name)), "{name} is not in {wrong:?}");
        };
        found(&[write(0, 5, 7, 2, 2), write(10, 15, 8, 1, 1)], "C7 the write");
        found(&[first, write(10, 15, 8, 1, 2)], "C2");
        found(&[first, second, read(16, 2, 7, 1, 1)], "C8 register");
        found(&[first, second, read(16, 1, 7, 1, 1)], "C8-sync");
        found(&[first, read(16, 1, 9, 1, 1)], "C8 register");
        found(&[first, read(1, 5, 7, 1, 3)], "C8 register");
        found(&[read(1, 3, 0, 0, 5)], "C8 register");
        let mut compared = write(10, 15, 8, 2, 2);
        compared.asked = Asked::Write { value: 8, expected: Some(0) };
        found(&[first, compared], "C7 register");
        compared.told = Told::Mismatch { zxid: 2 };
        compared.asked = Asked::Write { value: 9, expected: Some(1) };
        found(&[first, compared, write(20, 21, 3, 3, 2)], "C7 register");
    }
}
