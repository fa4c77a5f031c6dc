"""Confluent's wire format for schema registries: byte 0, the schema's id (4 bytes, big-endian), then the JSON."""

MAGIC = b"\0"
"""No JSON begins with it."""
FRAME_BYTES = 5


def frame(schema_id: int) -> bytes:
    """What stands before a value of this schema. Raises OverflowError for what is no id."""
    return MAGIC + schema_id.to_bytes(FRAME_BYTES - len(MAGIC), "big")


def split_frame(value: bytes) -> tuple[bytes, bytes]:
    """Frame and JSON; the frame is empty where there is none. Raises ValueError where it ends amid the frame."""
    if not value.startswith(MAGIC):
        return b"", value
    if len(value) < FRAME_BYTES:
        raise ValueError(f"begins with byte 0 and has {len(value)} bytes; a schema's id takes {FRAME_BYTES}, then JSON")
    return value[:FRAME_BYTES], value[FRAME_BYTES:]
