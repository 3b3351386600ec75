"""From pydantic's errors to problems a person can act on: a JSON pointer, a sentence, the nearest valid name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from softreg_core.errors import Problem
from softreg_core.spec.base import NAME_PATTERN
from softreg_core.spec.training import DEVICE_PATTERN

__all__ = ["json_pointer", "nearest", "problems_of"]

# Of what kind a value must be. Where one alternative of a union likes the kind and finds another fault, that fault is
# what the writer wants to know, and not what the other alternatives would have taken.
_KINDS = {
    "bool_type": "expected true or false",
    "dict_type": "expected an object",
    "float_type": "expected a number",
    "int_from_float": "expected a whole number",
    "int_type": "expected a whole number",
    "list_type": "expected a list",
    "model_attributes_type": "expected an object",
    "model_type": "expected an object",
    "string_type": "expected text",
    "tuple_type": "expected a list",
}
# pydantic speaks of Python; a person wrote JSON. Filled in from the error's context.
_LIMITS = {
    "finite_number": "expected a finite number",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "missing": "this key is needed",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected at least {min_length} character{plural}",
    "too_long": "expected at most {max_length} items",
    "too_short": "expected at least {min_length} item{plural}",
}
_PATTERNS = {
    DEVICE_PATTERN: "expected auto, cpu, cuda or cuda:N",
    NAME_PATTERN: "expected a name without control characters",
}


def json_pointer(path: Iterable[str | int]) -> str:
    """RFC 6901: `("loss", "a/b", 0)` gives `/loss/a~1b/0`; the empty path is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def nearest(name: str, names: Iterable[str]) -> str:
    """` - did you mean 'x'?` for the most similar of `names` in any case, or nothing when none is similar."""
    by_folded: dict[str, str] = {}
    for known in names:
        by_folded.setdefault(known.casefold(), known)
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f" - did you mean '{by_folded[close[0]]}'?" if close else ""


def problems_of(error: ValidationError, model: type[BaseModel], document: Any) -> list[Problem]:
    """Every problem of `document`, which failed to validate as `model`; one per pointer, in document order.

    Alternatives of a plain union ('auto', or a name, or a list) come as several errors for one place: those that took
    the kind of value and found a fault in it stand for all; without one, what the alternatives expected is joined.
    """
    by_pointer: dict[str, dict[str, bool]] = {}
    for item in error.errors(include_url=False):
        path = _document_path(item["loc"], document)
        if item["type"] == "missing":
            path = (*path, item["loc"][-1])
        if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            path = (*path, "kind")
        is_kind = item["type"] in _KINDS or item["type"] == "literal_error"
        by_pointer.setdefault(json_pointer(path), {})[_message(item, model)] = is_kind
    return [
        Problem(pointer, "; or: ".join(_telling(messages)))
        for pointer, messages in by_pointer.items()
        if not (all(messages.values()) and any(other.startswith(f"{pointer}/") for other in by_pointer))
    ]


def _telling(messages: dict[str, bool]) -> list[str]:
    """The messages on faults where there are some, else those on the kind of value."""
    return [message for message, is_kind in messages.items() if not is_kind] or list(messages)


def _document_path(loc: Sequence[str | int], document: Any) -> tuple[str | int, ...]:
    """`loc` without the names of union members, which pydantic inserts and the document does not have."""
    path: list[str | int] = []
    here = document
    for part in loc:
        if (isinstance(here, dict) and part in here) or (
            isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
        ):
            path.append(part)
            here = here[part]  # type: ignore[index]
    return tuple(path)


def _message(item: Any, model: type[BaseModel]) -> str:
    context = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            name = str(item["loc"][-1])
            return f"unknown key '{name}'" + nearest(name, _field_names(model, item["loc"][:-1]))
        case "union_tag_invalid":
            tags = re.findall(r"'([^']*)'", context["expected_tags"])
            return f"unknown kind '{context['tag']}', expected one of: {', '.join(tags)}" + nearest(
                context["tag"], tags
            )
        case "union_tag_not_found":
            return "the key 'kind' is needed to tell which member is meant"
        case "literal_error":
            words = re.findall(r"'([^']*)'", context["expected"])
            given = item["input"]
            return f"expected {context['expected']}" + (nearest(given, words) if isinstance(given, str) else "")
        case "string_pattern_mismatch":
            return _PATTERNS.get(context["pattern"], str(item["msg"]))
        case kind if kind in _KINDS:
            return _KINDS[kind]
        case kind if kind in _LIMITS:
            return _LIMITS[kind].format(**context, plural="" if context.get("min_length") == 1 else "s")
        case _:
            return str(item["msg"])


def _field_names(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """The field names of the model that `loc` leads to, following fields and union tags."""
    models: list[type[BaseModel]] = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        with_field = [m for m in models if part in m.model_fields]
        if with_field:
            models = [found for m in with_field for found in _models_in(m.model_fields[part].annotation)]
        else:
            models = [
                m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == part
            ] or models
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]
