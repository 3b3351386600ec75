"""Reading jobs and what they produced. Everything is scoped to a tenant; another tenant's things do not exist."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    func,
    select,
)

from softreg_jobs.blobs import Blob
from softreg_jobs.errors import NotFoundError
from softreg_jobs.paging import Page, page
from softreg_jobs.records import Checkpoint, Event, Export, File, Job, JobOutline, Model, Origin, Transition
from softreg_jobs.states import JobState
from softreg_jobs.tables import (
    attempts,
    blobs,
    checkpoints,
    exports,
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
    "full_select",
    "get_job",
    "get_model",
    "get_origin",
    "get_outline",
    "job_values",
    "list_jobs",
    "metric_series",
    "transitions_of",
]

Series = dict[str, tuple[list[int], list[float]]]


# Of a running job these are its worker's newest words, which stand with the lease.
_TOLD = ("progress", "metrics")


def _outline_columns() -> list[ColumnElement[Any]]:
    """What `JobOutline` holds; the database picks the few numbers out of the large documents."""
    names = {field.name for field in fields(JobOutline)}
    return [
        *(column for column in jobs.c if column.name in names.difference(_TOLD)),
        *(func.coalesce(leases.c.progress[name], jobs.c[name]).label(name) for name in _TOLD),
        now().label("read_at"),
        jobs.c.spec["training"]["epochs"].label("epochs"),
        jobs.c.resolution["total_steps"].label("total_steps"),
        jobs.c.resolution["parameters"].label("parameters"),
    ]


def _job_select(*further: ColumnElement[Any]) -> Select[Any]:
    return select(*_outline_columns(), *further).outerjoin_from(jobs, leases, leases.c.job_id == jobs.c.id)


def job_values(row: Row[Any]) -> dict[str, Any]:
    """The fields of a record from its row."""
    return {**row._asdict(), "state": JobState(row.state)}


def _outline(row: Row[Any]) -> JobOutline:
    return JobOutline(**job_values(row))


def _one_job(connection: Connection, statement: Select[Any], tenant_id: str, job_id: str) -> Row[Any]:
    row = connection.execute(statement.where(jobs.c.id == job_id, jobs.c.tenant_id == tenant_id)).first()
    if row is None:
        raise NotFoundError("job", job_id)
    return row


def full_select(*further: ColumnElement[Any]) -> Select[Any]:
    """Within a larger query: what `Job` holds."""
    delivered = select(models.c.metrics).where(models.c.job_id == jobs.c.id)
    newest_attempt = select(attempts.c.device).where(attempts.c.job_id == jobs.c.id).order_by(attempts.c.fence.desc())
    return _job_select(
        jobs.c.spec,
        jobs.c.resolution["formula"].label("formula"),
        delivered.scalar_subquery().label("model_metrics"),
        newest_attempt.limit(1).scalar_subquery().label("device"),
        *further,
    )


def get_job(connection: Connection, tenant_id: str, job_id: str) -> Job:
    """One job in full.

    Raises:
        NotFoundError: the tenant has no such job.
    """
    return Job(**job_values(_one_job(connection, full_select(), tenant_id, job_id)))


def get_outline(connection: Connection, tenant_id: str, job_id: str) -> JobOutline:
    """One job without its spec: for whoever only asks how it stands, or whether it is the tenant's own.

    Raises:
        NotFoundError: the tenant has no such job.
    """
    return _outline(_one_job(connection, _job_select(), tenant_id, job_id))


def list_jobs(
    connection: Connection,
    tenant_id: str,
    *,
    limit: int,
    after: str | None = None,
    newest_first: bool = True,
    state: JobState | None = None,
) -> Page[JobOutline]:
    """Jobs by id, which is by time; `after` is the last id of the page before."""
    statement = _job_select().where(jobs.c.tenant_id == tenant_id)
    if state is not None:
        statement = statement.where(jobs.c.state == state)
    return page(connection, statement, jobs.c.id, _outline, limit=limit, after=after, newest_first=newest_first)


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
    return page(connection, statement, job_events.c.seq, _event, limit=limit, after=after, newest_first=False)


def _event(row: Row[Any]) -> Event:
    return Event(row.seq, row.type, row.level, row.data, row.at)


def metric_series(connection: Connection, job_id: str, *, from_step: int = 0) -> Series:
    """Each series' steps and values from `from_step` on; a series without any is left out.

    An attempt that resumed from step s makes everything that earlier attempts recorded after s void: those steps were
    trained again.
    """
    valid_until = _last_valid_steps(connection, job_id)
    # A block's steps ascend, so one whose last step is too early holds nothing that is asked for.
    last_step = metrics.c.steps[func.cardinality(metrics.c.steps)]
    blocks = select(metrics).where(metrics.c.job_id == job_id, last_step >= from_step).order_by(metrics.c.id)
    series: Series = {}
    for row in connection.execute(blocks):
        until = valid_until.get(row.fence, float("inf"))
        for step, value in zip(row.steps, row.values, strict=True):
            if from_step <= step <= until:
                steps, values = series.setdefault(row.series, ([], []))
                steps.append(step)
                values.append(value)
    return series


def _last_valid_steps(connection: Connection, job_id: str) -> dict[int, float]:
    """For each attempt's fence the last step that no later attempt has trained again."""
    starts = connection.execute(
        select(attempts.c.fence, attempts.c.from_step).where(attempts.c.job_id == job_id).order_by(attempts.c.fence)
    ).all()
    valid_until: dict[int, float] = {}
    limit = float("inf")
    for fence, from_step in reversed(starts):
        valid_until[fence] = limit
        limit = min(limit, from_step)
    return valid_until


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
    return page(
        connection, statement, checkpoints.c.step, _checkpoint, limit=limit, after=after, newest_first=newest_first
    )


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
    built = connection.execute(select(exports).where(exports.c.model_id == model_id).order_by(exports.c.name))
    return Model(
        id=row.id,
        job_id=row.job_id,
        metrics=row.metrics,
        report=row.report,
        files=[File(file.name, file.media_type, Blob(file.blob_id, file.sha256, file.size)) for file in files],
        exports=[Export(export.name, export.state, export.reason, export.facts) for export in built],
        created_at=row.created_at,
    )


def get_origin(connection: Connection, tenant_id: str, model_id: str) -> Origin:
    """What a model was trained by.

    Raises:
        NotFoundError: the tenant has no such model.
    """
    row = connection.execute(
        select(jobs.c.spec, jobs.c.resolution)
        .join(models, models.c.job_id == jobs.c.id)
        .where(models.c.id == model_id, models.c.tenant_id == tenant_id)
    ).first()
    if row is None:
        raise NotFoundError("model", model_id)
    return Origin(row.spec, row.resolution)


def cursor_key(connection: Connection) -> bytes:
    """The secret that signs page cursors; the same for every API process of this database."""
    return bytes(connection.execute(select(instance.c.cursor_key)).scalar_one())
