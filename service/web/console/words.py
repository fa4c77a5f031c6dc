"""Facts, steps and changes in the reader's words, from what programs are told."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from contracts.fields import format_timestamp
from rules.explain import Reason, Told
from rules.values import Change, Course, CourseChange, Fact, Shown, Step, StepChange
from service.web.console.render import Reader


class Words:
    """Of one reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._t = reader.t

    def what(self, fact: Fact | None) -> str:
        """What happened. None: a new course definition."""
        if fact is None:
            return self._t("fact.definition")
        value, kind = fact.value, fact.kind
        names = {"step": fact.step_id, "reassignment": fact.withdraws}
        if kind == "reassigned" and fact.keeps:
            return self._t("fact.reassigned_keeping")
        if kind == "granted":
            return self._t(f"fact.granted_{fact.certificate or 'as_awarded'}")
        if value is None or value.unit == "granted":
            return self._t(f"fact.{kind}{'_step' if value is not None else ''}", **names)
        session = "" if fact.session_id is None else self._t("fact.session", session=fact.session_id)
        unit = f"not_{value.unit}" if value.unit == "attended" and not value.amount else value.unit
        said = self._t(f"value.{unit}", amount=value.amount)
        return self._t(f"fact.{kind}", step=fact.step_id, session=session, said=said)

    def details(self, fact: Fact | None) -> list[tuple[str, str | Markup]]:
        """Who said so, in which upload, why: name and value."""
        if fact is None:
            return []
        said = [(name, self._known("source", value) if name == "source" else value) for name, value in fact.details]
        found: list[tuple[str, str | Markup]] = [(self._t(f"detail.{name}"), value) for name, value in said]
        if fact.due_at is not None:
            found.append((self._t("detail.due_at"), self._reader.time(format_timestamp(fact.due_at))))
        return found

    def because(self, reasons: Sequence[Reason]) -> list[tuple[str, str]]:
        """Rule and its sentence."""
        return [(one.rule_id, self.sentence(one.rule_id, one.because)) for one in reasons]

    def sentence(self, rule_id: str, because: str) -> str:
        """Of a rule: the table's own, unless the catalogue has it in this language."""
        name = f"because.{rule_id}"
        return self._t(name) if self._reader.has(name) else because

    def effects(self, text: str) -> str:
        """What becomes of a record, as results say it."""
        return "; ".join(self._known("effect", one) for one in text.split("; ")) if text else ""

    def cell(self, text: str) -> str:
        """A condition or an effect of a rule: the table's own words, unless the catalogue has them in this language."""
        return ", ".join(self._known("cell", one) for one in text.split(", "))

    def about(self, about: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What a change was about: name and value."""
        said = ((name, value) for name, value in about.items() if value not in (None, [], ""))
        return [(self._known("about", name), self._value(name, value)) for name, value in said]

    def _value(self, name: str, value: Any) -> str:
        spelled = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return self._known(name, spelled) if name in ("kind", "reason") else spelled

    def _known(self, group: str, word: str) -> str:
        name = f"{group}.{word}"
        return self._t(name) if self._reader.has(name) else word

    def step(self, shown: Step | Shown | None) -> str:
        """How a step stands."""
        if shown is None:
            return self._t("step.none")
        state = self._t("step.complete" if shown.complete else "step.incomplete")
        waits = f", {self._t('step.unresolved')}" if shown.unresolved else ""
        return f"{shown.percent} %, {state}{waits}"

    def step_standing(self, step: Step) -> str:
        """How a step of a record stands; one without a kind is in no definition yet."""
        return self._t("step.waits") if step.kind is None else self.step(step)

    def course(self, course: Course | None) -> str:
        """How the course stands."""
        if course is None or course.completed_via is None:
            return self._t("course.incomplete")
        evidence = "" if course.evidence is None else f", {self._t(f'evidence.{course.evidence}')}"
        return f"{self._t(f'course.completed_{course.completed_via}')}{evidence}"

    def change(self, change: Change) -> str:
        """What was announced."""
        return f"#{change.sequence} {self._announced(change.what)}"

    def _announced(self, what: StepChange | CourseChange) -> str:
        if isinstance(what, StepChange):
            turned = what.complete != what.previously_complete
            became = f", {self._t('step.complete' if what.complete else 'step.incomplete')}" if turned else ""
            return f"{self._t('change.step', step=what.step_id)}: {what.previous_percent} → {what.percent} %{became}"
        stays = what.was_completed == (what.course.completed_via is not None)
        told = self._t("change.course_stays" if stays else "change.course", course=self.course(what.course))
        action = what.certificate_action
        return told if action == "none" else f"{told}, {self._t(f'certificate.{action}')}"

    def entry(self, told: Told) -> dict[str, Any]:
        """One entry of a timeline, as the page shows it."""
        return {
            "message_id": told.message_id,
            "changed_at": format_timestamp(told.changed_at),
            "decided_at": None if told.decided_at is None else format_timestamp(told.decided_at),
            "what": self.what(told.fact),
            "details": self.details(told.fact),
            "because": self.because(told.reasons),
            "step": self._turned(told.step_before, told.step_after, self.step) if told.step_after else None,
            "course": self._turned(told.course_before, told.course_after, self.course) if told.course_after else None,
            "announced": [self.change(change) for change in told.announced],
        }

    @staticmethod
    def _turned(before: Any, after: Any, spell: Any) -> tuple[str, str]:
        return spell(before), spell(after)
