"""Credentials and status lists over HTTP, for who has to look at them."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.examples.certificates import badges
from contracts.examples.certificates.badges import LIST_BITS, Issuer
from contracts.examples.certificates.reading import now
from contracts.examples.certificates.signing import Signer
from contracts.examples.certificates.store import Store

MEDIA_TYPE = "application/vc"


def make_site(store: Store, issuer: Issuer, signer: Signer) -> Starlette:
    """`/credentials/ID`, `/status/NUMBER`, `/issuer`."""

    async def credential(request: Request) -> Response:
        try:
            found = store.credential(request.path_params["certificate_id"])
        except KeyError:
            return Response(status_code=410)
        return Response(status_code=404) if found is None else JSONResponse(found, media_type=MEDIA_TYPE)

    async def status(request: Request) -> Response:
        number = request.path_params["number"]
        first = number * LIST_BITS
        if first > max(0, store.issued() - 1):
            return Response(status_code=404)
        revoked = (place - first for place in store.revoked(first, first + LIST_BITS))
        made = badges.status_list(issuer, number, revoked, now())
        return JSONResponse(signer.signed(made, now()), media_type=MEDIA_TYPE)

    async def profile(_: Request) -> Response:
        return JSONResponse(issuer.profile)

    return Starlette(
        routes=[
            Route("/credentials/{certificate_id}", credential),
            Route("/status/{number:int}", status),
            Route("/issuer", profile),
        ]
    )
