"""The one way to change a job's state: a guarded UPDATE and its event, in the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from softreg_jobs.states import ACTIVE, TERMINAL, Actor, JobState, sources_of
from softreg_jobs.tables import job_events, jobs, leases, now

__all__ = ["add_event", "move"]


def move(
    connection: Connection,
    job_id: str,
    target: JobState,
    actor: Actor,
    *,
    reason: str,
    fence: int | None = None,
    raises_fence: bool = False,
    data: dict[str, Any] | None = None,
    **values: Any,
) -> Row[Any] | None:
    """Move a job to `target` if MOVES lets `actor` do so from where it stands, and record the event.

    `fence` guards moves of a worker: a job that was handed on meanwhile does not move. None: no row matched; the
    caller decides what that means. Concurrent moves of one job are decided by its row lock, in commit order.
    """
    guards = [jobs.c.id == job_id, jobs.c.state.in_(sources_of(target, actor))]
    if fence is not None:
        guards.append(jobs.c.fence == fence)
    if target in TERMINAL:
        values["finished_at"] = now()
    if target not in ACTIVE:
        values |= _last_told(job_id)
    row = connection.execute(
        update(jobs)
        .where(*guards)
        .values(
            state=target,
            fence=jobs.c.fence + 1 if raises_fence else jobs.c.fence,
            event_seq=jobs.c.event_seq + 1,
            updated_at=now(),
            **values,
        )
        .returning(*jobs.c)
    ).first()
    if row is not None:
        _insert_event(connection, row, "state", {"state": target, "reason": reason, **(data or {})})
    return row


def _last_told(job_id: str) -> dict[str, Any]:
    """What the worker told last of its attempt: kept with the job when the lease goes."""
    told = select(leases.c.progress).where(leases.c.job_id == job_id).scalar_subquery()
    return {name: func.coalesce(told[name], jobs.c[name]) for name in ("progress", "metrics")}


def add_event(
    connection: Connection, job_id: str, fence: int, kind: str, data: dict[str, Any], level: str = "info"
) -> bool:
    """Record an event of a running attempt; False when the attempt no longer owns the job."""
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.fence == fence, jobs.c.state.in_(ACTIVE))
        .values(event_seq=jobs.c.event_seq + 1, updated_at=now())
        .returning(jobs.c.id, jobs.c.event_seq, jobs.c.fence)
    ).first()
    if row is not None:
        _insert_event(connection, row, kind, data, level)
    return row is not None


def _insert_event(connection: Connection, row: Row[Any], kind: str, data: dict[str, Any], level: str = "info") -> None:
    connection.execute(
        insert(job_events).values(job_id=row.id, seq=row.event_seq, fence=row.fence, type=kind, level=level, data=data)
    )
