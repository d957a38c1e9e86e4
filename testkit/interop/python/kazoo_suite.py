"""kazoo against a server: every recipe does its work, and the contracts they rest on are checked.

Usage: kazoo_suite.py HOST:PORT. Prints `ok NAME` or `FAIL NAME: REASON` per check; lines that start with `@`
ask the harness to do something to the server and wait for its answer.
"""

import sys
import threading
import time
import traceback
import uuid

from kazoo.client import KazooClient, KazooState, TransactionRequest
from kazoo.exceptions import (
    AuthFailedError,
    BadArgumentsError,
    BadVersionError,
    ConnectionLoss,
    InvalidACLError,
    KazooException,
    LockTimeout,
    NewConfigNoQuorumError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    ReconfigInProcessError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import EventType
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.queue import LockingQueue
from kazoo.security import Permissions, make_acl, make_digest_acl, make_digest_acl_credential

HOST = sys.argv[1]
CLIENTS = []
CHECKS = []


def check(function):
    """Registers a check; its name is the function's, its doc the contract."""
    CHECKS.append(function)
    return function


def client(timeout=10.0, chroot="", **options):
    zk = KazooClient(hosts=HOST + chroot, timeout=timeout, **options)
    zk.start(timeout=20)
    CLIENTS.append(zk)
    return caught_up(zk) if not chroot else zk


def caught_up(zk):
    """The client after it has seen whatever was answered before: another member may have answered it."""
    zk.sync("/")
    return zk


def fresh():
    """A path nobody else uses."""
    return "/kazoo-" + uuid.uuid4().hex


def ask(wish):
    print("@" + wish, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "done", answer


def eventually(condition, seconds=15, what="the condition"):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"{kind} expected from {function.__name__}")


@check
def create_get_set_delete():
    zk, path = client(), fresh()
    assert zk.create(path, b"one") == path
    data, stat = zk.get(path)
    assert data == b"one" and stat.version == 0 and stat.data_length == 3, stat
    assert stat.czxid == stat.mzxid == stat.pzxid and stat.ctime == stat.mtime, stat
    changed = zk.set(path, b"three", version=0)
    assert changed.version == 1 and changed.mzxid > changed.czxid and changed.data_length == 5
    raises(BadVersionError, zk.set, path, b"x", version=0)
    raises(NodeExistsError, zk.create, path)
    zk.create(path + "/child")
    raises(NotEmptyError, zk.delete, path)
    stat = zk.exists(path)
    assert stat.cversion == 1 and stat.numChildren == 1 and stat.pzxid > stat.mzxid
    zk.delete(path + "/child")
    assert zk.exists(path).cversion == 2
    raises(BadVersionError, zk.delete, path, version=7)
    zk.delete(path, version=1)
    assert zk.exists(path) is None
    raises(NoNodeError, zk.get, path)
    raises(NoNodeError, zk.create, path + "/a/b")


@check
def stat_times_are_the_servers_clock():
    zk, path = client(), fresh()
    before = time.time()
    zk.create(path)
    stat = zk.get(path)[1]
    assert before - 2 < stat.created < time.time() + 2, stat.created
    assert stat.ctime == stat.mtime


@check
def create_with_stat_makepath_and_recursive_delete():
    zk, path = client(), fresh()
    name, stat = zk.create(path + "/a/b/c", b"x", makepath=True, include_data=True)
    assert name == path + "/a/b/c" and stat.data_length == 1
    zk.ensure_path(path + "/a/d/e")
    zk.delete(path, recursive=True)
    assert zk.exists(path) is None


@check
def null_and_large_data():
    zk, path = client(), fresh()
    zk.create(path, b"")
    assert zk.get(path)[0] == b""
    large = bytes(range(256)) * 3900
    zk.set(path, large)
    assert zk.get(path)[0] == large


@check
def unicode_paths():
    zk, path = client(), fresh()
    name = path + "/zażółć-日本"
    zk.create(name, b"x", makepath=True)
    assert zk.get_children(path) == ["zażółć-日本"]
    assert zk.get(name)[0] == b"x"


@check
def sequence_names():
    zk, path = client(), fresh()
    zk.create(path)
    names = [zk.create(path + "/s-", sequence=True) for _ in range(3)]
    assert names == [f"{path}/s-{n:010d}" for n in range(3)], names
    zk.delete(names[1])
    zk.create(path + "/plain")
    assert zk.create(path + "/t-", sequence=True) == f"{path}/t-0000000004"


@check
def ephemeral_nodes_go_with_the_session():
    zk, other, path = client(), client(), fresh()
    other.create(path, ephemeral=True)
    stat = caught_up(zk).exists(path)
    assert stat.owner_session_id == other.client_id[0], stat
    raises(NoChildrenForEphemeralsError, other.create, path + "/x")
    gone = threading.Event()
    zk.exists(path, watch=lambda event: gone.set() if event.type == EventType.DELETED else None)
    other.stop()
    assert gone.wait(10), "no deletion event"
    assert zk.exists(path) is None


@check
def children_with_stat():
    zk, path = client(), fresh()
    for name in ("a", "b", "c"):
        zk.create(f"{path}/{name}", makepath=True)
    children, stat = zk.get_children(path, include_data=True)
    assert sorted(children) == ["a", "b", "c"] and stat.numChildren == 3


@check
def one_shot_watches():
    zk, writer, path = client(), client(), fresh()
    events = []
    assert zk.exists(path, watch=events.append) is None
    writer.create(path, b"1")
    eventually(lambda: len(events) == 1)
    assert events[0].type == EventType.CREATED and events[0].path == path
    zk.get(path, watch=events.append)
    zk.get_children(path, watch=events.append)
    writer.set(path, b"2")
    writer.set(path, b"3")
    eventually(lambda: len(events) == 2)
    writer.create(path + "/x")
    writer.create(path + "/y")
    eventually(lambda: len(events) == 3)
    time.sleep(0.2)
    assert [event.type for event in events] == [EventType.CREATED, EventType.CHANGED, EventType.CHILD], events


@check
def sync_returns_the_path():
    zk, path = client(), fresh()
    zk.create(path)
    assert zk.sync(path) == path


@check
def transaction_commits_whole():
    zk, path = client(), fresh()
    t = zk.transaction()
    t.create(path, b"x")
    t.create(path + "/a", b"y", sequence=True)
    t.set_data(path, b"z")
    t.check(path, version=1)
    t.delete(path + "/a0000000000")
    result = t.commit()
    assert result[0] == path and result[1] == path + "/a0000000000", result
    assert result[2].version == 1 and result[3] is True and result[4] is True, result
    assert zk.get(path)[0] == b"z"


@check
def transaction_fails_whole():
    zk, path = client(), fresh()
    zk.create(path)
    t = zk.transaction()
    t.create(path + "/a")
    t.check(path, version=5)
    t.create(path + "/b")
    result = t.commit()
    assert isinstance(result[0], RolledBackError), result
    assert isinstance(result[1], BadVersionError), result
    assert isinstance(result[2], RuntimeInconsistency), result
    assert zk.get_children(path) == []
    assert zk.create(path + "/s", sequence=True).endswith("0000000000"), "the counter must roll back"


@check
def digest_acl():
    zk, path = client(), fresh()
    owner = client()
    owner.add_auth("digest", "jack:pass")
    owner.create(path, b"secret", acl=[make_digest_acl("jack", "pass", all=True)])
    raises(NoAuthError, caught_up(zk).get, path)
    raises(NoAuthError, zk.set, path, b"x")
    assert owner.get(path)[0] == b"secret"
    acls, stat = owner.get_acls(path)
    assert acls[0].id.id == make_digest_acl_credential("jack", "pass"), acls
    assert stat.aversion == 0
    owner.set_acls(path, [make_digest_acl("jack", "pass", all=True), make_acl("world", "anyone", read=True)])
    assert caught_up(zk).get(path)[0] == b"secret"
    raises(NoAuthError, zk.set, path, b"x")
    zk.add_auth("digest", "jack:pass")
    zk.set(path, b"x")
    assert caught_up(owner).get_acls(path)[1].aversion == 1


@check
def masked_digest_for_strangers():
    zk, path = client(), fresh()
    owner = client()
    owner.add_auth("digest", "jim:pass")
    acl = [make_digest_acl("jim", "pass", all=True), make_acl("world", "anyone", read=True)]
    owner.create(path, acl=acl)
    seen = {entry.id.id for entry in caught_up(zk).get_acls(path)[0] if entry.id.scheme == "digest"}
    assert seen == {"jim:x"}, seen


@check
def auth_scheme_and_invalid_acl():
    zk, path = client(), fresh()
    raises(InvalidACLError, zk.create, path, acl=[make_acl("auth", "", all=True)])
    raises(InvalidACLError, zk.create, path, acl=[make_acl("nonsense", "x", all=True)])
    zk.add_auth("digest", "a:b")
    zk.create(path, acl=[make_acl("auth", "", all=True)])
    entry = zk.get_acls(path)[0][0]
    assert entry.id.scheme == "digest" and entry.id.id == make_digest_acl_credential("a", "b"), entry


@check
def ip_acl():
    zk, path = client(), fresh()
    zk.create(path + "/here", acl=[make_acl("ip", "127.0.0.0/8", all=True)], makepath=True)
    zk.create(path + "/elsewhere", acl=[make_acl("ip", "10.1.2.3", all=True)])
    zk.get(path + "/here")
    raises(NoAuthError, zk.get, path + "/elsewhere")


@check
def unknown_auth_scheme_is_refused():
    zk = client()
    raises(AuthFailedError, zk.add_auth, "nonsense", "a:b")


@check
def sasl_digest_md5():
    path = fresh()
    jane = client(sasl_options={"mechanism": "DIGEST-MD5", "username": "jane", "password": "secret"})
    jane.create(path, b"x", acl=[make_acl("sasl", "jane", all=True)])
    assert jane.get(path)[0] == b"x"
    raises(NoAuthError, client().get, path)


@check
def chroot():
    zk, path = client(), fresh()
    zk.create(path)
    inside = client(chroot=path)
    inside.create("/x/y", b"z", makepath=True)
    assert caught_up(zk).get(path + "/x/y")[0] == b"z"
    assert inside.get_children("/") == ["x"]
    seen = []
    inside.get("/x", watch=seen.append)
    zk.set(path + "/x", b"new")
    eventually(lambda: seen)
    assert seen[0].path == "/x", seen


@check
def lock():
    path, order = fresh(), []
    first, second = client(), client()
    a, b = first.Lock(path, "a"), second.Lock(path, "b")
    assert a.acquire(timeout=10)
    raises(LockTimeout, b.acquire, timeout=0.3)
    assert not b.acquire(blocking=False)

    def wait():
        with b:
            order.append("b")

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: first.Lock(path).contenders() == ["a", "b"])
    assert order == []
    a.release()
    thread.join(10)
    assert order == ["b"]


@check
def lock_of_a_lost_session_is_free():
    path = fresh()
    first, second = client(), client()
    assert first.Lock(path, "a").acquire(timeout=10)
    first.stop()
    assert second.Lock(path, "b").acquire(timeout=10)


@check
def many_lock_contenders_exclude_each_other():
    path, inside, most, rounds = fresh(), [], [0], [0]
    clients = [client() for _ in range(4)]

    def work(zk, name):
        for _ in range(5):
            with zk.Lock(path, name):
                inside.append(name)
                most[0] = max(most[0], len(inside))
                rounds[0] += 1
                inside.remove(name)

    threads = [threading.Thread(target=work, args=(zk, str(i))) for i, zk in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert rounds[0] == 20 and most[0] == 1, (rounds, most)


@check
def read_and_write_locks():
    path = fresh()
    clients = [client() for _ in range(3)]
    readers = [clients[0].ReadLock(path, "r0"), clients[1].ReadLock(path, "r1")]
    writer = clients[2].WriteLock(path, "w")
    assert readers[0].acquire(timeout=10) and readers[1].acquire(timeout=10), "readers share"
    raises(LockTimeout, writer.acquire, timeout=0.3)
    readers[0].release()
    readers[1].release()
    assert writer.acquire(timeout=10)
    raises(LockTimeout, readers[0].acquire, timeout=0.3)
    writer.release()


@check
def semaphore():
    path = fresh()
    clients = [client() for _ in range(3)]
    leases = [zk.Semaphore(path, max_leases=2) for zk in clients]
    assert leases[0].acquire(timeout=10) and leases[1].acquire(timeout=10)
    assert not leases[2].acquire(blocking=False)
    caught_up(clients[0])
    assert len(leases[0].lease_holders()) == 2
    leases[0].release()
    assert leases[2].acquire(timeout=10)
    leases[1].release()
    leases[2].release()


@check
def election():
    path, led, hold = fresh(), [], threading.Event()
    clients = [client(), client()]

    def lead(name):
        led.append(name)
        if name == "a":
            hold.wait(20)

    elections = [zk.Election(path, name) for zk, name in zip(clients, "ab")]
    threads = []
    for vote, name in zip(elections, "ab"):
        threads.append(threading.Thread(target=vote.run, args=(lead, name)))
        threads[-1].start()
        eventually(lambda: len(elections[0].contenders()) == len(threads))
    eventually(lambda: led == ["a"])
    time.sleep(0.2)
    assert led == ["a"], "one leader at a time"
    hold.set()
    for thread in threads:
        thread.join(20)
    assert led == ["a", "b"]


@check
def barrier():
    path, zk = fresh(), client()
    gate = Barrier(zk, path)
    gate.create()
    assert not gate.wait(0.3)
    threading.Timer(0.3, lambda: Barrier(client(), path).remove()).start()
    assert gate.wait(10)


@check
def double_barrier():
    path, inside, left = fresh(), [], []
    clients = [client() for _ in range(3)]

    def work(zk, name):
        gate = DoubleBarrier(zk, path, 3, name)
        gate.enter()
        inside.append(name)
        eventually(lambda: len(inside) == 3)
        gate.leave()
        left.append(name)

    threads = [threading.Thread(target=work, args=(zk, f"m{i}")) for i, zk in enumerate(clients)]
    for thread in threads[:2]:
        thread.start()
    time.sleep(0.5)
    assert inside == [], "nobody enters before everybody is there"
    threads[2].start()
    for thread in threads:
        thread.join(30)
    assert len(left) == 3


@check
def counter():
    path = fresh()
    clients = [client() for _ in range(3)]

    def work(zk):
        value = zk.Counter(path)
        for _ in range(10):
            value += 1

    threads = [threading.Thread(target=work, args=(zk,)) for zk in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert caught_up(clients[0]).Counter(path).value == 30


@check
def party():
    path = fresh()
    first, second = client(), client()
    a, b = first.Party(path, "a"), second.ShallowParty(fresh(), "b")
    a.join()
    b.join()
    assert list(a) == ["a"] and len(list(b)) == 1
    c = second.Party(path, "c")
    c.join()
    eventually(lambda: sorted(a) == ["a", "c"])
    second.stop()
    eventually(lambda: list(a) == ["a"])


@check
def queue():
    path = fresh()
    producer, consumer = client(), client()
    q = producer.Queue(path)
    for item in (b"one", b"two", b"three"):
        q.put(item)
    q.put(b"urgent", priority=1)
    other = caught_up(consumer).Queue(path)
    assert len(other) == 4
    assert [other.get() for _ in range(4)] == [b"urgent", b"one", b"two", b"three"]
    assert other.get() is None


@check
def locking_queue():
    path = fresh()
    producer, consumer = client(), client()
    q = LockingQueue(producer, path)
    q.put_all([b"a", b"b"])
    other = LockingQueue(caught_up(consumer), path)
    assert other.get(timeout=10) == b"a"
    assert q.get(timeout=10) == b"b", "what another consumer holds is not given out"
    assert other.holds_lock() and other.consume()
    assert q.consume()
    assert other.get(timeout=0.3) is None


@check
def data_watch():
    zk, writer, path, seen = client(), client(), fresh(), []

    @zk.DataWatch(path)
    def changed(data, stat, event):
        seen.append(data)

    writer.create(path, b"1")
    eventually(lambda: seen[-1] == b"1")
    writer.set(path, b"2")
    eventually(lambda: seen[-1] == b"2")
    writer.delete(path)
    eventually(lambda: seen[-1] is None)
    assert seen[0] is None


@check
def children_watch():
    zk, writer, path, seen = client(), client(), fresh(), []
    zk.create(path)
    zk.ChildrenWatch(path, lambda children: seen.append(sorted(children)))
    writer.create(path + "/a")
    eventually(lambda: seen[-1] == ["a"])
    writer.create(path + "/b")
    eventually(lambda: seen[-1] == ["a", "b"])
    writer.delete(path + "/a")
    eventually(lambda: seen[-1] == ["b"])


@check
def tree_cache():
    zk, writer, path = client(), client(), fresh()
    writer.create(path + "/a/b", b"deep", makepath=True)
    cache, ready, events = TreeCache(caught_up(zk), path), threading.Event(), []
    cache.listen(lambda e: ready.set() if e.event_type == TreeEvent.INITIALIZED else events.append(e))
    cache.start()
    assert ready.wait(10)
    assert cache.get_data(path + "/a/b").data == b"deep"
    assert cache.get_children(path) == frozenset(["a"])
    writer.set(path + "/a/b", b"changed")
    eventually(lambda: cache.get_data(path + "/a/b").data == b"changed")
    writer.create(path + "/c")
    eventually(lambda: cache.get_children(path) == frozenset(["a", "c"]))
    writer.delete(path + "/a", recursive=True)
    eventually(lambda: cache.get_data(path + "/a") is None)
    cache.close()


@check
def pipelined_requests_keep_their_order():
    zk, path = client(), fresh()
    zk.create(path)
    results = []
    for number in range(2000):
        results.append((number, zk.set_async(path, str(number).encode())))
        if number % 10 == 0:
            results.append((number, zk.get_async(path)))
    for number, result in results:
        value = result.get(timeout=60)
        if isinstance(value[0], bytes):
            assert value[0] == str(number).encode(), (number, value)
        else:
            assert value.version == number + 1, (number, value)


@check
def thousands_of_children():
    zk, path = client(), fresh()
    zk.create(path)
    pending = [zk.create_async(f"{path}/{number:05d}", b"") for number in range(3000)]
    for result in pending:
        result.get(timeout=60)
    assert len(zk.get_children(path)) == 3000
    assert zk.exists(path).cversion == 3000
    for result in [zk.delete_async(f"{path}/{number:05d}") for number in range(3000)]:
        result.get(timeout=60)
    assert zk.get_children(path) == []


@check
def four_letter_words():
    zk = client()
    version = zk.server_version()
    assert version >= (3, 5, 0), version
    assert zk.command(b"ruok") == "imok"
    modes = ["leader", "follower"] if "," in HOST else ["standalone"]
    assert any(f"Mode: {mode}" in zk.command(b"srvr") for mode in modes)
    assert "zk_znode_count" in zk.command(b"mntr")


@check
def expiry_is_told():
    zk, path, states = client(), fresh(), []
    zk.create(path, ephemeral=True)
    zk.add_listener(states.append)
    # Closing a second connection of the same session ends the session.
    thief = KazooClient(hosts=HOST, client_id=zk.client_id, timeout=10)
    thief.start(timeout=20)
    thief.stop()
    thief.close()
    eventually(lambda: KazooState.LOST in states, what="LOST")
    eventually(lambda: zk.connected and KazooState.CONNECTED in states, what="a new session")
    assert caught_up(zk).exists(path) is None


@check
def a_moved_session_keeps_its_ephemerals():
    zk, other, path = client(), client(), fresh()
    zk.create(path, ephemeral=True)
    session = zk.client_id
    second = KazooClient(hosts=HOST, client_id=session, timeout=10)
    second.start(timeout=20)
    assert second.client_id[0] == session[0]
    assert caught_up(other).exists(path) is not None
    second.stop()
    second.close()
    eventually(lambda: other.exists(path) is None)


def survives(wish):
    zk, other, path = client(timeout=20), client(timeout=20), fresh()
    zk.create(path, b"kept")
    zk.create(path + "-ephemeral", ephemeral=True)
    session, states = zk.client_id, []
    zk.add_listener(states.append)
    seen = []
    zk.DataWatch(path, lambda data, stat: seen.append(data))
    ask(wish)
    eventually(lambda: KazooState.SUSPENDED in states and zk.connected, 30, "reconnection")
    eventually(lambda: other.connected, 30, "the other client's reconnection")
    assert KazooState.LOST not in states, states
    assert zk.client_id[0] == session[0], "the same session"
    assert other.retry(other.get, path)[0] == b"kept"
    assert other.retry(other.exists, path + "-ephemeral") is not None
    other.retry(other.set, path, b"after")
    eventually(lambda: seen[-1] == b"after", what="the watch after the restart")
    zk.stop()
    eventually(lambda: other.retry(other.exists, path + "-ephemeral") is None)


@check
def session_survives_a_restart():
    survives("restart")


@check
def session_survives_a_kill():
    survives("kill")


@check
def acknowledged_writes_survive_a_kill():
    zk, path, acknowledged = client(timeout=20), fresh(), []
    zk.create(path)
    stop = threading.Event()

    def write():
        writer, number = client(timeout=20), 0
        while not stop.is_set():
            try:
                writer.create(f"{path}/{number:06d}")
                acknowledged.append(number)
            except KazooException:
                time.sleep(0.05)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    eventually(lambda: len(acknowledged) > 200, 30, "200 writes")
    ask("kill")
    before = len(acknowledged)
    eventually(lambda: len(acknowledged) > before + 20, 40, "writes after the restart")
    stop.set()
    thread.join(60)
    names = {int(name) for name in zk.retry(zk.get_children, path)}
    lost = [number for number in acknowledged if number not in names]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged writes are gone"


@check
def members_change():
    """Of an ensemble: one member loses its vote and gets it back, by whoever may do that, while writes go on."""
    if "," not in HOST:
        return
    zk = client()
    config, stat = zk.get("/zookeeper/config")
    lines = config.decode().split("\n")
    last = [line for line in lines if line.startswith("server.")][-1]
    observer = last.replace(":participant", ":observer")
    assert observer != last, last
    raises(NoAuthError, zk.reconfig, joining=observer, leaving=None, new_members=None)
    zk.add_auth("digest", "super:rookery")
    raises(BadVersionError, zk.reconfig, joining=observer, leaving=None, new_members=None, from_config=1)
    raises(BadArgumentsError, zk.reconfig, joining="server.9=nonsense", leaving=None, new_members=None)
    path = fresh()
    zk.retry(zk.ensure_path, path)
    versions = []
    for line in [observer, last]:
        changed, _ = reconfigured(zk, joining=line, leaving=None, new_members=None)
        answer = changed.decode().split("\n")
        assert line in answer, answer
        versions.append(int(answer[-1].removeprefix("version="), 16))
        zk.retry(zk.ensure_path, f"{path}/{len(versions)}")
        seen = client()
        seen.retry(seen.sync, "/")
        assert seen.retry(seen.get, "/zookeeper/config")[0] == changed
    whole = ",".join(line for line in lines if line.startswith("server."))
    changed, _ = reconfigured(zk, joining=None, leaving=None, new_members=whole)
    versions.append(int(changed.decode().split("\n")[-1].removeprefix("version="), 16))
    assert versions == sorted(set(versions)), versions
    assert sorted(zk.retry(zk.get_children, path)) == ["1", "2"]


def reconfigured(zk, **change):
    """A member that has just changed its role may not be in step yet, and then there is no quorum for the next change; and a
    leader that loses its vote hands over, and lets its clients go."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return zk.reconfig(**change)
        except (NewConfigNoQuorumError, ReconfigInProcessError, ConnectionLoss):
            assert time.monotonic() < deadline, change
            time.sleep(0.2)


def main():
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok {name}", flush=True)
        except BaseException as error:
            traceback.print_exc()
            where = traceback.extract_tb(error.__traceback__)
            line = next((frame.lineno for frame in where if frame.name == function.__name__), 0)
            print(f"FAIL {name}: {type(error).__name__}: {error} (line {line})".replace("\n", " "), flush=True)
        finally:
            while CLIENTS:
                zk = CLIENTS.pop()
                try:
                    zk.stop()
                    zk.close()
                except Exception:
                    pass
    print("@done", flush=True)


main()
