"""What goes out is what the contracts say, whatever was decided."""

import json

from hypothesis import given, settings

from contracts.outbound import CourseCompletionChanged, StepCompletionChanged
from rules.values import Fact, StepChange, Timeline
from service.translate import stored_change
from tests.rules.test_properties import arrive, facts, timelines


@settings(max_examples=150)
@given(facts(), timelines())
def test_changes_are_written_as_the_models_would(arriving: list[Fact], known: Timeline) -> None:
    for change in arrive(arriving, known)[1]:
        stored = stored_change("acme/l-1/c-1", change, None)
        model = StepCompletionChanged if isinstance(change.what, StepChange) else CourseCompletionChanged
        message = model.model_validate_json(stored.value)
        assert json.loads(message.model_dump_json()) == json.loads(stored.value)
        assert stored.message_id == message.message_id
        assert (
            stored.topic
            == f"completion.{'step' if isinstance(change.what, StepChange) else 'course'}-completion-changed.v1"
        )
