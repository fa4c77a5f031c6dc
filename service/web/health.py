"""`/livez`, `/readyz` and `/metrics`, in the worker's own event loop."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.lanes.health import Health
from service.settings import Settings
from service.web.listening import listening

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

    async def metrics(request: Request) -> Response:
        """In the form that is asked for: OpenMetrics has exemplars."""
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(REGISTRY), media_type=content_type)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


def serve_health(settings: Settings, health: AskHealth) -> AbstractAsyncContextManager[int]:
    """Listen while the context lasts; gives the port. Raises FixConfiguration where the address is not to be had."""
    return listening(make_app(health), settings.http_host, settings.http_port, "RATCHET_HTTP")
