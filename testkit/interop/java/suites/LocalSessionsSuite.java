import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Stat;

/** Sessions that only one member of an ensemble knows, with and without the right to become everybody's. */
public class LocalSessionsSuite extends Checks {
    private static final List<ACL> OPEN = Ids.OPEN_ACL_UNSAFE;
    private static final int TIMEOUT_MS = 8000;

    private final String[] members;
    private final boolean upgrading;
    /** Not Apache ZooKeeper, the control, which is known to tell less and to forget more. */
    private final boolean ours;

    LocalSessionsSuite(String[] members, boolean upgrading, boolean ours) {
        this.members = members;
        this.upgrading = upgrading;
        this.ours = ours;
    }

    public static void main(String[] arguments) throws Exception {
        LocalSessionsSuite suite = new LocalSessionsSuite(
            arguments[0].split(","), Boolean.parseBoolean(arguments[1]), Boolean.parseBoolean(arguments[2]));
        suite.awaitLocalSessions();
        suite.run();
    }

    private void awaitLocalSessions() throws Exception {
        for (String member : members) {
            eventually(member + " opens local sessions", () -> {
                ZooKeeper zk = client(member);
                boolean isLocal = count(member, "local_sessions") > 0;
                zk.close();
                return isLocal;
            });
        }
    }

    /** A connected client, whose connection is never closed by itself. */
    private ZooKeeper client(String member) throws Exception {
        return client(member, 0, null);
    }

    /** The same, or null if its session is over. */
    private ZooKeeper client(String member, long session, byte[] password) throws Exception {
        CountDownLatch told = new CountDownLatch(1);
        KeeperState[] state = new KeeperState[1];
        java.util.function.Consumer<WatchedEvent> note = event -> {
            if (state[0] == null && event.getState() != KeeperState.Disconnected) {
                state[0] = event.getState();
                told.countDown();
            }
        };
        ZooKeeper zk = session == 0
            ? new ZooKeeper(member, TIMEOUT_MS, note::accept)
            : new ZooKeeper(member, TIMEOUT_MS, note::accept, session, password);
        later(zk);
        that(told.await(15, TimeUnit.SECONDS), "no connection within 15 s");
        return state[0] == KeeperState.SyncConnected ? zk : null;
    }

    /** A number of the member's mntr. */
    private int count(String member, String name) throws IOException {
        return Integer.parseInt(told(member, name));
    }

    private String told(String member, String name) throws IOException {
        String[] address = member.split(":");
        try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]))) {
            socket.getOutputStream().write(bytes("mntr"));
            InputStream answer = socket.getInputStream();
            for (String line : text(answer.readAllBytes()).split("\n")) {
                if (line.startsWith("zk_" + name + "\t")) {
                    return line.split("\t")[1].trim();
                }
            }
        }
        throw new IOException("no " + name + " in mntr");
    }

    private int[] everywhere(String name) throws IOException {
        int[] counts = new int[members.length];
        for (int index = 0; index < members.length; index++) {
            counts[index] = count(members[index], name);
        }
        return counts;
    }

    private boolean are(String name, int[] expected) throws IOException {
        return Arrays.equals(expected, everywhere(name));
    }

    private static int[] oneMore(int[] counts, int at) {
        int[] more = counts.clone();
        more[at]++;
        return more;
    }

    private static int[] oneMore(int[] counts) {
        return Arrays.stream(counts).map(count -> count + 1).toArray();
    }

    private static void refused(Step step) throws Exception {
        same(Code.EPHEMERALONLOCALSESSION, refusal(step));
    }

    private static Code refusal(Step step) throws Exception {
        try {
            step.run();
        } catch (KeeperException error) {
            return error.code();
        }
        throw new AssertionError("it was allowed");
    }

    public void checkItsOwnMemberAloneKnowsIt() throws Exception {
        for (int at = 0; at < members.length; at++) {
            int[] local = everywhere("local_sessions");
            int[] global = everywhere("global_sessions");
            ZooKeeper zk = client(members[at]);
            String path = fresh();
            zk.create(path, bytes("1"), OPEN, CreateMode.PERSISTENT);
            zk.create(path + "/s-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL);
            zk.setData(path, bytes("2"), 0);
            zk.multi(Arrays.asList(Op.check(path, 1), Op.create(path + "/m", null, OPEN, CreateMode.PERSISTENT)));
            same(2, zk.getChildren(path, false).size());
            that(are("local_sessions", oneMore(local, at)), "local sessions of " + members[at]);
            that(are("global_sessions", global), "global sessions");
            zk.close();
            that(are("local_sessions", local), "local sessions after the end");
            that(are("global_sessions", global), "global sessions after the end");
        }
    }

    public void checkItComesAndGoesWithoutZxids() throws Exception {
        for (String member : members) {
            ZooKeeper watching = client(member);
            String path = fresh();
            watching.create(path, null, OPEN, CreateMode.PERSISTENT);
            long before = watching.exists(path, false).getMzxid();
            client(member).close();
            client(member).close();
            same(before + 1, watching.setData(path, null, -1).getMzxid());
        }
    }

    public void checkEphemerals() throws Exception {
        for (int at = 0; at < members.length; at++) {
            String path = fresh();
            int[] local = everywhere("local_sessions");
            int[] global = everywhere("global_sessions");
            ZooKeeper zk = client(members[at]);
            zk.create(path, null, OPEN, CreateMode.PERSISTENT);
            if (!upgrading) {
                refused(() -> zk.create(path + "/e", null, OPEN, CreateMode.EPHEMERAL));
                refused(() -> zk.create(path + "/e-", null, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL));
                refused(() -> zk.create(path + "/none/e", null, OPEN, CreateMode.EPHEMERAL));
                refused(() -> zk.create(path + "/e", null, OPEN, CreateMode.EPHEMERAL, new Stat()));
                Code code = refusal(() -> zk.multi(Arrays.asList(
                    Op.create(path + "/m", null, OPEN, CreateMode.PERSISTENT),
                    Op.create(path + "/e", null, OPEN, CreateMode.EPHEMERAL))));
                that(code == Code.EPHEMERALONLOCALSESSION || code == Code.SESSIONEXPIRED && !ours, code);
                same(0, zk.getChildren(path, false).size());
                that(are("local_sessions", oneMore(local, at)), "it stays local");
                zk.close();
                continue;
            }
            zk.create(path + "/e", null, OPEN, CreateMode.EPHEMERAL);
            same(zk.getSessionId(), zk.exists(path + "/e", false).getEphemeralOwner());
            eventually("everybody knows it", () -> are("global_sessions", oneMore(global)));
            that(are("local_sessions", local), "it is local no more");
            zk.create(path + "/e-", null, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL);
            zk.close();
            eventually("it ended everywhere", () -> are("global_sessions", global));
            that(are("local_sessions", local), "local sessions after the end");
            ZooKeeper other = client(members[(at + 1) % members.length]);
            eventually("its ephemerals went with it", () -> other.getChildren(path, false).isEmpty());
        }
    }

    public void checkMultiBeginsItsGlobalLife() throws Exception {
        if (!upgrading) {
            return;
        }
        for (String member : members) {
            String path = fresh();
            ZooKeeper zk = client(member);
            zk.multi(Arrays.asList(
                Op.create(path, null, OPEN, CreateMode.PERSISTENT),
                Op.create(path + "/e", null, OPEN, CreateMode.EPHEMERAL)));
            same(zk.getSessionId(), zk.exists(path + "/e", false).getEphemeralOwner());
        }
    }

    public void checkItIsTakenUpWhereItIs() throws Exception {
        for (String member : members) {
            ZooKeeper zk = client(member);
            ZooKeeper again = client(member, zk.getSessionId(), zk.getSessionPasswd());
            that(again != null, "its own member does not know it");
            same(zk.getSessionId(), again.getSessionId());
            again.create(fresh(), null, OPEN, CreateMode.PERSISTENT);
        }
    }

    public void checkItIsUnknownElsewhere() throws Exception {
        for (int at = 0; at < members.length; at++) {
            for (int step = 1; step < members.length; step++) {
                ZooKeeper zk = client(members[at]);
                String there = members[(at + step) % members.length];
                that(client(there, zk.getSessionId(), zk.getSessionPasswd()) == null, there + " knows it");
                zk.create(fresh(), null, OPEN, CreateMode.PERSISTENT);
            }
        }
    }

    public void checkWhatIsGlobalGoesAnywhere() throws Exception {
        if (!upgrading) {
            return;
        }
        for (int at = 0; at < members.length; at++) {
            for (int step = 0; step < members.length; step++) {
                ZooKeeper zk = client(members[at]);
                String path = fresh();
                zk.create(path, null, OPEN, CreateMode.EPHEMERAL);
                String there = members[(at + step) % members.length];
                ZooKeeper moved = client(there, zk.getSessionId(), zk.getSessionPasswd());
                that(moved != null, there + " does not know it");
                same(zk.getSessionId(), moved.exists(path, false).getEphemeralOwner());
                String other = fresh();
                moved.create(other, null, OPEN, CreateMode.EPHEMERAL);
                moved.close();
                ZooKeeper witness = client(there);
                same(null, witness.exists(path, false));
                same(null, witness.exists(other, false));
            }
        }
    }

    public void checkWhatBecomesOfItWhenTheLeaderChanges() throws Exception {
        List<ZooKeeper> sessions = new ArrayList<>();
        for (String member : members) {
            if (told(member, "server_state").equals("follower")) {
                sessions.add(client(member));
            }
        }
        same(members.length - 1, sessions.size());
        ask("kill-leader");
        for (ZooKeeper zk : sessions) {
            boolean[] goesOn = new boolean[1];
            eventually("the session goes on or is over", () -> {
                try {
                    zk.exists("/", false);
                    goesOn[0] = true;
                    return true;
                } catch (KeeperException.SessionExpiredException error) {
                    return true;
                } catch (KeeperException.ConnectionLossException error) {
                    return false;
                }
            });
            same(ours, goesOn[0]);
        }
        awaitLocalSessions();
    }
}
