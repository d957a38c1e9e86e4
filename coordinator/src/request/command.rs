//! PROPOSE: from what a client asked to what may enter the log.
//!
//! Everything is understood before anything is proposed: a request that cannot be parsed never gets a zxid.

use client::wire::zk::request::Lifetime;
use client::wire::zk::{Create, ErrorCode, MultiOp, OpCode, Request};

use crate::limits;
use crate::tree::command::{AclRecord, CreateOp, LifetimeRecord, Op};

/// Whether a request goes through the log.
pub fn is_write(request: &Request<'_>) -> bool {
    matches!(
        request,
        Request::CloseSession
            | Request::Create(_)
            | Request::Delete { .. }
            | Request::DeleteContainer { .. }
            | Request::SetData { .. }
            | Request::SetAcl { .. }
            | Request::Multi(_)
    )
}

/// Whether a write may make the tree larger. Those are refused first when memory or disk run out; what makes room or
/// ends a session goes on.
pub fn grows(request: &Request<'_>) -> bool {
    match request {
        Request::Create(_) | Request::SetData { .. } | Request::SetAcl { .. } => true,
        Request::Multi(ops) => {
            ops.iter().any(|op| matches!(op, MultiOp::Create(_) | MultiOp::SetData { .. }))
        }
        _ => false,
    }
}

/// What the reply to a write looks like, kept until it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyForm {
    Single(OpCode),
    /// The codes of a multi's operations: create and create2 differ only in their replies.
    Multi(Box<[OpCode]>),
}

/// The operation a write asks for. `ttl_enabled` is configuration.
pub fn operation<'a>(request: &'a Request<'_>, ttl_enabled: bool) -> Result<Op<'a>, ErrorCode> {
    Ok(match request {
        Request::CloseSession => Op::CloseSession,
        Request::Create(create) => Op::Create(create_op(create, ttl_enabled)?),
        Request::Delete { path, version } => Op::Delete { path, version: *version },
        Request::DeleteContainer { path } => Op::DeleteContainer { path },
        Request::SetData { path, data, version } => Op::SetData { path, data: *data, version: *version },
        Request::SetAcl { path, acl, version } => {
            Op::SetAcl { path, acl: AclRecord::list(acl), version: *version }
        }
        Request::Reconfig { joining, leaving, members, config } => Op::Reconfig {
            joining: joining.as_deref(),
            leaving: leaving.as_deref(),
            members: members.as_deref(),
            version: *config,
        },
        Request::Multi(ops) if ops.len() > limits::MULTI_OPS_MAX => return Err(ErrorCode::MarshallingError),
        Request::Multi(ops) => {
            Op::Multi(ops.iter().map(|op| multi_op(op, ttl_enabled)).collect::<Result<_, _>>()?)
        }
        other => unreachable!("{:?} is not a write", other.op()),
    })
}

pub fn reply_form(request: &Request<'_>) -> ReplyForm {
    match request {
        Request::Multi(ops) => ReplyForm::Multi(ops.iter().map(MultiOp::op).collect()),
        other => ReplyForm::Single(other.op()),
    }
}

fn create_op<'a>(create: &'a Create<'_>, ttl_enabled: bool) -> Result<CreateOp<'a>, ErrorCode> {
    let mode = create.mode(ttl_enabled)?;
    Ok(CreateOp {
        path: &create.path,
        data: create.data,
        acl: AclRecord::list(&create.acl),
        lifetime: match mode.lifetime {
            Lifetime::Persistent => LifetimeRecord::Persistent,
            Lifetime::Ephemeral => LifetimeRecord::Ephemeral,
            Lifetime::Container => LifetimeRecord::Container,
            Lifetime::Ttl { ms } => LifetimeRecord::Ttl { ms },
        },
        sequential: mode.sequential,
    })
}

fn multi_op<'a>(op: &'a MultiOp<'_>, ttl_enabled: bool) -> Result<Op<'a>, ErrorCode> {
    Ok(match op {
        MultiOp::Create(create) => match create_op(create, ttl_enabled) {
            Ok(create) => Op::Create(create),
            // Flags are judged in their turn, so that the operations before get their own verdicts.
            Err(code) => Op::Refused { code: code.to_wire() },
        },
        MultiOp::Delete { path, version } => Op::Delete { path, version: *version },
        MultiOp::SetData { path, data, version } => Op::SetData { path, data: *data, version: *version },
        MultiOp::Check { path, version } => Op::Check { path, version: *version },
        MultiOp::GetData { .. } | MultiOp::GetChildren { .. } => unreachable!("refused when decoding"),
    })
}
