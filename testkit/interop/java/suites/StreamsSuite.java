import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Materialized;

/** Kafka Streams counts words, at least once. */
public final class StreamsSuite extends BrokerChecks {
    private StreamsSuite(String bootstrap) {
        super(bootstrap);
    }

    public static void main(String[] arguments) {
        new StreamsSuite(arguments[0]).run();
    }

    public void check01WordsAreCountedOverARestart() throws Exception {
        String lines = topic(2);
        String counts = topic(1);
        String application = fresh().substring(1);
        Path folder = Files.createTempDirectory("streams");
        Map<String, String> seen = new HashMap<>();
        try (KafkaConsumer<String, String> reader = new KafkaConsumer<>(with("group.id", fresh()))) {
            reader.subscribe(Collections.singletonList(counts));
            try (KafkaStreams streams = start(lines, counts, application, folder)) {
                say(lines, "one fish two fish", "red fish blue fish");
                await(reader, seen, Map.of("one", "1", "two", "1", "red", "1", "blue", "1", "fish", "4"));
                streams.close(Duration.ofSeconds(20));
                // What it knew is in the broker now, and nowhere else.
                streams.cleanUp();
            }
            say(lines, "said while nobody counted");
            try (KafkaStreams streams = start(lines, counts, application, folder)) {
                say(lines, "black fish blue fish");
                await(reader, seen, Map.of("fish", "6", "blue", "2", "black", "1", "said", "1", "nobody", "1"));
            }
        }
        same("1", seen.get("one"));
        Set<String> topics = soon(admin().listTopics().names());
        that(topics.stream().filter(name -> name.startsWith(application + "-")).count() == 2, "its own topics: " + topics);
    }

    private KafkaStreams start(String lines, String counts, String application, Path folder) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(lines)
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word)
                .count(Materialized.as("counts"))
                .toStream()
                .mapValues(String::valueOf)
                .to(counts);
        Topology topology = builder.build();
        // A member that is closed does not leave: the second life begins when the session of the first is over.
        Properties settings = with("application.id", application, "state.dir", folder.toString(), "session.timeout.ms", "6000",
                "commit.interval.ms", "100", "statestore.cache.max.bytes", "0",
                "default.key.serde", Serdes.StringSerde.class.getName(),
                "default.value.serde", Serdes.StringSerde.class.getName());
        KafkaStreams streams = new KafkaStreams(topology, settings);
        streams.start();
        return streams;
    }

    private void say(String topic, String... lines) throws Exception {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(client)) {
            for (String line : lines) {
                soon(producer.send(new ProducerRecord<>(topic, line, line)));
            }
        }
    }

    /** Reads until the latest count of each of these words is the one that is wanted. */
    private static void await(KafkaConsumer<String, String> reader, Map<String, String> seen, Map<String, String> wanted) throws Exception {
        try {
            eventually("the counts", 60, () -> {
                for (ConsumerRecord<String, String> record : poll(reader)) {
                    seen.put(record.key(), record.value());
                }
                return seen.entrySet().containsAll(wanted.entrySet());
            });
        } catch (AssertionError error) {
            throw new AssertionError(error.getMessage() + ": " + seen);
        }
    }
}
