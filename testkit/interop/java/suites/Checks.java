import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.UUID;

/** Runs every public method whose name starts with "check" and tells the harness how it went. */
public abstract class Checks {
    private static final BufferedReader ANSWERS = new BufferedReader(new InputStreamReader(System.in));

    private final List<AutoCloseable> open = new ArrayList<>();

    public interface Step {
        void run() throws Exception;
    }

    public interface Condition {
        boolean holds() throws Exception;
    }

    /** Closes it after the check that made it. */
    protected <T extends AutoCloseable> T later(T resource) {
        synchronized (open) {
            open.add(resource);
        }
        return resource;
    }

    /** Asks the harness to do something to the server. */
    protected static void ask(String wish) throws IOException {
        System.out.println("@" + wish);
        System.out.flush();
        String answer = ANSWERS.readLine();
        that("done".equals(answer), "the harness answered " + answer);
    }

    protected static String fresh() {
        return "/java-" + UUID.randomUUID();
    }

    protected static byte[] bytes(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    protected static String text(byte[] bytes) {
        return new String(bytes, java.nio.charset.StandardCharsets.UTF_8);
    }

    protected static void that(boolean condition, Object otherwise) {
        if (!condition) {
            throw new AssertionError(String.valueOf(otherwise));
        }
    }

    protected static void same(Object expected, Object actual) {
        that(expected == null ? actual == null : expected.equals(actual), "expected " + expected + ", got " + actual);
    }

    protected static void eventually(String what, Condition condition) throws Exception {
        eventually(what, 20, condition);
    }

    protected static void eventually(String what, int seconds, Condition condition) throws Exception {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        while (System.nanoTime() < deadline) {
            if (condition.holds()) {
                return;
            }
            Thread.sleep(10);
        }
        throw new AssertionError("not within " + seconds + " s: " + what);
    }

    protected void run() {
        List<Method> methods = new ArrayList<>();
        for (Method method : getClass().getMethods()) {
            if (method.getName().startsWith("check") && method.getParameterCount() == 0) {
                methods.add(method);
            }
        }
        methods.sort(Comparator.comparing(Method::getName));
        for (Method method : methods) {
            String name = method.getName().substring(5).replaceAll("([A-Z0-9]+)", " $1").toLowerCase().trim();
            try {
                method.invoke(this);
                System.out.println("ok " + name);
            } catch (InvocationTargetException wrapped) {
                Throwable error = wrapped.getCause();
                error.printStackTrace();
                String where = "";
                for (StackTraceElement element : error.getStackTrace()) {
                    if (element.getMethodName().equals(method.getName())) {
                        where = " (line " + element.getLineNumber() + ")";
                        break;
                    }
                }
                System.out.println(("FAIL " + name + ": " + error + where).replace('\n', ' '));
            } catch (IllegalAccessException error) {
                System.out.println("FAIL " + name + ": " + error);
            }
            System.out.flush();
            closeAll();
        }
        System.out.println("@done");
        System.out.flush();
        // Client threads that are no daemons must not keep the program alive.
        Runtime.getRuntime().halt(0);
    }

    private void closeAll() {
        List<AutoCloseable> resources;
        synchronized (open) {
            resources = new ArrayList<>(open);
            open.clear();
        }
        for (int index = resources.size() - 1; index >= 0; index--) {
            try {
                resources.get(index).close();
            } catch (Exception error) {
                // The check may have closed it already.
            }
        }
    }
}
