"""Decisions as they are stored: one behind the other, each with its length before it, opened only by who explains them.

Deciding never reads an earlier decision, and they are most of a record: so they are carried along as bytes.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct, msgpack

from rules.values import Decision

LENGTH_BYTES = 4


class Packed(Struct, frozen=True, gc=False, array_like=True):
    """A decision, and whether it followed from a definition instead of a fact."""

    decision: Decision
    of_definition: bool

    @property
    def message_id(self) -> str:
        return self.decision.message_id


_pack = msgpack.Encoder().encode
_unpack = msgpack.Decoder(Packed).decode


def pack(decisions: Iterable[Packed]) -> bytes:
    """Packs are put together by adding them."""
    packed = map(_pack, decisions)
    return b"".join(len(one).to_bytes(LENGTH_BYTES) + one for one in packed)


def unpack(packed: bytes) -> Iterator[Packed]:
    """The inverse of `pack`."""
    view, begin = memoryview(packed), 0
    while begin < len(packed):
        body = begin + LENGTH_BYTES
        begin = body + int.from_bytes(view[begin:body])
        yield _unpack(view[body:begin])
