"""Everything that can go wrong, as one tree; torch-free.

SoftregError
├── UserError              the caller can mend it (fault = "user")
│   ├── SpecError          the job's spec is wrong; carries every problem at once
│   ├── DataError          the data cannot be read or does not fit the spec
│   ├── ShapeError         arrays of shapes that do not fit each other
│   └── NonFiniteLossError the loss became NaN or infinite while training
└── ServiceError           we can mend it (fault = "service")
    ├── ExportError        a trained model cannot be had in another format
    ├── IntegrityError     stored bytes do not match their digest
    └── ResourceError      memory, time or a device ran out

An error says what happened and whose fault it is. Only `api/errors.py` turns one into an HTTP status;
only `worker/` decides whether to try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "DataError",
    "ExportError",
    "IntegrityError",
    "NonFiniteLossError",
    "Problem",
    "ResourceError",
    "ServiceError",
    "ShapeError",
    "SoftregError",
    "SpecError",
    "UserError",
    "is_out_of_memory",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: where (a JSON pointer into it, RFC 6901) and what."""

    pointer: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """The `errors` item of a problem document."""
        return {"pointer": self.pointer, "message": self.message}


class SoftregError(Exception):
    """The root: a stable `code`, whose `fault` it is, and whether the same call may succeed later."""

    code: ClassVar[str] = "error"
    fault: ClassVar[Literal["user", "service"]] = "service"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        """The message alone; a subclass hands all its arguments to Exception, which would print them all."""
        return self.message

    def details(self) -> dict[str, Any]:
        """Machine-readable facts beside the message; plain JSON values, never row data or secrets."""
        return {}


class UserError(SoftregError):
    """The caller can mend it."""

    code = "user_error"
    fault = "user"


class ServiceError(SoftregError):
    """The service can mend it."""

    code = "service_error"


class SpecError(UserError):
    """A spec is wrong; `problems` holds all that was found, not only the first."""

    code = "invalid_spec"

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        Exception.__init__(self, message, problems)
        self.message = message
        self.problems = tuple(problems)

    def details(self) -> dict[str, Any]:
        """Every problem, each with its JSON pointer."""
        return {"errors": [problem.as_dict() for problem in self.problems]}


class DataError(UserError):
    """A file cannot be read, or its data does not fit the spec; `reason` is stable, for programs."""

    code = "invalid_data"

    def __init__(
        self, message: str, reason: str = "invalid", row: int | None = None, column: str | None = None
    ) -> None:
        Exception.__init__(self, message, reason, row, column)
        self.message = message
        self.reason = reason
        self.row = row
        self.column = column

    def details(self) -> dict[str, Any]:
        """The reason and, where known, the data row (counted from 1) and the column's name."""
        facts = {"reason": self.reason, "row": self.row, "column": self.column}
        return {name: value for name, value in facts.items() if value is not None}


class ShapeError(UserError, ValueError):
    """Arrays were given whose shapes do not fit each other; found before anything is computed from them."""

    code = "shape_mismatch"


class NonFiniteLossError(UserError):
    """A term of the loss became NaN or infinite at `step` of `epoch`, the one being trained; both count from 1."""

    code = "non_finite_loss"

    def __init__(self, message: str, step: int, term: str, epoch: int) -> None:
        Exception.__init__(self, message, step, term, epoch)
        self.message = message
        self.step = step
        self.term = term
        self.epoch = epoch

    def details(self) -> dict[str, Any]:
        """Where it happened."""
        return {"step": self.step, "term": self.term, "epoch": self.epoch}


class ExportError(ServiceError):
    """A trained model cannot be had in another format; the model itself is well."""

    code = "export_failed"


class IntegrityError(ServiceError):
    """Stored bytes do not match the digest under which they were published."""

    code = "integrity"


class ResourceError(ServiceError):
    """Memory, time or a device ran out; the message names the numbers."""

    code = "resource_exhausted"
    retryable = True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in Python, in NumPy, or in torch on the CPU or a GPU; torch need not be there to ask."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch has no class of its own for the CPU's memory, and libraries of CUDA say it in words of their own.
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "not enough memory",
    "could not create a memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
