"""How many facts the rules decide and explain in a second on one core: `python -m tests.benchmarks.rules`.

The usual case: each fact is newer than all known ones of its record. 20,000 records get ten facts each, by which
steps and courses complete and lose their completion; eight of ten facts change a percent.
"""

import gc
import statistics
import time

from rules.decide import decide
from rules.values import CourseDefinition, Fact, Record, StepDefinition, Value, timeline

RECORDS = 20_000
FACTS = 10
ROUNDS = 7


def facts() -> list[list[Fact]]:
    """By record, in order of time."""
    source = (("source", "mass_upload"),)
    minutes = (0, 13, 26, 60, 60, 4, 17, 60, 43, 56)
    return [
        [
            Fact(
                f"m{record}-{number}",
                1000 + number,
                "attendance",
                f"e{number % 2}",
                None,
                Value("minutes", minutes[number]),
                source,
            )
            for number in range(FACTS)
        ]
        for record in range(RECORDS)
    ]


def main() -> None:
    """Print facts per second: minimum, median, maximum of the rounds."""
    steps = {
        step_id: StepDefinition(step_id, "event", threshold_percent=percent, scheduled_minutes=60)
        for step_id, percent in (("e0", 80), ("e1", 100))
    }
    known = timeline([CourseDefinition(1, "d1", 0, steps)])
    arriving = facts()
    gc.collect()
    gc.freeze()  # as the service does once it has started
    rates, changes = [], 0
    for _ in range(ROUNDS):
        changes = 0
        begin = time.perf_counter()
        for of_record in arriving:
            record = Record()
            for fact in of_record:
                record, announced = decide(record, fact, known, 5000)
                changes += len(announced)
        rates.append(RECORDS * FACTS / (time.perf_counter() - begin))
    print(f"{RECORDS * FACTS:,} facts of {RECORDS:,} records, {changes:,} changes announced, {ROUNDS} rounds, one core")
    print(
        f"decided and explained facts per second: minimum {min(rates):,.0f}, "
        f"median {statistics.median(rates):,.0f}, maximum {max(rates):,.0f}"
    )


if __name__ == "__main__":
    main()
