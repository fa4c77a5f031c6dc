"""An HTTP server in our own event loop, on an address that settings name."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from service.errors import FixConfiguration

STREAMS_END_SECONDS = 2
"""Once it stops, answers that would go on for ever have so long."""


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, host: str, port: int, setting: str, **options: Any) -> AsyncIterator[int]:
    """Listen while the context lasts; gives the port. Raises FixConfiguration where the address is not to be had.

    `setting`: what the names of the settings begin with, as RATCHET_HTTP.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        taken = socket.create_server((host, port), family=family)
    except OSError as error:
        raise FixConfiguration(
            f"{setting}_HOST, {setting}_PORT: cannot listen on {host}:{port}: {error.strerror}"
        ) from None
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=STREAMS_END_SECONDS,
        **options,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # ours are app.py's
    task = asyncio.create_task(server.serve(sockets=[taken]))
    try:
        yield taken.getsockname()[1]
    finally:
        server.should_exit = True
        await task
