"""The clients, as data; and those of them that run on this machine."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.interop.program import Refused, Running
from tests.stack.build import Program, built, python
from tests.stack.servers import NotAvailable


class Client(NamedTuple):
    """A client. `cannot`: which of messages.HEADERS it cannot send, and why."""

    program: Callable[[], Program]
    usual_codec: str
    cannot: Mapping[str, str] = {}
    left_out: str = ""
    """What of it does not run here, and why."""


CLIENTS = {
    "librdkafka": Client(lambda: python("tests.interop.librdkafka"), "snappy"),
    "Java": Client(lambda: built("interop/java"), "zstd"),
    "kafkajs": Client(
        lambda: built("interop/node"),
        "gzip",
        {"no value": "kafkajs refuses a header whose value is null"},
        "@kafkajs/zstd and kafkajs-lz4 want a C++ compiler, and the former does not compile with Node.js 20; lz4 and "
        "zstd are from packages that bring theirs compiled",
    ),
    "franz-go": Client(lambda: built("interop/go", "franz-go"), "snappy"),
    "sarama": Client(lambda: built("interop/go", "sarama"), "lz4"),
}


class There(NamedTuple):
    """What of it runs here."""

    running: Mapping[str, Running]
    about: Mapping[str, Mapping[str, str]]
    """What each says of itself."""
    missing: Mapping[str, str]
    """Why the others do not."""
    details: Mapping[str, str]
    """What was said when they were built."""


@contextmanager
def start(folder: Path) -> Iterator[There]:
    """All that can be had, while the context lasts."""
    running: dict[str, Running] = {}
    about, missing, details = {}, {}, {}
    try:
        for name, client in CLIENTS.items():
            try:
                running[name] = Running(client.program(), folder / f"{name}.log")
                about[name] = running[name].ask("about")
            except (NotAvailable, Refused) as error:
                missing[name], details[name] = error.args[0], ": ".join(error.args)
                if name in running:
                    running.pop(name).close()
        yield There(running, about, missing, details)
    finally:
        for program in running.values():
            program.close()
