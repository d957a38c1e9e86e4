import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Properties;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.SslAuthenticationException;
import org.apache.kafka.common.errors.TimeoutException;

/** Certificates, right and wrong, against a listener that asks clients for theirs. */
public final class BrokerTlsSuite extends BrokerChecks {
    private final Path folder;

    private BrokerTlsSuite(String folder, String bootstrap) {
        super(bootstrap);
        this.folder = Paths.get(folder);
        client.put("security.protocol", "SSL");
        client.put("ssl.truststore.type", "PEM");
        client.put("ssl.truststore.location", file("authority.pem"));
        client.put("ssl.keystore.type", "PEM");
        client.put("ssl.keystore.location", file("client.pem"));
    }

    public static void main(String[] arguments) {
        new BrokerTlsSuite(arguments[0], arguments[1]).run();
    }

    private String file(String name) {
        return folder.resolve(name).toString();
    }

    public void check01RecordsComeBack() throws Exception {
        String topic = topic(2);
        produce(topic, 500, "acks", "all", "compression.type", "lz4");
        same(500, values(readAll(topic, 500)).size());
    }

    public void check02RecordsLargerThanATlsRecord() throws Exception {
        String topic = topic(1);
        String large = new String(new char[700_000]).replace('\0', 'x');
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(client)) {
            soon(producer.send(new ProducerRecord<>(topic, large)));
        }
        same(large, readAll(topic, 1).get(0).value());
    }

    public void check03AnotherVersionOfTls() throws Exception {
        client.put("ssl.enabled.protocols", "TLSv1.2");
        client.put("ssl.protocol", "TLSv1.2");
        String topic = topic(1);
        produce(topic, 10);
        same(10, readAll(topic, 10).size());
        client.remove("ssl.enabled.protocols");
        client.remove("ssl.protocol");
    }

    private void refused(String... settings) throws Exception {
        Properties hasty = with(settings);
        hasty.put("request.timeout.ms", "4000");
        hasty.put("default.api.timeout.ms", "5000");
        Throwable error = failure(later(AdminClient.create(hasty)).describeCluster().nodes());
        that(error instanceof SslAuthenticationException || error instanceof TimeoutException, error);
    }

    public void check04AStrangersCertificateIsRefused() throws Exception {
        refused("ssl.keystore.location", file("foreign.pem"));
    }

    public void check05ABrokerThatIsNotTrustedIsLeft() throws Exception {
        refused("ssl.truststore.location", file("foreign-authority.pem"));
    }

    public void check06WhoComesWithoutACertificateIsRefused() throws Exception {
        client.remove("ssl.keystore.location");
        client.remove("ssl.keystore.type");
        refused();
    }

    public void check07WhoSpeaksInTheClearIsRefused() throws Exception {
        refused("security.protocol", "PLAINTEXT");
    }
}
