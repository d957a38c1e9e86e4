//! How long nobody's writes were answered: one steady writer at each member.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use super::client::{Answer, Roamer};
use super::field::{Field, bytes_of};
use crate::raw::{Body, op};

/// When writes were acknowledged, by any member, in microseconds since the start.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Vec<u64>>);

fn path(member: usize) -> String {
    format!("/pulse-{member}")
}

impl Pulse {
    fn beat(&self, at_us: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(at_us);
    }

    /// Acknowledged writes at or after this time.
    pub(super) fn count_since(&self, from_us: u64) -> usize {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beats.iter().rev().take_while(|beat| **beat >= from_us).count()
    }

    /// The longest time without an acknowledged write between two moments.
    pub(super) fn longest_gap(&self, from_us: u64, to_us: u64) -> Duration {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        beats.retain(|beat| (from_us..to_us).contains(beat));
        // Several writers wrote them down.
        beats.sort_unstable();
        let ends = beats.iter().skip(1).chain([&to_us]);
        let between = beats.iter().zip(ends).map(|(from, to)| to - from);
        let first = beats.first().unwrap_or(&to_us) - from_us;
        Duration::from_micros(between.chain([first]).max().unwrap_or(first))
    }
}

pub(super) fn prepare(field: &Field, client: &mut Roamer) -> bool {
    (0..field.addresses.len()).all(|member| field.ensure_node(client, &path(member), b""))
}

/// Writes through one member only, a hundred times a second, until the run is over.
pub(super) fn work(field: &Field, member: usize, pulse: &Pulse) -> Roamer {
    let mut client = Roamer::new(&field.addresses[member..=member], Duration::from_secs(10), member as u64)
        .with_patience(Duration::from_secs(2));
    let mut number = 0;
    while !field.is_over() {
        number += 1;
        let answer =
            client.call(op::SET_DATA, &Body::new().bytes(path(member)).bytes(bytes_of(number)).int(-1));
        field.count(&answer);
        if let Answer::Done { .. } = answer {
            pulse.beat(field.now_us());
        }
        client.pause(8, 12);
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_reach_to_both_ends() {
        let pulse = Pulse::default();
        [50, 10, 20].into_iter().for_each(|at| pulse.beat(at));
        assert_eq!(pulse.longest_gap(0, 60), Duration::from_micros(30));
        assert_eq!(pulse.longest_gap(0, 200), Duration::from_micros(150));
        assert_eq!(pulse.longest_gap(60, 100), Duration::from_micros(40));
        assert_eq!(pulse.count_since(15), 1, "the last ones that were written down");
    }
}
