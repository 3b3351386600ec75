"""Why a request is refused before it means anything: what HTTP itself brings into the tree of errors.

UserError
├── MalformedRequestError      the bytes are not what they claim to be
├── InvalidRequestError        readable, and wrong; carries every problem at once
├── UnauthenticatedError       no key, or none that works
├── MissingScopeError          the key may not do this
├── PreconditionFailedError    If-Match names another version
├── TooLargeError              the body is larger than is taken
├── SlowRequestError           the body did not arrive in time
├── NotAcceptableError         the reply exists in other media types only
├── UnsupportedMediaTypeError  the body's type, coding or file format is not taken
└── RangeNotSatisfiableError   the range lies outside the file
ServiceError
└── NotReadyError              no request can be served: no database, or one without the tables
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from softreg_core.errors import Problem, ServiceError, UserError

__all__ = [
    "InvalidRequestError",
    "MalformedRequestError",
    "MissingScopeError",
    "NotAcceptableError",
    "NotReadyError",
    "PreconditionFailedError",
    "RangeNotSatisfiableError",
    "SlowRequestError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnsupportedMediaTypeError",
]


class MalformedRequestError(UserError):
    """The request cannot be read: broken JSON, broken UTF-8, a broken form, a broken header."""

    code = "malformed_request"


class InvalidRequestError(UserError):
    """The request can be read and does not say something that this service does.

    A problem's pointer is a JSON pointer into the body, `?name` for a query parameter, or a header's name.
    """

    code = "invalid_request"

    def __init__(self, message: str, problems: Sequence[Problem]) -> None:
        Exception.__init__(self, message, problems)
        self.message = message
        self.problems = tuple(problems)

    def details(self) -> dict[str, Any]:
        """Every problem, each with its pointer."""
        return {"errors": [problem.as_dict() for problem in self.problems]}


class UnauthenticatedError(UserError):
    """No key came with the request, or one that does not work."""

    code = "unauthenticated"

    def __init__(self, message: str, has_credentials: bool) -> None:
        Exception.__init__(self, message, has_credentials)
        self.message = message
        self.has_credentials = has_credentials


class MissingScopeError(UserError):
    """The key works and may not do this."""

    code = "missing_scope"


class PreconditionFailedError(UserError):
    """If-Match names another version of the file."""

    code = "precondition_failed"


class TooLargeError(UserError):
    """The body is larger than is taken; the message names the limit."""

    code = "too_large"


class SlowRequestError(UserError):
    """The body stopped arriving."""

    code = "request_timeout"
    retryable = True


class NotAcceptableError(UserError):
    """The reply exists, but not in a media type that the caller takes; `offered` are those it comes in."""

    code = "not_acceptable"

    def __init__(self, message: str, offered: Sequence[str]) -> None:
        Exception.__init__(self, message, offered)
        self.message = message
        self.offered = tuple(offered)

    def details(self) -> dict[str, Any]:
        """The media types to choose from."""
        return {"offered": list(self.offered)}


class UnsupportedMediaTypeError(UserError):
    """The body's media type, its coding or its file format is not taken."""

    code = "unsupported_media_type"


class RangeNotSatisfiableError(UserError):
    """The range lies outside the file, which has `size` bytes."""

    code = "range_not_satisfiable"

    def __init__(self, message: str, size: int) -> None:
        Exception.__init__(self, message, size)
        self.message = message
        self.size = size


class NotReadyError(ServiceError):
    """The database does not answer or lacks the tables; `checks` tells which, and how the other parts do."""

    code = "not_ready"
    retryable = True

    def __init__(self, message: str, checks: dict[str, str], workers: int) -> None:
        Exception.__init__(self, message, checks, workers)
        self.message = message
        self.checks = checks
        self.workers = workers

    def details(self) -> dict[str, Any]:
        """Every check by name (database, schema, redis, workers), and the number of living workers."""
        return {"checks": self.checks, "workers": self.workers}
