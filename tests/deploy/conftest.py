"""Servers that several files use."""

from collections.abc import Iterator

import pytest

from tests.deploy.site import Site, open_site
from tests.stack.servers import NotAvailable


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Secured servers, started once."""
    try:
        with open_site(tmp_path_factory.mktemp("secured")) as opened:
            yield opened
    except NotAvailable as why:
        pytest.skip(f"no Kafka or MongoDB can be started here: {why}")
