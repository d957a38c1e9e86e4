import java.util.Collections;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** What came to the Java clients with 1.0 and 1.1, and is still there. */
public class BrokerSince11Suite extends BrokerSuite {
    protected BrokerSince11Suite(String bootstrap) {
        super(bootstrap);
    }

    public static void main(String[] arguments) {
        new BrokerSince11Suite(arguments[0]).run();
    }

    public void check11TopicsGrow() throws Exception {
        String topic = topic(2);
        soon(admin().createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(5))).all());
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(client)) {
            eventually("five partitions", () -> consumer.partitionsFor(topic).size() == 5);
        }
    }
}
