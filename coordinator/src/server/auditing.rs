//! From executed commands to lines of the audit log.

use std::sync::OnceLock;

use client::wire::zk::SessionId;

use crate::audit::{Audit, Operation, Outcome, Record, create_mode, user_names};
use crate::request::Audited;
use crate::tree::command::{AclRecord, Command, CreateOp, LifetimeRecord, Op};
use crate::view::SessionNumber;

/// Who runs this server: what the environment says, else the name that belongs to the process's user. Looked up once.
pub(super) fn server_user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| {
        let own = rustix::process::getuid().as_raw().to_string();
        let listed = || {
            let users = std::fs::read_to_string("/etc/passwd").ok()?;
            let mut users = users.lines().map(|line| line.split(':'));
            users.find_map(|mut fields| {
                let name = fields.next()?;
                (fields.nth(1)? == own).then(|| name.to_owned())
            })
        };
        std::env::var("USER").ok().filter(|name| !name.is_empty()).or_else(listed).unwrap_or_default()
    })
}

/// Writes what one command did. Nodes that go with their session are deleted in the name of who runs the server.
pub(super) fn record(audit: &Audit, audited: &Audited) {
    let Ok(command) = Command::decode(&audited.bytes) else { return };
    let users = user_names(command.identities.iter().map(|who| (who.scheme, who.id)));
    let result = if audited.failed { Outcome::Failure } else { Outcome::Success };
    let session = SessionId(command.session);
    let template = Record {
        session: (session != SessionId::NONE).then_some(SessionNumber(session.0)),
        user: Some(users.as_str()).filter(|users| !users.is_empty()),
        ip: audited.address,
        operation: Operation::Multi,
        znode: None,
        znode_type: None,
        acl: None,
        result,
    };
    match &command.op {
        Op::CloseSession => {
            for path in &audited.ephemerals {
                audit.record(&Record {
                    session: template.session,
                    znode: Some(path),
                    ..Record::server(server_user(), Operation::EphemeralDeleted, result)
                });
            }
        }
        Op::Multi(_) if audited.failed => audit.record(&template),
        Op::Multi(ops) => ops.iter().for_each(|op| write(audit, template, op, None)),
        op => write(audit, template, op, audited.created.as_deref()),
    }
}

fn write(audit: &Audit, template: Record<'_>, op: &Op<'_>, created: Option<&str>) {
    let operation = match op {
        Op::Create(_) => Operation::Create,
        Op::Delete { .. } | Op::DeleteContainer { .. } | Op::Reap { .. } => Operation::Delete,
        Op::SetData { .. } => Operation::SetData,
        Op::SetAcl { .. } => Operation::SetAcl,
        _ => return,
    };
    let (znode_type, acl) = match op {
        Op::Create(create) => (Some(kind(create)), None),
        Op::SetAcl { acl, .. } => (None, Some(acl_text(acl))),
        _ => (None, None),
    };
    let znode = Some(created.unwrap_or_else(|| op.path()));
    audit.record(&Record { operation, znode, znode_type, acl: acl.as_deref(), ..template });
}

fn kind(create: &CreateOp<'_>) -> &'static str {
    create_mode(match (create.lifetime, create.sequential) {
        (LifetimeRecord::Persistent, false) => 0,
        (LifetimeRecord::Ephemeral, false) => 1,
        (LifetimeRecord::Persistent, true) => 2,
        (LifetimeRecord::Ephemeral, true) => 3,
        (LifetimeRecord::Container, _) => 4,
        (LifetimeRecord::Ttl { .. }, false) => 5,
        (LifetimeRecord::Ttl { .. }, true) => 6,
    })
}

/// A list as tools write it: `world:anyone:cdrwa`.
fn acl_text(acl: &[AclRecord<'_>]) -> String {
    let entries = acl.iter().map(|entry| {
        let letters = [(4, 'c'), (8, 'd'), (1, 'r'), (2, 'w'), (16, 'a')];
        let perms: String =
            letters.iter().filter(|(bit, _)| entry.perms & bit != 0).map(|(_, letter)| letter).collect();
        format!("{}:{}:{perms}", entry.scheme, entry.id)
    });
    entries.collect::<Vec<_>>().join(",")
}
