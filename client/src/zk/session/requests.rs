//! Requests of callers: on their way, answered, or lost with the connection.

use std::time::Duration;

use bytes::Bytes;

use super::{Effect, Link, Reply, Sent, Session, Submission, Then, Up, Waiting};
use crate::wire::codec::DecodeError;
use crate::wire::zk::request::WatcherType;
use crate::wire::zk::{OpCode, ReplyHeader, Request, Zxid};
use crate::zk::error::Error;
use crate::zk::registry::{WatchId, WatchKind};
use crate::zk::state::{Notice, SessionState};

/// How often a read is asked again. One that breaks every connection must not do so for ever.
const REPEATS_MAX: u8 = 8;

impl<A> Session<A> {
    // ---- What callers want ----

    pub(crate) fn submit(&mut self, now: Duration, submission: Submission<A>) {
        if let Link::Over(error) = &self.link {
            self.effects.push_back(Effect::Answer(submission.answer, Err(error.clone())));
            return;
        }
        if let Then::Watch(_, _, id) = &submission.then {
            self.settling.insert(*id);
        }
        self.waiting.push_back(Waiting { submission, deadline: now + self.timeout, repeats: 0 });
        self.send_waiting(now);
    }

    /// Presents one more identity, now and on every connection to come.
    pub(crate) fn add_identity(&mut self, now: Duration, scheme: String, token: Vec<u8>, answer: A) {
        if let Link::Over(error) = &self.link {
            self.effects.push_back(Effect::Answer(answer, Err(error.clone())));
            return;
        }
        self.settings.identities.push((scheme, token));
        self.identity_answers.push(Some(answer));
        if let Link::Up(up) = &mut self.link {
            up.last_sent = now;
            self.present(self.settings.identities.len() - 1);
        }
    }

    /// Nobody wants to hear from this watch any more.
    pub(crate) fn unwatch(&mut self, now: Duration, id: WatchId) {
        if !self.settling.remove(&id)
            && let Some(path) = self.registry.remove(id)
        {
            self.unwatch_at_server(now, &path);
        }
    }

    /// Only with a connection: without one there is no watch at any server.
    fn unwatch_at_server(&mut self, now: Duration, path: &str) {
        if !self.settling.is_empty() {
            // A watch that is being set may be on the same path. The server's copy stays, and tells nobody.
            return;
        }
        if let Link::Up(Up { proving: None, .. }) = self.link {
            let request = Request::RemoveWatches { path: path.into(), kind: WatcherType::Any };
            self.send_own(now, &request);
        }
    }

    // ---- Sending ----

    pub(super) fn send_waiting(&mut self, now: Duration) {
        let Link::Up(up @ Up { proving: None, .. }) = &mut self.link else { return };
        while let Some(Waiting { submission, repeats, .. }) = self.waiting.pop_front() {
            let Submission { op, mut frame, then, answer } = submission;
            let xid = next_xid(&mut self.next_xid);
            frame[4..8].copy_from_slice(&xid.to_be_bytes());
            self.output.extend_from_slice(&frame);
            let frame = changes_nothing(op).then_some(frame);
            self.sent.push_back(Sent { xid, op, sent_at: now, frame, then, answer: Some(answer), repeats });
            up.last_sent = now;
        }
    }

    /// Sends a request whose answer is nobody's but ours.
    pub(super) fn send_own(&mut self, now: Duration, request: &Request<'_>) {
        let Link::Up(up) = &mut self.link else { return };
        let xid = next_xid(&mut self.next_xid);
        request.write(xid, &mut self.output);
        up.last_sent = now;
        let (op, then) = (request.op(), Then::Nothing);
        self.sent.push_back(Sent { xid, op, sent_at: now, frame: None, then, answer: None, repeats: 0 });
    }

    // ---- What becomes of them ----

    /// The connection is gone: what changes nothing is asked again on the next one, of the rest nobody knows.
    pub(super) fn give_back_sent(&mut self, now: Duration) {
        let deadline = now + self.timeout;
        let mut is_closed = false;
        for Sent { op, frame, then, answer, repeats, .. } in std::mem::take(&mut self.sent).into_iter().rev()
        {
            let Some(answer) = answer else { continue };
            match frame {
                Some(frame) if repeats < REPEATS_MAX => {
                    let submission = Submission { op, frame, then, answer };
                    self.waiting.push_front(Waiting { submission, deadline, repeats: repeats + 1 });
                }
                Some(frame) => self.fail(Submission { op, frame, then, answer }, Error::ConnectionLoss),
                None if op == OpCode::CloseSession => {
                    // A server carries it out without us.
                    is_closed = true;
                    let reply = Reply { zxid: Zxid::ZERO, body: Bytes::new() };
                    self.effects.push_back(Effect::Answer(answer, Ok(reply)));
                }
                None => self.effects.push_back(Effect::Answer(answer, Err(Error::UnknownOutcome))),
            }
        }
        if is_closed {
            self.end(Error::Closed, SessionState::Closed);
        }
    }

    /// Takes the oldest request, which must be the one that is answered.
    pub(super) fn sent_with(&mut self, xid: i32) -> Result<Sent<A>, DecodeError> {
        self.sent.pop_front_if(|sent| sent.xid == xid).ok_or(DecodeError::BadValue(xid))
    }

    pub(super) fn settle(&mut self, now: Duration, sent: Sent<A>, header: ReplyHeader, body: Bytes) {
        self.proof = self.proof.max(sent.sent_at);
        self.last_zxid = self.last_zxid.max(header.zxid);
        let error = Error::from_wire(header.error);
        match sent.then {
            Then::Nothing => {}
            Then::Watch(kind, path, id) => {
                let wanted = self.settling.remove(&id);
                // A watch on what does not exist is left by asking whether it does.
                let kind = match &error {
                    None => Some(kind),
                    Some(Error::NoNode) if sent.op == OpCode::Exists => Some(WatchKind::Exist),
                    Some(_) => None,
                };
                match kind {
                    Some(kind) if wanted => self.registry.add(kind, &path, id),
                    Some(kind) if !kind.is_one_shot() => self.unwatch_at_server(now, &path),
                    _ => {}
                }
            }
            Then::Unwatch(of, path) if error.is_none() => {
                for id in self.registry.remove_all(&path, of) {
                    self.effects.push_back(Effect::Notify { id, notice: Notice::Removed, last: true });
                }
            }
            Then::Unwatch(..) => {}
        }
        let Some(answer) = sent.answer else {
            if sent.op == OpCode::Sasl {
                self.prove(now, error, &body);
            }
            return;
        };
        let is_close = sent.op == OpCode::CloseSession && error.is_none();
        let result = error.map_or(Ok(Reply { zxid: Zxid(header.zxid.max(0) as u64), body }), Err);
        self.effects.push_back(Effect::Answer(answer, result));
        if is_close {
            self.end(Error::Closed, SessionState::Closed);
        }
    }

    pub(super) fn fail(&mut self, submission: Submission<A>, error: Error) {
        if let Then::Watch(_, _, id) = &submission.then {
            self.settling.remove(id);
        }
        self.effects.push_back(Effect::Answer(submission.answer, Err(error)));
    }
}

/// Counts from 1 and starts again there; negative numbers have meanings of their own.
fn next_xid(next: &mut i32) -> i32 {
    let xid = *next;
    *next = xid.checked_add(1).unwrap_or(1);
    xid
}

/// Whether a request may be asked twice without harm.
fn changes_nothing(op: OpCode) -> bool {
    match op {
        OpCode::Exists
        | OpCode::GetData
        | OpCode::GetAcl
        | OpCode::GetChildren
        | OpCode::GetChildren2
        | OpCode::GetEphemerals
        | OpCode::GetAllChildrenNumber
        | OpCode::MultiRead
        | OpCode::Sync
        | OpCode::WhoAmI
        | OpCode::AddWatch
        | OpCode::CheckWatches
        | OpCode::RemoveWatches => true,
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::Delete
        | OpCode::DeleteContainer
        | OpCode::SetData
        | OpCode::SetAcl
        | OpCode::Multi
        | OpCode::Reconfig
        | OpCode::CloseSession
        | OpCode::CreateSession
        | OpCode::Check
        | OpCode::Ping
        | OpCode::Auth
        | OpCode::Sasl
        | OpCode::SetWatches
        | OpCode::SetWatches2
        | OpCode::Error => false,
    }
}
