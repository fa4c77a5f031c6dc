"""librdkafka in its Python binding, as program.py asks: a JSON object a line in, one a line out."""

import base64
import json
import os
import platform
import sys
from importlib.metadata import version
from typing import Any

import confluent_kafka
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from confluent_kafka import Consumer, Producer
from jsonschema import Draft202012Validator

Json = dict[str, Any]
LEFT_OPEN: list[Producer] = []
PATIENCE_SECONDS = 60


def about(_: Json) -> Json:
    """What this is."""
    return {
        "client": f"librdkafka {confluent_kafka.libversion()[0]}, confluent-kafka {version('confluent-kafka')}",
        "runtime": f"Python {platform.python_version()}",
        "codecs": "its own",
        "events": f"cloudevents {version('cloudevents')}",
        "validator": f"jsonschema {version('jsonschema')}",
    }


def _producer(job: Json) -> Producer:
    settings = {
        "bootstrap.servers": job["bootstrap"],
        "compression.type": job["codec"],
        "enable.idempotence": job["mode"] != "plain",
    }
    if job["transaction"] is not None:
        settings |= {"transactional.id": job["transaction"], "transaction.timeout.ms": job["timeout_ms"]}
    return Producer({**settings, "log_level": 0})


def produce(job: Json) -> Json:
    """Send the messages, and end the transaction or leave it open."""
    producer = _producer(job)
    if job["transaction"] is not None:
        producer.init_transactions(PATIENCE_SECONDS)
        producer.begin_transaction()
    errors = []
    for message in job["messages"]:
        headers = [(name, None if value is None else base64.b64decode(value)) for name, value in message["headers"]]
        producer.produce(
            job["topic"],
            message["value"],
            message["key"],
            headers=headers,
            on_delivery=lambda error, _: errors.append(error),
        )
    producer.flush(PATIENCE_SECONDS)
    failed = [error for error in errors if error is not None]
    if failed or len(errors) < len(job["messages"]):
        raise RuntimeError(f"{len(errors)} of {len(job['messages'])} delivered, {failed}")
    match job["mode"]:
        case "open":
            LEFT_OPEN.append(producer)
        case "commit":
            producer.commit_transaction(PATIENCE_SECONDS)
        case "abort":
            producer.abort_transaction(PATIENCE_SECONDS)
    return {}


def end(job: Json) -> Json:
    """Take over the transactional id, which aborts what was left open."""
    _producer(job).init_transactions(PATIENCE_SECONDS)
    return {}


def consume(job: Json) -> Json:
    """What is committed, from the beginning, as a group."""
    schemas = {topic: Draft202012Validator(wanted["schema"]) for topic, wanted in job["topics"].items()}
    left = {(topic, int(p)): last for topic, wanted in job["topics"].items() for p, last in wanted["last"].items()}
    reader = Consumer(
        {
            "bootstrap.servers": job["bootstrap"],
            "group.id": job["group"],
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    reader.subscribe(list(schemas))
    messages = []
    try:
        while left:
            message = reader.poll(1)
            if message is None:
                continue
            if message.error():
                raise RuntimeError(str(message.error()))
            messages.append(_described(message, schemas[message.topic()]))
            place = message.topic(), message.partition()
            if message.offset() >= left.get(place, message.offset() + 1):
                del left[place]
    finally:
        reader.close()
    return {"messages": messages}


def _described(message: Any, schema: Draft202012Validator) -> Json:
    value = message.value()
    headers = message.headers() or []
    event = from_kafka_event(KafkaMessage(headers=dict(headers), key=message.key(), value=value))  # refuses what is not
    attributes = {name: str(content) for name, content in event.get_attributes().items()}
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": message.key().decode(),
        "value": value.decode(),
        "headers": [(name, base64.b64encode(content).decode()) for name, content in headers],
        "invalid": "; ".join(error.message for error in schema.iter_errors(json.loads(value))) or None,
        "event": {**attributes, "data": json.dumps(event.get_data())},
    }


JOBS = {"about": about, "produce": produce, "end": end, "consume": consume}


def main() -> None:
    """Until nobody asks any more."""
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = JOBS[job["do"]](job)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked is told
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
    os._exit(0)  # transactions stay open


if __name__ == "__main__":
    main()
