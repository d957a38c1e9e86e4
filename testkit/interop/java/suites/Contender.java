import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.locks.StandardLockInternalsDriver;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedIdQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.zookeeper.CreateMode;

/**
 * One of several programs in different languages that want the same thing at the same time.
 *
 * <p>Arguments: hosts, recipe, folder, rounds. What the folder holds is told in src/interop/contention.rs.
 */
public final class Contender {
    private static final String NAME = "curator";

    private final CuratorFramework client;
    private final String folder;

    private Contender(CuratorFramework client, String folder) {
        this.client = client;
        this.folder = folder;
    }

    /** Curator sorts by what follows its own prefix; among strangers only the digits count. */
    private static final class AmongStrangers extends StandardLockInternalsDriver {
        @Override
        public String fixForSorting(String name, String lockName) {
            return digits(name);
        }
    }

    /** A lock that tells which znode stands for it. */
    private static final class OpenMutex extends InterProcessMutex {
        OpenMutex(CuratorFramework client, String path, boolean amongStrangers) {
            super(client, path, amongStrangers ? new AmongStrangers() : new StandardLockInternalsDriver());
        }

        String node() {
            return getLockPath();
        }
    }

    private static String digits(String name) {
        return name.substring(Math.max(0, name.length() - 10));
    }

    public static void main(String[] arguments) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(arguments[0], 20_000, 10_000, new RetryNTimes(50, 100));
        client.start();
        client.blockUntilConnected(20, TimeUnit.SECONDS);
        Contender contender = new Contender(client, arguments[2]);
        client.create().withMode(CreateMode.EPHEMERAL).forPath(arguments[2] + "/parties/" + NAME);
        while (client.checkExists().forPath(arguments[2] + "/gate") == null) {
            Thread.sleep(10);
        }
        for (int round = 0; round < Integer.parseInt(arguments[3]); round++) {
            contender.contend(arguments[1], round);
        }
        client.close();
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private void contend(String recipe, int round) throws Exception {
        String path = folder + "/contended";
        switch (recipe) {
            case "lock":
            case "lock-curator": {
                OpenMutex lock = new OpenMutex(client, path, recipe.equals("lock"));
                lock.acquire();
                inside("w", 1, lock.node());
                lock.release();
                break;
            }
            case "rw-lock-curator": {
                InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, path);
                boolean writes = round % 3 == 0;
                InterProcessMutex half = writes ? lock.writeLock() : lock.readLock();
                half.acquire();
                inside(writes ? "w" : "r", 1, null);
                half.release();
                break;
            }
            case "semaphore": {
                InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, path, 2);
                Lease lease = semaphore.acquire();
                inside("w", 2, null);
                semaphore.returnLease(lease);
                break;
            }
            case "latch": {
                LeaderLatch latch = new LeaderLatch(client, path, NAME);
                latch.start();
                latch.await();
                inside("w", 1, null);
                latch.close();
                break;
            }
            case "double-barrier": {
                DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, folder + "/meeting-" + round, 3);
                create("/arrived-" + round + "/", CreateMode.PERSISTENT_SEQUENTIAL, "");
                barrier.enter();
                int arrived = client.getChildren().forPath(folder + "/arrived-" + round).size();
                if (arrived != 3) {
                    System.out.println("FAIL entered when " + arrived + " had come");
                }
                barrier.leave();
                create("/log/e-", CreateMode.PERSISTENT_SEQUENTIAL, NAME);
                break;
            }
            case "count": {
                DistributedAtomicLong number = new DistributedAtomicLong(client, folder + "/number", new RetryNTimes(1000, 2));
                AtomicValue<Long> sum = number.add(3L);
                if (!sum.succeeded()) {
                    System.out.println("FAIL the addition did not succeed");
                }
                SharedCount count = new SharedCount(client, folder + "/count", 0);
                count.start();
                while (!count.trySetCount(count.getVersionedValue(), count.getCount() + 1)) {
                    Thread.sleep(1);
                }
                count.close();
                create("/log/e-", CreateMode.PERSISTENT_SEQUENTIAL, NAME);
                break;
            }
            case "discovery":
                discover();
                break;
            case "delay-queue":
                exchangeDelayed();
                break;
            case "id-queue":
                exchangeWithIds();
                break;
            default:
                throw new IllegalArgumentException(recipe);
        }
    }

    /** Registers a service, finds that of the other side, and waits until that has found ours. */
    private void discover() throws Exception {
        ServiceInstance<Void> mine = ServiceInstance.<Void>builder().name("java").id("j").address("10.0.0.1").port(80).build();
        ServiceDiscovery<Void> services =
                ServiceDiscoveryBuilder.builder(Void.class).client(client).basePath(folder + "/services").thisInstance(mine).build();
        services.start();
        long deadline = System.nanoTime() + 20_000_000_000L;
        ServiceInstance<Void> other = null;
        while (other == null && System.nanoTime() < deadline) {
            Thread.sleep(10);
            other = services.queryForInstance("rust", "r");
        }
        if (other == null || !"10.0.0.2".equals(other.getAddress()) || other.getPort() != 81 || !other.isEnabled()) {
            System.out.println("FAIL found " + other);
        }
        create("/log/e-", CreateMode.PERSISTENT_SEQUENTIAL, NAME);
        while (client.getChildren().forPath(folder + "/log").size() < 2 && System.nanoTime() < deadline) {
            Thread.sleep(10);
        }
        services.close();
    }

    /** Sends elements that say when they are due, and gets the other side's in their order, none too early. */
    private void exchangeDelayed() throws Exception {
        DistributedDelayQueue<String> out = QueueBuilder.builder(client, null, TEXT, folder + "/to-rust").buildDelayQueue();
        out.start();
        long now = System.currentTimeMillis();
        for (long delay : new long[] {600, 0, 300}) {
            out.put(Long.toString(now + delay), now + delay);
        }
        Received came = new Received();
        DistributedDelayQueue<String> in = QueueBuilder.builder(client, came, TEXT, folder + "/to-java").buildDelayQueue();
        in.start();
        long last = 0;
        for (int count = 0; count < 3; count++) {
            long due = Long.parseLong(came.next());
            if (due < last || due > System.currentTimeMillis()) {
                System.out.println("FAIL got what is due at " + due + " after " + last + ", at " + System.currentTimeMillis());
            }
            last = due;
        }
        create("/log/e-", CreateMode.PERSISTENT_SEQUENTIAL, NAME);
        in.close();
        out.close();
    }

    /** Sends three elements, takes two of the other side's back by their id, and gets the third. */
    private void exchangeWithIds() throws Exception {
        DistributedIdQueue<String> out = QueueBuilder.builder(client, null, TEXT, folder + "/to-rust").buildIdQueue();
        out.start();
        out.put("first", "a");
        out.put("second", "b/2");
        out.put("third", "a");
        DistributedIdQueue<String> pending = QueueBuilder.builder(client, null, TEXT, folder + "/to-java").buildIdQueue();
        pending.start();
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (client.getChildren().forPath(folder + "/to-java").size() < 3 && System.nanoTime() < deadline) {
            Thread.sleep(10);
        }
        int removed = pending.remove("a");
        Received came = new Received();
        DistributedIdQueue<String> in = QueueBuilder.builder(client, came, TEXT, folder + "/to-java").buildIdQueue();
        in.start();
        String rest = came.next();
        if (removed != 2 || !rest.equals("second")) {
            System.out.println("FAIL " + removed + " taken back, then " + rest);
        }
        create("/log/e-", CreateMode.PERSISTENT_SEQUENTIAL, NAME);
        in.close();
        pending.close();
        out.close();
    }

    private static final QueueSerializer<String> TEXT = new QueueSerializer<String>() {
        @Override
        public byte[] serialize(String item) {
            return item.getBytes();
        }

        @Override
        public String deserialize(byte[] bytes) {
            return new String(bytes);
        }
    };

    /** What a queue has given us, in order. */
    private static final class Received implements QueueConsumer<String> {
        private final LinkedBlockingQueue<String> items = new LinkedBlockingQueue<>();

        @Override
        public void consumeMessage(String message) {
            items.add(message);
        }

        @Override
        public void stateChanged(CuratorFramework client, ConnectionState state) {}

        String next() throws InterruptedException {
            String item = items.poll(20, TimeUnit.SECONDS);
            if (item == null) {
                throw new IllegalStateException("nothing came");
            }
            return item;
        }
    }

    private String create(String below, CreateMode mode, String data) throws Exception {
        return client.create().withMode(mode).forPath(folder + below, data.getBytes());
    }

    /** Leaves a trace while it is inside, and looks whether more are there than may be. */
    private void inside(String kind, int most, String node) throws Exception {
        String mine = create("/inside/" + kind + "-", CreateMode.EPHEMERAL_SEQUENTIAL, NAME);
        List<String> names = client.getChildren().forPath(folder + "/inside");
        boolean aWriter = names.stream().anyMatch(name -> name.startsWith("w-"));
        if (names.size() > most && aWriter) {
            System.out.println("FAIL too many inside: " + names);
        }
        create("/log/e-", CreateMode.PERSISTENT_SEQUENTIAL, NAME + " " + kind + " " + (node == null ? "" : digits(node)));
        Thread.sleep(2);
        client.delete().forPath(mine);
    }
}
