import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What suites of a broker's clients share. */
public abstract class BrokerChecks extends Checks {
    protected final Properties client = new Properties();

    protected BrokerChecks(String bootstrap) {
        client.put("bootstrap.servers", bootstrap);
        client.put("key.serializer", StringSerializer.class.getName());
        client.put("value.serializer", StringSerializer.class.getName());
        client.put("key.deserializer", StringDeserializer.class.getName());
        client.put("value.deserializer", StringDeserializer.class.getName());
        client.put("auto.offset.reset", "earliest");
        client.put("enable.auto.commit", "false");
        client.put("session.timeout.ms", "10000");
        client.put("heartbeat.interval.ms", "300");
    }

    protected Properties with(String... pairs) {
        Properties settings = new Properties();
        settings.putAll(client);
        for (int index = 0; index < pairs.length; index += 2) {
            settings.put(pairs[index], pairs[index + 1]);
        }
        return settings;
    }

    protected AdminClient admin() {
        return later(AdminClient.create(client));
    }

    protected static <T> T soon(Future<T> future) throws Exception {
        return future.get(30, TimeUnit.SECONDS);
    }

    /** The error behind a failed future. */
    protected static Throwable failure(Future<?> future) throws Exception {
        try {
            soon(future);
        } catch (ExecutionException error) {
            return error.getCause();
        }
        throw new AssertionError("it should have failed");
    }

    protected String topic(int partitions) throws Exception {
        String name = fresh().substring(1);
        soon(admin().createTopics(Collections.singletonList(new NewTopic(name, partitions, (short) 1))).all());
        return name;
    }

    protected void produce(String topic, int count, String... settings) throws Exception {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(with(settings))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                sent.add(producer.send(new ProducerRecord<>(topic, "key" + number, "value" + number)));
            }
            for (Future<RecordMetadata> one : sent) {
                soon(one);
            }
        }
    }

    /** Old clients wait for so many milliseconds, new ones for a duration; there is no method that both have. */
    @SuppressWarnings("unchecked")
    protected static ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer) throws Exception {
        for (Method method : KafkaConsumer.class.getMethods()) {
            if (method.getName().equals("poll") && method.getParameterTypes()[0] != long.class) {
                return (ConsumerRecords<String, String>) method.invoke(consumer, java.time.Duration.ofMillis(200));
            }
        }
        Method method = KafkaConsumer.class.getMethod("poll", long.class);
        return (ConsumerRecords<String, String>) method.invoke(consumer, 200L);
    }

    protected static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> consumer, int count) throws Exception {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        eventually(count + " records", 30, () -> {
            poll(consumer).forEach(records::add);
            return records.size() >= count;
        });
        return records;
    }

    protected List<ConsumerRecord<String, String>> readAll(String topic, int count) throws Exception {
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(with("group.id", fresh()))) {
            consumer.subscribe(Collections.singletonList(topic));
            return take(consumer, count);
        }
    }

    protected static Set<String> values(Collection<ConsumerRecord<String, String>> records) {
        Set<String> values = new HashSet<>();
        for (ConsumerRecord<String, String> record : records) {
            values.add(record.value());
        }
        return values;
    }
}
