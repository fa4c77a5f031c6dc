"""Docker, where it can really run an image."""

import os
from typing import Any

from tests.stack.servers import NotAvailable

ANSWER_SECONDS = 10
"""A daemon that says nothing for this long, also in the middle of a pull, counts as not working."""


def client_for(image: str) -> Any:
    """A Docker client that has the image. Raises NotAvailable when there is no daemon or the image cannot be had."""
    import docker
    from docker.errors import DockerException, ImageNotFound
    from requests.exceptions import RequestException

    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    try:
        client = docker.from_env(timeout=ANSWER_SECONDS)
        client.ping()
    except (DockerException, RequestException):
        raise NotAvailable("no Docker daemon answers") from None
    try:
        client.images.get(image)
    except ImageNotFound:
        _pull(client, image)
    except (DockerException, RequestException) as error:
        raise NotAvailable(f"Docker does not work: {error}") from None
    return client


def _pull(client: Any, image: str) -> None:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    name, _, tag = image.partition(":")
    print(f"Pulling the Docker image {image} ...", flush=True)
    try:
        for progress in client.api.pull(name, tag=tag, stream=True, decode=True):
            if "error" in progress:
                raise NotAvailable(f"Docker cannot pull {image}: {progress['error']}")
    except (DockerException, RequestException) as error:
        raise NotAvailable(f"Docker cannot pull {image}: {str(error)[:200]}") from None


def start(container: Any) -> None:
    """Start a testcontainers' container. Raises NotAvailable when it does not come up."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        container.start()
    except (DockerException, RequestException, RuntimeError, OSError) as error:
        raise NotAvailable(f"Docker has the image but the container does not start: {str(error)[:200]}") from None
