"""One world, one worker and one `ratchet web` for all tests of the API; each has a tenant of its own."""

from collections.abc import Callable, Iterator

import pytest

from tests.stack.service import World
from tests.web.programs import Site, open_site, unique


@pytest.fixture(scope="session")
def site(make_world: Callable[..., World]) -> Iterator[Site]:
    """As programs see it."""
    yield from open_site(make_world())


@pytest.fixture
def tenant() -> str:
    """Nobody else's."""
    return unique()
