//! Who a connection is: auth packets, SASL exchanges, and what configuration demands.

use std::net::IpAddr;

use client::wire::codec::Writer;
use client::wire::zk::{ErrorCode, Identity, perms};

use super::{Service, auth};
use crate::auth::digest_md5::{DigestMd5, Step};
use crate::config::Secret;
use crate::limits;
use crate::tree::arena::NodeId;
use crate::tree::watches::ConnectionId;

/// Whether somebody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    No,
    /// Nobody is known by that scheme.
    Unknown,
}

impl Service {
    /// Whether somebody who shows this may do everything to the root, and so to all data.
    pub fn may_do_everything(&self, address: IpAddr, scheme: &str, token: &[u8]) -> Verdict {
        let auth = &self.settings.auth;
        let mut identities = vec![Identity::new("ip", address.to_canonical().to_string())];
        match (scheme, &auth.digest) {
            ("ip", _) => {}
            ("digest", Some(digest)) => {
                let id = auth::digest_id(digest.algorithm, token);
                if digest.super_digest.as_ref().is_some_and(|wanted| wanted.reveal() == id) {
                    identities.push(Identity::new("super", ""));
                }
                identities.push(Identity::new("digest", id));
            }
            _ => return Verdict::Unknown,
        }
        let every_right = [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN];
        let root = NodeId::ROOT;
        match auth.skip_acl || every_right.iter().all(|right| self.tree.permits(root, *right, &identities)) {
            true => Verdict::Yes,
            false => Verdict::No,
        }
    }

    pub(super) fn is_authenticated_enough(&self, id: ConnectionId) -> bool {
        let auth = &self.settings.auth;
        if !auth.require_sasl && auth.required_schemes.is_empty() {
            return true;
        }
        let Some(connection) = self.clients.get(id) else { return false };
        let has = |scheme: &str| connection.identities.iter().any(|identity| identity.scheme == scheme);
        (!auth.require_sasl || has("sasl"))
            && (auth.required_schemes.is_empty() || auth.required_schemes.iter().any(|scheme| has(scheme)))
    }

    pub(super) fn authenticate(&mut self, id: ConnectionId, xid: i32, scheme: &str, token: Option<&[u8]>) {
        let auth = &self.settings.auth;
        let connection = self.clients.get_mut(id).expect("the caller looked it up");
        let room = connection.identities.len() < limits::IDENTITIES_PER_CONNECTION_MAX
            && token.is_none_or(|token| token.len() <= limits::IDENTITY_BYTES_MAX);
        let accepted = match (scheme, token) {
            _ if !room => false,
            ("digest", Some(token)) => match &auth.digest {
                Some(digest) => {
                    let identity = auth::digest_id(digest.algorithm, token);
                    if digest.super_digest.as_ref().is_some_and(|wanted| wanted.reveal() == identity) {
                        connection.add_identity("super", String::new());
                    }
                    connection.add_identity("digest", identity);
                    true
                }
                None => false,
            },
            // Everybody has this identity from the start.
            ("ip", _) => true,
            ("ensemble", token) => auth.ensemble_names.as_ref().is_none_or(|names| {
                let name = String::from_utf8_lossy(token.unwrap_or_default());
                name.is_empty() || names.iter().any(|known| *known == name)
            }),
            _ => false,
        };
        if scheme == "ensemble" {
            let metrics = &mut self.clients.metrics;
            match (&auth.ensemble_names, accepted) {
                (None, _) => metrics.ensemble_auth_skip += 1,
                (Some(_), true) => metrics.ensemble_auth_success += 1,
                (Some(_), false) => metrics.ensemble_auth_fail += 1,
            }
        }
        if accepted {
            self.clients.reply(id, xid, 0, |_| {});
        } else {
            self.clients.metrics.auth_failed_count += 1;
            self.clients.reply_error(id, xid, 0, ErrorCode::AuthFailed);
            self.clients.close(id);
        }
    }

    /// One round of a SASL exchange. The last one makes the client somebody.
    pub(super) fn sasl(&mut self, id: ConnectionId, xid: i32, token: Option<&[u8]>) {
        let nonce = self.randomness.draw();
        let Service { clients, settings, .. } = self;
        let Some(connection) = clients.get_mut(id) else { return };
        let mut exchange = connection.sasl.take().unwrap_or_else(|| Box::new(DigestMd5::new(nonce)));
        connection.sasl_rounds += 1;
        let step = match &settings.auth.sasl {
            None => Step::Failed("no SASL accounts are configured"),
            Some(_) if connection.sasl_rounds > limits::SASL_ROUNDS_MAX => Step::Failed("too many rounds"),
            Some(sasl) => {
                exchange.step(token.unwrap_or_default(), |user| sasl.users.get(user).map(Secret::reveal))
            }
        };
        match step {
            Step::Challenge(challenge) => {
                connection.sasl = Some(exchange);
                clients.reply(id, xid, 0, |out| out.buffer(Some(&challenge)));
            }
            Step::Done { token, user } => {
                if settings.auth.sasl.as_ref().is_some_and(|sasl| sasl.super_users.contains(&user)) {
                    connection.add_identity("super", String::new());
                }
                connection.add_identity("sasl", user);
                clients.reply(id, xid, 0, |out| out.buffer(Some(&token)));
            }
            Step::Failed(why) => {
                clients.metrics.auth_failed_count += 1;
                tracing::debug!(why, "SASL authentication failed");
                let code = match settings.auth.require_sasl {
                    true => ErrorCode::SessionClosedRequireSaslAuth,
                    false => ErrorCode::AuthFailed,
                };
                clients.refuse_token(id, xid, code);
                if settings.auth.require_sasl || !settings.auth.allow_sasl_failed {
                    clients.close(id);
                }
            }
        }
    }
}
