import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.internals.RecordHeader;

/** What every Java client since 0.11 can ask of a broker. */
public abstract class BrokerSuite extends BrokerChecks {
    protected BrokerSuite(String bootstrap) {
        super(bootstrap);
    }

    public void check01RecordsComeBackAsTheyWereSent() throws Exception {
        String topic = topic(1);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(client)) {
            ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, 1700000000123L, "key", "value",
                    Arrays.asList(new RecordHeader("a", bytes("1")), new RecordHeader("a", (byte[]) null)));
            same(0L, soon(producer.send(record)).offset());
            same(1L, soon(producer.send(new ProducerRecord<>(topic, "gone", null))).offset());
        }
        List<ConsumerRecord<String, String>> records = readAll(topic, 2);
        ConsumerRecord<String, String> first = records.get(0);
        same("key", first.key());
        same("value", first.value());
        same(1700000000123L, first.timestamp());
        same(2, first.headers().toArray().length);
        same(null, first.headers().toArray()[1].value());
        same(null, records.get(1).value());
    }

    public void check02EveryAcknowledgementAndCompression() throws Exception {
        for (String acks : new String[] {"0", "1", "all"}) {
            String topic = topic(2);
            // Without acknowledgements an idempotent producer, which new clients are by themselves, is not allowed.
            produce(topic, 200, "acks", acks, "enable.idempotence", "false");
            same(200, values(readAll(topic, 200)).size());
        }
        for (String codec : new String[] {"gzip", "snappy", "lz4"}) {
            String topic = topic(1);
            produce(topic, 500, "compression.type", codec, "linger.ms", "20");
            same(500, values(readAll(topic, 500)).size());
        }
    }

    public void check03AnIdempotentProducer() throws Exception {
        String topic = topic(3);
        produce(topic, 2000, "enable.idempotence", "true", "acks", "all");
        List<ConsumerRecord<String, String>> records = readAll(topic, 2000);
        same(2000, records.size());
        same(2000, values(records).size());
    }

    public void check04RecordsOverTheLimitAreRefused() throws Exception {
        String topic = topic(1);
        char[] large = new char[2_000_000];
        Arrays.fill(large, 'x');
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(with("max.request.size", "5000000"))) {
            Throwable error = failure(producer.send(new ProducerRecord<>(topic, new String(large))));
            that(error instanceof RecordTooLargeException, error);
        }
    }

    public void check05GroupsGoOnWhereTheyCommitted() throws Exception {
        String topic = topic(1);
        String group = fresh();
        produce(topic, 50);
        TopicPartition place = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(with("group.id", group))) {
            consumer.subscribe(Collections.singletonList(topic));
            take(consumer, 50);
            consumer.commitSync(Collections.singletonMap(place, new OffsetAndMetadata(20, "twenty")));
        }
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(with("group.id", group))) {
            consumer.subscribe(Collections.singletonList(topic));
            same(20L, take(consumer, 30).get(0).offset());
        }
        same(20L, committed(group, place));
    }

    /** Where a group goes on. */
    protected long committed(String group, TopicPartition place) {
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(with("group.id", group))) {
            consumer.assign(Collections.singletonList(place));
            return consumer.position(place);
        }
    }

    public void check06MembersShareThePartitions() throws Exception {
        share(topic(4), with("group.id", fresh()));
    }

    /** Two members come to hold two partitions each, and the one that stays gets all. */
    protected static void share(String topic, Properties settings) throws Exception {
        try (KafkaConsumer<String, String> first = new KafkaConsumer<>(settings)) {
            first.subscribe(Collections.singletonList(topic));
            try (KafkaConsumer<String, String> second = new KafkaConsumer<>(settings)) {
                second.subscribe(Collections.singletonList(topic));
                // Each polls on a thread of its own: an old client's poll returns only once its group has settled.
                AtomicInteger held = new AtomicInteger();
                AtomicBoolean isShared = new AtomicBoolean();
                Thread other = new Thread(() -> {
                    try {
                        while (!isShared.get()) {
                            poll(second);
                            held.set(second.assignment().size());
                        }
                    } catch (Exception error) {
                        error.printStackTrace();
                    }
                });
                other.start();
                try {
                    eventually("an even share", 40, () -> {
                        poll(first);
                        return first.assignment().size() == 2 && held.get() == 2;
                    });
                } finally {
                    isShared.set(true);
                    other.join();
                }
            }
            eventually("all partitions for the one that stays", 40, () -> {
                poll(first);
                return first.assignment().size() == 4;
            });
        }
    }

    public void check07PositionsAndTimes() throws Exception {
        String topic = topic(1);
        TopicPartition place = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(client)) {
            for (int number = 0; number < 10; number++) {
                soon(producer.send(new ProducerRecord<>(topic, 0, 1600000000000L + number * 1000, "k", "v" + number)));
            }
        }
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(client)) {
            consumer.assign(Collections.singletonList(place));
            consumer.seek(place, 7);
            same("v7", take(consumer, 3).get(0).value());
            same(0L, consumer.beginningOffsets(Collections.singletonList(place)).get(place));
            same(10L, consumer.endOffsets(Collections.singletonList(place)).get(place));
            same(4L, consumer.offsetsForTimes(Collections.singletonMap(place, 1600000003500L)).get(place).offset());
            same(null, consumer.offsetsForTimes(Collections.singletonMap(place, 1700000000000L)).get(place));
        }
    }

    public void check08TopicsComeAndGo() throws Exception {
        AdminClient admin = admin();
        String topic = topic(2);
        that(soon(admin.listTopics().names()).contains(topic), "the topic is not listed");
        Throwable twice = failure(admin.createTopics(Collections.singletonList(new NewTopic(topic, 1, (short) 1))).all());
        that(twice instanceof TopicExistsException, twice);
        soon(admin.deleteTopics(Collections.singletonList(topic)).all());
        that(!soon(admin.listTopics().names()).contains(topic), "the topic is still listed");
        Throwable gone = failure(admin.deleteTopics(Collections.singletonList(topic)).all());
        that(gone instanceof UnknownTopicOrPartitionException, gone);
    }

    public void check09NothingAcknowledgedIsLostWhenTheBrokerIsKilled() throws Exception {
        String topic = topic(2);
        String group = fresh();
        Map<TopicPartition, OffsetAndMetadata> places = new HashMap<>();
        places.put(new TopicPartition(topic, 0), new OffsetAndMetadata(1));
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(with("group.id", group))) {
            consumer.subscribe(Collections.singletonList(topic));
            eventually("an assignment", () -> !poll(consumer).isEmpty() || consumer.assignment().size() == 2);
            consumer.commitSync(places);
        }
        produce(topic, 300, "acks", "all");
        ask("broker-kill");
        // A broker that has just started leads nothing for a moment, and old clients do not try again by themselves.
        produce(topic, 10, "acks", "all", "retries", "100", "retry.backoff.ms", "200");
        same(310, readAll(topic, 310).size());
        same(1L, committed(group, new TopicPartition(topic, 0)));
    }

    public void check10ARestartKeepsEverything() throws Exception {
        String topic = topic(2);
        produce(topic, 100, "acks", "all");
        ask("broker-restart");
        same(100, values(readAll(topic, 100)).size());
        produce(topic, 5, "retries", "100", "retry.backoff.ms", "200");
        same(105, readAll(topic, 105).size());
    }
}
