"""Whether an API is ready, and whether a port is free; with the standard library, so that a look costs little."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import urlsplit

from softreg.errors import LocalError

__all__ = ["checks", "free_port", "is_api_ready"]


def is_api_ready(base_url: str, timeout_seconds: float = 5.0) -> bool:
    """Whether `/readyz` answers 200: an API whose Redis or workers are away takes jobs and is ready."""
    return _readyz(base_url, timeout_seconds)[0] == http.HTTPStatus.OK


def checks(base_url: str, timeout_seconds: float = 5.0) -> dict[str, str]:
    """What `/readyz` says of each part, `ok` or `failed`; nothing where it does not answer."""
    try:
        found = json.loads(_readyz(base_url, timeout_seconds)[1])["checks"]
        return {str(name): str(word) for name, word in found.items()}
    except (ValueError, LookupError, TypeError, AttributeError):  # another program's answer
        return {}


def _readyz(base_url: str, timeout_seconds: float) -> tuple[int, bytes]:
    """Status and body; 0 where nothing answers."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=timeout_seconds)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def free_port(host: str, port: int) -> int:
    """`port`, or for 0 one that nobody uses.

    Raises:
        LocalError: The port is taken, or not ours to take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does: closed connections do not count
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LocalError(
                f"Port {port} on {host} cannot be used ({reason}): "
                "choose another with --port, or --port 0 for a free one."
            ) from error
        return int(probe.getsockname()[1])
