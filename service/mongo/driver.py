"""The driver: one client, what its errors mean here, and the names of its types."""

import re
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from service.errors import FixConfiguration, WaitAndRetry

Document = dict[str, Any]
Client = AsyncIOMotorClient[Document]
Database = AsyncIOMotorDatabase[Document]
Collection = AsyncIOMotorCollection[Document]
_REFUSED = re.compile(r'not authorized on ([\w-]+) to execute command \{ (\w+)(?:: "([\w.-]+)")?')
"""How MongoDB says it, with all of the command behind."""
CALL_SECONDS = 20.0
NOT_ALLOWED = {13, 18, 8000}
"""Unauthorized, AuthenticationFailed, and Atlas' word for either."""


def make_client(uri: str, tls: Mapping[str, Any]) -> Client:
    """Nothing is contacted yet. Raises FixConfiguration for an address that is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # how the driver tells of options that it does not know
            return AsyncIOMotorClient(
                uri,
                appname="ratchet",
                serverSelectionTimeoutMS=int(CALL_SECONDS * 250),
                timeoutMS=int(CALL_SECONDS * 1000),
                retryWrites=True,
                **tls,
            )
    except OSError as error:
        names = "RATCHET_MONGODB_CA_FILE, RATCHET_MONGODB_CERTIFICATE_KEY_FILE"
        raise FixConfiguration(f"{names}: {error}") from None
    except (PyMongoError, ValueError, UserWarning) as error:
        raise FixConfiguration(f"RATCHET_MONGODB_URI: {error}") from None


@asynccontextmanager
async def mongo_answers() -> AsyncIterator[None]:
    """Turns MongoDB's errors into ours."""
    try:
        yield
    except ConfigurationError as error:
        raise FixConfiguration(f"RATCHET_MONGODB_URI: {error}") from None
    except OperationFailure as error:
        if error.code in NOT_ALLOWED:
            raise FixConfiguration(
                f"RATCHET_MONGODB_URI: MongoDB refuses the user{_command(error)}: {_short(error)}"
            ) from None
        raise WaitAndRetry(f"MongoDB could not do it: {_short(error)}") from None
    except PyMongoError as error:
        raise WaitAndRetry(f"MongoDB is away: {_short(error)}") from None


def _command(error: OperationFailure) -> str:
    """What the user may not do, without what it was about."""
    found = _REFUSED.search(str(error.details.get("errmsg") if error.details else ""))
    if found is None:
        return ""
    database, command, collection = found.groups()
    where = f"{database}.{collection}" if collection else database
    return f" `{command}` in {where}, which needs a role there such as readWrite (deploy/permissions.yaml)"


def _short(error: PyMongoError) -> str:
    """The error without the documents and topology that it quotes: they may hold learners' data."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__}, code {code}"


def within(prefix: str) -> Document:
    """Ids that begin with this, which ends with a slash. What follows a slash is a zero."""
    return {"_id": {"$gte": prefix, "$lt": f"{prefix[:-1]}0"}}
