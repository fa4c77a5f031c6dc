"""What a lane needs of the world: a log (Kafka) and a store (MongoDB), and the values that cross these borders.

Topics are named by the catalogue, without the configured prefix. An offset map has, for every topic of the lane, the
offset of the next message; `start <= offset < end` are a batch's messages.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from contracts.headers import Headers
from rules.values import Change, Instant, Record
from rules.window import Past
from service.lanes.bounds import HEADER_BYTES, HEADERS, MESSAGE_BYTES
from service.lanes.packed import Packed
from service.lanes.progress import Offsets, Progress


class Received(Struct, frozen=True, gc=False):
    """A Kafka record as it came."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970, as the broker has it."""
    key: bytes | None
    value: bytes | None
    headers: Headers
    unread_bytes: int = 0
    """Not 0: so long is a message of which nothing but the key was read."""

    @property
    def size_bytes(self) -> int:
        """What of it is in memory."""
        return self._said_bytes + HEADER_BYTES * len(self.headers)

    @property
    def _said_bytes(self) -> int:
        of_headers = sum(len(name) + len(value or b"") for name, value in self.headers) if self.headers else 0
        return len(self.key or b"") + len(self.value or b"") + of_headers

    @property
    def is_too_long(self) -> bool:
        """Beyond what Kafka takes as a dead letter or a rerouted message, or what is carried along."""
        return self.unread_bytes > 0 or self._said_bytes > MESSAGE_BYTES or len(self.headers) > HEADERS


class Outbound(Struct, frozen=True, gc=False):
    """A Kafka record to be sent. `partition` None: where the key belongs."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None


class Pending(Struct, frozen=True, gc=False, array_like=True):
    """A change with the position of the message that caused it, kept until that position is committed."""

    topic: str
    partition: int
    offset: int
    change: Change
    traceparent: bytes | None


class Place(NamedTuple):
    """Of a message."""

    topic: str
    partition: int
    offset: int


class StoredRecord(Struct, frozen=True, gc=False):
    """A record with its revision (0: not stored yet), its decisions, and what of it may still have to go out."""

    key: str
    rev: int
    record: Record
    pending: tuple[Pending, ...] = ()
    decisions: bytes = b""
    """Packed (service.lanes.packed): those of the facts that the record has, and of definitions."""
    asked: Mapping[str, int] = {}
    """By `topic/partition`, the offset of the last request to decide it again that has been dealt with.

    A fact that comes again is known; a request would count again, with a change at a position long committed: one that
    a worker paused past its session still stores, and that nobody publishes.
    """
    decided_at: Instant = 0
    """Of the newest decision."""
    restated: Place | None = None
    """Of the last message that changed where the record stands without a change to be announced: its state goes out
    with that message.
    """


class History(NamedTuple):
    """What has moved out of a record, by message id: all of it (`whole`), or what was asked for.

    `rev`: the newest revision of the record that any of it moved out of. Whoever has loaded an older one was overtaken.
    """

    past: Mapping[str, Past] = {}
    decisions: Mapping[str, Packed] = {}
    whole: bool = False
    rev: int = 0


class Page(Struct, frozen=True, gc=False):
    """Facts that move together out of the record with this key, as they stand in its stored revision."""

    key: str
    rev: int
    past: tuple[Past, ...]
    decisions: bytes


class StoredDefinition(Struct, frozen=True, gc=False, array_like=True):
    """One version of a course as it was sent; `content` is its JSON without message_id and changed_at."""

    version: int
    message_id: str
    changed_at: Instant
    content: str


class StoredCourse(Struct, frozen=True, gc=False):
    """A course's versions, oldest first, and how far its records are decided again under the newest.

    `sweeping`: some may still carry an older version. They are decided again only under a version that is released,
    because it completes and certifies no more learners than its caps, or because an administrator says so.
    """

    key: str
    rev: int
    lane: int
    versions: tuple[StoredDefinition, ...] = ()
    sweeping: bool = False
    released: int = 0
    """The newest version under which records may be decided again."""
    would_complete: int = 0
    """Not 0: the newest version is paused, because it would complete at least so many learners."""
    would_certify: int = 0
    """Not 0: likewise, because it would issue at least so many certificates."""

    @property
    def newest(self) -> StoredDefinition:
        """The newest version; a stored course has one."""
        return self.versions[-1]

    @property
    def size_bytes(self) -> int:
        """Of all its versions."""
        return sum(len(version.content.encode()) for version in self.versions)

    @property
    def is_released(self) -> bool:
        return bool(self.versions) and self.released >= self.newest.version

    @property
    def is_paused(self) -> bool:
        return self.would_complete > 0 or self.would_certify > 0


class Handed(NamedTuple):
    """What Kafka hands over to a lane in one go: where its topics stood before and stand now, and what lay between.

    Of the offsets from `start` to `end`, those that are in no message hold nothing that can be read: Kafka says so.
    """

    start: Offsets
    end: Offsets
    messages: Mapping[str, Sequence[Received]]


class Records(Protocol):
    """Learners' records, and what of them has moved to their history."""

    async def load(self, keys: Iterable[str]) -> dict[str, StoredRecord]:
        """Those that exist, by key."""

    async def save(self, records: Sequence[StoredRecord]) -> bool:
        """Compare-and-set each on its revision, then raise it. New ones are stored only of learners not erased.

        False: at least one missed. The others are stored, but for new ones, of which perhaps none is.
        """

    async def erased(self, keys: Iterable[str]) -> set[str]:
        """Those whose learner was erased: no record with this key will ever be stored again."""

    async def history(self, asked: Mapping[str, Collection[str] | None]) -> dict[str, History]:
        """What has moved out of each of these records: the facts asked for, or with None all of them.

        Of a fact that has moved away twice, what the newest revision said.
        """

    async def save_history(self, pages: Sequence[Page]) -> None:
        """Keep what moves away, before the records that do without it are saved. The same page again is nothing new."""

    async def behind(self, course_key: str, version: int, in_progress: bool, after: str, limit: int) -> list[str]:
        """Keys, in order and greater than `after`, of the course's records under an older version, of one kind."""

    async def count_behind(self, course_key: str, version: int) -> int:
        """How many `behind` gives on all its pages."""


class Courses(Protocol):
    """The versions of courses, and how far records are decided again under the newest."""

    async def load(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        """Those that exist, by key. Raises TakeLess where several have more than COURSES_BYTES together."""

    async def save(self, course: StoredCourse) -> bool:
        """Compare-and-set on the revision, then raise it. False: missed."""

    async def newest_versions(self, keys: Iterable[str]) -> dict[str, tuple[int, Instant]]:
        """The newest version, and its changed_at, of those whose newest version is released, by key.

        Where it is released later than this is read, the sweep that follows finds every record stored before.
        """

    async def to_sweep(self, lane: int) -> list[str]:
        """Keys of the lane's courses whose records may still carry an older version, paused ones too."""


class Notes(Protocol):
    """Where lanes stood when they were last idle, for the day on which Kafka has forgotten it."""

    async def committed(self, lane: int) -> Offsets:
        """What was noted; empty where nothing was."""

    async def note(self, lane: int, committed: Offsets) -> None:
        """Note it, unless somebody has noted more: offsets only rise."""


class Skip(Struct, frozen=True):
    """Somebody has decided to go past a batch that cannot be read. `at`: microseconds since 1970."""

    by: str
    reason: str
    at: Instant


class Skips(Protocol):
    """What may be skipped."""

    async def wanted(self, topic: str, partition: int, offset: int) -> Skip | None:
        """Whether the batch that begins there may be."""


class Store(Protocol):
    """Records, courses and notes. Every method raises WaitAndRetry when the database is away.

    What a method has written is durable (majority, journaled) when it returns; what it reads is majority-committed.
    """

    @property
    def records(self) -> Records:
        """Learners' records."""

    @property
    def courses(self) -> Courses:
        """Course definitions."""

    @property
    def notes(self) -> Notes:
        """What is kept about lanes."""

    @property
    def skips(self) -> Skips:
        """Batches that may be skipped."""

    async def check(self) -> None:
        """Ask for a sign of life."""


class Log(Protocol):
    """One lane's view of Kafka. The asynchronous methods raise WaitAndRetry, `publish` also LaneLost."""

    async def fence(self) -> None:
        """Start a new transactional producer: an earlier owner can publish no more, its open transaction is ended."""

    async def committed(self, fallback: Offsets) -> Progress:
        """What the group has done; where nothing is committed, the fallback; without that, the topic's beginning.

        Only who has fenced the lane may ask.
        """

    async def end(self) -> dict[str, int]:
        """By topic, the offset after the last message that can be read."""

    def open(self, start: Offsets) -> None:
        """Hand over messages from these offsets on."""

    def close(self) -> None:
        """Hand over nothing more, until it is opened again."""

    async def read(self) -> Handed:
        """Wait for messages, a moment at most. Raises Unreadable; after any error the log must be opened anew.

        Goes on where the last one ended, or where it was opened; the caller makes sure of it (Inbox.add).
        """

    def is_owned(self) -> bool:
        """Whether the group still gives this lane to this worker."""

    async def beginning(self) -> dict[str, int]:
        """By topic, the first offset that it still has: what was before it has been deleted and never comes."""

    async def unread(self) -> int:
        """How many offsets could be read that have not been handed over yet. An open transaction ends what can."""

    async def publish(self, messages: Iterable[Outbound], done: Progress) -> None:
        """Messages, and what is done with them, in one transaction, every send awaited before the commit."""

    async def send(self, topic: str, messages: Iterable[Outbound]) -> dict[int, int]:
        """At least once, outside any transaction, all to one topic. Gives the last offset in each partition."""

    async def has_dealt_with(self, topic: str, sent: Mapping[int, int]) -> bool:
        """Whether the group has committed more than what `send` gave."""

    async def discard(self) -> None:
        """Give the producer up, whatever state it is in."""
