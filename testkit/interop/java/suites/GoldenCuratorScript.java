import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.RetryNTimes;

/** A fixed script of Curator's recipes whose bytes are recorded on the way. */
public final class GoldenCuratorScript extends Checks {
    public static void main(String[] arguments) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(arguments[0], 30_000, 15_000, new RetryNTimes(3, 100));
        client.start();
        that(client.blockUntilConnected(20, java.util.concurrent.TimeUnit.SECONDS), "no connection");
        client.create().creatingParentContainersIfNeeded().forPath("/golden/a/b", bytes("x"));
        client.create().orSetData().forPath("/golden/a/b", bytes("y"));
        // A child keeps the mutex's container from being empty, and so from going at a time of its own.
        client.create().creatingParentContainersIfNeeded().forPath("/golden/mutex/keep");
        InterProcessMutex mutex = new InterProcessMutex(client, "/golden/mutex");
        mutex.acquire();
        mutex.release();
        DistributedAtomicLong value = new DistributedAtomicLong(client, "/golden/long", new RetryNTimes(1, 1));
        that(value.increment().succeeded(), "increment");
        that(value.increment().succeeded(), "increment");
        SharedCount count = new SharedCount(client, "/golden/count", 7);
        count.start();
        that(count.trySetCount(count.getVersionedValue(), 8), "set");
        CuratorCache cache = CuratorCache.build(client, "/golden/a");
        cache.start();
        eventually("the cache", () -> cache.size() == 2);
        client.setData().forPath("/golden/a/b", bytes("z"));
        eventually("the change", () -> text(cache.get("/golden/a/b").get().getData()).equals("z"));
        client.getChildren().forPath("/golden");
        client.transaction().forOperations(
                client.transactionOp().check().withVersion(2).forPath("/golden/a/b"),
                client.transactionOp().setData().forPath("/golden/a/b", bytes("w")));
        client.close();
        System.out.println("@done");
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
