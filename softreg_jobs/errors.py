"""What can go wrong with jobs and their bytes; the rest of the tree stands in softreg_core.errors.

UserError
├── NotFoundError             no such thing, or another tenant's
├── StateConflictError        the job's state does not allow the move
├── FileNotReadyError         the file is being built
├── FileFailedError           the file could not be built
├── IdempotencyMismatchError  the key was used with another body
├── IdempotencyInFlightError  a request with this key is being served right now
└── QuotaError                the tenant has reached a limit
ServiceError
├── FencedError               somebody else owns the job now; write nothing
└── UnavailableError          a server that we need does not answer
"""

from __future__ import annotations

from typing import Any

from softreg_core.errors import ServiceError, UserError

__all__ = [
    "FencedError",
    "FileFailedError",
    "FileNotReadyError",
    "IdempotencyInFlightError",
    "IdempotencyMismatchError",
    "NotFoundError",
    "QuotaError",
    "StateConflictError",
    "UnavailableError",
]


class NotFoundError(UserError):
    """There is no such thing for this caller."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        Exception.__init__(self, kind, name)
        self.message = f"there is no {kind} '{name}'"


class StateConflictError(UserError):
    """The job's state does not allow what was asked."""

    code = "state_conflict"

    def __init__(self, message: str, state: str) -> None:
        Exception.__init__(self, message, state)
        self.message = message
        self.state = state

    def details(self) -> dict[str, Any]:
        """The state that stood in the way."""
        return {"state": self.state}


class FileNotReadyError(UserError):
    """The model's file is being built."""

    code = "file_not_ready"
    retryable = True


class FileFailedError(UserError):
    """The model's file could not be built, and will not be; the message says why."""

    code = "file_failed"


class IdempotencyMismatchError(UserError):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_mismatch"


class IdempotencyInFlightError(UserError):
    """A request with the same Idempotency-Key has not been answered yet."""

    code = "idempotency_in_flight"
    retryable = True


class QuotaError(UserError):
    """The tenant has reached a limit; the message names it."""

    code = "quota_exceeded"
    retryable = True


class FencedError(ServiceError):
    """The lease was lost: somebody else owns the job, and nothing more may be written for it."""

    code = "fenced"


class UnavailableError(ServiceError):
    """PostgreSQL or Redis does not answer."""

    code = "unavailable"
    retryable = True
