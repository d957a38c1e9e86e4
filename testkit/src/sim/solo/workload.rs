//! What simulated clients ask for: few paths, so that they meet.

use client::wire::zk::request::{AddWatchMode, WatcherType};
use client::wire::zk::{Acl, Create, Identity, MultiOp, OpCode, Request, WatchLists};

use crate::sim::random::Random;

const PATHS: &[&str] = &[
    "/a",
    "/b",
    "/a/b",
    "/a/c",
    "/a/b/c",
    "/a/e",
    "/",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/a/",
    "/a/n0000000001",
];

const DATA: &[Option<&[u8]>] = &[
    None,
    Some(b""),
    Some(b"some data"),
    Some(b"count=2,bytes=10=;byteHardLimit=60;countHardLimit=6"),
    Some(&[0; 600]),
    Some(&[7; 1500]),
];

fn any<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len() as u64) as usize]
}

fn path(random: &mut Random) -> &'static str {
    // The first few most of the time.
    match random.below(4) {
        0 => any(random, PATHS),
        _ => any(random, &PATHS[..6]),
    }
}

fn version(random: &mut Random) -> i32 {
    if random.below(3) == 0 { random.below(3) as i32 } else { -1 }
}

fn acl(random: &mut Random) -> Vec<Acl<'static>> {
    let entry = |perms, scheme, id| Acl { perms, identity: Identity::new(scheme, id) };
    match random.below(24) {
        0 => vec![entry(31, "auth", "")],
        1 => vec![entry(1, "world", "anyone"), entry(31, "ip", "10.0.0.0/31")],
        2 => vec![entry(30, "ip", "10.0.0.2")],
        3 => vec![],
        _ => vec![Acl::open()],
    }
}

fn create(random: &mut Random) -> Create<'static> {
    let (op, flags, ttl_ms) = match random.below(12) {
        0..=3 => (OpCode::Create, 0, -1),
        4 => (OpCode::Create2, 0, -1),
        5..=6 => (OpCode::Create2, 1, -1),
        7 => (OpCode::Create, 2, -1),
        8 => (OpCode::Create, 3, -1),
        9 => (OpCode::CreateContainer, 4, -1),
        _ => (OpCode::CreateTtl, 5 + random.below(2) as i32, 1 + random.below(800) as i64),
    };
    let path = match flags {
        2 | 3 | 6 => any(random, &["/a/n", "/b/n", "/a/b/"]),
        _ => path(random),
    };
    Create { op, path: path.into(), data: any(random, DATA), acl: acl(random), flags, ttl_ms }
}

/// One request.
pub fn request(random: &mut Random) -> Request<'static> {
    let watch = random.coin();
    match random.below(40) {
        0..=9 => Request::Create(create(random)),
        10..=12 => Request::Delete { path: path(random).into(), version: version(random) },
        13..=17 => {
            Request::SetData { path: path(random).into(), data: any(random, DATA), version: version(random) }
        }
        18 => Request::SetAcl { path: path(random).into(), acl: acl(random), version: version(random) },
        19 => Request::DeleteContainer { path: path(random).into() },
        20..=22 => {
            let count = random.below(5);
            Request::Multi((0..count).map(|_| part(random)).collect())
        }
        23..=25 => Request::Exists { path: path(random).into(), watch },
        26..=28 => Request::GetData { path: path(random).into(), watch },
        29 => Request::GetChildren { path: path(random).into(), watch },
        30..=31 => Request::GetChildren2 { path: path(random).into(), watch },
        32 => Request::GetAcl { path: path(random).into() },
        33 => Request::GetEphemerals { prefix: None },
        34 => Request::GetAllChildrenNumber { path: path(random).into() },
        35 => Request::Sync { path: path(random).into() },
        36 => Request::AddWatch {
            path: path(random).into(),
            mode: any(random, &[AddWatchMode::Persistent, AddWatchMode::PersistentRecursive]),
        },
        37 => Request::RemoveWatches {
            path: path(random).into(),
            kind: any(random, &[WatcherType::Any, WatcherType::Data, WatcherType::Children]),
        },
        38 => Request::Auth { scheme: "digest".into(), token: Some(any(random, &[b"u:1", b"v:2"])) },
        _ if random.below(4) == 0 => Request::CloseSession,
        _ => Request::Ping,
    }
}

fn part(random: &mut Random) -> MultiOp<'static> {
    let path_of = path(random).into();
    match random.below(8) {
        0..=3 => MultiOp::Create(create(random)),
        4 => MultiOp::Delete { path: path_of, version: version(random) },
        5 | 6 => MultiOp::SetData { path: path_of, data: any(random, DATA), version: version(random) },
        _ => MultiOp::Check { path: path_of, version: version(random) },
    }
}

/// What a client brings back after it lost its connection.
pub fn watches(random: &mut Random, relative_zxid: i64) -> Request<'static> {
    let mut some = || {
        let count = random.below(3);
        (0..count).map(|_| path(random).into()).collect::<Vec<_>>()
    };
    Request::SetWatches2(WatchLists {
        relative_zxid,
        data: some(),
        exist: some(),
        child: some(),
        persistent: some(),
        recursive: some(),
    })
}
