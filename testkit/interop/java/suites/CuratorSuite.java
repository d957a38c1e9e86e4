import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;

/** Curator's framework, recipes and service discovery. */
public final class CuratorSuite extends Checks {
    private final String host;

    private CuratorSuite(String host) {
        this.host = host;
    }

    public static void main(String[] arguments) {
        new CuratorSuite(arguments[0]).run();
    }

    private CuratorFramework client() throws Exception {
        return client(null);
    }

    private CuratorFramework client(String namespace) throws Exception {
        CuratorFramework client = later(CuratorFrameworkFactory.builder()
                .connectString(host)
                .sessionTimeoutMs(20_000)
                .connectionTimeoutMs(10_000)
                .retryPolicy(new RetryForever(100))
                .namespace(namespace)
                .build());
        client.start();
        that(client.blockUntilConnected(20, TimeUnit.SECONDS), "no connection within 20 s");
        return namespace == null ? caughtUp(client) : client;
    }

    /** The client after it has seen whatever was answered before: another member may have answered it. */
    private static CuratorFramework caughtUp(CuratorFramework client) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        client.sync().inBackground((framework, event) -> done.countDown()).forPath("/");
        that(done.await(15, TimeUnit.SECONDS), "no answer to sync");
        return client;
    }

    private ExecutorService threads() {
        ExecutorService threads = Executors.newCachedThreadPool();
        later((AutoCloseable) threads::shutdownNow);
        return threads;
    }

    public void checkFramework() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        same(path + "/a/b", client.create().creatingParentsIfNeeded().forPath(path + "/a/b", bytes("x")));
        Stat stat = new Stat();
        same("x", text(client.getData().storingStatIn(stat).forPath(path + "/a/b")));
        client.setData().withVersion(stat.getVersion()).forPath(path + "/a/b", bytes("y"));
        same(Arrays.asList("a"), client.getChildren().forPath(path));
        client.create().orSetData().forPath(path + "/a/b", bytes("z"));
        same("z", text(client.getData().forPath(path + "/a/b")));
        client.delete().guaranteed().deletingChildrenIfNeeded().forPath(path);
        same(null, client.checkExists().forPath(path));
    }

    public void checkParentsAreContainers() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        client.create().creatingParentContainersIfNeeded().forPath(path + "/x");
        client.delete().forPath(path + "/x");
        eventually("the empty container is gone", () -> client.checkExists().forPath(path) == null);
    }

    public void checkProtectionFindsItsNode() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        String made = client.create().creatingParentsIfNeeded().withProtection()
                .withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(path + "/lock-");
        that(made.matches(".*/_c_[-0-9a-f]{36}-lock-[0-9]{10}"), made);
    }

    public void checkNamespace() throws Exception {
        CuratorFramework plain = client();
        String name = fresh().substring(1);
        CuratorFramework inside = client(name);
        inside.create().creatingParentsIfNeeded().forPath("/a", bytes("x"));
        same("x", text(caughtUp(plain).getData().forPath("/" + name + "/a")));
    }

    public void checkTransaction() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        Collection<CuratorTransactionResult> results = client.transaction().forOperations(
                client.transactionOp().create().forPath(path, bytes("a")),
                client.transactionOp().create().forPath(path + "/b"),
                client.transactionOp().setData().withVersion(0).forPath(path, bytes("c")),
                client.transactionOp().check().withVersion(1).forPath(path),
                client.transactionOp().delete().forPath(path + "/b"));
        same(5, results.size());
        same("c", text(client.getData().forPath(path)));
        try {
            client.transaction().forOperations(
                    client.transactionOp().create().forPath(path + "/x"),
                    client.transactionOp().check().withVersion(7).forPath(path));
            throw new AssertionError("the transaction worked");
        } catch (KeeperException.BadVersionException expected) {
            same(null, client.checkExists().forPath(path + "/x"));
        }
    }

    public void checkMutex() throws Exception {
        String path = fresh();
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        AtomicInteger rounds = new AtomicInteger();
        ExecutorService threads = threads();
        List<Future<?>> work = new ArrayList<>();
        for (int number = 0; number < 4; number++) {
            InterProcessMutex mutex = new InterProcessMutex(client(), path);
            work.add(threads.submit(() -> {
                for (int round = 0; round < 10; round++) {
                    mutex.acquire();
                    mutex.acquire();
                    most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                    rounds.incrementAndGet();
                    inside.decrementAndGet();
                    mutex.release();
                    mutex.release();
                }
                return null;
            }));
        }
        for (Future<?> one : work) {
            one.get(60, TimeUnit.SECONDS);
        }
        same(40, rounds.get());
        same(1, most.get());
    }

    public void checkMutexOfALostClientIsFree() throws Exception {
        String path = fresh();
        CuratorFramework first = client();
        InterProcessMutex held = new InterProcessMutex(first, path);
        held.acquire();
        InterProcessMutex wanted = new InterProcessMutex(client(), path);
        that(!wanted.acquire(300, TimeUnit.MILLISECONDS), "two hold it");
        first.close();
        that(wanted.acquire(20, TimeUnit.SECONDS), "it is not free");
    }

    public void checkReadWriteLock() throws Exception {
        String path = fresh();
        InterProcessReadWriteLock first = new InterProcessReadWriteLock(client(), path);
        InterProcessReadWriteLock second = new InterProcessReadWriteLock(client(), path);
        first.readLock().acquire();
        that(second.readLock().acquire(10, TimeUnit.SECONDS), "readers do not share");
        that(!second.writeLock().acquire(300, TimeUnit.MILLISECONDS), "a writer among readers");
        first.readLock().release();
        second.readLock().release();
        that(second.writeLock().acquire(10, TimeUnit.SECONDS), "no writer");
        that(!first.readLock().acquire(300, TimeUnit.MILLISECONDS), "a reader beside a writer");
        second.writeLock().release();
    }

    public void checkSemaphore() throws Exception {
        String path = fresh();
        InterProcessSemaphoreV2 first = new InterProcessSemaphoreV2(client(), path, 2);
        InterProcessSemaphoreV2 second = new InterProcessSemaphoreV2(client(), path, 2);
        Lease one = first.acquire(10, TimeUnit.SECONDS);
        Lease two = second.acquire(10, TimeUnit.SECONDS);
        that(one != null && two != null, "not two leases");
        same(null, second.acquire(300, TimeUnit.MILLISECONDS));
        first.returnLease(one);
        Lease three = second.acquire(10, TimeUnit.SECONDS);
        that(three != null, "a returned lease is not given out again");
        second.returnLease(two);
        second.returnLease(three);
    }

    public void checkLeaderLatch() throws Exception {
        String path = fresh();
        List<LeaderLatch> latches = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            LeaderLatch latch = later(new LeaderLatch(client(), path, "m" + number));
            latch.start();
            latches.add(latch);
        }
        for (int left = 3; left > 0; left--) {
            eventually("one leader", () -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1);
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            same(leader.getId(), leader.getLeader().getId());
            leader.close();
            latches.remove(leader);
        }
    }

    public void checkLeaderSelector() throws Exception {
        String path = fresh();
        AtomicInteger leaders = new AtomicInteger();
        AtomicInteger most = new AtomicInteger();
        AtomicInteger terms = new AtomicInteger();
        for (int number = 0; number < 3; number++) {
            LeaderSelector selector = later(new LeaderSelector(client(), path, new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) throws Exception {
                    most.accumulateAndGet(leaders.incrementAndGet(), Math::max);
                    Thread.sleep(20);
                    leaders.decrementAndGet();
                    terms.incrementAndGet();
                }
            }));
            selector.autoRequeue();
            selector.start();
        }
        eventually("ten terms", () -> terms.get() >= 10);
        same(1, most.get());
    }

    public void checkPathChildrenCache() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        client.create().forPath(path);
        client.create().forPath(path + "/a", bytes("1"));
        PathChildrenCache cache = later(new PathChildrenCache(client(), path, true));
        cache.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        same("1", text(cache.getCurrentData(path + "/a").getData()));
        client.setData().forPath(path + "/a", bytes("2"));
        client.create().forPath(path + "/b");
        eventually("the change", () -> text(cache.getCurrentData(path + "/a").getData()).equals("2"));
        eventually("the new child", () -> cache.getCurrentData(path + "/b") != null);
        client.delete().forPath(path + "/a");
        eventually("the deletion", () -> cache.getCurrentData(path + "/a") == null);
    }

    public void checkTreeCache() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        client.create().creatingParentsIfNeeded().forPath(path + "/a/b", bytes("1"));
        TreeCache cache = later(new TreeCache(client(), path));
        cache.start();
        eventually("the deep node", () -> cache.getCurrentData(path + "/a/b") != null);
        client.setData().forPath(path + "/a/b", bytes("2"));
        eventually("the change", () -> text(cache.getCurrentData(path + "/a/b").getData()).equals("2"));
        client.delete().deletingChildrenIfNeeded().forPath(path + "/a");
        eventually("the deletion", () -> cache.getCurrentData(path + "/a") == null);
    }

    public void checkCuratorCache() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        client.create().creatingParentsIfNeeded().forPath(path + "/a/b", bytes("1"));
        CuratorCache cache = later(CuratorCache.build(client(), path));
        LinkedBlockingQueue<String> seen = new LinkedBlockingQueue<>();
        CountDownLatch ready = new CountDownLatch(1);
        cache.listenable().addListener(CuratorCacheListener.builder()
                .forCreates(node -> seen.add("created " + node.getPath()))
                .forChanges((before, after) -> seen.add("changed " + after.getPath() + " " + text(after.getData())))
                .forDeletes(node -> seen.add("deleted " + node.getPath()))
                .forInitialized(ready::countDown)
                .build());
        cache.start();
        that(ready.await(15, TimeUnit.SECONDS), "the cache is not ready");
        eventually("three nodes", () -> cache.size() == 3);
        seen.clear();
        client.setData().forPath(path + "/a/b", bytes("2"));
        same("changed " + path + "/a/b 2", seen.poll(15, TimeUnit.SECONDS));
        client.create().forPath(path + "/a/b/c");
        same("created " + path + "/a/b/c", seen.poll(15, TimeUnit.SECONDS));
        client.delete().forPath(path + "/a/b/c");
        same("deleted " + path + "/a/b/c", seen.poll(15, TimeUnit.SECONDS));
    }

    public void checkPersistentWatcher() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        AtomicInteger events = new AtomicInteger();
        PersistentWatcher watcher = later(new PersistentWatcher(client(), path, true));
        CountDownLatch set = new CountDownLatch(1);
        watcher.getResetListenable().addListener(set::countDown);
        watcher.getListenable().addListener(event -> events.incrementAndGet());
        watcher.start();
        that(set.await(15, TimeUnit.SECONDS), "the watch is not set");
        client.create().creatingParentsIfNeeded().forPath(path + "/a/b");
        eventually("three events", () -> events.get() == 3);
    }

    public void checkAtomicLong() throws Exception {
        String path = fresh();
        ExecutorService threads = threads();
        List<Future<?>> work = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            DistributedAtomicLong value = new DistributedAtomicLong(client(), path, new RetryNTimes(200, 5));
            work.add(threads.submit(() -> {
                for (int round = 0; round < 20; round++) {
                    AtomicValue<Long> result = value.increment();
                    that(result.succeeded(), "an increment failed");
                }
                return null;
            }));
        }
        for (Future<?> one : work) {
            one.get(60, TimeUnit.SECONDS);
        }
        same(60L, new DistributedAtomicLong(client(), path, new RetryNTimes(1, 1)).get().postValue());
    }

    public void checkSharedCount() throws Exception {
        String path = fresh();
        SharedCount first = later(new SharedCount(client(), path, 7));
        first.start();
        SharedCount second = later(new SharedCount(client(), path, 0));
        second.start();
        same(7, second.getCount());
        that(first.trySetCount(first.getVersionedValue(), 8), "the count could not be set");
        eventually("the new count", () -> second.getCount() == 8);
        that(first.trySetCount(first.getVersionedValue(), 9), "the count could not be set again");
    }

    public void checkBarriers() throws Exception {
        String path = fresh();
        DistributedBarrier gate = new DistributedBarrier(client(), path + "-gate");
        gate.setBarrier();
        that(!gate.waitOnBarrier(300, TimeUnit.MILLISECONDS), "the barrier does not hold");
        new DistributedBarrier(client(), path + "-gate").removeBarrier();
        that(gate.waitOnBarrier(15, TimeUnit.SECONDS), "the barrier does not open");

        ExecutorService threads = threads();
        AtomicInteger inside = new AtomicInteger();
        List<Future<?>> work = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client(), path + "-double", 3);
            work.add(threads.submit(() -> {
                barrier.enter();
                inside.incrementAndGet();
                eventually("everybody is in", () -> inside.get() == 3);
                barrier.leave();
                return null;
            }));
        }
        for (Future<?> one : work) {
            one.get(30, TimeUnit.SECONDS);
        }
    }

    public void checkPersistentNodeComesBack() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        PersistentNode node = later(new PersistentNode(client(), CreateMode.EPHEMERAL, false, path, bytes("x")));
        node.start();
        that(node.waitForInitialCreate(15, TimeUnit.SECONDS), "the node is not there");
        client.delete().forPath(path);
        eventually("the node is back", () -> client.checkExists().forPath(path) != null);
    }

    public void checkPersistentTtlNode() throws Exception {
        CuratorFramework client = client();
        String path = fresh();
        PersistentTtlNode node = new PersistentTtlNode(client(), path, 2000, bytes("x"));
        node.start();
        that(node.waitForInitialCreate(15, TimeUnit.SECONDS), "the node is not there");
        Thread.sleep(4000);
        that(client.checkExists().forPath(path) != null, "a touched node is gone");
        node.close();
        eventually("the node is gone", () -> client.checkExists().forPath(path) == null);
    }

    public void checkGroupMember() throws Exception {
        String path = fresh();
        GroupMember first = later(new GroupMember(client(), path, "one", bytes("1")));
        GroupMember second = new GroupMember(client(), path, "two", bytes("2"));
        first.start();
        second.start();
        eventually("two members", () -> first.getCurrentMembers().size() == 2 && second.getCurrentMembers().size() == 2);
        same("2", text(first.getCurrentMembers().get("two")));
        second.close();
        eventually("one member", () -> first.getCurrentMembers().size() == 1);
    }

    public void checkQueue() throws Exception {
        String path = fresh();
        SimpleDistributedQueue producer = new SimpleDistributedQueue(client(), path);
        CuratorFramework taking = client();
        SimpleDistributedQueue consumer = new SimpleDistributedQueue(taking, path);
        Future<byte[]> waiting = threads().submit(() -> consumer.take());
        Thread.sleep(200);
        producer.offer(bytes("a"));
        same("a", text(waiting.get(15, TimeUnit.SECONDS)));
        producer.offer(bytes("b"));
        producer.offer(bytes("c"));
        caughtUp(taking);
        same("b", text(consumer.peek()));
        same("b", text(consumer.poll()));
        same("c", text(consumer.remove()));
        same(null, consumer.poll());
    }

    public void checkServiceDiscovery() throws Exception {
        String path = fresh();
        ServiceInstance<Void> instance = ServiceInstance.<Void>builder().name("web").address("10.0.0.1").port(80).build();
        ServiceDiscovery<Void> server = later(ServiceDiscoveryBuilder.builder(Void.class)
                .client(client()).basePath(path).thisInstance(instance).build());
        server.start();
        ServiceDiscovery<Void> user = later(ServiceDiscoveryBuilder.builder(Void.class).client(client()).basePath(path).build());
        user.start();
        same(Collections.singletonList("web"), new ArrayList<>(user.queryForNames()));
        ServiceProvider<Void> provider = later(user.serviceProviderBuilder().serviceName("web").build());
        provider.start();
        eventually("an instance", () -> provider.getInstance() != null);
        same(80, provider.getInstance().getPort());
        ServiceCache<Void> cache = later(user.serviceCacheBuilder().name("web").build());
        cache.start();
        same(1, cache.getInstances().size());
        server.unregisterService(instance);
        eventually("the instance is gone", () -> cache.getInstances().isEmpty());
    }

    public void checkRecipesSurviveARestart() throws Exception {
        survives("restart");
    }

    public void checkRecipesSurviveAKill() throws Exception {
        survives("kill");
    }

    private void survives(String wish) throws Exception {
        CuratorFramework client = client();
        CuratorFramework writer = client();
        String path = fresh();
        AtomicReference<ConnectionState> state = new AtomicReference<>();
        AtomicInteger lost = new AtomicInteger();
        client.getConnectionStateListenable().addListener((framework, now) -> {
            state.set(now);
            if (now == ConnectionState.LOST) {
                lost.incrementAndGet();
            }
        });
        LeaderLatch latch = later(new LeaderLatch(client, path + "-latch", "m"));
        latch.start();
        that(latch.await(15, TimeUnit.SECONDS), "no leader");
        writer.create().forPath(path, bytes("1"));
        CuratorCache cache = later(CuratorCache.build(client, path));
        cache.start();
        eventually("the cached node", () -> cache.get(path).isPresent());
        ask(wish);
        eventually("reconnection", 30, () -> state.get() == ConnectionState.RECONNECTED);
        writer.setData().forPath(path, bytes("2"));
        eventually("the cache follows", () -> text(cache.get(path).get().getData()).equals("2"));
        eventually("the latch leads again", latch::hasLeadership);
        same(0, lost.get());
    }
}
