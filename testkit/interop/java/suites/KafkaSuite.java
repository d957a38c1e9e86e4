import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** A Kafka broker does its work with its metadata on the server under test. The checks build on each other. */
public final class KafkaSuite extends BrokerChecks {
    private final String host;

    private KafkaSuite(String host, String bootstrap) {
        super(bootstrap);
        this.host = host;
        client.put("default.api.timeout.ms", "40000");
    }

    public static void main(String[] arguments) {
        new KafkaSuite(arguments[0], arguments[1]).run();
    }

    private ZooKeeper znodes() throws Exception {
        ZooKeeper zk = later(new ZooKeeper(host + "/kafka", 10_000, event -> {}));
        eventually("a connection", () -> zk.getState() == ZooKeeper.States.CONNECTED);
        return zk;
    }

    private void create(String topic, int partitions) throws Exception {
        admin().createTopics(Collections.singletonList(new NewTopic(topic, partitions, (short) 1))).all().get(40, TimeUnit.SECONDS);
    }

    /** Produces, waits for every acknowledgement, and gives back how many there were. */
    private int produce(String topic, String prefix, int count) throws Exception {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(with("acks", "all"))) {
            List<Future<?>> pending = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                pending.add(producer.send(new ProducerRecord<>(topic, prefix + number, prefix + number)));
            }
            for (Future<?> one : pending) {
                one.get(60, TimeUnit.SECONDS);
            }
        }
        return count;
    }

    /** Reads a topic from the start until nothing more comes for a while. */
    private List<String> consume(String topic, String group, int atLeast, boolean committedOnly) {
        Properties settings =
                with("group.id", group, "isolation.level", committedOnly ? "read_committed" : "read_uncommitted");
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe(Collections.singletonList(topic));
            long deadline = System.nanoTime() + 40_000_000_000L;
            long quiet = System.nanoTime();
            while (System.nanoTime() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    values.add(record.value());
                    quiet = System.nanoTime();
                }
                if (values.size() >= atLeast && System.nanoTime() - quiet > 500_000_000L) {
                    break;
                }
            }
            consumer.commitSync();
        }
        return values;
    }

    public void check01BrokerIsRegistered() throws Exception {
        ZooKeeper zk = znodes();
        same(Collections.singletonList("1"), zk.getChildren("/brokers/ids", false));
        Stat stat = zk.exists("/brokers/ids/1", false);
        that(stat.getEphemeralOwner() != 0, stat);
        that(text(zk.getData("/controller", false, null)).contains("\"brokerid\":1"), "another controller");
        that(text(zk.getData("/cluster/id", false, null)).contains("\"id\""), "no cluster id");
    }

    public void check02TopicsAreCreated() throws Exception {
        create("records", 3);
        create("transactions", 1);
        same(3, admin().describeTopics(Collections.singletonList("records")).allTopicNames().get().get("records").partitions().size());
        that(znodes().exists("/brokers/topics/records/partitions/2/state", false) != null, "no partition state znode");
        try {
            create("records", 3);
            throw new AssertionError("a topic was created twice");
        } catch (ExecutionException error) {
            that(error.getCause() instanceof TopicExistsException, error.getCause());
        }
    }

    public void check03RecordsAreProducedAndConsumed() throws Exception {
        produce("records", "a", 2000);
        List<String> values = consume("records", "readers", 2000, false);
        same(2000, values.size());
        same(2000, new HashSet<>(values).size());
        Map<TopicPartition, ?> offsets = admin().listConsumerGroupOffsets("readers").partitionsToOffsetAndMetadata().get();
        same(3, offsets.size());
    }

    public void check04TransactionsCommitAndAbort() throws Exception {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(with("transactional.id", "writer"))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("transactions", "committed"));
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("transactions", "aborted"));
            producer.flush();
            producer.abortTransaction();
        }
        same(Collections.singletonList("committed"), consume("transactions", "committed-readers", 1, true));
        that(text(znodes().getData("/latest_producer_id_block", false, null)).contains("block_start"), "no producer id block");
    }

    public void check05ConfigurationChangesReachTheBroker() throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "records");
        Map<ConfigResource, Collection<AlterConfigOp>> change = new HashMap<>();
        change.put(topic, Collections.singletonList(
                new AlterConfigOp(new ConfigEntry("retention.ms", "123456789"), AlterConfigOp.OpType.SET)));
        admin().incrementalAlterConfigs(change).all().get(30, TimeUnit.SECONDS);
        eventually("the new retention", () -> "123456789".equals(
                admin().describeConfigs(Collections.singletonList(topic)).all().get().get(topic).get("retention.ms").value()));
        that(!znodes().getChildren("/config/changes", false).isEmpty(), "no change notification znode");
    }

    public void check06PartitionsAreAddedAndTopicsDeleted() throws Exception {
        create("short-lived", 1);
        admin().createPartitions(Collections.singletonMap("short-lived", NewPartitions.increaseTo(4))).all().get(30, TimeUnit.SECONDS);
        eventually("four partitions", () -> admin().describeTopics(Collections.singletonList("short-lived"))
                .allTopicNames().get().get("short-lived").partitions().size() == 4);
        admin().deleteTopics(Collections.singletonList("short-lived")).all().get(30, TimeUnit.SECONDS);
        ZooKeeper zk = znodes();
        eventually("its znodes are gone", () -> zk.exists("/brokers/topics/short-lived", false) == null
                && zk.exists("/admin/delete_topics/short-lived", false) == null);
    }

    public void check07LivesThroughARestartOfTheCoordinator() throws Exception {
        livesThrough("restart", "b");
    }

    public void check08LivesThroughAKillOfTheCoordinator() throws Exception {
        livesThrough("kill", "c");
    }

    private void livesThrough(String wish, String prefix) throws Exception {
        long owner = znodes().exists("/brokers/ids/1", false).getEphemeralOwner();
        int controller = znodes().exists("/controller_epoch", false).getVersion();
        ask(wish);
        produce("records", prefix, 100);
        create("after-" + wish, 2);
        produce("after-" + wish, prefix, 10);
        same(10, consume("after-" + wish, "readers-after-" + wish, 10, false).size());
        ZooKeeper zk = znodes();
        same(owner, zk.exists("/brokers/ids/1", false).getEphemeralOwner());
        same(controller, zk.exists("/controller_epoch", false).getVersion());
    }

    public void check09LivesThroughAnExpiredSession() throws Exception {
        ZooKeeper zk = znodes();
        long owner = zk.exists("/brokers/ids/1", false).getEphemeralOwner();
        int controller = zk.exists("/controller_epoch", false).getVersion();
        ask("broker-freeze");
        eventually("the frozen broker is taken off the list", () -> zk.exists("/brokers/ids/1", false) == null);
        same(null, zk.exists("/controller", false));
        ask("broker-thaw");
        eventually("the broker is back", 40, () -> {
            Stat stat = zk.exists("/brokers/ids/1", false);
            return stat != null && stat.getEphemeralOwner() != owner;
        });
        eventually("a new controller term", 40, () -> zk.exists("/controller", false) != null
                && zk.exists("/controller_epoch", false).getVersion() > controller);
        produce("records", "d", 100);
        create("after-expiry", 1);
        produce("after-expiry", "d", 10);
        same(10, consume("after-expiry", "readers-after-expiry", 10, false).size());
    }

    public void check10NothingAcknowledgedIsLost() throws Exception {
        Set<String> values = new HashSet<>(consume("records", "auditor", 2300, false));
        same(2300, values.size());
    }
}
