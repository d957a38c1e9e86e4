//! Connections between members: one per pair, in order while they last, and never more reliable than they must be.
//!
//! A connection that breaks delivers a part of what was under way and loses the rest. Each end learns of it for itself;
//! the other one may believe in it for a while longer, and what it sends is lost. Where a direction is blocked, things
//! wait, as TCP's retransmissions do.

use std::collections::VecDeque;

use coordinator::zab::Message;

use super::agenda::{Agenda, At, Happening};
use crate::sim::random::Random;

/// What arrives at an end.
#[derive(Debug)]
pub(super) enum Item {
    /// A connection, and its number.
    Up(u64),
    Message(Message),
    Down,
}

/// What is on its way in one direction.
#[derive(Debug, Default)]
struct Stream {
    items: VecDeque<(u64, Item)>,
    /// Of the arrival that is planned.
    token: u64,
    armed: bool,
    blocks: u32,
    /// Messages until the connection breaks by itself.
    cut_in: Option<u64>,
    /// The connection whose messages are lost from now on, without either end being told.
    loses: Option<u64>,
    /// The connection that the receiving end believes in.
    believes: Option<u64>,
    last_us: u64,
}

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Break {
    /// How soon each end learns of it: the first and the second member given. Never, if that one is gone.
    pub(super) notice_us: (u64, u64),
}

/// The whole network.
#[derive(Debug)]
pub(super) struct Network {
    members: usize,
    /// By receiver, then sender.
    streams: Vec<Stream>,
    /// By pair, the lower one first.
    connected: Vec<Option<u64>>,
    connections: u64,
    dialing: Vec<bool>,
    random: Random,
    delay_us: (u64, u64),
    /// Now and then something takes this long.
    hiccup_us: u64,
}

/// More than this on the way, and the sender gives the connection up.
const BACKLOG_MAX: usize = 20_000;

impl Network {
    pub(super) fn new(members: usize, random: Random, delay_us: (u64, u64), hiccup_us: u64) -> Network {
        Network {
            members,
            streams: (0..members * members).map(|_| Stream::default()).collect(),
            connected: vec![None; members * members],
            connections: 0,
            dialing: vec![false; members * members],
            random,
            delay_us,
            hiccup_us,
        }
    }

    fn stream(&mut self, from: At, to: At) -> &mut Stream {
        &mut self.streams[to * self.members + from]
    }

    fn pair(&self, one: At, other: At) -> usize {
        one.min(other) * self.members + one.max(other)
    }

    pub(super) fn is_connected(&self, one: At, other: At) -> bool {
        self.connected[self.pair(one, other)].is_some()
    }

    fn believes(&self, at: At, peer: At) -> Option<u64> {
        self.streams[at * self.members + peer].believes
    }

    fn delay(&mut self) -> u64 {
        let (least, most) = self.delay_us;
        let usual = self.random.between(least, most);
        if self.hiccup_us > 0 && self.random.one_in(500) {
            usual + self.random.below(self.hiccup_us)
        } else {
            usual
        }
    }

    fn push(&mut self, agenda: &mut Agenda, from: At, to: At, time_us: u64, item: Item) {
        let stream = self.stream(from, to);
        let time_us = time_us.max(stream.last_us);
        stream.last_us = time_us;
        stream.items.push_back((time_us, item));
        self.arm(agenda, from, to);
    }

    fn arm(&mut self, agenda: &mut Agenda, from: At, to: At) {
        let stream = self.stream(from, to);
        if stream.armed || stream.blocks > 0 {
            return;
        }
        if let Some((time_us, _)) = stream.items.front() {
            stream.armed = true;
            stream.token += 1;
            agenda.at(*time_us, Happening::Arrive { from, to, token: stream.token });
        }
    }

    /// The next thing that has arrived, if that is what was planned.
    pub(super) fn arrive(&mut self, agenda: &mut Agenda, from: At, to: At, token: u64) -> Option<Item> {
        let stream = self.stream(from, to);
        if !stream.armed || stream.token != token {
            return None;
        }
        stream.armed = false;
        let mut item = stream.items.pop_front().map(|(_, item)| item);
        match item {
            Some(Item::Up(number)) => stream.believes = Some(number),
            // What never came up for this process cannot go down for it.
            Some(Item::Down) if stream.believes.take().is_none() => item = None,
            _ => {}
        }
        self.arm(agenda, from, to);
        item
    }

    /// Sends a message, if the sender believes that it can. True if the connection must break now.
    pub(super) fn send(&mut self, agenda: &mut Agenda, from: At, to: At, message: Message) -> bool {
        let believes = self.believes(from, to);
        if believes.is_none() || believes != self.connected[self.pair(from, to)] {
            return false;
        }
        if self.stream(from, to).loses == believes {
            return false;
        }
        let time_us = agenda.now_us() + self.delay();
        self.push(agenda, from, to, time_us, Item::Message(message));
        let stream = self.stream(from, to);
        let over = stream.items.len() > BACKLOG_MAX;
        match &mut stream.cut_in {
            Some(0) => {
                stream.cut_in = None;
                true
            }
            Some(more) => {
                *more -= 1;
                over
            }
            None => over,
        }
    }

    /// The connection is going to break when so many more messages were sent.
    pub(super) fn cut_in(&mut self, from: At, to: At, messages: u64) {
        self.stream(from, to).cut_in = Some(messages);
    }

    /// As long as the connection lasts, everything that is sent on it in this direction is lost.
    pub(super) fn lose(&mut self, from: At, to: At) {
        let connection = self.connected[self.pair(from, to)];
        self.stream(from, to).loses = connection;
    }

    /// Everything in this direction takes so much longer.
    pub(super) fn stall(&mut self, from: At, to: At, until_us: u64) {
        let stream = self.stream(from, to);
        stream.last_us = stream.last_us.max(until_us);
    }

    /// Blocks a direction, or takes one block away.
    pub(super) fn block(&mut self, agenda: &mut Agenda, from: At, to: At, block: bool) {
        let stream = self.stream(from, to);
        if block {
            stream.blocks += 1;
            stream.armed = false;
            stream.token += 1;
        } else {
            stream.blocks -= 1;
            self.arm(agenda, from, to);
        }
    }

    fn is_blocked(&self, from: At, to: At) -> bool {
        self.streams[to * self.members + from].blocks > 0
    }

    /// A connection breaks.
    pub(super) fn cut(&mut self, agenda: &mut Agenda, one: At, other: At, how: Break) {
        let pair = self.pair(one, other);
        if self.connected[pair].take().is_none() {
            return;
        }
        for (from, to, notice_us) in [(other, one, how.notice_us.0), (one, other, how.notice_us.1)] {
            let count = self.stream(from, to).items.len() as u64;
            let arrives = if self.random.coin() { count } else { self.random.between(0, count) };
            let stream = self.stream(from, to);
            // That there was a connection is not forgotten when it breaks at once.
            let up = stream.items.iter().rposition(|(_, item)| matches!(item, Item::Up(_)));
            let keep = (arrives as usize).max(up.map_or(0, |at| at + 1));
            stream.items.truncate(keep);
            stream.cut_in = None;
            stream.last_us = stream.items.back().map_or(0, |(time_us, _)| *time_us);
            if stream.items.is_empty() {
                stream.armed = false;
            }
            self.push(agenda, from, to, agenda.now_us() + notice_us, Item::Down);
        }
        self.dial(agenda, one, other);
    }

    /// An end wants no more of a connection, whether that is still there or not.
    pub(super) fn reset(&mut self, agenda: &mut Agenda, at: At, peer: At, peer_notices_us: u64) {
        if self.is_connected(at, peer) {
            return self.cut(agenda, at, peer, Break { notice_us: (0, peer_notices_us) });
        }
        let now_us = agenda.now_us();
        let stream = self.stream(peer, at);
        stream.items.iter_mut().for_each(|(time_us, _)| *time_us = now_us);
        stream.armed = false;
        stream.token += 1;
        self.arm(agenda, peer, at);
    }

    /// A process is gone, and with it everything it would have received.
    pub(super) fn forget(&mut self, at: At) {
        for from in 0..self.members {
            let stream = self.stream(from, at);
            stream.items.clear();
            stream.armed = false;
            stream.believes = None;
            stream.last_us = 0;
        }
    }

    /// Sooner or later the pair is going to try to connect.
    pub(super) fn dial(&mut self, agenda: &mut Agenda, one: At, other: At) {
        let pair = self.pair(one, other);
        if self.connected[pair].is_none() && !std::mem::replace(&mut self.dialing[pair], true) {
            let after_us = self.random.between(1_000, 60_000);
            agenda.after(after_us, Happening::Dial { low: one.min(other), high: one.max(other) });
        }
    }

    /// An attempt to connect. `dialer` is the one whose duty it is; it fails if not both `can`.
    pub(super) fn connect(&mut self, agenda: &mut Agenda, dialer: At, other: At, can: bool) -> bool {
        let pair = self.pair(dialer, other);
        self.dialing[pair] = false;
        if self.connected[pair].is_some() {
            return false;
        }
        let blocked = self.is_blocked(dialer, other) || self.is_blocked(other, dialer);
        if !can || blocked || self.believes(dialer, other).is_some() {
            self.dial(agenda, dialer, other);
            return false;
        }
        self.connections += 1;
        let number = self.connections;
        self.connected[pair] = Some(number);
        let accepted_us = agenda.now_us() + self.delay();
        let confirmed_us = accepted_us + self.delay();
        for (from, to, time_us) in [(dialer, other, accepted_us), (other, dialer, confirmed_us)] {
            // The old connection ends before the new one begins, whoever had not noticed.
            let stream = self.stream(from, to);
            let pending = stream.items.back().is_some_and(|(_, item)| matches!(item, Item::Down));
            for (at_us, _) in &mut stream.items {
                *at_us = (*at_us).min(time_us);
            }
            stream.armed = false;
            stream.token += 1;
            stream.last_us = 0;
            if stream.believes.is_some() && !pending {
                self.push(agenda, from, to, time_us, Item::Down);
            }
            self.push(agenda, from, to, time_us, Item::Up(number));
        }
        true
    }
}
