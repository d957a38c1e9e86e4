import java.io.IOException;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;

/** What every Java client since 3.4 can do. */
public class ClassicSuite extends Checks {
    protected static final List<ACL> OPEN = Ids.OPEN_ACL_UNSAFE;

    protected final String host;

    ClassicSuite(String host) {
        this.host = host;
    }

    public static void main(String[] arguments) {
        new ClassicSuite(arguments[0]).run();
    }

    /** Collects events. */
    protected static class Events implements Watcher {
        final BlockingQueue<WatchedEvent> queue = new LinkedBlockingQueue<>();

        @Override
        public void process(WatchedEvent event) {
            queue.add(event);
        }

        WatchedEvent next() throws InterruptedException {
            WatchedEvent event = queue.poll(15, TimeUnit.SECONDS);
            that(event != null, "no event within 15 s");
            return event;
        }

        void next(EventType type, String path) throws InterruptedException {
            check(next(), type, path);
        }

        /** The same where the connection may have come and gone once more before. */
        void nextChange(EventType type, String path) throws InterruptedException {
            WatchedEvent event = next();
            while (event.getType() == EventType.None) {
                event = next();
            }
            check(event, type, path);
        }

        private static void check(WatchedEvent event, EventType type, String path) {
            that(event.getType() == type && path.equals(event.getPath()), "expected " + type + " of " + path + ", got " + event);
        }

        void nextState(KeeperState state) throws InterruptedException {
            WatchedEvent event = next();
            while (event.getType() != EventType.None || event.getState() != state) {
                event = next();
            }
        }

        void nothing() throws InterruptedException {
            WatchedEvent event = queue.poll(200, TimeUnit.MILLISECONDS);
            that(event == null, "an event too many: " + event);
        }
    }

    protected ZooKeeper client() throws Exception {
        return client(15_000, "", null);
    }

    protected ZooKeeper client(int timeout, String chroot, Watcher also) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = opened(new ZooKeeper(host + chroot, timeout, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
            if (also != null) {
                also.process(event);
            }
        }));
        that(connected.await(20, TimeUnit.SECONDS), "no connection within 20 s");
        return zk;
    }

    /** The client after it has seen whatever was answered before: another member may have answered it. */
    protected static ZooKeeper caughtUp(ZooKeeper zk) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        AtomicInteger result = new AtomicInteger();
        zk.sync("/", (code, path, context) -> {
            result.set(code);
            done.countDown();
        }, null);
        that(done.await(15, TimeUnit.SECONDS), "no answer to sync");
        same(0, result.get());
        return zk;
    }

    /** Closes it after the check. The client became closeable in the language's sense only with 3.5. */
    protected ZooKeeper opened(ZooKeeper zk) {
        later((AutoCloseable) zk::close);
        return zk;
    }

    protected static void fails(Code code, Step step) throws Exception {
        try {
            step.run();
        } catch (KeeperException error) {
            same(code, error.code());
            return;
        }
        throw new AssertionError("expected " + code + ", but it worked");
    }

    public void checkCreateReadChangeDelete() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        same(path, zk.create(path, bytes("one"), OPEN, CreateMode.PERSISTENT));
        Stat stat = new Stat();
        same("one", text(zk.getData(path, false, stat)));
        that(stat.getCzxid() == stat.getMzxid() && stat.getCzxid() == stat.getPzxid(), stat);
        that(stat.getVersion() == 0 && stat.getCversion() == 0 && stat.getAversion() == 0, stat);
        that(stat.getDataLength() == 3 && stat.getNumChildren() == 0 && stat.getEphemeralOwner() == 0, stat);
        Stat changed = zk.setData(path, bytes("three"), 0);
        that(changed.getVersion() == 1 && changed.getMzxid() > stat.getMzxid(), changed);
        same(changed, zk.exists(path, false));
        fails(Code.BADVERSION, () -> zk.setData(path, bytes("x"), 0));
        fails(Code.NODEEXISTS, () -> zk.create(path, null, OPEN, CreateMode.PERSISTENT));
        fails(Code.BADVERSION, () -> zk.delete(path, 5));
        zk.delete(path, 1);
        same(null, zk.exists(path, false));
        fails(Code.NONODE, () -> zk.getData(path, false, null));
        fails(Code.NONODE, () -> zk.delete(path, -1));
        fails(Code.NONODE, () -> zk.create(path + "/a", null, OPEN, CreateMode.PERSISTENT));
    }

    public void checkNullDataStaysNull() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        same(null, zk.getData(path, false, null));
        zk.setData(path, new byte[0], -1);
        same(0, zk.getData(path, false, null).length);
    }

    public void checkChildrenAndTheirCounts() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        for (String name : new String[] {"a", "b", "c"}) {
            zk.create(path + "/" + name, null, OPEN, CreateMode.PERSISTENT);
        }
        zk.delete(path + "/b", -1);
        Stat stat = new Stat();
        List<String> names = new ArrayList<>(zk.getChildren(path, false, stat));
        Collections.sort(names);
        same(Arrays.asList("a", "c"), names);
        that(stat.getCversion() == 4 && stat.getNumChildren() == 2, stat);
        that(stat.getPzxid() > stat.getMzxid(), stat);
        fails(Code.NOTEMPTY, () -> zk.delete(path, -1));
    }

    public void checkSequences() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        same(path + "/s-0000000000", zk.create(path + "/s-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL));
        same(path + "/s-0000000001", zk.create(path + "/s-", null, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL));
        zk.delete(path + "/s-0000000000", -1);
        same(path + "/0000000002", zk.create(path + "/", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL));
    }

    public void checkEphemerals() throws Exception {
        ZooKeeper owner = client();
        ZooKeeper other = client();
        String path = fresh();
        owner.create(path, null, OPEN, CreateMode.EPHEMERAL);
        same(owner.getSessionId(), caughtUp(other).exists(path, false).getEphemeralOwner());
        fails(Code.NOCHILDRENFOREPHEMERALS, () -> owner.create(path + "/x", null, OPEN, CreateMode.PERSISTENT));
        Events events = new Events();
        other.exists(path, events);
        owner.close();
        events.next(EventType.NodeDeleted, path);
        same(null, other.exists(path, false));
    }

    public void checkSystemNodesAreProtected() throws Exception {
        ZooKeeper zk = client();
        fails(Code.BADARGUMENTS, () -> zk.delete("/zookeeper", -1));
        fails(Code.BADARGUMENTS, () -> zk.delete("/zookeeper/quota", -1));
        fails(Code.NODEEXISTS, () -> zk.create("/zookeeper", null, OPEN, CreateMode.PERSISTENT));
    }

    public void checkMultiCommitsWhole() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        List<OpResult> results = zk.multi(Arrays.asList(
                Op.create(path, bytes("x"), OPEN, CreateMode.PERSISTENT),
                Op.create(path + "/s-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL),
                Op.check(path, 0),
                Op.setData(path, bytes("y"), 0),
                Op.delete(path + "/s-0000000000", -1)));
        same(path, ((OpResult.CreateResult) results.get(0)).getPath());
        same(path + "/s-0000000000", ((OpResult.CreateResult) results.get(1)).getPath());
        that(results.get(2) instanceof OpResult.CheckResult, results.get(2));
        same(1, ((OpResult.SetDataResult) results.get(3)).getStat().getVersion());
        that(results.get(4) instanceof OpResult.DeleteResult, results.get(4));
        Stat stat = zk.exists(path, false);
        that(stat.getCzxid() == stat.getMzxid() && stat.getPzxid() == stat.getCzxid(), stat);
    }

    public void checkMultiFailsWhole() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        try {
            zk.multi(Arrays.asList(
                    Op.create(path + "/a-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL),
                    Op.check(path, 9),
                    Op.delete(path, -1)));
            throw new AssertionError("the multi worked");
        } catch (KeeperException error) {
            same(Code.BADVERSION, error.code());
            List<Integer> codes = new ArrayList<>();
            for (OpResult result : error.getResults()) {
                codes.add(((OpResult.ErrorResult) result).getErr());
            }
            same(Arrays.asList(0, Code.BADVERSION.intValue(), Code.RUNTIMEINCONSISTENCY.intValue()), codes);
        }
        same(Collections.emptyList(), zk.getChildren(path, false));
        same(path + "/b-0000000000", zk.create(path + "/b-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL));
        same(Collections.emptyList(), zk.multi(Collections.<Op>emptyList()));
    }

    public void checkOneShotWatches() throws Exception {
        ZooKeeper zk = client();
        ZooKeeper writer = client();
        String path = fresh();
        Events events = new Events();
        zk.exists(path, events);
        writer.create(path, null, OPEN, CreateMode.PERSISTENT);
        events.next(EventType.NodeCreated, path);
        zk.getData(path, events, null);
        writer.setData(path, bytes("1"), -1);
        writer.setData(path, bytes("2"), -1);
        events.next(EventType.NodeDataChanged, path);
        zk.getChildren(path, events);
        writer.create(path + "/a", null, OPEN, CreateMode.PERSISTENT);
        events.next(EventType.NodeChildrenChanged, path);
        writer.delete(path + "/a", -1);
        caughtUp(zk).getData(path, events, null);
        zk.getChildren(path, events);
        writer.delete(path, -1);
        events.next(EventType.NodeDeleted, path);
        events.nothing();
    }

    public void checkEventComesBeforeTheReplyThatShowsTheChange() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, bytes("0"), OPEN, CreateMode.PERSISTENT);
        for (int round = 0; round < 50; round++) {
            List<String> order = Collections.synchronizedList(new ArrayList<String>());
            zk.getData(path, event -> order.add("event"), null);
            CountDownLatch replied = new CountDownLatch(1);
            zk.setData(path, bytes("x" + round), -1, (code, node, context, stat) -> order.add("reply"), null);
            zk.getData(path, false, (code, node, context, data, stat) -> {
                order.add("read");
                replied.countDown();
            }, null);
            that(replied.await(15, TimeUnit.SECONDS), "no reply");
            same(Arrays.asList("event", "reply", "read"), order);
        }
    }

    public void checkPipelinedRequestsKeepTheirOrder() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, bytes(""), OPEN, CreateMode.PERSISTENT);
        int count = 3000;
        CountDownLatch done = new CountDownLatch(count);
        AtomicInteger wrong = new AtomicInteger();
        for (int number = 0; number < count; number++) {
            String expected = String.valueOf(number);
            zk.setData(path, bytes(expected), number, (AsyncCallback.StatCallback) (code, node, context, stat) -> {
                if (code != 0) {
                    wrong.incrementAndGet();
                }
            }, null);
            zk.getData(path, false, (AsyncCallback.DataCallback) (code, node, context, data, stat) -> {
                if (code != 0 || !text(data).equals(expected)) {
                    wrong.incrementAndGet();
                }
                done.countDown();
            }, null);
        }
        that(done.await(60, TimeUnit.SECONDS), done.getCount() + " replies missing");
        same(0, wrong.get());
    }

    public void checkSync() throws Exception {
        ZooKeeper zk = client();
        CountDownLatch done = new CountDownLatch(1);
        zk.sync("/", (code, path, context) -> {
            if (code == 0 && path.equals("/")) {
                done.countDown();
            }
        }, null);
        that(done.await(15, TimeUnit.SECONDS), "no answer to sync");
    }

    public void checkDigestAccess() throws Exception {
        ZooKeeper owner = client();
        ZooKeeper stranger = client();
        String path = fresh();
        owner.addAuthInfo("digest", bytes("jack:pass"));
        owner.create(path, bytes("x"), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        fails(Code.NOAUTH, () -> caughtUp(stranger).getData(path, false, null));
        fails(Code.NOAUTH, () -> stranger.setData(path, null, -1));
        fails(Code.NOAUTH, () -> stranger.create(path + "/a", null, OPEN, CreateMode.PERSISTENT));
        fails(Code.NOAUTH, () -> stranger.getACL(path, new Stat()));
        Stat stat = new Stat();
        Id id = new Id("digest", DigestAuthenticationProvider.generateDigest("jack:pass"));
        same(Collections.singletonList(new ACL(Perms.ALL, id)), owner.getACL(path, stat));
        same(0, stat.getAversion());
        stat = owner.setACL(path, Arrays.asList(new ACL(Perms.ALL, id), new ACL(Perms.READ, Ids.ANYONE_ID_UNSAFE)), 0);
        same(1, stat.getAversion());
        same("x", text(caughtUp(stranger).getData(path, false, null)));
        fails(Code.NOAUTH, () -> stranger.setData(path, null, -1));
        fails(Code.BADVERSION, () -> owner.setACL(path, OPEN, 0));
        stranger.addAuthInfo("digest", bytes("jack:pass"));
        stranger.setData(path, bytes("y"), -1);
    }

    public void checkInvalidAccessLists() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        fails(Code.INVALIDACL, () -> zk.create(path, null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        fails(Code.INVALIDACL, () -> zk.create(path, null, new ArrayList<ACL>(), CreateMode.PERSISTENT));
        List<ACL> unknown = Collections.singletonList(new ACL(Perms.ALL, new Id("nonsense", "x")));
        fails(Code.INVALIDACL, () -> zk.create(path, null, unknown, CreateMode.PERSISTENT));
    }

    public void checkWrongAuthEndsTheClient() throws Exception {
        Events events = new Events();
        ZooKeeper zk = client(15_000, "", events);
        zk.addAuthInfo("nonsense", bytes("x"));
        events.nextState(KeeperState.AuthFailed);
        fails(Code.AUTHFAILED, () -> zk.exists("/", false));
    }

    public void checkChroot() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        ZooKeeper inside = client(15_000, path, null);
        Events events = new Events();
        inside.exists("/a", events);
        same("/a", inside.create("/a", null, OPEN, CreateMode.PERSISTENT));
        events.next(EventType.NodeCreated, "/a");
        same(Collections.singletonList("a"), caughtUp(zk).getChildren(path, false));
    }

    public void checkTimeoutIsNegotiated() throws Exception {
        same(1000, client(500, "", null).getSessionTimeout());
        same(60_000, client(3_600_000, "", null).getSessionTimeout());
        same(7000, client(7000, "", null).getSessionTimeout());
    }

    public void checkExpiryIsTold() throws Exception {
        Events events = new Events();
        ZooKeeper zk = client(15_000, "", events);
        ZooKeeper other = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.EPHEMERAL);
        Events gone = new Events();
        caughtUp(other).exists(path, gone);
        // A second connection of the session takes it over, and closing that one ends the session.
        CountDownLatch taken = new CountDownLatch(1);
        ZooKeeper thief = opened(new ZooKeeper(host, 15_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                taken.countDown();
            }
        }, zk.getSessionId(), zk.getSessionPasswd()));
        that(taken.await(15, TimeUnit.SECONDS), "the session could not be taken over");
        same(zk.getSessionId(), thief.getSessionId());
        that(other.exists(path, gone) != null, "taking a session over must keep its nodes");
        thief.close();
        events.nextState(KeeperState.Expired);
        gone.next(EventType.NodeDeleted, path);
        fails(Code.SESSIONEXPIRED, () -> zk.exists("/", false));
    }

    public void checkWrongPasswordIsExpired() throws Exception {
        ZooKeeper zk = client();
        Events events = new Events();
        byte[] password = zk.getSessionPasswd().clone();
        password[0] ^= 1;
        opened(new ZooKeeper(host, 15_000, events, zk.getSessionId(), password));
        events.nextState(KeeperState.Expired);
    }

    public void checkWatchesAndSessionSurviveARestart() throws Exception {
        survives("restart");
    }

    public void checkWatchesAndSessionSurviveAKill() throws Exception {
        survives("kill");
    }

    /** The client re-registers its watches by itself and is told what it missed. */
    private void survives(String wish) throws Exception {
        Events states = new Events();
        ZooKeeper zk = client(30_000, "", states);
        ZooKeeper writer = client(30_000, "", null);
        String path = fresh();
        zk.create(path, bytes("kept"), OPEN, CreateMode.PERSISTENT);
        zk.create(path + "/e", null, OPEN, CreateMode.EPHEMERAL);
        Events data = new Events();
        Events children = new Events();
        Events missing = new Events();
        zk.getData(path, data, null);
        zk.getChildren(path, children);
        zk.exists(path + "/new", missing);
        long session = zk.getSessionId();
        states.queue.clear();
        ask(wish);
        states.nextState(KeeperState.Disconnected);
        states.nextState(KeeperState.SyncConnected);
        same(session, zk.getSessionId());
        eventually("the writer is back", () -> {
            try {
                return writer.exists(path + "/e", false) != null;
            } catch (KeeperException.ConnectionLossException error) {
                return false;
            }
        });
        data.queue.removeIf(event -> event.getType() == EventType.None);
        children.queue.removeIf(event -> event.getType() == EventType.None);
        missing.queue.removeIf(event -> event.getType() == EventType.None);
        data.nothing();
        writer.setData(path, bytes("after"), -1);
        writer.create(path + "/new", null, OPEN, CreateMode.PERSISTENT);
        data.nextChange(EventType.NodeDataChanged, path);
        children.nextChange(EventType.NodeChildrenChanged, path);
        missing.nextChange(EventType.NodeCreated, path + "/new");
    }

    /** Changes made while a client was away reach it through its re-registered watches. */
    public void checkMissedChangesAreToldAfterReconnection() throws Exception {
        ZooKeeper writer = client();
        String path = fresh();
        for (String name : new String[] {"", "/data", "/gone", "/parent"}) {
            writer.create(path + name, null, OPEN, CreateMode.PERSISTENT);
        }
        try (Relay relay = new Relay(host)) {
            CountDownLatch connected = new CountDownLatch(1);
            ZooKeeper zk = opened(new ZooKeeper("127.0.0.1:" + relay.port(), 30_000, event -> connected.countDown()));
            that(connected.await(15, TimeUnit.SECONDS), "no connection through the relay");
            Events data = new Events();
            Events gone = new Events();
            Events created = new Events();
            Events children = new Events();
            Events quiet = new Events();
            caughtUp(zk).getData(path + "/data", data, null);
            zk.getData(path + "/gone", gone, null);
            zk.exists(path + "/created", created);
            zk.getChildren(path + "/parent", children);
            zk.getData(path, quiet, null);
            relay.cut();
            writer.setData(path + "/data", bytes("x"), -1);
            writer.delete(path + "/gone", -1);
            writer.create(path + "/created", null, OPEN, CreateMode.PERSISTENT);
            writer.create(path + "/parent/x", null, OPEN, CreateMode.PERSISTENT);
            relay.restore();
            for (Events events : new Events[] {data, gone, created, children, quiet}) {
                events.nextState(KeeperState.SyncConnected);
            }
            data.next(EventType.NodeDataChanged, path + "/data");
            gone.next(EventType.NodeDeleted, path + "/gone");
            created.next(EventType.NodeCreated, path + "/created");
            children.next(EventType.NodeChildrenChanged, path + "/parent");
            quiet.nothing();
        }
    }

    /** So many watches that the client needs several setWatches frames. */
    public void checkManyWatchesSurviveAReconnection() throws Exception {
        ZooKeeper writer = client();
        String path = fresh();
        writer.create(path, null, OPEN, CreateMode.PERSISTENT);
        int count = 4000;
        String tail = new String(new char[60]).replace('\0', 'x');
        AtomicInteger fired = new AtomicInteger();
        try (Relay relay = new Relay(host)) {
            Events states = new Events();
            ZooKeeper zk = opened(new ZooKeeper("127.0.0.1:" + relay.port(), 30_000, states));
            states.nextState(KeeperState.SyncConnected);
            CountDownLatch set = new CountDownLatch(count);
            for (int number = 0; number < count; number++) {
                zk.exists(path + "/" + number + tail, event -> {
                    if (event.getType() == EventType.NodeCreated) {
                        fired.incrementAndGet();
                    }
                }, (code, node, context, stat) -> set.countDown(), null);
            }
            that(set.await(30, TimeUnit.SECONDS), "watches not set");
            relay.cut();
            writer.create(path + "/0" + tail, null, OPEN, CreateMode.PERSISTENT);
            relay.restore();
            states.nextState(KeeperState.SyncConnected);
            eventually("the missed event", () -> fired.get() == 1);
            writer.create(path + "/" + (count - 1) + tail, null, OPEN, CreateMode.PERSISTENT);
            eventually("an event of the last watch", () -> fired.get() == 2);
        }
    }

    public void checkSessionOutlivesASilentServer() throws Exception {
        ZooKeeper zk = client(30_000, "", null);
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.EPHEMERAL);
        ask("freeze");
        Thread.sleep(1500);
        ask("thaw");
        eventually("an answer", () -> {
            try {
                return zk.exists(path, false) != null;
            } catch (KeeperException.ConnectionLossException error) {
                return false;
            }
        });
    }

    /** Passes bytes on until it is cut, which no client notices as anything but a lost connection. */
    static final class Relay implements AutoCloseable {
        private final java.net.ServerSocket listener;
        private final String host;
        private final List<Socket> sockets = Collections.synchronizedList(new ArrayList<Socket>());
        private volatile boolean down;

        Relay(String host) throws IOException {
            // Whoever cuts connections leads to one member only.
            this.host = host.split(",")[0];
            listener = new java.net.ServerSocket(0, 50, java.net.InetAddress.getByName("127.0.0.1"));
            start(() -> {
                while (true) {
                    Socket near = listener.accept();
                    if (down) {
                        near.close();
                        continue;
                    }
                    int colon = this.host.lastIndexOf(':');
                    Socket far = new Socket(this.host.substring(0, colon), Integer.parseInt(this.host.substring(colon + 1)));
                    sockets.add(near);
                    sockets.add(far);
                    start(() -> pump(near, far));
                    start(() -> pump(far, near));
                }
            });
        }

        int port() {
            return listener.getLocalPort();
        }

        void cut() throws IOException {
            down = true;
            synchronized (sockets) {
                for (Socket socket : sockets) {
                    socket.close();
                }
                sockets.clear();
            }
        }

        void restore() {
            down = false;
        }

        @Override
        public void close() throws IOException {
            listener.close();
            cut();
        }

        private static void pump(Socket from, Socket to) throws IOException {
            byte[] buffer = new byte[65536];
            int count;
            while ((count = from.getInputStream().read(buffer)) > 0) {
                to.getOutputStream().write(buffer, 0, count);
            }
            from.close();
            to.close();
        }

        private static void start(Step step) {
            Thread thread = new Thread(() -> {
                try {
                    step.run();
                } catch (Exception error) {
                    // The connection or the relay was closed.
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
    }
}
