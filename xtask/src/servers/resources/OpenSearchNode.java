import java.nio.file.Path;
import java.util.Map;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;

/** Runs one OpenSearch node in this JVM: OpenSearchNode HOME CONFIG (HOME/modules/..., CONFIG/opensearch.yml). */
public class OpenSearchNode {
    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]).toAbsolutePath();
        Path config = Path.of(args[1]).toAbsolutePath();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            Settings.EMPTY, Map.of("path.home", home.toString()), config, () -> "test");
        LogConfigurator.registerErrorListener();
        LogConfigurator.configure(environment);
        new Node(environment).start();
        Thread.currentThread().join();
    }
}
