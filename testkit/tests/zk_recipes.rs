//! The client's recipes against our coordinator, or against Apache ZooKeeper with `CLIENT_AGAINST=zookeeper`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::zk::recipes::{
    Cache, CacheEvent, CacheScope, DownPolicy, Led, MultiLock, ServiceInstance, Strategy,
};
use client::zk::{Coordinator, CreateMode, Error, Zxid};
use support::{connect, connect_through, soon, start, until};
use testkit::process::{Flow, Link, Options};

const BRIEF: Duration = Duration::from_millis(300);

fn cut(link: &Link, blocked: bool) {
    for flow in [Flow::Forth, Flow::Back] {
        link.set(flow, |conditions| conditions.blocked = blocked);
    }
}

/// The children of a container, which goes with the last of them.
async fn names_of(zk: &Coordinator, path: &str) -> Vec<String> {
    match zk.children(path).await {
        Ok((names, _)) => names,
        Err(Error::NoNode) => Vec::new(),
        Err(error) => panic!("{path}: {error}"),
    }
}

#[tokio::test]
async fn a_lock_has_one_holder_and_fences_rise() {
    let Some(server) = start(Options::for_tests()) else { return };
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let zk = connect(&server).await;
        for _ in 0..2 {
            let (zk, inside) = (zk.clone(), Arc::clone(&inside));
            tasks.push(tokio::spawn(async move {
                let mut fences = Vec::new();
                for _ in 0..10 {
                    let guard = zk.lock("/locks/one").acquire().await.unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "nobody else is inside");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    fences.push(guard.fence());
                    inside.fetch_sub(1, Ordering::SeqCst);
                    guard.release().await.unwrap();
                }
                fences
            }));
        }
    }
    let mut all: Vec<Zxid> = Vec::new();
    for task in tasks {
        let fences = soon(task).await.unwrap();
        assert!(fences.is_sorted());
        all.extend(fences);
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 80);
    let zk = connect(&server).await;
    assert_eq!(zk.lock("/locks/one").contenders().await.unwrap().len(), 0, "nobody left a znode behind");
}

#[tokio::test]
async fn a_lock_can_be_tried_waited_for_and_shared_by_its_owner() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let lock = zk.lock("/l").data("me");
    let guard = lock.try_acquire().await.unwrap().expect("it is free");
    assert!(other.lock("/l").try_acquire().await.unwrap().is_none());
    assert!(lock.try_acquire().await.unwrap().is_none(), "the same lock again is no exception");
    assert!(other.lock("/l").acquire_within(BRIEF).await.unwrap().is_none());
    let left = async || other.lock("/l").contenders().await.unwrap() == [b"me"];
    until("who gave up has left", left).await;
    let again = guard.clone();
    guard.release().await.unwrap();
    assert!(other.lock("/l").try_acquire().await.unwrap().is_none(), "a clone holds it still");
    drop(again);
    soon(other.lock("/l").acquire()).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_holder_can_be_asked_to_give_up() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let guard = zk.lock("/l").acquire().await.unwrap();
    assert!(tokio::time::timeout(BRIEF, guard.revoked()).await.is_err(), "nobody has asked");
    other.lock("/l").revoke().await.unwrap();
    soon(guard.revoked()).await;
    assert!(tokio::time::timeout(BRIEF, guard.lost()).await.is_err(), "it was only a question");
}

#[tokio::test]
async fn a_lock_is_lost_with_its_znode_or_its_session() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 1).unwrap();
    let (zk, other) = (connect_through(&link).await, connect(&server).await);
    let guard = zk.lock("/l").acquire().await.unwrap();
    let waiting = tokio::spawn({
        let zk = zk.clone();
        async move { zk.lock("/l").acquire().await.map(drop) }
    });
    until("both stand in line", async || other.lock("/l").contenders().await.unwrap().len() == 2).await;
    let first = guard.fence();
    other.delete(&guard.path(), None).await.unwrap();
    soon(guard.lost()).await;
    soon(waiting).await.unwrap().unwrap();

    let guard = zk.lock("/l").acquire().await.unwrap();
    assert!(guard.fence() > first);
    let (lost, next) = (guard.clone(), other.lock("/l"));
    cut(&link, true);
    // This side knows before anybody else can have the lock.
    let order = tokio::join!(
        async {
            soon(lost.lost()).await;
            std::time::Instant::now()
        },
        async {
            let guard = soon(next.acquire()).await.unwrap();
            (std::time::Instant::now(), guard.fence())
        }
    );
    assert!(order.0 <= order.1.0);
    assert!(order.1.1 > guard.fence());
    cut(&link, false);
    assert_eq!(soon(guard.release()).await, Ok(()), "what is gone need not be released");
    assert!(matches!(soon(zk.lock("/l").acquire()).await, Err(Error::SessionExpired)));
}

/// Replies are lost again and again; no contender may leave a znode that nobody knows of.
#[tokio::test]
async fn lost_answers_leave_nobody_in_the_line() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 7).unwrap();
    let builder = Coordinator::builder(link.address().to_string()).session_timeout(Duration::from_secs(20));
    let (zk, other) = (builder.connect().await.unwrap(), connect(&server).await);
    let cuts = async {
        for _ in 0..30 {
            link.set(Flow::Back, |conditions| conditions.blocked = true);
            tokio::time::sleep(Duration::from_millis(15)).await;
            link.reset();
            link.set(Flow::Back, |conditions| conditions.blocked = false);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    let work = async {
        let mut rounds = 0;
        loop {
            let guard = zk.lock("/l").acquire().await.unwrap();
            if rounds % 3 == 0 {
                drop(guard);
            } else {
                guard.release().await.unwrap();
            }
            let _ = zk.lock("/l").acquire_within(Duration::from_millis(3)).await.unwrap();
            rounds += 1;
        }
    };
    tokio::select! {
        () = cuts => {}
        () = work => unreachable!("it goes on for ever"),
    }
    until("the line is empty", async || other.lock("/l").contenders().await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn readers_share_and_writers_do_not() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let (lock, others) = (zk.rw_lock("/rw").data("one"), other.rw_lock("/rw").data("two"));
    let one = lock.read().await.unwrap();
    let two = soon(others.read()).await.unwrap();
    assert!(others.write_within(BRIEF).await.unwrap().is_none());
    until("that writer has left", async || other.children("/rw").await.unwrap().0.len() == 2).await;
    let writer = tokio::spawn({
        let others = others.clone();
        async move { others.write().await }
    });
    until("the writer waits", async || other.children("/rw").await.unwrap().0.len() == 3).await;
    assert_eq!(lock.contenders().await.unwrap(), [b"one", b"two", b"two"]);
    assert!(lock.read_within(BRIEF).await.unwrap().is_none(), "later readers wait for the writer");
    one.release().await.unwrap();
    two.release().await.unwrap();
    let writer = soon(writer).await.unwrap().unwrap();
    assert!(lock.read_within(BRIEF).await.unwrap().is_none());
    let reader = soon(others.downgrade(writer)).await.unwrap();
    let another = soon(lock.read()).await.unwrap();
    assert!(lock.write_within(BRIEF).await.unwrap().is_none());
    drop((reader, another));
    soon(lock.write()).await.unwrap().release().await.unwrap();
    assert_eq!(names_of(&zk, "/rw").await, [""; 0]);
}

#[tokio::test]
async fn a_semaphore_has_so_many_leases() {
    let Some(server) = start(Options::for_tests()) else { return };
    let inside = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let (zk, inside, most) = (connect(&server).await, Arc::clone(&inside), Arc::clone(&most));
        tasks.push(tokio::spawn(async move {
            for _ in 0..5 {
                let lease = zk.semaphore("/s", 3).acquire().await.unwrap();
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                // As many as may be are inside at the same time once.
                until("three are inside", async || most.load(Ordering::SeqCst) >= 3).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                lease.release().await.unwrap();
            }
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let zk = connect(&server).await;
    let semaphore = zk.semaphore("/s", 1).data("me");
    let lease = semaphore.acquire().await.unwrap();
    assert_eq!(semaphore.holders().await.unwrap(), [b"me"]);
    assert!(semaphore.acquire_within(BRIEF).await.unwrap().is_none());
    drop(lease);
    soon(semaphore.acquire()).await.unwrap().release().await.unwrap();

    let (of_three, theirs) = (zk.semaphore("/many", 3), connect(&server).await.semaphore("/many", 3));
    let two = of_three.acquire_many(2).await.unwrap();
    assert_eq!((two.len(), of_three.holders().await.unwrap().len()), (2, 2));
    assert!(tokio::time::timeout(BRIEF, theirs.acquire_many(2)).await.is_err(), "one is left");
    // Whoever gave up keeps nothing of what was free, and does not stand in the way.
    let third = soon(of_three.acquire()).await.unwrap();
    drop(two);
    assert_eq!(soon(theirs.acquire_many(2)).await.unwrap().len(), 2);
    assert!(matches!(theirs.acquire_many(4).await, Err(Error::BadOption(_))));
    drop(third);
}

#[tokio::test]
async fn a_latch_has_one_leader_and_the_next_is_ready() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 3).unwrap();
    let (zk, other) = (connect_through(&link).await, connect(&server).await);
    let first = zk.leader_latch("/leader", "first");
    let leadership = soon(first.leadership()).await.unwrap();
    let mut second = other.leader_latch("/leader", "second");
    until("both take part", async || second.participants().await.unwrap() == ["first", "second"]).await;
    assert!(first.has_leadership() && !second.has_leadership());

    // A short loss of the connection: leadership is in doubt, and comes back with the same fence.
    link.reset();
    soon(leadership.lost()).await;
    let again = soon(first.leadership()).await.unwrap();
    assert_eq!(again.fence(), leadership.fence());
    assert!(!second.has_leadership());

    // A long one: somebody else leads.
    cut(&link, true);
    soon(again.lost()).await;
    assert!(!first.has_leadership());
    let next = soon(second.leadership()).await.unwrap();
    assert_eq!(soon(second.changed()).await, Some(true));
    assert!(next.fence() > leadership.fence());
    cut(&link, false);
    assert_eq!(soon(first.leadership()).await.map(|_| ()), Err(Error::SessionExpired));

    // Somebody deletes the leader's znode: it stands in line again.
    let names = other.children("/leader").await.unwrap().0;
    other.delete(&format!("/leader/{}", names[0]), None).await.unwrap();
    soon(next.lost()).await;
    assert!(soon(second.leadership()).await.unwrap().fence() > next.fence());
    assert_eq!(second.leader().await.unwrap().as_deref(), Some("second"));
    // Whoever listens is told, of a latch that is closed silently only that it is.
    let mut told = second.changes();
    second.close().await.unwrap();
    assert_eq!((told.next().await, told.next().await), (Some(false), None));
    let third = other.leader_latch("/leader", "third");
    let (mut told, leadership) = (third.changes(), soon(third.leadership()).await.unwrap());
    assert_eq!(told.next().await, Some(true));
    third.close_silently().await.unwrap();
    soon(leadership.lost()).await;
    assert_eq!(told.next().await, None);
    assert_eq!(names_of(&other, "/leader").await, [""; 0]);
}

#[tokio::test]
async fn a_selector_runs_its_task_while_it_leads() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let (one, two) = (zk.leader_selector("/e", "one"), other.leader_selector("/e", "two"));
    assert_eq!(one.lead(async |fence| fence > Zxid::ZERO).await, Ok(Led::Finished(true)));
    let running = tokio::spawn(async move { one.lead(async |_| std::future::pending::<()>().await).await });
    until("one leads", async || two.leader().await.unwrap().as_deref() == Some("one")).await;
    let names = other.children("/e").await.unwrap().0;
    other.delete(&format!("/e/{}", names[0]), None).await.unwrap();
    assert_eq!(soon(running).await.unwrap(), Ok(Led::Interrupted), "the task never ends by itself");
    let held_up = tokio::time::timeout(BRIEF, two.lead(async |_| std::future::pending::<()>().await)).await;
    assert!(held_up.is_err(), "it leads until it is dropped");
    let mut turns = Vec::new();
    let repeated = two.lead_repeatedly(|fence| {
        turns.push(fence);
        // The third turn never ends by itself.
        let lasts = turns.len() == 3;
        async move {
            if lasts {
                std::future::pending().await
            }
        }
    });
    assert!(tokio::time::timeout(BRIEF, repeated).await.is_err(), "it ends with the session only");
    assert!(turns.len() == 3 && turns.is_sorted(), "{turns:?}");
    until("it has left", async || two.participants().await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn barriers_open_for_everybody() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let barrier = zk.barrier("/gates/one");
    barrier.wait().await.unwrap();
    barrier.set().await.unwrap();
    barrier.set().await.unwrap();
    let gate = other.barrier("/gates/one");
    assert!(tokio::time::timeout(BRIEF, gate.wait()).await.is_err());
    let (waited, removed) = tokio::join!(soon(gate.wait()), barrier.remove());
    waited.unwrap();
    removed.unwrap();

    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for number in 0..4 {
        let (zk, inside) = (connect(&server).await, Arc::clone(&inside));
        tasks.push(tokio::spawn(async move {
            let barrier = zk.double_barrier("/meeting", 4);
            tokio::time::sleep(Duration::from_millis(50 * number)).await;
            inside.fetch_add(1, Ordering::SeqCst);
            barrier.enter().await.unwrap();
            // Some may be on their way out already.
            assert!(inside.load(Ordering::SeqCst) >= 4, "nobody enters before the last has come");
            tokio::time::sleep(Duration::from_millis(50 * number)).await;
            inside.fetch_add(1, Ordering::SeqCst);
            barrier.leave().await.unwrap();
            assert_eq!(inside.load(Ordering::SeqCst), 8, "nobody leaves before the last goes");
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(names_of(&zk, "/meeting").await, [""; 0]);

    let alone = zk.double_barrier("/alone", 2);
    assert!(tokio::time::timeout(BRIEF, alone.enter()).await.is_err(), "nobody else comes");
    assert_eq!(names_of(&other, "/alone").await.len(), 1);
    soon(alone.withdraw()).await.unwrap();
    assert_eq!(names_of(&other, "/alone").await, [""; 0]);
}

#[tokio::test]
async fn values_and_numbers_lose_no_change() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let zk = connect(&server).await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                zk.atomic_long("/numbers/n").add(3).await.unwrap();
            }
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(zk.atomic_long("/numbers/n").get().await, Ok(600));
    assert_eq!(&zk.get("/numbers/n").await.unwrap().0[..], 600i64.to_be_bytes());
    let none = zk.atomic_long("/numbers/none");
    assert_eq!(none.get().await, Ok(0));
    assert_eq!(none.compare_and_set(1, 2).await, Ok(false));
    assert_eq!(none.compare_and_set(0, 2).await, Ok(true));
    assert_eq!(none.initialize(3).await, Ok(false));
    assert_eq!(none.compare_and_set(2, 4).await, Ok(true));
    assert_eq!((none.get().await, zk.atomic_long("/numbers/new").initialize(3).await), (Ok(4), Ok(true)));

    let count = zk.shared_count("/numbers/c");
    assert_eq!(count.get().await, Ok(None));
    assert_eq!(count.set_if(7, Some(0)).await, Ok(false));
    assert_eq!(count.set_if(7, None).await, Ok(true));
    assert_eq!(count.set_if(8, None).await, Ok(false));
    let (seven, version) = count.get().await.unwrap().unwrap();
    assert_eq!(seven, 7);
    assert_eq!(count.set_if(8, Some(version)).await, Ok(true));
    count.set(-1).await.unwrap();
    assert_eq!(&zk.get("/numbers/c").await.unwrap().0[..], [0xff; 4]);
    zk.shared_value("/numbers/c").set(b"no number").await.unwrap();
    assert!(matches!(count.get().await, Err(Error::BadOption(_))));
}

#[tokio::test]
async fn a_persistent_node_comes_back() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let foreign = other.create("/n", b"old", CreateMode::Ephemeral).await.unwrap();
    let node = zk.persistent_node("/n", b"new", CreateMode::Ephemeral);
    soon(node.created()).await.unwrap();
    let (data, stat) = other.get("/n").await.unwrap();
    assert_eq!(&data[..], b"new");
    assert_ne!(stat.ephemeral_owner, foreign.stat.ephemeral_owner);
    other.delete("/n", None).await.unwrap();
    until("it is back", async || other.exists("/n").await.unwrap().is_some()).await;
    node.set(b"newer");
    until("it has changed", async || other.get("/n").await.is_ok_and(|(data, _)| &data[..] == b"newer"))
        .await;
    node.close().await.unwrap();
    assert_eq!(other.exists("/n").await, Ok(None));

    let deep = zk.persistent_node("/a/b/c", b"", CreateMode::Persistent);
    soon(deep.created()).await.unwrap();
    drop(deep);
    until("it is removed", async || other.exists("/a/b/c").await.unwrap().is_none()).await;
}

/// The next event, in short.
async fn event(cache: &mut Cache) -> String {
    match soon(cache.next()).await.expect("an event before the end") {
        CacheEvent::Created(path, node) => format!("+{path} {}", String::from_utf8_lossy(&node.data)),
        CacheEvent::Changed(path, node) => format!("={path} {}", String::from_utf8_lossy(&node.data)),
        CacheEvent::Deleted(path, node) => format!("-{path} {}", String::from_utf8_lossy(&node.data)),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cache_follows_what_it_reaches() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let create =
        async |path: &str, data: &[u8]| drop(other.create(path, data, CreateMode::Persistent).await.unwrap());
    create("/a", b"0").await;
    create("/a/b", b"1").await;
    create("/a/b/c", b"2").await;
    create("/ab", b"x").await;
    let mut caches = [
        (zk.cache("/a", CacheScope::Node), vec!["+/a 0", "Ready"]),
        (zk.cache("/a", CacheScope::Children), vec!["+/a 0", "+/a/b 1", "Ready"]),
        (zk.cache("/a", CacheScope::Tree), vec!["+/a 0", "+/a/b 1", "+/a/b/c 2", "Ready"]),
    ];
    for (cache, expected) in &mut caches {
        soon(cache.ready()).await.unwrap();
        for expected in expected {
            assert_eq!(event(cache).await, *expected);
        }
    }
    other.set("/a", b"3", None).await.unwrap();
    create("/a/d", b"4").await;
    other.set("/a/b/c", b"5", None).await.unwrap();
    other.delete("/a/b/c", None).await.unwrap();
    other.delete("/a/b", None).await.unwrap();
    create("/a/end", b"").await;
    let [(node, _), (children, _), (tree, _)] = &mut caches;
    assert_eq!(event(node).await, "=/a 3");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "+/a/end ") {
        seen.push(event(tree).await);
    }
    // The one before last may be overwritten before it is read.
    assert_eq!([&seen[..2], &seen[seen.len() - 2..]].concat(), ["=/a 3", "+/a/d 4", "-/a/b 1", "+/a/end "]);
    assert!(seen.iter().any(|event| event.starts_with("-/a/b/c")), "{seen:?}");
    for expected in ["=/a 3", "+/a/d 4", "-/a/b 1", "+/a/end "] {
        assert_eq!(event(children).await, expected);
    }
    assert_eq!(tree.children("/a").keys().collect::<Vec<_>>(), ["d", "end"]);
    assert_eq!(&tree.get("/a").unwrap().data[..], b"3");
    assert_eq!(tree.snapshot().len(), 3);
    assert_eq!(node.snapshot().len(), 1);
}

#[tokio::test]
async fn a_cache_catches_up_after_a_loss() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 4).unwrap();
    let builder = Coordinator::builder(link.address().to_string());
    let (zk, other) = (builder.connect().await.unwrap(), connect(&server).await);
    other.create("/a", b"0", CreateMode::Persistent).await.unwrap();
    other.create("/a/b", b"1", CreateMode::Persistent).await.unwrap();
    let mut cache = zk.cache("/a", CacheScope::Tree);
    soon(cache.ready()).await.unwrap();
    cut(&link, true);
    other.delete("/a/b", None).await.unwrap();
    other.create("/a/c", b"2", CreateMode::Persistent).await.unwrap();
    link.reset();
    cut(&link, false);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "Resumed") {
        seen.push(event(&mut cache).await);
    }
    assert_eq!(seen, ["+/a 0", "+/a/b 1", "Ready", "Suspended", "+/a/c 2", "-/a/b 1", "Resumed"]);
    zk.close().await.unwrap();
    assert_eq!(event(&mut cache).await, "Over(Closed)");
    assert_eq!(cache.next().await, None);
}

#[tokio::test]
async fn a_group_knows_its_members() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let mut one = zk.join_group("/g", "one", b"1").await.unwrap();
    let two = other.join_group("/g", "two", b"2").await.unwrap();
    let who = |member: &client::zk::recipes::GroupMember| {
        let members = member.members();
        members
            .iter()
            .map(|(id, data)| format!("{id}={}", String::from_utf8_lossy(data)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(who(&two), "one=1 two=2");
    while who(&one) != "one=1 two=2" {
        soon(one.changed()).await.unwrap();
    }
    two.set(b"22");
    while who(&one) != "one=1 two=22" {
        soon(one.changed()).await.unwrap();
    }
    two.leave().await.unwrap();
    while who(&one) != "one=1" {
        soon(one.changed()).await.unwrap();
    }
}

#[tokio::test]
async fn services_are_found_and_chosen() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let (here, there) = (zk.service_discovery("/services"), other.service_discovery("/services"));
    assert_eq!(there.names().await.unwrap(), [""; 0]);
    let one = ServiceInstance::new("billing", "10.0.0.1", 80);
    let two = ServiceInstance::new("billing", "10.0.0.2", 80);
    let registration = here.register(&one).await.unwrap();
    let _second = here.register(&two).await.unwrap();
    assert_eq!(there.names().await.unwrap(), ["billing"]);
    let mut found = there.instances("billing").await.unwrap();
    found.sort_by(|a, b| a.address.cmp(&b.address));
    assert_eq!(found, [one.clone(), two.clone()]);

    assert_eq!(there.instance("billing", &one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(there.instance("billing", "none").await, Ok(None));
    for (name, id) in [("a/b", "1"), ("", "1"), ("a", "1/2"), ("a", "")] {
        let odd = ServiceInstance { name: name.to_owned(), id: id.to_owned(), ..one.clone() };
        assert!(matches!(here.register(&odd).await, Err(Error::BadOption(_))), "{name:?} {id:?}");
    }
    let filtered = there.provider("billing", Strategy::Random).await.unwrap();
    let filtered = filtered.filter(|instance| instance.address.as_deref() == Some("10.0.0.2"));
    assert_eq!((filtered.all(), filtered.get()), (vec![two.clone()], Some(two.clone())));

    let provider = there.provider("billing", Strategy::RoundRobin).await.unwrap();
    let turns: Vec<String> = (0..4).map(|_| provider.get().unwrap().id).collect();
    assert_eq!((&turns[0], &turns[1]), (&turns[2], &turns[3]));
    assert_ne!(turns[0], turns[1]);
    let sticky = there.provider("billing", Strategy::Sticky).await.unwrap();
    let favourite = sticky.get().unwrap();
    assert!((0..10).all(|_| sticky.get().unwrap() == favourite));
    let policy = DownPolicy { errors: 2, period: BRIEF };
    let sticky = sticky.down_policy(policy);
    sticky.note_error(&favourite);
    assert_eq!(sticky.get().unwrap(), favourite);
    sticky.note_error(&favourite);
    let next = sticky.get().unwrap();
    assert_ne!(next, favourite);
    sticky.note_error(&next);
    sticky.note_error(&next);
    assert_eq!(sticky.get(), None);
    tokio::time::sleep(BRIEF).await;
    assert!(sticky.get().is_some(), "nobody is down for ever");

    registration.update(&ServiceInstance { enabled: false, ..one.clone() }).unwrap();
    until("the disabled instance is not chosen", async || provider.all() == [two.clone()]).await;
    registration.unregister().await.unwrap();
    assert_eq!(there.instances("billing").await.unwrap(), [two]);
}

#[tokio::test]
async fn several_locks_are_held_together() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let both = MultiLock::new([zk.lock("/l/2"), zk.lock("/l/1"), zk.lock("/l/2")]);
    let guard = both.acquire().await.unwrap();
    assert_eq!(guard.guards().len(), 2);
    assert!(MultiLock::new([other.lock("/l/0"), other.lock("/l/1")]).try_acquire().await.unwrap().is_none());
    assert!(
        other.lock("/l/0").try_acquire().await.unwrap().is_some(),
        "what was taken meanwhile is free again"
    );
    let theirs = MultiLock::new([other.lock("/l/0"), other.lock("/l/1")]);
    assert!(theirs.acquire_within(BRIEF).await.unwrap().is_none());
    until("they gave all up", async || other.lock("/l/0").contenders().await.unwrap().is_empty()).await;
    assert!(tokio::time::timeout(BRIEF, guard.lost()).await.is_err());
    other.delete(&guard.guards()[1].path(), None).await.unwrap();
    soon(guard.lost()).await;
    guard.release().await.unwrap();
    assert!(other.lock("/l/1").try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn each_element_is_taken_once() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    let mut takers = Vec::new();
    for _ in 0..3 {
        let zk = connect(&server).await;
        takers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let element = zk.queue("/queues/one").take().await.unwrap();
                if &element[..] == b"end" {
                    return taken;
                }
                taken.push(String::from_utf8_lossy(&element).parse::<u32>().unwrap());
            }
        }));
    }
    for number in 0..60 {
        zk.queue("/queues/one").put(number.to_string().as_bytes()).await.unwrap();
    }
    for _ in 0..3 {
        zk.queue("/queues/one").put(b"end").await.unwrap();
    }
    let mut all = Vec::new();
    for taker in takers {
        let taken = soon(taker).await.unwrap();
        assert!(taken.is_sorted());
        all.extend(taken);
    }
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<_>>());
    assert_eq!(zk.queue("/queues/one").try_take().await, Ok(None));
    // It stays when it is empty: its numbers must not begin again while somebody has yet to delete what it has read.
    let stat = zk.exists("/queues/one").await.unwrap().expect("the queue is there");
    assert_eq!(stat.ephemeral_owner, 0, "it is no container");

    let priorities = zk.priority_queue("/queues/two");
    for (element, priority) in [("c", 200), ("a", 1), ("b", 1)] {
        priorities.put(element.as_bytes(), priority).await.unwrap();
    }
    assert!(matches!(priorities.put(b"", 1000).await, Err(Error::BadOption(_))));
    for expected in ["a", "b", "c"] {
        assert_eq!(&priorities.take().await.unwrap()[..], expected.as_bytes());
    }
}

#[tokio::test]
async fn an_element_stays_until_it_is_dealt_with() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 5).unwrap();
    let (zk, other) = (connect_through(&link).await, connect(&server).await);
    let (queue, others) = (zk.locking_queue("/jobs"), other.locking_queue("/jobs"));
    queue.put(b"late", 200).await.unwrap();
    queue.put(b"early", 100).await.unwrap();
    let early = queue.take().await.unwrap();
    assert_eq!(&early.data()[..], b"early");
    let late = soon(others.take()).await.unwrap();
    assert_eq!(&late.data()[..], b"late");
    assert!(tokio::time::timeout(BRIEF, others.take()).await.is_err(), "everything is held");
    assert!(others.try_take().await.unwrap().is_none());
    late.consume().await.unwrap();
    // Whoever holds the other one is cut off, and it goes to somebody else.
    cut(&link, true);
    let again = soon(others.take()).await.unwrap();
    assert_eq!(&again.data()[..], b"early");
    cut(&link, false);
    assert!(matches!(soon(early.consume()).await, Err(Error::SessionExpired)));
    drop(again);
    until("it is free", async || names_of(&other, "/jobs/locks").await.is_empty()).await;
    others.try_take().await.unwrap().expect("it is free").consume().await.unwrap();
    assert_eq!(names_of(&other, "/jobs/entries").await, [""; 0]);
    assert_eq!(names_of(&other, "/jobs/locks").await, [""; 0]);
}

#[tokio::test]
async fn an_unfair_election_has_one_winner_and_tells_when_it_has_gone() {
    let Some(server) = start(Options::for_tests()) else { return };
    let link = Link::to(server.address(), 6).unwrap();
    let (zk, other) = (connect_through(&link).await, connect(&server).await);
    let (race, others) = (zk.unfair_election("/deep/leader"), other.unfair_election("/deep/leader"));
    assert_eq!(others.leader().await, Ok(None));
    let first = race.lead(b"one").await.unwrap();
    assert_eq!(others.leader().await, Ok(Some(b"one".to_vec())));
    assert!(others.try_lead(b"two").await.unwrap().is_none());
    assert!(race.try_lead(b"again").await.unwrap().is_none());
    cut(&link, true);
    let (next, ()) = tokio::join!(soon(others.lead(b"two")), soon(first.lost()));
    let next = next.unwrap();
    assert!(next.fence() > first.fence());
    cut(&link, false);
    drop(first);
    tokio::time::sleep(BRIEF).await;
    assert_eq!(others.leader().await, Ok(Some(b"two".to_vec())), "who lost it takes nothing away");
    next.release().await.unwrap();
    assert_eq!(others.leader().await, Ok(None));
}

#[tokio::test]
async fn items_are_divided_among_those_who_are_there() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let items = ["a", "b", "c", "d", "e"];
    let mut one = zk.set_partitioner("/shards", items, "1").await.unwrap();
    one.settle_time(BRIEF);
    let all = soon(one.acquire()).await.unwrap();
    assert_eq!(all.items(), items);
    assert!(tokio::time::timeout(BRIEF, one.changed(&all)).await.is_err(), "nobody has come");

    let mut two = other.set_partitioner("/shards", items, "2").await.unwrap();
    two.settle_time(BRIEF);
    let second = tokio::spawn(async move {
        let share = two.acquire().await.unwrap();
        (two, share)
    });
    soon(one.changed(&all)).await.unwrap();
    assert!(!second.is_finished(), "what we have not given up is nobody else's");
    all.release().await.unwrap();
    let first = soon(one.acquire()).await.unwrap();
    let (two, second) = soon(second).await.unwrap();
    assert_eq!((first.items(), second.items()), (vec!["a", "c", "e"], vec!["b", "d"]));

    second.release().await.unwrap();
    drop(two);
    soon(one.changed(&first)).await.unwrap();
    first.release().await.unwrap();
    assert_eq!(soon(one.acquire()).await.unwrap().items(), items);
}

#[tokio::test]
async fn elements_wait_for_their_time_and_can_be_taken_back_by_id() {
    let Some(server) = start(Options::for_tests()) else { return };
    let (zk, other) = (connect(&server).await, connect(&server).await);
    let delayed = zk.delay_queue("/delayed");
    let begin = std::time::Instant::now();
    delayed.put_after(b"late", BRIEF).await.unwrap();
    delayed.put_at(b"early", std::time::UNIX_EPOCH).await.unwrap();
    let theirs = other.delay_queue("/delayed");
    assert_eq!(soon(theirs.take()).await.unwrap(), ["early"]);
    assert_eq!(soon(theirs.take()).await.unwrap(), ["late"]);
    assert!(begin.elapsed() >= BRIEF);
    // One that comes while another is waited for, and is due before it.
    delayed.put_after(b"far away", Duration::from_secs(3600)).await.unwrap();
    let waiting = tokio::spawn(async move { theirs.take().await });
    tokio::time::sleep(BRIEF).await;
    assert!(!waiting.is_finished());
    assert_eq!(delayed.try_take().await, Ok(None));
    delayed.put_after(b"now", Duration::ZERO).await.unwrap();
    assert_eq!(soon(waiting).await.unwrap().unwrap(), ["now"]);
    let (names, _) = zk.children("/delayed").await.unwrap();
    assert!(names.len() == 1 && names[0].starts_with("queue-|"), "{names:?}");

    let orders = zk.id_queue("/orders");
    for (element, id) in [("z", "one"), ("a", "two"), ("b", "a/b|c"), ("y", "one")] {
        orders.put(element.as_bytes(), id).await.unwrap();
    }
    // What is no element of such a queue is in nobody's way.
    other.create("/orders/queue-|odd|", b"odd", CreateMode::PersistentSequential).await.unwrap();
    assert_eq!(orders.remove("two").await, Ok(1));
    assert_eq!(orders.remove("two").await, Ok(0));
    assert_eq!(soon(other.id_queue("/orders").take()).await.unwrap(), ["z"]);
    assert_eq!(orders.remove("a/b|c").await, Ok(1));
    assert_eq!(soon(orders.take()).await.unwrap(), ["y"]);
    assert_eq!(orders.try_take().await, Ok(None));
    orders.put(b"last", "three").await.unwrap();
    assert_eq!(orders.try_take().await, Ok(Some(vec!["last".into()])));
    assert!(matches!(orders.put(b"", "").await, Err(Error::BadOption(_))));
}

#[tokio::test]
async fn a_znode_outlives_whoever_keeps_it_by_its_time() {
    let Some(server) = start(Options::for_tests()) else { return };
    let zk = connect(&server).await;
    let ttl = Duration::from_millis(1500);
    let node = zk.persistent_ttl_node("/ttl/node", b"1", ttl);
    node.created().await.unwrap();
    while zk.exists("/ttl/node/touch").await.unwrap().is_none() {}
    let (_, mut changed) = zk.exists_and_watch("/ttl/node").await.unwrap();
    let czxid = zk.exists("/ttl/node").await.unwrap().unwrap().czxid;
    assert!(tokio::time::timeout(ttl * 2, changed.changed()).await.is_err(), "it is kept without a word");
    node.set(b"2");
    soon(changed.changed()).await;
    assert_eq!(&zk.get("/ttl/node").await.unwrap().0[..], b"2");
    assert_eq!(zk.exists("/ttl/node").await.unwrap().unwrap().czxid, czxid);
    drop(node);
    assert!(zk.exists("/ttl/node").await.unwrap().is_some(), "it goes in its time");
    soon(zk.barrier("/ttl/node").wait()).await.unwrap();
}
