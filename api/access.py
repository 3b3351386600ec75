"""The outermost layer: a request id, one log line per request, and an answer to what nobody else caught."""

from __future__ import annotations

import re
import time
import traceback
from pathlib import Path

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import respond
from api.refusals import UnsupportedMediaTypeError
from softreg_jobs.ids import new_id

__all__ = ["AccessLog"]

# What may stand in a log line and a header unchanged; any other X-Request-Id is replaced.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = structlog.get_logger("api.access")


class AccessLog:
    """ASGI middleware. A log line holds no header, no query and no body: keys and row data never reach a log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._serving(headers, request_id)(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001  # the last one who can answer
            # Starlette wraps what is raised after a reply has begun.
            cause = error.__cause__ or error
            _log.error("unforeseen", request_id=request_id, error=type(cause).__name__, at=_origin(cause))
            # Once a reply has begun there is nothing to add: returning with it incomplete closes the connection.
            if status == 0:
                await respond(error, request_id)(scope, receive, send_with_id)
        finally:
            _log.info(
                "request",
                request_id=request_id,
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
            )

    def _serving(self, headers: Headers, request_id: str) -> ASGIApp:
        """The application, or the refusal of a compressed body: a few bytes could unpack to any size."""
        if headers.get("content-encoding", "identity").lower() == "identity":
            return self.app
        return respond(UnsupportedMediaTypeError("compressed bodies are not taken: no Content-Encoding"), request_id)


def _origin(error: BaseException) -> list[str]:
    """Where the error came through, innermost last; not its text, which may quote a row or a URL."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
