"""From pydantic's errors to problems a person can act on: a JSON pointer, a sentence, the nearest valid name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from softreg_core.errors import Problem

__all__ = ["json_pointer", "nearest", "problems_of"]


def json_pointer(path: Iterable[str | int]) -> str:
    """RFC 6901: `("loss", "a/b", 0)` gives `/loss/a~1b/0`; the empty path is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def nearest(name: str, names: Iterable[str]) -> str:
    """` - did you mean 'x'?` for the most similar of `names`, or nothing when none is similar."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" - did you mean '{close[0]}'?" if close else ""


def problems_of(error: ValidationError, model: type[BaseModel], document: Any) -> list[Problem]:
    """Every problem of `document`, which failed to validate as `model`; one per pointer, in document order.

    Alternatives of a plain union ('auto', or a name, or a list) come as several errors for one place and are joined.
    """
    by_pointer: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        path = _document_path(item["loc"], document)
        if item["type"] == "missing":
            path = (*path, item["loc"][-1])
        if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            path = (*path, "kind")
        messages = by_pointer.setdefault(json_pointer(path), [])
        message = _message(item, model)
        if message not in messages:
            messages.append(message)
    return [Problem(pointer, "; or: ".join(messages)) for pointer, messages in by_pointer.items()]


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
