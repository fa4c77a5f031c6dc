"""What MongoDB's errors mean here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from service.errors import FixConfiguration, WaitAndRetry

NOT_ALLOWED = {13, 18, 8000}
"""Unauthorized, AuthenticationFailed, and Atlas' word for either."""


@asynccontextmanager
async def mongo_answers() -> AsyncIterator[None]:
    """Turns MongoDB's errors into ours."""
    try:
        yield
    except ConfigurationError as error:
        raise FixConfiguration(f"RATCHET_MONGODB_URI: {error}") from None
    except OperationFailure as error:
        if error.code in NOT_ALLOWED:
            raise FixConfiguration(f"RATCHET_MONGODB_URI: MongoDB refuses the user: {_short(error)}") from None
        raise WaitAndRetry(f"MongoDB could not do it: {_short(error)}") from None
    except PyMongoError as error:
        raise WaitAndRetry(f"MongoDB is away: {_short(error)}") from None


def _short(error: PyMongoError) -> str:
    """The error without the documents and topology that it quotes: they may hold learners' data."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__}, code {code}"
