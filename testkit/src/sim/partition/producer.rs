//! An idempotent producer: numbered batches, five under way at most, sent again in order when a connection breaks.

use std::collections::VecDeque;

use bytes::Bytes;
use client::wire::kafka::batch::{BatchBuilder, BatchOptions};

use super::NOW;
use crate::sim::random::Random;

/// A batch that was sent: its first sequence number, and how many records it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) sequence: i32,
    pub(super) count: i32,
    /// Bytes of padding in each record.
    padding: usize,
}

#[derive(Debug)]
pub(super) struct Producer {
    index: usize,
    next_sequence: i32,
    /// Not acknowledged, in order.
    open: VecDeque<Sent>,
    /// On the way over the connection that counts.
    connection: VecDeque<Sent>,
    /// On the way over connections that broke.
    late: Vec<VecDeque<Sent>>,
    finishing: bool,
}

const UNDER_WAY_MAX: usize = 5;

impl Producer {
    pub(super) fn new(index: usize) -> Producer {
        Producer {
            index,
            next_sequence: 0,
            open: VecDeque::new(),
            connection: VecDeque::new(),
            late: Vec::new(),
            finishing: false,
        }
    }

    pub(super) fn send(&mut self, random: &mut Random) -> Option<Sent> {
        if self.open.len() >= UNDER_WAY_MAX || self.finishing {
            return None;
        }
        let count = random.between(1, 3) as i32;
        let sent = Sent { sequence: self.next_sequence, count, padding: random.below(200) as usize };
        self.next_sequence += count;
        self.open.push_back(sent);
        self.connection.push_back(sent);
        Some(sent)
    }

    /// What reaches the broker next, and whether over the connection that counts.
    pub(super) fn arrives(&mut self, random: &mut Random) -> Option<(Sent, bool)> {
        self.late.retain(|connection| !connection.is_empty());
        if !self.late.is_empty() && random.one_in(3) {
            let at = random.below(self.late.len() as u64) as usize;
            return self.late[at].pop_front().map(|sent| (sent, false));
        }
        self.connection.pop_front().map(|sent| (sent, true))
    }

    /// The batch as it is sent, the same every time.
    pub(super) fn batch(&self, sent: &Sent) -> Bytes {
        let options = BatchOptions {
            producer_id: producer_id(self.index),
            producer_epoch: 0,
            base_sequence: sent.sequence,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        for index in 0..sent.count {
            builder.push(NOW, None, Some(&value(self.index, sent.sequence + index, sent.padding)));
        }
        builder.build().expect("nothing is packed")
    }

    /// The connection breaks; what is open is sent again over a new one, and what was on the way may still arrive.
    pub(super) fn reconnect(&mut self, late: bool) {
        let old = std::mem::take(&mut self.connection);
        if late {
            self.late.push(old);
        }
        self.connection.extend(self.open.iter().copied());
    }

    /// The broker has ended, and every connection with it.
    pub(super) fn loses_all_connections(&mut self) {
        self.late.clear();
        self.reconnect(false);
    }

    /// A batch was acknowledged, over the connection that counts.
    pub(super) fn hears(&mut self, sent: &Sent) {
        self.open.retain(|open| open != sent);
    }

    /// It sends nothing new any more.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        self.late.clear();
    }

    pub(super) fn is_done(&self) -> bool {
        self.finishing && self.open.is_empty()
    }
}

pub(super) fn producer_id(index: usize) -> i64 {
    1000 + index as i64
}

pub(super) fn value(producer: usize, sequence: i32, padding: usize) -> Vec<u8> {
    let mut value = format!("{producer} {sequence} ").into_bytes();
    value.resize(value.len() + padding, b'.');
    value
}
