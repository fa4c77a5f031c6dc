"""`/livez`, `/readyz` and `/metrics`, in the worker's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.errors import FixConfiguration
from service.lanes.health import Health
from service.settings import Settings

AskHealth = Callable[[], Awaitable[Health]]


def make_app(health: AskHealth) -> Starlette:
    """Alive: the event loop answers. Ready: see service.lanes.health.

    A flood of dead letters and courses that wait for their release are told of, but do not make it less ready.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        told = await health()
        body = {
            "ready": told.ready,
            "outages": told.outages,
            "dead_letters": told.dead_letters._asdict(),
            "lanes": [lane._asdict() for lane in told.lanes],
            "topics": told.topics,
            "hanging_transactions": [transaction._asdict() for transaction in told.hanging_transactions],
        }
        return JSONResponse(body, 200 if told.ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


@contextlib.asynccontextmanager
async def serve_health(settings: Settings, health: AskHealth) -> AsyncIterator[int]:
    """Listen while the context lasts; gives the port. Raises FixConfiguration where the address is not to be had."""
    try:
        family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
        listening = socket.create_server((settings.http_host, settings.http_port), family=family)
    except OSError as error:
        raise FixConfiguration(
            f"RATCHET_HTTP_HOST, RATCHET_HTTP_PORT: cannot listen on {settings.http_host}:{settings.http_port}: "
            f"{error.strerror}"
        ) from None
    server = uvicorn.Server(uvicorn.Config(make_app(health), log_config=None, access_log=False, lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # ours are app.py's
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
