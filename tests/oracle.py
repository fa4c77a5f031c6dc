"""A naive reference of what is decided, written from a specification of the domain, apart from `rules`.

At each arrival everything known is sorted and counted again from the very beginning: no windows, no shortcuts. What is
remembered is only what must be: which completions and certificates have been announced (`Announced`), and which late
facts were overridden when they arrived. Docstrings quote that. `tests/rules/test_oracle.py` holds `rules`
against it; where it left room, `rules/README.md` says what both do.
"""

from __future__ import annotations

import calendar
import itertools
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

Value = dict[str, Any]
Said = tuple[str, Value]  # short topic name, wire message
Key = tuple[int, int, str, int]  # place on the timeline: microseconds, rank, message_id or version, sub-rank

DEFINED, ATTENDED, PROGRESSED = "course-defined", "attendance-changed", "step-progress-changed"
EQUIVALENCY, GRANTED, REASSIGNED, WITHDRAWN = (
    "equivalency-granted",
    "completion-granted",
    "reassigned",
    "reassignment-withdrawn",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Item:
    """One message at its place on the timeline."""

    key: Key
    topic: str
    value: Value


@dataclass(frozen=True)
class Standing:
    """One step: percent, complete, and whether the learner's own work set it (no equivalency for the step)."""

    percent: int = 0
    complete: bool = False
    own: bool = True


@dataclass
class Announced:
    """Domain: "A completion that has been decided is itself remembered, at the changed_at of the fact that decided it.".

    home: the attempt (by the reassignment that began it, "" for the first) in which it was announced;
    known: how many messages were known then; split: late reassignments before it -> whether it stood against them.
    """

    key: Key
    via: str
    rule: str
    home: str
    known: int
    certificate: bool
    split: dict[str, bool] = field(default_factory=dict)


@dataclass
class Completion:
    """A completion within one recount; `memory` when it is one that has been announced before."""

    key: Key
    via: str
    rule: str  # what the certificate depends on: steps, equivalency, course, issue, none
    certificate: bool
    memory: Announced | None = None


@dataclass
class Attempt:
    """What began it (message_id of a reassignment, "" for the first one) and the completion earned in it."""

    began: str
    completion: Completion | None = None


@dataclass
class Recount:
    """The result of counting everything once: attempts still standing (the last is the present one), steps, ..."""

    items: list[Item]
    definitions: list[Item]
    standing: list[Attempt]
    line: list[Item]
    at: dict[Key, Attempt]  # the attempt that was the present one at each place of the timeline


@dataclass
class Record:
    """What is remembered of one record."""

    overridden: dict[str, Key] = field(default_factory=dict)  # message_id of the late fact -> place of the later one
    announced: list[Announced] = field(default_factory=list)

    def remembered(self, said: list[Said]) -> list[Announced]:
        """Domain: "Where the attempt in between earned a completion of its own, that one ends with it."."""
        gone = withdrawn_ids(said)
        homes = [{entry.home, *(name for name, stood in entry.split.items() if stood)} for entry in self.announced]
        return [entry for entry, home in zip(self.announced, homes, strict=True) if home - gone]


# --- the timeline ---------------------------------------------------------------------------------------------------


@cache
def micros(text: str) -> int:
    """RFC 3339 -> integer microseconds since 1970."""
    return (datetime.fromisoformat(text.upper()) - EPOCH) // timedelta(microseconds=1)


def fact_key(topic: str, value: Value) -> Key:
    """Domain: "At the same instant a reassignment comes last, everything else by message_id."."""
    return (micros(value["changed_at"]), 2 if topic == REASSIGNED else 1, str(value["message_id"]), 0)


def definition_items(said: list[Said]) -> list[Item]:
    """Domain: "A version takes effect at its changed_at (never before the version it follows)." At a tie first."""
    items: list[Item] = []
    effect = -(10**30)
    for value in sorted((v for t, v in said if t == DEFINED), key=lambda v: int(v["version"])):
        effect = max(effect, micros(value["changed_at"]))
        items.append(Item((effect, 0, f"{int(value['version']):020d}", 0), DEFINED, value))
    return items


def in_force(definitions: list[Item], key: Key) -> Value:
    """Domain: "The first known one also covers all time before it."."""
    return ([d for d in definitions if d.key <= key] or definitions[:1])[-1].value


def timeline(said: list[Said]) -> list[Item]:
    """Domain: "Facts count in the order of changed_at, not in the order of arrival." Definitions are on it too."""
    withdrawn = withdrawn_ids(said)
    facts = [Item(fact_key(t, v), t, v) for t, v in said if t not in (DEFINED, WITHDRAWN)]
    standing = [item for item in facts if item.topic != REASSIGNED or item.value["message_id"] not in withdrawn]
    return sorted(standing + definition_items(said), key=lambda item: item.key)


def withdrawn_ids(said: list[Said]) -> set[str]:
    """Domain: "The reassignment was a mistake": known ones that a known withdrawal names. "Unknown id: kept, waits for it."."""
    named = {v["reassignment_message_id"] for t, v in said if t == WITHDRAWN}
    return named & {v["message_id"] for t, v in said if t == REASSIGNED}


# --- one step -------------------------------------------------------------------------------------------------------


def step_of(topic: str, value: Value) -> str | None:
    """The step that a fact says something of; None for facts about the course."""
    if topic == ATTENDED:
        return str(value["event_id"])
    if topic in (PROGRESSED, EQUIVALENCY) and value.get("step_id") is not None:
        return str(value["step_id"])
    return None


def session_of(item: Item) -> str | None:
    """The session that an attendance is about; None for an event-level value."""
    session = item.value.get("session_id") if item.topic == ATTENDED else None
    return None if session is None else str(session)


def share(item: Item, minutes: int) -> Fraction | None:
    """Domain: "A percent or flag on a session counts as that share of its minutes." "Minutes above the schedule are capped.".

    None: excused, "does not count for this learner, neither as attended nor as scheduled".
    """
    value = item.value
    if item.topic == EQUIVALENCY:
        return Fraction(1)
    if item.topic == PROGRESSED:
        return Fraction(int(value["progress_percent"]), 100)
    if value.get("excused") is True:
        return None
    if value.get("attended") is not None:
        return Fraction(int(value["attended"]))
    if value.get("attended_percent") is not None:
        return Fraction(int(value["attended_percent"]), 100)
    attended = int(value["attended_minutes"])
    return Fraction(min(attended, minutes), minutes) if attended else Fraction(0)


def needs_schedule(item: Item) -> bool:
    """Domain: "Positive minutes for an event without scheduled minutes cannot be decided."."""
    return item.topic == ATTENDED and (item.value.get("attended_minutes") or 0) > 0


def schedule(step: Value) -> dict[str, int]:
    """The minutes of the sessions that are not cancelled; an event without sessions is one nameless session."""
    if step.get("sessions"):
        return {str(s["session_id"]): int(s["scheduled_minutes"]) for s in step["sessions"] if not s.get("cancelled")}
    return {"": int(step["scheduled_minutes"])} if step.get("scheduled_minutes") is not None else {}


def values_in_force(step: Value, facts: list[Item]) -> tuple[Item | None, dict[str, Item]]:
    """Domain: "An event-level value replaces all session values set before it." Of the facts that fit the kind of step."""
    base: Item | None = None
    sessions: dict[str, Item] = {}
    for item in facts:
        if item.topic != EQUIVALENCY and (item.topic == ATTENDED) != (step["kind"] == "event"):
            continue
        session = session_of(item)
        if session is None:
            base, sessions = item, {}
        else:
            sessions[session] = item
    return base, sessions


def judge(step: Value, facts: list[Item]) -> Standing | None:
    """The standing of a step by all that was said of it, in order; None: it cannot be decided."""
    if not facts:
        return Standing()
    base, sessions = values_in_force(step, facts)
    own = base is None or base.topic != EQUIVALENCY
    live = schedule(step) if step["kind"] == "event" else {}
    named = {str(s["session_id"]) for s in step.get("sessions") or []}
    if base is None and (not live or not named & set(sessions)):
        return judge_without_session(sessions)
    if not live:
        return judge_without_schedule(step, base, own)
    attended, scheduled = count_minutes(live, base, sessions)
    return verdict(step, attended, scheduled, own)


def judge_without_session(sessions: dict[str, Item]) -> Standing | None:
    """No schedule, sessions gone, all cancelled: undecidable, unless all that was said is an explicit 0."""
    zero = all(not needs_schedule(item) and share(item, 1) == 0 for item in sessions.values())
    return Standing() if sessions and zero else None


def judge_without_schedule(step: Value, base: Item | None, own: bool) -> Standing | None:
    """An event-level percent, flag, excuse or 0 needs no schedule, nor does progress; positive minutes do."""
    if base is None or needs_schedule(base):
        return None
    part = share(base, 1)
    return verdict(step, part or Fraction(0), 0 if part is None else 1, own)


def count_minutes(live: dict[str, int], base: Item | None, sessions: dict[str, Item]) -> tuple[Fraction, int]:
    """Domain: "Over the sum of the sessions that are not cancelled, all scheduled ones counted.".

    A session without a value of its own, set after the event-level value, has the share that the latter says.
    """
    common = Fraction(0) if base is None else share(base, sum(live.values()))
    attended, scheduled = Fraction(0), 0
    for session, minutes in live.items():
        part = share(sessions[session], minutes) if session in sessions else common
        if part is not None:
            attended, scheduled = attended + part * minutes, scheduled + minutes
    return attended, scheduled


def verdict(step: Value, attended: Fraction, scheduled: int, own: bool) -> Standing:
    """Domain: "attended * 100 >= threshold_percent * scheduled"; "shown percent is floored and capped at 100".

    "Where everything is excused nothing is left to meet: the step is not complete by that, its percent is 0."
    """
    if scheduled == 0:
        return Standing()
    complete = attended * 100 >= int(step.get("threshold_percent", 100)) * scheduled
    return Standing(min(100, math.floor(attended * 100 / scheduled)), complete, own)


# --- all steps ------------------------------------------------------------------------------------------------------


def steps_of(line: list[Item], definitions: list[Item]) -> dict[str, Standing]:
    """All steps of the definition in force at the end of the line, each fact judged by the definition of its time.

    "Undecidable stays": where a step cannot be decided it keeps its standing.
    """
    said: dict[str, list[Item]] = {}
    standing: dict[str, Standing] = {}
    for item in line:
        step_id = step_of(item.topic, item.value)
        if item.topic == REASSIGNED and item.value.get("progress") != "keep":
            said, standing = {}, {}  # "every step back to 0 %"
        elif step_id is not None:
            said.setdefault(step_id, []).append(item)
        for step in in_force(definitions, item.key)["steps"]:
            new = judge(step, said.get(step["step_id"], []))
            if new is not None:
                standing[step["step_id"]] = new
    return standing


def satisfied(definition: Value, steps: dict[str, Standing], own: bool = False) -> bool:
    """Domain: "The course needs all required steps and every group." With neither it "never completes a course by itself"."""
    done = {s for s, standing in steps.items() if standing.complete and (standing.own or not own)}
    required = {s["step_id"] for s in definition["steps"] if s.get("required", True)}
    groups = definition.get("groups") or []
    return (
        bool(required or groups)
        and required <= done
        and all(len(set(g["step_ids"]) & done) >= int(g["at_least"]) for g in groups)
    )


# --- late facts that a known later one overrides --------------------------------------------------------------------


def overriding(said: list[Said], topic: str, value: Value) -> Key | None:
    """Domain: "A late attendance that an already known later one overrides changes nothing, judged by the definition in
    force at the overriding fact's own time, once and for all." The last such one; not across a reset.
    """
    definitions, late = definition_items(said), Item(fact_key(topic, value), topic, value)
    found: Key | None = None
    if not definitions:
        return None  # "Before the course is defined nothing has been decided, so nothing is overridden yet"
    for item in sorted((Item(fact_key(t, v), t, v) for t, v in said if t != DEFINED), key=lambda item: item.key):
        if item.key > late.key and item.topic == REASSIGNED and item.value.get("progress") != "keep":
            break
        if item.key > late.key and replaces(item, late) and decided(item, in_force(definitions, item.key)):
            found = item.key
    return found


def replaces(later: Item, late: Item) -> bool:
    """An event-level value replaces every one before it, a session's value that of the same session."""
    step_id = step_of(later.topic, later.value)
    same = step_id is not None and step_id == step_of(late.topic, late.value)
    return same and session_of(later) in (None, session_of(late))


def decided(item: Item, definition: Value) -> bool:
    """Whether this definition can decide the fact: it has the step (of that kind), the session, the minutes."""
    steps = [s for s in definition["steps"] if s["step_id"] == step_of(item.topic, item.value)]
    return any(judge(step, [item]) is not None for step in steps)


# --- certificates and expiry ----------------------------------------------------------------------------------------


def certificate_rule(item: Item) -> str:
    """Domain: "certificate: issue or none; not given: none for source: import, as the course awards for source: manual"."""
    if item.topic == GRANTED:
        return str(item.value.get("certificate") or ("none" if item.value.get("source") == "import" else "course"))
    return "equivalency" if item.topic == EQUIVALENCY and item.value.get("step_id") is None else "steps"


def awards(rule: str, definition: Value) -> bool:
    """Domain: "Issue if the course awards one"; on equivalency "only if the course says so (certificate_on_equivalency)"."""
    awarded = bool(definition.get("awards_certificate", True))
    if rule == "equivalency":
        return awarded and bool(definition.get("certificate_on_equivalency", False))
    return rule == "issue" or (rule != "none" and awarded)


def turned_on(completion: Completion, definitions: list[Item], now: Key) -> bool:
    """Domain: "course-defined that turns awards_certificate on: completed records of the current attempt without a
    certificate get one": those that the turning definition would have given one.
    """
    return any(
        not before.value.get("awards_certificate", True)
        and after.value.get("awards_certificate", True)
        and completion.key < after.key <= now
        and awards(completion.rule, after.value)
        for before, after in itertools.pairwise(definitions)
    )


def after_equivalency(completion: Completion, definition: Value, steps: dict[str, Standing]) -> bool:
    """Domain: "A course completed by equivalency without a certificate gets one once all its required steps are complete
    by the learner's own work".
    """
    flag = definition.get("awards_certificate", True) and definition.get("certificate_after_equivalency", False)
    return bool(flag) and completion.via == "equivalency" and satisfied(definition, steps, own=True)


def expiry(completed_at: int, definition: Value) -> int | None:
    """ "31 January + 1 month is the last day of February": years and months first, then days, in UTC."""
    match = re.fullmatch(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?", definition.get("valid_for") or "")
    if match is None:
        return None
    years, months, days = (int(part or 0) for part in match.groups())
    start = EPOCH + timedelta(microseconds=completed_at)
    year, month = divmod(start.year * 12 + start.month - 1 + years * 12 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    end = start.replace(year=year, month=month + 1, day=min(start.day, last)) + timedelta(days=days)
    return (end - EPOCH) // timedelta(microseconds=1)


# --- counting everything from the very beginning --------------------------------------------------------------------


def recount(said: list[Said], overridden: dict[str, Key], memory: list[Announced]) -> Recount:
    """The whole timeline once, from the beginning; the course must be defined."""
    result = Recount(timeline(said), definition_items(said), [Attempt("")], [], {})
    for number, item in enumerate(result.items, start=1):
        if item.topic == REASSIGNED:
            result.standing.append(Attempt(item.value["message_id"]))  # "starts a new attempt"
        result.line = result.items[:number]
        counting = [one for one in result.line if one.value["message_id"] not in overridden]
        steps = steps_of(counting, result.definitions)
        present = result.standing[-1]
        decide(present, item, in_force(result.definitions, item.key), steps)
        remember(result, item, memory)
        certify(present, item, result.definitions, steps)
        result.at[item.key] = present
    return result


def decide(attempt: Attempt, item: Item, definition: Value, steps: dict[str, Standing]) -> None:
    """The course table: "the first completion of an attempt stands"; by grant, by equivalency, or by the steps."""
    if attempt.completion is not None:
        return
    rule = certificate_rule(item)
    if item.topic == GRANTED:
        attempt.completion = Completion(item.key, "granted", rule, awards(rule, definition))
    elif rule == "equivalency":
        attempt.completion = Completion(item.key, "equivalency", rule, awards(rule, definition))
    elif satisfied(definition, steps):
        attempt.completion = Completion(item.key, "steps", "steps", awards("steps", definition))


def certify(attempt: Attempt, item: Item, definitions: list[Item], steps: dict[str, Standing]) -> None:
    """A completed course without a certificate gets one by a definition that turns them on, or by own work."""
    done = attempt.completion
    if done is not None and not done.certificate:
        definition = in_force(definitions, item.key)
        done.certificate = turned_on(done, definitions, item.key) or after_equivalency(done, definition, steps)


def remember(result: Recount, item: Item, memory: list[Announced]) -> None:
    """Domain: "Ratchet: folding again never takes it away": each announced completion stands at its own place."""
    for entry in memory:
        if entry.key == item.key:
            put(result.standing[-1], entry, result.standing)
    done = result.standing[-1].completion
    if done is not None and done.memory is not None and not done.certificate:
        done.certificate = awards(done.rule, in_force(result.definitions, done.key))


def put(attempt: Attempt, entry: Announced, standing: list[Attempt]) -> None:
    """An announced completion is that of its attempt, unless a standing reassignment, read late, has ended it."""
    if any(not entry.split.get(a.began, True) for a in standing):
        return
    done = attempt.completion
    mine = entry.home == attempt.began or attempt.began in entry.split
    if done is None or (done.memory is None and (mine or done.key == entry.key)):
        attempt.completion = Completion(entry.key, entry.via, entry.rule, entry.certificate, entry)


def is_history(said: list[Said], late: Key, value: Value, until: Key) -> bool:
    """Whether the attempt that it ends was ended already, and nothing of it was kept by then."""
    between = [i for i in timeline(said) if i.topic == REASSIGNED and late < i.key <= until]
    keeps = value.get("progress") == "keep"
    return any(keeps or item.value.get("progress") != "keep" for item in between)


def stands(said: list[Said], record: Record) -> bool:
    """Domain: "Where they [the facts after the late reassignment] complete the course by themselves, the completion stands
    as it was announced. Where it rested on work of the ended attempt, it is removed." By all facts
    known now.
    """
    return recount(said, record.overridden, []).standing[-1].completion is not None


# --- the oracle -----------------------------------------------------------------------------------------------------


class Oracle:
    """Say messages in order of arrival; ask for the records."""

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._records: dict[tuple[str, str, str], Record] = {}

    def say(self, topic: str, value: Value) -> None:
        """One arrival: what is known grows, and every record it touches is counted again from the beginning."""
        if topic == DEFINED:
            self._define(value)
            return
        key = (value["tenant_id"], value["learner_id"], value["course_id"])
        record = self._records.setdefault(key, Record())
        known = self._known(key)
        if any(v["message_id"] == value["message_id"] for t, v in known if t != DEFINED):
            return  # "a message_id already in the record changes nothing"
        later = overriding(known, topic, value)
        if later is not None:
            record.overridden[value["message_id"]] = later
        self._said.append((topic, value))
        if topic == REASSIGNED:
            self._end_late(key, value)
        self._announce(key)

    def records(self) -> dict[str, Value]:
        """Every record as it stands now."""
        return {"/".join(key): self._state(key) for key in self._records}

    def _define(self, value: Value) -> None:
        """Domain: "stale_definition: a lower or equal version" is ignored; else every record of the course is decided again."""
        course = (value["tenant_id"], value["course_id"])
        versions = [v["version"] for t, v in self._said if t == DEFINED and (v["tenant_id"], v["course_id"]) == course]
        if value["version"] > max(versions, default=0):
            self._said.append((DEFINED, value))
            for key in self._records:
                if (key[0], key[2]) == course:
                    self._announce(key)

    def _known(self, key: tuple[str, str, str]) -> list[Said]:
        """Everything known that concerns one record, in order of arrival."""
        return [
            (t, v)
            for t, v in self._said
            if (v["tenant_id"], v["course_id"]) == (key[0], key[2]) and (t == DEFINED or v["learner_id"] == key[1])
        ]

    def _end_late(self, key: tuple[str, str, str], value: Value) -> None:
        """Domain: "A late reassignment that falls before a completion already announced" is weighed once, when it arrives."""
        known, late = self._known(key), fact_key(REASSIGNED, value)
        for entry in self._records[key].remembered(known):
            if late < entry.key and not is_history(known, late, value, entry.key):
                entry.split[value["message_id"]] = stands(known, self._records[key])

    def _announce(self, key: tuple[str, str, str]) -> None:
        """Remember the completion and the certificate of the present attempt; earlier attempts announce nothing."""
        known, record = self._known(key), self._records[key]
        if not definition_items(known):
            return  # "facts are kept and decided when the definition arrives"
        present = recount(known, record.overridden, record.remembered(known)).standing[-1]
        done = present.completion
        if done is not None and done.memory is not None:
            done.memory.certificate = done.certificate
            if present.began != done.memory.home:
                done.memory.split.setdefault(present.began, True)  # it stands in this attempt, too
        elif done is not None:
            entry = Announced(done.key, done.via, done.rule, present.began, len(known), done.certificate)
            record.announced.append(entry)

    def _state(self, key: tuple[str, str, str]) -> Value:
        """The record, counted from the beginning."""
        known, record = self._known(key), self._records[key]
        attempt = attempt_number(known)
        if not definition_items(known):
            return {"attempt": attempt, "steps": {}, "course": course_state(None, None), "certificate": "none"}
        count = recount(known, record.overridden, record.remembered(known))
        done = count.standing[-1].completion
        steps = {
            step_id: {"percent": s.percent, "complete": s.complete}
            for step_id, s in steps_of(count.line, count.definitions).items()
            if s.percent or s.complete
        }
        certificate = "issued" if done is not None and done.certificate else "none"
        return {"attempt": attempt, "steps": steps, "course": course_state(done, count), "certificate": certificate}


def attempt_number(said: list[Said]) -> int:
    """ "1 plus the number of reassignments known and of withdrawals that took effect" (once per reassignment)."""
    return 1 + sum(topic == REASSIGNED for topic, _ in said) + len(withdrawn_ids(said))


def course_state(done: Completion | None, count: Recount | None) -> Value:
    """Status, via, completed_at, evidence, expires_at."""
    if done is None or count is None:
        return {
            "status": "incomplete",
            "completed_via": None,
            "completed_at": None,
            "evidence": None,
            "expires_at": None,
        }
    until = (done.key[0], 9, "", 0)
    return {
        "status": "completed",
        "completed_via": done.via,
        "completed_at": done.key[0],
        "evidence": evidence(count, until) if done.via == "steps" else None,
        "expires_at": expiry(done.key[0], in_force(count.definitions, until)),
    }


def evidence(count: Recount, until: Key) -> str:
    """Domain: "The required steps, thresholds and schedule of the definition in force at completed_at, applied to what is
    said of the steps today": everything counted as if no definition had followed that one.
    """
    earned = [d for d in count.definitions if d.key <= until] or count.definitions[:1]
    return "held" if satisfied(earned[-1].value, steps_of(count.line, earned)) else "withdrawn"
