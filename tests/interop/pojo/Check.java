// Makes Java types of each schema, reads every example with them and writes it again: `Check CONTRACTS_FOLDER [wrong]`.
// Prints for each schema which type was made and how many examples came back as they were.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.codemodel.JCodeModel;
import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.jsonschema2pojo.DefaultGenerationConfig;
import org.jsonschema2pojo.GenerationConfig;
import org.jsonschema2pojo.Jackson2Annotator;
import org.jsonschema2pojo.SchemaGenerator;
import org.jsonschema2pojo.SchemaMapper;
import org.jsonschema2pojo.SchemaStore;
import org.jsonschema2pojo.rules.RuleFactory;

public class Check {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        Path contracts = Path.of(arguments[0]);
        boolean wrong = arguments.length > 1;
        Path folder = Files.createTempDirectory("pojo");
        List<Path> schemas = sorted(contracts.resolve("schemas"), "");
        for (Path schema : schemas) {
            generate(schema, folder);
        }
        compile(folder);
        boolean good = true;
        try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()})) {
            for (Path schema : schemas) {
                String name = stem(schema);
                Class<?> type = loader.loadClass(packageOf(name) + "." + JSON.readTree(schema.toFile()).get("title").asText());
                int same = 0;
                for (Path example : sorted(contracts.resolve("examples"), name)) {
                    boolean came = comesBack(type, example, wrong);
                    same += came ? 1 : 0;
                    good &= came;
                }
                System.out.println("{\"schema\": \"" + name + "\", \"type\": \"" + type.getSimpleName() + "\", \"examples\": " + same + "}");
            }
        }
        System.exit(good ? 0 : 1);
    }

    static boolean comesBack(Class<?> type, Path file, boolean wrong) throws Exception {
        JsonNode example = JSON.readTree(file.toFile());
        if (wrong) {
            ((ObjectNode) example).putArray(example.fieldNames().next());
        }
        try {
            JsonNode again = JSON.valueToTree(JSON.treeToValue(example, type));
            return holds(again, example);
        } catch (com.fasterxml.jackson.databind.JsonMappingException error) {
            System.err.println(file.getFileName() + ": " + error.getOriginalMessage());
            return false;
        }
    }

    /** All that was said is still there; what was left out may have its default now. */
    static boolean holds(JsonNode all, JsonNode said) {
        if (said.isNull()) {
            return all == null || all.isNull();
        }
        if (all == null || said.isNumber()) {
            return all != null && all.isNumber() && all.doubleValue() == said.doubleValue();
        }
        if (said.isArray()) {
            boolean same = all.size() == said.size();
            for (int index = 0; same && index < said.size(); index++) {
                same = holds(all.get(index), said.get(index));
            }
            return same;
        }
        if (said.isObject()) {
            boolean same = true;
            for (var field : said.properties()) {
                same &= holds(all.get(field.getKey()), field.getValue());
            }
            return same;
        }
        return all.equals(said);
    }

    static void generate(Path schema, Path folder) throws Exception {
        GenerationConfig config = new DefaultGenerationConfig() {
            @Override
            public boolean isUseTitleAsClassname() {
                return true;
            }

            @Override
            public boolean isUseLongIntegers() {
                return true;
            }

            @Override
            public String getDateTimeType() {
                return "java.lang.String"; // java.util.Date would lose microseconds
            }
        };
        SchemaMapper mapper = new SchemaMapper(
            new RuleFactory(config, new Jackson2Annotator(config), new SchemaStore()), new SchemaGenerator());
        JCodeModel model = new JCodeModel();
        mapper.generate(model, "Message", packageOf(stem(schema)), schema.toUri().toURL());
        model.build(folder.toFile(), (java.io.PrintStream) null);
    }

    static void compile(Path folder) throws Exception {
        List<String> options = new ArrayList<>(List.of("-proc:none", "-nowarn", "-cp", System.getProperty("java.class.path"), "-d", folder.toString()));
        try (Stream<Path> files = Files.walk(folder)) {
            files.filter(path -> path.toString().endsWith(".java")).map(Path::toString).forEach(options::add);
        }
        if (ToolProvider.getSystemJavaCompiler().run(null, null, null, options.toArray(new String[0])) != 0) {
            throw new IllegalStateException("what was made does not compile");
        }
    }

    static List<Path> sorted(Path folder, String name) throws Exception {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(path -> path.toString().endsWith(".json") && (name.isEmpty() || stem(path).equals(name))).sorted().toList();
        }
    }

    static String stem(Path path) {
        return new File(path.toString()).getName().split("\\.")[0];
    }

    static String packageOf(String name) {
        return "made." + name.replace("-", "");
    }
}
