import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooKeeper;

/**
 * Two brokers whose metadata live on an ensemble go on while its leader is killed and while every member is restarted:
 * one producer and one consumer never stop. The checks build on each other.
 */
public final class KafkaEnsembleSuite extends BrokerChecks {
    private final String host;
    private final AtomicInteger sent = new AtomicInteger();
    private final Set<String> acknowledged = ConcurrentHashMap.newKeySet();
    private final ConcurrentLinkedQueue<String> refused = new ConcurrentLinkedQueue<>();
    private final Set<String> consumed = ConcurrentHashMap.newKeySet();
    private final AtomicInteger duplicates = new AtomicInteger();
    private final AtomicLong lastAcknowledged = new AtomicLong();
    private final AtomicLong longestGap = new AtomicLong();
    private volatile boolean over;
    private volatile boolean drained;
    private Thread producing;
    private Thread consuming;

    private KafkaEnsembleSuite(String host, String bootstrap) {
        super(bootstrap);
        this.host = host;
        client.put("default.api.timeout.ms", "40000");
    }

    public static void main(String[] arguments) {
        new KafkaEnsembleSuite(arguments[0], arguments[1]).run();
    }

    /** What one may see of the brokers' registrations and of the controller's term. */
    private List<Long> registrations() throws Exception {
        ZooKeeper zk = later(new ZooKeeper(host + "/kafka", 20_000, event -> {}));
        eventually("a connection", () -> zk.getState() == ZooKeeper.States.CONNECTED);
        List<Long> owners = new ArrayList<>();
        eventually("the registrations", () -> {
            owners.clear();
            try {
                zk.sync("/", (code, path, context) -> {}, null);
                for (String broker : new String[] {"1", "2"}) {
                    owners.add(zk.exists("/brokers/ids/" + broker, false).getEphemeralOwner());
                }
                owners.add((long) zk.exists("/controller_epoch", false).getVersion());
                return true;
            } catch (KeeperException.ConnectionLossException error) {
                return false;
            }
        });
        return owners;
    }

    private void create(String topic, int partitions) throws Exception {
        AdminClient admin = admin();
        admin.createTopics(Collections.singletonList(new NewTopic(topic, partitions, (short) 2))).all().get(40, TimeUnit.SECONDS);
        eventually("the partitions of " + topic, () -> admin.describeTopics(Collections.singletonList(topic))
                .allTopicNames().get().get(topic).partitions().stream().allMatch(one -> one.isr().size() == 2));
    }

    public void check01BothBrokersAreRegistered() throws Exception {
        same(3, registrations().size());
        same(2, admin().describeCluster().nodes().get(20, TimeUnit.SECONDS).size());
    }

    public void check02ProducingAndConsumingBegins() throws Exception {
        create("stream", 4);
        producing = new Thread(this::produce);
        consuming = new Thread(this::consume);
        producing.start();
        consuming.start();
        eventually("the first records", () -> consumed.size() > 100);
    }

    public void check03GoesOnThroughAKillOfTheLeader() throws Exception {
        goesOnThrough("kill-leader");
    }

    public void check04GoesOnThroughARollingRestart() throws Exception {
        goesOnThrough("restart");
    }

    public void check05GoesOnThroughKillsOfAllMembers() throws Exception {
        goesOnThrough("kill");
    }

    private void goesOnThrough(String wish) throws Exception {
        List<Long> before = registrations();
        longestGap.set(0);
        ask(wish);
        int done = consumed.size();
        eventually("records after " + wish, 40, () -> consumed.size() > done + 200);
        create("after-" + wish, 2);
        same(before, registrations());
        that(refused.isEmpty(), refused.peek());
        // Records need the coordinators only when leaders change; none did.
        that(longestGap.get() < 5_000, "no record was acknowledged for " + longestGap + " ms");
    }

    public void check06EveryAcknowledgedRecordIsConsumedOnce() throws Exception {
        over = true;
        producing.join(60_000);
        that(!producing.isAlive(), "the producer does not end");
        eventually("the last records", 40, () -> consumed.containsAll(acknowledged));
        drained = true;
        consuming.join(20_000);
        that(refused.isEmpty(), refused.peek());
        // So many have been waited for; how many more come depends on how fast the members are back.
        that(acknowledged.size() > 700, "only " + acknowledged.size() + " records");
        same(0, duplicates.get());
    }

    private void produce() {
        lastAcknowledged.set(System.nanoTime());
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(with("acks", "all"))) {
            while (!over) {
                String value = "r" + sent.incrementAndGet();
                producer.send(new ProducerRecord<>("stream", value, value), (where, error) -> {
                    if (error != null) {
                        refused.add(value + ": " + error);
                        return;
                    }
                    acknowledged.add(value);
                    long now = System.nanoTime();
                    long gap = (now - lastAcknowledged.getAndSet(now)) / 1_000_000;
                    longestGap.accumulateAndGet(gap, Math::max);
                });
                Thread.sleep(5);
            }
        } catch (InterruptedException error) {
            refused.add("the producer was interrupted");
        }
    }

    private void consume() {
        Properties settings = with("group.id", "readers", "enable.auto.commit", "true");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe(Collections.singletonList("stream"));
            while (!drained) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    if (!consumed.add(record.value())) {
                        duplicates.incrementAndGet();
                    }
                }
            }
        }
    }
}
