"""Numbers that are made by us rather than by prometheus_client: latency by batch, kinds of changes, ages."""

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from rules.values import Cause, Change, Course, CourseChange, StepChange
from service.lanes.outgoing import kind_of, outbound, topic_of
from service.metrics import LatencyHistogram, Tally, Traced

NOW = 1_000.0
TRACE = "0af7651916cd43dd8448eb211c80319c"


def exposed(latency: LatencyHistogram, accept: str = "") -> list[str]:
    registry = CollectorRegistry()
    registry.register(latency)
    return choose_encoder(accept)[0](registry).decode().splitlines()


def test_latency_counts_each_message_of_a_batch() -> None:
    latency = LatencyHistogram()
    latency.observe([1_000_000, 999_970, 999_969, 0, 2_000_000], [], NOW)
    lines = exposed(latency)
    assert 'ratchet_latency_seconds_bucket{le="0.03"} 3.0' in lines, "what is from the future is not older than now"
    assert 'ratchet_latency_seconds_bucket{le="0.1"} 4.0' in lines
    assert 'ratchet_latency_seconds_bucket{le="1000.0"} 5.0' in lines
    assert 'ratchet_latency_seconds_bucket{le="+Inf"} 5.0' in lines
    (total,) = [float(line.split()[1]) for line in lines if line.startswith("ratchet_latency_seconds_sum")]
    assert total == pytest.approx(1000 + 0.03 + 0.031)


def test_latency_gives_a_trace_as_exemplar_to_who_asks_for_openmetrics() -> None:
    latency = LatencyHistogram()
    latency.observe([999_900], [Traced(999_900, f"00-{TRACE}-b7ad6b7169203331-01".encode())], NOW)
    lines = exposed(latency, "application/openmetrics-text; version=1.0.0")
    (line,) = [line for line in lines if TRACE in line]
    assert line.startswith(f'ratchet_latency_seconds_bucket{{le="0.3"}} 1.0 # {{trace_id="{TRACE}"}} 0.1')
    assert not any(TRACE in line for line in exposed(latency))


def test_tallies_add_up() -> None:
    one = Tally((1,), Counter(a=1), Counter(x=1), 1, (Traced(1, b"t"),))
    two = Tally((2,), Counter(a=1, b=1), Counter(), 2, ())
    assert one.and_then(two) == Tally((1, 2), Counter(a=2, b=1), Counter(x=1), 3, (Traced(1, b"t"),))


DONE, OPEN = Course("steps", 1, "held"), Course()


def step(complete: bool, previously_complete: bool) -> StepChange:
    return StepChange("e-1", "event", 50, 40, complete, previously_complete, OPEN)


def course(now: Course, was_completed: bool) -> CourseChange:
    return CourseChange(now, was_completed, "none", None, None, None)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (step(True, False), "step_completed"),
        (step(False, True), "step_lost"),
        (step(True, True), "step_progressed"),
        (step(False, False), "step_progressed"),
        (course(DONE, False), "course_completed"),
        (course(OPEN, True), "course_removed"),
        (course(DONE, True), "course_updated"),
        (course(OPEN, False), "course_updated"),
    ],
)
def test_a_change_has_a_kind(what: StepChange | CourseChange, kind: str) -> None:
    change = Change(1, 1, Cause("m-1", 1, "completed-by-steps"), 1, what)
    assert kind_of(change) == kind
    assert topic_of(kind) == outbound("acme/l-1/c-1", change, None).topic
