"""Reading request bodies: a size that is enforced while they arrive, and JSON that PostgreSQL can keep."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from api.refusals import (
    InvalidRequestError,
    MalformedRequestError,
    SlowRequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from api.runtime import runtime_of
from softreg_core.errors import Problem
from softreg_core.spec.problems import json_pointer

__all__ = ["JsonBody", "NoBody", "blocks", "parse_object", "read_object"]

BLOCK_BYTES = 2**20
IDLE_SECONDS = 30.0
"""How long a client may pause within a body."""
MOST_DEPTH = 32
MOST_KEYS = 100
"""Of one object; no object of this API comes near, and each unknown key is compared with every known one."""
_TOO_DEEP = f"nested deeper than {MOST_DEPTH} levels"
_INT64 = range(-(2**63), 2**63)
_LONGEST_INTEGER = 20
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


async def blocks(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    """The body in blocks of about 1 MiB.

    Raises:
        TooLargeError: it is larger than `most_bytes`, whatever Content-Length said.
        SlowRequestError: nothing came for `IDLE_SECONDS`.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise TooLargeError(f"the body is {declared} bytes, and at most {most_bytes} are taken")
    stream = aiter(request.stream())
    block = bytearray()
    total = 0
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                piece = await anext(stream, None)
        except TimeoutError:
            raise SlowRequestError(f"nothing of the body came for {IDLE_SECONDS:g} s") from None
        if piece is None:
            break
        total += len(piece)
        if total > most_bytes:
            raise TooLargeError(f"the body is larger than {most_bytes} bytes")
        block += piece
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


async def _whole(request: Request) -> bytes:
    return b"".join([block async for block in blocks(request, runtime_of(request).settings.max_body_bytes)])


async def _json_body(request: Request) -> bytes:
    """The bytes of a JSON body; `read_object` reads them where there is a thread for it."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaTypeError("the body is JSON: send it with Content-Type: application/json")
    return await _whole(request)


async def _no_body(request: Request) -> None:
    """A route without options: an empty body or `{}`; an option that does not exist is refused, not ignored."""
    raw = await _whole(request)
    if raw and (unknown := parse_object(raw)):
        problems = [Problem(json_pointer([name]), f"unknown key '{name}'") for name in unknown]
        raise InvalidRequestError("this request has no options", problems)


JsonBody = Annotated[bytes, Depends(_json_body)]
NoBody = Annotated[None, Depends(_no_body)]


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands in a parsed document where something stood that cannot be taken; nothing that is sent for validates."""

    reason: str


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object, strictly.

    Raises:
        MalformedRequestError: it is not JSON in UTF-8.
        InvalidRequestError: it is no object, or holds what cannot be kept; every such place is named.
    """
    document, problems = read_object(raw)
    if problems:
        raise _refusal(problems)
    return document


def read_object(raw: bytes) -> tuple[dict[str, Any], list[Problem]]:
    """A JSON object, and every place in it that cannot be kept: there stands something that never validates.

    For who looks on for what else is wrong; the document can be stored only if there are no problems.

    Raises:
        MalformedRequestError: it is not JSON in UTF-8.
        InvalidRequestError: it is no object, or one that cannot be looked into.
    """
    problems: list[Problem] = []
    document = _kept(_parsed(raw), (), problems)
    if not isinstance(document, dict):
        raise _refusal(problems or [Problem("", "expected an object")])
    return document, problems


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode(), parse_int=_integer, parse_float=_real, parse_constant=_constant, object_pairs_hook=_object
        )
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise MalformedRequestError(f"the body is not JSON: {error.msg}, {_place(error)}") from error
    except RecursionError:
        return _Refused(_TOO_DEEP)


def _refusal(problems: list[Problem]) -> InvalidRequestError:
    return InvalidRequestError(
        f"the body holds what cannot be taken ({len(problems)} place{'s' * (len(problems) > 1)})", problems
    )


def _place(error: json.JSONDecodeError) -> str:
    return f"line {error.lineno}, column {error.colno}"


def _integer(text: str) -> int | _Refused:
    # The length first: int() of a million digits is slow, and refused by Python itself.
    if len(text) <= _LONGEST_INTEGER and (number := int(text)) in _INT64:
        return number
    return _Refused("the integer does not fit into 64 bits")


def _real(text: str) -> float | _Refused:
    number = float(text)
    return number if math.isfinite(number) else _Refused("the number is too large")


def _constant(text: str) -> _Refused:
    return _Refused(f"{text} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        # Readers differ in which of two equal keys they take: the sender cannot know what would happen.
        result[name] = _Refused(f"the key '{name}' stands here twice") if name in result else value
    return result


def _kept(value: Any, path: tuple[str | int, ...], problems: list[Problem]) -> Any:
    """`value` as far as it can be kept; what cannot goes to `problems`, in the document's order."""
    reason = _refused_for(value, len(path))
    if reason is not None:
        problems.append(Problem(json_pointer(path), reason))
        return _Refused(reason)
    if isinstance(value, list):
        return [_kept(item, (*path, index), problems) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _kept(item, (*path, name), problems) for name, item in value.items()}
    return value


def _refused_for(value: Any, depth: int) -> str | None:
    match value:
        case _Refused():
            return value.reason
        case str() if _UNSTORABLE.search(value):
            return "a NUL character or half a surrogate pair cannot be stored"
        case dict() | list() if depth >= MOST_DEPTH:
            return _TOO_DEEP
        case dict() if len(value) > MOST_KEYS:
            return f"more than {MOST_KEYS} keys"
        case dict() if any(_UNSTORABLE.search(name) for name in value):
            return "a key holds a NUL character or half a surrogate pair"
    return None
