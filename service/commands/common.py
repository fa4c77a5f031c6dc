"""What the commands have in common: errors as one line and an exit status, JSON or a table.

A command imports what it needs when it is called, so that the others, and `--help`, start quickly.
"""

import re
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from service.errors import FixConfiguration, RestartProcess, WaitAndRetry

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID
    from rich.table import Table

    from service.settings import Settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Answer = TypeVar("Answer")
NO, MEND, RESTART = 1, 2, 3
INTERRUPTED = 130


@contextmanager
def reported() -> Iterator[None]:
    """Errors that a person can do something about, as one line and an exit status."""
    try:
        yield
    except FixConfiguration as error:
        typer.echo(f"ratchet: {error}", err=True)
        raise typer.Exit(MEND) from None
    except (RestartProcess, WaitAndRetry) as error:
        typer.echo(f"ratchet: {error}", err=True)
        raise typer.Exit(RESTART) from None


def run(
    work: "Callable[[Settings], Coroutine[Any, Any, Answer]]",
    logged: bool = False,
    stopped: str = "",
    writes: object = "",
) -> Answer:
    """Do the work with the settings from the environment.

    `stopped`: what is said after Ctrl-C, which is raised where nothing is; `writes`: the file that the work writes.
    """
    from service import logs
    from service.settings import load_settings

    with reported():
        settings = load_settings()
        if logged:
            logs.configure(settings.log_level)
        else:
            logs.silence()
        try:
            return _run(work(settings), tls=settings.kafka_security_protocol.endswith("SSL"))
        except KeyboardInterrupt:
            if not stopped:
                raise
            typer.echo(f"ratchet: {stopped}", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if not writes:
                raise
            raise FixConfiguration(f"{error.filename or writes}: cannot be written: {error.strerror}") from None


def _run(work: "Coroutine[Any, Any, Answer]", *, tls: bool) -> Answer:
    """On uvloop, which takes less of the one core; but it takes half a minute to close a TLS connection to Kafka."""
    import asyncio

    if tls:
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def check_ids(**ids: str) -> None:
    """End the command where one of these, by the name of its argument or option, is no id."""
    from contracts.fields import ID_PATTERN

    for name, value in ids.items():
        if not re.fullmatch(ID_PATTERN, value):
            spelled = name if name.isupper() else f"--{name}"
            typer.echo(f"ratchet: {spelled}: {value!r} is not an id; ids match {ID_PATTERN}", err=True)
            raise typer.Exit(MEND)


def console() -> "Console":
    """As wide as the terminal; where there is none, wide enough that nothing is cut. It shows texts as they are."""
    from rich.console import Console

    width = None if sys.stdout is not None and sys.stdout.isatty() else 160
    return Console(width=width, markup=False, emoji=False, highlight=False)


def number_of(count: int, name: str) -> str:
    """So many of these."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def dead_letters(count: int) -> str:
    """What is said of messages that were refused; nothing where none was."""
    if not count:
        return ""
    does = "does not" if count == 1 else "do not"
    return f", {count:,} {does} count: dead letters (ratchet dead-letters list), or of learners who were erased"


def table(*headings: str, **options: Any) -> "Table":
    """An empty table."""
    from rich.table import Table

    return Table(*headings, **options)


def progress_bar() -> "Progress":
    """How many of how many, and for how long still."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return _progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def watched(bar: "Progress", what: str) -> "Callable[[int], None]":
    """Shows how many are left, once it is told for the first time."""
    tasks: list[TaskID] = []
    most = 0

    def tell(left: int) -> None:
        nonlocal most
        most = max(most, left)
        if not tasks:
            tasks.append(bar.add_task(f"{what} decided", total=most))
        bar.update(tasks[0], total=most, completed=most - left)

    return tell


def progress_count(what: str) -> "Progress":
    """How many so far, of nobody knows how many."""
    from rich.progress import SpinnerColumn, TextColumn

    return _progress(SpinnerColumn(), TextColumn(f"{{task.completed:,.0f}} {what}"))


def _progress(*columns: "ProgressColumn") -> "Progress":
    """On standard error, where a terminal shows it."""
    from rich.console import Console
    from rich.progress import Progress

    shown = Console(stderr=True)
    return Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal)
