"""`ratchet serve`."""

from service.commands.common import reported, run


def serve() -> None:
    """Run the worker until SIGTERM or SIGINT. /livez, /readyz and /metrics are on RATCHET_HTTP_PORT."""
    with reported():
        from service.app import serve as work
    run(work, logged=True)
