"""What came of the cells of a world, in words; nothing where all is as it must be."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from service.kafka.partitioner import partition_of
from tests.interop.log import Logged
from tests.interop.messages import TRACED, counted, headers_of, learners
from tests.interop.plan import Cell, Topics
from tests.kafka.test_unreadable import key_of
from tests.stack.wire import Got

OUT = (STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED)
Log = Mapping[bytes, Sequence[Logged]]


class Row(NamedTuple):
    """What came of a cell."""

    topics: Topics
    cell: Cell
    problems: list[str]
    misrouted: int = 0
    """So many of its messages were not where their keys belong."""
    messages: int = 0


def sent(topics: Topics, cell: Cell, log: Log) -> list[str]:
    """Whether the client sent what the cell says; or the cell would prove nothing."""
    transactional = cell.mode in ("commit", "abort", "open")
    wanted = (topics.codec(cell.codec), cell.mode != "plain", transactional, topics.timestamps == "LogAppendTime")
    problems = []
    for learner, headers in zip(learners(cell), headers_of(cell), strict=True):
        found = log.get(key_of(learner), ())
        problems += [] if len(found) == 1 else [f"{learner} is in the log {len(found)} times"]
        for logged in found:
            if logged[1:5] != wanted:
                problems.append(f"{learner} was sent otherwise: {logged[1:5]}, not {wanted}")
            if list(logged.headers) != list(headers):
                problems.append(f"{learner} has headers {logged.headers}, not {headers}")
    return problems


def announced(cell: Cell, published: Iterable[Got]) -> list[str]:
    """Whether each learner's step and course completion was announced once, with its trace."""
    ours = [got for got in published if got.json["learner_id"].startswith(f"{cell.name}.")]
    told = Counter((got.json["learner_id"], got.topic) for got in ours)
    wanted = Counter((learner, topic.short) for learner in counted(cell) for topic in OUT)
    problems = [f"{learner}: no {topic}" for learner, topic in (wanted - told).elements()]
    problems += [f"{learner}: {topic}, one too many" for learner, topic in (told - wanted).elements()]
    traced = counted(cell)[:1]
    for got in ours:
        learner = got.json["learner_id"]
        traces = [header for header in got.headers if header[0] == TRACED[0][0]]
        if traces != (TRACED if learner in traced else []):
            problems.append(f"{learner}: {got.topic} has the traces {traces}")
    return problems


def strays(of: Iterable[str], log: Log, partitions: int) -> dict[bytes, Logged]:
    """Those whose messages are not where Kafka's default partitioner would have them."""
    found = {key_of(learner): logged for learner in of for logged in log.get(key_of(learner), ())}
    return {key: logged for key, logged in found.items() if logged.partition != partition_of(key, partitions)}


def rerouted(cell: Cell, log: Log, forwarded: Iterable[Got], partitions: int) -> list[str]:
    """Whether each stray message that was committed, and no other, was forwarded once with the headers that it had."""
    wanted = strays(counted(cell), log, partitions)
    ours = [got for got in forwarded if got.json["learner_id"].startswith(f"{cell.name}.")]
    told = Counter(got.key for got in ours)
    problems = [f"{key!r} is forwarded {told[key]} times" for key in {*told, *wanted} if told[key] != (key in wanted)]
    for got in ours:
        had = wanted[got.key or b""].headers if got.key in wanted else ()
        if list(got.headers[: len(had)]) != list(had):
            problems.append(f"{got.key!r} is forwarded with headers {got.headers}, not {had}")
    return problems
