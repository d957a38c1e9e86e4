//! What clients ask for: few paths, so that they meet.

use std::net::{IpAddr, Ipv4Addr};

use client::wire::zk::{Acl, Create, Identity, MultiOp, OpCode, Request, perms};
use coordinator::config::DigestAlgorithm;
use coordinator::request::auth::digest_id;

use super::Serving;
use crate::model::acl::Who;
use crate::model::members::CONFIG;
use crate::sim::random::Random;

/// Whence all clients connect.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

const REGISTERS: &[&str] = &["/r0", "/r1", "/r2", "/r3", "/r4", "/r5"];

const DATA: &[Option<&[u8]>] =
    &[None, Some(b""), Some(b"one"), Some(b"two"), Some(b"three"), Some(&[4; 200])];

fn create(path: &'static str, data: Option<&'static [u8]>, flags: i32) -> Create<'static> {
    Create { op: OpCode::Create2, path: path.into(), data, acl: vec![Acl::open()], flags, ttl_ms: -1 }
}

const EPHEMERALS: &[&str] = &["/e0", "/e1", "/e2"];

/// Of those not everybody may read or write all. Nobody watches them.
const SECRETS: &[&str] = &["/s0", "/s1", "/s2"];

impl Serving {
    /// As whom a client makes itself known, if it does.
    pub(super) fn token(&self, client: usize) -> Option<&'static [u8]> {
        let token = [None, Some(b"u:1" as &[u8]), Some(b"v:2")][client % 3];
        token.filter(|_| self.secrets)
    }

    /// Who the servers take a client for.
    pub(super) fn identities(&self, client: usize) -> Vec<Who> {
        let digest =
            self.token(client).map(|token| ("digest".into(), digest_id(DigestAlgorithm::Sha1, token)));
        [("ip".into(), ADDRESS.to_string())].into_iter().chain(digest).collect()
    }
}

fn secret(random: &mut Random) -> Request<'static> {
    let entry = |perms, scheme, id: String| Acl { perms, identity: Identity::new(scheme, id) };
    let owner = |perms| entry(perms, "digest", digest_id(DigestAlgorithm::Sha1, b"u:1"));
    let acl = match random.below(4) {
        0 => vec![owner(perms::ALL)],
        1 => vec![owner(perms::ALL), entry(perms::READ, "world", "anyone".into())],
        2 => vec![owner(perms::READ), entry(perms::WRITE, "ip", ADDRESS.to_string())],
        _ => vec![entry(perms::ALL, "auth", String::new())],
    };
    let path = random.one_of(SECRETS);
    let data = random.one_of(DATA);
    match random.below(10) {
        0 | 1 => Request::Create(Create { acl, ..create(path, data, 0) }),
        2 => Request::Delete { path: path.into(), version: -1 },
        3 => Request::SetAcl { path: path.into(), acl, version: -1 },
        4 => Request::Multi(vec![
            MultiOp::SetData { path: REGISTERS[0].into(), data, version: -1 },
            MultiOp::Check { path: path.into(), version: -1 },
        ]),
        5 | 6 => Request::SetData { path: path.into(), data, version: -1 },
        7 => Request::Exists { path: path.into(), watch: false },
        _ => Request::GetData { path: path.into(), watch: false },
    }
}

/// One request.
pub(super) fn request(random: &mut Random, serving: &Serving) -> Request<'static> {
    if serving.secrets && random.one_in(5) {
        return secret(random);
    }
    let registers = serving.registers;
    let path = REGISTERS[random.below(registers) as usize];
    let other = REGISTERS[random.below(registers) as usize];
    let ephemeral = random.one_of(EPHEMERALS);
    let data = random.one_of(DATA);
    let version = if random.one_in(3) { random.below(4) as i32 } else { -1 };
    let watch = random.coin();
    match random.below(55) {
        0..=5 => Request::Create(create(path, data, 0)),
        6..=8 => Request::Create(create(ephemeral, data, 1)),
        9 => Request::Create(create("/n", data, 3)),
        10..=18 => Request::SetData { path: path.into(), data, version },
        19 | 20 => Request::Delete { path: path.into(), version },
        21 | 22 => Request::Delete { path: ephemeral.into(), version: -1 },
        23..=26 => Request::Multi(vec![
            MultiOp::Check { path: path.into(), version },
            MultiOp::SetData { path: other.into(), data, version: -1 },
            MultiOp::Create(create(ephemeral, data, 1)),
        ]),
        27..=32 => Request::GetData { path: path.into(), watch },
        33..=35 => Request::Exists { path: path.into(), watch },
        36 => Request::Exists { path: ephemeral.into(), watch },
        37..=40 => Request::GetChildren2 { path: "/".into(), watch },
        41 => Request::GetEphemerals { prefix: None },
        52..=54 => Request::GetData { path: CONFIG.into(), watch },
        _ => Request::Sync { path: path.into() },
    }
}
