//! The connections, and what they are to be sent.

use client::wire::codec::{Writer, write_frame};
use client::wire::zk::{ErrorCode, ReplyHeader};
use hashbrown::HashMap;

use super::connection::{Connection, Phase};
use crate::limits;
use crate::metrics::Metrics;
use crate::tree::watches::ConnectionId;

/// Every connection, the list of those to look after, and the counts of what went in and out.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub map: HashMap<ConnectionId, Connection, foldhash::fast::FixedState>,
    /// Connections that have something to send, or may be read again, or are to be closed.
    pub noted: Vec<ConnectionId>,
    pub unsent_bytes: usize,
    /// Parts of frames whose rest has not come.
    pub incomplete_bytes: usize,
    pub metrics: Metrics,
}

impl Clients {
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.map.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.map.get_mut(&id)
    }

    /// Puts the connection on the list of those to look after.
    pub(super) fn note(&mut self, id: ConnectionId) {
        if let Some(connection) = self.map.get_mut(&id)
            && !connection.noted
        {
            connection.noted = true;
            self.noted.push(id);
        }
    }

    /// Lets the connection have what is in its buffer, then ends it.
    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.map.get_mut(&id) {
            connection.phase = Phase::Closing;
            self.note(id);
        }
    }

    /// Closes all of them.
    pub(super) fn close_all(&mut self) {
        let everybody: Vec<ConnectionId> = self.map.keys().copied().collect();
        everybody.into_iter().for_each(|id| self.close(id));
    }

    /// Appends to what a connection is to be sent; returns how many bytes.
    pub(super) fn send(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let Some(connection) = self.map.get_mut(&id) else { return 0 };
        let before = connection.out.len();
        write(&mut connection.out);
        let size = connection.out.len() - before;
        self.unsent_bytes += size;
        connection.counters.sent += 1;
        self.metrics.packets_sent += 1;
        self.note(id);
        size
    }

    pub(super) fn reply(&mut self, id: ConnectionId, xid: i32, zxid: i64, body: impl FnOnce(&mut Vec<u8>)) {
        let size = self.send(id, |out| {
            write_frame(out, |out| {
                ReplyHeader { xid, zxid, error: 0 }.encode(out);
                body(out);
            });
        });
        self.metrics.response_size.record(size);
        self.metrics.response_bytes += size as u64;
        if size > limits::REPLY_BYTES_LARGE {
            self.metrics.rookery_large_reply_count += 1;
        }
    }

    pub(super) fn reply_error(&mut self, id: ConnectionId, xid: i32, zxid: i64, code: ErrorCode) {
        self.send(id, |out| {
            write_frame(out, |out| ReplyHeader { xid, zxid, error: code.to_wire() }.encode(out));
        });
    }

    /// The same to a SASL token, with the empty token behind it: Java clients read one there whatever the header says, and
    /// without it take a refusal for a broken connection that they try again for ever.
    pub(super) fn refuse_token(&mut self, id: ConnectionId, xid: i32, code: ErrorCode) {
        self.send(id, |out| {
            write_frame(out, |out| {
                ReplyHeader { xid, zxid: 0, error: code.to_wire() }.encode(out);
                out.buffer(None);
            });
        });
    }

    /// A watch event. A connection that reads nothing while its watches fire is told by losing the connection, never
    /// by losing an event.
    pub(super) fn event(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>)) {
        let size = self.send(id, write);
        self.metrics.watch_bytes += size as u64;
        if let Some(connection) = self.map.get_mut(&id)
            && (connection.out.len() > limits::UNSENT_BYTES_PER_CONNECTION_MAX
                || (self.unsent_bytes > limits::UNSENT_BYTES_TOTAL_MAX
                    && connection.out.len() > limits::UNSENT_BYTES_PER_CONNECTION_SLOW))
        {
            self.metrics.connection_drop_count += 1;
            self.unsent_bytes -= connection.out.len();
            connection.out = Vec::new();
            connection.phase = Phase::Closing;
        }
    }
}
