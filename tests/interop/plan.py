"""Which cells there are: client, codec and mode in topics that are configured in one way or another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.interop.clients import CLIENTS

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
MODES = ("plain", "idempotent", "commit", "abort", "open")
TIMESTAMPS = ("CreateTime", "LogAppendTime")
COMPRESSIONS = ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd")


class Topics(NamedTuple):
    """`message.timestamp.type` and `compression.type` of every topic of a world."""

    timestamps: str
    compression: str

    def codec(self, of_producer: str) -> str:
        """What is in the log."""
        return {"producer": of_producer, "uncompressed": "none"}.get(self.compression, self.compression)

    def __str__(self) -> str:
        return f"{self.timestamps}, compression.type={self.compression}"


class Cell(NamedTuple):
    """A client that compresses with a codec and sends in a mode."""

    client: str
    codec: str
    mode: str

    @property
    def name(self) -> str:
        """Part of the ids of its learners."""
        return "-".join(self).lower()


USUAL, *OTHERS = (Topics(timestamps, compression) for timestamps in TIMESTAMPS for compression in COMPRESSIONS)
Plan = Mapping[Topics, Sequence[Cell]]


def whole() -> Plan:
    """Every client with every codec in every mode; in topics of each other kind every client with every codec.

    There the modes take turns, so that any two of client, codec, mode, and kind of topics meet.
    """
    every = [(client, codec) for client in CLIENTS for codec in CODECS]
    plan = {USUAL: [Cell(client, codec, mode) for client, codec in every for mode in MODES]}
    for turn, topics in enumerate(OTHERS):
        plan[topics] = [Cell(client, codec, _mode(turn, client, codec)) for client, codec in every]
    return plan


def _mode(turn: int, client: str, codec: str) -> str:
    return MODES[(turn + list(CLIENTS).index(client) + CODECS.index(codec)) % len(MODES)]


def short() -> Plan:
    """Every client with the codec that is usual there, in every mode, once."""
    return {USUAL: [Cell(name, client.usual_codec, mode) for name, client in CLIENTS.items() for mode in MODES]}
