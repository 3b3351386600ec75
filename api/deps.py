"""What a route may ask for: who calls, a connection, a page, and ids that can exist."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from sqlalchemy import Connection

from api.cursors import Stretch
from api.refusals import InvalidRequestError, MissingScopeError, UnauthenticatedError
from api.runtime import Runtime, runtime_of
from softreg_core.errors import Problem
from softreg_core.spec.problems import nearest
from softreg_jobs.keys import Caller, authenticate

__all__ = [
    "CheckpointId",
    "Database",
    "DatasetId",
    "FileName",
    "JobId",
    "ModelId",
    "Paging",
    "Reader",
    "Service",
    "Writer",
]

# Kept out of the database as well: a text with a NUL would be an error there.
JobId = Annotated[str, Path(pattern=r"^job_[0-9a-z]{26}$", examples=["job_01kaqw3d9n5v8yt2c4b6m7r0xe"])]
CheckpointId = Annotated[str, Path(pattern=r"^ckpt_[0-9a-z]{26}$", examples=["ckpt_01kaqw3d9n5v8yt2c4b6m7r0xe"])]
ModelId = Annotated[str, Path(pattern=r"^mdl_[0-9a-z]{26}$", examples=["mdl_01kaqw3d9n5v8yt2c4b6m7r0xe"])]
DatasetId = Annotated[str, Path(pattern=r"^(ds_[0-9a-z]{26}|sample:[a-z_]{1,32})$", examples=["sample:digits"])]
FileName = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,128}$", examples=["model.safetensors"])]

_bearer = HTTPBearer(scheme_name="api_key", description="A key, as `Authorization: Bearer sk_...`", auto_error=False)


async def _runtime(request: Request) -> Runtime:
    # `async`, as every dependency of most routes: the framework gives a thread to each that is not.
    return runtime_of(request)


Service = Annotated[Runtime, Depends(_runtime)]


async def _admit(needed: SecurityScopes, request: Request, _: Annotated[Any, Depends(_bearer)]) -> Caller:
    """Who calls, once the key, its scopes and the names of the query's parameters are right.

    It borrows a connection of its own and gives it back: what comes next may be a body that takes minutes.
    """
    key = _key_of(request)
    caller = await runtime_of(request).singly(partial(authenticate, key=key))
    if caller is None:
        raise UnauthenticatedError("this key does not work", True)
    if not caller.scopes.issuperset(needed.scopes):
        raise MissingScopeError(f"this key lacks the scope '{needed.scope_str}'")
    _refuse_unknown_query(request)
    return caller


def _key_of(request: Request) -> str:
    values = request.headers.getlist("authorization")
    if not values:
        raise UnauthenticatedError("a key is needed, as `Authorization: Bearer sk_...`", False)
    scheme, _, key = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not key.strip():
        raise UnauthenticatedError("the header has the form `Authorization: Bearer sk_...`, once", True)
    return key.strip()


def _refuse_unknown_query(request: Request) -> None:
    """A parameter that this route does not have, or has twice, is a mistake and never ignored."""
    known = set(_query_names(request.scope["route"].dependant))
    given = [name for name, _ in request.query_params.multi_items()]
    problems = [
        Problem(
            f"?{name}", f"unknown parameter '{name}'" + nearest(name, known) if name not in known else "given twice"
        )
        for name in dict.fromkeys(given)
        if name not in known or given.count(name) > 1
    ]
    if problems:
        raise InvalidRequestError("the query has parameters that are not taken", problems)


def _query_names(dependant: Any) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


Reader = Annotated[Caller, Security(_admit, scopes=["read"])]
Writer = Annotated[Caller, Security(_admit, scopes=["write"])]


async def _connection(runtime: Service) -> AsyncIterator[Connection]:
    async with runtime.transaction() as connection:
        yield connection


# "function": the commit happens before the reply is sent. With FastAPI's own default a failing commit comes after it,
# and the caller holds a 201 for a job that does not exist.
Database = Annotated[Connection, Depends(_connection, scope="function")]


async def _paging(
    limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 20,
    order: Annotated[Literal["desc", "asc"], Query(description="`desc`: newest first.")] = "desc",
    cursor: Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before.")] = None,
) -> Stretch:
    return Stretch(limit, order == "desc", cursor)


Paging = Annotated[Stretch, Depends(_paging)]
