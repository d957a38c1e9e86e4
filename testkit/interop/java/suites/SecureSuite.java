import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;

/** TLS with certificates on both sides, and SASL with a right and a wrong password. */
public final class SecureSuite extends Checks {
    private final String plain;
    private final String secure;
    private final String folder;

    private SecureSuite(String plain, String secure, String folder) {
        this.plain = plain;
        this.secure = secure;
        this.folder = folder;
    }

    public static void main(String[] arguments) {
        new SecureSuite(arguments[0], arguments[1], arguments[2]).run();
    }

    /** What a client with this certificate sets; null for one without. */
    private ZKClientConfig tls(String certificate, String authority) {
        ZKClientConfig config = new ZKClientConfig();
        config.setProperty("zookeeper.client.secure", "true");
        config.setProperty("zookeeper.clientCnxnSocket", "org.apache.zookeeper.ClientCnxnSocketNetty");
        config.setProperty("zookeeper.ssl.trustStore.location", folder + "/" + authority);
        config.setProperty("zookeeper.ssl.trustStore.type", "PEM");
        if (certificate != null) {
            config.setProperty("zookeeper.ssl.keyStore.location", folder + "/" + certificate);
            config.setProperty("zookeeper.ssl.keyStore.type", "PEM");
        }
        config.setProperty("zookeeper.sasl.client", "false");
        return config;
    }

    private ZKClientConfig sasl(String section) {
        ZKClientConfig config = new ZKClientConfig();
        config.setProperty("zookeeper.sasl.client", "true");
        config.setProperty("zookeeper.sasl.clientconfig", section);
        return config;
    }

    private ZKClientConfig nothing() {
        ZKClientConfig config = new ZKClientConfig();
        config.setProperty("zookeeper.sasl.client", "false");
        return config;
    }

    /** A client and the first thing that it is told of its connection, null if that is nothing. */
    private ZooKeeper connect(String host, ZKClientConfig config, AtomicReference<KeeperState> state, int seconds) throws Exception {
        CountDownLatch told = new CountDownLatch(1);
        ZooKeeper zk = later(new ZooKeeper(host, 15_000, event -> {
            boolean isFinal = event.getState() == KeeperState.SyncConnected || event.getState() == KeeperState.AuthFailed;
            if (isFinal && state.compareAndSet(null, event.getState())) {
                told.countDown();
            }
        }, config));
        told.await(seconds, TimeUnit.SECONDS);
        return zk;
    }

    private ZooKeeper connected(String host, ZKClientConfig config) throws Exception {
        AtomicReference<KeeperState> state = new AtomicReference<>();
        ZooKeeper zk = connect(host, config, state, 20);
        same(KeeperState.SyncConnected, state.get());
        return zk;
    }

    private List<String> identities(ZooKeeper zk) throws Exception {
        List<String> names = new ArrayList<>();
        for (ClientInfo info : zk.whoAmI()) {
            names.add(info.getAuthScheme() + ":" + info.getUser());
        }
        Collections.sort(names);
        return names;
    }

    private static void refused(Code code, Step step) throws Exception {
        try {
            step.run();
        } catch (KeeperException error) {
            same(code, error.code());
            return;
        }
        throw new AssertionError("expected " + code + ", but it worked");
    }

    public void checkACertificateIsAnIdentity() throws Exception {
        ZooKeeper zk = connected(secure, tls("client.pem", "authority.pem"));
        that(identities(zk).contains("x509:CN=client,O=Example"), identities(zk));
        String path = fresh();
        List<ACL> own = Collections.singletonList(new ACL(Perms.ALL, new Id("x509", "CN=client,O=Example")));
        zk.create(path, bytes("secret"), own, CreateMode.PERSISTENT);
        same("secret", text(zk.getData(path, false, null)));
        ZooKeeper stranger = connected(plain, nothing());
        refused(Code.NOAUTH, () -> stranger.getData(path, false, null));
        ZooKeeper other = connected(secure, tls("other.pem", "authority.pem"));
        refused(Code.NOAUTH, () -> other.getData(path, false, null));
    }

    public void checkTheClientPortSpeaksBoth() throws Exception {
        ZooKeeper zk = connected(plain, tls("client.pem", "authority.pem"));
        ZooKeeper unprotected = connected(plain, nothing());
        String path = fresh();
        zk.create(path, bytes("both"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        same("both", text(unprotected.getData(path, false, null)));
        that(identities(zk).contains("x509:CN=client,O=Example"), identities(zk));
    }

    public void checkWatchesAndLargeDataOverTls() throws Exception {
        ZooKeeper zk = connected(secure, tls("client.pem", "authority.pem"));
        String path = fresh();
        byte[] large = new byte[900_000];
        new java.util.Random(7).nextBytes(large);
        zk.create(path, large, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        CountDownLatch changed = new CountDownLatch(1);
        byte[] read = zk.getData(path, event -> {
            if (event.getType() == EventType.NodeDataChanged) {
                changed.countDown();
            }
        }, null);
        that(java.util.Arrays.equals(large, read), "other data came back");
        zk.setData(path, bytes("small"), -1);
        that(changed.await(10, TimeUnit.SECONDS), "no event");
    }

    public void checkASessionOverTlsSurvivesARestart() throws Exception {
        ZooKeeper zk = connected(secure, tls("client.pem", "authority.pem"));
        String path = fresh();
        zk.create(path, null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        long session = zk.getSessionId();
        ask("restart");
        eventually("an answer", () -> {
            try {
                return zk.exists(path, false) != null;
            } catch (KeeperException.ConnectionLossException error) {
                return false;
            }
        });
        same(session, zk.getSessionId());
    }

    public void checkWrongCertificatesAreRefused() throws Exception {
        for (ZKClientConfig config : new ZKClientConfig[] {
                tls(null, "authority.pem"), tls("foreign.pem", "authority.pem"), tls("client.pem", "foreign-authority.pem")}) {
            AtomicReference<KeeperState> state = new AtomicReference<>();
            connect(secure, config, state, 3);
            same(null, state.get());
        }
        // Nor does a plain client get anything on the secure port.
        AtomicReference<KeeperState> state = new AtomicReference<>();
        connect(secure, nothing(), state, 3);
        same(null, state.get());
    }

    public void checkARightPasswordIsAnIdentity() throws Exception {
        ZooKeeper zk = connected(plain, sasl("Right"));
        String path = fresh();
        // The login goes on after the connection is there; what is asked waits for it.
        zk.create(path, bytes("hers"), Collections.singletonList(new ACL(Perms.ALL, new Id("sasl", "jane"))), CreateMode.PERSISTENT);
        same("hers", text(zk.getData(path, false, null)));
        that(identities(zk).contains("sasl:jane"), identities(zk));
        ZooKeeper stranger = connected(plain, nothing());
        refused(Code.NOAUTH, () -> stranger.getData(path, false, null));
    }

    public void checkAWrongPasswordIsRefused() throws Exception {
        for (String section : new String[] {"WrongPassword", "Nobody"}) {
            ZooKeeper zk = connect(plain, sasl(section), new AtomicReference<>(), 1);
            eventually("the refusal of " + section, () -> zk.getState() == ZooKeeper.States.AUTH_FAILED);
            refused(Code.AUTHFAILED, () -> zk.exists("/", false));
        }
    }
}
