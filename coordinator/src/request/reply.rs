//! From results to bytes.

use std::borrow::Cow;

use client::wire::codec::Writer;
use client::wire::zk::{ErrorCode, MultiResult, OpCode, Zxid};

use super::Service;
use super::command::ReplyForm;
use super::connection::Phase;
use crate::tree::Outcome;
use crate::tree::watches::ConnectionId;

impl Service {
    /// The reply to a write that was executed.
    pub(super) fn reply_outcome(
        &mut self,
        id: ConnectionId,
        xid: i32,
        zxid: Zxid,
        form: &ReplyForm,
        outcome: &Outcome<'_>,
    ) {
        let zxid = zxid.to_wire();
        match (outcome, form) {
            (Outcome::Failed(code), _) => self.clients.reply_error(id, xid, zxid, *code),
            (Outcome::Created { path, .. }, ReplyForm::Single(OpCode::Create)) => {
                self.clients.reply(id, xid, zxid, |out| out.string(path));
            }
            (Outcome::Created { path, stat }, _) => self.clients.reply(id, xid, zxid, |out| {
                out.string(path);
                stat.encode(out);
            }),
            (Outcome::DataSet(stat) | Outcome::AclSet(stat), _) => {
                self.clients.reply(id, xid, zxid, |out| stat.encode(out));
            }
            (Outcome::Multi(outcomes), ReplyForm::Multi(ops)) => self.clients.reply(id, xid, zxid, |out| {
                for (outcome, op) in outcomes.iter().zip(ops) {
                    multi_result(outcome, *op).encode(out);
                }
                MultiResult::encode_end(out);
            }),
            (Outcome::MultiFailed { index, code, count }, _) => self.clients.reply(id, xid, zxid, |out| {
                for at in 0..*count {
                    let code = match at.cmp(index) {
                        std::cmp::Ordering::Less => None,
                        std::cmp::Ordering::Equal => Some(*code),
                        std::cmp::Ordering::Greater => Some(ErrorCode::RuntimeInconsistency),
                    };
                    MultiResult::Error(code).encode(out);
                }
                MultiResult::encode_end(out);
            }),
            (Outcome::MembersSet { data, stat }, _) => self.clients.reply(id, xid, zxid, |out| {
                out.buffer(Some(data.as_bytes()));
                stat.encode(out);
            }),
            (Outcome::SessionClosed, _) => {
                self.clients.reply(id, xid, zxid, |_| {});
                if let Some(connection) = self.clients.get_mut(id) {
                    connection.phase = Phase::Closing;
                }
            }
            (Outcome::Deleted | Outcome::Checked | Outcome::Started | Outcome::SessionCreated, _)
            | (Outcome::Multi(_), ReplyForm::Single(_)) => self.clients.reply(id, xid, zxid, |_| {}),
        }
    }
}

fn multi_result<'a>(outcome: &'a Outcome<'_>, op: OpCode) -> MultiResult<'a> {
    match outcome {
        Outcome::Created { path, .. } if op == OpCode::Create => {
            MultiResult::Create { path: Cow::Borrowed(path) }
        }
        Outcome::Created { path, stat } => MultiResult::Create2 { path: Cow::Borrowed(path), stat: *stat },
        Outcome::Deleted => MultiResult::Delete,
        Outcome::DataSet(stat) => MultiResult::SetData { stat: *stat },
        Outcome::Checked => MultiResult::Check,
        other => unreachable!("{other:?} is no result of an operation in a multi"),
    }
}
