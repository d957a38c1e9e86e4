import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** Does a bit of everything to a server, writes down what is there then, and leaves without closing two sessions. */
public class Generate {
    private static final List<ACL> OPEN = ZooDefs.Ids.OPEN_ACL_UNSAFE;

    public static void main(String[] args) throws Exception {
        String address = args[0];
        int count = Integer.parseInt(args[1]);
        ZooKeeper zk = connect(address);
        ZooKeeper other = connect(address);
        ZooKeeper gone = connect(address);

        create(zk, "/plain", "data", CreateMode.PERSISTENT);
        zk.create("/null", null, OPEN, CreateMode.PERSISTENT);
        create(zk, "/empty", "", CreateMode.PERSISTENT);
        create(zk, "/gr\u00fc\u00dfe-\u6f22\u5b57", "unicode", CreateMode.PERSISTENT);
        for (int version = 0; version < 5; version++) {
            zk.setData("/plain", bytes("data" + version), version);
        }
        zk.addAuthInfo("digest", bytes("user:pass"));
        zk.create("/secret", bytes("s"), ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        create(zk, "/readonly", "r", CreateMode.PERSISTENT);
        zk.setACL("/readonly", ZooDefs.Ids.READ_ACL_UNSAFE, 0);
        List<ACL> two = Arrays.asList(
            new ACL(ZooDefs.Perms.ALL, new Id("ip", "127.0.0.1")),
            new ACL(ZooDefs.Perms.READ, ZooDefs.Ids.ANYONE_ID_UNSAFE));
        zk.create("/acl2", bytes("r"), two, CreateMode.PERSISTENT);
        zk.create("/locks", null, OPEN, CreateMode.PERSISTENT);
        for (int i = 0; i < 3; i++) {
            create(other, "/locks/e-", "" + i, CreateMode.EPHEMERAL_SEQUENTIAL);
            create(gone, "/locks/g-", "" + i, CreateMode.EPHEMERAL_SEQUENTIAL);
        }
        create(zk, "/container", "c", CreateMode.CONTAINER);
        create(zk, "/container/child", "c", CreateMode.PERSISTENT);
        zk.create("/ttl", bytes("t"), OPEN, CreateMode.PERSISTENT_WITH_TTL, new Stat(), 3_600_000L);
        try {
            zk.create("/plain", null, OPEN, CreateMode.PERSISTENT);
        } catch (KeeperException.NodeExistsException expected) {
            // A failure is logged, too.
        }
        zk.multi(Arrays.asList(
            Op.create("/m", bytes("1"), OPEN, CreateMode.PERSISTENT),
            Op.create("/m/a", bytes("2"), OPEN, CreateMode.PERSISTENT),
            Op.setData("/m", bytes("3"), -1),
            Op.check("/m", -1),
            Op.create("/m/b", bytes("2"), OPEN, CreateMode.PERSISTENT),
            Op.delete("/m/a", -1)));
        try {
            zk.multi(Arrays.asList(
                Op.create("/m2", bytes("1"), OPEN, CreateMode.PERSISTENT),
                Op.delete("/nothing", -1)));
        } catch (KeeperException expected) {
            // All or nothing.
        }
        zk.create("/bulk", null, OPEN, CreateMode.PERSISTENT);
        bulk(zk, other, count);
        gone.close();
        create(zk, "/last", "last", CreateMode.PERSISTENT);

        try (PrintStream out = new PrintStream(args[2], "UTF-8")) {
            dump(zk, "/", out);
        }
        Runtime.getRuntime().halt(0);
    }

    /** Pipelined random writes, many of which fail. */
    private static void bulk(ZooKeeper zk, ZooKeeper other, int count) throws Exception {
        Random random = new Random(5);
        CountDownLatch left = new CountDownLatch(count);
        AsyncCallback.StringCallback created = (rc, path, context, name) -> left.countDown();
        AsyncCallback.StatCallback set = (rc, path, context, stat) -> left.countDown();
        AsyncCallback.VoidCallback deleted = (rc, path, context) -> left.countDown();
        for (int i = 0; i < count; i++) {
            String path = "/bulk/" + random.nextInt(40);
            switch (random.nextInt(5)) {
                case 0:
                case 1:
                    zk.create(path, bytes("v" + i), OPEN, CreateMode.PERSISTENT, created, null);
                    break;
                case 2:
                    zk.delete(path, -1, deleted, null);
                    break;
                case 3:
                    other.create(path + "e", bytes("e" + i), OPEN, CreateMode.EPHEMERAL, created, null);
                    break;
                default:
                    zk.setData(path, bytes("w" + i), -1, set, null);
            }
            if (i % 10 == 9) {
                Thread.sleep(1);
            }
        }
        left.await();
    }

    private static void dump(ZooKeeper zk, String path, PrintStream out) throws Exception {
        Stat stat = new Stat();
        byte[] data = zk.getData(path, false, stat);
        StringBuilder line = new StringBuilder(path).append('\t');
        line.append(stat.getCzxid()).append(' ').append(stat.getMzxid()).append(' ');
        line.append(stat.getCtime()).append(' ').append(stat.getMtime()).append(' ');
        line.append(stat.getVersion()).append(' ').append(stat.getCversion()).append(' ');
        line.append(stat.getAversion()).append(' ').append(stat.getEphemeralOwner()).append(' ');
        line.append(stat.getPzxid()).append(' ').append(stat.getNumChildren()).append('\t');
        for (ACL acl : zk.getACL(path, new Stat())) {
            line.append(acl.getPerms()).append(':').append(acl.getId().getScheme()).append(':');
            line.append(acl.getId().getId()).append(',');
        }
        line.append('\t');
        if (data == null) {
            line.append("null");
        } else {
            for (byte one : data) {
                line.append(String.format("%02x", one));
            }
        }
        out.println(line);
        List<String> children = zk.getChildren(path, false);
        Collections.sort(children);
        for (String child : children) {
            dump(zk, path.equals("/") ? "/" + child : path + "/" + child, out);
        }
    }

    private static ZooKeeper connect(String address) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(address, 30_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        if (!connected.await(20, TimeUnit.SECONDS)) {
            throw new IllegalStateException("no connection to " + address);
        }
        return zk;
    }

    private static void create(ZooKeeper zk, String path, String data, CreateMode mode) throws Exception {
        zk.create(path, bytes(data), OPEN, mode);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
