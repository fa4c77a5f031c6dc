// The Java client, as tests/interop/program.py asks: a JSON object a line in, one a line out.

import com.networknt.schema.InputFormat;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import io.cloudevents.CloudEvent;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

public final class Interop {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final List<KafkaProducer<byte[], byte[]>> LEFT_OPEN = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                answerTo(JSON.readTree(line), answer);
            } catch (Exception error) {
                answer.put("error", error.toString());
            }
            out.println(JSON.writeValueAsString(answer));
        }
        Runtime.getRuntime().halt(0); // transactions stay open
    }

    private static void answerTo(JsonNode job, ObjectNode answer) throws Exception {
        switch (job.get("do").asString()) {
            case "about" -> answer
                .put("client", "kafka-clients " + AppInfoParser.getVersion())
                .put("runtime", "Java " + System.getProperty("java.version"))
                .put("codecs", "its own")
                .put("events", "io.cloudevents:cloudevents-kafka " + versionOf(KafkaMessageFactory.class))
                .put("validator", "com.networknt:json-schema-validator " + versionOf(Schema.class));
            case "produce" -> produce(job);
            case "end" -> {
                try (var producer = producer(job)) {
                    producer.initTransactions();
                }
            }
            case "consume" -> consume(job, answer);
            default -> throw new IllegalArgumentException(job.toString());
        }
    }

    /** As the name of the jar has it. */
    private static String versionOf(Class<?> in) {
        return in.getProtectionDomain().getCodeSource().getLocation().getPath().replaceAll(".*-([0-9.]+)\\.jar", "$1");
    }

    private static KafkaProducer<byte[], byte[]> producer(JsonNode job) {
        var settings = new HashMap<String, Object>();
        settings.put("bootstrap.servers", job.get("bootstrap").asString());
        settings.put("compression.type", job.get("codec").asString());
        settings.put("enable.idempotence", !job.get("mode").asString().equals("plain"));
        if (!job.get("transaction").isNull()) {
            settings.put("transactional.id", job.get("transaction").asString());
            settings.put("transaction.timeout.ms", job.get("timeout_ms").asInt());
        }
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static void produce(JsonNode job) throws Exception {
        KafkaProducer<byte[], byte[]> producer = producer(job);
        boolean transactional = !job.get("transaction").isNull();
        if (transactional) {
            producer.initTransactions();
            producer.beginTransaction();
        }
        var sending = new ArrayList<Future<RecordMetadata>>();
        for (JsonNode message : job.get("messages")) {
            var record = new ProducerRecord<>(job.get("topic").asString(), bytes(message, "key"), bytes(message, "value"));
            for (JsonNode header : message.get("headers")) {
                byte[] value = header.get(1).isNull() ? null : Base64.getDecoder().decode(header.get(1).asString());
                record.headers().add(header.get(0).asString(), value);
            }
            sending.add(producer.send(record));
        }
        producer.flush();
        for (var sent : sending) {
            sent.get();
        }
        switch (job.get("mode").asString()) {
            case "open" -> LEFT_OPEN.add(producer);
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> { }
        }
        if (!LEFT_OPEN.contains(producer)) {
            producer.close();
        }
    }

    private static byte[] bytes(JsonNode message, String field) {
        return message.get(field).asString().getBytes(StandardCharsets.UTF_8);
    }

    private static void consume(JsonNode job, ObjectNode answer) {
        var registry = SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
        var schemas = new HashMap<String, Schema>();
        var left = new HashMap<String, Long>();
        for (Map.Entry<String, JsonNode> topic : job.get("topics").properties()) {
            schemas.put(topic.getKey(), registry.getSchema(topic.getValue().get("schema").toString(), InputFormat.JSON));
            for (Map.Entry<String, JsonNode> last : topic.getValue().get("last").properties()) {
                left.put(topic.getKey() + "/" + last.getKey(), last.getValue().asLong());
            }
        }
        Map<String, Object> settings = Map.of("bootstrap.servers", job.get("bootstrap").asString(),
            "group.id", job.get("group").asString(), "isolation.level", "read_committed", "auto.offset.reset", "earliest");
        ArrayNode messages = answer.putArray("messages");
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(schemas.keySet());
            while (!left.isEmpty()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    describe(record, schemas.get(record.topic()), messages.addObject());
                    left.computeIfPresent(record.topic() + "/" + record.partition(),
                        (place, last) -> record.offset() >= last ? null : last);
                }
            }
        }
    }

    private static void describe(ConsumerRecord<byte[], byte[]> record, Schema schema, ObjectNode told) {
        String value = new String(record.value(), StandardCharsets.UTF_8);
        told.put("topic", record.topic()).put("partition", record.partition()).put("offset", record.offset())
            .put("key", new String(record.key(), StandardCharsets.UTF_8)).put("value", value);
        ArrayNode headers = told.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(Base64.getEncoder().encodeToString(header.value()));
        }
        var errors = schema.validate(value, InputFormat.JSON,
            context -> context.executionConfig(config -> config.formatAssertionsEnabled(true)));
        told.put("invalid", errors.isEmpty() ? null : errors.toString());
        CloudEvent event = KafkaMessageFactory.createReader(record).toEvent(); // refuses what is not valid
        ObjectNode attributes = told.putObject("event");
        for (String name : event.getAttributeNames()) {
            attributes.put(name, event.getAttribute(name).toString());
        }
        attributes.put("data", new String(event.getData().toBytes(), StandardCharsets.UTF_8));
    }
}
