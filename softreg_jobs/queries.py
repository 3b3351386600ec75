"""Reading jobs and what they produced. Everything is scoped to a tenant; another tenant's things do not exist."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from softreg_jobs.blobs import Blob
from softreg_jobs.errors import NotFoundError
from softreg_jobs.records import Checkpoint, Event, File, Job, Model, Page, Transition
from softreg_jobs.states import JobState
from softreg_jobs.tables import (
    attempts,
    blobs,
    checkpoints,
    instance,
    job_events,
    jobs,
    leases,
    metrics,
    model_files,
    models,
    now,
)

__all__ = [
    "checkpoint",
    "checkpoints_of",
    "cursor_key",
    "events_of",
    "get_job",
    "get_model",
    "jobs_ahead",
    "list_jobs",
    "metric_series",
    "transitions_of",
]

Series = dict[str, tuple[list[int], list[float]]]


def _job_select() -> Select[Any]:
    return select(jobs, leases.c.progress.label("live"), now().label("read_at")).outerjoin(
        leases, leases.c.job_id == jobs.c.id
    )


def _job(row: Row[Any]) -> Job:
    live = row.live or {}
    return Job(
        id=row.id,
        parent_id=row.parent_id,
        dataset_id=row.dataset_id,
        name=row.name,
        metadata=row.metadata,
        spec=row.spec,
        resolution=row.resolution,
        warnings=row.warnings,
        state=JobState(row.state),
        device_kind=row.device_kind,
        priority=row.priority,
        attempt=row.attempt,
        worker_id=row.worker_id,
        best_checkpoint_id=row.best_checkpoint_id,
        last_checkpoint_id=row.last_checkpoint_id,
        model_id=row.model_id,
        progress=live.get("progress", row.progress),
        metrics=live.get("metrics", row.metrics),
        termination_reason=row.termination_reason,
        error=row.error,
        event_seq=row.event_seq,
        created_at=row.created_at,
        updated_at=row.updated_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        read_at=row.read_at,
    )


def get_job(connection: Connection, tenant_id: str, job_id: str) -> Job:
    """One job.

    Raises:
        NotFoundError: the tenant has no such job.
    """
    row = connection.execute(_job_select().where(jobs.c.id == job_id, jobs.c.tenant_id == tenant_id)).first()
    if row is None:
        raise NotFoundError("job", job_id)
    return _job(row)


def list_jobs(
    connection: Connection,
    tenant_id: str,
    *,
    limit: int,
    after: str | None = None,
    newest_first: bool = True,
    state: JobState | None = None,
) -> Page[Job]:
    """Jobs by id, which is by time; `after` is the last id of the page before."""
    statement = _job_select().where(jobs.c.tenant_id == tenant_id)
    if state is not None:
        statement = statement.where(jobs.c.state == state)
    return _page(connection, statement, jobs.c.id, limit, after, newest_first, _job)


def _page(
    connection: Connection,
    statement: Select[Any],
    key: Any,
    limit: int,
    after: Any,
    newest_first: bool,
    make: Any,
) -> Page[Any]:
    """Keyset paging: one row more than asked tells whether there is more."""
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    rows = connection.execute(statement.order_by(key.desc() if newest_first else key).limit(limit + 1)).all()
    return Page([make(row) for row in rows[:limit]], len(rows) > limit)


def jobs_ahead(connection: Connection, job: Job) -> int:
    """How many queued jobs would be claimed before this one by a worker that may take any device kind."""
    mine = select(jobs.c.priority, jobs.c.run_after, jobs.c.id).where(jobs.c.id == job.id).subquery()
    return int(
        connection.execute(
            select(func.count())
            .select_from(jobs)
            .join(mine, jobs.c.id != mine.c.id)
            .where(
                jobs.c.state == JobState.QUEUED,
                (jobs.c.priority > mine.c.priority)
                | (
                    (jobs.c.priority == mine.c.priority)
                    & (func.row(jobs.c.run_after, jobs.c.id) < func.row(mine.c.run_after, mine.c.id))
                ),
            )
        ).scalar_one()
    )


def transitions_of(connection: Connection, job_id: str) -> list[Transition]:
    """Every change of state, oldest first."""
    rows = connection.execute(
        select(job_events.c.data, job_events.c.at)
        .where(job_events.c.job_id == job_id, job_events.c.type == "state")
        .order_by(job_events.c.seq)
    )
    return [Transition(JobState(row.data["state"]), row.at, row.data["reason"]) for row in rows]


def events_of(connection: Connection, job_id: str, *, after: int, limit: int) -> Page[Event]:
    """Events with a sequence number above `after`, in order. The caller has checked that the job is its own."""
    statement = select(job_events).where(job_events.c.job_id == job_id)
    return _page(
        connection,
        statement,
        job_events.c.seq,
        limit,
        after,
        False,
        lambda row: Event(row.seq, row.type, row.level, row.data, row.at),
    )


def metric_series(connection: Connection, job_id: str) -> Series:
    """Each series' steps and values.

    An attempt that resumed from step s makes everything that earlier attempts recorded after s void: those steps were
    trained again.
    """
    starts = connection.execute(
        select(attempts.c.fence, attempts.c.from_step).where(attempts.c.job_id == job_id).order_by(attempts.c.fence)
    ).all()
    valid_until: dict[int, float] = {}
    limit = float("inf")
    for fence, from_step in reversed(starts):
        valid_until[fence] = limit
        limit = min(limit, from_step)
    series: Series = {}
    for row in connection.execute(select(metrics).where(metrics.c.job_id == job_id).order_by(metrics.c.id)):
        steps, values = series.setdefault(row.series, ([], []))
        last = valid_until.get(row.fence, float("inf"))
        for step, value in zip(row.steps, row.values, strict=True):
            if step <= last:
                steps.append(step)
                values.append(value)
    return series


def _checkpoint_select() -> Select[Any]:
    return select(checkpoints, blobs.c.sha256, blobs.c.size).join(blobs, blobs.c.id == checkpoints.c.blob_id)


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(
        id=row.id,
        job_id=row.job_id,
        step=row.step,
        epoch=row.epoch,
        metrics=row.metrics,
        is_best=row.is_best,
        pinned=row.pinned,
        blob=Blob(row.blob_id, row.sha256, row.size),
        created_at=row.created_at,
    )


def checkpoints_of(
    connection: Connection, job_id: str, *, limit: int, after: int | None = None, newest_first: bool = True
) -> Page[Checkpoint]:
    """A job's checkpoints by step. The caller has checked that the job is its own."""
    statement = _checkpoint_select().where(checkpoints.c.job_id == job_id)
    return _page(connection, statement, checkpoints.c.step, limit, after, newest_first, _checkpoint)


def checkpoint(connection: Connection, tenant_id: str, checkpoint_id: str) -> Checkpoint:
    """One checkpoint of one of the tenant's jobs.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(
        _checkpoint_select()
        .join(jobs, jobs.c.id == checkpoints.c.job_id)
        .where(checkpoints.c.id == checkpoint_id, jobs.c.tenant_id == tenant_id)
    ).first()
    if row is None:
        raise NotFoundError("checkpoint", checkpoint_id)
    return _checkpoint(row)


def get_model(connection: Connection, tenant_id: str, model_id: str) -> Model:
    """A model and its files.

    Raises:
        NotFoundError: the tenant has no such model.
    """
    row = connection.execute(select(models).where(models.c.id == model_id, models.c.tenant_id == tenant_id)).first()
    if row is None:
        raise NotFoundError("model", model_id)
    files = connection.execute(
        select(model_files, blobs.c.sha256, blobs.c.size)
        .join(blobs, blobs.c.id == model_files.c.blob_id)
        .where(model_files.c.model_id == model_id)
        .order_by(model_files.c.name)
    )
    return Model(
        id=row.id,
        job_id=row.job_id,
        metrics=row.metrics,
        files=[File(file.name, file.media_type, Blob(file.blob_id, file.sha256, file.size)) for file in files],
        created_at=row.created_at,
    )


def cursor_key(connection: Connection) -> bytes:
    """The secret that signs page cursors; the same for every API process of this database."""
    return bytes(connection.execute(select(instance.c.cursor_key)).scalar_one())
