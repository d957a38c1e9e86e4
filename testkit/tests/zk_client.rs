//! Our client against our coordinator, or against Apache ZooKeeper with `CLIENT_AGAINST=zookeeper`.

mod support;

use std::time::Duration;

use client::zk::{
    Acl, Coordinator, CreateMode, Data, Error, EventType, Identity, MultiOutcome, MultiReadOutcome, Notice,
    SessionState, Stat, Tls, Watch, WatcherType, ZnodePath, perms,
};
use support::{PATIENCE, connect, connect_through, kind, start};
use testkit::certificates::Authority;
use testkit::process::{Ensemble, Flow, Link, Options, free_port};

async fn next(watch: &mut Watch) -> Notice {
    let next = tokio::time::timeout(PATIENCE, watch.next()).await;
    next.expect("a notice in time").expect("a notice before the end")
}

/// The next change, in short.
async fn change(watch: &mut Watch) -> (EventType, String) {
    match next(watch).await {
        Notice::Changed(event) => (event.kind, event.path),
        other => panic!("a change expected, got {other:?}"),
    }
}

#[tokio::test]
async fn every_operation() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    let (created, zxid) = zk.create("/a", b"one", CreateMode::Persistent).with_zxid().await.unwrap();
    assert_eq!((created.path.as_str(), created.stat.version), ("/a", 0));
    assert_eq!(created.stat.czxid, zxid.to_wire());
    assert_eq!(zk.create("/a", b"", CreateMode::Persistent).await, Err(Error::NodeExists));
    assert_eq!(zk.create("/x/y", b"", CreateMode::Persistent).await, Err(Error::NoNode));

    let stat = zk.set("/a", b"three", 0).await.unwrap();
    assert_eq!((stat.version, stat.data_length), (1, 5));
    assert_eq!(zk.set("/a", b"", 0).await, Err(Error::BadVersion));
    let (data, read) = zk.get("/a").await.unwrap();
    assert_eq!((&data[..], read), (&b"three"[..], stat));
    assert_eq!(zk.exists("/a").await, Ok(Some(stat)));
    assert_eq!(zk.exists("/b").await, Ok(None));
    assert_eq!(zk.get("/b").await, Err(Error::NoNode));

    let first = zk.create("/a/s-", b"", CreateMode::PersistentSequential).await.unwrap();
    let second = zk.create("/a/", b"", CreateMode::EphemeralSequential).await.unwrap();
    assert_eq!((first.path.as_str(), second.path.as_str()), ("/a/s-0000000000", "/a/0000000001"));
    assert_eq!(Some(second.stat.ephemeral_owner), zk.session_id().map(|id| id.0));
    let (mut names, stat) = zk.children("/a").await.unwrap();
    names.sort();
    assert_eq!(names, ["0000000001", "s-0000000000"]);
    assert_eq!(stat.num_children, 2);
    assert_eq!(zk.ephemerals("/").await.unwrap(), ["/a/0000000001"]);
    assert_eq!(zk.ephemerals("/b").await.unwrap(), [""; 0]);
    assert_eq!(zk.all_children_number("/a").await, Ok(2));
    assert_eq!(
        zk.create(&format!("{}/x", second.path), b"", CreateMode::Persistent).await,
        Err(Error::NoChildrenForEphemerals)
    );
    assert_eq!(zk.delete("/a", None).await, Err(Error::NotEmpty));
    zk.delete(&first.path, 0).await.unwrap();

    zk.create("/box", b"", CreateMode::Container).await.unwrap();
    zk.create("/brief", b"", CreateMode::Ttl(Duration::from_secs(3600))).await.unwrap();
    let brief =
        zk.create("/brief-", b"", CreateMode::TtlSequential(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(brief.path.len(), "/brief-".len() + 10);

    zk.sync("/a").await.unwrap();
    let (config, _) = zk.config().await.unwrap();
    assert!(config.is_empty() || config.starts_with(b"server."));
    let change = client::zk::Reconfig::change(["server.9=localhost:1:2;3"], ["1"]);
    let refused = zk.reconfig(change).await;
    assert!(matches!(refused, Err(Error::ReconfigDisabled | Error::Unimplemented)), "{refused:?}");

    for bad in ["", "a", "/a/", "/a//b", "/a/../b", "/\0"] {
        assert!(matches!(zk.get(bad).await, Err(Error::BadPath { .. })), "{bad:?}");
    }
    zk.close().await.unwrap();
    assert_eq!(zk.get("/a").await, Err(Error::Closed));
    assert_eq!(zk.state(), SessionState::Closed);
    let other = connect(&server).await;
    assert_eq!(other.exists("/a/0000000001").await, Ok(None), "ephemerals go with the session");
}

#[tokio::test]
async fn transactions_happen_whole_or_not_at_all() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    let open = CreateMode::Persistent;
    let outcomes = zk
        .multi()
        .create("/a", b"1", open)
        .create("/a/s-", b"", CreateMode::EphemeralSequential)
        .set("/a", b"2", 0)
        .check("/a", 1)
        .delete("/a/s-0000000000", None)
        .commit()
        .await
        .unwrap();
    let [
        MultiOutcome::Created(a),
        MultiOutcome::Created(s),
        MultiOutcome::Set(Stat { version: 1, .. }),
        MultiOutcome::Checked,
        MultiOutcome::Deleted,
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!((a.path.as_str(), s.path.as_str()), ("/a", "/a/s-0000000000"));
    assert_eq!(a.stat.czxid, s.stat.czxid);

    let failed = zk.multi().create("/b", b"", open).check("/a", 7).set("/a", b"", None).commit().await;
    assert_eq!(failed, Err(Error::Transaction { index: 1, error: Box::new(Error::BadVersion) }));
    assert_eq!(zk.exists("/b").await, Ok(None));
    assert_eq!(zk.multi().commit().await, Ok(vec![]));
    let bad = zk.multi().check("/a", 1).delete("bad", None).commit().await;
    assert!(matches!(bad, Err(Error::Transaction { index: 1, .. })), "{bad:?}");

    let read = zk.multi_read().get("/a").children("/").get("/none").send().await.unwrap();
    let [Ok(MultiReadOutcome::Data(data, stat)), Ok(MultiReadOutcome::Children(names)), Err(Error::NoNode)] =
        &read[..]
    else {
        panic!("{read:?}")
    };
    assert_eq!((&data[..], stat.version), (&b"2"[..], 1));
    assert!(names.contains(&"a".to_owned()));
}

#[tokio::test]
async fn who_may_do_what() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = Coordinator::builder(server.connect_string()).auth("digest", b"u:p").connect().await.unwrap();
    zk.add_auth("digest", b"v:q").await.unwrap();
    let who = zk.who_am_i().await.unwrap();
    for user in ["u", "v"] {
        assert!(who.contains(&Identity::new("digest", user)), "{who:?}");
    }
    let mine = Acl { perms: perms::ALL, identity: Identity::new("digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=") };
    zk.create("/mine", b"", CreateMode::Persistent.acl([mine.clone()])).await.unwrap();
    let (acl, stat) = zk.get_acl("/mine").await.unwrap();
    assert_eq!(acl, [mine]);
    let other = connect(&server).await;
    assert_eq!(other.get("/mine").await, Err(Error::NoAuth));
    zk.set_acl("/mine", &[Acl::open()], stat.aversion).await.unwrap();
    assert!(other.get("/mine").await.is_ok());
    assert_eq!(zk.set_acl("/mine", &[Acl::open()], stat.aversion).await, Err(Error::BadVersion));
    assert_eq!(zk.set_acl("/mine", &[], None).await, Err(Error::InvalidAcl));

    let mut states = zk.states();
    assert_eq!(zk.add_auth("nonsense", b"x").await, Err(Error::AuthFailed));
    assert_eq!(states.next().await, Some(SessionState::AuthFailed));
    assert_eq!(zk.get("/mine").await, Err(Error::AuthFailed));
}

#[tokio::test]
async fn watches_tell_what_happens() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let (none, mut appears) = zk.exists_and_watch("/a").await.unwrap();
    assert_eq!(none, None);
    let mut lasting = zk.watch("/a").await.unwrap();
    let mut below = zk.watch_recursive("/").await.unwrap();

    let (_, zxid) = other.create("/a", b"", CreateMode::Persistent).with_zxid().await.unwrap();
    let Notice::Changed(event) = next(&mut appears).await else { panic!("no change") };
    assert_eq!((event.kind, event.path.as_str()), (EventType::NodeCreated, "/a"));
    assert_eq!(event.zxid, Some(zxid));
    assert_eq!(appears.next().await, None, "one shot");

    let (_, _, mut data) = zk.get_and_watch("/a").await.unwrap();
    let (_, _, mut children) = zk.children_and_watch("/a").await.unwrap();
    other.set("/a", b"x", None).await.unwrap();
    other.create("/a/b", b"", CreateMode::Persistent).await.unwrap();
    other.delete("/a/b", None).await.unwrap();
    other.delete("/a", None).await.unwrap();
    assert_eq!(change(&mut data).await, (EventType::NodeDataChanged, "/a".into()));
    assert_eq!(change(&mut children).await, (EventType::NodeChildrenChanged, "/a".into()));
    for expected in [
        (EventType::NodeCreated, "/a"),
        (EventType::NodeDataChanged, "/a"),
        (EventType::NodeChildrenChanged, "/a"),
        (EventType::NodeChildrenChanged, "/a"),
        (EventType::NodeDeleted, "/a"),
    ] {
        assert_eq!(change(&mut lasting).await, (expected.0, expected.1.to_owned()));
    }
    for expected in [
        (EventType::NodeCreated, "/a"),
        (EventType::NodeDataChanged, "/a"),
        (EventType::NodeCreated, "/a/b"),
        (EventType::NodeDeleted, "/a/b"),
        (EventType::NodeDeleted, "/a"),
    ] {
        assert_eq!(change(&mut below).await, (expected.0, expected.1.to_owned()));
    }

    zk.check_watches("/a", WatcherType::Any).await.unwrap();
    zk.remove_watches("/a", WatcherType::Any).await.unwrap();
    assert_eq!(next(&mut lasting).await, Notice::Removed);
    assert_eq!(lasting.next().await, None);
    assert_eq!(zk.check_watches("/a", WatcherType::Any).await, Err(Error::NoWatcher));
    assert_eq!(zk.remove_watches("/a", WatcherType::Any).await, Err(Error::NoWatcher));

    // A stream that is dropped takes its watch with it.
    zk.check_watches("/", WatcherType::Any).await.unwrap();
    drop(below);
    zk.sync("/").await.unwrap();
    assert_eq!(zk.check_watches("/", WatcherType::Any).await, Err(Error::NoWatcher));
    // So does a request that nobody waits for.
    drop(zk.watch("/c"));
    zk.sync("/").await.unwrap();
    zk.sync("/").await.unwrap();
    assert_eq!(zk.check_watches("/c", WatcherType::Any).await, Err(Error::NoWatcher));
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_missed() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = Coordinator::builder(server.connect_string()).watch_capacity(3).connect().await.unwrap();
    zk.create("/a", b"", CreateMode::Persistent).await.unwrap();
    let mut watch = zk.watch("/a").await.unwrap();
    for _ in 0..10 {
        zk.set("/a", b"", None).await.unwrap();
    }
    for _ in 0..3 {
        change(&mut watch).await;
    }
    assert_eq!(next(&mut watch).await, Notice::Lagged(7));
    zk.set("/a", b"", None).await.unwrap();
    change(&mut watch).await;
}

#[tokio::test]
async fn a_chroot_is_the_whole_world() {
    let Some(server) = start(Options::for_tests()) else { return };
    let outside = connect(&server).await;
    outside.create("/r", b"root", CreateMode::Persistent).await.unwrap();
    let zk = Coordinator::connect(format!("{}/r", server.connect_string())).await.unwrap();
    assert_eq!(&zk.get("/").await.unwrap().0[..], b"root");
    let mut below = zk.watch_recursive("/").await.unwrap();
    let created = zk.create("/a-", b"", CreateMode::EphemeralSequential).await.unwrap();
    assert_eq!(created.path, "/a-0000000000");
    assert_eq!(change(&mut below).await, (EventType::NodeCreated, created.path.clone()));
    assert_eq!(zk.ephemerals("/").await.unwrap(), std::slice::from_ref(&created.path));
    assert_eq!(outside.children("/r").await.unwrap().0, ["a-0000000000"]);
    let outcomes = zk.multi().create("/b", b"", CreateMode::Persistent).commit().await.unwrap();
    assert!(matches!(&outcomes[..], [MultiOutcome::Created(created)] if created.path == "/b"));
    let deeper = zk.chroot("/b").unwrap();
    deeper.create("/c", b"", CreateMode::Persistent).await.unwrap();
    assert!(outside.exists("/r/b/c").await.unwrap().is_some());
    assert!(zk.config().await.is_ok(), "the configuration is the same for everybody");
}

#[tokio::test]
async fn requests_are_pipelined_in_the_order_of_the_calls() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    zk.create("/q", b"", CreateMode::Persistent).await.unwrap();
    let creates: Vec<_> =
        (0..2000).map(|_| zk.create("/q/n-", b"payload", CreateMode::PersistentSequential)).collect();
    let count = zk.children("/q");
    for (number, create) in creates.into_iter().enumerate() {
        assert_eq!(create.await.unwrap().path, format!("/q/n-{number:010}"));
    }
    assert_eq!(count.await.unwrap().0.len(), 2000);

    // More than may be under way: the rest waits for its turn.
    let small = Coordinator::builder(server.connect_string())
        .request_bytes_max(10_000)
        .outstanding_bytes_max(40_000)
        .connect()
        .await
        .unwrap();
    let reads: Vec<_> = (0..100).map(|_| small.get("/q")).collect();
    for read in reads {
        read.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_too_large_says_so() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = Coordinator::builder(server.connect_string()).reply_bytes_max(10_000).connect().await.unwrap();
    let refused = zk.create("/a", &vec![0; 2 << 20], CreateMode::Persistent).await;
    assert!(matches!(refused, Err(Error::RequestTooLarge { limit: 0xf_ffff, .. })), "{refused:?}");
    zk.create("/big", &[7; 50_000], CreateMode::Persistent).await.unwrap();
    let (before, big, after) = (zk.exists("/big"), zk.get("/big"), zk.exists("/big"));
    let refused = big.await;
    assert!(
        matches!(refused, Err(Error::ReplyTooLarge { limit: 10_000, bytes }) if bytes > 50_000),
        "{refused:?}"
    );
    assert!(before.await.unwrap().is_some());
    assert!(after.await.unwrap().is_some(), "the connection goes on");
    assert!(zk.session_id().is_some());
}

#[tokio::test]
async fn a_lost_connection_is_visible_and_watches_come_back() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 1).unwrap();
    let zk = Coordinator::builder(link.address().to_string()).seed(1).connect().await.unwrap();
    let other = connect(&server).await;
    for path in ["/data", "/gone", "/parent"] {
        zk.create(path, b"", CreateMode::Persistent).await.unwrap();
    }
    let session = zk.session_id();
    zk.create("/mine", b"", CreateMode::Ephemeral).await.unwrap();
    let mut states = zk.states();
    let (_, _, mut data) = zk.get_and_watch("/data").await.unwrap();
    let (_, _, mut gone) = zk.children_and_watch("/gone").await.unwrap();
    let (_, _, mut children) = zk.children_and_watch("/parent").await.unwrap();
    let (_, mut appears) = zk.exists_and_watch("/new").await.unwrap();
    let (_, _, mut quiet) = zk.get_and_watch("/parent").await.unwrap();
    let mut lasting = zk.watch("/data").await.unwrap();

    link.set(Flow::Forth, |conditions| conditions.blocked = true);
    let lost_write = zk.set("/parent", b"", None);
    let lost_read = zk.get("/data");
    tokio::task::yield_now().await;
    other.set("/data", b"new", None).await.unwrap();
    other.delete("/gone", None).await.unwrap();
    other.create("/parent/child", b"", CreateMode::Persistent).await.unwrap();
    // What happened before the loss is told as it happens; the rest afterwards.
    link.reset();
    link.heal();
    assert_eq!(lost_write.await, Err(Error::UnknownOutcome));
    assert_eq!(&lost_read.await.unwrap().0[..], b"new", "a read is asked again");
    assert_eq!(states.next().await, Some(SessionState::Suspended));
    assert!(matches!(states.next().await, Some(SessionState::Connected { .. })));
    assert_eq!(zk.session_id(), session, "it is the same session");
    assert!(zk.exists("/mine").await.unwrap().is_some());

    other.create("/new", b"", CreateMode::Persistent).await.unwrap();
    for (watch, expected) in [
        (&mut data, EventType::NodeDataChanged),
        (&mut gone, EventType::NodeDeleted),
        (&mut children, EventType::NodeChildrenChanged),
        (&mut appears, EventType::NodeCreated),
    ] {
        loop {
            match next(watch).await {
                Notice::Changed(event) => break assert_eq!(event.kind, expected),
                Notice::Suspended | Notice::Resumed => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(watch.next().await, None);
    }
    assert_eq!(next(&mut quiet).await, Notice::Suspended);
    assert_eq!(next(&mut quiet).await, Notice::Resumed);
    let mut seen = Vec::new();
    while seen.last() != Some(&Notice::Resumed) {
        seen.push(next(&mut lasting).await);
    }
    assert!(seen.contains(&Notice::Suspended), "{seen:?}");
    other.set("/data", b"newer", None).await.unwrap();
    assert_eq!(change(&mut lasting).await, (EventType::NodeDataChanged, "/data".into()));
}

#[tokio::test]
async fn expiry_is_told_once() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 2).unwrap();
    let zk = connect_through(&link).await;
    zk.create("/mine", b"", CreateMode::Ephemeral).await.unwrap();
    let mut states = zk.states();
    let mut watch = zk.watch("/mine").await.unwrap();
    link.set(Flow::Forth, |conditions| conditions.blocked = true);
    link.set(Flow::Back, |conditions| conditions.blocked = true);
    assert_eq!(states.next().await, Some(SessionState::Suspended));
    assert_eq!(zk.get("/mine").await, Err(Error::ConnectionLoss), "no server in time");
    assert_eq!(states.next().await, Some(SessionState::Overdue));
    // Until the server has had time to notice.
    let other = connect(&server).await;
    while other.exists("/mine").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    link.heal();
    assert_eq!(states.next().await, Some(SessionState::Expired));
    assert_eq!(states.next().await, None);
    assert_eq!(next(&mut watch).await, Notice::Suspended);
    assert_eq!(next(&mut watch).await, Notice::Expired);
    assert_eq!(watch.next().await, None);
    assert_eq!(zk.get("/mine").await, Err(Error::SessionExpired));
}

#[tokio::test]
async fn a_session_outlives_its_server() {
    let Some(mut server) = start(Options::for_tests()) else { return };
    let builder = Coordinator::builder(server.connect_string()).session_timeout(PATIENCE);
    let zk = builder.connect().await.unwrap();
    zk.create("/mine", b"", CreateMode::Ephemeral).await.unwrap();
    let session = zk.session_id();
    server.kill_and_restart().unwrap();
    assert!(zk.exists("/mine").await.unwrap().is_some());
    assert_eq!(zk.session_id(), session);
    drop(zk);
    // The last handle closes the session, long before it would expire.
    let other = connect(&server).await;
    let gone = async {
        while other.exists("/mine").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE / 4, gone).await.expect("the session is closed");
}

#[tokio::test]
async fn a_session_outlives_each_member_of_an_ensemble() {
    let Some(kind) = kind() else { return };
    let mut ensemble = Ensemble::start_new(kind, 3, Options::for_tests()).expect("three members");
    let zk =
        Coordinator::builder(ensemble.connect_string()).session_timeout(PATIENCE).connect().await.unwrap();
    let session = zk.session_id();
    zk.create("/mine", b"", CreateMode::Ephemeral).await.unwrap();
    let mut watch = zk.watch("/mine").await.unwrap();
    for index in 0..3 {
        ensemble.member_mut(index).kill().unwrap();
        let (mut outcome, mut tries) = (Err(Error::ConnectionLoss), 0);
        while let Err(Error::ConnectionLoss | Error::UnknownOutcome) = outcome {
            assert!(tries < 100, "no write gets through");
            outcome = zk.set("/mine", index.to_string().as_bytes(), None).await.map(drop);
            tries += 1;
        }
        outcome.unwrap();
        zk.sync("/mine").await.unwrap();
        assert_eq!(&zk.get("/mine").await.unwrap().0[..], index.to_string().as_bytes());
        ensemble.member_mut(index).launch().unwrap();
        ensemble.await_whole(2 * PATIENCE).unwrap();
    }
    assert_eq!(zk.session_id(), session);
    zk.delete("/mine", None).await.unwrap();
    loop {
        if matches!(next(&mut watch).await, Notice::Changed(event) if event.kind == EventType::NodeDeleted) {
            break;
        }
    }
}

#[tokio::test]
async fn one_of_several_hosts_is_enough() {
    let Some(server) = start(Options::for_tests()) else { return };
    let dead = free_port();
    for seed in 0..4 {
        let hosts = format!("127.0.0.1:{dead},{},localhost:{dead}", server.connect_string());
        let zk = Coordinator::builder(hosts).seed(seed).connect().await.unwrap();
        assert!(zk.exists("/").await.unwrap().is_some());
    }
    let nobody =
        Coordinator::builder(format!("127.0.0.1:{dead}")).connect_timeout(Duration::from_millis(300));
    let Err(Error::Unreachable(reason)) = nobody.connect().await else { panic!("nobody is there") };
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn sasl_proves_both_sides() {
    let Some(server) = start(Options::for_tests().sasl_user("bob", "bobsecret")) else { return };
    let zk = Coordinator::builder(server.connect_string())
        .sasl_digest_md5("bob", "bobsecret")
        .connect()
        .await
        .unwrap();
    let who = zk.who_am_i().await.unwrap();
    assert!(who.contains(&Identity::new("sasl", "bob")), "{who:?}");
    let refused =
        Coordinator::builder(server.connect_string()).sasl_digest_md5("bob", "wrong").connect().await;
    assert_eq!(refused.err(), Some(Error::AuthFailed));
}

#[tokio::test]
async fn tls_trusts_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, foreign) = (Authority::new("authority").unwrap(), Authority::new("foreign").unwrap());
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let trusted = file("authority.pem", &authority.pem);
    let untrusted = file("foreign.pem", &foreign.pem);
    let identity = file("client.pem", &authority.issue("client").unwrap());
    let port = free_port();
    let mut options = Options::for_tests()
        .key("secureClientPort", port)
        .key("secureClientPortAddress", "127.0.0.1")
        .key("ssl.keyStore.location", file("server.pem", &authority.issue("server").unwrap()).display())
        .key("ssl.keyStore.type", "PEM")
        .key("ssl.trustStore.location", trusted.display())
        .key("ssl.trustStore.type", "PEM")
        .key("ssl.clientAuth", "need")
        .key("serverCnxnFactory", "org.apache.zookeeper.server.NettyServerCnxnFactory")
        .key("authProvider.1", "org.apache.zookeeper.server.auth.X509AuthenticationProvider");
    options.jvm_flags.push("-Dzookeeper.fips-mode=false".to_owned());
    let Some(_server) = start(options) else { return };
    let builder = |tls| Coordinator::builder(format!("localhost:{port}")).tls(tls);
    // The first handshake of a Java server takes seconds; those after it do not.
    let known = Tls::new(&trusted).identity(&identity, &identity);
    let zk = builder(known).connect_timeout(PATIENCE).connect().await.unwrap();
    let builder = |tls| builder(tls).connect_timeout(Duration::from_secs(5));
    zk.create("/big", &vec![7; 500_000], CreateMode::Persistent).await.unwrap();
    assert_eq!(zk.get("/big").await.unwrap().0.len(), 500_000);
    let who = zk.who_am_i().await.unwrap();
    assert!(who.iter().any(|identity| identity.scheme == "x509"), "{who:?}");

    let other = builder(Tls::new(&untrusted).identity(&identity, &identity)).connect().await;
    let Err(Error::Unreachable(reason)) = other else { panic!("a server of somebody else") };
    assert!(reason.contains("certificate"), "{reason}");
    let nobody = builder(Tls::new(&trusted)).connect().await;
    assert!(matches!(nobody, Err(Error::Unreachable(_))), "a client without a certificate");
    let missing = builder(Tls::new(folder.path().join("none.pem"))).connect().await;
    assert!(matches!(missing, Err(Error::BadOption(_))));
}

#[tokio::test]
async fn null_data_is_not_the_same_as_none() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    zk.create("/null", &Data::NULL, CreateMode::Persistent).await.unwrap();
    zk.create("/empty", b"", CreateMode::Persistent).await.unwrap();
    let read = async |path: &str| zk.get(path).await.unwrap().0;
    assert!(read("/null").await.is_null() && read("/null").await.is_empty());
    assert_eq!(read("/empty").await, Data::from(&b""[..]));
    let multi = zk.multi().set("/empty", &Data::NULL, None).set("/null", &vec![1, 2], None);
    multi.commit().await.unwrap();
    assert!(read("/empty").await.is_null());
    assert_eq!(*read("/null").await, [1, 2]);
    let both = zk.multi_read().get("/empty").get("/null").send().await.unwrap();
    let is_null = |outcome: &Result<MultiReadOutcome, Error>| matches!(outcome, Ok(MultiReadOutcome::Data(data, _)) if data.is_null());
    assert_eq!(both.iter().map(is_null).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn paths_can_be_checked_before() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    let folder = ZnodePath::try_from("/folder").unwrap();
    zk.create(&folder, b"", CreateMode::Persistent).await.unwrap();
    let inside = zk.chroot(&folder).unwrap();
    let child = ZnodePath::root().child("a").unwrap();
    let created = inside.create(&child, b"x", CreateMode::PersistentSequential).await.unwrap();
    assert_eq!(created.path, "/a0000000000");
    let full = folder.child("a0000000000").unwrap();
    assert_eq!(&zk.get(&full).await.unwrap().0[..], b"x");
    assert_eq!(zk.children(&full.parent().unwrap()).await.unwrap().0, [full.name()]);
}
