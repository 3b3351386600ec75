"""What every part of a spec shares: closed, frozen, and numbers that mean what they say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AllowInfNan, BaseModel, BeforeValidator, ConfigDict, Field, Strict

__all__ = ["NAME_PATTERN", "Count", "Flag", "Head", "Int", "Name", "Number", "SpecModel", "default_kind"]

# Strict one by one, not for the whole model: a whole strict model refuses a nested dict from Python, and a
# notebook user writes dicts. `"32"` is no number and `1` is no truth value in either case.
Int = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=1, le=2**31 - 1)]
# No control characters (pydantic refuses lone surrogates itself): a name reaches PostgreSQL, logs and headers.
NAME_PATTERN = r"^[^\x00-\x1f\x7f]+$"
Head = Literal["shared", "per_output"]
"""Of a net that predicts variances besides values: one for all outputs of an example, or one for each."""
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=NAME_PATTERN)]


class SpecModel(BaseModel):
    """A part of a spec: unknown keys are refused, values cannot change after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def default_kind(kind: str) -> BeforeValidator:
    """For a union: a member that does not say its `kind` is of this one."""

    def fill(value: Any) -> Any:
        return {"kind": kind, **value} if isinstance(value, dict) else value

    return BeforeValidator(fill)
