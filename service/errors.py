"""Everything that can go wrong, named after what its reader must do."""


class FixConfiguration(Exception):
    """Stop and change what the message names: a setting, a topic, an address. Exit status 2."""


class WaitAndRetry(Exception):
    """The database or the broker is away or did not answer; nothing is lost. Retried in place."""


class RecordTooLarge(Exception):
    """A record would not fit into the store any more; the message says how large it is."""


class TakeLess(Exception):
    """So much cannot be had together: ask for some at a time."""


class Unreadable(WaitAndRetry):
    """A batch of messages in Kafka cannot be read. Its lane stands still until it can, or somebody skips it.

    `topic` is what Kafka calls it, prefix included.
    """

    def __init__(self, topic: str, partition: int, start: int, end: int, why: str) -> None:
        super().__init__(f"{topic} partition {partition}: offsets {start} to {end - 1} cannot be read: {why}")
        self.topic = topic
        self.partition = partition
        self.start = start
        self.end = end
        """The first offset behind the batch."""
        self.why = why


class LaneLost(Exception):
    """Another worker has taken the lane over. Close it quietly."""


class RestartProcess(Exception):
    """The process makes no progress and cannot help itself. Exit status 3, so that it is started again."""
