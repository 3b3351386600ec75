"""A job's birth and its owner's wishes: what the API writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from softreg_core.spec import Resolution, sha256_of
from softreg_jobs.errors import (
    IdempotencyInFlightError,
    IdempotencyMismatchError,
    NotFoundError,
    QuotaError,
    StateConflictError,
)
from softreg_jobs.ids import new_id
from softreg_jobs.states import TERMINAL, Actor, JobState
from softreg_jobs.store.moves import first_event, move
from softreg_jobs.tables import idempotency, jobs, now, outbox, tenants

__all__ = ["NewJob", "StoredReply", "once", "request_cancel", "submit"]


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a tenant asks for, checked and resolved."""

    tenant_id: str
    dataset_id: str
    resolution: Resolution
    name: str | None = None
    priority: int = 50
    metadata: dict[str, str] | None = None
    warnings: tuple[dict[str, str], ...] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredReply:
    """An answer that can be given again: a status and a JSON body."""

    status: int
    body: dict[str, Any]
    is_replay: bool = False


def submit(connection: Connection, new: NewJob, *, max_queued: int) -> str:
    """Queue a job: quota, job, event and doorbell in the caller's transaction. Returns the job's id.

    The tenant's row lock makes the quota exact: of two submits at the limit one waits and then counts the other.
    """
    connection.execute(select(tenants.c.id).where(tenants.c.id == new.tenant_id).with_for_update(key_share=True)).one()
    waiting = connection.execute(
        select(func.count()).where(
            jobs.c.tenant_id == new.tenant_id, jobs.c.state.in_([JobState.QUEUED, JobState.PAUSED])
        )
    ).scalar_one()
    if waiting >= max_queued:
        raise QuotaError(f"{waiting} jobs are waiting, and the limit is {max_queued}; try again when some have started")
    resolution = new.resolution
    device = resolution.spec.resources.device
    row = connection.execute(
        insert(jobs)
        .values(
            id=new_id("job"),
            tenant_id=new.tenant_id,
            dataset_id=new.dataset_id,
            name=new.name,
            metadata=new.metadata or {},
            request_id=new.request_id,
            spec=resolution.spec.model_dump(mode="json"),
            spec_sha256=sha256_of(resolution.spec),
            resolution={
                "shape": resolution.shape.model_dump(mode="json"),
                "outputs": resolution.outputs,
                "labels": resolution.labels,
                "rows": resolution.sizes._asdict(),
                "parameters": resolution.parameters,
                "total_steps": resolution.total_steps,
                "passes_per_step": resolution.passes_per_step,
                "formula": resolution.formula,
            },
            warnings=list(new.warnings),
            state=JobState.QUEUED,
            device_kind=device,
            priority=new.priority,
            event_seq=1,
        )
        .returning(*jobs.c)
    ).one()
    first_event(connection, row, {"state": JobState.QUEUED, "reason": "submitted"})
    connection.execute(insert(outbox).values(topic="doorbell", key=device))
    return str(row.id)


def once(
    connection: Connection, *, tenant_id: str, route: str, key: str, body: bytes, make: Callable[[], StoredReply]
) -> StoredReply:
    """Answer a request with an Idempotency-Key: the first time by `make`, later with the same reply.

    A try-lock comes first: without it the second of two concurrent requests would wait in INSERT for the first.

    Raises:
        IdempotencyInFlightError: a request with this key is being served.
        IdempotencyMismatchError: the key was used with another body.
    """
    lock = hashlib.sha256(f"{tenant_id}\0{route}\0{key}".encode()).digest()[:8]
    number = int.from_bytes(lock, "big", signed=True)
    if not connection.execute(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number}).scalar_one():
        raise IdempotencyInFlightError("a request with this Idempotency-Key is being served; try again shortly")
    mine = (idempotency.c.tenant_id == tenant_id, idempotency.c.route == route, idempotency.c.key == key)
    digest = hashlib.sha256(body).hexdigest()
    row = connection.execute(select(idempotency).where(*mine)).first()
    if row is not None:
        if row.body_sha256 != digest:
            raise IdempotencyMismatchError("this Idempotency-Key was used with another body; use a new key")
        return StoredReply(row.status, row.reply, is_replay=True)
    reply = make()
    connection.execute(
        insert(idempotency).values(
            tenant_id=tenant_id, route=route, key=key, body_sha256=digest, status=reply.status, reply=reply.body
        )
    )
    return reply


def request_cancel(connection: Connection, tenant_id: str, job_id: str) -> JobState:
    """Cancel a job: at once when nobody works on it, else by asking its worker. Returns the new state.

    Asking twice is harmless; a finished job is a conflict.
    """
    row = connection.execute(
        select(jobs.c.state).where(jobs.c.id == job_id, jobs.c.tenant_id == tenant_id).with_for_update()
    ).first()
    if row is None:
        raise NotFoundError("job", job_id)
    state = JobState(row.state)
    if state is JobState.CANCELLING:
        return state
    if state in TERMINAL:
        raise StateConflictError(f"the job is {state} already", state)
    is_idle = state in (JobState.QUEUED, JobState.PAUSED)
    target = JobState.CANCELLED if is_idle else JobState.CANCELLING
    values: dict[str, Any] = {"termination_reason": "cancelled"} if is_idle else {}
    move(connection, job_id, target, Actor.API, reason="cancel requested", cancel_requested_at=now(), **values)
    return target
