"""One trace, from the LMS's message to the published change, as a collector that speaks OTLP sees it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service.kafka.partitioner import partition_of
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack.servers import free_port
from tests.stack.service import World
from tests.stack.wire import Wire, key_of

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01".encode()


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Its address, and what it is sent."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
        finally:
            server.shutdown()
            serving.join()


def spans(received: list[ExportTraceServiceRequest]) -> list[Span]:
    """All of them."""
    groups = (group for request in received for resource in request.resource_spans for group in resource.scope_spans)
    return [span for group in groups for span in group.spans]


async def test_a_trace_leads_from_the_message_to_the_change(world: World, wire: Wire) -> None:
    with collector() as (address, received):
        serving = world.serve(RATCHET_TRACES_ENDPOINT=address).wait_until_ready()
        await wire.send([("course-defined", DEFINITION)])
        await wire.settled()
        key, headers = key_of(ATTENDED), [("traceparent", TRACEPARENT)]
        await wire.send_raw("attendance-changed", json.dumps(ATTENDED).encode(), key, headers, partition_of(key, 4))
        await wire.settled()
        changes = await wire.read("course-completion-changed")
        assert await asyncio.to_thread(serving.stop) == 0
    assert [dict(got.headers)["traceparent"] for got in changes] == [TRACEPARENT]
    (span,) = [span for span in spans(received) if span.links]
    assert [(one.trace_id.hex(), one.span_id.hex()) for one in span.links] == [(TRACE_ID, SPAN_ID)]
    about = {one.key: one.value for one in span.attributes}
    assert about["messaging.system"].string_value == "kafka"
    assert about["messaging.batch.message_count"].int_value == 1
    assert about["ratchet.lane"].int_value == partition_of(key, 4)
    assert span.kind == Span.SPAN_KIND_CONSUMER and span.start_time_unix_nano < span.end_time_unix_nano
    resources = [one for got in received for one in got.resource_spans[0].resource.attributes]
    assert ("service.name", "ratchet") in {(one.key, one.value.string_value) for one in resources}
    assert len(spans(received)) >= 2, "the definition's batch has a span without links"


@pytest.mark.full
async def test_a_collector_that_is_away_harms_nobody(world: World, wire: Wire) -> None:
    serving = world.serve(RATCHET_TRACES_ENDPOINT=f"http://127.0.0.1:{free_port()}/v1/traces").wait_until_ready()
    await wire.send([("course-defined", DEFINITION), ("attendance-changed", ATTENDED)])
    await wire.settled()
    assert serving.get("/readyz")[0] == 200
    assert await asyncio.to_thread(serving.stop) == 0
