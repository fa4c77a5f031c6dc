"""The rules alone, on one core, without I/O: `python -m tests.benchmarks.rules`.

Facts decided and explained in a second. The usual case: each fact is newer than all known ones of its record. 20,000
records get ten facts each, by which steps and courses complete and lose their completion; eight of ten facts change a
percent. And how often in a second the course table answers: as we look it up, and in zen-engine.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rules.decide import decide
from rules.tables import SHIPPED
from rules.values import CourseDefinition, Fact, Record, StepDefinition, Value, timeline
from tests.benchmarks import results as measures
from tests.benchmarks import zen
from tests.benchmarks.plain import SCHEDULED_MINUTES
from tests.benchmarks.results import Results
from tests.benchmarks.workloads import MINUTES, STEPS

RECORDS = 20_000
FACTS = 10
ROUNDS = 7
LOOKUPS = 2_000_000
EVALUATIONS = 40_000
NAME = "rules only"
DECIDE, LOOKUP = "decide and explain", "table lookup"
ZEN, ZEN_TRACE = "zen-engine", "zen-engine, with trace"
KNOWN = timeline(
    [
        CourseDefinition(
            1,
            "d1",
            0,
            {
                step_id: StepDefinition(
                    step_id, "event", threshold_percent=percent, scheduled_minutes=SCHEDULED_MINUTES
                )
                for step_id, percent in STEPS.items()
            },
        )
    ]
)


def facts(records: int) -> list[list[Fact]]:
    """By record, in order of time."""
    source = (("source", "mass_upload"),)
    return [
        [
            Fact(
                f"m{record}-{number}",
                1000 + number,
                "attendance",
                f"e{number % 2}",
                None,
                Value("minutes", MINUTES[number]),
                source,
            )
            for number in range(FACTS)
        ]
        for record in range(records)
    ]


class Rules:
    """Both, in turns."""

    name = NAME

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._arriving = facts(max(100, round(RECORDS * scale)))
        self._engine = zen.engine()
        self._contexts = zen.contexts()

    def measure(self, results: Results) -> None:
        """One round."""
        with _quiet_collector():
            results.add(NAME, DECIDE, measures.FACTS, self._decide())
            results.add(NAME, LOOKUP, measures.CALLS, self._look_up())
            results.add(NAME, ZEN, measures.CALLS, self._evaluate(trace=False))
            results.add(NAME, ZEN_TRACE, measures.CALLS, self._evaluate(trace=True))

    def _decide(self) -> float:
        begin = time.perf_counter()
        for of_record in self._arriving:
            record = Record()
            for fact in of_record:
                record, _ = decide(record, fact, KNOWN, 5000)
        return len(self._arriving) * FACTS / (time.perf_counter() - begin)

    def _look_up(self) -> float:
        lookup, combinations = SHIPPED.course.lookup, list(SHIPPED.course.lookup)

        def one_pass() -> None:
            for course, trigger, requirement, certificate in combinations:
                lookup[course, trigger, requirement, certificate]

        return _per_second(one_pass, len(combinations), LOOKUPS * self._scale)

    def _evaluate(self, trace: bool) -> float:
        evaluate, contexts = self._engine.evaluate, self._contexts

        def one_pass() -> None:
            for context in contexts:
                evaluate(zen.KEY, context)

        def one_pass_with_trace() -> None:
            for context in contexts:
                evaluate(zen.KEY, context, {"trace": True})

        return _per_second(one_pass_with_trace if trace else one_pass, len(contexts), EVALUATIONS * self._scale)


def _per_second(one_pass: Callable[[], None], calls: int, wanted: float) -> float:
    passes = max(10, round(wanted / calls))
    begin = time.perf_counter()
    for _ in range(passes):
        one_pass()
    return passes * calls / (time.perf_counter() - begin)


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """What is there already need not be looked at again, as in the service once it has started."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def main() -> None:
    """Print minimum, median, maximum of the rounds."""
    results, rules = Results(), Rules()
    for _ in range(ROUNDS):
        rules.measure(results)
    print(f"{RECORDS * FACTS:,} facts of {RECORDS:,} records, {ROUNDS} rounds, one core")
    for name, summary in results.summaries().items():
        print(
            f"{name.who}: {name.measure}: minimum {summary.minimum:,.0f}, "
            f"median {summary.median:,.0f}, maximum {summary.maximum:,.0f}"
        )


if __name__ == "__main__":
    main()
