//! What clients ask for: few paths, so that they meet.

use client::wire::zk::{Acl, Create, MultiOp, OpCode, Request};

use crate::model::members::CONFIG;
use crate::sim::random::Random;

const REGISTERS: &[&str] = &["/r0", "/r1", "/r2", "/r3", "/r4", "/r5"];

const DATA: &[Option<&[u8]>] =
    &[None, Some(b""), Some(b"one"), Some(b"two"), Some(b"three"), Some(&[4; 200])];

fn create(path: &'static str, data: Option<&'static [u8]>, flags: i32) -> Create<'static> {
    Create { op: OpCode::Create2, path: path.into(), data, acl: vec![Acl::open()], flags, ttl_ms: -1 }
}

const EPHEMERALS: &[&str] = &["/e0", "/e1", "/e2"];

/// One request.
pub(super) fn request(random: &mut Random, registers: u64) -> Request<'static> {
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
