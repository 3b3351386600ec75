"""A job's birth and its owner's wishes: what the API writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Interval,
    Row,
    Select,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    true,
)

from softreg_core.spec import Resolution, sha256_of
from softreg_jobs.errors import (
    IdempotencyInFlightError,
    IdempotencyMismatchError,
    NotFoundError,
    QuotaError,
    StateConflictError,
)
from softreg_jobs.ids import new_id
from softreg_jobs.records import Job, Standing, Transition
from softreg_jobs.standing import ahead_of
from softreg_jobs.states import TERMINAL, Actor, JobState
from softreg_jobs.store.moves import move
from softreg_jobs.tables import idempotency, job_events, jobs, now, outbox, tenants
from softreg_jobs.workers import has_taker

__all__ = ["NewJob", "StoredReply", "once", "request_cancel", "submit"]

_SUBMITTED = "submitted"
_GIVEN = (
    "id",
    "tenant_id",
    "dataset_id",
    "name",
    "metadata",
    "request_id",
    "spec",
    "spec_sha256",
    "resolution",
    "warnings",
    "state",
    "device_kind",
    "priority",
    "event_seq",
)


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


def submit(connection: Connection, new: NewJob, *, max_queued: int, alive_seconds: float) -> Standing:
    """Queue a job: quota, job, event and doorbell in one statement. Returns the job as it stands then.

    The tenant's row lock makes the quota exact: of two submits at the limit one waits and then counts the other. It is
    held until the commit, which a connection without a transaction makes at once.
    """
    values = _values(new)
    limits = {"max_queued": max_queued, "alive": timedelta(seconds=alive_seconds)}
    row = connection.execute(_SUBMIT, {**values, **limits}).one()
    if row.created_at is None:
        waiting = row.waiting
        raise QuotaError(f"{waiting} jobs are waiting, and the limit is {max_queued}; try again when some have started")
    return _born(new, values, row)


def _values(new: NewJob) -> dict[str, Any]:
    resolution = new.resolution
    return {
        "id": new_id("job"),
        "tenant_id": new.tenant_id,
        "dataset_id": new.dataset_id,
        "name": new.name,
        "metadata": new.metadata or {},
        "request_id": new.request_id,
        "spec": resolution.spec.model_dump(mode="json"),
        "spec_sha256": sha256_of(resolution.spec),
        "resolution": {
            "shape": resolution.shape.model_dump(mode="json"),
            "outputs": resolution.outputs,
            "labels": resolution.labels,
            "rows": resolution.sizes._asdict(),
            "parameters": resolution.parameters,
            "total_steps": resolution.total_steps,
            "passes_per_step": resolution.passes_per_step,
            "formula": resolution.formula,
        },
        "warnings": list(new.warnings),
        "state": JobState.QUEUED,
        "device_kind": resolution.spec.resources.device,
        "priority": new.priority,
        "event_seq": 1,
    }


def _submit_statement() -> Select[Any]:
    """Quota, job, event and doorbell; the row tells when the job was born, or nothing of one past the quota.

    First the lock, then the count, which sees what was committed while the lock was waited for: see migration 0004.
    """
    tenant = select(tenants.c.id).where(tenants.c.id == bindparam("tenant_id")).with_for_update(key_share=True)
    waiting = select(func.softreg_waiting(tenant.subquery("tenant").c.id).label("waiting")).cte("waiting")
    given = [bindparam(name, type_=jobs.c[name].type).label(name) for name in _GIVEN]
    born = (
        insert(jobs)
        .from_select(_GIVEN, select(*given).where(waiting.c.waiting < bindparam("max_queued", type_=Integer)))
        .returning(jobs.c.id, jobs.c.device_kind, jobs.c.priority, jobs.c.run_after, jobs.c.created_at)
        .cte("born")
    )
    data = literal({"state": JobState.QUEUED, "reason": _SUBMITTED}, type_=job_events.c.data.type)
    first = select(born.c.id, literal(1), literal(0), literal("state"), literal("info"), data)
    event = insert(job_events).from_select(["job_id", "seq", "fence", "type", "level", "data"], first)
    bell = insert(outbox).from_select(["topic", "key"], select(literal("doorbell"), born.c.device_kind))
    ahead = ahead_of(born.c.priority, born.c.run_after, born.c.id, born)
    has_worker = has_taker(born.c.device_kind, bindparam("alive", type_=Interval))
    event_row = event.returning(job_events.c.at).cte("event")
    return (
        select(
            waiting.c.waiting,
            born.c.created_at,
            event_row.c.at,
            ahead.label("jobs_ahead"),
            has_worker.label("has_worker"),
            now().label("read_at"),
        )
        .select_from(waiting.outerjoin(born, true()).outerjoin(event_row, true()))
        .add_cte(bell.cte("bell"))
    )


def _born(new: NewJob, values: dict[str, Any], row: Row[Any]) -> Standing:
    """The job as the statement has stored it."""
    resolution = new.resolution
    job = Job(
        **{
            name: values[name] for name in ("id", "dataset_id", "name", "metadata", "warnings", "priority", "event_seq")
        },
        state=JobState.QUEUED,
        device_kind=values["device_kind"],
        attempt=0,
        best_checkpoint_id=None,
        last_checkpoint_id=None,
        model_id=None,
        progress=None,
        metrics={},
        termination_reason=None,
        error=None,
        created_at=row.created_at,
        started_at=None,
        finished_at=None,
        read_at=row.read_at,
        epochs=resolution.spec.training.epochs,
        total_steps=resolution.total_steps,
        parameters=resolution.parameters,
        spec=values["spec"],
        formula=resolution.formula,
        model_metrics=None,
        device=None,
    )
    course = [Transition(JobState.QUEUED, row.at, _SUBMITTED)]
    return Standing(job, course, row.jobs_ahead, row.has_worker)


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


_SUBMIT = _submit_statement()
