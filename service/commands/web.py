"""`ratchet web`."""

import typer

from service.commands.common import reported, run


def web() -> None:
    """Serve the API and the console until SIGTERM or SIGINT. They are on RATCHET_WEB_HOST and RATCHET_WEB_PORT.

    Without an identity provider (RATCHET_WEB_OIDC_ISSUER, RATCHET_WEB_JWKS) only this machine is served, and the link
    that is printed opens the console, once; each use prints the next one.
    """
    with reported():
        from service.app import serve_web
    run(lambda settings: serve_web(settings, _say), logged=True)


def _say(address: str) -> None:
    typer.echo(f"The console: {address}")
