import java.lang.management.ManagementFactory;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.zookeeper.AsyncCallback.DataCallback;
import org.apache.zookeeper.AsyncCallback.StatCallback;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/**
 * One session that keeps so many requests under way; see src/bench/clients.rs.
 *
 * <p>Arguments: hosts, operation, path, depth, seconds. Warms up for so long, measures for as long, and prints operations,
 * seconds and CPU seconds of the measured time.
 */
public final class ClientLoad {
    private static final AtomicLong DONE = new AtomicLong();

    private final ZooKeeper zk;
    private final boolean sets;
    private final String path;
    private final byte[] data = new byte[100];

    private ClientLoad(ZooKeeper zk, boolean sets, String path) {
        this.zk = zk;
        this.sets = sets;
        this.path = path;
    }

    /** Each answer makes the next request, so no thread has to wake another one for it. */
    private void ask() {
        if (sets) {
            zk.setData(path, data, -1, (StatCallback) (code, path, context, stat) -> heard(code), null);
        } else {
            zk.getData(path, false, (DataCallback) (code, path, context, data, stat) -> heard(code), null);
        }
    }

    private void heard(int code) {
        if (code != KeeperException.Code.OK.intValue()) {
            System.err.println("code " + code);
            Runtime.getRuntime().halt(1);
        }
        DONE.lazySet(DONE.get() + 1);
        ask();
    }

    private static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    public static void main(String[] arguments) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(arguments[0], 20_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        if (!connected.await(20, TimeUnit.SECONDS)) {
            throw new IllegalStateException("no connection");
        }
        ClientLoad load = new ClientLoad(zk, arguments[1].equals("set"), arguments[2]);
        for (int number = 0; number < Integer.parseInt(arguments[3]); number++) {
            load.ask();
        }
        Thread.sleep((long) (Double.parseDouble(arguments[4]) * 1e3));
        long begin = System.nanoTime();
        long cpu = cpuNanos();
        long done = DONE.get();
        Thread.sleep((long) (Double.parseDouble(arguments[4]) * 1e3));
        done = DONE.get() - done;
        cpu = cpuNanos() - cpu;
        System.out.println(done + " " + (System.nanoTime() - begin) / 1e9 + " " + cpu / 1e9);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
