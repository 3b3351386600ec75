"""From what went wrong to an HTTP answer: the only place that knows status codes of errors.

Every answer of 400 and above is a problem document (RFC 9457). `respond` makes it, for route handlers through
`install`, and for whatever escapes them through the middleware in `api.access`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import exc as database_errors
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from api.refusals import (
    InvalidRequestError,
    MalformedRequestError,
    MissingScopeError,
    NotAcceptableError,
    NotReadyError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    SlowRequestError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)
from softreg_core.errors import (
    DataError,
    ExportError,
    IntegrityError,
    NonFiniteLossError,
    ResourceError,
    ServiceError,
    ShapeError,
    SoftregError,
    SpecError,
    UserError,
)
from softreg_jobs.errors import (
    FencedError,
    FileFailedError,
    FileNotReadyError,
    IdempotencyInFlightError,
    IdempotencyMismatchError,
    NotFoundError,
    QuotaError,
    StateConflictError,
    UnavailableError,
)

__all__ = ["PROBLEM_MEDIA_TYPE", "STATUS", "install", "respond"]

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
MOST_PROBLEMS = 100

STATUS: dict[type[SoftregError], HTTPStatus] = {
    SoftregError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ServiceError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ExportError: HTTPStatus.INTERNAL_SERVER_ERROR,
    IntegrityError: HTTPStatus.INTERNAL_SERVER_ERROR,
    FencedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ResourceError: HTTPStatus.SERVICE_UNAVAILABLE,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    UserError: HTTPStatus.BAD_REQUEST,
    MalformedRequestError: HTTPStatus.BAD_REQUEST,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    MissingScopeError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    SlowRequestError: HTTPStatus.REQUEST_TIMEOUT,
    StateConflictError: HTTPStatus.CONFLICT,
    FileNotReadyError: HTTPStatus.CONFLICT,
    FileFailedError: HTTPStatus.CONFLICT,
    IdempotencyInFlightError: HTTPStatus.CONFLICT,
    PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RangeNotSatisfiableError: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    SpecError: HTTPStatus.UNPROCESSABLE_ENTITY,
    DataError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ShapeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NonFiniteLossError: HTTPStatus.UNPROCESSABLE_ENTITY,
    IdempotencyMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    QuotaError: HTTPStatus.TOO_MANY_REQUESTS,
}

_CODES = {404: "not_found", 405: "method_not_allowed"}
_DATABASE_AWAY = (database_errors.OperationalError, database_errors.InterfaceError, database_errors.TimeoutError)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a problem document says."""

    status: int
    code: str
    detail: str
    retryable: bool = False
    members: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@singledispatch
def _facts(_: Exception) -> _Facts:
    """Anything unforeseen: its text may hold row data or a URL with a password, so it stays inside."""
    return _Facts(500, "internal", "something went wrong inside the service; it was logged under the request id", True)


@_facts.register
def _(error: SoftregError) -> _Facts:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    is_soon = status in (429, 503) or isinstance(error, FileNotReadyError)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if is_soon else {}
    if isinstance(error, UnauthenticatedError):
        challenge = 'Bearer realm="softreg"'
        headers["WWW-Authenticate"] = challenge + ', error="invalid_token"' * error.has_credentials
    if isinstance(error, RangeNotSatisfiableError):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, TooLargeError | SlowRequestError):
        # The rest of the body will not be read, so the connection is of no further use.
        headers["Connection"] = "close"
    return _Facts(status, error.code, error.message, error.retryable, error.details(), headers)


@_facts.register
def _(error: RequestValidationError) -> _Facts:
    """What FastAPI found in path, query and headers; bodies are read by `api.body` alone."""
    problems = [
        {"pointer": _pointer(item["loc"]), "message": item["msg"]}
        for item in error.errors()
        if item["loc"][0] != "path"
    ]
    if not problems:
        # An id of a form that no id has names nothing.
        return _Facts(404, "not_found", "there is no such thing")
    count = len(problems)
    detail = f"the request has {count} problem{'s' * (count > 1)}"
    return _Facts(422, InvalidRequestError.code, detail, members={"errors": problems})


def _pointer(location: tuple[Any, ...]) -> str:
    place, *name = location
    return ("?" if place == "query" else "") + ".".join(str(part) for part in name)


@_facts.register
def _(error: HTTPException) -> _Facts:
    """What the framework raises by itself: unknown routes, wrong methods."""
    code = _CODES.get(error.status_code, "http_error")
    return _Facts(error.status_code, code, str(error.detail), headers=dict(error.headers or {}))


@_facts.register
def _(_: ClientDisconnect) -> _Facts:
    return _Facts(400, "client_disconnected", "the client left before its request was complete", True)


def _database_away(_: Exception) -> _Facts:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return _Facts(503, UnavailableError.code, "the database does not answer; try again shortly", True, headers=headers)


for _kind in _DATABASE_AWAY:
    _facts.register(_kind, _database_away)


def respond(error: Exception, request_id: str) -> Response:
    """The problem document for `error`."""
    facts = _facts(error)
    members = dict(facts.members)
    problems = members.pop("errors", [])
    if len(problems) > MOST_PROBLEMS:
        rest = {"pointer": "", "message": f"and {len(problems) - MOST_PROBLEMS} more problems"}
        problems = [*problems[:MOST_PROBLEMS], rest]
    body = {
        "type": f"urn:softreg:problem:{facts.code}",
        "title": HTTPStatus(facts.status).phrase,
        "status": int(facts.status),
        "detail": facts.detail,
        "code": facts.code,
        "errors": problems,
        "request_id": request_id,
        "retryable": facts.retryable,
        **members,
    }
    return JSONResponse(body, int(facts.status), headers=facts.headers, media_type=PROBLEM_MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error that a route or a dependency raises with a problem document."""

    async def handle(request: Request, error: Exception) -> Response:
        response = respond(error, request.state.request_id)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods_at(app, request.url.path)):
            response.headers["Allow"] = ", ".join(methods)
        return response

    for kind in (SoftregError, RequestValidationError, HTTPException, ClientDisconnect, *_DATABASE_AWAY):
        app.add_exception_handler(kind, handle)


def _methods_at(app: FastAPI, path: str) -> list[str]:
    """The methods of every route at `path`; the framework names those of the first one only."""
    routes = app.openapi()["paths"].items()
    return sorted(
        {method.upper() for template, found in routes if compile_path(template)[0].match(path) for method in found}
    )
