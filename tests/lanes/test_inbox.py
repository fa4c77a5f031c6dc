"""Batches are cut so that each message is taken once, a record's in order; others overtake one that has too many."""

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.lanes.bounds import Bounds
from service.lanes.inbox import Batch, Inbox
from service.lanes.ports import Handed, Received
from service.lanes.progress import Progress, is_done, offsets_of, read_done, up_to
from service.lanes.waiting import WAITING_RECORDS
from service.settings import Settings

TOPICS = ("a", "b")
BOUNDS = Bounds(**Settings().model_dump(include=set(Bounds._fields)))
Log = dict[str, list[Received]]


def bounds(batch_messages: int, share: int) -> Bounds:
    """With these."""
    return BOUNDS._replace(batch_messages=batch_messages, new_facts_per_record=share)


def log_of(said: Sequence[tuple[str, str]]) -> Log:
    """Messages by topic, in order of the time at which they were sent; offsets have holes."""
    log: Log = {topic: [] for topic in TOPICS}
    for time, (topic, key) in enumerate(said):
        offset = 2 * len(log[topic])
        log[topic].append(Received(topic, 0, offset, time, key.encode() if key else None, b"", ()))
    return log


def hand_over(inbox: Inbox, log: Log, most: int = 10**9) -> None:
    """Everything that comes next, or so much of each topic."""
    start = dict(inbox.handed_over)
    messages = {topic: [one for one in log[topic] if one.offset >= start[topic]][:most] for topic in TOPICS}
    end = {topic: some[-1].offset + 1 if some else start[topic] for topic, some in messages.items()}
    inbox.add(Handed(start, end, messages))


def keys_of(batch: Batch) -> list[str]:
    return [(message.key or b"").decode() for message in batch.messages]


def test_a_batch_is_about_so_many_records_however_often_they_are_spoken_of() -> None:
    log = log_of([("a", key) for key in ("x", "y", "x", "x", "z", "y", "z")])
    inbox = Inbox(up_to(dict.fromkeys(TOPICS, 0)), bounds(100, 50)._replace(batch_records=2), 100)
    hand_over(inbox, log)
    assert keys_of(inbox.next_batch()) == ["x", "y", "x", "x"]
    assert keys_of(inbox.next_batch()) == ["z", "y", "z"]
    assert not len(inbox)


def test_others_overtake_a_record_that_has_more_than_its_share() -> None:
    log = log_of([*[("a", "hot")] * 50, ("a", "x"), ("b", "y"), ("a", "hot"), ("a", "z")])
    inbox = Inbox(up_to(dict.fromkeys(TOPICS, 0)), bounds(100, 5), 100)
    hand_over(inbox, log)
    first = inbox.next_batch()
    assert keys_of(first) == ["hot"] * 5 + ["x", "y", "z"]
    assert offsets_of(first.end) == {"a": 10, "b": 1}, "the offset of the first that waits"
    log["a"].append(replace(log["a"][-1], offset=106))
    hand_over(inbox, log)
    assert keys_of(inbox.next_batch()) == ["hot"] * 5 + ["z"]
    assert keys_of(inbox.next_batch()) == ["hot"] * 25, "nobody else waits"
    last = inbox.next_batch()
    assert keys_of(last) == ["hot"] * 16
    assert last.end == up_to({"a": 107, "b": 1})
    assert not len(inbox)


def test_a_record_is_not_alone_where_others_have_no_place_in_the_batch() -> None:
    inbox = Inbox(up_to(dict.fromkeys(TOPICS, 0)), bounds(100, 5)._replace(batch_records=1), 100)
    hand_over(inbox, log_of([*[("a", "hot")] * 50, ("a", "x")]))
    assert keys_of(inbox.next_batch()) == ["hot"] * 5
    assert keys_of(inbox.next_batch()) == ["hot"] * 5


def test_who_takes_over_leaves_out_what_has_overtaken() -> None:
    log = log_of([*[("a", "hot")] * 9, ("a", "x"), ("a", "hot"), ("a", "y")])
    before = Inbox(up_to(dict.fromkeys(TOPICS, 0)), bounds(100, 4), 100)
    hand_over(before, log)
    assert keys_of(before.next_batch()) == [*["hot"] * 4, "x", "y"]
    told = {topic: read_done(done.offset, done.metadata) for topic, done in before.next_batch().start.items()}
    after = Inbox(told, bounds(100, 4), 100)
    assert after.handed_over == {"a": 8, "b": 0}
    hand_over(after, log, most=2)
    batch = after.next_batch()
    assert [message.offset for message in batch.messages] == [8, 10]
    assert is_done(batch.end, "a", b"x", 18), "known from the earlier owner, though not read again yet"
    hand_over(after, log)
    assert [message.offset for message in after.next_batch().messages] == [12, 14, 16, 20]


def test_metadata_of_somebody_else_says_nothing() -> None:
    for metadata in ("", "x", "[]", "null", '{"end": 9}', '{"end": 9, "waiting": {"k": 4}}', '{"end": "x"}'):
        assert read_done(3, metadata) == up_to({"a": 3})["a"]


def test_as_many_records_wait_as_can_be_told_of() -> None:
    said = [("a", f"hot-{number}") for _ in range(3) for number in range(WAITING_RECORDS + 5)]
    inbox = Inbox(up_to(dict.fromkeys(TOPICS, 0)), bounds(1000, 1), 100)
    hand_over(inbox, log_of(said))
    taken = []
    while len(inbox):
        batch = inbox.next_batch()
        assert len(batch.end["a"].metadata) <= 4096 / 2
        taken += keys_of(batch)
    assert sorted(taken) == sorted(key for _, key in said)


def test_what_is_dropped_is_known_and_read_again() -> None:
    log = log_of([*[("a", "hot")] * 40, ("a", "x")])
    inbox = Inbox(up_to(dict.fromkeys(TOPICS, 0)), bounds(10, 2), 3)
    for _ in range(60):
        if not inbox.is_full:
            hand_over(inbox, log, most=20)
        batch = inbox.next_batch()
        assert len(inbox) <= 25
        if inbox.must_read_again:
            break
    assert inbox.lag_messages > 0
    assert is_done(batch.end, "a", b"x", 80)
    assert not is_done(batch.end, "a", b"hot", batch.end["a"].offset)
    again = Inbox(batch.end, bounds(100, 100), 3)
    hand_over(again, log)
    rest = again.next_batch()
    assert keys_of(rest) == ["hot"] * ((80 - batch.end["a"].offset) // 2)
    assert rest.end == up_to({"a": 81, "b": 0})


SAID = st.lists(
    st.tuples(st.sampled_from(TOPICS), st.sampled_from(["h", "h", "h", "i", "x", "y", ""])), min_size=20, max_size=80
)
ACTS = st.lists(
    st.tuples(st.sampled_from(["read", "read", "cut", "cut", "restart", "reach"]), st.integers(0, 20)),
    min_size=10,
    max_size=40,
)


class Lane:
    """Owners of a lane, one after the other; each commits what it takes."""

    def __init__(self, log: Log, batch_messages: int, batch_records: int, share: int, keep_shares: int) -> None:
        self.log = log
        self.taken: list[Received] = []
        self._made = bounds(batch_messages, share)._replace(batch_records=batch_records), keep_shares
        self._progress: Progress = up_to(dict.fromkeys(TOPICS, 0))
        self._inbox = Inbox(self._progress, *self._made)

    def restart(self, amount: int) -> None:
        """Somebody else takes the lane over; or, with 0, its owner does again if it must."""
        if amount or self._inbox.must_read_again:
            told = {topic: read_done(done.offset, done.metadata) for topic, done in self._progress.items()}
            self._inbox = Inbox(told, *self._made)

    def read(self, amount: int) -> None:
        """So much of each topic."""
        if not self._inbox.is_full:
            hand_over(self._inbox, self.log, amount)

    def cut(self, _: int) -> None:
        """The next batch."""
        self._take(self._inbox.next_batch())

    def reach(self, amount: int) -> None:
        """What an earlier owner had come to with a record, as far as it is at hand."""
        messages = [message for topic in TOPICS for message in self.log[topic] if message.key]
        if not messages:
            return
        message = messages[amount % len(messages)]
        further = {(message.key or b"", message.topic): amount}
        if self._inbox.has_come_to(further) and not self._inbox.has_dropped(further):
            self._take(self._inbox.take(further))
            assert all(is_done(self._progress, message.topic, message.key, offset) for offset in range(amount))

    def _take(self, batch: Batch) -> None:
        assert batch.start == self._progress
        self.taken.extend(batch.messages)
        self._progress = batch.end
        for topic in TOPICS:
            for message in self.log[topic]:
                assert is_done(batch.end, topic, message.key, message.offset) == (message in self.taken)


@given(SAID, ACTS, st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_each_message_is_taken_once_and_a_record_s_in_order(
    said: list[tuple[str, str]],
    acts: list[tuple[str, int]],
    batch_messages: int,
    batch_records: int,
    share: int,
    keep_shares: int,
) -> None:
    """However much is read at a time, whoever takes over whenever, wherever an earlier owner had come to."""
    lane = Lane(log_of(said), batch_messages, batch_records, share, keep_shares)
    for act, amount in [*acts, *[("read", 9), ("cut", 0), ("restart", 0)] * 200]:
        getattr(lane, act)(amount)
    assert sorted(lane.taken, key=str) == sorted((one for topic in TOPICS for one in lane.log[topic]), key=str)
    in_order: dict[tuple[str, bytes | None], list[int]] = defaultdict(list)
    for message in lane.taken:
        in_order[message.topic, message.key].append(message.offset)
    assert all(offsets == sorted(offsets) for (_, key), offsets in in_order.items() if key is not None)
