"""What goes out is what the contracts say, whatever was decided."""

import json

from hypothesis import given

from contracts.outbound import CourseCompletionChanged, RecordState, StepCompletionChanged
from rules.values import Fact, StepChange, Timeline
from service.lanes.outgoing import outbound, state_of
from service.lanes.ports import StoredRecord
from tests.rules.test_properties import arrive, facts, timelines


@given(facts(), timelines())
def test_changes_are_written_as_the_models_would(arriving: list[Fact], known: Timeline) -> None:
    for change in arrive(arriving, known)[1]:
        out = outbound("acme/l-1/c-1", change, None)
        assert out.value is not None
        model = StepCompletionChanged if isinstance(change.what, StepChange) else CourseCompletionChanged
        message = model.model_validate_json(out.value)
        assert json.loads(message.model_dump_json()) == json.loads(out.value)
        assert dict(out.headers)["ce_id"] == message.message_id.encode()
        assert (
            out.topic
            == f"completion.{'step' if isinstance(change.what, StepChange) else 'course'}-completion-changed.v1"
        )


@given(facts(), timelines())
def test_states_are_written_as_the_model_would(arriving: list[Fact], known: Timeline) -> None:
    record = arrive(arriving, known)[0]
    out = state_of(StoredRecord("acme/l-1/c-1", 1, record, decided_at=1_800_000_000_000_001), known)
    message = RecordState.model_validate_json(out.value or b"")
    assert json.loads(message.model_dump_json()) == json.loads(out.value or b"")
    assert [step.step_id for step in message.steps] == [s.step_id for s in record.standing.steps.values() if s.kind]
    assert (message.status, message.sequence) == (record.standing.course.status, record.sequence)
    assert dict(out.headers)["ce_time"] == b"2027-01-15T08:00:00.000001Z"
