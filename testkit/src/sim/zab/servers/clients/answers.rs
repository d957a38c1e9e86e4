//! Is an answer what the model says?

use client::wire::zk::{ErrorCode, Request, Zxid, perms};
use coordinator::tree::Outcome;

use super::super::super::World;
use super::super::promises::Watched;
use super::Asked;
use crate::check::service::{Violation, answer, reply, show, shown, sorted_names, violation};
use crate::model::acl;

impl World {
    pub(super) fn check_write(
        &mut self,
        at: usize,
        asked: &Asked,
        write: usize,
        zxid: u64,
        frame: &[u8],
    ) -> Result<(), Violation> {
        let now_us = self.agenda.now_us();
        let Some(servers) = &mut self.servers else { return Ok(()) };
        let client = &mut servers.clients[at];
        let session = servers.promises.session(client.session);
        if session.as_ref().is_some_and(|session| session.local)
            && matches!(asked.request, Request::CloseSession)
        {
            client.forget_session();
            self.trace.mark("a local session was closed");
            return Ok(());
        }
        if !session.is_some_and(|session| session.answered(write, zxid)) {
            return violation(
                "C3",
                format!("client {at} was told {}, which was not agreed on there", show(frame)),
            );
        }
        let Some(outcome) = servers.promises.outcome(zxid) else { return Ok(()) };
        let expected = answer(asked.xid, zxid as i64, &asked.request, outcome);
        if frame != expected {
            return violation("C7", format!("client {at} was told {}, not {}", show(frame), show(&expected)));
        }
        if let Outcome::Failed(ErrorCode::NoAuth) | Outcome::MultiFailed { code: ErrorCode::NoAuth, .. } =
            outcome
        {
            self.trace.mark("a client may not write that");
        }
        client.written_us = now_us;
        servers.promises.acknowledge(zxid);
        match asked.request {
            Request::CloseSession => client.forget_session(),
            Request::Reconfig { .. } => self.note_change(zxid),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn check_read(
        &mut self,
        at: usize,
        asked: &Asked,
        zxid: u64,
        frame: &[u8],
    ) -> Result<(), Violation> {
        let Some(servers) = &mut self.servers else { return Ok(()) };
        let client = &mut servers.clients[at];
        if matches!(asked.request, Request::Sync { .. }) {
            if zxid < asked.floor {
                let floor = Zxid(asked.floor);
                return violation(
                    "C8",
                    format!("client {at} synced after {floor} was told, and got {}", show(frame)),
                );
            }
            self.trace.mark("a sync was answered");
        } else if zxid < asked.floor {
            self.trace.mark("a read showed an earlier state");
        }
        let Some(model) = servers.promises.at(Zxid(zxid)) else {
            return violation(
                "C8",
                format!("client {at} was told {}: that was never agreed on", show(frame)),
            );
        };
        let path = match &asked.request {
            Request::GetData { path, .. }
            | Request::Exists { path, .. }
            | Request::GetChildren2 { path, .. } => Some(path),
            _ => None,
        };
        let refused = path.and_then(|path| match model.get(path) {
            None => Some(ErrorCode::NoNode),
            Some(node) if !acl::permits(&node.acl, perms::READ, &servers.serving.identities(at)) => {
                self.trace.mark("a client may not read that");
                Some(ErrorCode::NoAuth)
            }
            Some(_) => None,
        });
        let expected = match refused {
            None => shown(model, asked.xid, &asked.request, client.session, true),
            Some(code) => reply(asked.xid, zxid as i64, code.to_wire(), |_| {}),
        };
        let is_there = refused.is_none();
        let ended = reply(asked.xid, zxid as i64, ErrorCode::SessionExpired.to_wire(), |_| {});
        if frame == ended && servers.promises.session(client.session).is_none_or(|session| session.ending) {
            return Ok(());
        }
        if frame != expected && sorted_names(frame) != sorted_names(&expected) {
            return violation("C8", format!("client {at} was told {}, not {}", show(frame), show(&expected)));
        }
        let left = match &asked.request {
            Request::GetData { path, watch: true } if is_there => Some((path, Watched::Node)),
            Request::Exists { path, watch: true } => Some((path, Watched::Node)),
            Request::GetChildren2 { path, watch: true } if is_there => Some((path, Watched::Children)),
            _ => None,
        };
        if let Some((path, watched)) = left {
            client.watches.retain(|watch| (watch.path.as_str(), watch.watched) != (path, watched));
            client.watches.push(servers.promises.watch(zxid, path, watched, !is_there));
        }
        Ok(())
    }
}
