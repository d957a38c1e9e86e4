import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidRequestException;

/** What came to the Java clients between 2.0 and 2.8, and is still there. */
public final class BrokerSince28Suite extends BrokerSince11Suite {
    private BrokerSince28Suite(String bootstrap) {
        super(bootstrap);
    }

    public static void main(String[] arguments) {
        new BrokerSince28Suite(arguments[0]).run();
    }

    public void check20Zstd() throws Exception {
        String topic = topic(1);
        produce(topic, 500, "compression.type", "zstd", "linger.ms", "20");
        same(500, values(readAll(topic, 500)).size());
    }

    public void check21PartitionsMoveOneByOne() throws Exception {
        Properties settings = with("group.id", fresh(), "partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        share(topic(4), settings);
    }

    public void check22AStaticMemberKeepsItsPlace() throws Exception {
        String topic = topic(2);
        String group = fresh();
        Properties settings = with("group.id", group, "group.instance.id", "one");
        for (int life = 0; life < 2; life++) {
            try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
                consumer.subscribe(Collections.singletonList(topic));
                eventually("an assignment", 8, () -> {
                    poll(consumer);
                    return consumer.assignment().size() == 2;
                });
            }
            ConsumerGroupDescription described = soon(admin().describeConsumerGroups(Collections.singletonList(group)).all()).get(group);
            same(1, described.members().size());
            MemberDescription member = described.members().iterator().next();
            same("one", member.groupInstanceId().get());
        }
    }

    private Config config(ConfigResource resource) throws Exception {
        return soon(admin().describeConfigs(Collections.singletonList(resource)).all()).get(resource);
    }

    private static Map<ConfigResource, Collection<AlterConfigOp>> change(ConfigResource resource, AlterConfigOp... changes) {
        return Collections.singletonMap(resource, Arrays.asList(changes));
    }

    private static AlterConfigOp set(String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
    }

    public void check23SettingsOfATopic() throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, topic(1));
        soon(admin().incrementalAlterConfigs(change(topic, set("segment.bytes", "1000000"),
                new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND))).all());
        ConfigEntry entry = config(topic).get("segment.bytes");
        same("1000000", entry.value());
        same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, entry.source());
        same(ConfigEntry.ConfigType.INT, entry.type());
        same("delete,compact", config(topic).get("cleanup.policy").value());
        soon(admin().incrementalAlterConfigs(change(topic,
                new AlterConfigOp(new ConfigEntry("segment.bytes", null), AlterConfigOp.OpType.DELETE),
                new AlterConfigOp(new ConfigEntry("cleanup.policy", "delete"), AlterConfigOp.OpType.SUBTRACT))).all());
        same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config(topic).get("segment.bytes").source());
        same("compact", config(topic).get("cleanup.policy").value());
        Throwable wrong = failure(admin().incrementalAlterConfigs(change(topic, set("retention.ms", "soon"))).all());
        that(wrong instanceof InvalidConfigurationException, wrong);
    }

    public void check24SettingsOfBrokers() throws Exception {
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        ConfigResource all = new ConfigResource(ConfigResource.Type.BROKER, "");
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, topic(1));
        soon(admin().incrementalAlterConfigs(change(all, set("log.segment.bytes", "5000000"))).all());
        eventually("the brokers' default", () -> config(topic).get("segment.bytes").value().equals("5000000"));
        soon(admin().incrementalAlterConfigs(change(broker, set("log.segment.bytes", "4000000"))).all());
        eventually("the broker's own", () -> config(topic).get("segment.bytes").value().equals("4000000"));
        same(ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG, config(broker).get("log.segment.bytes").source());
        that(config(broker).get("log.dirs").isReadOnly(), "log.dirs can be changed");
        Throwable fixed = failure(admin().incrementalAlterConfigs(change(broker, set("log.dirs", "/elsewhere"))).all());
        that(fixed instanceof InvalidRequestException, fixed);
        AlterConfigOp away = new AlterConfigOp(new ConfigEntry("log.segment.bytes", null), AlterConfigOp.OpType.DELETE);
        soon(admin().incrementalAlterConfigs(change(broker, away)).all());
        soon(admin().incrementalAlterConfigs(change(all, away)).all());
        eventually("the default again", () -> config(topic).get("segment.bytes").value().equals("1073741824"));
    }

    public void check25OffsetsAndRecords() throws Exception {
        String topic = topic(1);
        TopicPartition place = new TopicPartition(topic, 0);
        produce(topic, 20);
        same(8L, soon(admin().deleteRecords(Collections.singletonMap(place, RecordsToDelete.beforeOffset(8))).lowWatermarks().get(place)).lowWatermark());
        same(8L, soon(admin().listOffsets(Collections.singletonMap(place, OffsetSpec.earliest())).partitionResult(place)).offset());
        same(20L, soon(admin().listOffsets(Collections.singletonMap(place, OffsetSpec.latest())).partitionResult(place)).offset());
        String group = fresh();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        offsets.put(place, new OffsetAndMetadata(11, "eleven"));
        soon(admin().alterConsumerGroupOffsets(group, offsets).all());
        OffsetAndMetadata altered = soon(admin().listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).get(place);
        same(offsets.get(place), altered);
        soon(admin().deleteConsumerGroups(Collections.singletonList(group)).all());
    }

    public void check26TheCluster() throws Exception {
        String topic = topic(1);
        produce(topic, 10);
        same(1, soon(admin().describeCluster().nodes()).size());
        same(1, soon(admin().describeCluster().controller()).id());
        TopicPartition place = new TopicPartition(topic, 0);
        that(soon(admin().describeLogDirs(Collections.singletonList(1)).allDescriptions()).get(1).values().stream()
                .anyMatch(dir -> dir.replicaInfos().containsKey(place) && dir.replicaInfos().get(place).size() > 0), "no such replica");
        Throwable error = soon(admin().electLeaders(ElectionType.PREFERRED, Collections.singleton(place)).partitions()).get(place).get();
        that(error instanceof ElectionNotNeededException, error);
        same(Collections.emptyMap(), soon(admin().listPartitionReassignments().reassignments()));
    }
}
