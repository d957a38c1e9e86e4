//! Who is one member of a group, and until when is it taken to be alive?

use bytes::Bytes;

use super::{Millis, Ticket};

/// A consumer, or another client, that joined a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    /// The name that it keeps over restarts, if it has one: a *static* member.
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: u32,
    pub(super) session_timeout_ms: u32,
    /// What it can work with, the preferred first, each with what the group's leader is told about it.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// The join that waits for the round to complete.
    pub(super) joining: Option<Ticket>,
    /// The sync that waits for the leader's assignment.
    pub(super) syncing: Option<Ticket>,
    /// It has not been through a complete round yet.
    pub(super) is_new: bool,
    /// Without a word from it until then, it is gone.
    pub(super) alive_until: Millis,
}

impl Member {
    /// Whether silence at `now` means that it is gone. Nobody who waits for an answer of ours is expected to speak.
    pub(super) fn is_lost(&self, now: Millis) -> bool {
        let waits = self.joining.is_some() || self.syncing.is_some();
        now >= self.alive_until && (self.is_new || !waits)
    }

    pub(super) fn heard(&mut self, now: Millis) {
        self.alive_until = now + Millis::from(self.session_timeout_ms);
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it said about itself for `protocol`.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}
