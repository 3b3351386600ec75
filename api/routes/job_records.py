"""What a job leaves while it runs: events, metrics, checkpoints, and in the end a model."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse

from api.deps import Database, JobId, Paging, Reader, Service
from api.openapi import problems
from api.schemas.base import PREFIX, list_fields
from api.schemas.jobs import EventList, MetricsReply, event_reply, metrics_reply
from api.schemas.models import CheckpointList, checkpoint_reply, file_url
from softreg_jobs import queries
from softreg_jobs.errors import NotFoundError, StateConflictError
from softreg_jobs.states import TERMINAL

__all__ = ["router"]

router = APIRouter(prefix=f"{PREFIX}/jobs/{{job_id}}", tags=["jobs"])
MODEL_FILE = "model.safetensors"
Position = Annotated[int, Query(ge=0, le=2**63 - 1)]


@router.get("/events", operation_id="jobs_events", responses=problems(404))
def events(
    caller: Reader,
    connection: Database,
    job_id: JobId,
    after: Position = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> EventList:
    """What happened to a job, in order; `after` is the `seq` of the last event that is known already."""
    queries.get_job(connection, caller.tenant_id, job_id)
    page = queries.events_of(connection, job_id, after=after, limit=limit)
    return EventList(**list_fields(page, event_reply, lambda event: str(event.seq)))


@router.get("/metrics", operation_id="jobs_metrics", responses=problems(404))
def metrics(caller: Reader, connection: Database, job_id: JobId, from_step: Position = 0) -> MetricsReply:
    """Every metric by step, in columns."""
    queries.get_job(connection, caller.tenant_id, job_id)
    return metrics_reply(job_id, queries.metric_series(connection, job_id), from_step)


@router.get("/checkpoints", operation_id="jobs_checkpoints", responses=problems(404))
def checkpoints(
    caller: Reader, runtime: Service, connection: Database, job_id: JobId, paging: Paging
) -> CheckpointList:
    """The saved states of training, by step."""
    queries.get_job(connection, caller.tenant_id, job_id)
    cursors = runtime.cursors(connection)
    question = ["checkpoints", caller.tenant_id, job_id, str(paging.newest_first)]
    after = None if paging.cursor is None else int(cursors.read(question, paging.cursor))
    page = queries.checkpoints_of(connection, job_id, limit=paging.limit, after=after, newest_first=paging.newest_first)
    return CheckpointList(**list_fields(page, checkpoint_reply, lambda row: cursors.write(question, row.step)))


@router.get(
    "/model",
    operation_id="jobs_model",
    status_code=307,
    response_class=RedirectResponse,
    responses=problems(404, 409),
)
def model(caller: Reader, connection: Database, job_id: JobId) -> RedirectResponse:
    """The way to the model's weights.

    A job that may still make a model is a conflict with its state, which time resolves; one that ended without
    a model has none, now and later.
    """
    job = queries.get_job(connection, caller.tenant_id, job_id)
    if job.model_id is not None:
        return RedirectResponse(file_url(job.model_id, MODEL_FILE), 307)
    if job.state in TERMINAL:
        raise NotFoundError("model of job", job_id)
    raise StateConflictError(f"the job is {job.state}; it has a model once it has succeeded", job.state)
