"""`/livez`, `/readyz` and `/metrics`, in the worker's own event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.errors import FixConfiguration
from service.lanes import Lanes
from service.settings import Settings

log = logging.getLogger(__name__)


def make_app(lanes: Lanes) -> Starlette:
    """Alive: the event loop answers. Ready: the group was joined, broker and database answer, every lane is open.

    A flood of dead letters and courses that wait for their release are told of, but do not make it less ready.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        states = [
            {
                "lane": lane.number,
                "state": lane.state,
                "lag_messages": await lane.lag_messages(),
                "failure": lane.failure,
                "ready": lane.is_ready,
                "paused_reevaluations": lane.paused_courses,
            }
            for lane in sorted(lanes.by_number.values(), key=lambda lane: lane.number)
        ]
        ready = lanes.joined and not any(lanes.outages.values()) and all(state["ready"] for state in states)
        flood = {"flood": lanes.flood.is_on, "unusable": lanes.flood.unusable, "of_messages": lanes.flood.messages}
        body = {"ready": ready, "outages": lanes.outages, "dead_letters": flood, "lanes": states}
        return JSONResponse(body, 200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


@contextlib.asynccontextmanager
async def serve_http(settings: Settings, lanes: Lanes) -> AsyncIterator[int]:
    """Listen while the context lasts; gives the port. Raises FixConfiguration where the address is not to be had."""
    try:
        family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
        listening = socket.create_server((settings.http_host, settings.http_port), family=family)
    except OSError as error:
        raise FixConfiguration(
            f"RATCHET_HTTP_HOST, RATCHET_HTTP_PORT: cannot listen on {settings.http_host}:{settings.http_port}: "
            f"{error.strerror}"
        ) from None
    server = uvicorn.Server(uvicorn.Config(make_app(lanes), log_config=None, access_log=False, lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # ours are app.py's
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
