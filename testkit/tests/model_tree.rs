//! Random commands against the tree and against the slow model: equal results, equal changes, equal states.

use client::wire::zk::Zxid;
use coordinator::tree::Tree;
use coordinator::tree::command::{AclRecord, Command, CreateOp, IdentityRecord, LifetimeRecord, Op, Rules};
use coordinator::tree::snapshot::Loader;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use testkit::model::znodes::{Changed, Model};

const SESSIONS: [i64; 3] = [0x0100_0000_0000_0001, 0x0100_0000_0000_0002, 0x8200_0000_0000_0001_u64 as i64];

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/a/b",
    "/a/c",
    "/a/b/c",
    "/a/b/d",
    "/a/s-",
    "/b/",
    "//a",
    "",
    "nowhere",
    "/a/\0",
    "/a/..",
    "/ä/β",
    "/ä",
    "/a/s-0000000000",
    "/a/s-0000000001",
    "/zookeeper",
    "/zookeeper/config",
    "/zookeeper/quota",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/b",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/zookeeper/quota/a/b/zookeeper_limits",
    "/zookeeper/quota/a/b/zookeeper_stats",
    "/zookeeper/quota/zookeeper_limits",
    "/zookeeper/quota/zookeeper_stats",
];

const DATA: &[Option<&[u8]>] = &[
    None,
    Some(b""),
    Some(b"x"),
    Some(b"twelve bytes"),
    Some(b"count=3,bytes=20"),
    Some(b"count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=4"),
    Some(b"count=9223372036854775807,bytes=q;countHardLimit=1"),
];

const WHO: &[&[(&str, &str)]] = &[
    &[("ip", "127.0.0.1")],
    &[("ip", "10.1.2.3"), ("digest", "u:h")],
    &[("ip", "fe80::1"), ("digest", "v:h"), ("sasl", "someone")],
    &[("ip", "10.1.2.3"), ("super", "")],
];

const ENTRIES: &[(i32, &str, &str)] = &[
    (31, "world", "anyone"),
    (1, "world", "anyone"),
    (31, "auth", ""),
    (31, "digest", "u:h"),
    (23, "digest", "v:h"),
    (5, "ip", "10.1.0.0/16"),
    (31, "ip", "fe80::/10"),
    (31, "ip", "0.0.0.0/0"),
    (0, "world", "anyone"),
    (31, "sasl", "someone"),
    (31, "digest", "u"),
    (31, "ip", "10.0.0.0/33"),
    (31, "nobody", "x"),
];

/// An operation in numbers, which proptest can draw and shrink.
#[derive(Debug, Clone)]
struct Draw {
    kind: u8,
    path: usize,
    data: usize,
    acl: Vec<usize>,
    version: i32,
    lifetime: u8,
    sequential: bool,
}

#[derive(Debug, Clone)]
struct Step {
    session: usize,
    who: usize,
    skip_acl: bool,
    enforce_quota: bool,
    ops: Vec<Draw>,
    /// Zero begins a snapshot; small numbers walk on.
    snapshot: u8,
}

fn draws() -> impl Strategy<Value = Draw> {
    let acl = prop_oneof![
        6 => Just(vec![0]),
        1 => Just(Vec::new()),
        3 => prop::collection::vec(0..ENTRIES.len(), 1..4)
    ];
    let version = prop_oneof![4 => Just(-1), 4 => 0..3i32, 1 => any::<i32>()];
    let sequential = prop::bool::weighted(0.15);
    (0..20u8, 0..PATHS.len(), 0..DATA.len(), acl, version, 0..6u8, sequential).prop_map(
        |(kind, path, data, acl, version, lifetime, sequential)| Draw {
            kind,
            path,
            data,
            acl,
            version,
            lifetime,
            sequential,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ops = prop_oneof![
        4 => prop::collection::vec(draws(), 1),
        1 => prop::collection::vec(draws(), 0..6),
    ];
    let skip_acl = prop::bool::weighted(0.05);
    let step = (0..SESSIONS.len(), 0..WHO.len(), skip_acl, any::<bool>(), ops, 0..40u8).prop_map(
        |(session, who, skip_acl, enforce_quota, ops, snapshot)| Step {
            session,
            who,
            skip_acl,
            enforce_quota,
            ops,
            snapshot,
        },
    );
    prop::collection::vec(step, 1..120)
}

fn list(indices: &[usize]) -> Vec<AclRecord<'static>> {
    let record = |&at: &usize| AclRecord { perms: ENTRIES[at].0, scheme: ENTRIES[at].1, id: ENTRIES[at].2 };
    indices.iter().map(record).collect()
}

/// An operation that may be part of a multi.
fn part(draw: &Draw) -> Op<'static> {
    let (path, data, version) = (PATHS[draw.path], DATA[draw.data], draw.version);
    match draw.kind % 10 {
        0..=4 => Op::Create(CreateOp {
            path,
            data,
            acl: list(&draw.acl),
            lifetime: match draw.lifetime {
                0..=2 => LifetimeRecord::Persistent,
                3 => LifetimeRecord::Ephemeral,
                4 => LifetimeRecord::Container,
                _ => LifetimeRecord::Ttl { ms: 1 + i64::from(draw.version.unsigned_abs()) },
            },
            sequential: draw.sequential,
        }),
        5 => Op::Delete { path, version },
        6 | 7 => Op::SetData { path, data, version },
        8 => Op::Check { path, version },
        _ if draw.sequential => Op::Refused { code: -8 },
        _ => Op::Delete { path, version: -1 },
    }
}

fn op(step: &Step, model: &Model) -> Op<'static> {
    let [draw] = &step.ops[..] else { return Op::Multi(step.ops.iter().map(part).collect()) };
    let path = PATHS[draw.path];
    match draw.kind {
        10 => Op::SetAcl { path, acl: list(&draw.acl), version: draw.version },
        11 => Op::DeleteContainer { path },
        // What the server itself reaps is never one of its own nodes.
        12 if !path.starts_with("/zookeeper") && path.len() > 1 => {
            let [czxid, mzxid, pzxid] = model.get(path).map_or([1, 2, 3], |node| node.zxids);
            Op::Reap { path, czxid, mzxid: mzxid + u64::from(draw.sequential), pzxid }
        }
        13 if draw.lifetime == 0 => Op::CloseSession,
        _ => part(draw),
    }
}

struct Both {
    tree: Tree,
    model: Model,
    /// The state when the snapshot in progress began, and its chunks so far.
    snapshot: Option<(u64, Vec<Vec<u8>>)>,
}

impl Both {
    fn run(&mut self, command: &Command<'_>) {
        let zxid = self.model.zxid + 1;
        let bytes = command.encode();
        let mut changes = Vec::new();
        let got = self.tree.execute(Zxid(zxid), &bytes, &mut changes).expect("a command");
        let (expected, expected_changes) = self.model.execute(zxid, command);
        assert_eq!(got, expected, "result of {command:?}");
        let changes: Vec<Changed> = changes
            .into_iter()
            .map(|change| Changed {
                kind: change.kind,
                path: change.path.into(),
                readers: change.readers.to_vec(),
                parent_readers: change.parent_readers.to_vec(),
            })
            .collect();
        assert_eq!(changes, expected_changes, "changes of {command:?}");
        self.tree.check_invariants();
    }

    fn step(&mut self, step: &Step) {
        let session = SESSIONS[step.session];
        let time_ms = 1_000_000 + self.model.zxid as i64 * 7;
        let identities = WHO[step.who].iter().map(|(scheme, id)| IdentityRecord { scheme, id }).collect();
        let rules = Rules { skip_acl: step.skip_acl, enforce_quota: step.enforce_quota, ..Rules::default() };
        // A session that ended comes back now and then.
        let op = match self.model.sessions.contains_key(&session) {
            false if step.snapshot.is_multiple_of(2) => Op::CreateSession { timeout_ms: 4000 },
            _ => op(step, &self.model),
        };
        self.run(&Command { session, time_ms, identities, rules, op });
        self.walk(step.snapshot);
    }

    /// Begins a snapshot or takes it on; a finished one must hold the state as it was at its beginning.
    fn walk(&mut self, choice: u8) {
        if choice == 0 && self.snapshot.is_none() {
            self.tree.begin_snapshot();
            self.snapshot = Some((self.tree.content_digest(), Vec::new()));
        }
        let Some((digest, chunks)) = &mut self.snapshot else { return };
        if choice < 10 {
            self.tree.advance_snapshot(1 + u32::from(choice));
        }
        while let Some(chunk) = self.tree.next_snapshot_chunk() {
            chunks.push(chunk);
        }
        if !self.tree.snapshot_in_progress() {
            let mut loader = Loader::new(99);
            chunks.iter().for_each(|chunk| loader.chunk(chunk).expect("a chunk"));
            let loaded = loader.finish().expect("a snapshot");
            loaded.check_invariants();
            assert_eq!(loaded.content_digest(), *digest, "the snapshot holds the state at its beginning");
            self.snapshot = None;
        }
    }
}

#[test]
fn the_tree_equals_the_model() {
    let config =
        Config { cases: 2000, failure_persistence: None, max_shrink_iters: 3000, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(config, random)
        .run(&steps(), |steps| {
            let mut both = Both { tree: Tree::new(3), model: Model::new(), snapshot: None };
            assert_eq!(both.model.difference(&both.tree), None, "fresh trees");
            for step in &steps {
                both.step(step);
            }
            assert_eq!(both.model.difference(&both.tree), None);
            while both.snapshot.is_some() {
                both.walk(9);
            }
            // A tree that came out of a snapshot goes on like the one that went in.
            both.tree.begin_snapshot();
            both.tree.advance_snapshot(u32::MAX);
            let mut loader = Loader::new(5);
            while let Some(chunk) = both.tree.next_snapshot_chunk() {
                loader.chunk(&chunk).expect("a chunk");
            }
            both.tree = loader.finish().expect("a snapshot");
            for step in &steps {
                both.step(step);
            }
            assert_eq!(both.model.difference(&both.tree), None, "after a snapshot");
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
