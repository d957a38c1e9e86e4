import java.util.Arrays;
import java.util.List;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.data.Stat;

/** What came with the Java client 3.5: containers, TTL nodes, create with Stat, removal of watches. */
public class Since35Suite extends ClassicSuite {
    Since35Suite(String host) {
        super(host);
    }

    public static void main(String[] arguments) {
        new Since35Suite(arguments[0]).run();
    }

    public void checkCreateWithStat() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        Stat stat = new Stat();
        same(path, zk.create(path, bytes("data"), OPEN, CreateMode.PERSISTENT, stat));
        that(stat.getCzxid() != 0 && stat.getDataLength() == 4, stat);
        same(stat, zk.exists(path, false));
    }

    public void checkContainerGoesWhenItIsEmpty() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.CONTAINER);
        same(0L, zk.exists(path, false).getEphemeralOwner());
        Thread.sleep(1500);
        that(zk.exists(path, false) != null, "a container that never had a child stays");
        zk.create(path + "/x", null, OPEN, CreateMode.PERSISTENT);
        Events events = new Events();
        zk.exists(path, events);
        zk.delete(path + "/x", -1);
        events.next(EventType.NodeDeleted, path);
    }

    public void checkTtlNodeGoesWhenItIsOld() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        Stat stat = new Stat();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT_WITH_TTL, stat, 800);
        same(0L, stat.getEphemeralOwner());
        String sequential = zk.create(path + "-s", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, null, 60_000);
        that(sequential.matches(".*-s[0-9]{10}"), sequential);
        long start = System.nanoTime();
        zk.create(path + "/child", null, OPEN, CreateMode.PERSISTENT);
        Thread.sleep(1500);
        that(zk.exists(path, false) != null, "a node with children stays");
        zk.delete(path + "/child", -1);
        eventually("the node is gone", () -> zk.exists(path, false) == null);
        that(System.nanoTime() - start > 800_000_000L, "it went before its time");
        that(zk.exists(sequential, false) != null, "a node that is not old stays");
        fails(Code.BADARGUMENTS, () -> {
            try {
                zk.create(path, null, OPEN, CreateMode.PERSISTENT_WITH_TTL, null, 1L << 41);
            } catch (IllegalArgumentException error) {
                // The client itself refuses what the server would.
                throw org.apache.zookeeper.KeeperException.create(Code.BADARGUMENTS);
            }
        });
    }

    public void checkMultiWithEveryKindOfCreate() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        List<OpResult> results = zk.multi(Arrays.asList(
                Op.create(path, bytes("x"), OPEN, CreateMode.CONTAINER),
                Op.create(path + "/t", null, OPEN, CreateMode.PERSISTENT_WITH_TTL, 60_000),
                Op.create(path + "/e", null, OPEN, CreateMode.EPHEMERAL)));
        OpResult.CreateResult first = (OpResult.CreateResult) results.get(0);
        same(path, first.getPath());
        same(0, first.getStat().getNumChildren());
        same(zk.getSessionId(), zk.exists(path + "/e", false).getEphemeralOwner());
        same(2, zk.exists(path, false).getNumChildren());
    }

    public void checkWatchesCanBeRemoved() throws Exception {
        ZooKeeper zk = client();
        String path = fresh();
        zk.create(path, null, OPEN, CreateMode.PERSISTENT);
        Events data = new Events();
        Events children = new Events();
        zk.getData(path, data, null);
        zk.getChildren(path, children);
        zk.removeWatches(path, data, Watcher.WatcherType.Data, false);
        data.next(EventType.DataWatchRemoved, path);
        zk.setData(path, null, -1);
        data.nothing();
        zk.create(path + "/a", null, OPEN, CreateMode.PERSISTENT);
        children.next(EventType.NodeChildrenChanged, path);
        fails(Code.NOWATCHER, () -> zk.removeWatches(path, data, Watcher.WatcherType.Data, false));
        fails(Code.NOWATCHER, () -> zk.removeAllWatches(path, Watcher.WatcherType.Any, false));
    }

    public void checkConfigNode() throws Exception {
        ZooKeeper zk = client();
        Stat stat = new Stat();
        byte[] config = zk.getConfig(false, stat);
        that(config != null, "the config node has no data");
        same(0L, stat.getEphemeralOwner());
    }

    public void checkReconfigIsDisabledOnAStandaloneServer() throws Exception {
        if (host.contains(",")) {
            // An ensemble, which may well be changed.
            return;
        }
        ZooKeeperAdmin admin = later(new ZooKeeperAdmin(host, 15_000, event -> {}));
        fails(Code.RECONFIGDISABLED, () -> admin.reconfigure("server.2=127.0.0.1:1:2;3", null, null, -1, new Stat()));
    }
}
