import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Submits the statements of a SQL file to a cluster, as {@code sql-client.sh -f} does, where that client is not at hand:
 * {@code java -cp 'lib/*' RunSql.java CONF_DIR FILE}. All settings are read before the first statement, because a state
 * to recover from must be known when the job is made.
 */
public class RunSql {
    private static final Pattern SETTING = Pattern.compile("(?s)SET\\s+'([^']+)'\\s*=\\s*'([^']*)'");

    public static void main(String[] args) throws Exception {
        Configuration settings = GlobalConfiguration.loadConfiguration(args[0]);
        settings.setString("execution.target", "remote");
        settings.setString("execution.attached", "false");
        List<String> statements = new ArrayList<>();
        for (String statement : split(Files.readString(Path.of(args[1])))) {
            var setting = SETTING.matcher(statement);
            if (setting.matches()) {
                settings.setString(setting.group(1), setting.group(2));
            } else {
                statements.add(statement);
            }
        }
        var environment = EnvironmentSettings.newInstance().withConfiguration(settings).build();
        TableEnvironment tables = TableEnvironment.create(environment);
        for (String statement : statements) {
            tables.executeSql(statement).getJobClient().ifPresent(job -> System.out.println("Job ID: " + job.getJobID()));
        }
        System.exit(0); // the client's own threads would keep the process
    }

    /** Statements end at a semicolon at the end of a line, a set of them at its END. Comments are left out. */
    private static List<String> split(String text) {
        List<String> statements = new ArrayList<>();
        StringBuilder statement = new StringBuilder();
        for (String line : text.split("\n")) {
            String code = line.replaceFirst("(^|\\s)--.*$", "").stripTrailing();
            statement.append(code).append('\n');
            boolean inSet = statement.toString().strip().startsWith("EXECUTE STATEMENT SET");
            if (inSet ? code.equals("END;") : code.endsWith(";")) {
                String whole = statement.toString().strip();
                statements.add(whole.substring(0, whole.length() - 1));
                statement.setLength(0);
            }
        }
        return statements;
    }
}
