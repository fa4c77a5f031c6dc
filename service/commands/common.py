"""What the commands have in common: errors as one line and an exit status, JSON or a table."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.progress import Progress, ProgressColumn

from service import logs
from service.errors import FixConfiguration, RestartProcess, WaitAndRetry
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from service.store_mongo import MongoStore

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


def run(work: Callable[[Settings], Coroutine[Any, Any, Answer]], logged: bool = False) -> Answer:
    """Do the work with the settings from the environment."""
    with reported():
        settings = load_settings()
        if logged:
            logs.configure(settings.log_level)
        else:
            logs.silence()
        return uvloop.run(work(settings))


@asynccontextmanager
async def open_store(settings: Settings) -> "AsyncIterator[MongoStore]":
    """The store, while the context lasts. Raises FixConfiguration when the database does not answer in time."""
    from service.app import checked_store
    from service.store_mongo import MongoStore

    store = await checked_store(settings, MongoStore.check)
    try:
        yield store
    finally:
        await store.close()


def console() -> Console:
    """As wide as the terminal; where there is none, wide enough that nothing is cut."""
    return Console() if sys.stdout is not None and sys.stdout.isatty() else Console(width=160)


def progress(*columns: ProgressColumn) -> Progress:
    """A bar on standard error, where a terminal shows it."""
    shown = Console(stderr=True)
    return Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal)
