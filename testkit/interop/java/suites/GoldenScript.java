import java.util.Arrays;
import java.util.Collections;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Stat;

/** A fixed script whose bytes are recorded on the way, for clients of every version. */
public class GoldenScript extends Checks {
    public static void main(String[] arguments) throws Exception {
        script(connect(arguments[0])).close();
        end();
    }

    static void end() {
        System.out.println("@done");
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    static ZooKeeper connect(String host) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(host, 30_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        that(connected.await(20, TimeUnit.SECONDS), "no connection");
        return zk;
    }

    static void fails(Step step) throws Exception {
        try {
            step.run();
        } catch (KeeperException expected) {
            return;
        }
        throw new AssertionError("it worked");
    }

    static ZooKeeper script(ZooKeeper zk) throws Exception {
        zk.create("/golden", bytes("one"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.getData("/golden", false, new Stat());
        zk.setData("/golden", bytes("two"), 0);
        fails(() -> zk.setData("/golden", bytes("x"), 5));
        zk.exists("/golden", false);
        zk.exists("/golden/none", false);
        CountDownLatch events = new CountDownLatch(3);
        zk.exists("/golden/a", event -> events.countDown());
        zk.getData("/golden", event -> events.countDown(), null);
        zk.getChildren("/golden", event -> events.countDown());
        zk.create("/golden/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        zk.setData("/golden", null, -1);
        that(events.await(15, TimeUnit.SECONDS), "an event is missing");
        zk.create("/golden/s-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL);
        zk.create("/golden/e-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL);
        zk.getChildren("/golden", false);
        zk.getChildren("/golden", false, new Stat());
        zk.addAuthInfo("digest", bytes("jack:pass"));
        zk.create("/golden/d", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        zk.getACL("/golden/d", new Stat());
        zk.setACL("/golden/d", Collections.singletonList(new ACL(Perms.ALL, Ids.ANYONE_ID_UNSAFE)), 0);
        fails(() -> zk.setACL("/golden/d", Ids.OPEN_ACL_UNSAFE, 0));
        zk.multi(Arrays.asList(
                Op.check("/golden", 2),
                Op.create("/golden/t", bytes("y"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                Op.setData("/golden", bytes("z"), -1),
                Op.delete("/golden/d", 0)));
        fails(() -> zk.multi(Arrays.asList(Op.delete("/golden/t", -1), Op.check("/golden", 9), Op.check("/", -1))));
        CountDownLatch synced = new CountDownLatch(1);
        zk.sync("/golden", (code, path, context) -> synced.countDown(), null);
        that(synced.await(15, TimeUnit.SECONDS), "no answer to sync");
        fails(() -> zk.delete("/golden", -1));
        fails(() -> zk.delete("/golden/none", -1));
        zk.delete("/golden/t", -1);
        zk.getData("/", false, new Stat());
        zk.getData("/zookeeper/config", false, new Stat());
        return zk;
    }
}
