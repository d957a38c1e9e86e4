//! One node that a writer raises, and watchers that must hear of every change they then see.
//!
//! A watch's event comes before any reply that shows the change, also when the connection broke and the watch was set
//! anew on another member; no event comes without a change; and what was written last is seen in the end.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::client::{Answer, Roamer, data_and_stat};
use super::field::{Field, bytes_of, number_of};
use crate::raw::{Body, op};

pub(super) const WATCHERS: usize = 2;
const PATH: &str = "/watched";
const DATA_CHANGED: i32 = 3;
/// How long a change may take to be seen after everything is well again.
const UNSEEN_PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn prepare(field: &Field, client: &mut Roamer) -> bool {
    field.ensure_node(client, PATH, &bytes_of(0))
}

/// Raises the number until the run is over; gives back the highest acknowledged one.
pub(super) fn write(field: &Field) -> (u64, Roamer) {
    let mut client = field.client("watched", 0);
    let (mut number, mut acknowledged) = (0, 0);
    while !field.is_over() {
        number += 1;
        let answer = client.call(op::SET_DATA, &Body::new().bytes(PATH).bytes(bytes_of(number)).int(-1));
        field.count(&answer);
        if let Answer::Done { .. } = answer {
            acknowledged = number;
        }
        client.pause(20, 120);
    }
    // Once more, surely: what the watchers must see in the end.
    let record = Body::new().bytes(PATH).bytes(bytes_of(number + 1)).int(-1);
    if let Some(Answer::Done { .. }) = field.insist(&mut client, op::SET_DATA, &record) {
        acknowledged = number + 1;
    }
    (acknowledged, client)
}

/// What a watcher holds the service to.
#[derive(Debug, Default)]
struct Watch {
    /// The change that was seen when the watch was set; `None` when there is none set.
    set_at: Option<i64>,
    events: u64,
    wrong: Vec<String>,
}

impl Watch {
    /// A reply shows the node as of this change.
    fn shown(&mut self, mzxid: i64) {
        if let Some(set_at) = self.set_at
            && mzxid > set_at
        {
            self.wrong.push(format!(
                "C11 the change {mzxid:#x} was shown before the event of a watch set at {set_at:#x}"
            ));
            self.set_at = None;
        }
    }

    fn fired(&mut self, kind: i32) {
        self.events += 1;
        if kind != DATA_CHANGED {
            self.wrong.push(format!("C11 an event of kind {kind}"));
        }
        if self.set_at.take().is_none() {
            self.wrong.push("C11 an event without a watch".to_owned());
        }
    }
}

/// Watches until `last` is known and seen. Gives back how many events came, and what was wrong.
pub(super) fn watch(field: &Field, number: usize, last: &OnceLock<u64>) -> (u64, Vec<String>, Roamer) {
    let mut client = field.client("watcher", number);
    let mut watch = Watch::default();
    // What was seen when the watch was set that has just fired.
    let mut fired_at = None;
    let mut connections = 0;
    let mut deadline = None;
    loop {
        if last.get().is_some() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + UNSEEN_PATIENCE);
            if Instant::now() > deadline {
                watch.wrong.push("C15 the last change is unseen".to_owned());
                return (watch.events, watch.wrong, client);
            }
        }
        if !client.is_connected() {
            client.pause(5, 20);
            continue;
        }
        if client.connections != connections {
            // An event carries no zxid: another member may be behind what it told of.
            fired_at = None;
            connections = client.connections;
            // Watches belong to connections; a client sets them anew before it reads anything.
            if watch.set_at.is_some() && !matches!(client.set_data_watches(&[PATH]), Answer::Done { .. }) {
                continue;
            }
        }
        let wants_watch = watch.set_at.is_none() && client.events.is_empty();
        let answer = client.call(op::GET_DATA, &Body::new().bytes(PATH).bool(wants_watch));
        field.count(&answer);
        // Events that came before the reply.
        while let Some(event) = client.events.pop_front() {
            fired_at = watch.set_at;
            watch.fired(event.kind);
        }
        if let Answer::Done { body, .. } = answer
            && let Some((data, stat)) = data_and_stat(&body)
        {
            watch.shown(stat.mzxid);
            if let Some(fired_at) = fired_at.take()
                && stat.mzxid <= fired_at
            {
                watch.wrong.push(format!("C11 an event, and nothing newer than {fired_at:#x}"));
            }
            if wants_watch {
                watch.set_at = Some(stat.mzxid);
            }
            if last.get().is_some_and(|last| number_of(&data) == Some(*last)) {
                return (watch.events, watch.wrong, client);
            }
        }
        if let Some(event) = client.await_event(Duration::from_millis(150)) {
            fired_at = watch.set_at;
            watch.fired(event.kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shown_too_early_and_an_event_too_many_are_found() {
        let mut good = Watch { set_at: Some(5), ..Watch::default() };
        good.shown(5);
        good.fired(DATA_CHANGED);
        good.shown(6);
        assert_eq!(good.wrong, [""; 0]);
        let mut early = Watch { set_at: Some(5), ..Watch::default() };
        early.shown(6);
        assert_eq!(early.wrong.len(), 1);
        let mut twice = Watch { set_at: Some(5), ..Watch::default() };
        twice.fired(DATA_CHANGED);
        twice.fired(DATA_CHANGED);
        assert_eq!(twice.wrong.len(), 1);
    }
}
