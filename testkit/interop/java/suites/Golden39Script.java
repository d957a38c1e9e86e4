import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** The script, and what only clients since 3.6 can say. */
public final class Golden39Script extends GoldenScript {
    public static void main(String[] arguments) throws Exception {
        ZooKeeper zk = script(connect(arguments[0]));
        zk.create("/golden/stat", bytes("x"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, new Stat());
        zk.create("/golden/container", null, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER, new Stat());
        zk.create("/golden/ttl", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, new Stat(), 3_600_000);
        CountDownLatch persistent = new CountDownLatch(2);
        Watcher watcher = event -> persistent.countDown();
        zk.addWatch("/golden/p", watcher, AddWatchMode.PERSISTENT);
        zk.create("/golden/p", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.setData("/golden/p", null, -1);
        that(persistent.await(15, TimeUnit.SECONDS), "an event is missing");
        zk.removeWatches("/golden/p", watcher, Watcher.WatcherType.Any, false);
        CountDownLatch recursive = new CountDownLatch(2);
        zk.addWatch("/golden/r", event -> recursive.countDown(), AddWatchMode.PERSISTENT_RECURSIVE);
        zk.create("/golden/r", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create("/golden/r/x", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        that(recursive.await(15, TimeUnit.SECONDS), "an event is missing");
        zk.multi(Arrays.asList(
                Op.create("/golden/m", null, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER),
                Op.create("/golden/n", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, 3_600_000)));
        zk.multi(Arrays.asList(Op.getData("/golden"), Op.getChildren("/golden"), Op.getData("/golden/none")));
        zk.getEphemerals("/golden");
        zk.getAllChildrenNumber("/golden");
        zk.whoAmI();
        zk.getConfig(false, new Stat());
        zk.close();
        end();
    }
}
