"""What came of a fault, once everything is dealt with."""

import asyncio

from tests.faults.evidence import keep
from tests.faults.faults import Case
from tests.faults.report import Row
from tests.faults.situation import MIB, Situation
from tests.promise import examine, forgive

EXAMPLES = 5


async def judge(case: Case, s: Situation, begin: float, end: float, settled: float) -> Row:
    """Check all that the workload has sent. The fault lasted from `begin` to `end`, in seconds since 1970."""
    if case.account is not None:
        await case.account(s)
    outcome = await s.outcome()
    changes = sum(len(partition) for topic in outcome.published.values() for partition in topic)
    dead_letters, again = len(outcome.dead_letters), 0
    if case.restores:
        outcome, again = forgive(outcome)
    findings = examine(outcome, s.workload.expected)
    examples = findings.all[:EXAMPLES]
    if examples:
        examples.append(f"all of it is kept in {await asyncio.to_thread(keep, s.world, findings)}")
    first = s.watch.first_change_after(end)
    return Row(
        fault=case.name,
        inputs=s.workload.count,
        changes=changes,
        dead_letters=dead_letters,
        lost=len(findings.lost),
        doubled=len(findings.doubled),
        out_of_order=len(findings.out_of_order),
        wrong=len(findings.wrong_records) + len(findings.wrong_dead_letters),
        again=again,
        first_change_seconds=None if first is None else round(first - end, 1),
        lag_zero_seconds=round(settled - end, 1),
        longest_pause_seconds=round(s.watch.longest_pause_seconds(begin), 1),
        peak_memory_mb=s.watch.peak_memory_bytes // MIB,
        restarts=s.restarts,
        notes="; ".join(s.notes),
        examples=examples,
    )
