import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Lists Kafka's error codes. Then reads lines of class, version and bytes; lets the class read the bytes and prints what
 * it writes again.
 */
public class WireEcho {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false);
        for (Errors error : Errors.values()) {
            out.println("error " + error.code() + " " + error + " " + (error.exception() instanceof RetriableException));
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", -1);
            out.println(echo(words[0], Short.parseShort(words[1]), HexFormat.of().parseHex(words[2])));
        }
        out.flush();
    }

    private static String echo(String name, short version, byte[] bytes) {
        try {
            Message message = (Message) Class.forName(name).getDeclaredConstructor().newInstance();
            ByteBuffer input = ByteBuffer.wrap(bytes);
            message.read(new ByteBufferAccessor(input), version);
            if (input.hasRemaining()) {
                return "leaves " + input.remaining() + " bytes of " + message;
            }
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer output = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(output), cache, version);
            return HexFormat.of().formatHex(output.array());
        } catch (Exception error) {
            return error.toString().replace('\n', ' ');
        }
    }
}
