import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;

/** The administrative client as it began, with calls that later ones do not have. */
public final class Broker011Suite extends BrokerSuite {
    private Broker011Suite(String bootstrap) {
        super(bootstrap);
    }

    public static void main(String[] arguments) {
        new Broker011Suite(arguments[0]).run();
    }

    public void check11TopicsAreDescribed() throws Exception {
        String topic = fresh().substring(1);
        Map<Integer, java.util.List<Integer>> assignment = Collections.singletonMap(0, Arrays.asList(1));
        soon(admin().createTopics(Collections.singletonList(new NewTopic(topic, assignment))).all());
        TopicDescription described = soon(admin().describeTopics(Collections.singletonList(topic)).all()).get(topic);
        that(!described.isInternal(), "it is internal");
        same(1, described.partitions().size());
        same(1, described.partitions().get(0).leader().id());
        same(1, described.partitions().get(0).isr().size());
    }

    public void check12TheClusterIsDescribed() throws Exception {
        same(1, soon(admin().describeCluster().nodes()).size());
        same(1, soon(admin().describeCluster().controller()).id());
    }

    /** All settings at once: what is not named goes back to its default. */
    public void check13SettingsAreReplaced() throws Exception {
        AdminClient admin = admin();
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, topic(1));
        replace(admin, topic, "retention.ms", "7200000");
        same("7200000", setting(admin, topic, "retention.ms"));
        replace(admin, topic, "segment.bytes", "1000000");
        same("604800000", setting(admin, topic, "retention.ms"));
        same("1000000", setting(admin, topic, "segment.bytes"));
        Config wrong = new Config(Collections.singletonList(new ConfigEntry("retention.ms", "soon")));
        Throwable error = failure(admin.alterConfigs(Collections.singletonMap(topic, wrong)).all());
        that(error instanceof InvalidConfigurationException, error);
        same("1", setting(admin, new ConfigResource(ConfigResource.Type.BROKER, "1"), "broker.id"));
    }

    private static void replace(AdminClient admin, ConfigResource resource, String name, String value) throws Exception {
        Config config = new Config(Collections.singletonList(new ConfigEntry(name, value)));
        soon(admin.alterConfigs(Collections.singletonMap(resource, config)).all());
    }

    private static String setting(AdminClient admin, ConfigResource resource, String name) throws Exception {
        return soon(admin.describeConfigs(Collections.singletonList(resource)).all()).get(resource).get(name).value();
    }
}
