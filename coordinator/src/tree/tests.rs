use client::wire::zk::{ErrorCode, EventType, Stat};

use super::command::{AclRecord, Command, CreateOp, IdentityRecord, LifetimeRecord, Op, Rules};
use super::snapshot::Loader;
use super::*;

const OPEN: AclRecord<'static> = AclRecord { perms: 31, scheme: "world", id: "anyone" };
const ME: i64 = 7;

/// A tree, and what would be typed at it.
struct Script {
    tree: Tree,
    changes: Vec<Change>,
    identities: Vec<(&'static str, &'static str)>,
    rules: Rules,
}

impl Script {
    fn new() -> Script {
        let mut script = Script {
            tree: Tree::new(1),
            changes: Vec::new(),
            identities: vec![("ip", "127.0.0.1")],
            rules: Rules::default(),
        };
        assert_eq!(script.run(ME, Op::CreateSession { timeout_ms: 4000 }), Outcome::SessionCreated);
        script
    }

    fn run(&mut self, session: i64, op: Op<'_>) -> Outcome<'static> {
        let identities = self.identities.iter().map(|(scheme, id)| IdentityRecord { scheme, id }).collect();
        let zxid = self.tree.zxid().next();
        let time_ms = 1000 + zxid.0 as i64;
        let bytes = Command { session, time_ms, identities, rules: self.rules, op }.encode();
        let outcome = self.tree.execute(zxid, &bytes, &mut self.changes).unwrap();
        self.tree.check_invariants();
        owned(outcome)
    }

    fn create_as(&mut self, path: &str, lifetime: LifetimeRecord, sequential: bool) -> Outcome<'static> {
        self.run(ME, create(path, b"x", lifetime, sequential))
    }

    fn create(&mut self, path: &str) -> Outcome<'static> {
        self.create_as(path, LifetimeRecord::Persistent, false)
    }

    fn created(&mut self, path: &str, lifetime: LifetimeRecord, sequential: bool) -> String {
        match self.create_as(path, lifetime, sequential) {
            Outcome::Created { path, .. } => path.into_owned(),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn delete(&mut self, path: &str) -> Outcome<'static> {
        self.run(ME, Op::Delete { path, version: -1 })
    }

    fn stat(&self, path: &str) -> Stat {
        self.tree.node(self.tree.lookup(path).unwrap()).stat()
    }

    fn data(&self, path: &str) -> String {
        let node = self.tree.node(self.tree.lookup(path).unwrap());
        String::from_utf8(node.data().unwrap().to_vec()).unwrap()
    }

    fn changes(&mut self) -> Vec<(EventType, String)> {
        self.changes.drain(..).map(|change| (change.kind, change.path.into())).collect()
    }
}

fn create<'a>(path: &'a str, data: &'a [u8], lifetime: LifetimeRecord, sequential: bool) -> Op<'a> {
    Op::Create(CreateOp { path, data: Some(data), acl: vec![OPEN], lifetime, sequential })
}

fn owned(outcome: Outcome<'_>) -> Outcome<'static> {
    match outcome {
        Outcome::Created { path, stat } => Outcome::Created { path: path.into_owned().into(), stat },
        Outcome::Multi(list) => Outcome::Multi(list.into_iter().map(owned).collect()),
        Outcome::Started => Outcome::Started,
        Outcome::SessionCreated => Outcome::SessionCreated,
        Outcome::SessionClosed => Outcome::SessionClosed,
        Outcome::Deleted => Outcome::Deleted,
        Outcome::DataSet(stat) => Outcome::DataSet(stat),
        Outcome::AclSet(stat) => Outcome::AclSet(stat),
        Outcome::Checked => Outcome::Checked,
        Outcome::MembersSet { data, stat } => Outcome::MembersSet { data, stat },
        Outcome::MultiFailed { index, code, count } => Outcome::MultiFailed { index, code, count },
        Outcome::Failed(code) => Outcome::Failed(code),
    }
}

fn failed(code: ErrorCode) -> Outcome<'static> {
    Outcome::Failed(code)
}

const PERSISTENT: LifetimeRecord = LifetimeRecord::Persistent;
const EPHEMERAL: LifetimeRecord = LifetimeRecord::Ephemeral;

#[test]
fn a_fresh_tree_looks_like_zookeepers() {
    let script = Script::new();
    assert_eq!(script.tree.node_count(), 4);
    assert_eq!(script.stat("/"), Stat { cversion: -1, num_children: 1, ..Stat::default() });
    assert_eq!(script.stat("/zookeeper"), Stat { cversion: -2, num_children: 2, ..Stat::default() });
    assert_eq!(script.stat(CONFIG_NODE), Stat { aversion: -1, ..Stat::default() });
    assert_eq!(script.tree.lookup(""), Some(NodeId::ROOT));
    for nowhere in ["a", "//", "/zookeeper/", "/zookeeper//quota", "/x"] {
        assert_eq!(script.tree.lookup(nowhere), None, "{nowhere}");
    }
}

#[test]
fn stat_arithmetic_and_sequence_numbers() {
    let mut script = Script::new();
    script.create("/p");
    assert_eq!(script.created("/p/s-", PERSISTENT, true), "/p/s-0000000000");
    assert_eq!(script.created("/p/s-", PERSISTENT, true), "/p/s-0000000001");
    assert_eq!(script.stat("/p").cversion, 2);
    script.delete("/p/s-0000000000");
    assert_eq!(script.stat("/p").cversion, 3);
    assert_eq!(script.stat("/p").pzxid, script.tree.zxid().to_wire());
    script.create("/p/plain");
    assert_eq!(script.create("/p/plain"), failed(ErrorCode::NodeExists));
    assert_eq!(script.created("/p/s-", PERSISTENT, true), "/p/s-0000000003");
    assert_eq!(script.stat("/p").cversion, 5);
    assert_eq!(script.created("/p/", PERSISTENT, true), "/p/0000000004");

    let before = script.stat("/p");
    script.run(ME, Op::SetAcl { path: "/p", acl: vec![OPEN], version: 0 });
    assert_eq!(script.stat("/p"), Stat { aversion: 1, ..before });
    script.run(ME, Op::SetData { path: "/p", data: None, version: 0 });
    let zxid = script.tree.zxid();
    let expected = Stat {
        aversion: 1,
        version: 1,
        mzxid: zxid.to_wire(),
        mtime: 1000 + zxid.0 as i64,
        data_length: 0,
        ..before
    };
    assert_eq!(script.stat("/p"), expected);
}

#[test]
fn sequence_numbers_overflow_into_negative_ones() {
    let mut script = Script::new();
    script.create("/p");
    let parent = script.tree.lookup("/p").unwrap();
    script.tree.arena.node_mut(parent).creates = i32::MAX;
    assert_eq!(script.created("/p/s", PERSISTENT, true), "/p/s2147483647");
    assert_eq!(script.created("/p/s", PERSISTENT, true), "/p/s-2147483648");
}

#[test]
fn the_order_of_checks() {
    let mut script = Script::new();
    script.create_as("/e", EPHEMERAL, false);
    script.create("/p");
    script.create("/p/c");
    for (op, code) in [
        (create("nowhere", b"", PERSISTENT, false), ErrorCode::BadArguments),
        (create("/x/\0", b"", PERSISTENT, false), ErrorCode::BadArguments),
        (create("/a//b", b"", PERSISTENT, false), ErrorCode::NoNode),
        (create("/p/", b"", PERSISTENT, false), ErrorCode::BadArguments),
        (create("/p/\u{1}", b"", PERSISTENT, false), ErrorCode::BadArguments),
        (create("/", b"", PERSISTENT, false), ErrorCode::NodeExists),
        (create("/e/c", b"", PERSISTENT, false), ErrorCode::NoChildrenForEphemerals),
        (Op::Delete { path: "/", version: -1 }, ErrorCode::BadArguments),
        (Op::Delete { path: "/zookeeper/config", version: -1 }, ErrorCode::BadArguments),
        (Op::Delete { path: "/q/x", version: -1 }, ErrorCode::NoNode),
        (Op::Delete { path: "/p", version: 3 }, ErrorCode::BadVersion),
        (Op::Delete { path: "/p", version: 0 }, ErrorCode::NotEmpty),
        (Op::SetData { path: "/p/", data: None, version: -1 }, ErrorCode::BadArguments),
        (Op::SetData { path: "/q", data: None, version: -1 }, ErrorCode::NoNode),
        (Op::SetData { path: "/p", data: None, version: -7 }, ErrorCode::BadVersion),
        (Op::SetData { path: CONFIG_NODE, data: None, version: -1 }, ErrorCode::NoAuth),
        (Op::SetAcl { path: "/q", acl: vec![], version: -1 }, ErrorCode::InvalidAcl),
        (Op::DeleteContainer { path: "/p/c" }, ErrorCode::BadVersion),
        (Op::DeleteContainer { path: "/p" }, ErrorCode::NotEmpty),
    ] {
        assert_eq!(script.run(ME, op.clone()), failed(code), "{op:?}");
    }
    assert_eq!(script.run(8, create("/y", b"", PERSISTENT, false)), failed(ErrorCode::SessionExpired));
    let no_acl = CreateOp { path: "/n/x", data: None, acl: vec![], lifetime: PERSISTENT, sequential: false };
    assert_eq!(
        script.run(ME, Op::Create(no_acl)),
        failed(ErrorCode::InvalidAcl),
        "before the parent is looked up"
    );
}

#[test]
fn acls_guard_writes() {
    let mut script = Script::new();
    script.identities.push(("digest", "u:h"));
    let mine = AclRecord { perms: 31, scheme: "auth", id: "" };
    let op = Op::Create(CreateOp {
        path: "/m",
        data: None,
        acl: vec![mine],
        lifetime: PERSISTENT,
        sequential: false,
    });
    assert!(matches!(script.run(ME, op), Outcome::Created { .. }));
    script.identities.pop();
    assert_eq!(script.create("/m/x"), failed(ErrorCode::NoAuth));
    assert_eq!(
        script.run(ME, Op::SetData { path: "/m", data: None, version: -1 }),
        failed(ErrorCode::NoAuth)
    );
    assert_eq!(
        script.run(ME, Op::SetAcl { path: "/m", acl: vec![OPEN], version: -1 }),
        failed(ErrorCode::NoAuth)
    );
    script.rules.skip_acl = true;
    assert!(matches!(script.create("/m/x"), Outcome::Created { .. }));
    script.rules.skip_acl = false;
    script.identities.push(("super", ""));
    assert_eq!(script.delete("/m/x"), Outcome::Deleted);
}

#[test]
fn closing_a_session_takes_its_ephemerals_along() {
    let mut script = Script::new();
    script.create("/p");
    script.create_as("/p/b", EPHEMERAL, false);
    script.create_as("/p/a", EPHEMERAL, false);
    script.changes.clear();
    assert_eq!(script.run(ME, Op::CloseSession), Outcome::SessionClosed);
    assert_eq!(
        script.changes(),
        [(EventType::NodeDeleted, "/p/a".to_owned()), (EventType::NodeDeleted, "/p/b".to_owned())]
    );
    assert_eq!(script.stat("/p").num_children, 0);
    assert_eq!(script.run(ME, Op::CloseSession), Outcome::SessionClosed, "again does no harm");
}

#[test]
fn a_failed_multi_leaves_no_trace() {
    let mut script = Script::new();
    script.create("/p");
    script.create_as("/p/e", EPHEMERAL, false);
    script.create("/q");
    script.create(&format!("{}/q", quota::QUOTA_ROOT));
    script.create(&quota::limits_path("/q"));
    script.create(&quota::stats_path("/q"));
    assert_eq!(script.data(&quota::stats_path("/q")), "count=1,bytes=1");
    script.changes.clear();
    let before = script.tree.content_digest();
    let limits = quota::limits_path("/q");
    let ops = vec![
        create("/p/s", b"", EPHEMERAL, true),
        create("/p/s0000000001", b"", PERSISTENT, false),
        create("/q/x", b"12", PERSISTENT, false),
        Op::SetData { path: "/q", data: None, version: 0 },
        Op::SetData { path: "/q", data: Some(b"abc"), version: 1 },
        Op::Delete { path: "/p/e", version: 0 },
        Op::Delete { path: &limits, version: 0 },
        create("/p/e", b"", PERSISTENT, false),
        Op::Delete { path: "/p/s0000000001", version: -1 },
        Op::Check { path: "/p", version: 9 },
        Op::Delete { path: "/p", version: 9 },
    ];
    // The second create meets the name that the sequence gave: it fails at once; without it, only the check fails.
    let result = script.run(ME, Op::Multi(ops.clone()));
    assert_eq!(result, Outcome::MultiFailed { index: 1, code: ErrorCode::NodeExists, count: 11 });
    assert_eq!(script.tree.content_digest(), before);
    let mut rest = ops;
    rest.remove(1);
    let result = script.run(ME, Op::Multi(rest.clone()));
    assert_eq!(result, Outcome::MultiFailed { index: 8, code: ErrorCode::BadVersion, count: 10 });
    assert_eq!(script.tree.content_digest(), before);
    assert_eq!(script.changes(), []);
    assert_eq!(script.data(&quota::stats_path("/q")), "count=1,bytes=1");

    rest.truncate(8);
    let Outcome::Multi(outcomes) = script.run(ME, Op::Multi(rest)) else { panic!("it succeeds now") };
    assert_eq!(outcomes.len(), 8);
    let Outcome::Created { path, stat } = &outcomes[0] else { panic!() };
    assert_eq!((&**path, stat.czxid), ("/p/s0000000001", script.tree.zxid().to_wire()));
    assert_eq!(script.stat("/p").num_children, 1);
    assert_eq!(script.run(ME, Op::Multi(vec![])), Outcome::Multi(vec![]));
}

#[test]
fn quotas_count_and_forbid() {
    let mut script = Script::new();
    script.create("/q");
    script.create("/q/a");
    script.create(&format!("{}/q", quota::QUOTA_ROOT));
    let limits = quota::limits_path("/q");
    script
        .run(ME, create(&limits, b"count=-1,bytes=-1=;byteHardLimit=6;countHardLimit=3", PERSISTENT, false));
    script.create(&quota::stats_path("/q"));
    assert_eq!(script.data(&quota::stats_path("/q")), "count=2,bytes=2");
    script.rules.enforce_quota = true;
    script.create("/q/b");
    assert_eq!(script.create("/q/c"), failed(ErrorCode::QuotaExceeded));
    let set = |data| Op::SetData { path: "/q/b", data: Some(data), version: -1 };
    assert_eq!(script.run(ME, set(b"12345")), failed(ErrorCode::QuotaExceeded));
    assert!(matches!(script.run(ME, set(b"1234")), Outcome::DataSet(_)));
    assert_eq!(script.data(&quota::stats_path("/q")), "count=3,bytes=6");
    assert_eq!(script.stat(&quota::stats_path("/q")).version, 0, "bookkeeping leaves no trace in the stat");
    script.delete("/q/b");
    assert_eq!(script.data(&quota::stats_path("/q")), "count=2,bytes=2");
    script.delete(&limits);
    script.create("/q/b");
    assert_eq!(script.data(&quota::stats_path("/q")), "count=2,bytes=2", "nothing is counted without limits");
}

#[test]
fn containers_and_ttl_nodes_become_due() {
    let mut script = Script::new();
    script.create_as("/c", LifetimeRecord::Container, false);
    script.create_as("/t", LifetimeRecord::Ttl { ms: 100 }, false);
    let due = |script: &Script, now: i64| -> Vec<String> {
        script.tree.lifetimes().due(now).map(|id| script.tree.path(id)).collect()
    };
    let born = script.stat("/t").mtime;
    assert_eq!(script.stat("/c").ephemeral_owner, 0);
    assert_eq!(due(&script, born + 100), Vec::<String>::new());
    assert_eq!(due(&script, born + 101), ["/t"]);
    script.create("/t/x");
    script.create("/c/x");
    assert_eq!(due(&script, i64::MAX - 1), Vec::<String>::new(), "nodes with children stay");
    script.delete("/t/x");
    script.delete("/c/x");
    assert_eq!(due(&script, born + 101), ["/c", "/t"]);
    let node = script.tree.node(script.tree.lookup("/c").unwrap()).clone();
    let reap = Op::Reap { path: "/c", czxid: node.czxid.0, mzxid: node.mzxid.0, pzxid: node.pzxid.0 };
    script.create("/c/y");
    assert_eq!(script.run(0, reap.clone()), failed(ErrorCode::BadVersion), "it was used meanwhile");
    script.delete("/c/y");
    assert_eq!(script.run(0, reap), failed(ErrorCode::BadVersion));
    assert_eq!(script.run(ME, Op::DeleteContainer { path: "/c" }), Outcome::Deleted);
    assert_eq!(due(&script, born + 101), ["/t"]);
}

/// Takes a snapshot in steps of `slots`, doing `between` after each.
fn snapshot(script: &mut Script, slots: u32, mut between: impl FnMut(&mut Script, usize)) -> Vec<Vec<u8>> {
    script.tree.begin_snapshot();
    let mut chunks = Vec::new();
    for step in 0.. {
        script.tree.advance_snapshot(slots);
        while let Some(chunk) = script.tree.next_snapshot_chunk() {
            chunks.push(chunk);
        }
        if !script.tree.snapshot_in_progress() {
            break;
        }
        between(script, step);
    }
    chunks
}

fn load(chunks: &[Vec<u8>]) -> Tree {
    let mut loader = Loader::new(99);
    for chunk in chunks {
        loader.chunk(chunk).unwrap();
    }
    let tree = loader.finish().unwrap();
    tree.check_invariants();
    tree
}

#[test]
fn a_snapshot_is_exact_although_the_tree_goes_on() {
    let mut script = Script::new();
    script.create("/p");
    script.create(&format!("{}/p", quota::QUOTA_ROOT));
    script.create(&quota::limits_path("/p"));
    script.create(&quota::stats_path("/p"));
    let private = AclRecord { perms: 1, scheme: "digest", id: "u:h" };
    for at in 0..200 {
        script.run(ME, create(&format!("/p/n{at}"), &vec![7; at], [PERSISTENT, EPHEMERAL][at % 2], false));
        if at % 5 == 0 {
            script.run(ME, Op::SetAcl { path: &format!("/p/n{at}"), acl: vec![OPEN, private], version: 0 });
        }
    }
    let (before, digest, bytes) =
        (script.tree.content_digest(), script.tree.digest(), script.tree.data_bytes());
    let zxid = script.tree.zxid();
    let chunks = snapshot(&mut script, 3, |script, step| {
        let path = format!("/p/n{}", 199 - step.min(199));
        script.run(ME, Op::SetData { path: &path, data: Some(b"later"), version: -1 });
        script.run(ME, Op::SetAcl { path: &path, acl: vec![private], version: -1 });
        if step % 3 == 0 {
            script.delete(&path);
            script.create(&format!("/p/new{step}"));
        }
        if step == 20 {
            script.run(ME, Op::CloseSession);
            script.run(ME, Op::CreateSession { timeout_ms: 1 });
        }
    });
    assert_ne!(script.tree.content_digest(), before);
    let loaded = load(&chunks);
    assert_eq!((loaded.content_digest(), loaded.digest(), loaded.zxid()), (before, digest, zxid));
    assert_eq!(loaded.data_bytes(), bytes);
    assert!(!loaded.quotas.is_empty());

    // And the loaded tree can be written and read again.
    let mut again = Script { tree: loaded, ..Script::new() };
    again.delete("/p/n7");
    let digest = again.tree.content_digest();
    let chunks = snapshot(&mut again, 1000, |_, _| {});
    assert_eq!(load(&chunks).content_digest(), digest);
}

#[test]
fn damaged_chunks_are_refused() {
    let mut script = Script::new();
    script.create("/p");
    script.create_as("/e", EPHEMERAL, false);
    let chunks = snapshot(&mut script, 1000, |_, _| {});
    let attempt = |chunks: Vec<Vec<u8>>| -> Result<Tree, super::snapshot::LoadError> {
        let mut loader = Loader::new(1);
        for chunk in &chunks {
            loader.chunk(chunk)?;
        }
        loader.finish()
    };
    for missing in 0..chunks.len() {
        let mut fewer = chunks.clone();
        fewer.remove(missing);
        // Without the one list of entries for everybody nothing is missing: it is always there.
        assert!(attempt(fewer).is_err(), "without chunk {missing}");
        let mut twice = chunks.clone();
        twice.insert(missing, chunks[missing].clone());
        assert!(attempt(twice).is_err() || chunks[missing][0] == b'S', "with chunk {missing} twice");
    }
    for (at, chunk) in chunks.iter().enumerate() {
        for byte in 0..chunk.len() {
            let mut noise = chunks.clone();
            noise[at][byte] ^= 0x80;
            // Whatever comes of it, nothing panics.
            let _ = attempt(noise);
        }
    }
}

#[test]
fn a_snapshot_whose_root_belongs_to_a_session_is_refused() {
    let mut tree = Tree::new(1);
    tree.arena.node_mut(NodeId::ROOT).owner = znode::Owner(5);
    tree.begin_snapshot();
    tree.advance_snapshot(u32::MAX);
    let mut loader = Loader::new(2);
    let refused =
        std::iter::from_fn(|| tree.next_snapshot_chunk()).find_map(|chunk| loader.chunk(&chunk).err());
    assert_eq!(refused.expect("refused").to_string(), "the root belongs to somebody");
}
