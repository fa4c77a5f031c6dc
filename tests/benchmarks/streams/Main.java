import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams, exactly once (v2): records in RocksDB with a changelog, nothing that could be queried afterwards. */
public final class Main {
    private static final String RECORDS = "records";
    private static final int SCHEDULED_MINUTES = 60;
    private static final ObjectMapper JSON = new ObjectMapper();

    /** What tests/benchmarks/plain.py does. */
    static final class Update extends ContextualProcessor<String, byte[], String, byte[]> {
        private KeyValueStore<String, byte[]> records;

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            super.init(context);
            records = context.getStateStore(RECORDS);
        }

        @Override
        public void process(Record<String, byte[]> message) {
            try {
                byte[] change = update(message.key(), (ObjectNode) JSON.readTree(message.value()));
                if (change != null) {
                    context().forward(message.withValue(change));
                }
            } catch (java.io.IOException error) {
                throw new IllegalStateException(error);
            }
        }

        private byte[] update(String key, ObjectNode message) throws java.io.IOException {
            byte[] stored = records.get(key);
            ObjectNode record = stored == null ? JSON.createObjectNode().put("sequence", 0) : (ObjectNode) JSON.readTree(stored);
            ObjectNode steps = record.withObjectProperty("steps");
            String step = message.get("event_id").asText();
            int percent = Math.min(100, message.get("attended_minutes").asInt() * 100 / SCHEDULED_MINUTES);
            int previous = steps.path(step).asInt(0);
            if (percent == previous) {
                records.put(key, JSON.writeValueAsBytes(record));
                return null;
            }
            steps.put(step, percent);
            int sequence = record.get("sequence").asInt() + 1;
            record.put("sequence", sequence);
            records.put(key, JSON.writeValueAsBytes(record));
            ObjectNode change = JSON.createObjectNode();
            change.put("message_id", key + "/" + sequence);
            for (String name : new String[] {"tenant_id", "learner_id", "course_id"}) {
                change.set(name, message.get(name));
            }
            change.put("sequence", sequence);
            change.set("caused_by", message.get("message_id"));
            change.set("changed_at", message.get("changed_at"));
            change.put("step_id", step).put("percent", percent).put("previous_percent", previous);
            change.put("complete", percent == 100).put("previously_complete", previous == 100);
            return JSON.writeValueAsBytes(change);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String inbound = arguments[0];
        String outbound = arguments[1];
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("RATCHET_KAFKA_BOOTSTRAP_SERVERS"));
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("RATCHET_GROUP"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams").toString());
        settings.put("auto.offset.reset", "earliest");
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore(RECORDS), Serdes.String(), Serdes.ByteArray()).withCachingEnabled());
        builder.stream(inbound, Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .process(Update::new, RECORDS)
            .to(outbound, Produced.with(Serdes.String(), Serdes.ByteArray()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
