"""OpenTelemetry, where it is wanted: one span a batch, with links to the traces that its messages are part of.

A published change carries the `traceparent` of the message that caused it, so that the trace goes on downstream; the
batch's span leads from there to what else was decided with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from service.errors import FixConfiguration
from service.metrics import Traced

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Tracer

_tracers: "list[Tracer]" = []
"""The one that is in use, if any."""
NANOSECONDS = 1_000_000_000


@contextmanager
def exporting(endpoint: str | None) -> Iterator[None]:
    """Send spans to an OTLP address (HTTP) while the context lasts. Raises FixConfiguration without the libraries."""
    if endpoint is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise FixConfiguration("RATCHET_TRACES_ENDPOINT: needs pip install 'ratchet[traces]'") from None
    about = Resource.create({"service.name": "ratchet", "service.version": version("ratchet")})
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    _tracers.append(provider.get_tracer("ratchet"))
    try:
        yield
    finally:
        _tracers.clear()
        provider.shutdown()


def note_batch(lane: int, began: float, ended: float, messages: int, traced: Sequence[Traced]) -> None:
    """A batch that was taken and committed at these times (seconds since 1970). Nothing where nobody wants spans."""
    for tracer in _tracers:
        _span(tracer, lane, began, ended, messages, traced)


def _span(tracer: "Tracer", lane: int, began: float, ended: float, messages: int, traced: Sequence[Traced]) -> None:
    from opentelemetry.trace import SpanKind

    tracer.start_span(
        "process batch",
        kind=SpanKind.CONSUMER,
        links=[_link(one.traceparent) for one in traced],
        start_time=int(began * NANOSECONDS),
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.batch.message_count": messages,
            "ratchet.lane": lane,
        },
    ).end(int(ended * NANOSECONDS))


def _link(traceparent: bytes) -> "Link":
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    trace_id, span_id, flags = (int(part, 16) for part in traceparent.decode().split("-")[1:])
    return Link(SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags)))
