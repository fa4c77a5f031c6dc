"""What the example services rely on holds for every change that the golden scenarios bring; states, end to end."""

import copy

import pytest

from contracts.topics import TOPICS
from tests.contracts.pacts import broken, relied_on
from tests.scenarios import SCENARIOS
from tests.scenarios.test_scenarios import BY_SHORT, fold


def test_every_change_of_the_scenarios_is_as_they_rely_on() -> None:
    checked = 0
    for scenario in SCENARIOS:
        for changes in fold(scenario).changes.values():
            for short, value in changes:
                assert broken(BY_SHORT[short].name, value) == [], scenario.name
                checked += 1
    assert checked > 200


def test_both_services_say_what_they_rely_on_of_topics_that_there_are() -> None:
    names = {topic.name for topic in TOPICS if topic.direction == "out"}
    assert relied_on().keys() <= names
    assert {who for services in relied_on().values() for who, _ in services} == {"certificates", "reporting"}


@pytest.mark.parametrize(
    ("path", "wrong", "told"),
    [
        (("certificate", "action"), "issued", 'certificates: $.certificate.action is "issued"'),
        (("sequence",), "2", 'certificates: $.sequence is "2"'),
        (("completed_at",), "2026-03-01", 'certificates: $.completed_at is "2026-03-01"'),
        (("certificate",), None, "certificates: $.certificate is null"),
        (("learner_id",), ..., "certificates: $.learner_id is missing"),
    ],
)
def test_what_breaks_them_is_told(path: tuple[str, ...], wrong: object, told: str) -> None:
    values = (value for one in SCENARIOS for changes in fold(one).changes.values() for value in changes)
    value = copy.deepcopy(next(value for short, value in values if short == "course-completion-changed"))
    *above, name = path
    part = value
    for step in above:
        part = part[step]
    if wrong is ...:
        del part[name]
    else:
        part[name] = wrong
    assert broken("completion.course-completion-changed.v1", value) == [told]
