"""Whether the process lives, and whether the service can do its work; without a key, for whoever supervises."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from redis import RedisError
from sqlalchemy import Connection
from sqlalchemy import exc as database_errors

from api.deps import Service
from api.openapi import problems
from api.refusals import NotReadyError
from api.runtime import Runtime
from api.schemas.base import Reply
from softreg_jobs.workers import living_kinds

__all__ = ["router"]

router = APIRouter(tags=["health"])


class HealthReply(Reply):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyReply(Reply):
    """Requests can be served; `degraded` when what is accepted has to wait for Redis or a worker."""

    status: Literal["ready", "degraded"]
    checks: dict[str, str]
    """`ok` or `failed`: database, schema, redis, workers."""
    workers: int


@router.get("/healthz", operation_id="health", responses=problems(always=(500,)))
def healthz() -> HealthReply:
    """Whether the process lives."""
    return HealthReply()


@router.get("/readyz", operation_id="ready", responses=problems(503, always=(500,)))
async def readyz(runtime: Service) -> ReadyReply:
    """Whether requests can be served: the database with its schema.

    Redis and workers are reported and do not count: a submit is accepted without them and runs when they are back,
    so a balancer must not turn callers away.
    """
    checks, workers = await _database_checks(runtime)
    checks["redis"] = await run_in_threadpool(_redis_answers, runtime)
    checks["workers"] = workers > 0
    words: dict[str, str] = {name: "ok" if is_good else "failed" for name, is_good in checks.items()}
    if not checks["schema"]:
        failed = ", ".join(name for name, is_good in checks.items() if not is_good)
        raise NotReadyError(f"not ready: {failed}", words, workers)
    return ReadyReply(status="ready" if all(checks.values()) else "degraded", checks=words, workers=workers)


async def _database_checks(runtime: Runtime) -> tuple[dict[str, bool], int]:
    try:
        async with runtime.transaction() as connection:
            workers = await run_in_threadpool(_living_workers, connection, runtime.alive_seconds)
    except database_errors.ProgrammingError:
        return {"database": True, "schema": False}, 0
    except database_errors.SQLAlchemyError:
        return {"database": False, "schema": False}, 0
    return {"database": True, "schema": True}, workers


def _living_workers(connection: Connection, alive_seconds: float) -> int:
    # Every worker takes jobs whose device is `auto`.
    return living_kinds(connection, alive_seconds=alive_seconds)["auto"]


def _redis_answers(runtime: Runtime) -> bool:
    try:
        return bool(runtime.redis.ping())
    except RedisError:
        return False
