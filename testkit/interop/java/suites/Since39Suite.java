import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ClientInfo;

/** What came with the Java clients 3.6 to 3.9: persistent watches, multiRead, counting, whoAmI, close events. */
public class Since39Suite extends Since35Suite {
    Since39Suite(String host) {
        super(host);
    }

    public static void main(String[] arguments) {
        new Since39Suite(arguments[0]).run();
    }

    public void checkPersistentWatch() throws Exception {
        ZooKeeper zk = client();
        ZooKeeper writer = client();
        String path = fresh();
        Events events = new Events();
        zk.addWatch(path, events, AddWatchMode.PERSISTENT);
        writer.create(path, null, OPEN, CreateMode.PERSISTENT);
        writer.setData(path, bytes("1"), -1);
        writer.setData(path, bytes("2"), -1);
        writer.create(path + "/a", null, OPEN, CreateMode.PERSISTENT);
        writer.setData(path + "/a", bytes("1"), -1);
        writer.delete(path + "/a", -1);
        writer.delete(path, -1);
        events.next(EventType.NodeCreated, path);
        events.next(EventType.NodeDataChanged, path);
        events.next(EventType.NodeDataChanged, path);
        events.next(EventType.NodeChildrenChanged, path);
        events.next(EventType.NodeChildrenChanged, path);
        events.next(EventType.NodeDeleted, path);
        writer.create(path, null, OPEN, CreateMode.PERSISTENT);
        events.next(EventType.NodeCreated, path);
        zk.removeWatches(path, events, Watcher.WatcherType.Any, false);
        events.next(EventType.PersistentWatchRemoved, path);
        writer.setData(path, bytes("3"), -1);
        events.nothing();
    }

    public void checkRecursiveWatch() throws Exception {
        ZooKeeper zk = client();
        ZooKeeper writer = client();
        String path = fresh();
        Events events = new Events();
        zk.addWatch(path, events, AddWatchMode.PERSISTENT_RECURSIVE);
        writer.create(path, null, OPEN, CreateMode.PERSISTENT);
        writer.create(path + "/a", null, OPEN, CreateMode.PERSISTENT);
        writer.create(path + "/a/b", null, OPEN, CreateMode.PERSISTENT);
        writer.setData(path + "/a/b", bytes("1"), -1);
        writer.delete(path + "/a/b", -1);
        writer.create(path + "x", null, OPEN, CreateMode.PERSISTENT);
        events.next(EventType.NodeCreated, path);
        events.next(EventType.NodeCreated, path + "/a");
        events.next(EventType.NodeCreated, path + "/a/b");
        events.next(EventType.NodeDataChanged, path + "/a/b");
        events.next(EventType.NodeDeleted, path + "/a/b");
        events.nothing();
        zk.removeWatches(path, events, Watcher.WatcherType.Any, false);
        events.next(EventType.PersistentWatchRemoved, path);
    }

    public void checkPersistentWatchesSurviveAReconnection() throws Exception {
        ZooKeeper writer = client();
        String path = fresh();
        try (Relay relay = new Relay(host)) {
            Events states = new Events();
            ZooKeeper zk = opened(new ZooKeeper("127.0.0.1:" + relay.port(), 30_000, states));
            states.nextState(KeeperState.SyncConnected);
            Events persistent = new Events();
            Events recursive = new Events();
            zk.addWatch(path, persistent, AddWatchMode.PERSISTENT);
            zk.addWatch(path, recursive, AddWatchMode.PERSISTENT_RECURSIVE);
            relay.cut();
            relay.restore();
            persistent.nextState(KeeperState.SyncConnected);
            recursive.nextState(KeeperState.SyncConnected);
            // The client says that it is connected before it sends its watches again. What the writer changes through
            // another member in between is told to nobody, as persistent watches have no past.
            zk.exists(path, false);
            writer.create(path, null, OPEN, CreateMode.PERSISTENT);
            persistent.next(EventType.NodeCreated, path);
            recursive.next(EventType.NodeCreated, path);
            writer.create(path + "/a", null, OPEN, CreateMode.PERSISTENT);
            persistent.next(EventType.NodeChildrenChanged, path);
            recursive.next(EventType.NodeCreated, path + "/a");
        }
    }

    public void checkMultiRead() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, bytes("x"), OPEN, CreateMode.PERSISTENT);
        zk.create(path + "/a", null, OPEN, CreateMode.PERSISTENT);
        List<OpResult> results = zk.multi(Arrays.asList(
                Op.getData(path), Op.getChildren(path), Op.getData(path + "/none"), Op.getData(path + "/a")));
        same("x", text(((OpResult.GetDataResult) results.get(0)).getData()));
        same(1, ((OpResult.GetDataResult) results.get(0)).getStat().getNumChildren());
        same(Arrays.asList("a"), ((OpResult.GetChildrenResult) results.get(1)).getChildren());
        same(Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr());
        same(null, ((OpResult.GetDataResult) results.get(3)).getData());
    }

    public void checkEphemeralsAndDescendants() throws Exception {
        ZooKeeper zk = client();
        ZooKeeper other = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        zk.create(path + "/b", null, OPEN, CreateMode.EPHEMERAL);
        zk.create(path + "/a", null, OPEN, CreateMode.EPHEMERAL);
        other.create(path + "/c", null, OPEN, CreateMode.EPHEMERAL);
        List<String> mine = new ArrayList<>(caughtUp(zk).getEphemerals(path));
        java.util.Collections.sort(mine);
        same(Arrays.asList(path + "/a", path + "/b"), mine);
        same(Arrays.asList(path + "/c"), other.getEphemerals());
        same(3, zk.getAllChildrenNumber(path));
        that(zk.getAllChildrenNumber("/") >= 6, zk.getAllChildrenNumber("/"));
        fails(Code.NONODE, () -> zk.getAllChildrenNumber(path + "/none"));
    }

    public void checkWhoAmI() throws Exception {
        ZooKeeper zk = client();
        zk.addAuthInfo("digest", bytes("jack:pass"));
        List<String> names = new ArrayList<>();
        for (ClientInfo info : zk.whoAmI()) {
            names.add(info.getAuthScheme() + ":" + info.getUser());
        }
        java.util.Collections.sort(names);
        same(Arrays.asList("digest:jack", "ip:127.0.0.1"), names);
    }

    public void checkEventsCarryTheirZxid() throws Exception {
        ZooKeeper zk = client();
        ZooKeeper writer = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        Events events = new Events();
        zk.addWatch(path, events, AddWatchMode.PERSISTENT);
        long zxid = writer.setData(path, bytes("1"), -1).getMzxid();
        same(zxid, events.next().getZxid());
        zxid = writer.setData(path, bytes("2"), -1).getMzxid();
        same(zxid, events.next().getZxid());
    }

    public void checkNoEventsWithoutTheRightToRead() throws Exception {
        ZooKeeper zk = client();
        ZooKeeper owner = client();
        owner.addAuthInfo("digest", bytes("jack:pass"));
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        Events events = new Events();
        zk.addWatch(path, events, AddWatchMode.PERSISTENT_RECURSIVE);
        owner.create(path + "/secret", null, org.apache.zookeeper.ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        owner.setData(path + "/secret", bytes("x"), -1);
        owner.create(path + "/open", null, OPEN, CreateMode.PERSISTENT);
        events.next(EventType.NodeCreated, path + "/open");
        events.nothing();
    }

    public void checkCloseIsTold() throws Exception {
        Events events = new Events();
        ZooKeeper zk = client(15_000, "", events);
        zk.close(10_000);
        events.nextState(KeeperState.Closed);
        that(events.queue.poll(200, TimeUnit.MILLISECONDS) == null, "an event after the last");
    }
}
